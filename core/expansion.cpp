#include "expansion.h"

#include <algorithm>
#include <unordered_map>

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
    if (Node* target = index < edges.size() ? edges[index].node : nullptr)
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
         found->node->extra->expanded <= count) {
    const Edge& next = found->node->extra->expansion[found->index];
    if (!next) break;  // the operators were recorded, but not found is which of them gave this
    found = &next;
  }
  return *found;
}

namespace {

using Marks = std::vector<uint64_t>;  // a bit for each result

// For each result the others that were computed from it.
class Paths {
 public:
  explicit Paths(const std::vector<Edge>& results) : results_(results) {
    for (size_t i = 0; i < results.size(); ++i) {
      found_.emplace_back((results.size() + 63) / 64);
      places_[key(results[i])].results.push_back(i);
      if (Node* node = results[i].node) visit(node);
    }
    for (size_t i = 0; i < order_.size(); ++i)
      for (uint32_t e = 0; e < order_[i]->n_edges; ++e)
        if (Node* next = order_[i]->edges[e].node) visit(next);
    std::sort(order_.begin(), order_.end(), [](Node* a, Node* b) { return a->sequence > b->sequence; });
    for (size_t i = 0; i < results.size(); ++i) {
      Marks own(found_[i].size());
      own[i / 64] = uint64_t{1} << i % 64;
      add(results[i], own);
    }
    for (Node* node : order_) {
      const Marks marks = std::move(places_[node].marks);
      for (uint32_t e = 0; e < node->n_edges; ++e) add(node->edges[e], marks);
    }
  }
  bool leads(size_t from, size_t to) const { return found_[from][to / 64] >> to % 64 & 1; }

 private:
  struct Place {
    bool seen = false;
    Marks marks;  // the results that it takes part in, so far
    std::vector<size_t> results;
  };
  static const void* key(const Edge& edge) { return edge.node ? static_cast<const void*>(edge.node) : edge.leaf; }
  static void merge(Marks& into, const Marks& marks) {
    if (into.empty()) into.resize(marks.size());
    for (size_t i = 0; i < marks.size(); ++i) into[i] |= marks[i];
  }
  void visit(Node* node) {
    if (!std::exchange(places_[node].seen, true)) order_.push_back(node);
  }
  void add(const Edge& edge, const Marks& marks) {
    const auto found = places_.find(key(edge));
    if (!edge || found == places_.end()) return;
    if (edge.node) merge(found->second.marks, marks);
    for (size_t i : found->second.results)
      if (results_[i].index == edge.index) merge(found_[i], marks);
  }

  const std::vector<Edge>& results_;
  std::vector<Marks> found_;  // per result those that were computed from it
  std::unordered_map<const void*, Place> places_;
  std::vector<Node*> order_;
};

}  // namespace

std::vector<std::pair<uint32_t, uint32_t>> paths_between(const std::vector<TensorObject*>& results) {
  std::vector<Edge> edges;
  for (TensorObject* result : results) edges.push_back(edge_of(result));
  std::vector<std::pair<uint32_t, uint32_t>> found;
  if (results.size() > 1) {
    const Paths paths(edges);
    for (uint32_t i = 0; i < results.size(); ++i)
      for (uint32_t j = 0; j < results.size(); ++j)
        if (j != i && paths.leads(i, j)) found.emplace_back(i, j);
  }
  for (uint32_t i = 0; i < results.size(); ++i) {
    const Edge& edge = edges[i];
    bool hooked = edge.leaf && edge.leaf->hooks;
    if (edge.node && edge.node->extra)
      for (auto& [index, callable] : edge.node->extra->hooks) hooked |= index == edge.index;
    if (hooked) found.emplace_back(i, i);
  }
  for (Edge& edge : edges) drop_edge(edge);
  return found;
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
