#include "tensor_attributes.h"

#include "device.h"
#include "dtype_object.h"
#include "engine.h"
#include "expansion.h"
#include "geometry.h"
#include "grad_journal.h"
#include "gradient_hooks.h"
#include "interop.h"
#include "mode.h"
#include "saved_values.h"
#include "tape.h"
#include "tensor_copies.h"
#include "user_sizes.h"
#include "view_grad.h"

namespace dg {

namespace {

PyObject* device_type = nullptr;

PyObject* get_shape(PyObject* self, void*) {
  return guarded([&] { return seen_shape(as_tensor(self)); });
}
PyObject* get_dtype(PyObject* self, void*) { return Ref::borrow(dtype_object(as_tensor(self)->dtype)).release(); }
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(as_tensor(self)->rank); }
// A view's place on the tape is settled when somebody asks for it.
TensorObject* settled(PyObject* self) {
  TensorObject* tensor = as_tensor(self);
  if (tensor->base && tensor->buffer) refresh_view(tensor);
  return tensor;
}

PyObject* get_requires_grad(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(requires_grad(settled(self))); });
}
PyObject* get_is_leaf(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(!settled(self)->node); });
}
PyObject* get_traced(PyObject* self, void*) {
  PyObject* traced = as_tensor(self)->traced;
  return Ref::borrow(traced ? traced : Py_None).release();
}
PyObject* get_base(PyObject* self, void*) {
  PyObject* base = as_tensor(self)->base;
  return Ref::borrow(base ? base : Py_None).release();
}
PyObject* get_born_traced(PyObject* self, void*) { return PyBool_FromLong(as_tensor(self)->flags & kBornTraced); }
PyObject* get_retains_grad(PyObject* self, void*) { return PyBool_FromLong(as_tensor(self)->flags & kRetainGrad); }
PyObject* get_version(PyObject* self, void*) {
  Buffer* buffer = as_tensor(self)->buffer;
  return PyLong_FromUnsignedLong(buffer ? buffer->version.load() : 0);
}
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromSize_t(itemsize(as_tensor(self)->dtype)); }
PyObject* get_nbytes(PyObject* self, void*) {
  return PyLong_FromLongLong(as_tensor(self)->numel * static_cast<int64_t>(itemsize(as_tensor(self)->dtype)));
}

PyObject* get_device(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    const Buffer* buffer = as_tensor(self)->buffer;
    const char* device = device_row(buffer ? buffer->device : kCpu).name;
    return device_type ? PyObject_CallFunction(device_type, "s", device) : PyUnicode_FromString(device);
  });
}

PyObject* get_grad(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    note_grad_read(as_tensor(self));
    PyObject* grad = as_tensor(self)->grad;
    return Ref::borrow(grad ? grad : Py_None).release();
  });
}

int put_grad(PyObject* self, PyObject* value, void*) {
  return guarded([&]() -> int {
    TensorObject* tensor = as_tensor(self);
    if (!value || value == Py_None) {
      set_grad(tensor, nullptr);
      return 0;
    }
    TensorObject* grad = require_tensor(value, "grad");
    if (grad == tensor) raise_error("GradError", "grad: a tensor cannot be its own gradient");
    if (grad->dtype != tensor->dtype)
      raise_error("DTypeError", "grad: the gradient of a %s tensor must be %s, got %s", name(tensor->dtype),
                  name(tensor->dtype), name(grad->dtype));
    bool fits = grad->rank == tensor->rank;
    for (int d = 0; fits && grad->buffer && tensor->buffer && d < grad->rank; ++d)
      fits = grad->sizes[d] == tensor->sizes[d];
    if (!fits) {
      Ref wanted(describe(tensor)), got(describe(grad));
      raise_error("ShapeError", "grad: the gradient must have the tensor's shape %s, got %s",
                  PyUnicode_AsUTF8(wanted.get()), PyUnicode_AsUTF8(got.get()));
    }
    set_grad(tensor, value);
    return 0;
  });
}

