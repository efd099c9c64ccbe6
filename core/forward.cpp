#include "forward.h"

#include <algorithm>
#include <unordered_map>
#include <vector>

#include "expansion.h"
#include "node_program.h"
#include "saved_hooks.h"
#include "saved_values.h"
#include "view_grad.h"

namespace dg {

namespace {

// One pass over the part of the tape that leads from the inputs to the outputs.
class Walk {
 public:
  explicit Walk(bool create_graph) : create_graph_(create_graph), expansions_(expansions()) {}
  ~Walk() {
    for (TensorObject* tangent : slots_) Py_XDECREF(reinterpret_cast<PyObject*>(tangent));
    for (State& state : states_) release_node(state.node);
  }
  Walk(const Walk&) = delete;

  void add_output(TensorObject* tensor);
  void add_input(TensorObject* tensor, TensorObject* tangent);
  void go();
  Ref result(size_t output) const;

 private:
  struct State {
    Node* node;  // owned
    size_t slots;
    bool needed;
  };

  const Edge& at(const Edge& edge) const {
    return edge.node && edge.node->kind == NodeKind::Python ? expanded_edge(edge, expansions_) : edge;
  }
  size_t state_of(Node* node);
  bool known(Node* node) const { return index_.count(node) > 0; }
  size_t slot_of(const Edge& edge) { return states_[state_of(edge.node)].slots + edge.index; }
  TensorObject* tangent_of(const Edge& edge);
  void discover();
  void choose_needed(const std::vector<size_t>& order);
  void run_node(const State& state);

  const bool create_graph_;
  const uint64_t expansions_;
  std::vector<State> states_;
  std::unordered_map<Node*, size_t> index_;
  std::vector<TensorObject*> slots_;          // owned
  std::vector<uint32_t> uses_;                // that are to come
  std::vector<char> given_;                   // slots of inputs
  std::vector<Edge> outputs_;                 // borrowed
  std::vector<std::pair<Edge, Ref>> inputs_;  // borrowed, and their tangents
  std::unordered_map<TensorObject*, TensorObject*> leaves_;
  std::vector<Ref> kept_;
};

size_t Walk::state_of(Node* node) {
  auto [found, fresh] = index_.try_emplace(node, states_.size());
  if (!fresh) return found->second;
  retain_node(node);
  states_.push_back({node, slots_.size(), false});
  slots_.resize(slots_.size() + node->n_outputs, nullptr);
  uses_.resize(slots_.size(), 0);
  given_.resize(slots_.size(), 0);
  return states_.size() - 1;
}

void Walk::add_output(TensorObject* tensor) {
  Edge edge = edge_of(tensor);
  outputs_.push_back(at(edge));
  drop_edge(edge);  // the tensor keeps node and leaf alive
  kept_.push_back(Ref::borrow(as_object(tensor)));
}

void Walk::add_input(TensorObject* tensor, TensorObject* tangent) {
  Edge edge = edge_of(tensor);
  const Edge there = at(edge);
  drop_edge(edge);
  kept_.push_back(Ref::borrow(as_object(tensor)));
  inputs_.emplace_back(there, Ref::borrow(as_object(tangent)));
}

TensorObject* Walk::tangent_of(const Edge& edge) {
  if (edge.leaf) {
    auto found = leaves_.find(edge.leaf);
    return found == leaves_.end() ? nullptr : found->second;
  }
  return edge.node && known(edge.node) ? slots_[slot_of(edge)] : nullptr;
}

void Walk::discover() {
  for (const Edge& edge : outputs_)
    if (edge.node) state_of(edge.node);
  for (size_t i = 0; i < states_.size(); ++i) {
    Node* node = states_[i].node;
    for (uint32_t e = 0; e < node->n_edges; ++e)
      if (const Edge& edge = at(node->edges[e]); edge.node) state_of(edge.node);
  }
}

// Only nodes that an input leads to run. Of nodes in the order in which they were recorded, each comes after its
// inputs.
void Walk::choose_needed(const std::vector<size_t>& order) {
  for (const auto& [edge, tangent] : inputs_) {
    if (edge.leaf) leaves_[edge.leaf] = as_tensor(tangent.get());
    if (!edge.node || !known(edge.node)) continue;
    const size_t slot = slot_of(edge);
    if (given_[slot]) continue;
    given_[slot] = 1;
    ++uses_[slot];  // never given up
    slots_[slot] = as_tensor(Ref::borrow(tangent.get()).release());
  }
  for (size_t i : order) {
    const Node* node = states_[i].node;
    bool needed = false;
    for (uint32_t e = 0; e < node->n_edges && !needed; ++e) {
      const Edge& edge = at(node->edges[e]);
      if (edge.leaf) needed = leaves_.count(edge.leaf) > 0;
      if (edge.node) needed = states_[state_of(edge.node)].needed || given_[slot_of(edge)];
    }
    states_[i].needed = needed;
    for (uint32_t e = 0; needed && e < node->n_edges; ++e)
      if (const Edge& edge = at(node->edges[e]); edge.node) ++uses_[slot_of(edge)];
  }
  for (const Edge& edge : outputs_)
    if (edge.node) ++uses_[slot_of(edge)];
}

void Walk::run_node(const State& state) {
  Node* node = state.node;
  std::vector<Ref> held;
  std::vector<TensorObject*> tangents(node->n_edges, nullptr);
  bool any = false;
  for (uint32_t e = 0; e < node->n_edges; ++e) {
    const Edge& edge = at(node->edges[e]);
    tangents[e] = tangent_of(edge);
    any = any || tangents[e];
    if (tangents[e]) held.push_back(Ref::borrow(as_object(tangents[e])));
  }
  for (uint32_t e = 0; e < node->n_edges; ++e) {
    const Edge& edge = at(node->edges[e]);
    if (!edge.node) continue;
    if (const size_t slot = slot_of(edge); --uses_[slot] == 0) Py_CLEAR(*reinterpret_cast<PyObject**>(&slots_[slot]));
  }
  if (!any) return;
  Gradients results;
  node_tangents(node, tangents.data(), create_graph_, &results);
  for (uint32_t i = 0; i < node->n_outputs; ++i) {
    const size_t slot = state.slots + i;
    if (results[i] && !given_[slot] && uses_[slot])
      slots_[slot] = results[i];
    else
      Py_XDECREF(reinterpret_cast<PyObject*>(results[i]));
  }
}

void Walk::go() {
  GradMode grad_mode(create_graph_);
  discover();
  std::vector<size_t> order(states_.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return states_[a].node->sequence < states_[b].node->sequence; });
  choose_needed(order);
  uint32_t count = 0;
  for (size_t i : order) {
    if ((++count & 1023) == 0) check_status(PyErr_CheckSignals());
    if (states_[i].needed) run_node(State(states_[i]));
  }
}

Ref Walk::result(size_t output) const {
  const Edge& edge = outputs_[output];
  TensorObject* found = const_cast<Walk*>(this)->tangent_of(edge);
  return Ref::borrow(found ? as_object(found) : Py_None);
}

Ref tangents_tuple(const Node* node, TensorObject* const* tangents) {
  Ref tuple = owned(PyTuple_New(node->n_edges));
  for (uint32_t i = 0; i < node->n_edges; ++i)
    PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(tangents[i] ? as_object(tangents[i]) : Py_None).release());
  return tuple;
}

