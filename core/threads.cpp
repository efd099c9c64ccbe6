#include "threads.h"

#include <Python.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>

namespace dg {

namespace {

constexpr int64_t kPollNanoseconds = 5'000'000;
// How long a worker means to go without looking up; pages touched for the first time may make it ten times as long.
constexpr int64_t kBatchNanoseconds = 1'000'000;
constexpr int64_t kBatchGrowth = 16;  // from one timed batch to the next
constexpr uint32_t kManyChunks = 64;  // a share of so many is taken in two calls: one more costs little
constexpr int64_t kBytesPerWorker =
    512 << 10;  // some 20 µs of work: below this, waking a thread costs more than it brings
constexpr int64_t kBytesMissed =
    2 * kBytesPerWorker;                      // by small jobs in a row, until threads are woken for more of them
constexpr int64_t kBytesPerAwake = 96 << 10;  // a thread that still waits awake starts within a microsecond
// A wait begins with some 20 us of looking, since the next kernel is usually near; for about a millisecond it goes on
// awake, but gives way to any thread that wants the processor: waking one that sleeps costs a virtual machine 50 us.
constexpr uint64_t kSpinCycles = 60'000, kAwakeCycles = 3'000'000;
constexpr int kPausesPerYield = 16;

int64_t now_nanoseconds() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

// One wait for another thread, as long as it is awake.
class Patience {
 public:
  // False when it is time to sleep.
  bool lasts() {
    _mm_pause();
    const uint64_t waited = __rdtsc() - start_;
    if (waited < kSpinCycles) return true;
    if (waited >= kAwakeCycles) return false;
    if (++pauses_ % kPausesPerYield == 0) sched_yield();
    return true;
  }

 private:
  uint64_t start_ = __rdtsc();
  int pauses_ = 0;
};

// A worker's share of the chunks as [low, high) in one word: the owner takes from the front, thieves half of the rest
// from the back. A value never comes back while a thief looks, since chunks are consumed once.
class alignas(64) Range {
 public:
  void set(uint32_t low, uint32_t high) { word_.store(pack(low, high), std::memory_order_relaxed); }
  uint32_t remaining() const {
    const uint64_t word = word_.load(std::memory_order_relaxed);
    return low(word) < high(word) ? high(word) - low(word) : 0;
  }
  bool take_front(uint32_t wanted, uint32_t* begin, uint32_t* end) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while (low(word) < high(word)) {
      const uint32_t next = low(word) + std::min(wanted, high(word) - low(word));
      if (word_.compare_exchange_weak(word, pack(next, high(word)), std::memory_order_relaxed)) {
        *begin = low(word);
        *end = next;
        return true;
      }
    }
    return false;
  }
  bool steal_back(uint32_t* begin, uint32_t* end) {
    uint64_t word = word_.load(std::memory_order_relaxed);
    while (low(word) < high(word)) {
      const uint32_t middle = low(word) + (high(word) - low(word)) / 2;
      if (word_.compare_exchange_weak(word, pack(low(word), middle), std::memory_order_relaxed)) {
        *begin = middle;
        *end = high(word);
        return true;
      }
    }
    return false;
  }

