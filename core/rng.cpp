#include "rng.h"

#include <pthread.h>

#include <mutex>

namespace dg {

namespace {

std::mutex mutex;
RngState state{0, 0};

// A fork while another thread draws would leave the child's lock held for ever.
const int fork_handlers = pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); });

}  // namespace

void rng_seed(uint64_t key) { rng_set_state({key, 0}); }

RngState rng_state() {
  std::lock_guard lock(mutex);
  return state;
}

void rng_set_state(RngState next) {
  std::lock_guard lock(mutex);
  state = next;
}

RngState rng_reserve(int64_t count) {
  std::lock_guard lock(mutex);
  const RngState reserved = state;
  if (count > 0) state.counter += static_cast<uint64_t>(count);
  return reserved;
}

}  // namespace dg
