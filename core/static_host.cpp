// What a static program calls in Python while it runs: effects that are due, then a function, on copies of its values.
#include <cstring>

#include "geometry.h"
#include "static_call.h"

namespace dg {

namespace {

TensorObject* copied(const HostValue& value) {
  int64_t count = 1;
  SmallVector<int64_t, 8> strides;
  strides.resize(value.sizes.size());
  for (size_t d = value.sizes.size(); d-- > 0;) {
    strides[d] = count;
    count *= value.sizes[d];
  }
  const size_t bytes = static_cast<size_t>(count) * itemsize(value.dtype);
  Buffer* buffer = allocate(bytes);
  if (bytes) std::memcpy(buffer->data, value.data, bytes);
  return make_tensor(buffer, 0, value.dtype, static_cast<int>(value.sizes.size()), value.sizes.data(), strides.data());
}

std::string shape_text(int rank, const int64_t* sizes) {
  std::string text = "(";
  for (int d = 0; d < rank; ++d) text += (d ? ", " : "") + std::to_string(sizes[d]);
  return text + (rank == 1 ? ",)" : ")");
}

void take_result(PyObject* object, const HostValue& result) {
  if (!is_tensor(object)) raise_error("InternalError", "a host call gave %s, not a tensor", Py_TYPE(object)->tp_name);
  const TensorObject* tensor = as_tensor(object);
  int64_t count = 1;
  bool fits = tensor->dtype == result.dtype && tensor->rank == result.sizes.size() && is_contiguous(tensor);
  for (size_t d = 0; fits && d < result.sizes.size(); ++d) {
    fits = tensor->sizes[d] == result.sizes[d];
    count *= result.sizes[d];
  }
  if (!fits)
    raise_error("ShapeError", "host_callback: a result has shape %s, and is declared to have shape %s",
                shape_text(tensor->rank, tensor->sizes).c_str(),
                shape_text(static_cast<int>(result.sizes.size()), result.sizes.data()).c_str());
  if (count) std::memcpy(result.data, tensor->data, static_cast<size_t>(count) * itemsize(result.dtype));
}

// The versions of everything the program reads and writes.
std::vector<uint32_t> versions(const StaticCall* call) {
  std::vector<uint32_t> found;
  for (const TensorObject* tensor : call->inputs)
    if (tensor->buffer) found.push_back(tensor->buffer->version.load(std::memory_order_relaxed));
  return found;
}

// The operands of one host call as the outputs that templates speak of.
class Operands {
 public:
  Operands(StaticCall* call, const HostValue* values, size_t count) : call_(call) {
    call->outputs.resize(count);
    for (size_t i = 0; i < count; ++i) call->outputs[i] = nullptr;
    for (size_t i = 0; i < count; ++i) call->outputs[i] = as_object(copied(values[i]));
  }
  ~Operands() {
    for (PyObject* object : call_->outputs) Py_XDECREF(object);
    call_->outputs.resize(0);
  }
  Operands(const Operands&) = delete;

 private:
  StaticCall* call_;
};

}  // namespace

bool StaticHost::call(int32_t number, const HostValue* operands, size_t n_operands, const HostValue* results,
                      size_t n_results) {
  try {
    const auto& hosts = call_->entry->hosts;
    if (static_cast<size_t>(number) >= hosts.size()) raise_error("InternalError", "an unknown host call");
    const HostCall& host = hosts[static_cast<size_t>(number)];
    if (host.n_operands != n_operands) raise_error("InternalError", "a host call with another number of operands");
    const Operands taken(call_, operands, n_operands);
    for (const Effect& effect : host.effects) apply_effect(effect, call_);
    Ref arguments = owned(PyTuple_New(static_cast<Py_ssize_t>(host.args.size())));
    for (size_t i = 0; i < host.args.size(); ++i)
      PyTuple_SET_ITEM(arguments.get(), static_cast<Py_ssize_t>(i), build(host.args[i], call_));
    const std::vector<uint32_t> before = host.watches ? versions(call_) : std::vector<uint32_t>();
    Ref given = owned(PyObject_CallObject(host.function, arguments.get()));
    if (host.watches && versions(call_) != before)
      raise_error_hint("CaptureError",
                       "give the new values back as the callback's result, and write them outside of it",
                       "host_callback: the callback wrote into a tensor that the static function uses");
    if (!n_results) return true;
    if (!PyTuple_Check(given.get()) || PyTuple_GET_SIZE(given.get()) != static_cast<Py_ssize_t>(n_results))
      raise_error("InternalError", "a host call gave another number of results");
    for (size_t i = 0; i < n_results; ++i)
      take_result(PyTuple_GET_ITEM(given.get(), static_cast<Py_ssize_t>(i)), results[i]);
    return true;
  } catch (...) {
    set_error_from_current_exception();
    return false;
  }
}

}  // namespace dg