void change_requires_grad(TensorObject* tensor, bool on) {
  if (tensor->node) {
    if (on) return;
    raise_error_hint("GradError", "use y = x.detach()",
                     "requires_grad: only a leaf can stop requiring grad; this tensor was computed by %s",
                     node_name(tensor->node));
  }
  if (on && !is_floating(tensor->dtype))
    raise_error("GradError", "requires_grad: only floating-point tensors can require gradients, this one is %s",
                name(tensor->dtype));
  if (on && tensor->flags & kInference && !mode.inference)
    raise_error_hint("GradError", "take a copy first: x = x.clone()",
                     "requires_grad: a tensor made in inference_mode cannot require grad outside of it");
  tensor->flags = static_cast<uint8_t>(on ? tensor->flags | kRequiresGrad : tensor->flags & ~kRequiresGrad);
}

int put_requires_grad(PyObject* self, PyObject* value, void*) {
  return guarded([&]() -> int {
    int on = value ? PyObject_IsTrue(value) : 0;
    check_status(on);
    change_requires_grad(as_tensor(self), on);
    return 0;
  });
}

PyObject* get_grad_fn(PyObject* self, void*) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = settled(self);
    if (!tensor->node) Py_RETURN_NONE;
    return node_object(tensor->node, tensor->output_index);
  });
}

// What a capture reads through an alias without history, it reads from the tensor: that one must be known first.
PyObject* alias_of(PyObject* self) {
  return guarded([&] {
    if (mode.tracing && !as_tensor(self)->traced && hook_or_null(Hook::Lift))
      owned(PyObject_CallOneArg(hook(Hook::Lift), self));
    return as_object(make_detached(as_tensor(self)));
  });
}

PyObject* get_data(PyObject* self, void*) { return alias_of(self); }

int put_data(PyObject* self, PyObject* value, void*) {
  return guarded([&]() -> int {
    if (!value) raise_error("ArgumentError", "data cannot be deleted");
    TensorObject *target = as_tensor(self), *source = require_tensor(value, "data");
    if (requires_grad(target) && !is_floating(source->dtype))
      raise_error("DTypeError", "data: a tensor that requires grad cannot become %s", name(source->dtype));
    if (mode.tracing && (requires_grad(target) || !target->traced))
      raise_error_hint("CaptureError", "write into it, under dg.no_grad(): x.copy_(other)",
                       "static: data of a tensor that %s is assigned",
                       requires_grad(target) ? "takes part in differentiation" : "comes from outside");
    set_data(target, source);
    note_other_data(target);
    return 0;
  });
}

PyObject* numel(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    if (tensor->numel >= 0) return PyLong_FromLongLong(tensor->numel);
    Ref product = owned(PyLong_FromLong(1)), shape = owned(seen_shape(tensor));
    for (int d = 0; d < tensor->rank; ++d)
      product = owned(PyNumber_Multiply(product.get(), PyTuple_GET_ITEM(shape.get(), d)));
    return product.release();
  });
}

PyObject* dim(PyObject* self, PyObject*) { return get_ndim(self, nullptr); }

// What the front end says of a traced tensor's layout, which has no memory yet; null for a tensor with data.
Ref traced_layout(TensorObject* tensor, const char* what) {
  if (tensor->buffer) return Ref();
  if (!hook_or_null(Hook::LayoutRead)) require_data(tensor, what);
  return owned(PyObject_CallFunction(hook(Hook::LayoutRead), "Os", as_object(tensor), what));
}

PyObject* stride(PyObject* self, PyObject* args) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    PyObject* which = nullptr;
    if (!PyArg_ParseTuple(args, "|O", &which)) throw ErrorSet{};
    Ref strides = traced_layout(tensor, "stride");
    if (!strides) {
      strides = owned(PyTuple_New(tensor->rank));
      for (int d = 0; d < tensor->rank; ++d)
        PyTuple_SET_ITEM(strides.get(), d, checked(PyLong_FromLongLong(tensor->strides[d])));
    }
    if (!which || which == Py_None) return strides.release();
    Py_ssize_t d = PyNumber_AsSsize_t(which, PyExc_IndexError);
    if (d == -1 && PyErr_Occurred()) throw ErrorSet{};
    if (d < -tensor->rank || d >= tensor->rank)
      raise_error("DimensionError", "stride: dimension %zd is out of range for %d dimensions", d, tensor->rank);
    return Ref::borrow(PyTuple_GET_ITEM(strides.get(), d < 0 ? d + tensor->rank : d)).release();
  });
}

