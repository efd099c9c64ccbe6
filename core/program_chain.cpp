// Kernels of a run that follow each other on the rows of images, band by band: what one writes of a band, in a worker's
// scratch, the next reads while it is in cache. See `duograph/runtime/chains.py` for which kernels these are.
#include <algorithm>
#include <cstring>
#include <vector>

#include "program_run.h"

namespace dg {

namespace {

constexpr int kMostMembers = 3;
constexpr int64_t kSlack = 256;  // bytes that vectors may read behind the rows

int64_t whole_lines(int64_t bytes) {
  return (bytes + static_cast<int64_t>(kAlignment) - 1) & -static_cast<int64_t>(kAlignment);
}

struct Member {
  KernelFunction function;
  std::vector<void*> args;
  std::vector<int64_t> sizes;
  int64_t scratch_at;
};

// A few rows of one image, channel by channel, in the scratch of each worker. No channels: there is none.
struct Rows {
  int64_t channels, plane, row;  // the latter in bytes
  int64_t at = 0;

  // The memory, as a kernel takes it that counts rows from the image's first; `first` is the first that is there.
  char* counted_from(char* scratch, int64_t first) const { return scratch + at - first * row; }

  // Puts rows that are there from `from` to `to` to the front, where the first now is `first`.
  void keep(char* scratch, int64_t first, int64_t from, int64_t to) const {
    if (from >= to || from == first) return;
    char* target = scratch + at;
    for (int64_t channel = 0; channel < channels; ++channel, target += plane)
      std::memmove(target, target + (from - first) * row, static_cast<size_t>((to - from) * row));
  }
};

// What the workers share. A band is some rows of the window sums of one image.
struct Chain {
  struct alignas(64) Status {
    int64_t values[5];
    int member;
  };
  // What a worker changes: arguments, and the sizes of the sums.
  struct Own {
    std::vector<void*> args[kMostMembers];
    std::vector<int64_t> sizes;
    int64_t nanoseconds[kMostMembers] = {0, 0, 0};
  };

  Member members[kMostMembers];
  int count, window;
  int32_t first_word, end_word;
  int64_t rows_in, rows, band, bands, stride, low, span, groups;
  Rows before, behind;
  char* scratch;
  int64_t scratch_bytes;
  bool timed;
  std::atomic<bool> failed{false};
  std::vector<Status> statuses;
  std::vector<Own> owns;

  static void call(void* context, int64_t begin, int64_t end, int worker) {
    auto& self = *static_cast<Chain*>(context);
    while (begin < end) {
      const int64_t image = begin / self.bands, first = image * self.bands;
      const int64_t last = std::min(end, first + self.bands);
      self.run_bands(image, begin - first, last - first, worker);
      begin = last;
    }
  }

  // Rows of the image before the sums that those from row `from` to `to` read: from .. to.
  int64_t read_from(int64_t from) const { return std::clamp<int64_t>(stride * from - low, 0, rows_in); }
  int64_t read_to(int64_t to) const {
    return std::max(read_from(to - 1), std::clamp<int64_t>(stride * (to - 1) - low + span, 0, rows_in));
  }

  bool run(int member, int64_t begin, int64_t end, int worker) {
    Status& status = statuses[static_cast<size_t>(worker)];
    Own& own = owns[static_cast<size_t>(worker)];
    if (status.values[0]) return false;
    if (begin >= end) return true;
    const Member& m = members[member];
    const int64_t* sizes = member == window ? own.sizes.data() : m.sizes.data();
    const int64_t started = timed ? now_nanoseconds() : 0;
    status.values[4] = 0;
    m.function(own.args[member].data(), sizes, begin, end, scratch + worker * scratch_bytes + m.scratch_at,
               status.values);
    if (timed) own.nanoseconds[member] += now_nanoseconds() - started;
    if (!status.values[0]) return true;
    status.member = member;
    failed.store(true, std::memory_order_relaxed);
    return false;
  }

