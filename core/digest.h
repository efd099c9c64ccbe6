// What names and checks files of the object cache: a hash of bytes, and a stamp of source files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace dg {

// BLAKE2b (RFC 7693) with 20 bytes of result, fed in parts.
class Digest {
 public:
  Digest();
  void add(const void* data, size_t bytes);
  std::string hex();  // of all that was added; nothing may be added afterwards

 private:
  void compress(bool last);

  uint64_t state_[8];
  uint8_t block_[128];
  size_t filled_ = 0;
  uint64_t total_ = 0;
};

// Name, size and time of change of each file in the folders whose name ends so, as text in the order of names.
// Throws std::system_error where a folder cannot be read.
std::string stamp_of_files(const std::vector<std::string>& folders, const std::string& ending);

}  // namespace dg