PyObject* size(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    PyObject* which = nullptr;
    static const char* const names[] = {"dim", nullptr};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:size", const_cast<char**>(names), &which)) throw ErrorSet{};
    Ref shape = owned(seen_shape(tensor));
    if (!which || which == Py_None) return shape.release();
    Py_ssize_t d = PyNumber_AsSsize_t(which, PyExc_IndexError);
    if (d == -1 && PyErr_Occurred()) throw ErrorSet{};
    if (d < -tensor->rank || d >= tensor->rank)
      raise_error("DimensionError", "size: dimension %zd is out of range for %d dimensions", d, tensor->rank);
    return Ref::borrow(PyTuple_GET_ITEM(shape.get(), d < 0 ? d + tensor->rank : d)).release();
  });
}

PyObject* storage_offset(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (Ref known = traced_layout(as_tensor(self), "storage_offset")) return known.release();
    return PyLong_FromLongLong(as_tensor(self)->offset);
  });
}

PyObject* contiguous_now(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"memory_format", nullptr};
    PyObject* format = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|O:is_contiguous", const_cast<char**>(names), &format))
      throw ErrorSet{};
    if (format != Py_None && !PyObject_HasAttrString(format, "holds"))
      raise_error("ArgumentError", "is_contiguous: memory_format must be one as duograph.channels_last, not %s",
                  Py_TYPE(format)->tp_name);
    if (format != Py_None) return checked(PyObject_CallMethod(format, "holds", "O", self));
    if (hook_or_null(Hook::LayoutRead))
      if (Ref known = traced_layout(as_tensor(self), "is_contiguous")) return known.release();
    return PyBool_FromLong(is_contiguous(as_tensor(self)));
  });
}

PyObject* floating_now(PyObject* self, PyObject*) { return PyBool_FromLong(is_floating(as_tensor(self)->dtype)); }
PyObject* inference_now(PyObject* self, PyObject*) { return PyBool_FromLong(as_tensor(self)->flags & kInference); }
PyObject* element_size(PyObject* self, PyObject*) { return get_itemsize(self, nullptr); }

PyObject* data_ptr(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    require_data(as_tensor(self), "data_ptr");
    return PyLong_FromVoidPtr(as_tensor(self)->data);
  });
}

PyObject* item(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (Ref value = intercept_read(as_tensor(self), "item")) return value.release();
    return to_scalar(as_tensor(self));
  });
}

PyObject* tolist(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (Ref value = intercept_read(as_tensor(self), "tolist")) return value.release();
    return to_list(as_tensor(self));
  });
}

PyObject* numpy(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"force", nullptr};
    int force = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|$p:numpy", const_cast<char**>(names), &force)) throw ErrorSet{};
    if (Ref value = intercept_read(as_tensor(self), "numpy")) return value.release();
    if (!force) return to_numpy(as_tensor(self));
    Ref plain(as_object(make_detached(as_tensor(self))));
    return to_numpy(as_tensor(plain.get()));
  });
}

PyObject* array(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"dtype", "copy", nullptr};
    PyObject *dtype = Py_None, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|OO", const_cast<char**>(names), &dtype, &copy)) throw ErrorSet{};
    if (Ref value = intercept_read(as_tensor(self), "numpy")) return value.release();
    Ref result = owned(to_numpy(as_tensor(self)));
    if (dtype != Py_None) {
      Ref converted = owned(PyObject_CallMethod(result.get(), "astype", "OO", dtype, Py_None));
      result = std::move(converted);
    }
    if (copy == Py_True) return PyObject_CallMethod(result.get(), "copy", nullptr);
    return result.release();
  });
}

PyObject* detach(PyObject* self, PyObject*) { return alias_of(self); }

PyObject* detach_here(PyObject* self, PyObject*) {
  drop_node(as_tensor(self));
  as_tensor(self)->flags &= ~kRequiresGrad;
  return Ref::borrow(self).release();
}

PyObject* set_requires_grad(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"requires_grad", nullptr};
    int on = 1;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|p", const_cast<char**>(names), &on)) throw ErrorSet{};
    change_requires_grad(as_tensor(self), on);
    return Ref::borrow(self).release();
  });
}