 private:
  static uint64_t pack(uint32_t low, uint32_t high) { return static_cast<uint64_t>(low) << 32 | high; }
  static uint32_t low(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
  static uint32_t high(uint64_t word) { return static_cast<uint32_t>(word); }
  std::atomic<uint64_t> word_{0};
};

// One loop in the pool. Ranges count units of `unit` chunks, so that any chunk count fits 32 bits.
struct Job {
  ChunkFunction function;
  void* context;
  int64_t chunks;
  int64_t unit;
  int workers;
  Split split;
  unsigned mxcsr;
  const std::atomic<bool>* stop;
  std::atomic<bool> interrupted{false};
  Range ranges[kMaxThreads];
};

struct alignas(64) Worker {
  // Odd: called to the job. Whoever makes it even again has taken the call: the worker, which then works, or the
  // caller, if nothing is left to do before the worker came.
  std::atomic<uint32_t> call{0};
  std::atomic<uint32_t> sleeping{0};
  pthread_t thread;
};

struct ThreadPool {
  std::mutex mutex;  // held by the thread whose job runs
  Job job;
  Worker workers[kMaxThreads];
  std::atomic<int> started = 1;  // workers that exist; worker 0 is the caller
  alignas(64) std::atomic<uint32_t> pending{0};
  std::atomic<uint32_t> caller_sleeping{0};
};

// Never destroyed: its threads live as long as the process.
ThreadPool& pool() {
  static ThreadPool& instance = *new ThreadPool;
  return instance;
}

thread_local bool owns_pool = false;

// How many threads, the caller among them, could start at once on a job, up to `wanted`.
int64_t count_awake(int64_t wanted) {
  const ThreadPool& p = pool();
  int64_t count = 1;
  while (count < std::min<int64_t>(wanted, p.started.load(std::memory_order_acquire)) &&
         !p.workers[count].sleeping.load(std::memory_order_relaxed))
    ++count;
  return count;
}

// What small jobs that follow each other closely would have shared, had threads been awake: as soon as it is worth
// their waking, they are woken for the jobs to come. Races of several callers lose a count, no more.
class Missed {
 public:
  // Notes a job; whether threads should be woken.
  bool note(int64_t cost) {
    const uint64_t now = __rdtsc();
    const bool close = now - last_.load(std::memory_order_relaxed) < kAwakeCycles;
    const int64_t sum = (close ? sum_.load(std::memory_order_relaxed) : 0) + cost;
    last_.store(now, std::memory_order_relaxed);
    sum_.store(sum < kBytesMissed ? sum : 0, std::memory_order_relaxed);
    return sum >= kBytesMissed;
  }

