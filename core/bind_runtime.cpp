// The runtime as Python sees it: memory, threads, random state, code loading, programs.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>

#include "call.h"
#include "device.h"
#include "digest.h"
#include "loader.h"
#include "memory.h"
#include "memory_limits.h"
#include "program.h"
#include "python_api.h"
#include "rng.h"
#include "small_vector.h"
#include "tensor.h"
#include "threads.h"

namespace nb = nanobind;

namespace dg {

void bind_runtime(nb::module_& m);

namespace {

// C++ exceptions become the errors of duograph.errors.
template <typename Body>
auto translated(Body body) {
  try {
    return body();
  } catch (...) {
    set_error_from_current_exception();
    throw nb::python_error();
  }
}

// The bytes of an object that shows its memory: bytes, or a part of them that nobody has to copy.
class Bytes {
 public:
  explicit Bytes(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE)) throw nb::python_error();
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;

  const uint8_t* data() const { return static_cast<const uint8_t*>(view_.buf); }
  size_t size() const { return static_cast<size_t>(view_.len); }

 private:
  Py_buffer view_;
};

Cell8 number_cell(nb::handle value, DType dtype) {
  Cell8 cell{};
  if (PyFloat_Check(value.ptr())) {
    store_number(cell.bytes, dtype, PyFloat_AS_DOUBLE(value.ptr()));
    return cell;
  }
  int overflow = 0;
  const long long small = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow > 0) {
    const unsigned long long large = PyLong_AsUnsignedLongLong(value.ptr());
    if (PyErr_Occurred()) throw nb::python_error();
    store_number(cell.bytes, dtype, static_cast<uint64_t>(large));
  } else {
    if (overflow < 0) PyErr_SetString(PyExc_OverflowError, "int does not fit 64 bits");
    if (PyErr_Occurred()) throw nb::python_error();
    store_number(cell.bytes, dtype, static_cast<int64_t>(small));
  }
  return cell;
}

DType checked_dtype(int code) {
  if (code < 0 || code >= kDTypeCount) raise_error("InternalError", "there is no dtype %d", code);
  return static_cast<DType>(code);
}

// The arguments of one run from Python, converted and counted.
struct Arguments {
  std::vector<Cell8> numbers;
  std::vector<int64_t> sizes;

  Arguments(const Program& program, size_t n_inputs, nb::sequence given_numbers, nb::sequence given_sizes) {
    if (n_inputs != static_cast<size_t>(program.n_inputs))
      raise_error("InternalError", "the program takes %d tensors, not %zu", program.n_inputs, n_inputs);
    for (nb::handle value : given_numbers) {
      const auto i = static_cast<int>(numbers.size());
      if (i >= program.n_numbers) raise_error("InternalError", "the program takes %d numbers", program.n_numbers);
      numbers.push_back(number_cell(value, program.number_dtype(i)));
    }
    for (nb::handle value : given_sizes) sizes.push_back(nb::cast<int64_t>(value));
    if (numbers.size() != static_cast<size_t>(program.n_numbers) ||
        sizes.size() != static_cast<size_t>(program.n_sizes))
      raise_error("InternalError", "the program takes %d numbers and %d sizes, not %zu and %zu", program.n_numbers,
                  program.n_sizes, numbers.size(), sizes.size());
  }
};

// A program that failed where no operator stands by to explain.
[[noreturn]] void raise_status(const RunStatus& status) {
  if (status.check_code)
    raise_error("InternalError", "the program's check failed with code %lld",
                static_cast<long long>(status.check_code));
  if (status.kernel_status[0] >= 1 && status.kernel_status[0] <= 4) raise_run_failure(nullptr, Py_None, status);
  raise_error("InternalError", "kernel of node %d failed with code %lld, value %lld, extent %lld", status.node,
              static_cast<long long>(status.kernel_status[0]), static_cast<long long>(status.kernel_status[1]),
              static_cast<long long>(status.kernel_status[2]));
}

