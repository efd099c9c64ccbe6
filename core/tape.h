// The tape: what was computed from what. A node keeps operator, entry, edges to what computed its inputs, the values
// its gradient will read, and a mark of the user's line that is resolved only when asked for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mark.h"
#include "mode.h"
#include "op.h"
#include "tensor.h"

namespace dg {

struct Entry;
struct Node;

enum class NodeKind : uint8_t { Compiled, Traced, Python, View, CopySlices };

// Where a gradient goes: output `index` of a node, or a leaf tensor, or nowhere.
struct Edge {
  Node* node = nullptr;          // owned
  TensorObject* leaf = nullptr;  // owned
  uint32_t index = 0;
  explicit operator bool() const { return node || leaf; }
};

// A tensor operand or output as the node remembers it. Sizes always; the buffer only if the gradient reads values.
struct Saved {
  Buffer* buffer;  // owned, or null
  int64_t offset;
  int64_t* sizes;  // into the node's own storage; then as many strides
  uint32_t version;
  DType dtype;
  uint8_t rank;
  uint8_t kind;  // OperandKind
  bool contiguous;
  uint8_t number_kind;
  union {
    int64_t integer;
    double real;
  };
};

struct Retained {
  uint32_t index;
  TensorObject* tensor;  // borrowed: the tensor takes itself out when it dies
};

// What `pack` of saved_tensors_hooks made of operand `index` (outputs come after the operands).
struct Packed {
  uint32_t index;
  Ref object;
  Ref unpack;
};

// A gradient of any of these outputs does not go to any of these inputs: `raise`, called, says why.
struct Refusal {
  std::vector<int> outputs, inputs;
  PyObject* raise;  // borrowed
};

// What few nodes need.
struct NodeExtra {
  PyObject* python = nullptr;    // Python nodes: the function from gradients to gradients
  std::string name;              // Python nodes
  bool continues_sums = false;   // Python nodes: the function takes the sums so far too, and gives the new ones
  bool at_once = false;          // Python nodes: each gradient goes on by itself when it arrives, to no sum here
  PyObject* args = nullptr;      // Traced nodes: bound arguments, detached
  PyObject* outs = nullptr;      // Traced nodes: the outputs, detached
  Node* write = nullptr;         // CopySlices: the operator that wrote the view, owned
  std::vector<PyObject*> metas;  // Python nodes: an output's shape-only tensor
  std::vector<Retained> retained;
  std::vector<std::pair<uint32_t, Ref>> other_data;  // outputs that were given the elements of these tensors
  std::vector<Packed> packed;
  std::vector<std::pair<uint32_t, PyObject*>> hooks;  // (output, callable)
  // Python nodes that stand for several operators: (i, j) where a gradient of output i takes more than what arrives for
  // it when something arrives for output j. Borrowed from `python`. And what records these operators in its place.
  const std::vector<std::pair<uint32_t, uint32_t>>* paths = nullptr;
  void (*take_apart)(Node*) = nullptr;
  const std::vector<Refusal>* refusals = nullptr;  // of the same nodes; borrowed likewise
  uint64_t expanded = 0;        // Python nodes: when the operators it stands for were recorded in its place; 0: never
  std::vector<Edge> expansion;  // where the gradients of its outputs go then
};

struct Node {
  int32_t refs;
  NodeKind kind;
  bool freed;  // saved values were given up
  bool used;   // a backward that does not retain the graph has gone through
  uint32_t n_outputs;
  uint32_t n_edges;
  uint32_t n_sizes;
  uint64_t sequence;
  uint32_t run;    // engine: the run that visited this node last ...
  uint32_t state;  // ... and the index of its state there
  uint32_t n_operands;
  OpObject* op;  // owned; null for Python, View and CopySlices nodes
  Entry* entry;  // lives as long as the op
  Edge* edges;   // one per flattened operand
  Saved* operands;
  Saved* outs;
  int64_t* sizes;
  NodeExtra* extra;
  Mark mark;
};

inline void retain_node(Node* node) { ++node->refs; }
void release_node(Node* node);  // never recursive: chains of any length
// An owned reference to a node.
class NodeRef {
 public:
  explicit NodeRef(Node* owned) : node_(owned) {}
  NodeRef(const NodeRef&) = delete;
  ~NodeRef() {
    if (node_) release_node(node_);
  }
  Node* release() { return std::exchange(node_, nullptr); }

 private:
  Node* node_;
};

int visit_node(Node* node, visitproc visit, void* arg);
void drop_node(TensorObject* tensor);                             // lets go of the tensor's node
void set_node(TensorObject* tensor, Node* node, uint32_t index);  // takes over one reference
NodeExtra& extra_of(Node* node);

// A node with room for its arrays, all edges empty.
Node* new_node(NodeKind kind, OpObject* op, uint32_t n_edges, uint32_t n_operands, uint32_t n_outputs, uint32_t n_dims,
               uint32_t n_sizes);
// Raises an error about a recorded operation; adds the line where it was recorded.
[[noreturn]] void raise_node_error(const char* type, const Node* node, const char* hint, const char* format, ...)
    __attribute__((format(printf, 4, 5)));
// The edge through which a gradient for this tensor leaves; empty if it needs none.
Edge edge_of(TensorObject* tensor);
// The same for a tensor that had its place before the operator ran: a view of what it wrote is behind from now on.
Edge known_edge_of(TensorObject* tensor);
// Lets go of what the edge keeps alive; it is empty afterwards.
void drop_edge(Edge& edge);
// Leaves room for so many nodes before the one that was recorded last.
void skip_sequence(Node* node, uint64_t count);
// Gives up the saved values (after backward without retain_graph).
void free_saved(Node* node);
const char* node_name(const Node* node);
// "file:line in function:    text" or empty.
Ref node_location(const Node* node);

// Records a call that was traced: `args` bound arguments, `before` what to save of them if the call wrote to one (else
// null), `outs` a Tensor or tuple of them.
void record_traced(OpObject* op, PyObject* args, PyObject* before, PyObject* outs);
// The arguments with every tensor detached: what a traced node keeps.
Ref traced_arguments(PyObject* args);
// Records a Python-defined function: backward(grads of the outputs) -> grads of the inputs. Gives the outputs with
// their place on the tape; an output that has one already, or is an input, comes back as an alias. A function that
// stands for several operators is called with the inputs' gradients so far as well, backward(grads, sums), and gives
// what they are then (None: as before). `at_once`: each gradient that arrives at the one output goes on by itself.
PyObject* record_python(PyObject* outputs, PyObject* inputs, const char* name, PyObject* backward,
                        bool continues_sums = false, bool at_once = false);
// The same for outputs that are new: `object` has apply(grads).
void record_python(PyObject* object, PyObject* inputs, PyObject* outputs);

// After a Python-defined function wrote to `target`: it is what `result` is on the tape. A view has to be its first
// input and only output. `name`: who wrote, for messages.
void take_history(TensorObject* target, const TensorObject* result, const char* name);

// While it lives: the Python node whose function runs in this thread.
class RunningNode {
 public:
  explicit RunningNode(Node* node);
  RunningNode(const RunningNode&) = delete;
  ~RunningNode();

 private:
  Node* outer_;
};
// The values of `plain` as output `index` of the node that runs: for gradients that are differentiated again after the
// output itself is gone. `plain` itself if none runs.
PyObject* running_output(PyObject* plain, uint32_t index);

// The Python view of a node (node_object.cpp).
void create_node_type(PyObject* module);
PyObject* node_object(Node* node, uint32_t index);  // new reference

}  // namespace dg