void take_tangents(const Node* node, PyObject* given, Gradients* results) {
  Ref items = owned(PySequence_Tuple(given));
  if (PyTuple_GET_SIZE(items.get()) != static_cast<Py_ssize_t>(node->n_outputs))
    raise_node_error("InternalError", node, nullptr, "%s: forward mode gave %zd tangents for %u outputs",
                     node_name(node), PyTuple_GET_SIZE(items.get()), node->n_outputs);
  for (uint32_t i = 0; i < node->n_outputs; ++i)
    if (PyObject* item = PyTuple_GET_ITEM(items.get(), i); item != Py_None) {
      require_tensor(item, "forward mode");
      (*results)[i] = as_tensor(Ref::borrow(item).release());
    }
}

// A node without an operator: Python knows what to do with its function.
void python_tangents(Node* node, TensorObject* const* tangents, Gradients* results) {
  Ref view = owned(node_object(node, 0)), given = tangents_tuple(node, tangents);
  Ref metas = owned(PyTuple_New(node->n_outputs));
  for (uint32_t i = 0; i < node->n_outputs; ++i)
    PyTuple_SET_ITEM(metas.get(), i, Ref::borrow(node->extra->metas[i]).release());
  RunningNode running(node);
  PyObject* parameters[] = {view.get(), given.get(), metas.get(), node->extra->python, Py_None, Py_True};
  WithoutAutocast rules;
  take_tangents(node, owned(PyObject_Vectorcall(hook(Hook::PythonGradient), parameters, 6, nullptr)).get(), results);
}

}  // namespace

void node_tangents(Node* node, TensorObject* const* tangents, bool create_graph, Gradients* results) {
  results->resize(node->n_outputs);
  for (TensorObject*& result : *results) result = nullptr;
  check_freed(node);
  Unpacked unpacked(node);
  bool traced = mode.tracing > 0;
  for (uint32_t i = 0; i < node->n_edges; ++i) traced = traced || (tangents[i] && tangents[i]->traced);
  switch (node->kind) {
    case NodeKind::Python:
      return python_tangents(node, tangents, results);
    case NodeKind::View:
    case NodeKind::CopySlices:
      return view_tangents(node, tangents, create_graph, results);
    case NodeKind::Compiled:
      take_other_data(node);
      if (!create_graph && !traced) {
        while (!run_compiled(node, tangents, true, results)) continue;
        return;
      }
      break;
    default:
      break;
  }
  Ref given = tangents_tuple(node, tangents);
  take_tangents(node, call_rule(node, given.get(), create_graph, true).get(), results);
}

PyObject* compute_tangents(PyObject* outputs, PyObject* inputs, PyObject* tangents, bool create_graph) {
  Walk walk(create_graph);
  const Py_ssize_t count = PyTuple_GET_SIZE(outputs);
  for (Py_ssize_t i = 0; i < count; ++i) walk.add_output(require_tensor(PyTuple_GET_ITEM(outputs, i), "forward mode"));
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i) {
    TensorObject* input = require_tensor(PyTuple_GET_ITEM(inputs, i), "forward mode");
    PyObject* tangent = PyTuple_GET_ITEM(tangents, i);
    if (tangent != Py_None) walk.add_input(input, require_tensor(tangent, "forward mode"));
  }
  walk.go();
  Ref results = owned(PyTuple_New(count));
  for (Py_ssize_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(results.get(), i, walk.result(static_cast<size_t>(i)).release());
  return results.release();
}

}  // namespace dg
