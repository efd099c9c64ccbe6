#include "backward_pass.h"

#include <algorithm>

#include "call.h"
#include "geometry.h"
#include "grad_journal.h"
#include "gradient.h"
#include "gradient_hooks.h"
#include "mode.h"
#include "saved_hooks.h"
#include "view_grad.h"

namespace dg {

namespace {

int active_runs = 0;

struct Guard {
  SmallVector<TensorObject*, 4>& tensors;
  ~Guard() {
    for (TensorObject* tensor : tensors) Py_XDECREF(reinterpret_cast<PyObject*>(tensor));
  }
};

// The gradient as what `.grad` will hold: contiguous memory of its own, unless the graph is recorded.
Ref own_gradient(Ref grad, bool create_graph) {
  TensorObject* tensor = as_tensor(grad.get());
  if (create_graph) {
    if (Py_REFCNT(grad.get()) == 1) return grad;
    TensorObject* alias = make_detached(tensor);
    Ref result(as_object(alias));
    if (tensor->node) {
      retain_node(tensor->node);
      set_node(alias, tensor->node, tensor->output_index);
    }
    return result;
  }
  if (tensor->traced) return Py_REFCNT(grad.get()) == 1 ? grad : Ref(as_object(make_detached(tensor)));
  const bool alone = Py_REFCNT(grad.get()) == 1 && tensor->buffer->refs.load(std::memory_order_relaxed) == 1;
  if (is_contiguous(tensor) && alone) return grad;
  if (OpObject* op = is_contiguous(tensor) ? nullptr : slot_op(Slot::Contiguous); op && !mode.tracing) {
    PyObject* value = grad.get();
    return owned(call_positional(op, &value, 1));
  }
  return Ref(as_object(contiguous_copy(tensor, "backward")));
}

// A function written in Python lets go of what it saved, too.
void give_up_saved(const Node* node) {
  PyObject* function = node->extra ? node->extra->python : nullptr;
  if (!function || !PyMethod_Check(function)) return;
  Ref give_up(PyObject_GetAttrString(PyMethod_GET_SELF(function), "give_up"));
  if (give_up)
    owned(PyObject_CallNoArgs(give_up.get()));
  else
    PyErr_Clear();
}

}  // namespace

BackwardPass::BackwardPass(bool retain_graph, bool create_graph)
    : retain_graph_(retain_graph),
      create_graph_(create_graph),
      id_(new_id()),
      use_maps_(active_runs > 0),
      expansions_(expansions()) {
  ++active_runs;
}

BackwardPass::~BackwardPass() {
  --active_runs;
  for (TensorObject* grad : slots_) Py_XDECREF(reinterpret_cast<PyObject*>(grad));
  // Only now: a node freed earlier could have taken others with it that are still to be visited.
  for (NodeState& state : states_) release_node(state.node);
  for (LeafState& state : leaves_) Py_DECREF(as_object(state.leaf));
}

void BackwardPass::join(PyObject* leaves) {
  for (Py_ssize_t i = 0; i + 1 < PyTuple_GET_SIZE(leaves); i += 2)
    joined_.emplace_back(require_tensor(PyTuple_GET_ITEM(leaves, i), "grad: joined"),
                         Edge{nullptr, require_tensor(PyTuple_GET_ITEM(leaves, i + 1), "grad: joined"), 0});
}

void BackwardPass::add_root(TensorObject* tensor, Ref grad) {
  Edge edge = edge_of(tensor);
  Root root{at(edge), std::move(grad), Ref::borrow(as_object(tensor))};
  // The tensor keeps node and leaf alive from here on.
  drop_edge(edge);
  roots_.push_back(std::move(root));
}

void BackwardPass::restrict_to(PyObject* inputs, bool end) {
  restricted_ = true;
  end_ = end;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i) {
    TensorObject* input = require_tensor(PyTuple_GET_ITEM(inputs, i), "grad: inputs");
    if (!requires_grad(input)) raise_error("GradError", "grad: input %zd does not require grad", i);
    Edge edge = edge_of(input);
    const Edge& there = at(edge);
    captures_.push_back({there.node, there.leaf, there.index, Ref()});
    drop_edge(edge);
  }
}

