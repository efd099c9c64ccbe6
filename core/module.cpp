// The module duograph._core: types, and functions that only translate arguments.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "autocast.h"
#include "call.h"
#include "count.h"
#include "dtype_object.h"
#include "engine.h"
#include "forward.h"
#include "function.h"
#include "grad_journal.h"
#include "gradient_hooks.h"
#include "interop.h"
#include "mark.h"
#include "mode.h"
#include "orders.h"
#include "saved_hooks.h"
#include "view_grad.h"

namespace nb = nanobind;

namespace dg {

void bind_runtime(nb::module_& module);
void bind_static_function(PyObject* module);

namespace {

nb::object steal(PyObject* object) { return nb::steal(checked(object)); }
DType dtype_from(nb::handle object, const char* what) { return require_dtype(object.ptr(), what); }
TensorObject* tensor_from(nb::handle object, const char* what) { return require_tensor(object.ptr(), what); }

void bind_dtypes(nb::module_& m) {
  m.def(
      "promote",
      [](nb::handle a, nb::handle b) -> nb::object {
        DType result = promote(dtype_from(a, "promote"), dtype_from(b, "promote"));
        return result == DType::Count ? nb::none() : nb::borrow(dtype_object(result));
      },
      nb::arg("a"), nb::arg("b"), "The dtype that holds both, as PyTorch promotes; None for pairs it refuses.");
  m.def("get_default_dtype", [] { return nb::borrow(dtype_object(default_dtype())); });
  m.def("set_default_dtype", [](nb::handle dtype) {
    DType value = dtype_from(dtype, "set_default_dtype");
    if (!is_floating(value))
      raise_error("DTypeError", "set_default_dtype: expected a floating dtype, got %s", name(value));
    set_default_dtype(value);
  });
  m.def("dtype_from_code", [](int code) -> nb::object {
    if (code < 0 || code >= kDTypeCount) raise_error("ArgumentError", "there is no dtype with code %d", code);
    return nb::borrow(dtype_object(static_cast<DType>(code)));
  });
  nb::list all;
  for (int i = 0; i < kDTypeCount; ++i) all.append(nb::borrow(dtype_object(static_cast<DType>(i))));
  m.attr("dtypes") = nb::tuple(all);
}

void bind_modes(nb::module_& m) {
  m.def(
      "set_grad_enabled", [](bool on) { return std::exchange(mode.grad, on); },
      "Sets gradient mode; gives the old one.");
  m.def(
      "set_localizing", [](bool on) { return std::exchange(mode.localizing, on); }, nb::arg("enabled"),
      "Whether operands from outside of a captured branch or loop body are replaced; returns the old setting.");
  m.def(
      "set_following", [](bool on) { return std::exchange(mode.following, on); }, nb::arg("enabled"),
      "Whether the end of each traced in-place operator calls the hook `written`; returns the old setting.");
  m.def(
      "set_inference_mode", [](bool on) { return std::exchange(mode.inference, on); }, nb::arg("on"),
      "Sets inference mode; gives the old one.");
  m.def("is_inference_mode_enabled", [] { return mode.inference; });
  m.def(
      "set_autocast", [](nb::object state) { return nb::steal(set_autocast(state.ptr()).release()); }, nb::arg("state"),
      "Sets (enabled, dtype, keeps casts, depth); gives those before.");
  m.def(
      "autocast", [] { return nb::steal(autocast_state().release()); },
      "(enabled, dtype, whether casts of parameters are kept, how many contexts are open) of this thread.");
  m.def(
      "set_saved_hooks", [](nb::object hooks) { return nb::steal(set_saved_hooks(hooks.ptr()).release()); },
      nb::arg("hooks").none(), "(pack, unpack) for the values that gradients need; gives those before. None: none.");
  m.def(
      "at_end_of_backward", [](nb::object function) { return at_end_of_backward(function.ptr()); },
      nb::arg("function") = nb::none(), "Calls a function at the end of the backward pass; the pass's number.");
  m.def("saved_hooks", [] { return nb::borrow(saved_hooks ? saved_hooks : Py_None); }, "(pack, unpack), or None.");
  m.def(
      "set_backward_observer",
      [](nb::object function) { return nb::steal(set_backward_observer(function.ptr()).release()); },
      nb::arg("function").none(),
      "function(node, gradients of its outputs, of its inputs) is called after each node of this thread's backward.");
  m.def("is_grad_enabled", [] { return mode.grad; });
  m.def("grad_enabled", [] { return mode.grad; });
  m.def("push_tracing", [] { ++mode.tracing; });
  m.def("pop_tracing", [] {
    if (mode.tracing > 0) --mode.tracing;
  });
  m.def(
      "set_tracing", [](bool on) { return std::exchange(mode.tracing, on ? 1 : 0) > 0; },
      "Sets tracing; gives the old one.");
  m.def("tracing", [] { return mode.tracing > 0; });
  m.def("begin_count", [] { begin_count(); });
  m.def("end_count", [] { return nb::steal(end_count().release()); });
  m.def(
      "set_watcher", [](nb::object watcher) { set_watcher(watcher.ptr()); }, nb::arg("watcher").none(),
      "watcher(name, results) is called after each operator that this thread runs; None ends that.");
  m.def("begin_journal", [] { begin_journal(); });
  m.def("end_journal", [](bool rollback) { end_journal(rollback); }, nb::arg("rollback"));
  m.def("set_grad_journal", [](nb::object list) { set_grad_journal(list.ptr()); }, nb::arg("list").none());
  m.def(
      "set_hook", [](const char* name, nb::object target) { set_hook(name, target.ptr()); }, nb::arg("name"),
      nb::arg("target").none());
  m.def("bind_slot", [](const char* name, nb::handle op) { bind_slot(name, op.ptr()); });
  m.def("bind_method", [](const char* name, nb::handle value) {
    check_status(PyObject_SetAttrString(reinterpret_cast<PyObject*>(tensor_type), name, value.ptr()));
  });
  m.def("set_size_type", [](nb::handle type) { set_size_type(type.ptr()); });
  m.def("set_device_type", [](nb::handle type) { set_device_type(type.ptr()); });
  m.def("set_dim_type", [](nb::handle type) { set_dim_type(type.ptr()); });
  m.def("set_number_type", [](nb::handle type) { set_number_type(type.ptr()); });
  m.def("set_package_folder", [](nb::handle folder) { set_package_folder(folder.ptr()); });
}

// Tensors from data of others.
void bind_tensors_from(nb::module_& m) {
  m.def(
      "from_numpy", [](nb::handle array) { return steal(from_numpy(array.ptr())); }, nb::arg("array"),
      "A tensor over the memory of a NumPy array.");
  m.def(
      "borrow_numpy", [](nb::handle array, bool alone) { return steal(borrow_numpy(array.ptr(), alone)); },
      nb::arg("array"), nb::arg("alone") = false,
      "A tensor over the memory of a NumPy array, be it writable or not: for what only reads it. `alone`: nobody else "
      "will "
      "write there, so what is made of it may be kept.");
  m.def(
      "from_dlpack", [](nb::handle object) { return steal(from_dlpack(object.ptr())); }, nb::arg("object"),
      "A tensor over the memory of an object with __dlpack__.");
  m.def(
      "tensor_from_data",
      [](nb::handle data, nb::object dtype) { return steal(tensor_from_data(data.ptr(), dtype.ptr())); },
      nb::arg("data"), nb::arg("dtype") = nb::none(), "A new tensor from numbers, nested sequences or arrays.");
  m.def(
      "from_buffer",
      [](nb::handle object, nb::handle dtype, nb::handle shape) {
        return steal(from_buffer(object.ptr(), dtype_from(dtype, "from_buffer"), shape.ptr()));
      },
      nb::arg("buffer"), nb::arg("dtype"), nb::arg("shape"));
  m.def(
      "from_flat",
      [](nb::handle numbers, nb::handle dtype, nb::handle shape) {
        return steal(from_flat(numbers.ptr(), dtype_from(dtype, "from_flat"), shape.ptr()));
      },
      nb::arg("numbers"), nb::arg("dtype"), nb::arg("shape"));
}

void bind_tensor_functions(nb::module_& m) {
  m.def(
      "random_order", [](int64_t n) { return steal(as_object(random_order(n))); }, nb::arg("n"),
      "The numbers 0 … n - 1 in an order drawn from the default generator.");
  m.def(
      "triangle_positions",
      [](int64_t rows, int64_t columns, int64_t offset, bool lower) {
        return steal(as_object(triangle_positions(rows, columns, offset, lower)));
      },
      nb::arg("rows"), nb::arg("columns"), nb::arg("offset"), nb::arg("lower"),
      "Rows and columns of the elements of a matrix on and below (else on and above) a diagonal, int64 [2, n].");
  m.def(
      "empty",
      [](nb::handle shape, nb::handle dtype) {
        SmallVector<int64_t, 8> sizes;
        read_sizes(shape.ptr(), &sizes, "empty");
        return steal(as_object(make_empty(dtype_from(dtype, "empty"), static_cast<int>(sizes.size()), sizes.data())));
      },
      nb::arg("shape"), nb::arg("dtype"), "An uninitialised tensor.");
  m.def(
      "zeros",
      [](nb::handle shape, nb::handle dtype) {
        SmallVector<int64_t, 8> sizes;
        read_sizes(shape.ptr(), &sizes, "zeros");
        return steal(as_object(make_zeros(dtype_from(dtype, "zeros"), static_cast<int>(sizes.size()), sizes.data())));
      },
      nb::arg("shape"), nb::arg("dtype"));
  m.def(
      "traced",
      [](nb::handle value, nb::handle dtype, int rank, nb::handle shape, bool grad) {
        if (rank > kMaxRank)
          raise_error("ShapeError", "a Tensor has at most %d dimensions, this one would have %d", kMaxRank, rank);
        if (!PyTuple_Check(shape.ptr()) || PyTuple_GET_SIZE(shape.ptr()) != rank)
          raise_error("InternalError", "traced: the shape must be a tuple of %d sizes", rank);
        TensorObject* tensor = make_traced(value.ptr(), dtype_from(dtype, "traced"), rank, shape.ptr());
        if (grad) tensor->flags |= kRequiresGrad;
        return steal(as_object(tensor));
      },
      nb::arg("value"), nb::arg("dtype"), nb::arg("rank"), nb::arg("shape"), nb::arg("requires_grad") = false);
  m.def("set_traced", [](nb::handle tensor, nb::handle value) {
    TensorObject* target = tensor_from(tensor, "set_traced");
    if (!target->traced) raise_error("InternalError", "set_traced: the tensor is not traced");
    Py_SETREF(target->traced, Ref::borrow(value.ptr()).release());
  });
  m.def("materialize", [](nb::handle traced, nb::handle concrete) {
    TensorObject *target = tensor_from(traced, "materialize"), *source = tensor_from(concrete, "materialize");
    require_data(source, "materialize");
    set_data(target, source);
  });
  m.def(
      "become_view",
      [](nb::handle tensor, nb::handle view) {
        TensorObject *target = tensor_from(tensor, "become_view"), *made = tensor_from(view, "become_view");
        show_as(target, made);
        if (target->buffer) bump_version(target);
        if (!made->node) return;
        retain_node(made->node);
        set_node(target, made->node, made->output_index);
      },
      nb::arg("tensor"), nb::arg("view"), "The tensor shows its elements as a view of it does, and takes its history.");
  m.def(
      "storage_use",
      [](nb::handle tensor) {
        TensorObject* target = tensor_from(tensor, "storage_use");
        require_data(target, "storage");
        return nb::make_tuple(target->buffer->bytes, target->buffer->refs.load(std::memory_order_relaxed));
      },
      nb::arg("tensor"), "How many bytes a tensor's memory has, and how many hold it.");
  m.def("as_subclass", [](nb::handle tensor, nb::handle cls) {
    if (!PyType_Check(cls.ptr()) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls.ptr()), tensor_type))
      raise_error("ArgumentError", "as_subclass: expected a subclass of Tensor");
    return steal(
        as_object(make_subclass(reinterpret_cast<PyTypeObject*>(cls.ptr()), tensor_from(tensor, "as_subclass"))));
  });
  m.def("storage_id",
        [](nb::handle tensor) { return reinterpret_cast<uintptr_t>(tensor_from(tensor, "storage_id")->buffer); });
  m.def("bump_version", [](nb::handle tensor) {
    TensorObject* target = tensor_from(tensor, "bump_version");
    if (target->buffer) bump_version(target);
  });
  m.def("to_bytes", [](nb::handle tensor) { return steal(to_bytes(tensor_from(tensor, "to_bytes"))); });
  m.def(
      "as_strided",
      [](nb::handle tensor, nb::handle shape, nb::handle strides, int64_t offset) {
        return steal(as_strided(tensor_from(tensor, "as_strided"), shape.ptr(), strides.ptr(), offset));
      },
      nb::arg("tensor"), nb::arg("shape"), nb::arg("strides"), nb::arg("offset") = 0);
  m.def(
      "reinterpreted",
      [](nb::handle tensor, nb::handle dtype) {
        return steal(reinterpreted(tensor_from(tensor, "view"), dtype_from(dtype, "view")));
      },
      nb::arg("tensor"), nb::arg("dtype"), "A tensor's memory as elements of another dtype.");
  m.def("describe", [](nb::handle tensor) { return steal(describe(tensor_from(tensor, "describe"))); });
}