 private:
  std::atomic<uint64_t> last_{0};
  std::atomic<int64_t> sum_{0};
};

// How many units to run next, after `done` of them took `nanoseconds`.
int64_t next_batch(int64_t done, int64_t nanoseconds) {
  const int64_t per_unit = std::max<int64_t>(1, nanoseconds / done);
  return std::clamp<int64_t>(kBatchNanoseconds / per_unit, 1, done * kBatchGrowth);
}

uint32_t first_batch(Split split, uint32_t share) {
  switch (split) {
    case Split::Whole:
      return share < kManyChunks ? share : share - share / 4;
    case Split::Halved:
      return share - share / 2;
    case Split::Balanced:
      return share - share / 4;
    default:
      return 1;  // a first look at how long a unit takes
  }
}

uint32_t next_size(Split split, uint32_t left, uint32_t most) {
  return split == Split::Whole ? std::max(left, 1u) : std::clamp(left / 2, 1u, most);
}

// One worker's part: its own share in one or several batches, then what it can steal.
void work(Job& job, int worker, InterruptPoll* poll) {
  Range& own = job.ranges[worker];
  uint32_t batch = first_batch(job.split, own.remaining());
  uint32_t most = UINT32_MAX;
  int64_t started = now_nanoseconds();
  while (true) {
    uint32_t begin, end;
    while (own.take_front(batch, &begin, &end)) {
      job.function(job.context, begin * job.unit, std::min<int64_t>(end * job.unit, job.chunks), worker);
      if (job.interrupted.load(std::memory_order_relaxed)) return;
      if (job.stop && job.stop->load(std::memory_order_relaxed)) return;
      const int64_t finished = now_nanoseconds();
      if (job.split == Split::Probed)
        most = static_cast<uint32_t>(std::min<int64_t>(next_batch(end - begin, finished - started), UINT32_MAX));
      started = finished;
      if (poll && poll->check()) {
        job.interrupted.store(true, std::memory_order_relaxed);
        return;
      }
      batch = next_size(job.split, own.remaining(), most);
    }
    bool stolen = false;
    for (int i = 1; i < job.workers && !stolen; ++i)
      stolen = job.ranges[(worker + i) % job.workers].steal_back(&begin, &end);
    if (!stolen) return;
    own.set(begin, end);
    batch = next_size(job.split, end - begin, most);
  }
}

void* worker_main(void* argument) {
  const int index = static_cast<int>(reinterpret_cast<intptr_t>(argument));
  ThreadPool& p = pool();
  Worker& self = p.workers[index];
  while (true) {
    Patience patience;
    uint32_t call;
    while (!((call = self.call.load(std::memory_order_acquire)) & 1)) {
      if (patience.lasts()) continue;
      self.sleeping.store(1, std::memory_order_seq_cst);
      // Looks once more after announcing the sleep: the caller calls before it looks at `sleeping`.
      if (self.call.load(std::memory_order_seq_cst) == call) futex_wait(self.call, call);
      self.sleeping.store(0, std::memory_order_relaxed);
      patience = Patience();
    }
    if (!self.call.compare_exchange_strong(call, call + 1, std::memory_order_acq_rel)) continue;
    _mm_setcsr(p.job.mxcsr);
    work(p.job, index, nullptr);
    if (p.pending.fetch_sub(1, std::memory_order_seq_cst) == 1 && p.caller_sleeping.load(std::memory_order_seq_cst))
      futex_wake(p.pending);
  }
  return nullptr;
}

void wait_for_workers(ThreadPool& p) {
  Patience patience;
  while (uint32_t left = p.pending.load(std::memory_order_acquire)) {
    if (patience.lasts()) continue;
    p.caller_sleeping.store(1, std::memory_order_seq_cst);
    left = p.pending.load(std::memory_order_seq_cst);
    if (left) futex_wait(p.pending, left);
    p.caller_sleeping.store(0, std::memory_order_relaxed);
  }
}

// Threads whose processor is busy with others, and which have not come, need not come any more: their share is done.
void take_calls_back(ThreadPool& p, int workers) {
  for (int w = 1; w < workers; ++w) {
    uint32_t call = p.workers[w].call.load(std::memory_order_relaxed);
    if (call & 1 && p.workers[w].call.compare_exchange_strong(call, call + 1, std::memory_order_acq_rel))
      p.pending.fetch_sub(1, std::memory_order_relaxed);
  }
}

// The processors this thread may use, without the one it is on. A kernel in a virtual machine takes a processor that
// halted for one that is busy elsewhere, and would wake a worker beside its caller, to wait until the caller sleeps.
class OtherProcessors {
 public:
  void keep_off_mine(pthread_t thread) {
    if (!known_) {
      const int mine = sched_getcpu();
      known_ = true;
      several_ = mine >= 0 && sched_getaffinity(0, sizeof set_, &set_) == 0 && CPU_COUNT(&set_) > 1;
      if (several_) CPU_CLR(mine, &set_);
    }
    if (several_) pthread_setaffinity_np(thread, sizeof set_, &set_);
  }