// Adds in place where nobody else can see the gradient that is there.
void BackwardPass::add_to(TensorObject** slot, Ref grad) {
  TensorObject* there = *slot;
  if (!there) {
    *slot = as_tensor(grad.release());
    return;
  }
  const bool own = !create_graph_ && there->buffer && !there->traced && is_contiguous(there) &&
                   Py_REFCNT(as_object(there)) == 1 && there->buffer->refs.load(std::memory_order_relaxed) == 1 &&
                   !there->node && !mode.tracing && !as_tensor(grad.get())->traced;
  PyObject* values[] = {as_object(there), grad.get()};
  OpObject* op = require_slot(own && slot_op(Slot::InplaceAdd) ? Slot::InplaceAdd : Slot::Add);
  Ref sum = owned(call_positional(op, values, 2));
  Py_SETREF(*reinterpret_cast<PyObject**>(slot), sum.release());
}

void BackwardPass::deliver(const Edge& edge, Ref grad) {
  if (edge.leaf) {
    LeafState& leaf = leaves_[leaf_of(edge.leaf)];
    if (!leaf.wanted) return;
    TensorObject* there = as_tensor(leaf.grad.release());
    try {
      add_to(&there, std::move(grad));
    } catch (...) {
      leaf.grad = Ref(reinterpret_cast<PyObject*>(there));
      throw;
    }
    leaf.grad = Ref(as_object(there));
  } else if (goes_on(edge)) {
    pass_through(edge.node, std::move(grad));
  } else {
    add_to(&slots_[states_[state_of(edge.node)].slots + edge.index], std::move(grad));
  }
}

// Whether each gradient that arrives goes on at once: nobody asks for their sum.
bool BackwardPass::goes_on(const Edge& edge) const {
  const NodeExtra* extra = edge.node->extra;
  if (!extra || !extra->at_once || !extra->hooks.empty() || !extra->retained.empty()) return false;
  return std::none_of(captures_.begin(), captures_.end(), [&](const Capture& c) { return c.node == edge.node; });
}

void BackwardPass::pass_through(Node* node, Ref grad) {
  if (!states_[state_of(node)].needed) return;
  TensorObject* given = as_tensor(grad.get());
  Gradients results;
  Guard guard{results};
  node_gradients_from(node, &given, nullptr, &results);
  for (uint32_t e = 0; e < node->n_edges; ++e)
    if (TensorObject* part = std::exchange(results[e], nullptr)) deliver(at(node->edges[e]), Ref(as_object(part)));
}

// Whether a gradient that an edge delivers is asked for, or goes on to one that is.
bool BackwardPass::wants(const Edge& edge) {
  if (edge.leaf) return leaves_[leaf_of(edge.leaf)].wanted;
  if (!edge.node || !restricted_) return edge.node;
  auto is_end = [&](const Capture& c) { return c.node == edge.node && c.index == edge.index; };
  return states_[state_of(edge.node)].needed || std::any_of(captures_.begin(), captures_.end(), is_end);
}

// Where the sum of what an edge delivers is found.
const Edge& BackwardPass::sum_at(const Edge& edge) const {
  const Edge* found = &at(edge);
  while (found->node && goes_on(*found)) found = &at(found->node->edges[0]);
  return *found;
}

// The gradient that has arrived at an edge's end so far, given away for another. What nobody wants stays null.
TensorObject* BackwardPass::exchange_sum(const Edge& edge, TensorObject* sum) {
  if (edge.node) return std::exchange(slots_[states_[state_of(edge.node)].slots + edge.index], sum);
  LeafState& leaf = leaves_[leaf_of(edge.leaf)];
  Ref given(as_object(sum));
  TensorObject* before = as_tensor(leaf.grad.release());
  if (sum && leaf.wanted) leaf.grad = std::move(given);
  return before;
}

