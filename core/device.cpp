#include "device.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include "memory.h"

namespace dg {

namespace {

void copy_bytes(void* target, const void* source, size_t bytes) {
  if (bytes) std::memmove(target, source, bytes);
}

Buffer* allocate_on_cpu(size_t bytes, uint8_t) { return allocate(bytes, kCpu); }

// A fenced address is the real one with its top bit flipped: no such address is ever mapped, so a host access faults.
template <typename Pointer>
Pointer flip_fence(Pointer pointer) {
  return reinterpret_cast<Pointer>(reinterpret_cast<uintptr_t>(pointer) ^ (uintptr_t{1} << 63));
}

Buffer* allocate_fenced(size_t bytes, uint8_t device) {
  BufferRef host(allocate(bytes, kCpu));
  void* data = flip_fence(host.get()->data);
  Buffer* fenced = adopt(data, bytes, host.get(), [](Buffer* buffer) {
    release(static_cast<Buffer*>(buffer->owner));
    drop_adopted(buffer);
  });
  host.detach();
  fenced->device = device;
  return fenced;
}

std::mutex mutex;
int count = 1;
Device rows[kMaxDevices] = {{"cpu", allocate_on_cpu, copy_bytes, copy_bytes, copy_bytes, true}};

}  // namespace

int device_count() {
  std::lock_guard lock(mutex);
  return count;
}

const Device& device_row(uint8_t device) { return rows[device < kMaxDevices ? device : 0]; }

int find_device(const char* name) {
  std::lock_guard lock(mutex);
  for (int i = 0; i < count; ++i)
    if (!std::strcmp(rows[i].name, name)) return i;
  return -1;
}

uint8_t register_device(const Device& row) {
  if (find_device(row.name) >= 0) throw std::runtime_error(std::string("device '") + row.name + "' already exists");
  std::lock_guard lock(mutex);
  if (count == kMaxDevices) throw std::runtime_error("the device table is full");
  rows[count] = row;
  return static_cast<uint8_t>(count++);
}

uint8_t register_fenced_device(const char* name) {
  const auto to_host = [](void* host, const void* device, size_t bytes) {
    copy_bytes(host, flip_fence(device), bytes);
  };
  const auto from_host = [](void* device, const void* host, size_t bytes) {
    copy_bytes(flip_fence(device), host, bytes);
  };
  const auto within = [](void* target, const void* source, size_t bytes) {
    copy_bytes(flip_fence(target), flip_fence(source), bytes);
  };
  std::unique_ptr<char, decltype(&std::free)> kept(strdup(name), &std::free);  // rows live as long as the process
  const uint8_t device = register_device({kept.get(), allocate_fenced, to_host, from_host, within, false});
  kept.release();
  return device;
}

void copy_between(uint8_t target_device, void* target, uint8_t source_device, const void* source, size_t bytes) {
  if (!bytes) return;
  const Device &to = device_row(target_device), &from = device_row(source_device);
  if (target_device == source_device) return to.copy_within(target, source, bytes);
  if (from.host_addressable) return to.copy_from_host(target, source, bytes);
  if (to.host_addressable) return from.copy_to_host(target, source, bytes);
  BufferRef host(allocate(bytes, kCpu));
  from.copy_to_host(host.get()->data, source, bytes);
  to.copy_from_host(target, host.get()->data, bytes);
}

}  // namespace dg
