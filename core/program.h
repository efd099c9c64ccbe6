// A compiled program: a register program over sizes, slots, an arena and steps. Built once from a plain dict and object
// code, run many times, by several threads at once if they like.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dtype.h"
#include "loader.h"
#include "memory.h"
#include "threads.h"

typedef struct _object PyObject;

namespace dg {

constexpr int kMaxRank = 16;

struct RunInput {
  void* data;  // the first element: `offset` is already applied; may be null if only the shape is read
  const int64_t* sizes;
  const int64_t* strides;  // in elements
  int rank;
  Buffer* buffer;  // borrowed; needed for inputs that outputs alias
  int64_t offset;  // of `data` in `buffer`, in elements
};

struct Cell8 {
  alignas(8) char bytes[8];
};

// Only the first `rank` sizes and strides are written.
struct RunOutput {
  Buffer* buffer;  // a new reference
  int64_t offset;
  DType dtype;
  uint8_t rank;
  int64_t sizes[kMaxRank], strides[kMaxRank];
  int32_t alias;  // the input whose buffer this is, or -1
  bool inplace;   // the output is input `alias` itself
};

// Check codes below zero are the runner's own; positive ones come from the program's "checks".
constexpr int64_t kCheckNegativeSize = -1;  // an output or the arena would have a negative size
constexpr int64_t kCheckViewBounds = -2;    // a view would reach outside its buffer
constexpr int64_t kCheckDevice = -3;        // an input is not in the program's device memory
constexpr int64_t kCheckInputRank = -4;     // an input has another rank than the program was built for
constexpr int64_t kCheckTurns = -5;         // a loop made another number of turns than its stacks have rows
constexpr int64_t kCheckLateSize = -6;      // a size that came from a value is negative

struct RunStatus {
  int64_t check_code = 0;
  int64_t kernel_status[4] = {};  // code, value, extent, spare
  int node = -1;                  // index into the spec's "nodes"
};

// status[0..2]: code, value, extent of a failure. On entry status[3] is the address of an int32 that turns nonzero when
// the work may stop: a "whole" kernel looks at it every few milliseconds and returns at once. Its step is then given
// up, or run again from the start.
using KernelFunction = void (*)(void** args, const int64_t* sizes, int64_t begin, int64_t end, void* scratch,
                                int64_t* status);

// A value that a host call takes or gives, in row-major order.
struct HostValue {
  DType dtype;
  std::vector<int64_t> sizes;
  void* data;
};

// Who answers the calls that a program makes into Python. Called with the GIL; false: a Python error is set.
class HostCaller {
 public:
  virtual bool call(int32_t number, const HostValue* operands, size_t n_operands, const HostValue* results,
                    size_t n_results) = 0;

 protected:
  ~HostCaller() = default;
};

struct StepProfile {
  std::string kind;  // "kernel", "copy", ...
  std::string symbol;
  int node;
  int64_t calls;
  int64_t nanoseconds;
};

class Program {
 public:
  // `spec`: the dict of the program; `code`: one ELF object (may be empty if there is no kernel step). Needs the GIL.
  // Throws ProgramError naming what is wrong.
  static Program* parse(PyObject* spec, const uint8_t* code, size_t code_size);
  Program(Program&&) noexcept;
  ~Program();

  // Runs the program. Called with the GIL, which it releases itself for costly work. Returns false when a check or a
  // kernel failed: `status` says why, and no output is left behind. Throws OutOfMemory, and Interrupted when a Python
  // error is set.
  bool run(const RunInput* inputs, const Cell8* numbers, const int64_t* sizes, RunOutput* outputs, RunStatus* status,
           HostCaller* host = nullptr);

  int n_inputs = 0;   // tensor inputs
  int n_numbers = 0;  // follow the tensor inputs
  int n_sizes = 0;
  int n_outputs = 0;
  DType number_dtype(int i) const;
  int input_rank(int i) const;

  void set_profiling(bool on);  // costs nothing when off
  std::vector<StepProfile> profile() const;
  int step_count() const;
  int kernel_count() const;
  int64_t last_arena_bytes() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }

 private:
  Program();
  std::unique_ptr<Impl> impl_;
};

// The spec or the code is not a valid program: a fault of the compiler that made it, or a damaged cache.
class ProgramError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace dg