 private:
  bool known_ = false, several_ = false;
  cpu_set_t set_;
};

// Starts threads up to `workers`; gives how many there are. Signals stay with Python's threads.
int start_workers(ThreadPool& p, int workers) {
  if (p.started >= workers) return workers;
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  while (p.started < workers) {
    p.workers[p.started].call.store(0, std::memory_order_relaxed);
    p.workers[p.started].sleeping.store(0, std::memory_order_relaxed);
    if (pthread_create(&p.workers[p.started].thread, &attributes, worker_main,
                       reinterpret_cast<void*>(static_cast<intptr_t>(p.started))))
      break;
    ++p.started;
  }
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  return std::min(p.started.load(), workers);
}

// A fork waits until no job runs. When a signal handler forks from inside a job of this very thread, the other workers
// first finish what is left of it, since the child will not have them.
void before_fork() {
  if (owns_pool)
    wait_for_workers(pool());
  else
    pool().mutex.lock();
}
void after_fork_in_parent() {
  if (!owns_pool) pool().mutex.unlock();
}
void after_fork_in_child() {
  pool().started = 1;
  after_fork_in_parent();
}

void register_fork_handlers() {
  static const int registered = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  (void)registered;
}

// Wakes threads that sleep, up to `workers` with the caller, for jobs to come; nothing if a job is under way.
void wake_workers(int workers) {
  ThreadPool& p = pool();
  std::unique_lock<std::mutex> lock(p.mutex, std::defer_lock);
  if (owns_pool || !lock.try_lock()) return;
  register_fork_handlers();
  workers = start_workers(p, std::min(workers, kMaxThreads));
  OtherProcessors others;
  for (int w = 1; w < workers; ++w) {
    if (!p.workers[w].sleeping.load(std::memory_order_seq_cst)) continue;
    others.keep_off_mine(p.workers[w].thread);
    futex_wake(p.workers[w].call);
  }
}

int processors() {
  cpu_set_t set;
  int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  // A container's quota, in CPU time per period.
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period && period > 0 && quota != "max")
    count = std::min(count, static_cast<int>((std::strtod(quota.c_str(), nullptr) + period - 1) / period));
  return std::clamp(count, 1, kMaxThreads);
}

int initial_threads() {
  if (const char* text = std::getenv("DUOGRAPH_NUM_THREADS")) {
    const long count = std::strtol(text, nullptr, 10);
    if (count > 0) return static_cast<int>(std::min<long>(count, kMaxThreads));
  }
  return processors();
}

bool is_main_thread() { return syscall(SYS_gettid) == getpid(); }

std::atomic<int>& thread_count() {
  static std::atomic<int> count{initial_threads()};
  return count;
}

}  // namespace

InterruptPoll::InterruptPoll(void** thread_state)
    : thread_state_(thread_state), next_(now_nanoseconds() + kPollNanoseconds) {}

bool InterruptPoll::check() {
  spent_ = 0;
  if (stopped_) return true;
  if (held_ || now_nanoseconds() < next_) return false;
  return check_now();
}

bool InterruptPoll::check_now() {
  // Python runs signal handlers in the main thread only.
  if (!held_ && !stopped_ && is_main_thread()) {
    PyEval_RestoreThread(static_cast<PyThreadState*>(*thread_state_));
    stopped_ = PyErr_CheckSignals() != 0;
    *thread_state_ = PyEval_SaveThread();
  }
  next_ = now_nanoseconds() + kPollNanoseconds;
  return stopped_;
}

namespace {

std::atomic<int32_t> signal_flag{0};
const std::atomic<int32_t> no_flag{0};
struct sigaction previous_action;

void note_signal(int number, siginfo_t* info, void* context) {
  signal_flag.store(1, std::memory_order_relaxed);
  if (previous_action.sa_flags & SA_SIGINFO)
    previous_action.sa_sigaction(number, info, context);
  else
    previous_action.sa_handler(number);
}

}  // namespace

// Only the main thread changes handlers, as in Python, and runs no Python code meanwhile.
SignalFlag::SignalFlag() : installed_(false) {
  if (!is_main_thread() || sigaction(SIGINT, nullptr, &previous_action)) return;
  const bool function = (previous_action.sa_flags & SA_SIGINFO) ||
                        (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN);
  if (!function || (previous_action.sa_flags & SA_SIGINFO && previous_action.sa_sigaction == note_signal)) return;
  struct sigaction action = previous_action;
  action.sa_flags |= SA_SIGINFO;
  action.sa_sigaction = note_signal;
  signal_flag.store(0, std::memory_order_relaxed);
  installed_ = sigaction(SIGINT, &action, nullptr) == 0;
}

SignalFlag::~SignalFlag() {
  struct sigaction last;
  if (!installed_ || sigaction(SIGINT, &previous_action, &last)) return;
  // A handler that Python ran meanwhile may have set another one: that stays.
  if (!(last.sa_flags & SA_SIGINFO) || last.sa_sigaction != note_signal) sigaction(SIGINT, &last, nullptr);
}

const std::atomic<int32_t>* SignalFlag::flag() const { return installed_ ? &signal_flag : &no_flag; }
const std::atomic<int32_t>* SignalFlag::never() { return &no_flag; }

