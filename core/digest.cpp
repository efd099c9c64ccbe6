#include "digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

namespace dg {

namespace {

constexpr size_t kBlock = 128, kResult = 20;

constexpr uint64_t kInitial[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
                                  0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

constexpr uint8_t kOrder[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

void mix(uint64_t* v, int a, int b, int c, int d, uint64_t x, uint64_t y) {
  v[a] += v[b] + x;
  v[d] = std::rotr(v[d] ^ v[a], 32);
  v[c] += v[d];
  v[b] = std::rotr(v[b] ^ v[c], 24);
  v[a] += v[b] + y;
  v[d] = std::rotr(v[d] ^ v[a], 16);
  v[c] += v[d];
  v[b] = std::rotr(v[b] ^ v[c], 63);
}

std::string stamp_of_file(int folder, const char* name) {
  struct stat status;
  if (fstatat(folder, name, &status, 0)) return {};  // gone meanwhile
  const auto nanoseconds = static_cast<int64_t>(status.st_mtim.tv_sec) * 1'000'000'000 + status.st_mtim.tv_nsec;
  return std::string(name) + ':' + std::to_string(status.st_size) + ':' + std::to_string(nanoseconds);
}

}  // namespace

Digest::Digest() {
  std::copy(std::begin(kInitial), std::end(kInitial), state_);
  state_[0] ^= 0x01010000 ^ kResult;
}

void Digest::add(const void* data, size_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  while (bytes) {
    if (filled_ == kBlock) compress(false);
    const size_t part = std::min(bytes, kBlock - filled_);
    std::memcpy(block_ + filled_, from, part);
    filled_ += part;
    from += part;
    bytes -= part;
  }
}

std::string Digest::hex() {
  std::memset(block_ + filled_, 0, kBlock - filled_);
  compress(true);
  std::string text;
  for (size_t i = 0; i < kResult; ++i) {
    const auto byte = static_cast<uint8_t>(state_[i / 8] >> (8 * (i % 8)));
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

void Digest::compress(bool last) {
  uint64_t words[16], v[16];
  std::memcpy(words, block_, kBlock);
  total_ += filled_;
  filled_ = 0;
  std::copy(std::begin(state_), std::end(state_), v);
  std::copy(std::begin(kInitial), std::end(kInitial), v + 8);
  v[12] ^= total_;
  if (last) v[14] = ~v[14];
  for (int round = 0; round < 12; ++round) {
    const uint8_t* s = kOrder[round % 10];
    for (int i = 0; i < 4; ++i) mix(v, i, 4 + i, 8 + i, 12 + i, words[s[2 * i]], words[s[2 * i + 1]]);
    for (int i = 0; i < 4; ++i)
      mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, words[s[8 + 2 * i]], words[s[9 + 2 * i]]);
  }
  for (int i = 0; i < 8; ++i) state_[i] ^= v[i] ^ v[i + 8];
}

std::string stamp_of_files(const std::vector<std::string>& folders, const std::string& ending) {
  std::vector<std::string> found;
  for (const std::string& path : folders) {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), closedir);
    if (!folder) throw std::system_error(errno, std::generic_category(), path);
    std::vector<std::string> names;
    while (const dirent* entry = readdir(folder.get()))
      if (std::string_view(entry->d_name).ends_with(ending)) names.emplace_back(entry->d_name);
    std::sort(names.begin(), names.end());
    found.push_back(path);
    for (const std::string& name : names) found.push_back(stamp_of_file(dirfd(folder.get()), name.c_str()));
  }
  std::string text;
  for (const std::string& line : found) text += line + '\n';
  return text;
}

}  // namespace dg
