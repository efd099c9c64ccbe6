#include "entry.h"

#include <nanobind/nanobind.h>

#include "dtype_object.h"
#include "tensor.h"

namespace dg {

Mask& clear_mask(Mask& mask, size_t bits) {
  mask.resize(mask_words(bits));
  for (uint64_t& word : mask) word = 0;
  return mask;
}

Ref mask_to_int(const uint64_t* words, size_t count) {
  Ref value = owned(_PyLong_FromByteArray(reinterpret_cast<const unsigned char*>(words), count * 8, 1, 0));
  return value;
}

void int_to_mask(PyObject* value, size_t bits, std::vector<uint64_t>* mask) {
  mask->assign(mask_words(bits), 0);
  if (!PyLong_Check(value)) raise_error("InternalError", "a mask must be an int, got %s", Py_TYPE(value)->tp_name);
  if (mask->empty()) return;
  auto* bytes = reinterpret_cast<unsigned char*>(mask->data());
  auto* number = reinterpret_cast<PyLongObject*>(value);
#if PY_VERSION_HEX >= 0x030D0000
  int status = _PyLong_AsByteArray(number, bytes, mask->size() * 8, 1, 0, 1);
#else
  int status = _PyLong_AsByteArray(number, bytes, mask->size() * 8, 1, 0);
#endif
  check_status(status);
}

uint64_t operand_word(DType dtype, int rank, const int64_t* sizes, const int64_t* strides, uint16_t ones, bool zero_d) {
  uint64_t word = static_cast<uint64_t>(dtype) | static_cast<uint64_t>(rank) << 6 | (zero_d ? kZeroDBit : 0) |
                  static_cast<uint64_t>(ones) << 16;
  if (strides_are_contiguous(rank, sizes, strides)) return word | kContiguousBit;
  for (int d = 0; d < rank; ++d) {
    uint64_t kind = sizes[d] == 1 || strides[d] == 0 ? 0 : strides[d] == 1 ? 1 : 2;
    word |= kind << (32 + 2 * d);
  }
  return word;
}

uint64_t number_word(NumberKind kind) {
  static constexpr DType dtypes[] = {DType::Bool, DType::Int64, DType::Float64};
  const int index = static_cast<int>(kind);
  return static_cast<uint64_t>(dtypes[index]) | static_cast<uint64_t>(index + 1) << 4 | kZeroDBit | kContiguousBit;
}

Ref spec_of_word(uint64_t word) {
  if ((word & 15) == kAbsentWord) return Ref::borrow(Py_None);
  const int rank = static_cast<int>(word >> 6 & 31);
  Ref ones = owned(PyTuple_New(rank));
  for (int d = 0; d < rank; ++d) PyTuple_SET_ITEM(ones.get(), d, PyBool_FromLong(word >> (16 + d) & 1));
  Ref layout;
  if (word & kContiguousBit) {
    layout = owned(PyUnicode_FromString("C"));
  } else {
    layout = owned(PyTuple_New(rank));
    for (int d = 0; d < rank; ++d)
      PyTuple_SET_ITEM(layout.get(), d, checked(PyLong_FromLong(word >> (32 + 2 * d) & 3)));
  }
  return owned(Py_BuildValue("(iiiOOO)", static_cast<int>(word & 15), static_cast<int>(word >> 4 & 3), rank, ones.get(),
                             layout.get(), word & kZeroDBit ? Py_True : Py_False));
}

uint64_t hash_words(const uint64_t* words, size_t count) {
  uint64_t hash = 0x9e3779b97f4a7c15ull ^ count;
  for (size_t i = 0; i < count; ++i) {
    hash = (hash ^ words[i]) * 0xff51afd7ed558ccdull;
    hash ^= hash >> 32;
  }
  return hash;
}

Entry* EntryTable::find(const uint64_t* key, size_t length, uint64_t hash) const {
  if (slots_.empty()) return nullptr;
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i]; i = (i + 1) & mask) {
    Entry* entry = slots_[i];
    if (entry->hash == hash && entry->key.size() == length &&
        std::memcmp(entry->key.data(), key, length * sizeof(uint64_t)) == 0)
      return entry;
  }
  return nullptr;
}

Entry* EntryTable::insert(std::unique_ptr<Entry> entry) {
  if (Entry* first = find(entry->key.data(), entry->key.size(), entry->hash)) return first;
  if (2 * (entries_.size() + 1) > slots_.size()) rehash(slots_.empty() ? 8 : 2 * slots_.size());
  const size_t mask = slots_.size() - 1;
  size_t i = entry->hash & mask;
  while (slots_[i]) i = (i + 1) & mask;
  slots_[i] = entry.get();
  entries_.push_back(std::move(entry));
  return last_ = slots_[i];
}

void EntryTable::rehash(size_t slots) {
  slots_.assign(slots, nullptr);
  for (auto& entry : entries_) {
    size_t i = entry->hash & (slots - 1);
    while (slots_[i]) i = (i + 1) & (slots - 1);
    slots_[i] = entry.get();
  }
}