nb::list run_tensors(Program& program, nb::sequence tensors, nb::sequence numbers, nb::sequence sizes) {
  std::vector<RunInput> inputs;
  std::vector<nb::object> kept;
  for (nb::handle object : tensors) {
    TensorObject* t = require_tensor(object.ptr(), "a program input");
    require_data(t, "running a program");
    inputs.push_back({t->data, t->sizes, t->strides, t->rank, t->buffer, t->offset});
    kept.push_back(nb::borrow(object));
  }
  const Arguments arguments(program, inputs.size(), numbers, sizes);
  std::vector<RunOutput> outputs(static_cast<size_t>(program.n_outputs));
  RunStatus status;
  if (!program.run(inputs.data(), arguments.numbers.data(), arguments.sizes.data(), outputs.data(), &status))
    raise_status(status);
  nb::list result;
  for (RunOutput& output : outputs) {
    if (output.inplace) {
      release(output.buffer);
      result.append(kept[static_cast<size_t>(output.alias)]);
    } else {
      result.append(nb::steal(as_object(
          make_tensor(output.buffer, output.offset, output.dtype, output.rank, output.sizes, output.strides))));
    }
  }
  return result;
}

// An object of the buffer protocol as a program input: runs programs without tensors, for tests of the runner alone.
class BufferInput {
 public:
  explicit BufferInput(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_STRIDED | PyBUF_FORMAT)) throw nb::python_error();
    for (int d = 0; d < view_.ndim; ++d) {
      sizes_.push_back(view_.shape[d]);
      strides_.push_back(view_.itemsize ? view_.strides[d] / view_.itemsize : 0);
    }
    buffer_ = adopt(view_.buf, static_cast<size_t>(view_.len), nullptr, drop_adopted);
  }
  BufferInput(const BufferInput&) = delete;
  ~BufferInput() {
    if (buffer_) release(buffer_);
    PyBuffer_Release(&view_);
  }
  RunInput input() const { return {view_.buf, sizes_.data(), strides_.data(), view_.ndim, buffer_, 0}; }

 private:
  Py_buffer view_{};
  std::vector<int64_t> sizes_, strides_;
  Buffer* buffer_ = nullptr;
};

// Outputs as dicts; `data` holds the bytes of a fresh output.
nb::list run_raw(Program& program, nb::sequence objects, nb::sequence numbers, nb::sequence sizes) {
  std::vector<std::unique_ptr<BufferInput>> views;
  std::vector<RunInput> inputs;
  for (nb::handle object : objects) {
    views.push_back(std::make_unique<BufferInput>(object));
    inputs.push_back(views.back()->input());
  }
  const Arguments arguments(program, inputs.size(), numbers, sizes);
  std::vector<RunOutput> outputs(static_cast<size_t>(program.n_outputs));
  RunStatus status;
  if (!program.run(inputs.data(), arguments.numbers.data(), arguments.sizes.data(), outputs.data(), &status)) {
    nb::dict failure;
    failure["check_code"] = status.check_code;
    failure["kernel_status"] =
        nb::make_tuple(status.kernel_status[0], status.kernel_status[1], status.kernel_status[2]);
    failure["node"] = status.node;
    nb::list result;
    result.append(failure);
    return result;
  }
  nb::list result;
  for (RunOutput& output : outputs) {
    nb::dict item;
    nb::list shape, strides;
    for (int d = 0; d < output.rank; ++d) {
      shape.append(output.sizes[d]);
      strides.append(output.strides[d]);
    }
    item["dtype"] = static_cast<int>(output.dtype);
    item["shape"] = shape;
    item["strides"] = strides;
    item["offset"] = output.offset;
    item["alias"] = output.alias;
    item["inplace"] = output.inplace;
    if (output.alias < 0) item["data"] = nb::bytes(output.buffer->data, output.buffer->bytes);
    release(output.buffer);
    result.append(item);
  }
  return result;
}

