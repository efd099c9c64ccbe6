// One run of a program. Included by program.cpp, which inlines the short way through, and by program_late.cpp.
#pragma once

#include <Python.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "boxes.h"
#include "device.h"
#include "program_parse.h"
#include "rng.h"

namespace dg {

constexpr int64_t kDirectBytes = 256 << 10;  // beyond this a kernel may be worth several threads
// Cheaper programs keep the GIL: a busy Python thread that gets it would hold this one up for 5 ms.
constexpr int64_t kReleaseGilBytes = 1 << 20;
constexpr int64_t kPollBytes = 8 << 20;  // cheaper steps are not split to look for interrupts

inline int64_t now_nanoseconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

// What a step ended with.
enum class Outcome { Fine, Failed, Interrupted, Raised };

// Keeps the inputs' memory while the GIL is away: another Python thread may drop or exchange a tensor's data meanwhile.
class InputGuard {
 public:
  InputGuard(const RunInput* inputs, size_t count) : inputs_(inputs, inputs + count) {
    for (const RunInput& input : inputs_)
      if (input.buffer) retain(input.buffer);
  }
  ~InputGuard() {
    for (const RunInput& input : inputs_)
      if (input.buffer) release(input.buffer);
  }
  InputGuard(const InputGuard&) = delete;

 private:
  std::vector<RunInput> inputs_;
};

// Memory whose size is known only while a program runs: temporaries of late sizes, rows of loops, boxes.
struct LateMemory {
  explicit LateMemory(const Program::Impl& program)
      : arenas(program.late_arenas.size()), stacks(program.stacks.size()), boxes(program.n_boxes) {}
  std::vector<BufferRef> arenas, stacks;
  Boxes boxes;
};

// One run of a program: its registers, slot addresses and outputs so far.
class Run {
 public:
  Run(const Program::Impl& program, const RunInput* inputs, RunOutput* outputs, RunStatus* status, HostCaller* host)
      : p_(program),
        inputs_(inputs),
        outputs_(outputs),
        status_(status),
        host_(host),
        profiling_(program.profiling.load(std::memory_order_relaxed)) {
    int64_t* frame = local_;
    if (p_.frame_words > kLocalWords) [[unlikely]]
      frame = new int64_t[static_cast<size_t>(p_.frame_words)];
    regs_ = frame;
    sizes_ = regs_ + p_.n_regs;
    args_ = reinterpret_cast<void**>(sizes_ + p_.max_sizes);
    slots_ = args_ + p_.max_args;
  }
  ~Run() {
    for (int j = 0; j < n_outputs_; ++j)  // of a run that did not end well
      if (outputs_[j].buffer) release(outputs_[j].buffer);
    if (regs_ != local_) [[unlikely]]
      delete[] regs_;
  }
  Run(const Run&) = delete;

  bool fail(int64_t code) {
    status_->check_code = code;
    return false;
  }

  bool prepare(const int64_t* sizes) { return read_registers(sizes) && make_outputs(); }
  bool resolve(const Cell8* numbers) { return resolve_slots(numbers); }

  // Whether the run is the one call of one kernel in this thread, with nothing to set up but its arguments.
  bool is_direct() const { return p_.direct && !profiling_ && reg_or(p_.all_steps[0]->cost_reg, 0) <= kDirectBytes; }

  Outcome execute_direct(const Cell8* numbers) {
    const Step& step = *p_.all_steps[0];
    const int64_t chunks = reg_or(step.chunks_reg, 1);
    if (chunks <= 0) return Outcome::Fine;
    const int32_t* index = p_.indices.data() + step.args;
    for (int32_t i = 0; i < step.n_args; ++i) {
      const ProgramSlot& slot = p_.slots[static_cast<size_t>(index[i])];
      args_[i] = slot.kind == SlotKind::Input    ? inputs_[slot.index].data
                 : slot.kind == SlotKind::Output ? output_data(slot.index)
                 : slot.kind == SlotKind::Symbol ? slot.function
                 : slot.kind == SlotKind::Kept   ? nullptr
                                                 : const_cast<char*>(numbers[slot.index].bytes);
    }
    index = p_.indices.data() + step.sizes;
    for (int32_t i = 0; i < step.n_sizes; ++i) sizes_[i] = regs_[index[i]];
    const Scratch scratch(static_cast<size_t>(std::max<int64_t>(0, reg_or(step.scratch_reg, 0))));
    int64_t result[5] = {0, 0, 0, reinterpret_cast<int64_t>(SignalFlag::never()), 0};
    step.function(args_, sizes_, 0, chunks, scratch.data(), result);
    return result[0] ? failed(step, result) : Outcome::Fine;
  }

