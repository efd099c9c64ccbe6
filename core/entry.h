// The entry cache: an operator's compiled programs by key. A key is structure only (dtypes, stride classes,
// attributes), compared in full; sizes and numbers are never in it.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "geometry.h"
#include "op.h"
#include "program.h"

namespace dg {

using Key = SmallVector<uint64_t, 32>;
// One bit per flattened operand.
using Mask = SmallVector<uint64_t, 2>;

inline bool mask_bit(const uint64_t* words, size_t bit) { return (words[bit / 64] >> (bit % 64)) & 1; }
inline size_t mask_words(size_t bits) { return (bits + 63) / 64; }
inline void set_mask_bit(Mask& mask, size_t bit) { mask[bit / 64] |= uint64_t{1} << (bit % 64); }
Mask& clear_mask(Mask& mask, size_t bits);
Ref mask_to_int(const uint64_t* words, size_t count);
void int_to_mask(PyObject* value, size_t bits, std::vector<uint64_t>* mask);

enum class OperandKind : uint8_t { Absent, Tensor, Number };
enum class NumberKind : uint8_t { Bool, Int, Float };

// One operand's structure in 64 bits: dtype 0-3, weak 4-5, rank 6-10, zero_d 11, contiguous 12, ones 16-31,
// stride classes 32-63.
constexpr uint64_t kAbsentWord = 15;
constexpr uint64_t kZeroDBit = 1u << 11;
constexpr uint64_t kContiguousBit = 1u << 12;
uint64_t operand_word(DType dtype, int rank, const int64_t* sizes, const int64_t* strides, uint16_t ones, bool zero_d);
uint64_t number_word(NumberKind kind);
// The word of a merged rank-1 contiguous operand.
inline uint64_t flat_word(DType dtype, bool zero_d) {
  return static_cast<uint64_t>(dtype) | uint64_t{1} << 6 | (zero_d ? kZeroDBit : 0) | kContiguousBit;
}
// The operand spec tuple that the compile hooks get.
Ref spec_of_word(uint64_t word);

uint64_t hash_words(const uint64_t* words, size_t count);

struct NeedsRow {
  std::vector<uint64_t> needs;         // operands that want gradients ...
  std::vector<uint64_t> operand_mask;  // ... and whose values the gradient then reads
  std::vector<uint64_t> output_mask;
};

// A compiled gradient of an entry for one set of needs and layouts.
struct GradientEntry {
  std::vector<uint64_t> key;
  Ref program_object;
  Program* program = nullptr;    // null: no operand has a gradient
  std::vector<int32_t> targets;  // the operand each program output is the gradient of
};

struct Entry {
  std::vector<uint64_t> key;
  uint64_t hash = 0;
  OpObject* op = nullptr;
  Ref program_object;
  Program* program = nullptr;
  Ref attrs;  // what compile hooks get
  Ref specs;
  std::vector<Ref> kept;  // strings whose addresses are in the key
  std::vector<std::unique_ptr<NeedsRow>> needs;
  std::vector<std::unique_ptr<GradientEntry>> gradients;
  GradientEntry* last_gradient = nullptr;
};

class EntryTable {
 public:
  // Null on a miss.
  Entry* find(const uint64_t* key, size_t length, uint64_t hash) const;
  Entry* find(const Key& key) {
    // Most calls repeat the last one's structure.
    if (last_ && last_->key.size() == key.size() &&
        std::memcmp(last_->key.data(), key.data(), key.size() * sizeof(uint64_t)) == 0)
      return last_;
    Entry* found = find(key.data(), key.size(), hash_words(key.data(), key.size()));
    if (found) last_ = found;
    return found;
  }
  // Keeps an entry that got there first.
  Entry* insert(std::unique_ptr<Entry> entry);
  size_t size() const { return entries_.size(); }
  Entry* last() const { return last_; }
  void set_last(Entry* entry) { last_ = entry; }
  void clear();

 private:
  void rehash(size_t slots);
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> slots_;  // open addressing, a power of two
  Entry* last_ = nullptr;
};

// The Program inside what a compile hook returned.
Program* program_of(PyObject* object, const OpObject* op);

// Structural Python values as key words. May intern: `kept` then holds the canonical object.
void encode_attribute(PyObject* value, Key* key, std::vector<Ref>* kept, const OpObject* op, const Param& param);
// The value as compile hooks see it: lists become tuples, foreign integers become int.
Ref canonical_attribute(PyObject* value);

}  // namespace dg
