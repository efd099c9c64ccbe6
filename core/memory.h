// Buffers and the pool they come from: 64-byte aligned, size classes, bounded, counted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "memory_limits.h"

namespace dg {

constexpr size_t kAlignment = 64;

struct Kept;  // see kept.h

struct Buffer {
  std::atomic<int32_t> refs;
  uint8_t device;
  uint8_t size_class;             // of the pool; meaningless for adopted memory
  bool parameter;                 // some Parameter's
  std::atomic<uint32_t> version;  // counts in-place writes
  std::atomic<int32_t> opened;    // how often code that is not ours was given the address, see kept.h
  void* data;
  size_t bytes;           // as asked for
  void (*free)(Buffer*);  // called once, when the last reference goes
  void* owner;            // what an adopted buffer keeps alive; the free-list link of a pooled one
  Kept* kept;             // what was made of the contents
};

// A new buffer with one reference, its contents undefined. Throws OutOfMemory.
Buffer* allocate(size_t bytes, uint8_t device = 0);
// Wraps foreign memory (NumPy, DLPack). `free` must destroy `owner` and end with `drop_adopted(buffer)`.
Buffer* adopt(void* data, size_t bytes, void* owner, void (*free)(Buffer*));
void drop_adopted(Buffer* buffer);
void drop_kept(Buffer* buffer);

inline void retain(Buffer* buffer) { buffer->refs.fetch_add(1, std::memory_order_relaxed); }

inline void release(Buffer* buffer) {
  // A sole owner needs no locked instruction: nobody else can raise the count.
  if (buffer->refs.load(std::memory_order_acquire) == 1 || buffer->refs.fetch_sub(1, std::memory_order_acq_rel) == 1)
    buffer->free(buffer);
}

// An owning pointer, for code that may throw.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer* owned) : buffer_(owned) {}
  BufferRef(BufferRef&& other) noexcept : buffer_(other.detach()) {}
  BufferRef& operator=(BufferRef&& other) noexcept {
    if (this != &other) reset(other.detach());
    return *this;
  }
  ~BufferRef() { reset(nullptr); }
  void reset(Buffer* owned) {
    if (buffer_) release(buffer_);
    buffer_ = owned;
  }
  Buffer* detach() {
    Buffer* buffer = buffer_;
    buffer_ = nullptr;
    return buffer;
  }
  Buffer* get() const { return buffer_; }

 private:
  Buffer* buffer_ = nullptr;
};

// Working memory for the length of a scope. Up to some megabytes come from a block that the thread keeps, which is not
// counted as live and costs next to nothing; empty_cache gives it back.
class Scratch {
 public:
  explicit Scratch(size_t bytes) {
    if (bytes) take(bytes);
  }
  ~Scratch() {
    if (buffer_) give_back();
  }
  Scratch(const Scratch&) = delete;
  void* data() const { return buffer_ ? buffer_->data : nullptr; }

 private:
  void take(size_t bytes);
  void give_back();
  Buffer* buffer_ = nullptr;
};

struct MemoryStats {
  int64_t allocated;      // bytes in live pooled buffers, as asked for
  int64_t reserved;       // bytes the pool holds from the system, live and cached
  int64_t peak;           // highest `allocated` since the start or reset_peak
  int64_t live_buffers;   // pooled buffers alive
  int64_t allocations;    // allocate() calls so far
  int64_t pool_hits;      // of those, served without asking the system
  int64_t cache_limit;    // the most bytes the pool keeps cached
  int64_t adopted_bytes;  // foreign memory wrapped at present
};

MemoryStats memory_stats();
void reset_peak();
void empty_cache();         // gives every cached block back to the system
size_t available_memory();  // what a request may still take: machine and control group, cached blocks included

}  // namespace dg
