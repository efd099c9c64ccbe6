#include "kept.h"

#include <pthread.h>

#include <mutex>
#include <utility>

namespace dg {

namespace {

constexpr size_t kLeastBytes = 64 << 10;
constexpr int kRunsBefore = 2;  // that found the memory as it is: one may be a training step's

struct Part {
  KeptKey key;
  int runs = 0;
  Buffer* made = nullptr;
};

// Held for look-ups only: what is dropped is released after it.
std::mutex mutex;
const int fork_handlers = pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, [] { mutex.unlock(); });

}  // namespace

struct Kept {
  uint32_t version = 0;
  std::vector<Part> parts;

  ~Kept() {
    for (const Part& part : parts)
      if (part.made) release(part.made);
  }
};

namespace {

Part* find_part(Buffer* buffer, const KeptKey& key, Kept* dropped) {
  if (!buffer->kept) buffer->kept = new Kept;
  Kept& kept = *buffer->kept;
  const uint32_t version = buffer->version.load(std::memory_order_relaxed);
  if (kept.version != version) kept.parts.swap(dropped->parts);
  kept.version = version;
  for (Part& part : kept.parts)
    if (part.key == key) return &part;
  return nullptr;
}

}  // namespace

bool may_keep(const Buffer* buffer) {
  return buffer->parameter && buffer->bytes >= kLeastBytes && buffer->opened.load(std::memory_order_relaxed) == 0;
}

Buffer* find_kept(Buffer* buffer, const KeptKey& key, bool* worth) {
  Kept dropped;
  std::lock_guard lock(mutex);
  Part* part = find_part(buffer, key, &dropped);
  if (!part) part = &buffer->kept->parts.emplace_back(Part{key});
  if (part->made) retain(part->made);
  *worth = !part->made && part->runs++ >= kRunsBefore;
  return part->made;
}

void keep(Buffer* buffer, const KeptKey& key, Buffer* made) {
  Kept dropped;
  std::lock_guard lock(mutex);
  Part* part = find_part(buffer, key, &dropped);
  if (!part || part->made || !may_keep(buffer)) return;
  retain(made);
  part->made = made;
}

void drop_kept(Buffer* buffer) {
  Kept* dropped = nullptr;
  {
    std::lock_guard lock(mutex);
    std::swap(dropped, buffer->kept);
  }
  delete dropped;
}

void open_buffer(Buffer* buffer) {
  buffer->opened.fetch_add(1, std::memory_order_relaxed);
  if (buffer->kept) drop_kept(buffer);
}

void close_buffer(Buffer* buffer) { buffer->opened.fetch_sub(1, std::memory_order_relaxed); }

}  // namespace dg
