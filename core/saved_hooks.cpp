#include "saved_hooks.h"

#include <algorithm>
#include <cstring>

namespace dg {

constinit thread_local PyObject* saved_hooks = nullptr;
constinit thread_local PyObject* backward_observer = nullptr;

namespace {

Ref exchange_object(PyObject** place, PyObject* object) {
  Ref before(std::exchange(*place, object == Py_None ? nullptr : Ref::borrow(object).release()));
  return before ? std::move(before) : Ref::borrow(Py_None);
}

// What a user's function computes itself is not packed again.
class NoHooks {
 public:
  NoHooks() : before_(std::exchange(saved_hooks, nullptr)) {}
  ~NoHooks() {
    Py_XDECREF(saved_hooks);
    saved_hooks = before_;
  }
  NoHooks(const NoHooks&) = delete;
  PyObject* before() const { return before_; }

 private:
  PyObject* before_;
};

Ref tuple_of(TensorObject* const* tensors, size_t count) {
  Ref tuple = owned(PyTuple_New(static_cast<Py_ssize_t>(count)));
  for (size_t i = 0; i < count; ++i)
    PyTuple_SET_ITEM(tuple.get(), i, Ref::borrow(tensors[i] ? as_object(tensors[i]) : Py_None).release());
  return tuple;
}

}  // namespace

Ref set_saved_hooks(PyObject* hooks) {
  if (hooks != Py_None && !(PyTuple_Check(hooks) && PyTuple_GET_SIZE(hooks) == 2))
    raise_error("ArgumentError", "set_saved_hooks: expected (pack, unpack) or None");
  return exchange_object(&saved_hooks, hooks);
}

Packed pack_tensor(const TensorObject* tensor) {
  NoHooks none;
  Ref alias(as_object(make_detached(tensor)));
  const auto version = [&] { return tensor->buffer ? tensor->buffer->version.load(std::memory_order_relaxed) : 0; };
  const uint32_t before = version();
  Ref object = owned(PyObject_CallOneArg(PyTuple_GET_ITEM(none.before(), 0), alias.get()));
  if (version() != before)
    raise_error_hint("GradError", "write to a copy: t.clone()",
                     "saved_tensors_hooks: pack wrote to the tensor that it was given, which others use");
  return {0, std::move(object), Ref::borrow(PyTuple_GET_ITEM(none.before(), 1))};
}

void pack_value(Node* node, uint32_t index, const TensorObject* tensor) {
  Packed packed = pack_tensor(tensor);
  packed.index = index;
  extra_of(node).packed.push_back(std::move(packed));
}

Ref unpack_tensor(const Packed& packed, DType dtype, int rank, const int64_t* sizes, const char* name) {
  NoHooks none;
  Ref object = packed.object, unpack = packed.unpack;  // they may be given up meanwhile
  Ref found = owned(PyObject_CallOneArg(unpack.get(), object.get()));
  if (!is_tensor(found.get()))
    raise_error("GradError", "%s: unpack of saved_tensors_hooks gave %s, not a Tensor", name,
                Py_TYPE(found.get())->tp_name);
  const TensorObject* tensor = as_tensor(found.get());
  require_host(tensor, name);
  if (tensor->dtype == dtype && tensor->rank == rank && std::equal(sizes, sizes + rank, tensor->sizes)) return found;
  Ref got(describe(tensor)), shape(make_size(rank, sizes));
  Ref text = owned(PyObject_Repr(shape.get()));
  raise_error("GradError", "%s: unpack of saved_tensors_hooks gave %s for a value that was saved as %s of %s", name,
              PyUnicode_AsUTF8(got.get()), dg::name(dtype), PyUnicode_AsUTF8(text.get()));
}

Unpacked::Unpacked(Node* node) : node_(node) {
  if (!node->extra || node->extra->packed.empty()) return;
  const std::vector<Packed> packed = node->extra->packed;  // Python runs: the node's own may be given up meanwhile
  try {
    for (const Packed& one : packed) {
      Saved& saved = node->operands[one.index];
      Ref found = unpack_tensor(one, saved.dtype, saved.rank, saved.sizes, node_name(node));
      if (saved.buffer) continue;  // a hook that differentiates the same node has come first
      const TensorObject* tensor = as_tensor(found.get());
      retain(tensor->buffer);
      saved.buffer = tensor->buffer;
      saved.version = tensor->buffer->version.load(std::memory_order_relaxed);
      saved.offset = tensor->offset;
      saved.contiguous = is_contiguous(tensor);
      std::memcpy(saved.sizes + saved.rank, tensor->strides, saved.rank * sizeof(int64_t));
      filled_.push_back(one.index);
    }
  } catch (...) {
    for (uint32_t index : filled_) release(std::exchange(node->operands[index].buffer, nullptr));
    throw;
  }
}

Unpacked::~Unpacked() {
  for (uint32_t index : filled_)
    if (Buffer* buffer = std::exchange(node_->operands[index].buffer, nullptr)) release(buffer);
}

Ref set_backward_observer(PyObject* function) { return exchange_object(&backward_observer, function); }

void tell_observer(Node* node, TensorObject* const* grads, size_t n_grads, TensorObject* const* results,
                   size_t n_results) {
  Ref function = Ref::borrow(backward_observer);
  Ref object = owned(node_object(node, 0));
  Ref given = tuple_of(grads, n_grads), found = tuple_of(results, n_results);
  owned(PyObject_CallFunctionObjArgs(function.get(), object.get(), given.get(), found.get(), nullptr));
}

}  // namespace dg
