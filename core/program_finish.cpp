// What a parsed program says about itself: numbers of steps, when it may be interrupted, whether it is one kernel.
#include <algorithm>

#include "program_parse.h"

namespace dg {

namespace {

class Finish {
 public:
  explicit Finish(Program::Impl& impl) : p_(impl) {}

  void run() {
    p_.looks_up.assign(p_.blocks.size(), false);
    hold(0);
    number_block(0);
    p_.timers = std::make_unique<StepTimer[]>(p_.all_steps.size());
    p_.direct = is_direct();
  }

 private:
  template <class Test>
  bool any(const Step& step, Test&& test) const {
    if (test(step)) return true;
    for (const int32_t block : {step.first, step.second})
      if (block >= 0)
        for (const Step& inner : p_.blocks[static_cast<size_t>(block)])
          if (any(inner, test)) return true;
    return false;
  }
  bool commits(const Step& step) const {
    return any(step, [](const Step& s) { return s.commits; });
  }
  bool calls(const Step& step) const {
    return any(step, [](const Step& s) { return s.kind == StepKind::Host; });
  }

  // From the first to the last step that writes the caller's memory, no interruption: all of it happens or none. A call
  // into Python parts what is before from what is after it.
  void hold(int32_t index) {
    std::vector<Step>& steps = p_.blocks[static_cast<size_t>(index)];
    p_.looks_up[static_cast<size_t>(index)] = true;
    for (size_t begin = 0; begin < steps.size();) {
      size_t end = begin, first = steps.size(), last = 0;
      for (; end < steps.size() && !calls(steps[end]); ++end)
        if (commits(steps[end])) {
          first = std::min(first, end);
          last = end;
        }
      for (size_t i = first; i <= last && i < end; ++i) steps[i].held = true;
      if (end < steps.size())
        for (const int32_t block : {steps[end].first, steps[end].second})
          if (block >= 0) hold(block);
      begin = end + 1;
    }
  }

  void number_block(int32_t index) {
    for (Step& step : p_.blocks[static_cast<size_t>(index)]) {
      step.id = static_cast<int32_t>(p_.all_steps.size());
      p_.all_steps.push_back(&step);
      if (step.first >= 0) number_block(step.first);
      if (step.second >= 0) number_block(step.second);
    }
  }

  bool is_direct() const {
    if (p_.all_steps.size() != 1 || p_.arena_reg >= 0) return false;
    const Step& step = *p_.all_steps[0];
    return step.kind == StepKind::Kernel && std::all_of(p_.slots.begin(), p_.slots.end(), [](const ProgramSlot& slot) {
             return slot.kind == SlotKind::Input || slot.kind == SlotKind::Number || slot.kind == SlotKind::Output ||
                    slot.kind == SlotKind::Symbol || slot.kind == SlotKind::Kept;
           });
  }

  Program::Impl& p_;
};

}  // namespace

void finish_program(Program::Impl& impl) { Finish(impl).run(); }

}  // namespace dg
