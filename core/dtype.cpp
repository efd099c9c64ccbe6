#include "dtype.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace dg {

const DTypeInfo kDTypes[kDTypeCount] = {
    {DType::Bool, "bool", 1, 'b', "|b1"},       {DType::UInt8, "uint8", 1, 'u', "|u1"},
    {DType::Int8, "int8", 1, 'i', "|i1"},       {DType::Int16, "int16", 2, 'i', "<i2"},
    {DType::Int32, "int32", 4, 'i', "<i4"},     {DType::Int64, "int64", 8, 'i', "<i8"},
    {DType::UInt16, "uint16", 2, 'u', "<u2"},   {DType::UInt32, "uint32", 4, 'u', "<u4"},
    {DType::UInt64, "uint64", 8, 'u', "<u8"},   {DType::Float16, "float16", 2, 'f', "<f2"},
    {DType::BFloat16, "bfloat16", 2, 'f', ""},  {DType::Float32, "float32", 4, 'f', "<f4"},
    {DType::Float64, "float64", 8, 'f', "<f8"},
};

namespace {

std::atomic<DType> the_default_dtype{DType::Float32};

// Rounds a double to a 16-bit format with the given significand bits in one step (to nearest, ties to even). Going
// through float would round twice.
template <int kMantissaBits, int kExponentBits>
uint16_t round_to_16_bits(double value) {
  constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  constexpr uint16_t kInfinity = ((1 << kExponentBits) - 1) << kMantissaBits;
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 63) << 15);
  const int biased = static_cast<int>((bits >> 52) & 0x7FF);
  const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
  if (biased == 0x7FF) return sign | kInfinity | (fraction ? uint16_t{1} << (kMantissaBits - 1) : 0);
  if (biased == 0) return sign;  // zero, or a denormal double: far below half of the smallest denormal here
  int exponent = biased - 1023 + kBias;
  if (exponent >= (1 << kExponentBits) - 1) return sign | kInfinity;
  // Bits to drop: more of them when the result is denormal.
  int drop = 52 - kMantissaBits;
  if (exponent <= 0) {
    drop += 1 - exponent;
    exponent = 0;
  }
  if (drop > 53) return sign;
  const uint64_t significand = fraction | (uint64_t{1} << 52);
  const uint64_t kept = significand >> drop;
  const uint64_t rest = significand & ((uint64_t{1} << drop) - 1);
  const uint64_t half = uint64_t{1} << (drop - 1);
  const uint64_t rounded = kept + (rest > half || (rest == half && (kept & 1)));
  // For a normal result the hidden bit adds one to the exponent field; a carry out of the significand does the same,
  // up to infinity. For a denormal one `rounded` is the whole pattern.
  const uint64_t pattern = exponent > 0 ? (static_cast<uint64_t>(exponent - 1) << kMantissaBits) + rounded : rounded;
  return sign | static_cast<uint16_t>(pattern);
}

template <typename Int>
Int saturate(double value) {
  if (std::isnan(value)) return 0;
  // 2^digits is exact in a double, so the comparison is; the maximum itself may not be.
  const double above = std::ldexp(1.0, std::numeric_limits<Int>::digits);
  if (value >= above) return std::numeric_limits<Int>::max();
  if (value <= static_cast<double>(std::numeric_limits<Int>::min())) return std::numeric_limits<Int>::min();
  return static_cast<Int>(value);
}

// A double that rounds to any narrower format as the integer itself would: bits below the 53rd become one sticky bit.
double sticky_double(uint64_t magnitude) {
  if (magnitude >> 53) magnitude = (magnitude & ~uint64_t{0x7FF}) | ((magnitude & 0x7FF) ? 0x800 : 0);
  return static_cast<double>(magnitude);
}
double sticky_double(int64_t value) {
  const uint64_t bits = static_cast<uint64_t>(value);
  return value < 0 ? -sticky_double(~bits + 1) : sticky_double(bits);
}

template <typename T>
T read(const void* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  return value;
}
template <typename T>
void write(void* target, T value) {
  std::memcpy(target, &value, sizeof value);
}

// Calls visit(element) with the element in a C++ type that holds it exactly.
template <typename Visit>
auto with_element(const void* source, DType dtype, Visit visit) {
  switch (dtype) {
    case DType::Bool:
      return visit(static_cast<uint8_t>(read<uint8_t>(source) != 0));
    case DType::UInt8:
      return visit(read<uint8_t>(source));
    case DType::Int8:
      return visit(read<int8_t>(source));
    case DType::Int16:
      return visit(read<int16_t>(source));
    case DType::Int32:
      return visit(read<int32_t>(source));
    case DType::Int64:
      return visit(read<int64_t>(source));
    case DType::UInt16:
      return visit(read<uint16_t>(source));
    case DType::UInt32:
      return visit(read<uint32_t>(source));
    case DType::UInt64:
      return visit(read<uint64_t>(source));
    case DType::Float16:
      return visit(half_to_float(read<uint16_t>(source)));
    case DType::BFloat16:
      return visit(bfloat16_to_float(read<uint16_t>(source)));
    case DType::Float32:
      return visit(read<float>(source));
    default:
      return visit(read<double>(source));
  }
}