Ref sequence_of(nb::handle object) {
  return is_tensor(object.ptr()) ? owned(PyTuple_Pack(1, object.ptr())) : owned(PySequence_Tuple(object.ptr()));
}

// Gradients beside `tensors`: a tuple as long, None where nothing was given.
Ref gradients_for(const Ref& tensors, nb::handle grads) {
  const Py_ssize_t count = PyTuple_GET_SIZE(tensors.get());
  if (!grads.is_none()) {
    Ref given = sequence_of(grads);
    if (PyTuple_GET_SIZE(given.get()) != count)
      raise_error("GradError", "%zd tensors but %zd gradients", count, PyTuple_GET_SIZE(given.get()));
    return given;
  }
  Ref none = owned(PyTuple_New(count));
  for (Py_ssize_t i = 0; i < count; ++i) PyTuple_SET_ITEM(none.get(), i, Ref::borrow(Py_None).release());
  return none;
}

void bind_tape(nb::module_& m) {
  m.def(
      "backward",
      [](nb::handle tensors, nb::object grads, nb::object retain, bool create, nb::object inputs) {
        Ref outputs = sequence_of(tensors), gradients = gradients_for(outputs, grads), chosen;
        if (!inputs.is_none()) chosen = sequence_of(inputs);
        run_backward(outputs.get(), gradients.get(), chosen.get(), retain.is_none() ? create : nb::cast<bool>(retain),
                     create);
      },
      nb::arg("tensors"), nb::arg("grads") = nb::none(), nb::arg("retain_graph") = nb::none(),
      nb::arg("create_graph") = false, nb::arg("inputs") = nb::none());
  m.def(
      "grad",
      [](nb::handle outputs, nb::handle inputs, nb::object grads, nb::object retain, bool create, bool unused, bool end,
         nb::handle joined) {
        Ref outs = sequence_of(outputs), ins = sequence_of(inputs), gradients = gradients_for(outs, grads);
        Ref pairs = sequence_of(joined);
        return steal(compute_gradients(outs.get(), ins.get(), gradients.get(),
                                       retain.is_none() ? create : nb::cast<bool>(retain), create, unused, end,
                                       pairs.get()));
      },
      nb::arg("outputs"), nb::arg("inputs"), nb::arg("grad_outputs") = nb::none(), nb::arg("retain_graph") = nb::none(),
      nb::arg("create_graph") = false, nb::arg("allow_unused") = false, nb::arg("end") = false,
      nb::arg("joined") = nb::tuple());
  m.def(
      "push_forward",
      [](nb::handle outputs, nb::handle inputs, nb::handle tangents, bool create) {
        Ref outs = sequence_of(outputs), ins = sequence_of(inputs), given = gradients_for(ins, tangents);
        return steal(compute_tangents(outs.get(), ins.get(), given.get(), create));
      },
      nb::arg("outputs"), nb::arg("inputs"), nb::arg("tangents"), nb::arg("create_graph") = false);
  m.def(
      "take_history",
      [](nb::handle target, nb::handle result, const char* name) {
        take_history(require_tensor(target.ptr(), name), require_tensor(result.ptr(), name), name);
      },
      nb::arg("target"), nb::arg("result"), nb::arg("name"),
      "Makes a tensor that a function wrote to what the function's result is on the tape.");
  m.def(
      "record_python",
      [](nb::handle outputs, nb::handle inputs, const char* name, nb::handle backward, bool continues_sums,
         bool at_once) {
        return steal(record_python(outputs.ptr(), inputs.ptr(), name, backward.ptr(), continues_sums, at_once));
      },
      nb::arg("outputs"), nb::arg("inputs"), nb::arg("name"), nb::arg("backward"), nb::arg("continues_sums") = false,
      nb::arg("at_once") = false);
  m.def(
      "fall_behind", [](nb::handle view) { fall_behind(require_tensor(view.ptr(), "fall_behind")); }, nb::arg("view"),
      "Makes a view look as if its memory was written since: its next use gives it its place on the tape.");
  m.def("running_output", [](nb::handle plain, uint32_t index) { return steal(running_output(plain.ptr(), index)); });
}

