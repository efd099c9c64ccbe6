// DLPack both ways, the versioned capsule and the old one. Layouts as the DLPack specification gives them.
#include <cstring>

#include "geometry.h"
#include "interop.h"
#include "kept.h"
#include "mode.h"

namespace dg {

namespace {

struct DLDevice {
  int32_t type;
  int32_t id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLVersion {
  uint32_t major, minor;
};
struct DLManagedTensorVersioned {
  DLVersion version;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};

constexpr uint64_t kReadOnly = 1, kCopied = 2;
constexpr int kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6, kDLCpu = 1;

DLDataType dl_type(DType dtype) {
  const auto bits = static_cast<uint8_t>(8 * itemsize(dtype));
  if (dtype == DType::Bool) return {kDLBool, 8, 1};
  if (dtype == DType::BFloat16) return {kDLBfloat, 16, 1};
  const char kind = info(dtype).kind;
  return {static_cast<uint8_t>(kind == 'f' ? kDLFloat : kind == 'i' ? kDLInt : kDLUInt), bits, 1};
}

DType dtype_of(DLDataType type) {
  if (type.lanes != 1) return DType::Count;
  for (const DTypeInfo& row : kDTypes) {
    DLDataType known = dl_type(row.code);
    if (known.code == type.code && known.bits == type.bits) return row.code;
  }
  return DType::Count;
}

// What an exported capsule keeps alive: one reference to the buffer, and room for the geometry.
template <class Managed>
struct Export {
  Managed managed;
  Buffer* buffer;
  int64_t dims[2 * kMaxRank];
};

template <class Managed>
void delete_export(Managed* managed) {
  auto* exported = static_cast<Export<Managed>*>(managed->context);
  close_buffer(exported->buffer);
  release(exported->buffer);
  delete exported;
}

template <class Managed>
Managed* make_export(TensorObject* tensor) {
  auto* exported = new Export<Managed>();
  std::memcpy(exported->dims, tensor->sizes, 2 * tensor->rank * sizeof(int64_t));
  retain(tensor->buffer);
  exported->buffer = tensor->buffer;
  open_buffer(tensor->buffer);
  exported->managed.context = exported;
  exported->managed.deleter = delete_export<Managed>;
  DLTensor& dl = exported->managed.tensor;
  dl.data = tensor->data;
  dl.device = {kDLCpu, 0};
  dl.ndim = tensor->rank;
  dl.dtype = dl_type(tensor->dtype);
  dl.shape = exported->dims;
  dl.strides = exported->dims + tensor->rank;
  dl.byte_offset = 0;
  return &exported->managed;
}

template <class Managed>
void drop_capsule(PyObject* capsule, const char* name) {
  if (!PyCapsule_IsValid(capsule, name)) return;  // consumed: renamed by who took it
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
  if (managed && managed->deleter) managed->deleter(managed);
}
void drop_plain(PyObject* capsule) { drop_capsule<DLManagedTensor>(capsule, "dltensor"); }
void drop_versioned(PyObject* capsule) { drop_capsule<DLManagedTensorVersioned>(capsule, "dltensor_versioned"); }

template <class Managed>
void release_import(Buffer* buffer) {
  auto* managed = static_cast<Managed*>(buffer->owner);
  if (managed->deleter && Py_IsInitialized()) {
    PyGILState_STATE state = PyGILState_Ensure();
    managed->deleter(managed);
    PyGILState_Release(state);
  }
  drop_adopted(buffer);
}

template <class Managed>
PyObject* import_managed(Managed* managed, bool read_only) {
  const DLTensor& dl = managed->tensor;
  const DType dtype = dtype_of(dl.dtype);
  if (dl.device.type != kDLCpu) raise_error("DeviceError", "from_dlpack: only CPU memory can be shared");
  if (dtype == DType::Count)
    raise_error("DTypeError", "from_dlpack: no dtype with DLPack code %d and %d bits", dl.dtype.code, dl.dtype.bits);
  if (dl.ndim < 0 || dl.ndim > kMaxRank)
    raise_error("ShapeError", "from_dlpack: at most %d dimensions, got %d", kMaxRank, static_cast<int>(dl.ndim));
  Dims strides;
  strides.resize(dl.ndim);
  if (checked_count(dl.ndim, dl.shape, dtype) < 0) raise_error("ShapeError", "from_dlpack: a size is negative");
  contiguous_strides(dl.ndim, dl.shape, strides.data());
  for (int d = 0; dl.strides && d < dl.ndim; ++d) {
    strides[d] = dl.strides[d];
    if (strides[d] < 0 && dl.shape[d] > 1)
      raise_error("ShapeError", "from_dlpack: the stride of dimension %d is negative", d);
  }
  char* data = static_cast<char*>(dl.data) + dl.byte_offset;
  const int rank = dl.ndim;
  const int64_t* shape = dl.shape;
  if (read_only) {  // nothing of ours is read-only, so it is a copy
    TensorObject* copy = make_empty(dtype, rank, shape);
    strided_copy(copy->data, copy->strides, data, strides.data(), rank, shape, itemsize(dtype));
    if (managed->deleter) managed->deleter(managed);
    return as_object(copy);
  }
  const Extent extent = view_extent(rank, shape, strides.data());
  Buffer* buffer = adopt(data, static_cast<size_t>(extent.high) * itemsize(dtype), managed, release_import<Managed>);
  return as_object(make_tensor(buffer, 0, dtype, rank, shape, strides.data()));
}

}  // namespace

PyObject* to_dlpack(TensorObject* tensor, PyObject* max_version, bool copy) {
  require_host(tensor, "dlpack");
  if (requires_grad(tensor))
    raise_error_hint("GradError", "use x.detach()", "dlpack: a Tensor that requires grad cannot be shared");
  Ref kept;
  if (copy) {
    TensorObject* own = make_empty(tensor->dtype, tensor->rank, tensor->sizes);
    kept = Ref(as_object(own));
    strided_copy(own->data, own->strides, tensor->data, tensor->strides, tensor->rank, tensor->sizes,
                 itemsize(tensor->dtype));
    tensor = own;
  }
  long major = 0;
  if (PyTuple_Check(max_version) && PyTuple_GET_SIZE(max_version) > 0)
    major = PyLong_AsLong(PyTuple_GET_ITEM(max_version, 0));
  if (PyErr_Occurred()) throw ErrorSet{};
  if (major >= 1) {
    auto* managed = make_export<DLManagedTensorVersioned>(tensor);
    managed->version = {1, 0};
    managed->flags = copy ? kCopied : 0;
    PyObject* capsule = PyCapsule_New(managed, "dltensor_versioned", drop_versioned);
    if (!capsule) delete_export(managed);
    return checked(capsule);
  }
  auto* managed = make_export<DLManagedTensor>(tensor);
  PyObject* capsule = PyCapsule_New(managed, "dltensor", drop_plain);
  if (!capsule) delete_export(managed);
  return checked(capsule);
}

PyObject* from_dlpack(PyObject* object) {
  Ref capsule;
  if (PyCapsule_CheckExact(object)) {
    capsule = Ref::borrow(object);
  } else {
    Ref method(PyObject_GetAttrString(object, "__dlpack__"));
    if (!method) {
      PyErr_Clear();
      raise_error("ArgumentError", "from_dlpack: %s has no __dlpack__", Py_TYPE(object)->tp_name);
    }
    Ref keywords = owned(Py_BuildValue("{s(ii)}", "max_version", 1, 0));
    Ref none = owned(PyTuple_New(0));
    capsule = Ref(PyObject_Call(method.get(), none.get(), keywords.get()));
    if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError)) {  // a producer from before versions
      PyErr_Clear();
      capsule = owned(PyObject_CallNoArgs(method.get()));
    }
    checked(capsule.get());
  }
  PyObject* result;
  if (PyCapsule_IsValid(capsule.get(), "dltensor_versioned")) {
    auto* managed = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule.get(), "dltensor_versioned"));
    if (managed->version.major > 1)
      raise_error("ArgumentError", "from_dlpack: DLPack version %u is not known", managed->version.major);
    result = import_managed(managed, managed->flags & kReadOnly);
    check_status(PyCapsule_SetName(capsule.get(), "used_dltensor_versioned"));
  } else if (PyCapsule_IsValid(capsule.get(), "dltensor")) {
    auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.get(), "dltensor"));
    result = import_managed(managed, false);
    check_status(PyCapsule_SetName(capsule.get(), "used_dltensor"));
  } else {
    raise_error("ArgumentError", "from_dlpack: the capsule was used before or is not of DLPack");
  }
  if (mode.tracing) as_tensor(result)->flags |= kBornTraced;
  return result;
}

}  // namespace dg
