// Walking over rows: what all row functions share. See rows.h for how they are called.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>

namespace dg {

using RowTable = std::unordered_map<std::string, void*>;

// Rows next to each other along the last outer dimension, seen by one operand.
template <class T>
struct RowBlock {
  T* data;         // the first element of the first row
  int64_t length;  // elements of a row
  int64_t stride;  // between elements of a row
  int64_t step;    // between rows
};

class RowWalk {
 public:
  RowWalk(const int64_t* sizes, int operands, const int64_t* status)
      : rank_(sizes[0]),
        extents_(sizes + 1),
        block_(sizes[1 + rank_]),
        operands_(sizes + 2 + rank_),
        width_(3 + rank_),
        numbers(sizes + 2 + rank_ + operands * width_),
        stop_(reinterpret_cast<const volatile int32_t*>(status[3])) {}

  bool stopped() const { return stop_ && *stop_; }

  // Calls body(rows, block of operand 0, …) for the chunks begin … end.
  template <class... T, class Body>
  void blocks(void** args, int64_t begin, int64_t end, Body body) const {
    const int64_t last = rank_ ? extents_[rank_ - 1] : 1;
    const int64_t per_line = (last + block_ - 1) / block_;
    for (int64_t chunk = begin; chunk < end && !stopped(); ++chunk) {
      const int64_t line = chunk / per_line, first = chunk % per_line * block_;
      const int64_t rows = last - first < block_ ? last - first : block_;
      call<T...>(args, line, first, rows, body, std::index_sequence_for<T...>());
    }
  }

 private:
  template <class... T, class Body, size_t... Operand>
  void call(void** args, int64_t line, int64_t first, int64_t rows, Body& body, std::index_sequence<Operand...>) const {
    body(rows, at<T>(args, Operand, line, first)...);
  }

  template <class T>
  RowBlock<T> at(void** args, int operand, int64_t line, int64_t first) const {
    const int64_t* given = operands_ + operand * width_;
    const int64_t* strides = given + 3;
    int64_t offset = given[0];
    for (int64_t d = rank_ - 2; d >= 0; --d) {
      offset += line % extents_[d] * strides[d];
      line /= extents_[d];
    }
    const int64_t step = rank_ ? strides[rank_ - 1] : 0;
    return {static_cast<T*>(args[operand]) + offset + first * step, given[1], given[2], step};
  }

  int64_t rank_;
  const int64_t* extents_;
  int64_t block_;
  const int64_t* operands_;
  int64_t width_;

 public:
  const int64_t* numbers;

 private:
  const volatile int32_t* stop_;
};

}  // namespace dg