// What a pickled tensor calls: a plain built-in function, because those pickle by name.
PyObject* rebuild_tensor(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *cls, *bytes, *dtype, *shape, *state;
    int grad;
    if (!PyArg_ParseTuple(args, "OOOOpO", &cls, &bytes, &dtype, &shape, &grad, &state)) throw ErrorSet{};
    if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), tensor_type))
      raise_error("ArgumentError", "pickle: expected a subclass of Tensor");
    Ref plain = owned(from_buffer(bytes, require_dtype(dtype, "pickle"), shape));
    Ref result(as_object(make_subclass(reinterpret_cast<PyTypeObject*>(cls), as_tensor(plain.get()))));
    if (grad && is_floating(as_tensor(result.get())->dtype)) as_tensor(result.get())->flags |= kRequiresGrad;
    if (state != Py_None) {
      Ref own = owned(PyObject_GetAttrString(result.get(), "__dict__"));
      check_status(PyDict_Update(own.get(), state));
    }
    return result.release();
  });
}
PyMethodDef functions[] = {{"_rebuild_tensor", rebuild_tensor, METH_VARARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};

void initialise(nb::module_& m) {
  check_status(PyModule_AddFunctions(m.ptr(), functions));
  create_dtype_objects(m.ptr());
  create_op_type(m.ptr());
  bind_function(m.ptr());
  create_tensor_type(m.ptr());
  create_node_type(m.ptr());
  create_memory_type(m.ptr());
  bind_dtypes(m);
  bind_modes(m);
  bind_tensor_functions(m);
  bind_tensors_from(m);
  bind_tape(m);
  bind_runtime(m);
  bind_static_function(m.ptr());
}

}  // namespace

}  // namespace dg

NB_MODULE(_core, m) {
  nb::set_leak_warnings(false);
  nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
    try {
      std::rethrow_exception(pointer);
    } catch (const dg::ErrorSet&) {  // the Python error is set
    } catch (const dg::OutOfMemory&) {
      dg::set_error_from_current_exception();
    } catch (const dg::Interrupted&) {
      dg::set_error_from_current_exception();
    } catch (const dg::ProgramError&) {
      dg::set_error_from_current_exception();
    }
  });
  try {
    dg::initialise(m);
  } catch (const dg::ErrorSet&) {
    throw nb::python_error();
  }
}
