// Maps relocatable ELF objects (x86-64, as LLVM writes them) into executable memory. Bytes may come from a disk cache
// and be garbage: everything is checked, nothing crashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dg {

class LoadError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The code of one object file; the memory is reused when it is destroyed.
class LoadedObject {
 public:
  ~LoadedObject();
  void* symbol(std::string_view name) const;  // of a defined function; nullptr if there is none
  std::vector<std::string> symbols() const;
  size_t code_bytes() const { return size_; }

 private:
  friend std::shared_ptr<LoadedObject> load_object(const uint8_t* bytes, size_t size);
  struct Symbol {
    std::string name;
    void* address;
  };
  std::vector<Symbol> symbols_;
  uint8_t* base_ = nullptr;
  size_t size_ = 0;  // mapped bytes, whole pages
};

// Throws LoadError, saying what is wrong with the object.
std::shared_ptr<LoadedObject> load_object(const uint8_t* bytes, size_t size);

// Code shared by many programs, such as micro-kernels: loaded once under a name and kept for the life of the process.
// Programs name a function or a constant of it "library:name"; the library "core" is built in (rows.h).
void add_library(const std::string& name, const uint8_t* bytes, size_t size);  // nothing if the name is known
bool has_library(const std::string& name);
void* library_symbol(const std::string& library, std::string_view name);  // nullptr if there is none

}  // namespace dg
