// The parsed form of a program: what Program::parse makes of the dict and Program::run walks through.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "program.h"
#include "registers.h"

namespace dg {

struct Check {
  int32_t reg;
  int64_t code;
};

// Row: the row of a stack that the present turn of a loop writes. Stack: rows of a loop whose turns nobody knew. Both
// are set by their loop. Box: memory of a box, set by the step that asks for it. Late: of one of the other kinds (see
// `Impl::late_slots`), resolved when a late size is known. Kept: null, or what was made of an input (see `KeepSpec`).
enum class SlotKind : uint8_t { Input, Number, Output, Temp, View, Const, Symbol, Row, Stack, Box, Late, Kept };

struct ProgramSlot {
  SlotKind kind;
  int32_t index = 0;  // input, number, output, slot, or arena of late temporaries + 1
  int32_t offset_reg = -1, bytes_reg = -1;
  int64_t data_offset = 0;
  void* function = nullptr;  // of Symbol: a function that a kernel calls, or a constant it reads
};

enum class StepKind : uint8_t {
  Kernel,
  Copy,
  Zero,
  Random,
  Cond,
  While,
  Measure,
  Nonzero,
  Box,
  Number,
  Unbox,
  Check,
  Host,
  Images
};

struct Step {
  StepKind kind;
  bool commits = false;  // may write memory the caller sees: not interrupted half-way
  bool held = false;     // between such steps: no interruption now
  bool whole = false;    // a worker's share goes to the kernel in few calls; it watches the stop flag itself
  int32_t id = 0;        // in the order of the text, for profiles
  int32_t node = -1;
  KernelFunction function = nullptr;
  int32_t symbol = -1;
  int32_t args = 0,
          n_args =
              0;  // range in Impl::indices: slots (of box and unbox: views); of a host call: the number in Impl::hosts
  int32_t sizes = 0, n_sizes = 0;  // range in Impl::indices: registers
  int32_t chunks_reg = -1, scratch_reg = -1, cost_reg = -1;
  int32_t target = -1, source = -1, count_reg = -1;  // copy, zero, random; `target` is the predicate of cond and while
  int32_t first = -1, second = -1;                   // blocks: then/else, or condition/body
  int32_t late = -1;                                 // the late size this step makes
  int32_t stacks = 0, n_stacks = 0;                  // of a loop: range in Impl::stacks
  int32_t box = 0;                                   // which of the steps that make boxes
  bool kept = false;                                 // what is boxed stays to the end of the run
  int64_t code = 0;                                  // of check
  int32_t keep = -1;                                 // of a kernel: in Impl::keeps
  int32_t grain_reg = -1;                            // how many chunks make a piece that a worker may take from another
  int32_t chain = -1;                                // in Impl::chains: this kernel and those behind it run together
};

// Rows of a loop's turns. Without `capacity_reg` the memory is the runner's own and grows.
struct StackSpec {
  int32_t row, stack;  // slots
  int32_t bytes_reg;   // of a row
  int32_t capacity_reg = -1;
  int32_t row_views = 0, n_row_views = 0, stack_views = 0, n_stack_views = 0;  // ranges in Impl::indices: slots
};

// An argument of a kernel that is made of an input by another kernel, and kept with the input (see kept.h). The kernel
// takes null for it, too.
struct KeepSpec {
  int32_t argument, input;
  KernelFunction function = nullptr;  // its arguments: the input, and what it makes
  int32_t sizes = 0, n_sizes = 0;     // range in Impl::indices: registers
  int32_t chunks_reg, bytes_reg;      // no chunks: not wanted
  int32_t offset_reg;                 // where the operand begins in the input, in bytes
  bool replaces = false;              // the kernel makes the same, and need not run where it is there
};

// Kernels in a row that run band by band: a product of matrices (or none), sums over windows, a product (or none).
// Chunks of a product are rows of pixels, image by image; those of the sums are an image's groups, and two of their
// sizes say which rows they make. What they write for each other lies in scratch: the products' C and B, the sums' x
// and result.
struct ChainSpec {
  static constexpr int kRegs = 14;
  int32_t count, window;  // which of them makes the sums
  int32_t first_word, end_word;
  // Images, rows of the image before the sums, rows of sums, rows of a band; a row of sums reads from a stride times
  // its number minus `low` on `span` rows; groups; channels, bytes of each and bytes of a row before the sums, and of
  // them.
  int32_t regs[kRegs];
};

// What a host call takes and gives: operands, then results.
struct HostValueSpec {
  int32_t slot;
  DType dtype;
  std::vector<int32_t> shape;  // registers
};
struct HostSpec {
  int32_t number;  // which of the caller's functions
  int32_t n_operands = 0;
  std::vector<HostValueSpec> values;
};

// What waits for a late size: all of it is done, in this order, when a step has found the size.
struct LateSize {
  int32_t reg;
  std::vector<RegInstr> instrs;
  std::vector<Check> checks;
  std::vector<int32_t> arenas, outputs, slots;
};

enum class OutputKind : uint8_t { Fresh, InputView, OutputView, InPlace };

struct OutputSpec {
  OutputKind kind = OutputKind::Fresh;
  DType dtype = DType::Float32;
  int32_t source = -1;           // input or output it aliases
  std::vector<int32_t> shape;    // registers
  std::vector<int32_t> strides;  // registers; empty: contiguous
  int32_t offset_reg = -1;       // in elements, from the source's first; -1: none
  int32_t late = -1;             // the last late size it needs
};

struct StepTimer {
  std::atomic<int64_t> calls{0}, nanoseconds{0};
};

struct Program::Impl {
  std::vector<int32_t> ranks;
  std::vector<DType> number_dtypes;
  std::vector<int64_t> constants;  // per register; 0 for those that a run fills
  std::vector<RegInstr> instrs;    // what is left to compute in a run
  std::vector<Check> checks;
  std::vector<ProgramSlot> slots;
  std::vector<OutputSpec> outputs;
  std::vector<int32_t> indices;
  std::vector<std::vector<Step>> blocks;  // block 0 is the program
  std::vector<bool> looks_up;             // per block: whether its steps say when interruptions are held
  std::vector<StackSpec> stacks;
  std::vector<HostSpec> hosts;
  std::vector<KeepSpec> keeps;
  std::vector<ChainSpec> chains;
  std::vector<LateSize> late;
  std::vector<ProgramSlot> late_slots;  // `slots` as they are once all sizes are known; empty without late sizes
  std::vector<int32_t> late_arenas;     // registers: bytes
  std::vector<std::string> symbols;
  std::vector<const Step*> all_steps;  // by id
  int32_t first_instr_reg = 0, n_regs = 0;
  int32_t arena_reg = -1;
  int32_t max_args = 0, max_sizes = 0;
  int64_t frame_words = 0;         // registers, sizes, arguments and slots of a run
  int32_t n_boxes = 0;             // steps that make boxes
  bool boxes = false;              // there are steps that make or open boxes
  bool loops = false;              // cost is not known beforehand
  bool direct = false;             // one kernel over inputs, numbers and outputs: what nearly every dynamic operator is
  std::vector<int32_t> cost_regs;  // of every step
  BufferRef data;
  std::shared_ptr<LoadedObject> code;
  std::atomic<bool> profiling{false};
  std::unique_ptr<StepTimer[]> timers;
  std::atomic<int64_t> arena_bytes{0};
};

// Fills in what follows from the steps.
void finish_program(Program::Impl& impl);

}  // namespace dg
