// A growable array that starts on the stack: the argument lists of nearly every operator fit.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

namespace dg {

template <class T, size_t N>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  SmallVector() : data_(local()) {}
  SmallVector(const SmallVector&) = delete;
  SmallVector& operator=(const SmallVector&) = delete;
  ~SmallVector() {
    if (data_ != local()) std::free(data_);
  }
  void push_back(const T& value) {
    if (size_ == capacity_) grow(size_ + 1);
    std::memcpy(static_cast<void*>(data_ + size_++), &value, sizeof(T));
  }
  // Room for `size` elements, the new ones uninitialised.
  void resize(size_t size) {
    if (size > capacity_) grow(size);
    size_ = size;
  }
  void clear() { size_ = 0; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  T* local() { return reinterpret_cast<T*>(storage_); }
  void grow(size_t needed) {
    size_t capacity = capacity_ * 2 > needed ? capacity_ * 2 : needed;
    void* bigger = std::malloc(capacity * sizeof(T));
    if (!bigger) throw std::bad_alloc();
    std::memcpy(bigger, static_cast<void*>(data_), size_ * sizeof(T));
    if (data_ != local()) std::free(data_);
    data_ = static_cast<T*>(bigger);
    capacity_ = capacity;
  }

  T* data_;
  size_t size_ = 0;
  size_t capacity_ = N;
  alignas(T) unsigned char storage_[N * sizeof(T)];
};

}  // namespace dg
