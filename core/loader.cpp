#include "loader.h"

#include <elf.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>

#include "rows.h"

namespace dg {

namespace {

constexpr size_t kRegionBytes = size_t{64} << 20;
constexpr size_t kMaxObject = size_t{64} << 20;  // file and image; also keeps every offset within 32 bits
constexpr size_t kMaxSections = 4096;
constexpr size_t kPage = 4096;

size_t round_up(size_t value, size_t alignment) { return (value + alignment - 1) / alignment * alignment; }

[[noreturn]] void fail(const std::string& text) { throw LoadError("object code: " + text); }

// Executable memory: large reserved regions handed out by whole pages. Pages are written while they are private to the
// loader, then made executable for good; never both at once. Anonymous private memory, so that a forked child keeps its
// own copy of the code whatever the parent loads over it.
class CodeMemory {
 public:
  static CodeMemory& instance() {
    static CodeMemory& memory = *new CodeMemory;
    return memory;
  }

  uint8_t* reserve(size_t bytes) {
    std::lock_guard lock(mutex_);
    if (uint8_t* found = take(bytes)) return found;
    const size_t size = std::max(bytes, kRegionBytes);
    void* region = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) fail("no address space left for machine code");
    free_.emplace(static_cast<uint8_t*>(region), size);
    return take(bytes);
  }

  void give_back(uint8_t* base, size_t bytes) {
    // A fresh mapping over the old one frees the pages and takes the permissions away.
    mmap(base, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    std::lock_guard lock(mutex_);
    auto next = free_.lower_bound(base);
    if (next != free_.begin()) {
      auto previous = std::prev(next);
      if (previous->first + previous->second == base) {
        base = previous->first;
        bytes += previous->second;
        free_.erase(previous);
      }
    }
    if (next != free_.end() && base + bytes == next->first) {
      bytes += next->second;
      free_.erase(next);
    }
    free_[base] = bytes;
  }

 private:
  CodeMemory() {
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] { instance().mutex_.unlock(); });
  }

  uint8_t* take(size_t bytes) {
    for (auto it = free_.begin(); it != free_.end(); ++it) {
      if (it->second < bytes) continue;
      uint8_t* base = it->first;
      const size_t rest = it->second - bytes;
      free_.erase(it);
      if (rest) free_.emplace(base + bytes, rest);
      return base;
    }
    return nullptr;
  }

  std::mutex mutex_;
  std::map<uint8_t*, size_t> free_;
};

// The functions that generated code may call; their addresses are too far for a 32-bit branch, so calls go by a stub.
void* external_function(std::string_view name) {
  if (name == "memcpy") return reinterpret_cast<void*>(&std::memcpy);
  if (name == "memmove") return reinterpret_cast<void*>(&std::memmove);
  if (name == "memset") return reinterpret_cast<void*>(&std::memset);
  return nullptr;
}

// Reads and checks one object file, lays its sections out and writes the image at a given address.
class Linker {
 public:
  Linker(const uint8_t* bytes, size_t size) : bytes_(bytes), size_(size) {
    read_headers();
    read_symbols();
    lay_out();
  }

  size_t image_bytes() const { return image_bytes_; }

  // Writes the image where it will run: `image_bytes()` at `base`.
  void link(uint8_t* base) {
    base_ = reinterpret_cast<uint64_t>(base);
    image_ = base;
    std::memset(image_, 0xCC, image_bytes_);  // int3 between sections
    for (const Section& section : sections_)
      if (section.loaded) {
        if (section.header.sh_type == SHT_NOBITS)
          std::memset(&image_[section.place], 0, section.header.sh_size);
        else
          std::memcpy(&image_[section.place], bytes_ + section.header.sh_offset, section.header.sh_size);
      }
    for (size_t i = 0; i < externals_.size(); ++i) write_stub(i);
    for (const Section& section : sections_) relocate(section);
  }

  // Calls visit(name, offset in the image) for every function and every global constant the object defines.
  template <typename Visit>
  void each_symbol(Visit visit) const {
    for (size_t i = 0; i < symbols_.size(); ++i) {
      const Elf64_Sym& symbol = symbols_[i];
      if (symbol.st_shndx >= sections_.size()) continue;
      const Section& section = sections_[symbol.st_shndx];
      if (!section.loaded || symbol.st_value >= section.header.sh_size) continue;
      const unsigned char type = ELF64_ST_TYPE(symbol.st_info);
      const bool function = type == STT_FUNC && section.header.sh_flags & SHF_EXECINSTR;
      const bool constant = type == STT_OBJECT && ELF64_ST_BIND(symbol.st_info) == STB_GLOBAL;
      if (function || constant) visit(symbol_name(symbol), section.place + symbol.st_value);
    }
  }

