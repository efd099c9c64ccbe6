// The dtype table: one row per element type, PyTorch's promotion, exact scalar conversions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dg {

// The codes are part of kernel cache keys and of the Python API: append, never reorder.
enum class DType : uint8_t {
  Bool,
  UInt8,
  Int8,
  Int16,
  Int32,
  Int64,
  UInt16,
  UInt32,
  UInt64,
  Float16,
  BFloat16,
  Float32,
  Float64,
  Count
};
constexpr int kDTypeCount = static_cast<int>(DType::Count);

struct DTypeInfo {
  DType code;
  const char* name;
  uint8_t itemsize;
  char kind;  // 'b' bool, 'u' unsigned, 'i' signed, 'f' floating
  const char* numpy_typestr;
};

extern const DTypeInfo kDTypes[kDTypeCount];

inline const DTypeInfo& info(DType dtype) { return kDTypes[static_cast<int>(dtype)]; }
inline size_t itemsize(DType dtype) { return info(dtype).itemsize; }
inline const char* name(DType dtype) { return info(dtype).name; }
inline bool is_floating(DType dtype) { return info(dtype).kind == 'f'; }
inline bool is_signed(DType dtype) { return info(dtype).kind == 'f' || info(dtype).kind == 'i'; }
inline bool is_integral(DType dtype) { return info(dtype).kind != 'f'; }  // bool included

// The dtype that holds both, as PyTorch's promote_types. Pairs PyTorch refuses (an unsigned 16..64-bit integer with
// another integer of a different dtype) give DType::Count.
DType promote(DType a, DType b);

DType default_dtype();
void set_default_dtype(DType dtype);  // a floating dtype

float half_to_float(uint16_t bits);
float bfloat16_to_float(uint16_t bits);
uint16_t float_to_half(double value);      // round to nearest even, from the double in one step
uint16_t float_to_bfloat16(double value);  // round to nearest even, from the double in one step

// One element as a C++ number. Integers wider than the target wrap; floats to integers saturate and NaN gives 0.
double load_as_double(const void* source, DType dtype);
int64_t load_as_int(const void* source, DType dtype);
uint64_t load_as_uint(const void* source, DType dtype);

// One number stored as an element, rounded or converted by the same rules; bool is `value != 0`.
void store_number(void* target, DType dtype, double value);
void store_number(void* target, DType dtype, int64_t value);
void store_number(void* target, DType dtype, uint64_t value);

}  // namespace dg
