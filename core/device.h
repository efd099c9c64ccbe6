// Devices are rows of a table of functions; everything that allocates or copies goes through a row.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dg {

struct Buffer;

struct Device {
  const char* name;
  Buffer* (*allocate)(size_t bytes, uint8_t device);
  // Moves bytes between this device and host memory; `copy_within` stays on the device.
  void (*copy_to_host)(void* host, const void* device, size_t bytes);
  void (*copy_from_host)(void* device, const void* host, size_t bytes);
  void (*copy_within)(void* target, const void* source, size_t bytes);
  bool host_addressable;  // kernels compiled for the host may touch its data
};

constexpr uint8_t kCpu = 0;
constexpr int kMaxDevices = 16;

int device_count();
const Device& device_row(uint8_t device);
int find_device(const char* name);  // -1 if there is none
// Adds a row and returns its number; throws std::runtime_error when the table is full or the name is taken.
uint8_t register_device(const Device& row);
// Registers a device in host memory whose addresses fault when host code touches them without a copy: for tests.
uint8_t register_fenced_device(const char* name);

void copy_between(uint8_t target_device, void* target, uint8_t source_device, const void* source, size_t bytes);

}  // namespace dg