 private:
  struct Section {
    Elf64_Shdr header;
    bool loaded = false;
    size_t place = 0;  // in the image
  };
  struct External {
    void* function;
    size_t stub;  // place in the image: the jump, followed by the address it jumps to
  };
  static constexpr size_t kStubBytes = 16, kStubAddress = 8;

  template <typename T>
  T read(size_t offset, const char* what) const {
    if (offset > size_ || sizeof(T) > size_ - offset) fail(std::string("truncated ") + what);
    T value;
    std::memcpy(&value, bytes_ + offset, sizeof value);
    return value;
  }

  void check_contents(const Elf64_Shdr& header, const char* what) const {
    if (header.sh_offset > size_ || header.sh_size > size_ - header.sh_offset)
      fail(std::string(what) + " reaches outside the file");
  }

  // A string of a string table, which must end inside it.
  std::string_view string_at(const Section& table, size_t offset, const char* what) const {
    const Elf64_Shdr& header = table.header;
    if (header.sh_type != SHT_STRTAB || offset >= header.sh_size) fail(std::string("bad name of a ") + what);
    const char* begin = reinterpret_cast<const char*>(bytes_ + header.sh_offset + offset);
    const void* end = std::memchr(begin, 0, header.sh_size - offset);
    if (!end) fail(std::string("unterminated name of a ") + what);
    for (const char* c = begin; c != end; ++c)
      if (*c < ' ' || *c > '~') fail(std::string("unprintable name of a ") + what);
    return {begin, static_cast<size_t>(static_cast<const char*>(end) - begin)};
  }

