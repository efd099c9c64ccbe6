#include "rng.h"

#include <pthread.h>

#include <mutex>
#include <utility>

namespace dg {

namespace {

std::mutex mutex;
RngState state{0, 0};
thread_local RngState* borrowed = nullptr;

// A fork while another thread draws would leave the child's lock held for ever.
const int fork_handlers = pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); });

}  // namespace

void rng_seed(uint64_t key) { rng_set_state({key, 0}); }

RngState rng_state() {
  if (borrowed) return *borrowed;
  std::lock_guard lock(mutex);
  return state;
}

void rng_set_state(RngState next) {
  if (borrowed) {
    *borrowed = next;
    return;
  }
  std::lock_guard lock(mutex);
  state = next;
}

static RngState reserved_of(RngState* from, int64_t count) {
  const RngState reserved = *from;
  if (count > 0) from->counter += static_cast<uint64_t>(count);
  return reserved;
}

RngState rng_reserve(int64_t count) {
  if (borrowed) return reserved_of(borrowed, count);
  std::lock_guard lock(mutex);
  return reserved_of(&state, count);
}

RngState* rng_use(RngState* other) { return std::exchange(borrowed, other); }

}  // namespace dg
