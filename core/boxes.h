// Memory of a run for tensors whose sizes change while it runs. Programs carry its numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"

namespace dg {

// Lets memory hold so many bytes; what was in it is lost where it must be larger. The pool's blocks are, too, so that
// one that grows a little each time is mostly the same block.
inline void make_room(BufferRef& memory, int64_t bytes) {
  if (memory.get() && memory.get()->bytes >= static_cast<size_t>(bytes)) return;
  memory.reset(nullptr);
  memory.reset(allocate(static_cast<size_t>(bytes)));
}

// What a run has put into boxes. A site (a step that boxes) uses two memories by turns, or new memory each time.
class Boxes {
 public:
  explicit Boxes(int32_t n_sites) : sites_(static_cast<size_t>(n_sites)) {}

  // Memory of so many bytes for a site; `keep`: until the run ends.
  void* make(int32_t site, int64_t bytes, bool keep) {
    if (keep) return make_kept(site, bytes);
    Site& ring = sites_[static_cast<size_t>(site)];
    const int64_t turn = ring.turn + 1;
    BufferRef& memory = ring.memory[turn & 1];
    make_room(memory, bytes);
    ring.turn = turn;
    ring.bytes[turn & 1] = bytes;
    ring.number = turn * static_cast<int64_t>(sites_.size()) + site;
    return memory.get()->data;
  }

  // The number of what a site made last: no two of a run are the same. 0: it has made none.
  int64_t number(int32_t site) const { return sites_[static_cast<size_t>(site)].number; }

  // The memory of a number and the bytes in it; null if there is none, or if it holds something else by now.
  void* find(int64_t number, int64_t* bytes) const {
    if (number < 0) {
      if (number < -static_cast<int64_t>(kept_.size())) return nullptr;
      const Buffer* memory = kept_[static_cast<size_t>(-(number + 1))].get();
      *bytes = static_cast<int64_t>(memory->bytes);
      return memory->data;
    }
    if (sites_.empty()) return nullptr;
    const auto count = static_cast<int64_t>(sites_.size());
    const Site& ring = sites_[static_cast<size_t>(number % count)];
    const int64_t turn = number / count;
    if (turn < 1 || turn > ring.turn || turn < ring.turn - 1) return nullptr;
    *bytes = ring.bytes[turn & 1];
    return ring.memory[turn & 1].get()->data;
  }

 private:
  void* make_kept(int32_t site, int64_t bytes) {
    BufferRef memory(allocate(static_cast<size_t>(bytes)));
    void* data = memory.get()->data;
    kept_.push_back(std::move(memory));
    sites_[static_cast<size_t>(site)].number = -static_cast<int64_t>(kept_.size());
    return data;
  }

  struct Site {
    BufferRef memory[2];
    int64_t bytes[2] = {0, 0};
    int64_t turn = 0;
    int64_t number = 0;
  };
  std::vector<Site> sites_;
  std::vector<BufferRef> kept_;
};

}  // namespace dg
