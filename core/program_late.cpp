// What a run does about sizes that become known while it runs: see `LateSize`.
#include <emmintrin.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "program_run.h"
#include "wide.h"

namespace dg {

namespace {

// Makes room for twice the rows, or, where that is too much, for some more.
void grow(BufferRef& memory, int64_t used, int64_t bytes) {
  constexpr int64_t kFirstBytes = 4096;
  const auto rows = [&](int64_t count) {
    int64_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) throw OutOfMemory(SIZE_MAX, available_memory());
    return allocate(static_cast<size_t>(total));
  };
  BufferRef larger;
  try {
    larger.reset(rows(used ? 2 * used : std::max<int64_t>(1, kFirstBytes / std::max<int64_t>(1, bytes))));
  } catch (const OutOfMemory&) {
    larger.reset(rows(used + used / 8 + 1));
  }
  if (used) std::memcpy(larger.get()->data, memory.get()->data, static_cast<size_t>(used * bytes));
  memory = std::move(larger);
}

}  // namespace

// A size is known: what waited for it happens.
bool Run::set_late(int32_t index, int64_t value) {
  const LateSize& late = p_.late[static_cast<size_t>(index)];
  if (value < 0) return fail(kCheckLateSize);
  regs_[late.reg] = value;
  for (const RegInstr& instr : late.instrs) regs_[instr.target] = instr.evaluate(regs_);
  for (const Check& check : late.checks)
    if (!regs_[check.reg]) return fail(check.code);
  for (const int32_t arena : late.arenas) {
    BufferRef& memory = late_->arenas[static_cast<size_t>(arena)];
    const int64_t bytes = regs_[p_.late_arenas[static_cast<size_t>(arena)]];
    if (bytes < 0) return fail(kCheckNegativeSize);
    make_room(memory, bytes);
  }
  for (const int32_t j : late.outputs) {
    if (outputs_[j].buffer) release(std::exchange(outputs_[j].buffer, nullptr));
    if (!make_output(p_.outputs[static_cast<size_t>(j)], outputs_[j])) return false;
  }
  for (const int32_t slot : late.slots) resolve_late(slot);
  return true;
}

void Run::resolve_late(int32_t index) {
  const ProgramSlot& spec = (p_.late_slots.empty() ? p_.slots : p_.late_slots)[static_cast<size_t>(index)];
  if (spec.kind == SlotKind::Output) {
    slots_[index] = output_data(spec.index);
  } else if (spec.kind == SlotKind::View) {
    auto* base = static_cast<char*>(slots_[spec.index]);
    slots_[index] = base ? base + regs_[spec.offset_reg] : nullptr;
  } else if (spec.kind == SlotKind::Temp) {
    const Buffer* arena = late_->arenas[static_cast<size_t>(spec.index) - 1].get();
    const int64_t offset = regs_[spec.offset_reg], bytes = regs_[spec.bytes_reg];
    const int64_t arena_bytes = spec.index && arena ? static_cast<int64_t>(arena->bytes) : 0;
    if (offset < 0 || bytes < 0 || offset > arena_bytes || bytes > arena_bytes - offset)
      throw ProgramError("program: a temporary lies outside its arena");
    slots_[index] = static_cast<char*>(arena->data) + offset;
  }
}

void Run::set_slot(int32_t slot, void* address, int32_t first_view, int32_t n_views) {
  slots_[slot] = address;
  for (int32_t i = 0; i < n_views; ++i) resolve_late(p_.indices[static_cast<size_t>(first_view + i)]);
}

// A loop that keeps rows of its turns.
Outcome Run::run_stacking(const Step& step, InterruptPoll* poll) {
  const StackSpec* stacks = p_.stacks.data() + step.stacks;
  int64_t turn = 0;
  for (;; ++turn) {
    Outcome outcome = run_block(step.first, poll);
    if (outcome != Outcome::Fine) return outcome;
    if (!predicate(step)) break;
    for (int32_t i = 0; i < step.n_stacks; ++i)
      if (!place_row(stacks[i], step.stacks + i, turn)) return Outcome::Failed;
    outcome = run_block(step.second, poll);
    if (outcome != Outcome::Fine) return outcome;
    if (poll && poll->check_after(0)) return Outcome::Interrupted;
  }
  for (int32_t i = 0; i < step.n_stacks; ++i) {
    const StackSpec& stack = stacks[i];
    if (stack.capacity_reg < 0) {
      const Buffer* rows = late_->stacks[static_cast<size_t>(step.stacks + i)].get();
      set_slot(stack.stack, rows ? rows->data : nullptr, stack.stack_views, stack.n_stack_views);
    }
  }
  if (step.late >= 0 && !set_late(step.late, turn)) return Outcome::Failed;
  for (int32_t i = 0; i < step.n_stacks; ++i)
    if (stacks[i].capacity_reg >= 0 && regs_[stacks[i].capacity_reg] != turn) {
      fail(kCheckTurns);
      return Outcome::Failed;
    }
  return Outcome::Fine;
}

