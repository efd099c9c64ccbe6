#include "memory_limits.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace dg {

namespace {

// The number after `key` in a file of "key number" lines; SIZE_MAX if there is none.
size_t field(const char* path, const char* key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.rfind(key, 0) == 0) return std::strtoull(line.c_str() + std::strlen(key), nullptr, 10);
  return SIZE_MAX;
}

size_t first_number(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  if (!(file >> word) || word.empty() || word[0] < '0' || word[0] > '9') return SIZE_MAX;  // "max"
  return std::strtoull(word.c_str(), nullptr, 10);
}

// What is left of one control group and its parents, page cache counted as free.
size_t group_available(const std::string& mount, std::string path, const char* limit, const char* usage,
                       const char* reclaimable) {
  size_t available = SIZE_MAX;
  while (true) {
    const std::string folder = mount + (path == "/" ? "" : path);
    const size_t most = first_number(folder + limit);
    const size_t used = first_number(folder + usage);
    // Version 1 writes "no limit" as a number near 2^63.
    if (most < (SIZE_MAX >> 2) && used != SIZE_MAX) {
      const size_t cache = field((folder + "/memory.stat").c_str(), reclaimable);
      const size_t held = used - (cache == SIZE_MAX ? 0 : std::min(cache, used));
      available = std::min(available, most > held ? most - held : 0);
    }
    if (path.empty() || path == "/") return available;
    path.resize(path.rfind('/'));
    if (path.empty()) path = "/";
  }
}

std::string readable(size_t bytes) {
  if (bytes == SIZE_MAX) return "more bytes than can be counted";
  char text[64];
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double number = static_cast<double>(bytes);
  int unit = 0;
  while (number >= 1024 && unit < 6) {
    number /= 1024;
    ++unit;
  }
  if (unit == 0)
    std::snprintf(text, sizeof text, "%zu bytes", bytes);
  else
    std::snprintf(text, sizeof text, "%zu bytes (%.2f %s)", bytes, number, units[unit]);
  return text;
}

}  // namespace

size_t parse_bytes(const char* text, size_t fallback) {
  if (!text || !*text) return fallback;
  char* end = nullptr;
  const double number = std::strtod(text, &end);
  if (end == text || !(number >= 0)) return fallback;
  double unit = 1;
  if (*end == 'K' || *end == 'k') unit = 0x1p10;
  if (*end == 'M' || *end == 'm') unit = 0x1p20;
  if (*end == 'G' || *end == 'g') unit = 0x1p30;
  return static_cast<size_t>(std::min(number * unit, 0x1p62));
}

OutOfMemory::OutOfMemory(size_t bytes, size_t available)
    : bytes(bytes),
      available(available),
      text_("out of memory: " + readable(bytes) + " asked for, " + readable(available) + " available") {}

size_t groups_available(const std::string& membership, const std::string& root) {
  size_t available = SIZE_MAX;
  std::ifstream file(membership);
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path.empty() || path[0] != '/' || path.find("..") != std::string::npos) path = "/";
    if (controllers.empty())
      available = std::min(available, group_available(root, path, "/memory.max", "/memory.current", "inactive_file "));
    else if (("," + controllers + ",").find(",memory,") != std::string::npos)
      available = std::min(available, group_available(root + "/memory", path, "/memory.limit_in_bytes",
                                                      "/memory.usage_in_bytes", "total_inactive_file "));
  }
  return available;
}

SystemMemory system_memory() {
  const auto kilobytes = [](const char* key) {
    const size_t number = field("/proc/meminfo", key);
    return number == SIZE_MAX ? SIZE_MAX : number * 1024;
  };
  SystemMemory result{};
  const size_t groups = groups_available("/proc/self/cgroup", "/sys/fs/cgroup");
  result.total = std::min(kilobytes("MemTotal:"), groups);
  result.available = std::min(kilobytes("MemAvailable:"), groups);
  size_t pages = 0, resident = 0, shared = 0;
  std::ifstream statm("/proc/self/statm");
  if (statm >> pages >> resident >> shared) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    result.touched = (resident > shared ? resident - shared : 0) * page;
    rlimit space{};
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
      result.available =
          std::min<size_t>(result.available, space.rlim_cur - std::min<size_t>(space.rlim_cur, pages * page));
  }
  return result;
}

}  // namespace dg