PyObject* retain_grad(PyObject* self, PyObject*) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    if (!requires_grad(tensor)) raise_error("GradError", "retain_grad: this tensor does not require grad");
    retain_gradient(tensor);
    Py_RETURN_NONE;
  });
}

PyObject* backward(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"gradient", "retain_graph", "create_graph", "inputs", nullptr};
    PyObject *gradient = Py_None, *retain = Py_None, *inputs = Py_None;
    int create = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|OOpO", const_cast<char**>(names), &gradient, &retain, &create,
                                     &inputs))
      throw ErrorSet{};
    int retain_graph = retain == Py_None ? create : PyObject_IsTrue(retain);
    check_status(retain_graph);
    Ref tensors = owned(PyTuple_Pack(1, self)), grads = owned(PyTuple_Pack(1, gradient));
    Ref chosen;
    if (inputs != Py_None)
      chosen = is_tensor(inputs) ? owned(PyTuple_Pack(1, inputs)) : owned(PySequence_Tuple(inputs));
    run_backward(tensors.get(), grads.get(), chosen.get(), retain_graph, create);
    Py_RETURN_NONE;
  });
}

// The node whose output the tensor is now keeps the hook, or the leaf itself: whoever removes it needs to know.
PyObject* register_hook(PyObject* self, PyObject* function) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    if (!PyCallable_Check(function)) raise_error("ArgumentError", "register_hook: expected a function");
    if (!requires_grad(tensor)) raise_error("GradError", "register_hook: this tensor does not require grad");
    if (tensor->node) {
      Node* node = settled_node(tensor);
      extra_of(node).hooks.push_back({tensor->output_index, Ref::borrow(function).release()});
      track(tensor);
      return node_object(node, tensor->output_index);
    }
    if (!tensor->hooks) tensor->hooks = checked(PyList_New(0));
    check_status(PyList_Append(tensor->hooks, function));
    track(tensor);
    Py_RETURN_NONE;
  });
}

PyObject* register_accumulated_hook(PyObject* self, PyObject* function) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    if (!tensor->hooks) tensor->hooks = checked(PyList_New(0));
    check_status(PyList_Append(tensor->hooks, owned(PyTuple_Pack(1, function)).get()));
    track(tensor);
    Py_RETURN_NONE;
  });
}

// Takes a function away again that a leaf was given; nothing where it is not there any more.
PyObject* remove_hook(PyObject* self, PyObject* function) {
  return guarded([&]() -> PyObject* {
    TensorObject* tensor = as_tensor(self);
    for (Py_ssize_t i = 0; tensor->hooks && i < PyList_GET_SIZE(tensor->hooks); ++i) {
      PyObject* entry = PyList_GET_ITEM(tensor->hooks, i);
      if ((PyTuple_Check(entry) ? PyTuple_GET_ITEM(entry, 0) : entry) != function) continue;
      check_status(PyList_SetSlice(tensor->hooks, i, i + 1, nullptr));
      break;
    }
    Py_RETURN_NONE;
  });
}

PyObject* format(PyObject* self, PyObject* specification) {
  return guarded([&]() -> PyObject* {
    PyObject* arguments[] = {self, specification};
    if (PyObject* function = hook_or_null(Hook::TensorFormat))
      return PyObject_Vectorcall(function, arguments, 2, nullptr);
    return PyObject_Repr(self);
  });
}

PyObject* dlpack(PyObject* self, PyObject* args, PyObject* keywords) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"stream", "max_version", "dl_device", "copy", nullptr};
    PyObject *stream = Py_None, *max_version = Py_None, *device = Py_None, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "|$OOOO", const_cast<char**>(names), &stream, &max_version,
                                     &device, &copy))
      throw ErrorSet{};
    if (Ref value = intercept_read(as_tensor(self), "dlpack")) return value.release();
    if (stream != Py_None) raise_error("ArgumentError", "__dlpack__: a CPU tensor has no stream");
    return to_dlpack(as_tensor(self), max_version, copy == Py_True);
  });
}

PyObject* dlpack_device(PyObject*, PyObject*) { return Py_BuildValue("(ii)", 1, 0); }