// Lets a row's slot name the row of this turn.
bool Run::place_row(const StackSpec& stack, int32_t index, int64_t turn) {
  const int64_t bytes = regs_[stack.bytes_reg];
  if (bytes < 0) return fail(kCheckNegativeSize);
  char* rows;
  if (stack.capacity_reg >= 0) {
    if (turn >= regs_[stack.capacity_reg]) return fail(kCheckTurns);
    rows = static_cast<char*>(slots_[stack.stack]);
    if (!rows && bytes) throw ProgramError("program: a stack has no memory yet");
  } else {
    BufferRef& memory = late_->stacks[static_cast<size_t>(index)];
    const int64_t room = memory.get() ? static_cast<int64_t>(memory.get()->bytes) : -1;
    if (room < bytes || turn * bytes > room - bytes) grow(memory, turn, bytes);
    rows = static_cast<char*>(memory.get()->data);
  }
  set_slot(stack.row, rows + turn * bytes, stack.row_views, stack.n_row_views);
  return true;
}

// Memory of the run, which others write then.
Outcome Run::run_box(const Step& step) {
  const int64_t bytes = regs_[step.count_reg];
  if (bytes < 0) {
    fail(kCheckNegativeSize);
    return Outcome::Failed;
  }
  set_slot(step.target, late_->boxes.make(step.box, bytes, step.kept), step.args, step.n_args);
  return Outcome::Fine;
}

void Run::run_number(const Step& step) {
  if (!slots_[step.target]) throw ProgramError("program: the number of a box has no memory yet");
  const int64_t number = late_->boxes.number(step.box);
  std::memcpy(slots_[step.target], &number, sizeof number);
}

Outcome Run::run_unbox(const Step& step) {
  int64_t number, bytes;
  if (!slots_[step.source]) throw ProgramError("program: the number of a box has no memory yet");
  std::memcpy(&number, slots_[step.source], sizeof number);
  void* memory = late_->boxes.find(number, &bytes);
  if (!memory) throw ProgramError("program: there is no box of this number");
  const int64_t wanted = regs_[step.count_reg];
  if (wanted < 0) {
    fail(kCheckNegativeSize);
    return Outcome::Failed;
  }
  if (wanted > bytes) throw ProgramError("program: more is taken from a box than was put into it");
  set_slot(step.target, memory, step.args, step.n_args);
  return Outcome::Fine;
}

// How many of `count` bools are true: sums of sixteen bytes at a time.
int64_t count_true(const uint8_t* mask, int64_t count) {
  const __m128i zero = _mm_setzero_si128(), one = _mm_set1_epi8(1);
  __m128i sums = zero;
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(mask + i));
    sums = _mm_add_epi64(sums,
                         _mm_sad_epu8(_mm_min_epu8(bytes, one), zero));  // bytes of foreign memory may be more than 1
  }
  int64_t found = _mm_cvtsi128_si64(_mm_add_epi64(sums, _mm_srli_si128(sums, 8)));
  for (; i < count; ++i) found += mask[i] != 0;
  return found;
}

// Eight positions from `i` on.
inline void put_eight(int64_t* to, int64_t i) {
  const __m128i two = _mm_set1_epi64x(2);
  __m128i pair = _mm_set_epi64x(i + 1, i);
#pragma GCC unroll 4
  for (int64_t j = 0; j < 8; j += 2, pair = _mm_add_epi64(pair, two))
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + j), pair);
}

// The first positions of the `found` true ones, whole vectors of bools at a time: how many were put; `i`: bools seen.
DG_WIDE int64_t put_wide(const uint8_t* mask, int64_t found, int64_t* position, int64_t& i) {
  int64_t k = 0;
  __m512i eight = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
  for (; k + 64 <= found; i += 64) {  // so many true ones are to come, and the places behind them are ours
    const __m512i bytes = _mm512_loadu_si512(mask + i);
    uint64_t bits = _mm512_test_epi8_mask(bytes, bytes);
    for (int part = 0; part < 8; ++part, bits >>= 8) {
      const auto chosen = static_cast<__mmask8>(bits);
      _mm512_storeu_si512(position + k, _mm512_maskz_compress_epi64(chosen, eight));
      eight = _mm512_add_epi64(eight, _mm512_set1_epi64(8));
      k += __builtin_popcount(chosen);
    }
  }
  return k;
}

// The positions of the true ones among `count` bools.
Outcome Run::run_nonzero(const Step& step) {
  const auto* mask = static_cast<const uint8_t*>(slots_[step.source]);
  const int64_t count = regs_[step.count_reg];
  const int64_t found = count_true(mask, count);
  if (!set_late(step.late, found)) return Outcome::Failed;
  if (regs_[step.chunks_reg] != found) {
    fail(kCheckTurns);
    return Outcome::Failed;
  }
  auto* position = static_cast<int64_t*>(slots_[step.target]);
  if (!position && found) throw ProgramError("program: positions have no memory yet");
  constexpr uint64_t kAll = 0x0101010101010101;
  int64_t i = 0, k = wide_vectors() ? put_wide(mask, found, position, i) : 0;
  for (; k + 8 <= found; i += 8) {  // whole runs of either kind at once
    uint64_t eight;
    std::memcpy(&eight, mask + i, 8);
    if (eight == 0) continue;
    if (eight == kAll) {
      put_eight(position + k, i);
      k += 8;
    } else {
#pragma GCC unroll 8
      for (int64_t j = 0; j < 8; ++j) {  // without a branch nobody can predict
        position[k] = i + j;
        k += mask[i + j] != 0;
      }
    }
  }
  for (; k < found; ++i) {
    position[k] = i;
    k += mask[i] != 0;
  }
  return Outcome::Fine;
}

}  // namespace dg