  void run_bands(int64_t image, int64_t low_band, int64_t high_band, int worker) {
    char* mine = scratch + worker * scratch_bytes;
    Own& own = owns[static_cast<size_t>(worker)];
    int64_t first = 0, made = -1;  // rows of the first member that are there: first .. made
    for (int64_t b = low_band; b < high_band && !failed.load(std::memory_order_relaxed); ++b) {
      const int64_t from = b * band, to = std::min(from + band, rows);
      if (window == 1) {
        const int64_t begin = read_from(from), end = read_to(to);
        if (made >= 0) before.keep(mine, first, begin, made);
        first = begin;
        own.args[0][2] = own.args[1][0] = before.counted_from(mine, first);
        if (!run(0, image * rows_in + std::max(begin, made), image * rows_in + end, worker)) return;
        made = end;
      }
      own.sizes[static_cast<size_t>(first_word)] = from;
      own.sizes[static_cast<size_t>(end_word)] = to;
      if (window + 1 < count) {
        char* rows_made = behind.counted_from(mine, from);
        own.args[window][2] = rows_made - image * behind.channels * behind.plane;
        own.args[window + 1][1] = rows_made;
      }
      if (!run(window, image * groups, (image + 1) * groups, worker)) return;
      if (window + 1 < count && !run(window + 1, image * rows + from, image * rows + to, worker)) return;
    }
  }
};

}  // namespace

Outcome Run::run_chain(const Step* steps, InterruptPoll* poll) {
  const ChainSpec& spec = p_.chains[static_cast<size_t>(steps->chain)];
  const auto word = [&](int index) { return regs_[spec.regs[index]]; };
  Chain chain;
  chain.count = spec.count;
  chain.window = spec.window;
  chain.first_word = spec.first_word;
  chain.end_word = spec.end_word;
  chain.rows_in = word(1);
  chain.rows = word(2);
  chain.band = std::max<int64_t>(1, word(3));
  chain.bands = (chain.rows + chain.band - 1) / chain.band;
  chain.stride = word(4);
  chain.low = word(5);
  chain.span = word(6);
  chain.groups = word(7);
  chain.before = {word(8), word(9), word(10)};
  chain.behind = {word(11), word(12), word(13)};
  chain.timed = profiling_;
  const int64_t bands = word(0) * chain.bands;
  if (bands <= 0) return Outcome::Fine;
  int64_t cost = 0, bytes = 0;
  for (int i = 0; i < spec.count; ++i) {
    const Step& step = steps[i];
    Member& member = chain.members[i];
    member.function = step.function;
    const int32_t* index = p_.indices.data() + step.args;
    for (int32_t k = 0; k < step.n_args; ++k) member.args.push_back(slots_[index[k]]);
    if (step.keep >= 0)
      member.args[static_cast<size_t>(p_.keeps[static_cast<size_t>(step.keep)].argument)] = kept(step.keep);
    index = p_.indices.data() + step.sizes;
    for (int32_t k = 0; k < step.n_sizes; ++k) member.sizes.push_back(regs_[index[k]]);
    member.scratch_at = bytes;
    bytes += whole_lines(std::max<int64_t>(0, reg_or(step.scratch_reg, 0)));
    cost = wrap_add(cost, std::max<int64_t>(0, reg_or(step.cost_reg, 0)));
  }
  for (Rows* rows : {&chain.before, &chain.behind}) {
    rows->at = bytes;
    if (rows->channels) bytes += whole_lines(rows->channels * rows->plane + kSlack);
  }
  const int workers = plan_workers(bands, cost);
  const BufferRef memory(allocate(static_cast<size_t>(bytes) * static_cast<size_t>(workers)));
  chain.scratch = static_cast<char*>(memory.get()->data);
  chain.scratch_bytes = bytes;
  const int64_t never = reinterpret_cast<int64_t>(SignalFlag::never());
  chain.statuses.assign(static_cast<size_t>(workers), {{0, 0, 0, never, 0}, 0});
  chain.owns.resize(static_cast<size_t>(workers));
  for (Chain::Own& own : chain.owns) {
    for (int i = 0; i < spec.count; ++i) own.args[i] = chain.members[i].args;
    own.sizes = chain.members[spec.window].sizes;
  }
  // Each call makes some rows anew that the one before it had.
  parallel_for(workers, bands, poll && cost > kPollBytes ? Split::Probed : Split::Balanced, &Chain::call, &chain, poll,
               &chain.failed);
  for (int i = 0; i < spec.count && profiling_; ++i) {
    StepTimer& timer = p_.timers[steps[i].id];
    timer.calls.fetch_add(1, std::memory_order_relaxed);
    for (const Chain::Own& own : chain.owns)
      timer.nanoseconds.fetch_add(own.nanoseconds[i] / workers, std::memory_order_relaxed);
  }
  for (const Chain::Status& status : chain.statuses)
    if (status.values[0]) return failed(steps[status.member], status.values);
  return poll && poll->stopped() ? Outcome::Interrupted : Outcome::Fine;
}

}  // namespace dg
