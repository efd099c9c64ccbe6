// Broadcasting several operands to one index space and merging its dimensions as far as all operands allow.
#pragma once

#include "geometry.h"
#include "program.h"

namespace dg {

struct View {
  const int64_t* sizes;
  const int64_t* strides;
  int rank;
  bool contiguous;
};

struct IndexSpace {
  int rank;  // broadcast shape
  int64_t sizes[kMaxRank];
  int merged_rank;  // at least 1
};

// The views over the merged index space: for each operand `merged_rank` sizes (1 where it is broadcast), then strides.
struct MergedViews {
  SmallVector<int64_t, 32> dims;
  SmallVector<uint16_t, 8> ones;  // bit d: broadcast along merged dimension d
};

// False if the shapes do not broadcast together (or the rank is beyond kMaxRank).
bool broadcast_sizes(const View* views, size_t count, IndexSpace* space);
void merge_dimensions(const View* views, size_t count, IndexSpace* space, MergedViews* merged);

}  // namespace dg