nb::list profile_rows(const Program& program) {
  nb::list rows;
  for (const StepProfile& step : program.profile()) {
    nb::dict row;
    row["kind"] = step.kind;
    row["symbol"] = step.symbol;
    row["node"] = step.node;
    row["calls"] = step.calls;
    row["microseconds"] = static_cast<double>(step.nanoseconds) / 1000;
    rows.append(row);
  }
  return rows;
}

nb::dict stats_dict(const Program& program) {
  nb::dict stats;
  stats["steps"] = program.step_count();
  stats["kernels"] = program.kernel_count();
  stats["arena_bytes"] = program.last_arena_bytes();
  stats["inputs"] = program.n_inputs;
  stats["outputs"] = program.n_outputs;
  return stats;
}

nb::dict memory_dict() {
  const MemoryStats stats = memory_stats();
  nb::dict result;
  result["allocated"] = stats.allocated;
  result["reserved"] = stats.reserved;
  result["peak"] = stats.peak;
  result["live_buffers"] = stats.live_buffers;
  result["allocations"] = stats.allocations;
  result["pool_hits"] = stats.pool_hits;
  result["cache_limit"] = stats.cache_limit;
  result["adopted_bytes"] = stats.adopted_bytes;
  return result;
}

void bind_memory(nb::module_& m) {
  m.def("memory_stats", memory_dict,
        "Bytes and counts of the buffer pool: allocated (live), reserved (held from the system), peak, live_buffers, "
        "allocations, pool_hits, cache_limit, adopted_bytes (foreign memory in use).");
  m.def("empty_cache", empty_cache, "Gives cached memory back to the system.");
  m.def("reset_peak", reset_peak, "Starts `peak` of memory_stats() anew from what is allocated now.");
  m.def("available_memory", available_memory, "Bytes a request may still take, of the machine and its control group.");
  m.def("groups_available", groups_available, nb::arg("membership"), nb::arg("root"),
        "What control groups allow, read from given files: for tests.");
  nb::class_<BufferRef>(m, "Block", "A buffer of the pool, for tests.")
      .def(
          "__init__",
          [](BufferRef* self, size_t bytes, int device) {
            translated([&] {
              if (device < 0 || device >= device_count()) raise_error("DeviceError", "there is no device %d", device);
              new (self) BufferRef(allocate(bytes, static_cast<uint8_t>(device)));
            });
          },
          nb::arg("bytes"), nb::arg("device") = 0)
      .def_prop_ro("address", [](const BufferRef& self) { return reinterpret_cast<uintptr_t>(self.get()->data); })
      .def_prop_ro("bytes", [](const BufferRef& self) { return self.get()->bytes; })
      .def_prop_ro("device", [](const BufferRef& self) { return self.get()->device; })
      .def("write",
           [](BufferRef& self, nb::bytes data) {
             const size_t bytes = std::min(data.size(), self.get()->bytes);
             copy_between(self.get()->device, self.get()->data, kCpu, data.data(), bytes);
           })
      .def("read", [](const BufferRef& self) {
        std::string host(self.get()->bytes, '\0');
        copy_between(kCpu, host.data(), self.get()->device, self.get()->data, host.size());
        return nb::bytes(host.data(), host.size());
      });
}

