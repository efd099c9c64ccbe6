#include "row_sort.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "split_sort.h"

namespace dg {
namespace {

struct Half {  // float16 and bfloat16 as their bits: only their order matters
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};

template <size_t Bytes>
using Unsigned =
    std::conditional_t<Bytes == 1, uint8_t,
                       std::conditional_t<Bytes == 2, uint16_t, std::conditional_t<Bytes == 4, uint32_t, uint64_t>>>;

template <class T>
constexpr bool kIsFloat = std::is_floating_point_v<T> || std::is_same_v<T, Half> || std::is_same_v<T, Brain>;

// Bits of infinity: anything greater is NaN.
template <class T>
constexpr Unsigned<sizeof(T)> infinity_bits() {
  if constexpr (std::is_same_v<T, float>) return 0x7f800000u;
  if constexpr (std::is_same_v<T, double>) return 0x7ff0000000000000u;
  if constexpr (std::is_same_v<T, Half>) return 0x7c00u;
  if constexpr (std::is_same_v<T, Brain>) return 0x7f80u;
}

// An unsigned number that orders as the values do: zeros are equal, NaNs are equal and the greatest.
template <class T>
inline Unsigned<sizeof(T)> key_of(T value) {
  using U = Unsigned<sizeof(T)>;
  constexpr U sign = U(U(1) << (8 * sizeof(T) - 1));
  U bits;
  std::memcpy(&bits, &value, sizeof(T));
  if constexpr (kIsFloat<T>) {
    const U magnitude = bits & U(~sign);
    if (magnitude > infinity_bits<T>()) return U(~U(0));
    if (magnitude == 0) return sign;
    return bits & sign ? U(~bits) : U(bits | sign);
  } else if constexpr (std::is_signed_v<T>) {
    return bits ^ sign;
  } else {
    return bits;
  }
}

template <class U>
struct Record {
  U key;
  int64_t index;
  U digits() const { return key; }
  int64_t position() const { return index; }
  bool operator<(const Record& other) const { return key != other.key ? key < other.key : index < other.index; }
  static Record make(U key, int64_t index) { return {key, index}; }
};

// Short keys and their positions in one word.
template <class U>
struct Packed {
  uint64_t word;
  uint64_t digits() const { return word >> 32; }
  int64_t position() const { return static_cast<int64_t>(word & 0xffffffffu); }
  bool operator<(const Packed& other) const { return word < other.word; }
  static Packed make(U key, int64_t index) { return {uint64_t(key) << 32 | uint64_t(index)}; }
};

template <class R>
void insertion_sort(R* records, int64_t n) {
  for (int64_t i = 1; i < n; ++i) {
    const R moved = records[i];
    int64_t j = i;
    for (; j > 0 && moved < records[j - 1]; --j) records[j] = records[j - 1];
    records[j] = moved;
  }
}

// Least significant digit first; digits that are all the same are passed over. Returns where the sorted records are,
// or nullptr if it was stopped.
template <int Bits, int KeyBits, class R>
R* radix_sort(const RowWalk& walk, R* records, R* other, int64_t n, uint32_t* counts) {
  constexpr int kPasses = (KeyBits + Bits - 1) / Bits;
  constexpr int64_t kBuckets = int64_t(1) << Bits;
  constexpr uint64_t kMask = kBuckets - 1;
  std::fill_n(counts, kPasses * kBuckets, 0u);
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t key = records[i].digits();
    for (int pass = 0; pass < kPasses; ++pass) ++counts[pass * kBuckets + (key >> (pass * Bits) & kMask)];
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    if (walk.stopped()) return nullptr;
    uint32_t* starts = counts + pass * kBuckets;
    const int shift = pass * Bits;
    if (starts[records[0].digits() >> shift & kMask] == static_cast<uint32_t>(n)) continue;
    uint32_t start = 0;
    for (int64_t b = 0; b < kBuckets; ++b) {
      const uint32_t count = starts[b];
      starts[b] = start;
      start += count;
    }
    for (int64_t i = 0; i < n; ++i) other[starts[records[i].digits() >> shift & kMask]++] = records[i];
    std::swap(records, other);
  }
  return records;
}

constexpr int64_t kShort = 48;         // rows up to this are sorted by insertion
constexpr int64_t kLong = 1 << 14;     // from this on, digits are wider
constexpr int64_t kMost = 0xffffffff;  // positions and counts of 32 bits

template <int KeyBits, class R>
[[gnu::always_inline]] inline R* sort_records(const RowWalk& walk, R* records, R* other, int64_t n, uint32_t* counts) {
  if (n <= kShort) {
    insertion_sort(records, n);
    return records;
  }
  if (n > kMost) {
    std::sort(records, records + n);
    return records;
  }
  if (KeyBits <= 16 || n < kLong) return radix_sort<8, KeyBits>(walk, records, other, n, counts);
  return radix_sort<11, KeyBits>(walk, records, other, n, counts);
}

// The bytes that counts take, and room for records twice behind them.
constexpr int64_t kCountBytes = 49152;

// use(sorted records, position of the first, how many) for pieces of a long row that several threads sort.
template <int KeyBits, class R, class Record, class Use>
[[gnu::noinline]] void sort_in_pieces(const RowWalk& walk, R* records, int64_t n, Record record, Use use) {
  SplitSort<R>(records, n).run(record, [&](R* bucket, int64_t first, int64_t count) {
    uint32_t counts[kCountBytes / sizeof(uint32_t)];
    if (!count || walk.stopped()) return;
    use(sort_records<KeyBits>(walk, bucket, records + n + first, count, counts), first, count);
  });
}

// The same for all of record(0) … record(n - 1), in one piece or in several.
template <int KeyBits, class R, class Record, class Use>
void sort_row(const RowWalk& walk, void* scratch, int64_t n, Record record, Use use) {
  R* const records = reinterpret_cast<R*>(static_cast<char*>(scratch) + kCountBytes);
  if (SplitSort<R>::is_worth_it(n)) return sort_in_pieces<KeyBits>(walk, records, n, record, use);
  for (int64_t i = 0; i < n; ++i) records[i] = record(i);
  use(sort_records<KeyBits>(walk, records, records + n, n, static_cast<uint32_t*>(scratch)), 0, n);
}

template <class T, class R>
class Row {
 public:
  using U = Unsigned<sizeof(T)>;
  static constexpr int kBits = 8 * sizeof(T);

