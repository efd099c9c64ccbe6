// Random generators: a 64-bit key and a 64-bit counter. Kernels turn (key, counter + i) into numbers, so the state
// advances by the count of numbers drawn, whoever computes them. There is a default one; a thread may have another take
// its place for a while.
#pragma once

#include <cstdint>

namespace dg {

struct RngState {
  uint64_t key;
  uint64_t counter;
};

void rng_seed(uint64_t key);  // counter back to 0
RngState rng_state();
void rng_set_state(RngState state);
// The state to draw `count` numbers with; it advances by the count of numbers, however many are made at a time.
RngState rng_reserve(int64_t count);
// What this thread draws from until the next call: a state that stays where it is, or null for the default one. Gives
// what it was before.
RngState* rng_use(RngState* other);

}  // namespace dg
