// Steps of a run that are worth splitting: among threads, and to look for Ctrl-C.
#include <algorithm>
#include <cstring>
#include <optional>

#include "program_run.h"

namespace dg {

namespace {

constexpr int64_t kCopyChunk = 256 << 10;
constexpr int64_t kPieces = 4;  // of a worker: fewer do not even out how much one core is slower than another

// One kernel step as the workers see it.
struct Launch {
  struct alignas(64) Status {
    int64_t values[5];
    int64_t begin;
  };
  KernelFunction function;
  void** args;
  const int64_t* sizes;
  char* scratch;
  int64_t scratch_bytes;
  std::atomic<bool> failed{false};
  Status statuses[kMaxThreads];  // only those of the planned workers are written

  static void call(void* context, int64_t begin, int64_t end, int worker) {
    auto& self = *static_cast<Launch*>(context);
    Status& status = self.statuses[worker];
    if (status.values[0]) return;
    status.begin = begin;
    self.function(self.args, self.sizes, begin, end, self.scratch + worker * self.scratch_bytes, status.values);
    if (status.values[0]) self.failed.store(true, std::memory_order_relaxed);
  }
};

struct Fill {
  char* target;
  const char* source;  // null: zeros
  int64_t bytes;

  static void call(void* context, int64_t begin, int64_t end, int) {
    const auto& self = *static_cast<const Fill*>(context);
    const int64_t from = begin * kCopyChunk, to = std::min(end * kCopyChunk, self.bytes);
    if (self.source)
      std::memmove(self.target + from, self.source + from, static_cast<size_t>(to - from));
    else
      std::memset(self.target + from, 0, static_cast<size_t>(to - from));
  }
};

}  // namespace

// Out of line: its status table would cost stack in every small kernel.
Outcome Run::run_chunks(const Step& step, int64_t chunks, int workers, int64_t cost, int64_t scratch,
                        InterruptPoll* poll) {
  Launch launch;
  launch.function = step.function;
  launch.args = args_;
  launch.sizes = sizes_;
  launch.scratch_bytes = (scratch + static_cast<int64_t>(kAlignment) - 1) & -static_cast<int64_t>(kAlignment);
  BufferRef memory;
  if (scratch) memory.reset(allocate(static_cast<size_t>(launch.scratch_bytes) * static_cast<size_t>(workers)));
  launch.scratch = scratch ? static_cast<char*>(memory.get()->data) : nullptr;
  const bool is_long = poll && cost > kPollBytes;
  const int64_t grain = reg_or(step.grain_reg, 0);
  const bool pieces = grain > 0 && chunks / grain >= kPieces * workers;
  const Split split = step.whole ? (pieces ? Split::Halved : Split::Whole) : is_long ? Split::Probed : Split::Balanced;
  std::optional<SignalFlag> signal;
  if (step.whole && is_long && !poll->held()) signal.emplace();
  const std::atomic<int32_t>* flag = signal ? signal->flag() : SignalFlag::never();
  bool again;
  do {
    for (int w = 0; w < workers; ++w) launch.statuses[w] = {{0, 0, 0, reinterpret_cast<int64_t>(flag), 0}, 0};
    parallel_for(workers, chunks, split, &Launch::call, &launch, poll, &launch.failed, pieces ? grain : 1);
    // The kernel saw the flag and left. If Python's handler did not raise, the step starts over, and listens again:
    // it may be a loop without end, and the handler one that raises the second time.
    again = signal && flag->load(std::memory_order_relaxed) && !launch.failed.load(std::memory_order_relaxed) &&
            !poll->check_now();
    if (again) {
      signal.reset();
      signal.emplace();
      flag = signal->flag();
      again = !poll->check_now();  // what came in between
    }
  } while (again);
  if (launch.failed.load(std::memory_order_relaxed)) {
    const Launch::Status* first = nullptr;
    for (int w = 0; w < workers; ++w)
      if (launch.statuses[w].values[0] && (!first || launch.statuses[w].begin < first->begin))
        first = &launch.statuses[w];
    return failed(step, first->values);
  }
  return poll && poll->stopped() ? Outcome::Interrupted : Outcome::Fine;
}

Outcome Run::fill(void* target, const void* source, int64_t bytes, InterruptPoll* poll) {
  if (bytes <= 0 || target == source) return Outcome::Fine;
  Fill work{static_cast<char*>(target), static_cast<const char*>(source), bytes};
  const int64_t chunks = (bytes + kCopyChunk - 1) / kCopyChunk;
  parallel_for(plan_workers(chunks, 2 * bytes), chunks, bytes > kPollBytes ? Split::Probed : Split::Balanced,
               &Fill::call, &work, poll);
  return poll && poll->stopped() ? Outcome::Interrupted : Outcome::Fine;
}

}  // namespace dg
