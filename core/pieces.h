// Large blocks: pieces of mapped memory, cut to the sizes that are asked for and joined again when they are free.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "memory.h"

namespace dg {

// A live block or a free one. `before` and `after` are its neighbours in the memory that was mapped together.
struct Piece : Buffer {
  size_t capacity = 0;
  Piece* before = nullptr;
  Piece* after = nullptr;
  bool is_free = false;
  size_t place = 0;  // among the free pieces
};

class FreePieces {
 public:
  // Room for some thousand without a further allocation.
  void prepare() { free_.reserve(1024); }
  // The smallest piece that holds the bytes, cut to size; among equals the one freed last, the likeliest to be in
  // cache. Null if there is none.
  Piece* take(size_t bytes);
  // Keeps a piece for later, in one with free neighbours.
  void put(Piece* piece);
  // Gives the piece that has been free for longest back to the system; returns its capacity.
  size_t drop_oldest();
  bool empty() const { return free_.empty(); }

 private:
  struct Entry {
    size_t capacity;
    uint64_t freed_at;
    Piece* piece;
  };
  void insert(Piece* piece, uint64_t freed_at);
  uint64_t remove(Piece* piece);

  std::vector<Entry> free_;  // few: searched linearly
  uint64_t clock_ = 0;
};

// Fresh memory of its own; null if the system has none.
Piece* map_piece(size_t bytes);
// Gives a piece back to the system, whatever its neighbours do.
void unmap_piece(Piece* piece);

// The bytes that a request takes.
size_t piece_capacity(size_t bytes);

}  // namespace dg
