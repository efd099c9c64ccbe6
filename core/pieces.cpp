#include "pieces.h"

#include <sys/mman.h>

#include <algorithm>

#include "size_classes.h"

namespace dg {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kGrain = size_t{64} << 10;  // whole pages, so that each piece can be given back alone

// `second`, which lies behind `first`, becomes part of it.
void join(Piece* first, Piece* second) {
  first->capacity += second->capacity;
  first->after = second->after;
  if (first->after) first->after->before = first;
  delete second;
}

// What lies behind the first `capacity` bytes becomes a piece of its own.
Piece* cut(Piece* piece, size_t capacity) {
  auto* rest = new Piece{};
  rest->device = piece->device;
  rest->free = piece->free;
  rest->data = static_cast<char*>(piece->data) + capacity;
  rest->capacity = piece->capacity - capacity;
  rest->before = piece;
  rest->after = piece->after;
  if (rest->after) rest->after->before = rest;
  piece->after = rest;
  piece->capacity = capacity;
  return rest;
}

}  // namespace

size_t piece_capacity(size_t bytes) { return (bytes + kGrain - 1) / kGrain * kGrain; }

void FreePieces::insert(Piece* piece, uint64_t freed_at) {
  piece->is_free = true;
  piece->place = free_.size();
  free_.push_back({piece->capacity, freed_at, piece});
}

uint64_t FreePieces::remove(Piece* piece) {
  const uint64_t freed_at = free_[piece->place].freed_at;
  free_[piece->place] = free_.back();
  free_[piece->place].piece->place = piece->place;
  free_.pop_back();
  piece->is_free = false;
  return freed_at;
}

Piece* FreePieces::take(size_t bytes) {
  const size_t capacity = piece_capacity(bytes);
  const Entry* best = nullptr;
  for (const Entry& entry : free_) {
    if (entry.capacity < capacity) continue;
    if (!best || entry.capacity < best->capacity ||
        (entry.capacity == best->capacity && entry.freed_at > best->freed_at))
      best = &entry;
  }
  if (!best) return nullptr;
  Piece* piece = best->piece;
  const uint64_t freed_at = remove(piece);
  if (piece->capacity - capacity >= kLargeBytes) insert(cut(piece, capacity), freed_at);
  return piece;
}

void FreePieces::put(Piece* piece) {
  if (piece->after && piece->after->is_free) {
    remove(piece->after);
    join(piece, piece->after);
  }
  if (piece->before && piece->before->is_free) {
    Piece* before = piece->before;
    remove(before);
    join(before, piece);
    piece = before;
  }
  insert(piece, clock_++);
}

size_t FreePieces::drop_oldest() {
  const auto oldest = std::min_element(free_.begin(), free_.end(),
                                       [](const Entry& a, const Entry& b) { return a.freed_at < b.freed_at; });
  Piece* piece = oldest->piece;
  const size_t capacity = piece->capacity;
  remove(piece);
  unmap_piece(piece);
  return capacity;
}

Piece* map_piece(size_t bytes) {
  const size_t capacity = piece_capacity(bytes);
  // Huge pages need 2 MiB alignment: map more, give the ends back.
  const size_t alignment = capacity >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, capacity + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  char* begin = static_cast<char*>(mapped);
  if (alignment) {
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    if (before) munmap(begin, before);
    if (before < alignment) munmap(begin + before + capacity, alignment - before);
    begin += before;
    madvise(begin, capacity, MADV_HUGEPAGE);
  }
  auto* piece = new Piece{};
  piece->data = begin;
  piece->capacity = capacity;
  return piece;
}

void unmap_piece(Piece* piece) {
  if (piece->before) piece->before->after = nullptr;
  if (piece->after) piece->after->before = nullptr;
  munmap(piece->data, piece->capacity);
  delete piece;
}

}  // namespace dg