void set_flush_denormal(bool flush) {
  _MM_SET_FLUSH_ZERO_MODE(flush ? _MM_FLUSH_ZERO_ON : _MM_FLUSH_ZERO_OFF);
  _MM_SET_DENORMALS_ZERO_MODE(flush ? _MM_DENORMALS_ZERO_ON : _MM_DENORMALS_ZERO_OFF);
}
void set_num_threads(int count) { thread_count().store(std::clamp(count, 1, kMaxThreads)); }
int get_num_threads() { return thread_count().load(std::memory_order_relaxed); }

int plan_workers(int64_t chunks, int64_t cost) {
  const int64_t most = std::min<int64_t>(chunks, get_num_threads());
  const int64_t woken = std::min(most, cost / kBytesPerWorker), wanted = std::min(most, cost / kBytesPerAwake);
  if (wanted < 2) return 1;
  if (woken >= wanted) return static_cast<int>(woken);
  const int64_t awake = count_awake(wanted);
  static Missed missed;
  if (awake < wanted && missed.note(cost)) wake_workers(static_cast<int>(wanted));
  return static_cast<int>(std::max(woken, awake));
}

namespace {

// The whole loop in this thread, in pieces of a few milliseconds.
void run_alone(int64_t chunks, ChunkFunction function, void* context, InterruptPoll& poll,
               const std::atomic<bool>* stop) {
  int64_t batch = 1, started = now_nanoseconds();
  for (int64_t begin = 0; begin < chunks;) {
    const int64_t end = std::min(begin + batch, chunks);
    function(context, begin, end, 0);
    if ((stop && stop->load(std::memory_order_relaxed)) || poll.check()) return;
    const int64_t finished = now_nanoseconds();
    batch = next_batch(end - begin, finished - started);
    started = finished;
    begin = end;
  }
}

}  // namespace

void parallel_for(int workers, int64_t chunks, Split split, ChunkFunction function, void* context, InterruptPoll* poll,
                  const std::atomic<bool>* stop, int64_t unit) {
  if (chunks <= 0) return;
  if (workers <= 1 && (!poll || split != Split::Probed)) return function(context, 0, chunks, 0);
  register_fork_handlers();
  ThreadPool& p = pool();
  std::unique_lock<std::mutex> lock(p.mutex, std::defer_lock);
  // A signal handler run by the poll may get here again inside this thread's own job.
  if (workers > 1 && (owns_pool || !lock.try_lock())) workers = 1;
  if (workers > 1) workers = start_workers(p, static_cast<int>(std::min<int64_t>({workers, chunks, kMaxThreads})));
  if (workers <= 1) {
    if (lock.owns_lock()) lock.unlock();
    if (!poll || split != Split::Probed) return function(context, 0, chunks, 0);
    return run_alone(chunks, function, context, *poll, stop);
  }
  owns_pool = true;
  Job& job = p.job;
  job.function = function;
  job.context = context;
  job.chunks = chunks;
  job.unit = std::max(unit, (chunks >> 31) + 1);
  job.workers = workers;
  job.split = split;
  job.mxcsr = _mm_getcsr();
  job.stop = stop;
  job.interrupted.store(false, std::memory_order_relaxed);
  const int64_t units = (chunks + job.unit - 1) / job.unit;
  for (int w = 0; w < workers; ++w)
    job.ranges[w].set(static_cast<uint32_t>(units * w / workers), static_cast<uint32_t>(units * (w + 1) / workers));
  p.pending.store(static_cast<uint32_t>(workers - 1), std::memory_order_relaxed);
  OtherProcessors others;
  for (int w = 1; w < workers; ++w) {
    Worker& worker = p.workers[w];
    worker.call.fetch_add(1, std::memory_order_seq_cst);
    if (!worker.sleeping.load(std::memory_order_seq_cst)) continue;
    others.keep_off_mine(worker.thread);
    futex_wake(worker.call);
  }
  work(job, 0, poll);
  take_calls_back(p, workers);
  wait_for_workers(p);
  owns_pool = false;
}

}  // namespace dg
