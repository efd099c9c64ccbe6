// One parallel loop over chunks. The work fixes the chunks, so results never depend on the number of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>

namespace dg {

// Ctrl-C arrived: the Python error is already set in the calling thread.
class Interrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "interrupted"; }
};

void set_num_threads(int count);  // 1..kMaxThreads
int get_num_threads();
// In this thread and the workers that it calls: results below the normal numbers become 0, and such operands count as
// 0.
void set_flush_denormal(bool flush);
constexpr int kMaxThreads = 256;

// Notices Ctrl-C while the calling thread works without the GIL: at most every 5 ms, and only in the main thread,
// takes the GIL and lets Python run its signal handlers.
class InterruptPoll {
 public:
  // `thread_state`: a PyThreadState*, what PyEval_SaveThread returned; updated when the GIL is taken and given back.
  explicit InterruptPoll(void** thread_state);
  bool check();  // true: stop, a Python error is set
  // After work that touched about `bytes`: looks at the clock, which costs more than a small kernel, only now and then.
  bool check_after(int64_t bytes) {
    spent_ += bytes < 0 || bytes > kManyBytes ? kManyBytes : bytes + kSmallWork;
    return spent_ >= kManyBytes && check();
  }
  bool check_now();  // without waiting for the next 5 ms
  bool stopped() const { return stopped_; }
  void hold(bool held) { held_ = held; }  // no interruption while held: in-place commits finish first
  bool held() const { return held_; }

 private:
  static constexpr int64_t kSmallWork = 4096, kManyBytes = 256 << 10;
  void** thread_state_;
  int64_t next_;
  int64_t spent_ = 0;
  bool held_ = false;
  bool stopped_ = false;
};

// While it lives, Ctrl-C raises a flag that generated code can read; Python's own handler runs as well.
class SignalFlag {
 public:
  SignalFlag();
  ~SignalFlag();
  SignalFlag(const SignalFlag&) = delete;
  const std::atomic<int32_t>* flag() const;
  static const std::atomic<int32_t>* never();  // one that stays 0

 private:
  bool installed_;
};

// How a worker goes through its contiguous share of the chunks.
enum class Split {
  Whole,     // in one call, a long share in two: the function keeps something per call that is costly to make anew
  Halved,    // half of what is left in each call, so that idle workers may steal: the function is cheap to call again
  Balanced,  // most of it in one call, the rest in shrinking pieces that idle workers may steal
  Probed,    // in pieces of a few milliseconds, found by timing, so that a long loop can be interrupted
};

using ChunkFunction = void (*)(void* context, int64_t begin, int64_t end, int worker);

// How many workers a loop of `chunks` chunks touching about `cost` bytes deserves: the `worker` values it will see.
int plan_workers(int64_t chunks, int64_t cost);

// Calls function(context, begin, end, worker) over disjoint ranges that cover [0, chunks), worker < workers, and
// returns when all are done. Ranges begin at multiples of `unit`. Returns early when the poll says stop, or once a
// worker sets `stop`. `function` must not throw. A caller that finds the pool busy runs the whole loop itself.
void parallel_for(int workers, int64_t chunks, Split split, ChunkFunction function, void* context,
                  InterruptPoll* poll = nullptr, const std::atomic<bool>* stop = nullptr, int64_t unit = 1);

}  // namespace dg
