#include "geometry.h"

namespace dg {

int64_t checked_count(int rank, const int64_t* sizes, DType dtype) {
  int64_t count = 1;
  bool empty = false, overflow = false;
  for (int d = 0; d < rank; ++d) {
    if (sizes[d] < 0) return -1;
    if (sizes[d] == 0) empty = true;
    if (!empty && __builtin_mul_overflow(count, sizes[d], &count)) overflow = true;
  }
  if (empty) return 0;
  int64_t bytes;
  if (overflow || __builtin_mul_overflow(count, static_cast<int64_t>(itemsize(dtype)), &bytes)) return -1;
  return count;
}

Extent view_extent(int rank, const int64_t* sizes, const int64_t* strides) {
  Extent extent{0, 1};
  for (int d = 0; d < rank; ++d) {
    if (sizes[d] == 0) return {0, 0};
    int64_t reach = (sizes[d] - 1) * strides[d];
    if (reach < 0)
      extent.low += reach;
    else
      extent.high += reach;
  }
  return extent;
}

namespace {

template <class T>
void copy_rows(char* target, const int64_t* target_strides, const char* source, const int64_t* source_strides, int rank,
               const int64_t* sizes) {
  if (rank == 0) {
    *reinterpret_cast<T*>(target) = *reinterpret_cast<const T*>(source);
    return;
  }
  Dims index;
  index.resize(rank);
  for (int d = 0; d < rank; ++d) {
    if (sizes[d] == 0) return;
    index[d] = 0;
  }
  const int64_t inner = sizes[rank - 1], ts = target_strides[rank - 1], ss = source_strides[rank - 1];
  auto* to = reinterpret_cast<T*>(target);
  auto* from = reinterpret_cast<const T*>(source);
  while (true) {
    if (ts == 1 && ss == 1)
      std::memcpy(to, from, inner * sizeof(T));
    else
      for (int64_t i = 0; i < inner; ++i) to[i * ts] = from[i * ss];
    int d = rank - 2;
    for (; d >= 0; --d) {
      to += target_strides[d];
      from += source_strides[d];
      if (++index[d] < sizes[d]) break;
      to -= sizes[d] * target_strides[d];
      from -= sizes[d] * source_strides[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

}  // namespace

void strided_copy(char* target, const int64_t* target_strides, const char* source, const int64_t* source_strides,
                  int rank, const int64_t* sizes, size_t itemsize) {
  switch (itemsize) {
    case 1:
      return copy_rows<uint8_t>(target, target_strides, source, source_strides, rank, sizes);
    case 2:
      return copy_rows<uint16_t>(target, target_strides, source, source_strides, rank, sizes);
    case 4:
      return copy_rows<uint32_t>(target, target_strides, source, source_strides, rank, sizes);
    default:
      return copy_rows<uint64_t>(target, target_strides, source, source_strides, rank, sizes);
  }
}

}  // namespace dg