void bind_devices(nb::module_& m) {
  m.def("device_names", [] {
    std::vector<std::string> names;
    for (int i = 0; i < device_count(); ++i) names.emplace_back(device_row(static_cast<uint8_t>(i)).name);
    return names;
  });
  m.def(
      "to_device",
      [](nb::handle tensor, int device) {
        return translated([&] {
          TensorObject* source = require_tensor(tensor.ptr(), "to_device");
          require_data(source, "to_device");
          if (device < 0 || device >= device_count()) raise_error("DeviceError", "there is no device %d", device);
          if (!is_contiguous(source)) raise_error("DomainError", "to_device: the tensor must be contiguous");
          const size_t bytes = static_cast<size_t>(source->numel) * itemsize(source->dtype);
          Buffer* buffer = allocate(bytes, static_cast<uint8_t>(device));
          copy_between(buffer->device, buffer->data, source->buffer->device, source->data, bytes);
          return nb::steal(as_object(make_contiguous(buffer, 0, source->dtype, source->rank, source->sizes)));
        });
      },
      nb::arg("tensor"), nb::arg("device"), "A copy of a contiguous tensor on a device, by its number.");
  m.def(
      "register_fenced_device",
      [](const std::string& name) { return translated([&] { return register_fenced_device(name.c_str()); }); },
      "A second device in host memory whose addresses fault when host code touches them without a copy: for tests.");
}

void bind_threads(nb::module_& m) {
  m.def(
      "set_num_threads",
      [](int count) {
        if (count < 1)
          translated(
              [&] { raise_error("DomainError", "set_num_threads: expected a count of at least 1, got %d", count); });
        set_num_threads(count);
      },
      nb::arg("count"), "How many threads one operator may use.");
  m.def("get_num_threads", get_num_threads, "How many threads one operator may use.");
  m.def(
      "set_flush_denormal",
      [](bool mode) {
        set_flush_denormal(mode);
        return true;
      },
      nb::arg("mode"),
      "Whether numbers too small for full precision count as 0, in the operators that this thread calls.\n\n"
      "Off at first, as in PyTorch. Many processors take a hundred times as long for such (denormal) numbers, which\n"
      "appear where gradients fade, as through many steps of a recurrent network.\n\n"
      "Args:     mode  bool\n"
      "Returns:  bool, whether the processor can do so: True\n\n"
      ">>> import duograph as dg\n"
      ">>> dg.set_flush_denormal(True)\n"
      "True\n"
      ">>> dg.tensor(1e-38) * 0.1\n"
      "tensor(0.)\n"
      ">>> dg.set_flush_denormal(False)\n"
      "True");
}

void bind_random(nb::module_& m) {
  m.def(
      "manual_seed", [](nb::int_ seed) { rng_seed(PyLong_AsUnsignedLongLongMask(seed.ptr())); }, nb::arg("seed"),
      "Starts the default random generator anew from a seed (any integer, taken modulo 2**64).");
  m.def("get_rng_state", [] {
    const RngState state = rng_state();
    return nb::make_tuple(state.key, state.counter);
  });
  m.def("set_rng_state", [](uint64_t key, uint64_t counter) { rng_set_state({key, counter}); });
  m.def("set_rng_state", [](std::pair<uint64_t, uint64_t> state) { rng_set_state({state.first, state.second}); });
  m.def("rng_use",
        [](uintptr_t state) { return reinterpret_cast<uintptr_t>(rng_use(reinterpret_cast<RngState*>(state))); });
  m.def("rng_reserve", [](int64_t count) {
    const RngState state = rng_reserve(count);
    return nb::make_tuple(state.key, state.counter);
  });
}

void bind_numbers(nb::module_& m) {
  m.def(
      "number_to_bytes",
      [](nb::handle value, int dtype) {
        return translated([&] {
          const DType target = checked_dtype(dtype);
          const Cell8 cell = number_cell(value, target);
          return nb::bytes(cell.bytes, itemsize(target));
        });
      },
      "One Python number as an element of a dtype (by code), rounded as the core rounds.");
  m.def(
      "number_from_bytes",
      [](nb::bytes bytes, int dtype) {
        return translated([&]() -> nb::object {
          const DType source = checked_dtype(dtype);
          if (bytes.size() < itemsize(source)) raise_error("InternalError", "too few bytes for %s", name(source));
          if (is_floating(source)) return nb::float_(load_as_double(bytes.data(), source));
          if (source == DType::Bool) return nb::bool_(load_as_int(bytes.data(), source) != 0);
          if (!is_signed(source)) return nb::int_(load_as_uint(bytes.data(), source));
          return nb::int_(load_as_int(bytes.data(), source));
        });
      },
      "One element of a dtype (by code) as a Python number.");
}

