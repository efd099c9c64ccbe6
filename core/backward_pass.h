// One walk over the tape: which nodes take part, and their gradients in an order fixed by when they were recorded.
#pragma once

#include <unordered_map>
#include <vector>

#include "expansion.h"
#include "tape.h"

namespace dg {

// One backward pass. Marks what it visits in the nodes themselves, or in maps when another pass is under way (in a
// hook, or in another thread).
class BackwardPass {
 public:
  // A chosen input, and its gradient.
  struct Capture {
    Node* node;  // null: a leaf
    TensorObject* leaf;
    uint32_t index;
    Ref grad;
  };

  BackwardPass(bool retain_graph, bool create_graph);
  ~BackwardPass();
  BackwardPass(const BackwardPass&) = delete;

  void join(PyObject* leaves);  // what goes to the first of two goes to the second
  void add_root(TensorObject* tensor, Ref grad);
  // Only gradients of these are wanted; they are in `captures` after `go`.
  void restrict_to(PyObject* inputs, bool end = false);
  void go();
  void accumulate_leaves();
  void accumulates() { accumulates_ = true; }  // what arrives at leaves is added to their `.grad`
  std::vector<Capture>& captures() { return captures_; }

 private:
  static uint32_t new_id();
  // Where an edge leads in this pass: what is expanded while it runs stays as it was found.
  const Edge& at(const Edge& edge) const {
    for (const auto& [leaf, other] : joined_)
      if (edge.leaf == leaf) return other;
    return edge.node && edge.node->kind == NodeKind::Python ? expanded_edge(edge, expansions_) : edge;
  }
  uint32_t state_of(Node* node);
  uint32_t leaf_of(TensorObject* leaf);
  void discover();
  bool take_apart();
  bool asks(const Node* node);
  void choose_needed();
  bool wants(const Edge& edge);
  void count_dependencies();
  void deliver(const Edge& edge, Ref grad);
  bool goes_on(const Edge& edge) const;
  void pass_through(Node* node, Ref grad);
  const Edge& sum_at(const Edge& edge) const;
  void add_to(TensorObject** slot, Ref grad);
  TensorObject* exchange_sum(const Edge& edge, TensorObject* sum);
  void continue_sums(Node* node, TensorObject* const* grads);
  void run_node(uint32_t index);
  bool pass_on(Node* node, TensorObject** grads);
  void apply_hooks(Node* node, TensorObject** grads);

  struct LeafState;
  void complete_inputs(Node* node, std::vector<uint32_t>* ready);
  void complete_leaf(LeafState& state);
  void accumulate_leaf(LeafState& state);

  struct NodeState {
    Node* node;
    uint32_t slots;        // first of its output gradients in BackwardPass::slots_
    int32_t dependencies;  // consumers that have not delivered yet
    bool needed;
  };

  struct LeafState {
    TensorObject* leaf;  // kept alive by the edge, or by the caller
    Ref grad;
    bool wanted;
    int32_t dependencies;  // edges that have not delivered yet
  };

  struct Root {
    Edge edge;  // borrowed
    Ref grad;
    Ref kept;
  };

  const bool retain_graph_, create_graph_;
  uint32_t id_;
  const bool use_maps_;
  uint64_t expansions_;
  bool restricted_ = false;
  bool accumulates_ = false;
  bool end_ = false;  // at the chosen inputs: nothing of theirs runs, neither hooks nor what computed them
  std::vector<NodeState> states_;
  std::vector<LeafState> leaves_;
  std::vector<TensorObject*> slots_;
  std::vector<Root> roots_;
  std::vector<std::pair<TensorObject*, Edge>> joined_;  // leaves whose gradients go to others; borrowed
  std::vector<Capture> captures_;
  std::vector<Node*> joint_;  // those met that stand for several operators, between whose results gradients flow
  std::unordered_map<Node*, uint32_t> node_map_;
  std::unordered_map<TensorObject*, uint32_t> leaf_map_;
};

}  // namespace dg
