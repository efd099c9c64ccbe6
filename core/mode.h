// What each thread is doing: recording gradients or not, tracing or not.
#pragma once

#include <cstdint>

#include "dtype.h"

namespace dg {

// In which dtype the operators compute that have a say in it (autocast.h).
struct Autocast {
  bool enabled = false;
  bool keeps_casts = true;        // of parameters, until the outermost context ends
  DType dtype = DType::BFloat16;  // the lower one
  int depth = 0;                  // of contexts
};

struct Mode {
  bool grad = true;         // operators record onto the tape
  int tracing = 0;          // above zero: every operator goes to the tracer
  bool localizing = false;  // a branch or loop body is captured: operands from outside are replaced
  bool inference = false;   // nothing records, and the tensors made can never take part in recording
  bool following = false;   // in-place operators tell Python when they are recorded
  Autocast autocast;
  uint64_t place = 0, places_end = 0;  // of what is recorded now on the tape; equal: at its end
  bool records() const { return grad && !inference; }
};

extern constinit thread_local Mode mode;

// Sets the gradient mode for a scope.
class GradMode {
 public:
  explicit GradMode(bool enabled) : previous_(mode.grad) { mode.grad = enabled; }
  ~GradMode() { mode.grad = previous_; }
  GradMode(const GradMode&) = delete;

 private:
  bool previous_;
};

// Operators called in this scope compute in the dtypes they are given: rules and bodies, which say what they mean.
class WithoutAutocast {
 public:
  WithoutAutocast() : enabled_(mode.autocast.enabled) { mode.autocast.enabled = false; }
  ~WithoutAutocast() { mode.autocast.enabled = enabled_; }
  WithoutAutocast(const WithoutAutocast&) = delete;

 private:
  bool enabled_;
};

}  // namespace dg
