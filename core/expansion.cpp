#include "expansion.h"

namespace dg {

namespace {

uint64_t n_expansions = 0;
constexpr uint64_t kRoom = uint64_t{1} << 24;  // operators

}  // namespace

void make_room(Node* node) { skip_sequence(node, kRoom); }

Places::Places(const Node* node) : place_(mode.place), end_(mode.places_end) {
  mode.place = node->sequence - kRoom;
  mode.places_end = node->sequence;
}

Places::~Places() {
  mode.place = place_;
  mode.places_end = end_;
}

bool Places::sufficed() const { return mode.place != mode.places_end; }

void expand(Node* node, PyObject* outputs) {
  NodeExtra& extra = *node->extra;
  std::vector<Edge> edges(node->n_outputs);
  for (uint32_t i = 0; i < node->n_outputs; ++i)
    if (PyObject* output = PyTuple_GET_ITEM(outputs, i); is_tensor(output)) edges[i] = edge_of(as_tensor(output));
  for (auto& [index, callable] : extra.hooks)  // they stay: a pass that is under way still goes through the node
    if (Node* target = edges[index].node)
      extra_of(target).hooks.push_back({edges[index].index, Ref::borrow(callable).release()});
  extra.expansion = std::move(edges);
  extra.expanded = ++n_expansions;
  const std::vector<Retained> retained = extra.retained;
  for (const Retained& entry : retained) settled_node(entry.tensor);
}

Ref expanded_outputs(const Node* node) {
  Ref outputs = owned(PyTuple_New(node->n_outputs));
  for (uint32_t i = 0; i < node->n_outputs; ++i) {
    const Edge& edge = node->extra->expansion[i];
    Ref output = Ref::borrow(edge.leaf ? as_object(edge.leaf) : Py_None);
    if (edge.node) {
      output = Ref(as_object(make_detached(as_tensor(node->extra->metas[i]))));
      retain_node(edge.node);
      set_node(as_tensor(output.get()), edge.node, edge.index);
    }
    PyTuple_SET_ITEM(outputs.get(), i, output.release());
  }
  return outputs;
}

uint64_t expansions() { return n_expansions; }

const Edge& expanded_edge(const Edge& edge, uint64_t count) {
  const Edge* found = &edge;
  while (found->node && found->node->kind == NodeKind::Python && found->node->extra->expanded &&
         found->node->extra->expanded <= count)
    found = &found->node->extra->expansion[found->index];
  return *found;
}

Node* settled_node(TensorObject* tensor) {
  if (!tensor->node) return nullptr;
  const Edge held{tensor->node, nullptr, tensor->output_index};
  const Edge& now = expanded_edge(held, n_expansions);
  if (now.node && now.node != tensor->node) {
    retain_node(now.node);
    set_node(tensor, now.node, now.index);
  }
  return tensor->node;
}

}  // namespace dg