template <typename Int>
void store_integer(void* target, DType dtype, Int value) {
  switch (dtype) {
    case DType::Bool:
      return write<uint8_t>(target, value != 0);
    case DType::UInt8:
    case DType::Int8:
      return write(target, static_cast<uint8_t>(value));
    case DType::UInt16:
    case DType::Int16:
      return write(target, static_cast<uint16_t>(value));
    case DType::UInt32:
    case DType::Int32:
      return write(target, static_cast<uint32_t>(value));
    case DType::UInt64:
    case DType::Int64:
      return write(target, static_cast<uint64_t>(value));
    case DType::Float16:
      return write(target, float_to_half(sticky_double(value)));
    case DType::BFloat16:
      return write(target, float_to_bfloat16(sticky_double(value)));
    case DType::Float32:
      return write(target, static_cast<float>(value));
    default:
      return write(target, static_cast<double>(value));
  }
}

}  // namespace

DType promote(DType a, DType b) {
  if (a == b) return a;
  const DTypeInfo &x = info(a), &y = info(b);
  if (x.kind == 'f' && y.kind == 'f') {
    if (x.itemsize == y.itemsize) return DType::Float32;  // float16 with bfloat16: neither holds the other
    return x.itemsize > y.itemsize ? a : b;
  }
  if (x.kind == 'f') return a;
  if (y.kind == 'f') return b;
  const auto wide_unsigned = [](const DTypeInfo& row) { return row.kind == 'u' && row.itemsize > 1; };
  if (wide_unsigned(x) || wide_unsigned(y)) return DType::Count;
  if (x.kind == 'b') return b;
  if (y.kind == 'b') return a;
  if (x.itemsize != y.itemsize) return x.itemsize > y.itemsize ? a : b;
  return DType::Int16;  // uint8 with int8
}

DType default_dtype() { return the_default_dtype.load(std::memory_order_relaxed); }
void set_default_dtype(DType dtype) { the_default_dtype.store(dtype, std::memory_order_relaxed); }

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1F, fraction = bits & 0x3FF;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  const uint32_t wide = exponent == 0x1F ? 0xFF : exponent + 127 - 15;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

float bfloat16_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
uint16_t float_to_half(double value) { return round_to_16_bits<10, 5>(value); }
uint16_t float_to_bfloat16(double value) { return round_to_16_bits<7, 8>(value); }

double load_as_double(const void* source, DType dtype) {
  return with_element(source, dtype, [](auto value) { return static_cast<double>(value); });
}

int64_t load_as_int(const void* source, DType dtype) {
  return with_element(source, dtype, [](auto value) {
    if constexpr (std::is_floating_point_v<decltype(value)>)
      return saturate<int64_t>(value);
    else
      return static_cast<int64_t>(value);
  });
}

uint64_t load_as_uint(const void* source, DType dtype) {
  return with_element(source, dtype, [](auto value) {
    if constexpr (std::is_floating_point_v<decltype(value)>)
      return saturate<uint64_t>(value);
    else
      return static_cast<uint64_t>(value);
  });
}

void store_number(void* target, DType dtype, double value) {
  switch (dtype) {
    case DType::Bool:
      return write<uint8_t>(target, value != 0);
    case DType::UInt8:
      return write(target, saturate<uint8_t>(value));
    case DType::Int8:
      return write(target, saturate<int8_t>(value));
    case DType::Int16:
      return write(target, saturate<int16_t>(value));
    case DType::Int32:
      return write(target, saturate<int32_t>(value));
    case DType::Int64:
      return write(target, saturate<int64_t>(value));
    case DType::UInt16:
      return write(target, saturate<uint16_t>(value));
    case DType::UInt32:
      return write(target, saturate<uint32_t>(value));
    case DType::UInt64:
      return write(target, saturate<uint64_t>(value));
    case DType::Float16:
      return write(target, float_to_half(value));
    case DType::BFloat16:
      return write(target, float_to_bfloat16(value));
    case DType::Float32:
      return write(target, static_cast<float>(value));
    default:
      return write(target, value);
  }
}

void store_number(void* target, DType dtype, int64_t value) { store_integer(target, dtype, value); }
void store_number(void* target, DType dtype, uint64_t value) { store_integer(target, dtype, value); }

}  // namespace dg
