// How much memory the machine, the control groups of this process and its own limits still allow, and what is raised
// beyond.
#pragma once

#include <cstddef>
#include <new>
#include <string>

namespace dg {

struct SystemMemory {
  size_t total;      // of the machine, or what the control group has left if that is less
  size_t available;  // what a new request may take
  size_t touched;    // private memory of this process that has pages
};
SystemMemory system_memory();

// What the control groups that `membership` (/proc/self/cgroup) lists under `root` (/sys/fs/cgroup) and their parents
// still allow, page cache counted as free; SIZE_MAX without a limit. Versions 1 and 2.
size_t groups_available(const std::string& membership, const std::string& root);

// A number of bytes, with K, M or G behind it; `fallback` where the text says none.
size_t parse_bytes(const char* text, size_t fallback);

// A request that the machine or its control group cannot serve, refused before a page is touched.
class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory(size_t bytes, size_t available);
  const char* what() const noexcept override { return text_.c_str(); }
  size_t bytes;
  size_t available;

 private:
  std::string text_;
};

}  // namespace dg