// A node that stands for several operators is handed the sums so far and gives the new ones: one after the other, its
// operators add to them as they would have done by themselves. Of several edges to one place the first has the sum.
void BackwardPass::continue_sums(Node* node, TensorObject* const* grads) {
  auto wanted = [&](uint32_t e) { return wants(at(node->edges[e])); };
  check_refusals(node, grads, nullptr, wanted);
  Ref sums = owned(PyTuple_New(node->n_edges));
  for (uint32_t e = 0; e < node->n_edges; ++e) {
    const Edge& edge = sum_at(node->edges[e]);
    TensorObject* sum = edge ? exchange_sum(edge, nullptr) : nullptr;
    PyTuple_SET_ITEM(sums.get(), e, sum ? as_object(sum) : Ref::borrow(Py_None).release());
  }
  Gradients results;
  Guard guard{results};
  const Ref conditions = node_gradients_from(node, grads, sums.get(), &results);
  if (conditions) check_refusals(node, grads, conditions.get(), wanted);
  for (uint32_t e = 0; e < node->n_edges; ++e) {
    PyObject* before = PyTuple_GET_ITEM(sums.get(), e);
    Ref after(reinterpret_cast<PyObject*>(std::exchange(results[e], nullptr)));
    if (before == Py_None) {
      if (const Edge& edge = at(node->edges[e]); after && edge) deliver(edge, std::move(after));
      continue;
    }
    if (!after) after = Ref::borrow(before);
    Py_XDECREF(reinterpret_cast<PyObject*>(exchange_sum(sum_at(node->edges[e]), as_tensor(after.release()))));
  }
}

void BackwardPass::apply_hooks(Node* node, TensorObject** grads) {
  if (!node->extra->hooks.empty()) run_output_hooks(node, grads);
  for (size_t r = 0; r < node->extra->retained.size(); ++r) {
    Retained entry = node->extra->retained[r];
    if (!grads[entry.index]) continue;
    Ref kept = Ref::borrow(as_object(entry.tensor));
    TensorObject* there = reinterpret_cast<TensorObject*>(Ref::borrow(entry.tensor->grad).release());
    Ref guard;
    try {
      add_to(&there, Ref::borrow(as_object(grads[entry.index])));
    } catch (...) {
      Py_XDECREF(reinterpret_cast<PyObject*>(there));
      throw;
    }
    guard = Ref(as_object(there));
    set_grad(entry.tensor, guard.get());
  }
}

// Takes the chosen inputs' gradients out of what arrived at a node; whether there are others.
bool BackwardPass::pass_on(Node* node, TensorObject** grads) {
  for (const Capture& capture : captures_)
    if (capture.node == node) Py_CLEAR(*reinterpret_cast<PyObject**>(&grads[capture.index]));
  if (!std::any_of(grads, grads + node->n_outputs, [](TensorObject* grad) { return grad; })) return false;
  if (node->extra) apply_hooks(node, grads);
  return true;
}

void BackwardPass::run_node(uint32_t index) {
  Node* node = states_[index].node;
  // Out of the run's own list first: what executes may not reach them any more.
  SmallVector<TensorObject*, 4> grads;
  grads.resize(node->n_outputs);
  bool any = false;
  for (uint32_t i = 0; i < node->n_outputs; ++i) {
    grads[i] = std::exchange(slots_[states_[index].slots + i], nullptr);
    any = any || grads[i];
  }
  Guard guard{grads};
  if (!any) return;
  if (node->extra && !end_) apply_hooks(node, grads.data());
  for (Capture& capture : captures_)
    if (capture.node == node && grads[capture.index]) capture.grad = Ref::borrow(as_object(grads[capture.index]));
  if (end_ && !pass_on(node, grads.data())) return;
  if (!states_[index].needed) return;
  const bool hooked = node->extra && !node->extra->hooks.empty();
  if (hooked) run_hooks_before(node, grads.data());
  if (node->extra && node->extra->continues_sums) {
    continue_sums(node, grads.data());
    if (!retain_graph_) node->used = true;
    return;
  }
  Gradients results;
  Guard results_guard{results};
  node_gradients(node, grads.data(), create_graph_, &results);
  if (hooked) run_hooks_after(node, &results, grads.data());
  if (backward_observer) tell_observer(node, grads.data(), grads.size(), results.data(), results.size());
  if (!retain_graph_) {
    node->used = true;
    free_saved(node);
    if (node->kind == NodeKind::Python) give_up_saved(node);
  }
  for (uint32_t e = 0; e < node->n_edges; ++e) {
    TensorObject* grad = std::exchange(results[e], nullptr);
    if (const Edge& edge = at(node->edges[e]); grad && edge)
      deliver(edge, Ref(as_object(grad)));
    else
      Py_XDECREF(reinterpret_cast<PyObject*>(grad));
  }
}

