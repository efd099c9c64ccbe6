// A node of the tape that stands for several operators, and these operators recorded in its place later.
#pragma once

#include "tape.h"

namespace dg {

// `make_room` when the node is recorded, later `Places` around the operators, and `expand` with what they gave for its
// outputs (None: nothing). From the next backward pass on, gradients go to the operators as if the node had never been
// there.
void make_room(Node* node);
class Places {
 public:
  explicit Places(const Node* node);
  ~Places();
  Places(const Places&) = delete;
  bool sufficed() const;

 private:
  uint64_t place_, end_;
};
void expand(Node* node, PyObject* outputs);
Ref expanded_outputs(const Node* node);  // what it was expanded with, without values
uint64_t expansions();                   // how many there were so far
// Where a gradient for the edge goes, if what was expanded after the first `count` times counts as not expanded.
const Edge& expanded_edge(const Edge& edge, uint64_t count);
// (i, j) for results of operators that were recorded: the gradient of i is not just what is given for it, where
// something is given for j. That is so if j was computed from i, and for i itself if it has hooks.
std::vector<std::pair<uint32_t, uint32_t>> paths_between(const std::vector<TensorObject*>& results);
// The tensor's node, past those that were expanded.
Node* settled_node(TensorObject* tensor);

}  // namespace dg