  Outcome execute() {
    int64_t cost = p_.loops ? kReleaseGilBytes + 1 : 0;
    for (const int32_t reg : p_.cost_regs) cost = wrap_add(cost, std::max<int64_t>(0, regs_[reg]));
    if (cost <= kReleaseGilBytes && p_.hosts.empty()) [[likely]]
      return run_block(0, nullptr);
    const InputGuard guard(inputs_, p_.ranks.size());
    if (cost <= kReleaseGilBytes) return run_block(0, nullptr);
    void* thread_state = PyEval_SaveThread();
    thread_state_ = &thread_state;
    InterruptPoll poll(&thread_state);
    Outcome outcome;
    try {
      outcome = run_block(0, &poll);
    } catch (...) {
      PyEval_RestoreThread(static_cast<PyThreadState*>(thread_state));
      throw;
    }
    PyEval_RestoreThread(static_cast<PyThreadState*>(thread_state));
    // A run that is given up leaves the generator where it found it, unless somebody has seen a part of it.
    if (outcome == Outcome::Interrupted && drew_numbers_ && !called_) rng_set_state(rng_before_);
    return outcome;
  }

  void keep_outputs() { n_outputs_ = 0; }

 private:
  bool read_registers(const int64_t* sizes) {
    int64_t* reg = regs_;
    const auto n_inputs = p_.ranks.size();
    for (size_t i = 0; i < n_inputs; ++i) {
      const RunInput& input = inputs_[i];
      const int rank = p_.ranks[i];
      if (input.rank != rank) [[unlikely]]
        return fail(kCheckInputRank);
      if (input.buffer && input.buffer->device != kCpu) [[unlikely]]
        return fail(kCheckDevice);
      for (int d = 0; d < rank; ++d) *reg++ = input.sizes[d];
      for (int d = 0; d < rank; ++d) *reg++ = input.strides[d];
    }
    const int64_t* first = regs_ + p_.first_instr_reg;
    while (reg < first) *reg++ = *sizes++;
    std::copy(p_.constants.begin() + p_.first_instr_reg, p_.constants.end(), reg);
    for (const RegInstr& instr : p_.instrs) regs_[instr.target] = instr.evaluate(regs_);
    for (const Check& check : p_.checks)
      if (!regs_[check.reg]) [[unlikely]]
        return fail(check.code);
    return true;
  }

  bool make_outputs() {
    for (const OutputSpec& spec : p_.outputs) {
      RunOutput& output = outputs_[n_outputs_];
      if (spec.late >= 0) [[unlikely]]
        output.buffer = nullptr;
      else if (!make_output(spec, output))
        return false;
      ++n_outputs_;
    }
    return true;
  }

  bool make_output(const OutputSpec& spec, RunOutput& output) {
    output.dtype = spec.dtype;
    output.rank = static_cast<uint8_t>(spec.shape.size());
    output.alias = -1;
    output.inplace = false;
    for (size_t d = 0; d < spec.shape.size(); ++d) {
      output.sizes[d] = regs_[spec.shape[d]];
      if (output.sizes[d] < 0) [[unlikely]]
        return fail(kCheckNegativeSize);
    }
    if (spec.kind == OutputKind::Fresh) [[likely]] {
      make_fresh(output);
      return true;
    }
    output.buffer = nullptr;
    if (!countable(output)) throw OutOfMemory(SIZE_MAX, available_memory());
    return make_alias(spec, output);
  }

  // Whether the number of elements of a view fits 64 bits: an expanded one has more elements than memory.
  static bool countable(const RunOutput& output) {
    int64_t count = 1;
    bool fits = true;
    for (int d = 0; d < output.rank; ++d) {
      if (output.sizes[d] == 0) return true;
      fits = fits && !__builtin_mul_overflow(count, output.sizes[d], &count);
    }
    return fits;
  }