  void read_headers() {
    if (size_ > kMaxObject) fail("larger than 64 MiB");
    const auto header = read<Elf64_Ehdr>(0, "ELF header");
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG)) fail("not an ELF file");
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_REL ||
        header.e_machine != EM_X86_64)
      fail("not a relocatable x86-64 object");
    if (header.e_shentsize != sizeof(Elf64_Shdr)) fail("unknown section header size");
    if (header.e_shnum == 0 || header.e_shnum > kMaxSections) fail("bad number of sections");
    sections_.resize(header.e_shnum);
    for (size_t i = 0; i < sections_.size(); ++i) {
      if (header.e_shoff > size_) fail("truncated section table");
      sections_[i].header = read<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr), "section table");
      const Elf64_Shdr& section = sections_[i].header;
      if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL) check_contents(section, "a section");
    }
    if (header.e_shstrndx >= sections_.size()) fail("bad section name table");
    names_ = header.e_shstrndx;
  }

  void read_symbols() {
    for (const Section& section : sections_) {
      const Elf64_Shdr& header = section.header;
      if (header.sh_type == SHT_SYMTAB_SHNDX) fail("too many sections");
      if (header.sh_type != SHT_SYMTAB) continue;
      if (!symbols_.empty()) fail("more than one symbol table");
      if (header.sh_entsize != sizeof(Elf64_Sym) || header.sh_size % sizeof(Elf64_Sym)) fail("bad symbol table");
      if (header.sh_link >= sections_.size()) fail("symbol table without names");
      symbol_table_ = static_cast<size_t>(&section - sections_.data());
      for (size_t offset = 0; offset < header.sh_size; offset += sizeof(Elf64_Sym))
        symbols_.push_back(read<Elf64_Sym>(header.sh_offset + offset, "symbol table"));
    }
  }

  std::string_view symbol_name(const Elf64_Sym& symbol) const {
    return string_at(sections_[sections_[symbol_table_].header.sh_link], symbol.st_name, "symbol");
  }

  void lay_out() {
    size_t place = 0;
    // Code first, then constants.
    for (const bool executable : {true, false})
      for (Section& section : sections_) {
        const Elf64_Shdr& header = section.header;
        if (!(header.sh_flags & SHF_ALLOC) || header.sh_size == 0) continue;
        if (executable != ((header.sh_flags & SHF_EXECINSTR) != 0)) continue;
        const std::string_view name = string_at(sections_[names_], header.sh_name, "section");
        if (name.starts_with(".eh_frame") || header.sh_type == SHT_X86_64_UNWIND) continue;  // nothing unwinds here
        if (header.sh_type != SHT_PROGBITS && header.sh_type != SHT_NOBITS)
          fail("section '" + std::string(name) + "' has a type that is not loaded");
        if (header.sh_flags & SHF_TLS) fail("thread-local data");
        if ((header.sh_flags & SHF_WRITE) && !name.starts_with(".data.rel.ro"))
          fail("writable data in section '" + std::string(name) + "': kernels have none");
        const size_t alignment = std::max<size_t>(header.sh_addralign, 1);
        if (alignment > kPage || (alignment & (alignment - 1))) fail("bad alignment of a section");
        if (header.sh_size > kMaxObject) fail("a section larger than 64 MiB");
        place = round_up(place, alignment);
        section.loaded = true;
        section.place = place;
        place += header.sh_size;
        if (place > kMaxObject) fail("sections larger than 64 MiB");
      }
    stub_of_.assign(symbols_.size(), SIZE_MAX);
    place = round_up(place, kStubBytes);
    for (const Section& section : sections_) {
      if (section.header.sh_type != SHT_RELA && section.header.sh_type != SHT_REL) continue;
      if (section.header.sh_info >= sections_.size()) fail("relocations of an unknown section");
      if (!sections_[section.header.sh_info].loaded) continue;
      if (section.header.sh_type == SHT_REL || section.header.sh_entsize != sizeof(Elf64_Rela) ||
          section.header.sh_size % sizeof(Elf64_Rela) || section.header.sh_link != symbol_table_)
        fail("bad relocation section");
      for (size_t offset = 0; offset < section.header.sh_size; offset += sizeof(Elf64_Rela))
        add_external(read<Elf64_Rela>(section.header.sh_offset + offset, "relocations"), &place);
    }
    image_bytes_ = std::max<size_t>(place, 1);
  }

  void add_external(const Elf64_Rela& relocation, size_t* place) {
    const size_t index = ELF64_R_SYM(relocation.r_info);
    if (index >= symbols_.size()) fail("a relocation names no symbol");
    const Elf64_Sym& symbol = symbols_[index];
    const uint32_t type = ELF64_R_TYPE(relocation.r_info);
    const bool by_table = type == R_X86_64_GOTPCREL || type == R_X86_64_GOTPCRELX || type == R_X86_64_REX_GOTPCRELX;
    if (type == R_X86_64_NONE || (symbol.st_shndx != SHN_UNDEF && !by_table) || stub_of_[index] != SIZE_MAX) return;
    void* function = nullptr;
    if (symbol.st_shndx == SHN_UNDEF) {
      const std::string_view name = symbol_name(symbol);
      function = external_function(name);
      if (!function) fail("undefined symbol '" + std::string(name) + "'");
    }
    stub_of_[index] = externals_.size();
    stub_symbols_.push_back(index);
    externals_.push_back({function, *place});
    *place += kStubBytes;
    if (*place > kMaxObject) fail("too many symbols");
  }

  void write_stub(size_t index) {
    const External& external = externals_[index];
    const uint64_t target =
        external.function ? reinterpret_cast<uint64_t>(external.function) : address_of(symbols_[stub_symbols_[index]]);
    const uint8_t jump[] = {0xFF, 0x25, 0x02, 0x00, 0x00, 0x00, 0x0F, 0x0B};  // jmp [rip + 2]; ud2
    std::memcpy(&image_[external.stub], jump, sizeof jump);
    std::memcpy(&image_[external.stub + kStubAddress], &target, sizeof target);
  }

  uint64_t address_of(const Elf64_Sym& symbol) const {
    if (symbol.st_shndx >= sections_.size() || !sections_[symbol.st_shndx].loaded)
      fail("a relocation needs a symbol of a section that is not loaded");
    const Section& section = sections_[symbol.st_shndx];
    if (symbol.st_value > section.header.sh_size) fail("a symbol lies outside its section");
    return base_ + section.place + symbol.st_value;
  }

  void relocate(const Section& section) {
    if (section.header.sh_type != SHT_RELA || !sections_[section.header.sh_info].loaded) return;
    const Section& target = sections_[section.header.sh_info];
    for (size_t offset = 0; offset < section.header.sh_size; offset += sizeof(Elf64_Rela))
      apply(read<Elf64_Rela>(section.header.sh_offset + offset, "relocations"), target);
  }

  void apply(const Elf64_Rela& relocation, const Section& target) {
    const size_t index = ELF64_R_SYM(relocation.r_info);
    const uint32_t type = ELF64_R_TYPE(relocation.r_info);
    if (type == R_X86_64_NONE) return;
    const bool wide = type == R_X86_64_64 || type == R_X86_64_PC64;
    const size_t width = wide ? 8 : 4;
    if (relocation.r_offset > target.header.sh_size || width > target.header.sh_size - relocation.r_offset)
      fail("a relocation lies outside its section");
    const size_t place = target.place + relocation.r_offset;
    const uint64_t from = base_ + place;
    const uint64_t addend = static_cast<uint64_t>(relocation.r_addend);
    uint64_t value = 0;
    switch (type) {
      case R_X86_64_64:
        value = symbol_address(index, true) + addend;
        break;
      case R_X86_64_PC32:
      case R_X86_64_PLT32:
      case R_X86_64_PC64:
        value = symbol_address(index, false) + addend - from;
        break;
      case R_X86_64_GOTPCREL:
      case R_X86_64_GOTPCRELX:
      case R_X86_64_REX_GOTPCRELX:
        value = base_ + externals_[stub_of_[index]].stub + kStubAddress + addend - from;
        break;
      default:
        fail("relocation type " + std::to_string(type) + " is not position independent code of the small model");
    }
    const auto distance = static_cast<int64_t>(value);
    if (!wide && (distance < INT32_MIN || distance > INT32_MAX)) fail("a relocation does not fit 32 bits");
    std::memcpy(&image_[place], &value, width);
  }

  // Of a symbol as a branch or data reference sees it: undefined functions are reached through their stub.
  uint64_t symbol_address(size_t index, bool absolute) const {
    const Elf64_Sym& symbol = symbols_[index];
    if (symbol.st_shndx != SHN_UNDEF) return address_of(symbol);
    const External& external = externals_[stub_of_[index]];
    return absolute ? reinterpret_cast<uint64_t>(external.function) : base_ + external.stub;
  }

  const uint8_t* bytes_;
  size_t size_;
  std::vector<Section> sections_;
  std::vector<Elf64_Sym> symbols_;
  std::vector<External> externals_;
  std::vector<size_t> stub_symbols_;  // per external, the symbol
  std::vector<size_t> stub_of_;       // per symbol, its external or SIZE_MAX
  size_t names_ = 0;
  size_t symbol_table_ = SIZE_MAX;
  size_t image_bytes_ = 0;
  uint64_t base_ = 0;
  uint8_t* image_ = nullptr;
};