  Row(const RowWalk& walk, void* scratch, RowBlock<const T> x, RowBlock<T> out, RowBlock<int64_t> index)
      : walk_(walk),
        counts_(static_cast<uint32_t*>(scratch)),
        records_(reinterpret_cast<R*>(static_cast<char*>(scratch) + kCountBytes)),
        other_(records_ + x.length),
        x_(x),
        out_(out),
        index_(index),
        flip_(walk.numbers[0] ? U(~U(0)) : U(0)) {}

  void sort() {
    sort_row<kBits, R>(
        walk_, counts_, x_.length, [this](int64_t i) { return R::make(key(i), i); },
        [this](const R* from, int64_t first, int64_t count) { put(from, first, count); });
  }

  // Positions first … first + out.length of the sorted row.
  void select(int64_t first) {
    if (first < 0) first = middle();
    const int64_t n = x_.length, last = first + out_.length;
    if (first >= last) return;
    if (last <= 64 && last * 16 <= n) {
      few(first, last);
    } else if (n < 512) {
      write(sorted(), first, last);
    } else {
      spread(first, last);
    }
  }

 private:
  U key(int64_t i) const { return key_of(x_.data[i * x_.stride]) ^ flip_; }

  // The middle one of what is no NaN, the lower one of two.
  int64_t middle() const {
    int64_t nans = 0;
    for (int64_t i = 0; kIsFloat<T> && i < x_.length; ++i) nans += U(key(i) ^ flip_) == U(~U(0));
    return std::max<int64_t>(x_.length - nans - 1, 0) / 2;
  }

  R* sorted() {
    for (int64_t i = 0; i < x_.length; ++i) records_[i] = R::make(key(i), i);
    return sort_records<kBits>(walk_, records_, other_, x_.length, counts_);
  }