  static void make_fresh(RunOutput& output) {
    const size_t item = itemsize(output.dtype);
    int64_t stride = 1;
    bool empty = false, overflow = false;
    for (int d = output.rank - 1; d >= 0; --d) {
      output.strides[d] = stride;
      empty |= output.sizes[d] == 0;
      overflow |= __builtin_mul_overflow(stride, std::max<int64_t>(output.sizes[d], 1), &stride);
    }
    int64_t bytes;
    overflow |= __builtin_mul_overflow(stride, static_cast<int64_t>(item), &bytes);
    if (empty) bytes = 0;
    if (overflow && !empty) [[unlikely]]
      throw OutOfMemory(SIZE_MAX, available_memory());
    output.offset = 0;
    output.buffer = allocate(static_cast<size_t>(bytes));
  }

  bool make_alias(const OutputSpec& spec, RunOutput& output) {
    if (spec.kind == OutputKind::InPlace) {
      const RunInput& input = inputs_[spec.source];
      output.rank = static_cast<uint8_t>(input.rank);
      std::copy_n(input.sizes, input.rank, output.sizes);
      std::copy_n(input.strides, input.rank, output.strides);
      output.buffer = input.buffer;
      output.offset = input.offset;
      output.inplace = true;
      output.alias = spec.source;
    } else {
      const int64_t shift = spec.offset_reg >= 0 ? regs_[spec.offset_reg] : 0;
      for (int d = 0; d < output.rank; ++d) output.strides[d] = regs_[spec.strides[d]];
      if (spec.kind == OutputKind::InputView) {
        output.buffer = inputs_[spec.source].buffer;
        output.offset = wrap_add(inputs_[spec.source].offset, shift);
        output.alias = spec.source;
      } else {
        output.buffer = outputs_[spec.source].buffer;
        output.offset = wrap_add(outputs_[spec.source].offset, shift);
      }
    }
    if (!output.buffer) throw ProgramError("program: an output aliases an input that has no buffer");
    if (!within_buffer(output)) {
      output.buffer = nullptr;
      return fail(kCheckViewBounds);
    }
    retain(output.buffer);
    return true;
  }

  // Whether every element of a view lies in its buffer: the last defence against a wrong shape rule.
  static bool within_buffer(const RunOutput& output) {
    const auto elements = static_cast<int64_t>(output.buffer->bytes / itemsize(output.dtype));
    int64_t low = output.offset, high = output.offset;
    for (int d = 0; d < output.rank; ++d) {
      int64_t reach;
      if (output.sizes[d] == 0) return true;
      if (__builtin_mul_overflow(output.sizes[d] - 1, output.strides[d], &reach) ||
          __builtin_add_overflow(reach < 0 ? low : high, reach, reach < 0 ? &low : &high))
        return false;
    }
    return low >= 0 && high < elements;
  }

  void* output_data(int32_t index) const {
    const RunOutput& output = outputs_[index];
    return static_cast<char*>(output.buffer->data) + output.offset * static_cast<int64_t>(itemsize(output.dtype));
  }

  bool resolve_slots(const Cell8* numbers) {
    char* arena = nullptr;
    int64_t arena_bytes = 0;
    if (p_.arena_reg >= 0) {
      arena_bytes = regs_[p_.arena_reg];
      if (arena_bytes < 0) return fail(kCheckNegativeSize);
      arena_.reset(allocate(static_cast<size_t>(arena_bytes)));
      arena = static_cast<char*>(arena_.get()->data);
      const_cast<std::atomic<int64_t>&>(p_.arena_bytes).store(arena_bytes, std::memory_order_relaxed);
    }
    if (!p_.late.empty() || !p_.stacks.empty() || p_.boxes) [[unlikely]]
      late_ = std::make_unique<LateMemory>(p_);
    void** slot = slots_;
    for (const ProgramSlot& spec : p_.slots) {
      switch (spec.kind) {
        case SlotKind::Input:
          *slot++ = inputs_[spec.index].data;
          break;
        case SlotKind::Number:
          *slot++ = const_cast<char*>(numbers[spec.index].bytes);
          break;
        case SlotKind::Output:
          *slot++ = output_data(spec.index);
          break;
        case SlotKind::Temp: {
          const int64_t offset = regs_[spec.offset_reg], bytes = regs_[spec.bytes_reg];
          if (offset < 0 || bytes < 0 || offset > arena_bytes || bytes > arena_bytes - offset)
            throw ProgramError("program: a temporary lies outside the arena");
          *slot++ = arena + offset;
          break;
        }
        case SlotKind::View:
          *slot++ = static_cast<char*>(slots_[spec.index]) + regs_[spec.offset_reg];
          break;
        case SlotKind::Const:
          *slot++ = static_cast<char*>(p_.data.get()->data) + spec.data_offset;
          break;
        case SlotKind::Symbol:
          *slot++ = spec.function;
          break;
        case SlotKind::Row:
        case SlotKind::Stack:
        case SlotKind::Box:
        case SlotKind::Late:
        case SlotKind::Kept:
          *slot++ = nullptr;
          break;
      }
    }
    return true;
  }