struct Libraries {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<LoadedObject>> objects;

  Libraries() {
    pthread_atfork([] { instance().mutex.lock(); }, [] { instance().mutex.unlock(); },
                   [] { instance().mutex.unlock(); });
  }
  static Libraries& instance() {
    static Libraries& known = *new Libraries;
    return known;
  }
};

Libraries& libraries() { return Libraries::instance(); }

}  // namespace

LoadedObject::~LoadedObject() {
  if (base_) CodeMemory::instance().give_back(base_, size_);
}

void* LoadedObject::symbol(std::string_view name) const {
  for (const Symbol& symbol : symbols_)
    if (symbol.name == name) return symbol.address;
  return nullptr;
}

std::vector<std::string> LoadedObject::symbols() const {
  std::vector<std::string> names;
  for (const Symbol& symbol : symbols_) names.push_back(symbol.name);
  return names;
}

std::shared_ptr<LoadedObject> load_object(const uint8_t* bytes, size_t size) {
  Linker linker(bytes, size);
  auto object = std::make_shared<LoadedObject>();
  const size_t mapped = round_up(linker.image_bytes(), kPage);
  object->base_ = CodeMemory::instance().reserve(mapped);
  object->size_ = mapped;
  if (mprotect(object->base_, mapped, PROT_READ | PROT_WRITE)) fail("the system refuses memory for machine code");
  linker.link(object->base_);
  if (mprotect(object->base_, mapped, PROT_READ | PROT_EXEC)) fail("the system refuses executable memory");
  linker.each_symbol([&](std::string_view name, size_t offset) {
    object->symbols_.push_back({std::string(name), object->base_ + offset});
  });
  return object;
}

void add_library(const std::string& name, const uint8_t* bytes, size_t size) {
  if (has_library(name)) return;
  std::shared_ptr<LoadedObject> object = load_object(bytes, size);
  Libraries& known = libraries();
  std::lock_guard lock(known.mutex);
  known.objects.emplace(name, std::move(object));
}

bool has_library(const std::string& name) {
  if (name == kRowLibrary) return true;
  Libraries& known = libraries();
  std::lock_guard lock(known.mutex);
  return known.objects.count(name) != 0;
}

void* library_symbol(const std::string& library, std::string_view name) {
  if (library == kRowLibrary) return row_function(name);
  Libraries& known = libraries();
  std::lock_guard lock(known.mutex);
  const auto found = known.objects.find(library);
  return found == known.objects.end() ? nullptr : found->second->symbol(name);
}

}  // namespace dg