  void write(const R* from, int64_t first, int64_t last) {
    if (from) put(from + first, 0, last - first);
  }

  // `count` sorted records from position `first` of the result on.
  void put(const R* from, int64_t first, int64_t count) {
    for (int64_t i = 0; from && i < count; ++i) {
      const int64_t position = from[i].position();
      out_.data[(first + i) * out_.stride] = x_.data[position * x_.stride];
      index_.data[(first + i) * index_.stride] = position;
    }
  }

  // The first few, kept in order while the row goes by.
  void few(int64_t first, int64_t last) {
    int64_t have = 0;
    U worst = 0;
    for (int64_t i = 0; i < x_.length; ++i) {
      const U found = key(i);
      if (have == last && found >= worst) continue;
      const R made = R::make(found, i);
      int64_t j = have < last ? have++ : last - 1;
      for (; j > 0 && made < records_[j - 1]; --j) records_[j] = records_[j - 1];
      records_[j] = made;
      worst = U(records_[have - 1].digits());
    }
    write(records_, first, last);
  }

  // Buckets of equal width between the least and the greatest key; only those that are asked for are sorted.
  void spread(int64_t first, int64_t last) {
    const int64_t n = x_.length;
    U low = U(~U(0)), high = 0;
    for (int64_t i = 0; i < n; ++i) {
      const U found = key(i);
      low = std::min(low, found);
      high = std::max(high, found);
    }
    constexpr int kBucketBits = 12;
    int shift = 0;
    while (uint64_t(U(high - low)) >> shift >> kBucketBits) ++shift;
    auto* counts = reinterpret_cast<int64_t*>(counts_);
    std::fill_n(counts, int64_t(1) << kBucketBits, int64_t(0));
    for (int64_t i = 0; i < n; ++i) ++counts[uint64_t(U(key(i) - low)) >> shift];
    if (walk_.stopped()) return;
    int64_t below = 0, bucket = 0;
    while (below + counts[bucket] <= first) below += counts[bucket++];
    const uint64_t from = static_cast<uint64_t>(bucket);
    int64_t reached = below;
    while (reached + counts[bucket] < last) reached += counts[bucket++];
    const uint64_t width = static_cast<uint64_t>(bucket) - from;
    int64_t found = 0;
    for (int64_t i = 0; i < n; ++i) {
      const U made = key(i);
      records_[found] = R::make(made, i);
      found += (uint64_t(U(made - low)) >> shift) - from <= width;
    }
    write(sort_records<kBits>(walk_, records_, other_, found, counts_), first - below, last - below);
  }