  // Defined in program_late.cpp: sizes that become known while the program runs.
  bool set_late(int32_t index, int64_t value);
  void resolve_late(int32_t index);
  void set_slot(int32_t slot, void* address, int32_t first_view, int32_t n_views);
  Outcome run_stacking(const Step& step, InterruptPoll* poll);
  bool place_row(const StackSpec& stack, int32_t index, int64_t turn);
  Outcome run_nonzero(const Step& step);
  Outcome run_box(const Step& step);
  void run_number(const Step& step);
  Outcome run_unbox(const Step& step);

  Outcome run_block(int32_t index, InterruptPoll* poll) {
    const std::vector<Step>& steps = p_.blocks[index];
    const auto count = static_cast<int32_t>(steps.size());
    for (int32_t i = 0; i < count; ++i) {
      if (poll && p_.looks_up[static_cast<size_t>(index)]) poll->hold(steps[i].held);
      if (steps[i].chain >= 0) [[unlikely]] {
        const Outcome outcome = run_chain(&steps[i], poll);
        if (outcome != Outcome::Fine) return outcome;
        i += p_.chains[static_cast<size_t>(steps[i].chain)].count - 1;
        continue;
      }
      const Outcome outcome = profiling_ ? timed_step(steps[i], poll) : run_step(steps[i], poll);
      if (outcome != Outcome::Fine) return outcome;
      const int64_t cost = steps[i].kind == StepKind::Copy ? kPollBytes : reg_or(steps[i].cost_reg, 0);
      if (poll && poll->check_after(cost)) return Outcome::Interrupted;
    }
    return Outcome::Fine;
  }

  Outcome timed_step(const Step& step, InterruptPoll* poll) {
    const int64_t started = now_nanoseconds();
    const Outcome outcome = run_step(step, poll);
    StepTimer& timer = p_.timers[step.id];
    timer.calls.fetch_add(1, std::memory_order_relaxed);
    timer.nanoseconds.fetch_add(now_nanoseconds() - started, std::memory_order_relaxed);
    return outcome;
  }

  Outcome run_step(const Step& step, InterruptPoll* poll) {
    switch (step.kind) {
      case StepKind::Kernel:
        return run_kernel(step, poll);
      case StepKind::Copy:
        return fill(slots_[step.target], slots_[step.source], regs_[step.count_reg], poll);
      case StepKind::Zero:
        return fill(slots_[step.target], nullptr, regs_[step.count_reg], poll);
      case StepKind::Random: {
        const RngState state = rng_reserve(regs_[step.count_reg]);
        if (!drew_numbers_) rng_before_ = state;
        drew_numbers_ = true;
        std::memcpy(slots_[step.target], &state, sizeof state);
        return Outcome::Fine;
      }
      case StepKind::Cond:
        return run_block(predicate(step) ? step.first : step.second, poll);
      case StepKind::While:
        if (step.n_stacks || step.late >= 0) return run_stacking(step, poll);
        break;
      case StepKind::Images:
        return run_images(step, poll);
      case StepKind::Measure: {
        int64_t size;
        std::memcpy(&size, slots_[step.source], sizeof size);
        return set_late(step.late, size) ? Outcome::Fine : Outcome::Failed;
      }
      case StepKind::Nonzero:
        return run_nonzero(step);
      case StepKind::Box:
        return run_box(step);
      case StepKind::Number:
        run_number(step);
        return Outcome::Fine;
      case StepKind::Unbox:
        return run_unbox(step);
      case StepKind::Check:
        if (regs_[step.count_reg]) return Outcome::Fine;
        fail(step.code);
        return Outcome::Failed;
      case StepKind::Host:
        return run_host(step, poll);
    }
    while (true) {
      Outcome outcome = run_block(step.first, poll);
      if (outcome != Outcome::Fine || !predicate(step)) return outcome;
      outcome = run_block(step.second, poll);
      if (outcome != Outcome::Fine) return outcome;
      // A loop of empty or cheap bodies must notice Ctrl-C too.
      if (poll && poll->check_after(0)) return Outcome::Interrupted;
    }
  }

