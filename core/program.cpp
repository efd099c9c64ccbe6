#include "program.h"

#include <algorithm>

#include "program_run.h"

namespace dg {

Program::Program() : impl_(std::make_unique<Impl>()) {}
Program::Program(Program&&) noexcept = default;
Program::~Program() = default;

bool Program::run(const RunInput* inputs, const Cell8* numbers, const int64_t* sizes, RunOutput* outputs,
                  RunStatus* status, HostCaller* host) {
  Run run(*impl_, inputs, outputs, status, host);
  if (!run.prepare(sizes)) return false;
  Outcome outcome;
  if (run.is_direct()) [[likely]] {
    outcome = run.execute_direct(numbers);
  } else {
    if (!run.resolve(numbers)) return false;
    outcome = run.execute();
  }
  if (outcome == Outcome::Interrupted || outcome == Outcome::Raised) throw Interrupted();
  if (outcome == Outcome::Failed) return false;
  run.keep_outputs();
  return true;
}

DType Program::number_dtype(int i) const { return impl_->number_dtypes[static_cast<size_t>(i)]; }
int Program::input_rank(int i) const { return impl_->ranks[static_cast<size_t>(i)]; }

void Program::set_profiling(bool on) {
  if (on)
    for (size_t i = 0; i < impl_->all_steps.size(); ++i) {
      impl_->timers[i].calls.store(0);
      impl_->timers[i].nanoseconds.store(0);
    }
  impl_->profiling.store(on);
}

std::vector<StepProfile> Program::profile() const {
  static constexpr const char* kKinds[] = {"kernel",  "copy", "zero",   "random", "cond",  "while", "measure",
                                           "nonzero", "box",  "number", "unbox",  "check", "host",  "images"};
  std::vector<StepProfile> result;
  for (const Step* step : impl_->all_steps) {
    const StepTimer& timer = impl_->timers[static_cast<size_t>(step->id)];
    result.push_back({kKinds[static_cast<int>(step->kind)],
                      step->symbol >= 0 ? impl_->symbols[static_cast<size_t>(step->symbol)] : "", step->node,
                      timer.calls.load(), timer.nanoseconds.load()});
  }
  return result;
}

int Program::step_count() const { return static_cast<int>(impl_->all_steps.size()); }
int Program::kernel_count() const {
  return static_cast<int>(std::count_if(impl_->all_steps.begin(), impl_->all_steps.end(),
                                        [](const Step* step) { return step->kind == StepKind::Kernel; }));
}
int64_t Program::last_arena_bytes() const { return impl_->arena_bytes.load(); }

}  // namespace dg