void bind_code(nb::module_& m) {
  m.def(
      "add_library",
      [](const std::string& name, nb::handle code) {
        const Bytes bytes(code);
        translated([&] { add_library(name, bytes.data(), bytes.size()); });
      },
      nb::arg("name"), nb::arg("code"), "Loads code that programs share; nothing if the name is known.");
  m.def("has_library", has_library, nb::arg("name"));
  nb::class_<LoadedObject>(m, "LoadedObject", "Machine code from one ELF object, for tests.")
      .def("symbols", &LoadedObject::symbols)
      .def("address", [](const LoadedObject& self, const std::string& name) {
        return reinterpret_cast<uintptr_t>(self.symbol(name));
      });
  m.def("load_object", [](nb::handle code) {
    const Bytes bytes(code);
    return translated([&] { return load_object(bytes.data(), bytes.size()); });
  });
}

void bind_program(nb::module_& m) {
  nb::class_<Program>(m, "Program", "A compiled program: shape arithmetic, memory plan and kernels.")
      .def(
          "__init__",
          [](Program* self, nb::dict spec, nb::handle code) {
            const Bytes bytes(code);
            translated([&] {
              const std::unique_ptr<Program> made(Program::parse(spec.ptr(), bytes.data(), bytes.size()));
              new (self) Program(std::move(*made));
            });
          },
          nb::arg("spec"), nb::arg("code") = nb::bytes("", 0))
      .def(
          "run",
          [](Program& self, nb::sequence tensors, nb::sequence numbers, nb::sequence sizes) {
            return translated([&] { return run_tensors(self, tensors, numbers, sizes); });
          },
          nb::arg("tensors"), nb::arg("numbers") = nb::tuple(), nb::arg("sizes") = nb::tuple())
      .def(
          "run_raw",
          [](Program& self, nb::sequence buffers, nb::sequence numbers, nb::sequence sizes) {
            return translated([&] { return run_raw(self, buffers, numbers, sizes); });
          },
          nb::arg("buffers"), nb::arg("numbers") = nb::tuple(), nb::arg("sizes") = nb::tuple())
      .def("set_profiling", &Program::set_profiling, nb::arg("on"),
           "Starts timing each step, from zero, or stops. Off, it costs nothing.")
      .def("profile", profile_rows, "Per step: kind, symbol, node, calls, microseconds (in all).")
      .def("stats", stats_dict, "Counts of steps, kernels, inputs and outputs, and the last run's arena bytes.")
      .def_ro("n_inputs", &Program::n_inputs)
      .def_ro("n_numbers", &Program::n_numbers)
      .def_ro("n_sizes", &Program::n_sizes)
      .def_ro("n_outputs", &Program::n_outputs);
}

void bind_digest(nb::module_& m) {
  m.def(
      "digest",
      [](nb::args parts) {
        Digest digest;
        for (nb::handle part : parts) {
          const Bytes bytes(part);
          digest.add(bytes.data(), bytes.size());
        }
        return digest.hex();
      },
      "BLAKE2b of the parts put together, 20 bytes in hexadecimal figures.");
  m.def("stamp_of_files", stamp_of_files, nb::arg("folders"), nb::arg("ending"),
        "Name, size and time of change of the files in these folders whose name ends so, as text.");
}

}  // namespace

void bind_runtime(nb::module_& m) {
  bind_digest(m);
  bind_memory(m);
  bind_devices(m);
  bind_threads(m);
  bind_random(m);
  bind_numbers(m);
  bind_code(m);
  bind_program(m);
}

}  // namespace dg