  // The steps on one image after another: the slots that move hold the address of the image at hand.
  Outcome run_images(const Step& step, InterruptPoll* poll) {
    const int32_t* moving = p_.indices.data() + step.args;
    const auto move = [&](int64_t images) {
      for (int32_t i = 0; i < step.n_args; i += 2)
        slots_[moving[i]] = static_cast<char*>(slots_[moving[i]]) + images * regs_[moving[i + 1]];
    };
    const int64_t count = regs_[step.count_reg];
    for (int64_t image = 0; image < count; ++image) {
      const Outcome outcome = run_block(step.first, poll);
      if (outcome != Outcome::Fine) return outcome;
      move(1);
    }
    move(-count);  // in a loop the next turn begins with the first image
    return Outcome::Fine;
  }

  bool predicate(const Step& step) const { return *static_cast<const uint8_t*>(slots_[step.target]) != 0; }

  int64_t reg_or(int32_t reg, int64_t otherwise) const { return reg >= 0 ? regs_[reg] : otherwise; }

  Outcome run_kernel(const Step& step, InterruptPoll* poll) {
    const int64_t chunks = reg_or(step.chunks_reg, 1);
    if (chunks <= 0) return Outcome::Fine;
    const int32_t* index = p_.indices.data() + step.args;
    for (int32_t i = 0; i < step.n_args; ++i) args_[i] = slots_[index[i]];
    if (step.keep >= 0) {
      const KeepSpec& spec = p_.keeps[static_cast<size_t>(step.keep)];
      void* found = args_[spec.argument] = kept(step.keep);
      if (found && spec.replaces) return Outcome::Fine;
    }
    index = p_.indices.data() + step.sizes;
    for (int32_t i = 0; i < step.n_sizes; ++i) sizes_[i] = regs_[index[i]];
    const int64_t cost = reg_or(step.cost_reg, 0);
    const int64_t scratch = std::max<int64_t>(0, reg_or(step.scratch_reg, 0));
    const int workers = plan_workers(chunks, cost);
    if (workers > 1 || (poll && cost > kPollBytes)) return run_chunks(step, chunks, workers, cost, scratch, poll);
    const Scratch memory(static_cast<size_t>(scratch));
    int64_t result[5] = {0, 0, 0, reinterpret_cast<int64_t>(SignalFlag::never()), 0};
    step.function(args_, sizes_, 0, chunks, memory.data(), result);
    if (result[0]) [[unlikely]]
      return failed(step, result);
    return Outcome::Fine;
  }

  // Defined in program_keep.cpp: the address of what is kept, or null.
  void* kept(int32_t index);

  // Defined in program_chunks.cpp: work that may be split among threads.
  Outcome run_chunks(const Step& step, int64_t chunks, int workers, int64_t cost, int64_t scratch, InterruptPoll* poll);
  static Outcome fill(void* target, const void* source, int64_t bytes, InterruptPoll* poll);

  // Defined in program_chain.cpp: kernels that follow each other band by band.
  Outcome run_chain(const Step* steps, InterruptPoll* poll);

  // Defined in program_host.cpp: a call into Python.
  Outcome run_host(const Step& step, InterruptPoll* poll);

  Outcome failed(const Step& step, const int64_t* result) {
    std::copy_n(result, 3, status_->kernel_status);
    status_->node = step.node;
    return Outcome::Failed;
  }

  const Program::Impl& p_;
  const RunInput* inputs_;
  RunOutput* outputs_;
  RunStatus* status_;
  int n_outputs_ = 0;  // made so far, and to be released unless kept
  HostCaller* host_;
  void** thread_state_ = nullptr;  // while the GIL is away
  bool profiling_;
  bool drew_numbers_ = false;
  bool called_ = false;  // into Python
  RngState rng_before_{};
  BufferRef arena_;
  std::unique_ptr<LateMemory> late_;
  std::unique_ptr<std::vector<BufferRef>> kept_;  // per keep, as this run found it first
  std::vector<bool> looked_;
  // One frame: registers, then the sizes and arguments of the step that runs, then the addresses of the slots.
  static constexpr int64_t kLocalWords = 200;
  int64_t* regs_;
  int64_t* sizes_;
  void** args_;
  void** slots_;
  int64_t local_[kLocalWords];
};

}  // namespace dg