// A leaf with hooks is done when the last gradient has arrived, so that what they let go of is free from then on.
// Others wait for the end: an error leaves them as they were.
void BackwardPass::complete_leaf(LeafState& state) {
  if (!state.grad || !state.leaf->hooks || end_) return;
  run_leaf_hooks(state.leaf, &state.grad);
  if (!accumulates_) return;
  accumulate_leaf(state);
  run_accumulated_hooks(state.leaf);
}

void BackwardPass::complete_inputs(Node* node, std::vector<uint32_t>* ready) {
  for (uint32_t e = 0; e < node->n_edges; ++e) {
    const Edge& edge = at(node->edges[e]);
    if (edge.node && --states_[state_of(edge.node)].dependencies == 0) ready->push_back(state_of(edge.node));
    if (edge.leaf)
      if (LeafState& leaf = leaves_[leaf_of(edge.leaf)]; --leaf.dependencies == 0) complete_leaf(leaf);
  }
}

void BackwardPass::go() {
  PassUnderWay under_way;
  discover();
  if (!end_)
    while (!joint_.empty() && take_apart()) discover();
  GradMode grad_mode(create_graph_);
  if (restricted_) choose_needed();
  count_dependencies();
  for (Root& root : roots_)
    if (root.edge) deliver(root.edge, std::move(root.grad));
  for (LeafState& leaf : leaves_)
    if (leaf.dependencies == 0) complete_leaf(leaf);
  // Ready nodes, the last recorded first: the order of accumulation is then fixed by the program alone.
  auto earlier = [this](uint32_t a, uint32_t b) { return states_[a].node->sequence < states_[b].node->sequence; };
  std::vector<uint32_t> ready;
  for (uint32_t i = 0; i < states_.size(); ++i)
    if (states_[i].dependencies == 0) ready.push_back(i);
  std::make_heap(ready.begin(), ready.end(), earlier);
  uint32_t count = 0;
  while (!ready.empty()) {
    std::pop_heap(ready.begin(), ready.end(), earlier);
    const uint32_t index = ready.back();
    ready.pop_back();
    if ((++count & 1023) == 0) check_status(PyErr_CheckSignals());
    run_node(index);
    if (!states_[index].needed) continue;
    const size_t waiting = ready.size();
    complete_inputs(states_[index].node, &ready);
    for (size_t n = waiting + 1; n <= ready.size(); ++n)
      std::push_heap(ready.begin(), ready.begin() + static_cast<std::ptrdiff_t>(n), earlier);
  }
  for (Capture& capture : captures_)
    if (capture.leaf)
      for (LeafState& state : leaves_)
        if (state.leaf == capture.leaf) capture.grad = state.grad;
  under_way.call_ends();
}

void BackwardPass::accumulate_leaf(LeafState& state) {
  TensorObject* leaf = state.leaf;
  note_grad_read(leaf);
  if (!leaf->grad) {
    Ref grad = own_gradient(std::move(state.grad), create_graph_);
    set_grad(leaf, grad.get());
    return;
  }
  PyObject* values[] = {leaf->grad, state.grad.get()};
  Ref kept = Ref::borrow(leaf->grad);
  if (create_graph_ || !slot_op(Slot::InplaceAdd) || as_tensor(leaf->grad)->node ||
      overlaps_itself_now(as_tensor(leaf->grad))) {
    Ref sum = owned(call_positional(require_slot(Slot::Add), values, 2));
    set_grad(leaf, sum.get());
  } else {
    GradMode off(false);
    owned(call_positional(require_slot(Slot::InplaceAdd), values, 2));
  }
  state.grad = Ref();
}

void BackwardPass::accumulate_leaves() {
  GradMode grad_mode(create_graph_);
  for (LeafState& state : leaves_)
    if (state.grad) accumulate_leaf(state);
}

}  // namespace dg
