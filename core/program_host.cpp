// A step that calls into Python, on copies of what the program holds at that point.
#include "program_run.h"

namespace dg {

namespace {

// The GIL, taken back while it lives if the run has given it away.
class HeldGil {
 public:
  explicit HeldGil(void** thread_state) : thread_state_(thread_state) {
    if (thread_state_) PyEval_RestoreThread(static_cast<PyThreadState*>(*thread_state_));
  }
  ~HeldGil() {
    if (thread_state_) *thread_state_ = PyEval_SaveThread();
  }
  HeldGil(const HeldGil&) = delete;

 private:
  void** thread_state_;
};

}  // namespace

Outcome Run::run_host(const Step& step, InterruptPoll* poll) {
  const HostSpec& spec = p_.hosts[static_cast<size_t>(step.args)];
  std::vector<HostValue> values;
  values.reserve(spec.values.size());
  for (const HostValueSpec& of : spec.values) {
    HostValue value;
    value.dtype = of.dtype;
    value.data = slots_[of.slot];
    int64_t count = 1;
    for (const int32_t reg : of.shape) {
      if (regs_[reg] < 0) {
        fail(kCheckNegativeSize);
        return Outcome::Failed;
      }
      value.sizes.push_back(regs_[reg]);
      count *= regs_[reg];
    }
    if (!value.data && count) throw ProgramError("program: an operand of a call has no memory yet");
    values.push_back(std::move(value));
  }
  if (!host_) throw ProgramError("program: nobody answers its calls");
  called_ = true;
  const HeldGil gil(poll ? thread_state_ : nullptr);
  const auto n_operands = static_cast<size_t>(spec.n_operands);
  const bool fine =
      host_->call(spec.number, values.data(), n_operands, values.data() + n_operands, values.size() - n_operands);
  return fine ? Outcome::Fine : Outcome::Raised;
}

}  // namespace dg
