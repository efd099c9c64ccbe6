#include "coalesce.h"

#include <algorithm>

namespace dg {

bool broadcast_sizes(const View* views, size_t count, IndexSpace* space) {
  int rank = 0;
  for (size_t k = 0; k < count; ++k) rank = std::max(rank, views[k].rank);
  if (rank > kMaxRank) return false;
  space->rank = rank;
  for (int d = 0; d < rank; ++d) space->sizes[d] = 1;
  for (size_t k = 0; k < count; ++k) {
    int64_t* sizes = space->sizes + (rank - views[k].rank);
    for (int d = 0; d < views[k].rank; ++d) {
      const int64_t size = views[k].sizes[d];
      if (size == sizes[d] || size == 1) continue;
      if (sizes[d] != 1) return false;
      sizes[d] = size;
    }
  }
  return true;
}

void merge_dimensions(const View* views, size_t count, IndexSpace* space, MergedViews* merged) {
  const int rank = space->rank;
  // Strides over the whole index space, in runs of `rank` per operand; 0 and a bit in `ones` where broadcast.
  SmallVector<int64_t, 64> strides;
  SmallVector<uint16_t, 8> ones;
  strides.resize(count * rank);
  ones.resize(count);
  for (size_t k = 0; k < count; ++k) {
    const int missing = rank - views[k].rank;
    ones[k] = 0;
    for (int d = 0; d < rank; ++d) {
      const int64_t size = d < missing ? 1 : views[k].sizes[d - missing];
      const bool one = size == 1 && space->sizes[d] != 1;
      if (one) ones[k] |= static_cast<uint16_t>(1u << d);
      strides[k * rank + d] = one || size == 1 ? 0 : views[k].strides[d - missing];
    }
  }
  // Walk outwards, folding each dimension into the one inside it where every operand steps evenly across both.
  int64_t merged_sizes[kMaxRank];
  int sources[kMaxRank];  // innermost original dimension of each merged one, innermost first
  int outer[kMaxRank];    // and the outermost, whose strides and ones decide the next fold
  int merged_rank = 0;
  for (int d = rank - 1; d >= 0; --d) {
    if (space->sizes[d] == 1) continue;
    bool fold = merged_rank > 0;
    for (size_t k = 0; fold && k < count; ++k) {
      const int inner = outer[merged_rank - 1];
      const bool same_ones = ((ones[k] >> d) & 1) == ((ones[k] >> inner) & 1);
      fold = same_ones && strides[k * rank + d] == strides[k * rank + inner] * space->sizes[inner];
    }
    if (fold) {
      merged_sizes[merged_rank - 1] *= space->sizes[d];
      outer[merged_rank - 1] = d;
    } else {
      merged_sizes[merged_rank] = space->sizes[d];
      sources[merged_rank] = outer[merged_rank] = d;
      ++merged_rank;
    }
  }
  const bool single = merged_rank == 0;  // one element: rank 1 all the same, so that scalars share kernels
  if (single) {
    merged_rank = 1;
    merged_sizes[0] = 1;
  }
  space->merged_rank = merged_rank;
  merged->dims.resize(count * 2 * merged_rank);
  merged->ones.resize(count);
  for (size_t k = 0; k < count; ++k) {
    int64_t* sizes = merged->dims.data() + k * 2 * merged_rank;
    merged->ones[k] = 0;
    for (int m = 0; m < merged_rank; ++m) {
      const int source = merged_rank - 1 - m;  // merged dimensions were found innermost first
      const bool one = !single && (ones[k] >> sources[source]) & 1;
      sizes[m] = one ? 1 : merged_sizes[source];
      sizes[merged_rank + m] = one ? 0 : single ? 1 : strides[k * rank + sources[source]];
      if (one) merged->ones[k] |= static_cast<uint16_t>(1u << m);
    }
  }
}

}  // namespace dg