  const RowWalk& walk_;
  uint32_t* counts_;
  R* records_;
  R* other_;
  RowBlock<const T> x_;
  RowBlock<T> out_;
  RowBlock<int64_t> index_;
  U flip_;
};

template <class T, class Use>
void each_row(void** args, const int64_t* sizes, int64_t begin, int64_t end, void* scratch, int64_t* status, Use use) {
  using U = Unsigned<sizeof(T)>;
  const RowWalk walk(sizes, 3, status);
  walk.blocks<const T, T, int64_t>(args, begin, end,
                                   [&](int64_t, RowBlock<const T> x, RowBlock<T> out, RowBlock<int64_t> index) {
                                     if constexpr (sizeof(T) <= 4) {
                                       if (x.length <= kMost) {
                                         use(Row<T, Packed<U>>(walk, scratch, x, out, index), walk);
                                         return;
                                       }
                                     }
                                     use(Row<T, Record<U>>(walk, scratch, x, out, index), walk);
                                   });
}

template <class T>
void sort(void** args, const int64_t* sizes, int64_t begin, int64_t end, void* scratch, int64_t* status) {
  each_row<T>(args, sizes, begin, end, scratch, status, [](auto row, const RowWalk&) { row.sort(); });
}

template <class T>
void select(void** args, const int64_t* sizes, int64_t begin, int64_t end, void* scratch, int64_t* status) {
  each_row<T>(args, sizes, begin, end, scratch, status,
              [](auto row, const RowWalk& walk) { row.select(walk.numbers[1]); });
}

// A key alone, and the value it stands for.
template <class U>
struct Bare {
  U key;
  U digits() const { return key; }
  bool operator<(const Bare& other) const { return key < other.key; }
};

template <class T>
inline T value_of(Unsigned<sizeof(T)> key) {
  using U = Unsigned<sizeof(T)>;
  constexpr U sign = U(U(1) << (8 * sizeof(T) - 1));
  U bits = key;
  if constexpr (kIsFloat<T>) {
    bits = key & sign ? U(key ^ sign) : U(~key);
  } else if constexpr (std::is_signed_v<T>) {
    bits = key ^ sign;
  }
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

template <class T>
void order(void** args, const int64_t* sizes, int64_t begin, int64_t end, void* scratch, int64_t* status) {
  using U = Unsigned<sizeof(T)>;
  const RowWalk walk(sizes, 2, status);
  const U flip = walk.numbers[0] ? U(~U(0)) : U(0);
  walk.blocks<const T, T>(args, begin, end, [&](int64_t, RowBlock<const T> x, RowBlock<T> out) {
    sort_row<8 * sizeof(T), Bare<U>>(
        walk, scratch, x.length, [&](int64_t i) { return Bare<U>{U(key_of(x.data[i * x.stride]) ^ flip)}; },
        [&](const Bare<U>* from, int64_t first, int64_t count) {
          for (int64_t i = 0; from && i < count; ++i)
            out.data[(first + i) * out.stride] = value_of<T>(U(from[i].key ^ flip));
        });
  });
}

// Several searches at once: each step of one waits for memory, the others go on.
template <class T>
void search(void** args, const int64_t* sizes, int64_t begin, int64_t end, void*, int64_t* status) {
  const RowWalk walk(sizes, 3, status);
  const bool behind = walk.numbers[0] != 0;
  walk.blocks<const T, const T, int64_t>(
      args, begin, end, [&](int64_t rows, RowBlock<const T> sorted, RowBlock<const T> x, RowBlock<int64_t> out) {
        constexpr int64_t kTogether = 16;
        for (int64_t i = 0; i < rows; i += kTogether) {
          const int64_t many = std::min(kTogether, rows - i);
          int64_t low[kTogether] = {};
          Unsigned<sizeof(T)> wanted[kTogether];
          for (int64_t q = 0; q < many; ++q) wanted[q] = key_of(x.data[(i + q) * x.step]);
          const auto before = [&](int64_t q, int64_t half) {
            const auto found = key_of(sorted.data[(low[q] + half - 1) * sorted.stride]);
            return (behind ? found <= wanted[q] : found < wanted[q]) ? half : 0;
          };
          int64_t left = sorted.length;
          for (; left > 1; left -= left / 2)
            for (int64_t q = 0; q < many; ++q) low[q] += before(q, left / 2);
          for (int64_t q = 0; q < many && left; ++q) low[q] += before(q, 1);
          for (int64_t q = 0; q < many; ++q) out.data[(i + q) * out.step] = low[q];
        }
      });
}

template <class T>
void add_for(RowTable& table, const std::string& dtype) {
  table["sort_" + dtype] = reinterpret_cast<void*>(sort<T>);
  table["order_" + dtype] = reinterpret_cast<void*>(order<T>);
  table["select_" + dtype] = reinterpret_cast<void*>(select<T>);
  table["search_" + dtype] = reinterpret_cast<void*>(search<T>);
}

}  // namespace

void add_sorts(RowTable& table) {
  add_for<float>(table, "float32");
  add_for<double>(table, "float64");
  add_for<Half>(table, "float16");
  add_for<Brain>(table, "bfloat16");
  add_for<int64_t>(table, "int64");
  add_for<int32_t>(table, "int32");
  add_for<int16_t>(table, "int16");
  add_for<int8_t>(table, "int8");
  add_for<uint64_t>(table, "uint64");
  add_for<uint32_t>(table, "uint32");
  add_for<uint16_t>(table, "uint16");
  add_for<uint8_t>(table, "uint8");
  add_for<uint8_t>(table, "bool");
}

}  // namespace dg
