#include "memory.h"

#include <pthread.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "device.h"
#include "memory_limits.h"
#include "pieces.h"
#include "size_classes.h"

namespace dg {

namespace {

constexpr size_t kFreeCredit = size_t{16} << 20;  // what may be taken without asking how much is left
constexpr size_t kMaxScratch = size_t{8} << 20;   // what a thread may keep as scratch
constexpr int64_t kFlushBytes = 1 << 20;          // how far a thread's count may run ahead of the common one

// Small blocks carry their Buffer in the cache line before the data.
constexpr size_t kHeader = 64;
static_assert(sizeof(Buffer) <= kHeader);

struct FreeList {
  Buffer* head = nullptr;
  uint32_t count = 0;

  void push(Buffer* buffer) {
    buffer->owner = head;
    head = buffer;
    ++count;
  }
  Buffer* pop() {
    Buffer* buffer = head;
    head = static_cast<Buffer*>(buffer->owner);
    --count;
    return buffer;
  }
};

// How many free blocks of a class a thread keeps to itself: about a megabyte of them.
constexpr uint32_t thread_limit(int size_class) {
  return static_cast<uint32_t>(std::clamp<size_t>(kLargeBytes / capacity_of(size_class), 4, 512));
}

// A counter one thread writes and others read: no locked instruction.
class Counter {
 public:
  void add(int64_t n) { value_.store(get() + n, std::memory_order_relaxed); }
  void set(int64_t n) { value_.store(n, std::memory_order_relaxed); }
  int64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

struct ThreadCache {
  FreeList lists[kFirstLarge];
  Counter allocated, live, allocations, hits;  // what this thread adds to the common counts
  Buffer* scratch = nullptr;                   // kept for Scratch, not counted while it is
  bool scratch_busy = false;
  ThreadCache *next = nullptr, *previous = nullptr;
};

struct Pool {
  std::mutex mutex;
  FreeList small[kFirstLarge];
  FreePieces large;
  size_t cached = 0;  // bytes in `small` and `large`
  size_t limit = 0;
  size_t credit = kFreeCredit;  // bytes that may be taken from the system before asking again how much is left
  ThreadCache* threads = nullptr;
  int64_t gone_allocations = 0, gone_hits = 0;  // of threads that ended
  std::atomic<int64_t> allocated{0}, live{0}, peak{0}, reserved{0}, adopted{0};
};

// Never destroyed: buffers may outlive every other static object.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

// One pointer, so that it fits the static TLS block and costs one instruction to read.
__attribute__((tls_model("initial-exec"))) thread_local ThreadCache* this_thread = nullptr;

// What the system can still give, less what this pool was given and has not touched yet.
size_t system_available() {
  const SystemMemory system = system_memory();
  const auto reserved = static_cast<size_t>(pool().reserved.load());
  const size_t untouched = reserved > system.touched ? reserved - system.touched : 0;
  return system.available - std::min(system.available, untouched);
}

void free_small(Buffer* buffer);
void free_large(Buffer* buffer);

// A block of `capacity` bytes that was not in use before; large ones are pieces. Null if the system has none.
Buffer* map_block(int size_class, size_t capacity) {
  Buffer* buffer = nullptr;
  if (size_class < kFirstLarge) {
    char* block = static_cast<char*>(std::aligned_alloc(kAlignment, kHeader + capacity));
    if (!block) return nullptr;
    buffer = new (block) Buffer{};
    buffer->data = block + kHeader;
    buffer->free = free_small;
  } else {
    buffer = map_piece(capacity);
    if (!buffer) return nullptr;
    buffer->free = free_large;
  }
  buffer->device = kCpu;
  buffer->size_class = static_cast<uint8_t>(size_class);
  pool().reserved.fetch_add(static_cast<int64_t>(capacity), std::memory_order_relaxed);
  return buffer;
}

void unmap_small(Buffer* buffer) {
  pool().reserved.fetch_sub(static_cast<int64_t>(capacity_of(buffer->size_class)), std::memory_order_relaxed);
  buffer->~Buffer();
  std::free(buffer);
}

void unmap_large(Piece* piece) {
  pool().reserved.fetch_sub(static_cast<int64_t>(piece->capacity), std::memory_order_relaxed);
  unmap_piece(piece);
}

// Adds to the common counts once a thread's own grew far enough; keeps the peak.
void flush_counts(ThreadCache& cache) {
  Pool& p = pool();
  const int64_t now = p.allocated.fetch_add(cache.allocated.get(), std::memory_order_relaxed) + cache.allocated.get();
  cache.allocated.set(0);
  p.live.fetch_add(cache.live.get(), std::memory_order_relaxed);
  cache.live.set(0);
  int64_t peak = p.peak.load(std::memory_order_relaxed);
  while (now > peak && !p.peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

// Hands cached blocks of one class to the common pool, or back to the system beyond the limit. Lock held.
void give_back(Pool& p, FreeList& list, int size_class, uint32_t keep) {
  const size_t capacity = capacity_of(size_class);
  while (list.count > keep) {
    Buffer* buffer = list.pop();
    if (p.cached + capacity > p.limit) {
      unmap_small(buffer);
    } else {
      p.small[size_class].push(buffer);
      p.cached += capacity;
    }
  }
}

void drop_scratch(ThreadCache& cache);

void end_thread(void* argument) {
  auto* cache = static_cast<ThreadCache*>(argument);
  Pool& p = pool();
  drop_scratch(*cache);
  {
    std::lock_guard lock(p.mutex);
    flush_counts(*cache);  // under the lock, as whoever sums up the counts must not see a share twice
    for (int c = 0; c < kFirstLarge; ++c) give_back(p, cache->lists[c], c, 0);
    (cache->previous ? cache->previous->next : p.threads) = cache->next;
    if (cache->next) cache->next->previous = cache->previous;
    p.gone_allocations += cache->allocations.get();
    p.gone_hits += cache->hits.get();
  }
  delete cache;
  this_thread = nullptr;
}

void prepare_pool() {
  Pool& p = pool();
  p.large.prepare();
  p.limit = parse_bytes(std::getenv("DUOGRAPH_MEMORY_CACHE"), system_memory().total / 4);
  pthread_atfork([] { pool().mutex.lock(); }, [] { pool().mutex.unlock(); }, [] { pool().mutex.unlock(); });
}

// The cache of this thread; a temporary one of its own for a thread that is ending.
ThreadCache& make_thread_cache() {
  static std::once_flag once;
  std::call_once(once, prepare_pool);
  static pthread_key_t key = [] {
    pthread_key_t made;
    if (pthread_key_create(&made, end_thread)) std::abort();
    return made;
  }();
  auto* cache = new ThreadCache;
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  cache->next = p.threads;
  if (p.threads) p.threads->previous = cache;
  p.threads = cache;
  // A thread that is ending gets one cache more, which stays: pthread runs a key's destructor again for a new value.
  pthread_setspecific(key, cache);
  this_thread = cache;
  return *cache;
}

inline ThreadCache& thread_cache() {
  ThreadCache* cache = this_thread;
  return cache ? *cache : make_thread_cache();
}

inline void count_allocation(ThreadCache& cache, size_t bytes, bool hit) {
  Pool& p = pool();
  cache.allocations.add(1);
  cache.hits.add(hit);
  cache.live.add(1);
  const int64_t ahead = cache.allocated.get() + static_cast<int64_t>(bytes);
  cache.allocated.set(ahead);
  const int64_t now = p.allocated.load(std::memory_order_relaxed) + ahead;
  if (now > p.peak.load(std::memory_order_relaxed)) p.peak.store(now, std::memory_order_relaxed);
  if (ahead > kFlushBytes) flush_counts(cache);
}

inline void count_release(ThreadCache& cache, size_t bytes) {
  cache.live.add(-1);
  const int64_t ahead = cache.allocated.get() - static_cast<int64_t>(bytes);
  cache.allocated.set(ahead);
  if (ahead < -kFlushBytes) flush_counts(cache);
}

void free_small(Buffer* buffer) {
  if (buffer->kept) [[unlikely]]
    drop_kept(buffer);
  ThreadCache& cache = thread_cache();
  count_release(cache, buffer->bytes);
  const int size_class = buffer->size_class;
  FreeList& list = cache.lists[size_class];
  list.push(buffer);
  if (list.count > thread_limit(size_class)) [[unlikely]] {
    Pool& p = pool();
    std::lock_guard lock(p.mutex);
    give_back(p, list, size_class, thread_limit(size_class) / 2);
  }
}

// Lock held.
void drop_oldest(Pool& p) {
  const size_t capacity = p.large.drop_oldest();
  p.cached -= capacity;
  p.reserved.fetch_sub(static_cast<int64_t>(capacity), std::memory_order_relaxed);
}

void free_large(Buffer* buffer) {
  if (buffer->kept) [[unlikely]]
    drop_kept(buffer);
  count_release(thread_cache(), buffer->bytes);
  Pool& p = pool();
  auto* piece = static_cast<Piece*>(buffer);
  std::lock_guard lock(p.mutex);
  if (piece->capacity > p.limit) return unmap_large(piece);
  while (p.cached + piece->capacity > p.limit && !p.large.empty()) drop_oldest(p);
  if (p.cached + piece->capacity > p.limit) return unmap_large(piece);
  p.cached += piece->capacity;
  p.large.put(piece);
}

void release_cached(Pool& p) {
  while (!p.large.empty()) drop_oldest(p);
  for (FreeList& list : p.small)
    while (list.head) unmap_small(list.pop());
  p.cached = 0;
}

// Refuses what the machine or its control group cannot give, before a page is touched. Lock held.
void check_available(Pool& p, size_t capacity, size_t bytes) {
  if (capacity <= p.credit) {
    p.credit -= capacity;
    return;
  }
  size_t available = system_available();
  if (capacity > available && p.cached) {
    release_cached(p);
    available = system_available();
  }
  if (bytes > available) throw OutOfMemory(bytes, available);
  // Half of the rest may go before the files are read again; a little always, so that small blocks need not ask.
  p.credit = std::max(kLargeBytes, (available - std::min(capacity, available)) / 2);
}

Buffer* take_from_system(Pool& p, int size_class, size_t bytes) {
  const size_t capacity = size_class < kFirstLarge ? capacity_of(size_class) : piece_capacity(bytes);
  check_available(p, capacity, bytes);
  Buffer* buffer = map_block(size_class, capacity);
  if (!buffer) {
    release_cached(p);
    buffer = map_block(size_class, capacity);
  }
  if (!buffer) throw OutOfMemory(bytes, system_available());
  return buffer;
}

inline Buffer* hand_out(Buffer* buffer, size_t bytes) {
  buffer->refs.store(1, std::memory_order_relaxed);
  buffer->version.store(0, std::memory_order_relaxed);
  buffer->bytes = bytes;
  buffer->owner = nullptr;
  buffer->parameter = false;
  return buffer;
}

// A thread cache miss, or a large block.
Buffer* allocate_slow(ThreadCache& cache, int size_class, size_t bytes) {
  Pool& p = pool();
  bool hit = true;
  Buffer* buffer = nullptr;
  {
    std::lock_guard lock(p.mutex);
    if (size_class >= kFirstLarge) {
      if (Piece* piece = p.large.take(bytes)) {
        p.cached -= piece->capacity;
        buffer = piece;
      }
    } else if (p.small[size_class].head) {
      // Take several at once, so that a thread which frees elsewhere does not lock each time.
      const uint32_t wanted = std::max<uint32_t>(1, std::min<uint32_t>(16, thread_limit(size_class) / 2));
      FreeList& shared = p.small[size_class];
      buffer = shared.pop();
      p.cached -= capacity_of(size_class);
      for (uint32_t i = 1; i < wanted && shared.head; ++i) {
        cache.lists[size_class].push(shared.pop());
        p.cached -= capacity_of(size_class);
      }
    }
    if (!buffer) {
      hit = false;
      buffer = take_from_system(p, size_class, bytes);
    }
  }
  count_allocation(cache, bytes, hit);
  return hand_out(buffer, bytes);
}

// A kept scratch block leaves the counts of live memory and comes back to them when it is released.
void count_kept(ThreadCache& cache, const Buffer* buffer, int64_t sign) {
  cache.live.add(sign);
  cache.allocated.add(sign * static_cast<int64_t>(buffer->bytes));
}

void drop_scratch(ThreadCache& cache) {
  if (!cache.scratch || cache.scratch_busy) return;
  count_kept(cache, cache.scratch, 1);
  release(cache.scratch);
  cache.scratch = nullptr;
}

}  // namespace

Buffer* allocate(size_t bytes, uint8_t device) {
  if (device != kCpu) [[unlikely]]
    return device_row(device).allocate(bytes, device);
  if (bytes > kMaxRequest) [[unlikely]]
    throw OutOfMemory(bytes, available_memory());
  ThreadCache& cache = thread_cache();
  const int size_class = class_of(bytes);
  if (size_class < kFirstLarge) {
    FreeList& list = cache.lists[size_class];
    if (list.head) [[likely]] {
      Buffer* buffer = list.pop();
      count_allocation(cache, bytes, true);
      return hand_out(buffer, bytes);
    }
  }
  return allocate_slow(cache, size_class, bytes);
}

void Scratch::take(size_t bytes) {
  ThreadCache& cache = thread_cache();
  if (bytes > kMaxScratch || cache.scratch_busy) {
    buffer_ = allocate(bytes);
    return;
  }
  if (!cache.scratch || cache.scratch->bytes < bytes) {
    drop_scratch(cache);
    cache.scratch = allocate(bytes);
    count_kept(cache, cache.scratch, -1);
  }
  cache.scratch_busy = true;
  buffer_ = cache.scratch;
}

void Scratch::give_back() {
  ThreadCache& cache = thread_cache();
  if (buffer_ == cache.scratch)
    cache.scratch_busy = false;
  else
    release(buffer_);
}

Buffer* adopt(void* data, size_t bytes, void* owner, void (*free)(Buffer*)) {
  auto* buffer = new Buffer{};
  buffer->refs.store(1, std::memory_order_relaxed);
  buffer->data = data;
  buffer->bytes = bytes;
  buffer->owner = owner;
  buffer->opened.store(1, std::memory_order_relaxed);  // for good
  buffer->free = free;
  pool().adopted.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  return buffer;
}

void drop_adopted(Buffer* buffer) {
  pool().adopted.fetch_sub(static_cast<int64_t>(buffer->bytes), std::memory_order_relaxed);
  delete buffer;
}

MemoryStats memory_stats() {
  thread_cache();
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  MemoryStats stats{};
  stats.allocated = p.allocated.load();
  stats.live_buffers = p.live.load();
  stats.allocations = p.gone_allocations;
  stats.pool_hits = p.gone_hits;
  for (const ThreadCache* cache = p.threads; cache; cache = cache->next) {
    stats.allocated += cache->allocated.get();
    stats.live_buffers += cache->live.get();
    stats.allocations += cache->allocations.get();
    stats.pool_hits += cache->hits.get();
  }
  stats.reserved = p.reserved.load();
  stats.peak = std::max(p.peak.load(), stats.allocated);
  stats.cache_limit = static_cast<int64_t>(p.limit);
  stats.adopted_bytes = p.adopted.load();
  return stats;
}

void reset_peak() {
  const int64_t now = memory_stats().allocated;
  pool().peak.store(now, std::memory_order_relaxed);
}

void empty_cache() {
  ThreadCache& cache = thread_cache();
  Pool& p = pool();
  drop_scratch(cache);
  std::lock_guard lock(p.mutex);
  for (int c = 0; c < kFirstLarge; ++c) give_back(p, cache.lists[c], c, 0);
  release_cached(p);
  p.credit = kFreeCredit;
}

size_t available_memory() {
  thread_cache();
  Pool& p = pool();
  std::lock_guard lock(p.mutex);
  const size_t available = system_available();
  return available > SIZE_MAX - p.cached ? SIZE_MAX : available + p.cached;
}

}  // namespace dg
