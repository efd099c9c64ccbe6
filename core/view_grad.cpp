#include "view_grad.h"

#include <cstdint>
#include <cstring>

#include "forward.h"
#include "geometry.h"

namespace dg {

namespace {

void note_dims(Saved* saved, const TensorObject* tensor, int64_t** storage) {
  saved->kind = 1;  // OperandKind::Tensor
  saved->sizes = *storage;
  std::memcpy(*storage, tensor->sizes, 2 * tensor->rank * sizeof(int64_t));
  *storage += 2 * tensor->rank;
  saved->dtype = tensor->dtype;
  saved->rank = tensor->rank;
  saved->offset = tensor->offset;
  saved->contiguous = is_contiguous(tensor);
}

// operands[0] is the base's geometry, operands[1] the view's.
Node* region_node(NodeKind kind, uint32_t n_edges, const TensorObject* base, const TensorObject* view,
                  const TensorObject* output) {
  const uint32_t dims = 2 * (base->rank + view->rank + output->rank);
  Node* node = new_node(kind, nullptr, n_edges, 2, 1, dims, 0);
  int64_t* storage = node->sizes;
  note_dims(&node->operands[0], base, &storage);
  note_dims(&node->operands[1], view, &storage);
  note_dims(&node->outs[0], output, &storage);
  return node;
}

// The view becomes "this region of the base as it now is".
void place_view(TensorObject* view) {
  TensorObject* base = as_tensor(view->base);
  Node* node = region_node(NodeKind::View, 1, base, view, view);
  node->edges[0] = edge_of(base);
  set_node(view, node, 0);
}

// New memory laid out as the base: row-major bases stay row-major.
TensorObject* like_base(const Saved& base, bool zero) {
  const Extent extent = view_extent(base.rank, base.sizes, base.sizes + base.rank);
  Buffer* buffer = allocate(static_cast<size_t>(extent.high) * itemsize(base.dtype));
  if (zero) std::memset(buffer->data, 0, static_cast<size_t>(extent.high) * itemsize(base.dtype));
  return make_tensor(buffer, 0, base.dtype, base.rank, base.sizes, base.sizes + base.rank);
}

char* region_data(const TensorObject* whole, const Saved& base, const Saved& view) {
  return whole->data + (view.offset - base.offset) * static_cast<int64_t>(itemsize(base.dtype));
}

// Adds element by element: for views that show an element more than once.
void add_region(char* target, const Saved& view, const TensorObject* grad) {
  Dims index;
  index.resize(view.rank);
  for (int64_t& i : index) i = 0;
  const int64_t* strides = view.sizes + view.rank;
  const auto size = static_cast<int64_t>(itemsize(view.dtype));
  for (int64_t count = 0; count < grad->numel; ++count) {
    int64_t to = 0, from = 0;
    for (int d = 0; d < view.rank; ++d) {
      to += index[d] * strides[d];
      from += index[d] * grad->strides[d];
    }
    store_number(target + to * size, view.dtype,
                 load_as_double(target + to * size, view.dtype) + load_as_double(grad->data + from * size, view.dtype));
    for (int d = view.rank - 1; d >= 0; --d) {
      if (++index[d] < view.sizes[d]) break;
      index[d] = 0;
    }
  }
}

// Whether dimensions may show a place twice: each step must reach over all that the smaller steps show.
bool may_share_places(const int64_t* sizes, const int64_t* strides, int rank) {
  int64_t reach = 0, below = 0;
  for (int found = 0; found < rank;) {
    int64_t step = INT64_MAX, span = 0;
    for (int d = 0; d < rank; ++d) {
      const int64_t stride = strides[d] < 0 ? -strides[d] : strides[d];
      if (sizes[d] < 2 || (found && stride <= below)) continue;
      if (stride == step) return true;
      if (stride < step) step = stride, span = sizes[d] - 1;
    }
    if (step == INT64_MAX) break;
    if (step <= reach) return true;
    reach += step * span;
    below = step;
    ++found;
  }
  return false;
}

bool overlaps_itself(const Saved& view) { return may_share_places(view.sizes, view.sizes + view.rank, view.rank); }

void copy_region(char* target, const int64_t* target_strides, const char* source, const int64_t* source_strides,
                 const Saved& view) {
  strided_copy(target, target_strides, source, source_strides, view.rank, view.sizes, itemsize(view.dtype));
}

// The gradients of the operator that wrote a view.
struct Inner {
  Gradients tensors;
  ~Inner() {
    for (TensorObject* tensor : tensors) Py_XDECREF(reinterpret_cast<PyObject*>(tensor));
  }
};

// How many elements of a base show each place, along the dimensions that repeat it: they share the place's gradient.
int64_t repeats(const Saved& base) {
  int64_t count = 1;
  for (int d = 0; d < base.rank; ++d)
    if (base.sizes[base.rank + d] == 0 && base.sizes[d] > 1) count *= base.sizes[d];
  return count;
}

void share_among(int64_t count, TensorObject* whole) {
  const Extent extent = view_extent(whole->rank, whole->sizes, whole->strides);
  for (int64_t i = 0; i < extent.high; ++i) {
    char* place = whole->data + i * static_cast<int64_t>(itemsize(whole->dtype));
    store_number(place, whole->dtype, load_as_double(place, whole->dtype) / static_cast<double>(count));
  }
}

void view_gradient(Node* node, const TensorObject* grad, Gradients* results) {
  const Saved &base = node->operands[0], &view = node->operands[1];
  TensorObject* whole = like_base(base, true);
  (*results)[0] = whole;
  if (overlaps_itself(view))
    add_region(region_data(whole, base, view), view, grad);
  else
    copy_region(region_data(whole, base, view), view.sizes + view.rank, grad->data, grad->strides, view);
  if (const int64_t count = repeats(base); count > 1) share_among(count, whole);
}

void write_gradient(Node* node, const TensorObject* grad, Gradients* results) {
  const Saved &base = node->operands[0], &view = node->operands[1];
  Node* write = node->extra->write;
  Ref whole(as_object(like_base(base, false)));
  copy_region(as_tensor(whole.get())->data, base.sizes + base.rank, grad->data, grad->strides, base);
  char* region = region_data(as_tensor(whole.get()), base, view);
  Ref of_view(as_object(make_empty(view.dtype, view.rank, view.sizes)));
  copy_region(as_tensor(of_view.get())->data, as_tensor(of_view.get())->strides, region, view.sizes + view.rank, view);
  TensorObject* grads[] = {as_tensor(of_view.get())};
  Inner inner;
  node_gradients(write, grads, false, &inner.tensors);
  // What the region held before: its gradient, or nothing if it was simply overwritten.
  Ref before;
  if (inner.tensors[0])
    before = Ref::borrow(as_object(inner.tensors[0]));
  else
    before = Ref(as_object(make_zeros(view.dtype, view.rank, view.sizes)));
  copy_region(region, view.sizes + view.rank, as_tensor(before.get())->data, as_tensor(before.get())->strides, view);
  (*results)[0] = as_tensor(whole.release());
  for (uint32_t i = 1; i < write->n_edges; ++i) (*results)[i] = std::exchange(inner.tensors[i], nullptr);
}

// What create_graph records, and a capture: the same made of operators, on layouts relative to the base's.
Ref dims_tuple(const int64_t* values, int count) {
  Ref tuple = owned(PyTuple_New(count));
  for (int d = 0; d < count; ++d) PyTuple_SET_ITEM(tuple.get(), d, checked(PyLong_FromLongLong(values[d])));
  return tuple;
}

Ref layout_of(const Saved& tensor, const Saved& base) {
  Ref sizes = dims_tuple(tensor.sizes, tensor.rank), strides = dims_tuple(tensor.sizes + tensor.rank, tensor.rank);
  return owned(Py_BuildValue("(OOL)", sizes.get(), strides.get(), static_cast<long long>(tensor.offset - base.offset)));
}

Ref ask(const char* task, PyObject* a, PyObject* b, PyObject* c, PyObject* d) {
  Ref name = owned(PyUnicode_FromString(task));
  WithoutAutocast rules;
  Ref made = owned(PyObject_CallFunctionObjArgs(hook(Hook::ViewGradient), name.get(), a, b, c, d, nullptr));
  require_tensor(made.get(), task);
  return made;
}

void recorded_gradients(Node* node, TensorObject* grad, Gradients* results) {
  const Saved &base = node->operands[0], &view = node->operands[1];
  Ref whole = layout_of(base, base), part = layout_of(view, base);
  if (node->kind == NodeKind::View) {
    Ref made = ask("gradient", as_object(grad), whole.get(), part.get(), overlaps_itself(view) ? Py_True : Py_False);
    (*results)[0] = as_tensor(made.release());
    return;
  }
  Ref of_view = ask("taken", as_object(grad), whole.get(), part.get(), nullptr);
  TensorObject* grads[] = {as_tensor(of_view.get())};
  Inner inner;
  node_gradients(node->extra->write, grads, true, &inner.tensors);
  Ref before = Ref::borrow(inner.tensors[0] ? as_object(inner.tensors[0]) : Py_None);
  Ref made = ask("replaced", as_object(grad), before.get(), whole.get(), part.get());
  (*results)[0] = as_tensor(made.release());
  for (uint32_t i = 1; i < node->n_edges; ++i) (*results)[i] = std::exchange(inner.tensors[i], nullptr);
}

}  // namespace

void refresh_view_slow(TensorObject* view) {
  TensorObject* base = as_tensor(view->base);
  const uint32_t version = view->buffer->version.load(std::memory_order_relaxed);
  if (!(view->flags & kDetachedView) && base->buffer == view->buffer && base->dtype == view->dtype &&
      requires_grad(base))
    place_view(view);
  view->view_version = version;
}

void rebase_view(TensorObject* view, Node* write) {
  NodeRef owned_write(write);
  TensorObject* base = as_tensor(view->base);
  if (base->buffer != view->buffer || base->dtype != view->dtype || overlaps_itself_now(view))
    raise_error_hint("GradError", "write to the whole tensor, or build the result with where, cat or stack",
                     "%s: this view cannot be written while it takes part in differentiation", node_name(write));
  Node* node = region_node(NodeKind::CopySlices, write->n_edges, base, view, base);
  NodeRef owned_node(node);
  node->edges[0] = edge_of(base);
  for (uint32_t i = 1; i < write->n_edges; ++i) {
    node->edges[i] = write->edges[i];
    if (node->edges[i].node) retain_node(node->edges[i].node);
    Py_XINCREF(reinterpret_cast<PyObject*>(node->edges[i].leaf));
  }
  extra_of(node).write = owned_write.release();
  set_node(base, owned_node.release(), 0);
  place_view(view);
}

void view_gradients(Node* node, TensorObject* grad, bool recorded, Gradients* results) {
  if (recorded) return recorded_gradients(node, grad, results);
  require_host(grad, node_name(node));
  if (node->kind == NodeKind::View)
    view_gradient(node, grad, results);
  else
    write_gradient(node, grad, results);
}

void view_tangents(Node* node, TensorObject* const* tangents, bool create_graph, Gradients* results) {
  const Saved &base = node->operands[0], &view = node->operands[1];
  Ref whole = layout_of(base, base), part = layout_of(view, base);
  Ref of_view;
  if (tangents[0]) of_view = ask("taken", as_object(tangents[0]), whole.get(), part.get(), nullptr);
  if (node->kind == NodeKind::View) {
    (*results)[0] = as_tensor(of_view.release());
    return;
  }
  Node* write = node->extra->write;
  std::vector<TensorObject*> given(tangents, tangents + node->n_edges);
  given[0] = of_view ? as_tensor(of_view.get()) : nullptr;
  Inner inner;
  node_tangents(write, given.data(), create_graph, &inner.tensors);
  Ref before =
      tangents[0] ? Ref::borrow(as_object(tangents[0])) : Ref(as_object(make_zeros(base.dtype, base.rank, base.sizes)));
  Ref after = Ref::borrow(inner.tensors[0] ? as_object(inner.tensors[0]) : Py_None);
  Ref made = ask("replaced", before.get(), after.get(), whole.get(), part.get());
  (*results)[0] = as_tensor(made.release());
}

bool overlaps_itself_now(const TensorObject* tensor) {
  if (!tensor->buffer || tensor->numel == 0) return false;
  return may_share_places(tensor->sizes, tensor->strides, tensor->rank);
}

}  // namespace dg
