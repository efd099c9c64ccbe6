#include "orders.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>
#include <vector>

#include "memory.h"
#include "python_api.h"
#include "rng.h"

namespace dg {

namespace {

// xoshiro256++ (Blackman and Vigna, 2019), started from a key and a counter by their splitmix64.
class Words {
 public:
  explicit Words(RngState from) {
    uint64_t seed = from.key ^ std::rotl(from.counter, 32);
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      uint64_t z = seed + from.counter;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      word = z ^ (z >> 31);
    }
  }

  uint64_t next() {
    const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
    const uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // Below a bound, each number as likely as any other (Lemire, 2019).
  uint64_t below(uint64_t bound) {
    auto product = static_cast<unsigned __int128>(next()) * bound;
    if (static_cast<uint64_t>(product) < bound) {
      const uint64_t least = -bound % bound;
      while (static_cast<uint64_t>(product) < least) product = static_cast<unsigned __int128>(next()) * bound;
    }
    return static_cast<uint64_t>(product >> 64);
  }

 private:
  uint64_t state_[4];
};

void shuffle(int64_t* values, int64_t n, Words& words) {
  for (int64_t i = n; i > 1; --i) std::swap(values[i - 1], values[words.below(static_cast<uint64_t>(i))]);
}

constexpr int64_t kInCache = 8192;  // elements that are shuffled in place without waiting for memory

// Calls body(i, pile) for 0 … n - 1 with piles drawn alike from a power of two of at most 65536.
template <typename Body>
void deal(int64_t n, uint64_t piles, Words words, Body body) {
  for (int64_t i = 0; i < n;) {
    uint64_t bits = words.next();
    for (int part = 0; part < 4 && i < n; ++part, ++i, bits >>= 16) body(i, bits & (piles - 1));
  }
}

// Each number goes to a random pile, then every pile is shuffled (Rao, 1961; Sandelius, 1962): all orders are as
// likely.
void fill_order(int64_t* values, int64_t n, RngState from) {
  Words words(from);
  if (n <= 2 * kInCache) {
    std::iota(values, values + n, int64_t{0});
    shuffle(values, n, words);
    return;
  }
  const uint64_t piles = std::min<uint64_t>(std::bit_ceil(static_cast<uint64_t>(n / kInCache)), 1024);
  std::vector<int64_t> ends(piles + 1, 0);
  deal(n, piles, words, [&](int64_t, uint64_t pile) { ++ends[pile + 1]; });
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::vector<int64_t> next(ends.begin(), ends.end() - 1);
  deal(n, piles, words, [&](int64_t i, uint64_t pile) { values[next[pile]++] = i; });
  Words others({from.key, ~from.counter});
  for (uint64_t pile = 0; pile < piles; ++pile) shuffle(values + ends[pile], ends[pile + 1] - ends[pile], others);
}

// The elements (row, column) with column <= row + offset, or those with column >= row + offset.
struct Triangle {
  int64_t rows, columns, offset;
  bool lower;

  // Where columns of a row begin (upper) or end (lower), not yet kept within the matrix.
  __int128 edge(__int128 row) const { return row + offset + lower; }

  // How many there are; no more than is more than any memory holds.
  size_t count() const {
    const auto crossed = std::clamp<__int128>(-edge(-1), 0, rows);  // the first row whose edge lies inside
    const auto full = std::clamp<__int128>(columns - edge(0), crossed, rows);
    const __int128 before = (full - crossed) * (edge(crossed) + edge(full - 1)) / 2 + (rows - full) * columns;
    const __int128 found = lower ? before : static_cast<__int128>(rows) * columns - before;
    return static_cast<size_t>(std::min<__int128>(found, int64_t{1} << 58));
  }

  void fill(int64_t* row_of, int64_t* column_of, int64_t left) const {
    for (int64_t row = 0; left; ++row) {
      const auto at = static_cast<int64_t>(std::clamp<__int128>(edge(row), 0, columns));
      const int64_t begin = lower ? 0 : at, size = (lower ? at : columns) - begin;
      std::fill(row_of, row_of + size, row);
      std::iota(column_of, column_of + size, begin);
      row_of += size;
      column_of += size;
      left -= size;
    }
  }
};

// Other Python threads run meanwhile.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { PyEval_RestoreThread(state_); }
  WithoutGil(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace

TensorObject* random_order(int64_t n) {
  BufferRef buffer(allocate(static_cast<size_t>(n) * sizeof(int64_t)));
  {
    const WithoutGil others;
    fill_order(static_cast<int64_t*>(buffer.get()->data), n, rng_reserve(n));
  }
  return make_contiguous(buffer.detach(), 0, DType::Int64, 1, &n);
}

TensorObject* triangle_positions(int64_t rows, int64_t columns, int64_t offset, bool lower) {
  const Triangle triangle{rows, columns, offset, lower};
  const auto count = static_cast<int64_t>(triangle.count());
  BufferRef buffer(allocate(2 * static_cast<size_t>(count) * sizeof(int64_t)));
  {
    const WithoutGil others;
    auto* place = static_cast<int64_t*>(buffer.get()->data);
    triangle.fill(place, place + count, count);
  }
  const int64_t sizes[] = {2, count};
  return make_contiguous(buffer.detach(), 0, DType::Int64, 2, sizes);
}

}  // namespace dg