void EntryTable::clear() {
  last_ = nullptr;
  slots_.clear();
  entries_.clear();
}

Program* program_of(PyObject* object, const OpObject* op) {
  Program* program = nullptr;
  if (!nanobind::try_cast<Program*>(nanobind::handle(object), program) || !program)
    raise_error("InternalError", "%s: compilation gave %s, not a Program", op_name(op), Py_TYPE(object)->tp_name);
  return program;
}

namespace {

enum Tag : uint64_t { kNone = 1, kBool, kInt, kFloat, kText, kDType, kTuple, kObject };

constexpr uint64_t tagged(Tag tag, uint64_t payload = 0) { return tag << 56 | payload; }

PyObject* interned_objects = nullptr;  // dict: object -> the first one equal to it

[[noreturn]] void refuse_attribute(PyObject* value, const OpObject* op, const Param& param) {
  raise_error("ArgumentError", "%s: %s cannot be %s", op_name(op), PyUnicode_AsUTF8(param.name),
              is_tensor(value) ? "a Tensor" : Py_TYPE(value)->tp_name);
}

void encode_object(PyObject* value, Key* key, const OpObject* op, const Param& param) {
  if (PyIter_Check(value)) refuse_attribute(value, op, param);  // read once, it would be another one
  if (!interned_objects) interned_objects = checked(PyDict_New());
  PyObject* first = PyDict_SetDefault(interned_objects, value, value);
  if (!first) {
    PyErr_Clear();
    refuse_attribute(value, op, param);
  }
  key->push_back(tagged(kObject));
  key->push_back(reinterpret_cast<uint64_t>(first));
}

void encode_value(PyObject* value, Key* key, std::vector<Ref>* kept, const OpObject* op, const Param& param,
                  int depth) {
  DType dtype;
  if (value == Py_None) {
    key->push_back(tagged(kNone));
  } else if (value == Py_True || value == Py_False) {
    key->push_back(tagged(kBool, value == Py_True));
  } else if (PyLong_Check(value)) {
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow) return encode_object(value, key, op, param);
    key->push_back(tagged(kInt));
    key->push_back(static_cast<uint64_t>(number));
  } else if (PyUnicode_CheckExact(value)) {
    Ref text = Ref::borrow(value);
    PyObject* canonical = text.release();
    PyUnicode_InternInPlace(&canonical);
    text = Ref(canonical);
    key->push_back(tagged(kText));
    key->push_back(reinterpret_cast<uint64_t>(canonical));
    // The address in a stored key must stay this string's: the entry keeps what is in `kept`.
    kept->push_back(std::move(text));
  } else if (as_dtype(value, &dtype)) {
    key->push_back(tagged(kDType, static_cast<uint64_t>(dtype)));
  } else if (PyFloat_Check(value)) {
    double number = PyFloat_AS_DOUBLE(value);
    uint64_t bits;
    std::memcpy(&bits, &number, 8);
    key->push_back(tagged(kFloat));
    key->push_back(bits);
  } else if (PyTuple_Check(value) || PyList_Check(value)) {
    if (depth > 8) refuse_attribute(value, op, param);
    Ref items = PyTuple_Check(value) ? Ref::borrow(value) : owned(PyList_AsTuple(value));
    const Py_ssize_t count = PyTuple_GET_SIZE(items.get());
    key->push_back(tagged(kTuple, static_cast<uint64_t>(count)));
    for (Py_ssize_t i = 0; i < count; ++i)
      encode_value(PyTuple_GET_ITEM(items.get(), i), key, kept, op, param, depth + 1);
  } else if (is_tensor(value)) {
    refuse_attribute(value, op, param);
  } else if (PyIndex_Check(value)) {  // integers of NumPy
    Ref index = owned(PyNumber_Index(value));
    encode_value(index.get(), key, kept, op, param, depth);
  } else {
    encode_object(value, key, op, param);
  }
}

}  // namespace

void encode_attribute(PyObject* value, Key* key, std::vector<Ref>* kept, const OpObject* op, const Param& param) {
  encode_value(value, key, kept, op, param, 0);
}

Ref canonical_attribute(PyObject* value) {
  if (PyTuple_Check(value) || PyList_Check(value)) {
    Ref items = PyTuple_Check(value) ? Ref::borrow(value) : owned(PyList_AsTuple(value));
    Ref result = owned(PyTuple_New(PyTuple_GET_SIZE(items.get())));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items.get()); ++i)
      PyTuple_SET_ITEM(result.get(), i, canonical_attribute(PyTuple_GET_ITEM(items.get(), i)).release());
    return result;
  }
  if (PyLong_Check(value) || is_tensor(value) || !PyIndex_Check(value)) return Ref::borrow(value);
  return owned(PyNumber_Index(value));
}

}  // namespace dg
