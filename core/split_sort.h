// One long row on several threads: its records go to buckets between keys taken from a sample, and each bucket is
// sorted by itself. Where the keys differ little there is little to share, and the result is the same.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "threads.h"

namespace dg {

constexpr int64_t kWorthSplitting = 1 << 16;
constexpr int kMostParts = 16;

// Calls body(i) for i < count on up to so many threads; on this one alone where the others are taken.
template <class Body>
void in_parallel(int workers, int count, Body body) {
  const ChunkFunction each = [](void* context, int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) (*static_cast<Body*>(context))(static_cast<int>(i));
  };
  parallel_for(workers, count, Split::Balanced, each, &body);
}

template <class R>
class SplitSort {
 public:
  // `records`: room for n of them.
  SplitSort(R* records, int64_t n)
      : records_(records), n_(n), parts_(std::min(get_num_threads(), kMostParts)), buckets_(parts_) {}

  static bool is_worth_it(int64_t n) { return n >= kWorthSplitting && get_num_threads() > 1; }

  // record(i) makes the i-th record; sort(bucket's records, where they begin, how many) is called for each bucket, on
  // any thread. Records of equal keys keep their order.
  template <class Record, class Sort>
  void run(Record record, Sort sort) {
    choose_pivots(record);
    in_parallel(parts_, parts_, [&](int part) {
      int64_t counts[kMostParts] = {};
      for (int64_t i = begin(part); i < begin(part + 1); ++i) ++counts[bucket_of(record(i))];
      std::copy_n(counts, kMostParts, places_[part]);
    });
    place_buckets();
    in_parallel(parts_, parts_, [&](int part) {
      int64_t places[kMostParts];
      std::copy_n(places_[part], kMostParts, places);
      for (int64_t i = begin(part); i < begin(part + 1); ++i) {
        const R made = record(i);
        records_[places[bucket_of(made)]++] = made;
      }
    });
    in_parallel(parts_, buckets_, [&](int bucket) {
      sort(records_ + starts_[bucket], starts_[bucket], starts_[bucket + 1] - starts_[bucket]);
    });
  }

 private:
  static constexpr int kSample = 512;
  using Key = std::decay_t<decltype(std::declval<R>().digits())>;

  int64_t begin(int part) const { return n_ / parts_ * part + std::min<int64_t>(part, n_ % parts_); }

  template <class Record>
  void choose_pivots(Record record) {
    Key sample[kSample];
    for (int64_t i = 0; i < kSample; ++i) sample[i] = record(n_ / kSample * i).digits();
    std::sort(sample, sample + kSample);
    for (int b = 1; b < buckets_; ++b) pivots_[b - 1] = sample[kSample / buckets_ * b];
  }

  int bucket_of(const R& record) const {
    int found = 0;
    for (int b = 0; b < buckets_ - 1; ++b) found += record.digits() >= pivots_[b];
    return found;
  }

  // From counts to places: a bucket after the other, and in each the parts in order.
  void place_buckets() {
    int64_t place = 0;
    for (int bucket = 0; bucket < buckets_; ++bucket) {
      starts_[bucket] = place;
      for (int part = 0; part < parts_; ++part) {
        const int64_t count = places_[part][bucket];
        places_[part][bucket] = place;
        place += count;
      }
    }
    starts_[buckets_] = place;
  }

  R* records_;
  int64_t n_;
  int parts_, buckets_;
  Key pivots_[kMostParts];
  int64_t places_[kMostParts][kMostParts];
  int64_t starts_[kMostParts + 1];
};

}  // namespace dg