template <class F>
PyCFunction method(F function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace

void set_device_type(PyObject* type) { Py_XSETREF(device_type, Ref::borrow(type).release()); }

PyGetSetDef tensor_attributes[] = {
    {"shape", get_shape, nullptr, "the sizes", nullptr},
    {"dtype", get_dtype, nullptr, "type of the elements", nullptr},
    {"device", get_device, nullptr, "where the elements are", nullptr},
    {"ndim", get_ndim, nullptr, "number of dimensions", nullptr},
    {"itemsize", get_itemsize, nullptr, "bytes per element", nullptr},
    {"nbytes", get_nbytes, nullptr, "bytes of all elements", nullptr},
    {"requires_grad", get_requires_grad, put_requires_grad, "whether operations on it are recorded", nullptr},
    {"grad", get_grad, put_grad, "the accumulated gradient of a leaf, or None", nullptr},
    {"grad_fn", get_grad_fn, nullptr, "the tape node that computed it, or None for a leaf", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "whether no recorded operation computed it", nullptr},
    {"retains_grad", get_retains_grad, nullptr, "whether it is a non-leaf that keeps its gradient", nullptr},
    {"data", get_data, put_data, "the same elements without history", nullptr},
    {"_version", get_version, nullptr, "counts in-place writes to the memory", nullptr},
    {"_traced", get_traced, nullptr, "the graph value of a tensor that is being traced, or None", nullptr},
    {"_base", get_base, nullptr, "the tensor this is a view of, or None", nullptr},
    {"_born_traced", get_born_traced, nullptr, "whether it was made from Python data during a capture", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

PyMethodDef tensor_methods[] = {
    {"numel", numel, METH_NOARGS, "Number of elements."},
    {"nelement", numel, METH_NOARGS, "Number of elements."},
    {"dim", dim, METH_NOARGS, "Number of dimensions."},
    {"ndimension", dim, METH_NOARGS, "Number of dimensions."},
    {"size", reinterpret_cast<PyCFunction>(size), METH_VARARGS | METH_KEYWORDS,
     "The shape, or the size of one dimension."},
    {"stride", stride, METH_VARARGS, "Steps in elements per dimension, or of one dimension."},
    {"storage_offset", storage_offset, METH_NOARGS, "Index of the first element in its memory."},
    {"is_contiguous", method(contiguous_now), METH_VARARGS | METH_KEYWORDS,
     "Whether elements lie in row-major order without gaps."},
    {"is_floating_point", floating_now, METH_NOARGS, "Whether the elements are floating-point numbers."},
    {"is_inference", inference_now, METH_NOARGS, "Whether it was made in inference mode."},
    {"element_size", element_size, METH_NOARGS, "Bytes per element."},
    {"data_ptr", data_ptr, METH_NOARGS, "Address of the first element."},
    {"item", item, METH_NOARGS, "The single element as a Python number."},
    {"tolist", tolist, METH_NOARGS, "The elements as nested lists of Python numbers."},
    {"numpy", method(numpy), METH_VARARGS | METH_KEYWORDS, "A NumPy array over the same memory."},
    {"detach", detach, METH_NOARGS, "The same elements without history."},
    {"detach_", detach_here, METH_NOARGS, "Forgets this tensor's history."},
    {"requires_grad_", method(set_requires_grad), METH_VARARGS | METH_KEYWORDS, "Sets requires_grad; returns self."},
    {"retain_grad", retain_grad, METH_NOARGS, "Makes a non-leaf keep its gradient."},
    {"backward", method(backward), METH_VARARGS | METH_KEYWORDS, "Adds gradients of this tensor to its leaves."},
    {"_remove_hook", remove_hook, METH_O, "Takes a function away that a leaf was given."},
    {"_register_accumulated_hook", register_accumulated_hook, METH_O,
     "Calls a function with the leaf once its gradient is in .grad."},
    {"register_hook", register_hook, METH_O, "Calls a function with the gradient; what it returns replaces it."},
    {"__format__", format, METH_O, nullptr},
    {"__array__", method(array), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"__dlpack__", method(dlpack), METH_VARARGS | METH_KEYWORDS, nullptr},
    {"__dlpack_device__", dlpack_device, METH_NOARGS, nullptr},
    {"__copy__", copy_shallow, METH_NOARGS, nullptr},
    {"__deepcopy__", copy_deep, METH_O, nullptr},
    {"__reduce_ex__", reduce_for_pickle, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace dg
