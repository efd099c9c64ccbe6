// What kernels find made of a parameter, and what makes it.
#include "kept.h"
#include "program_run.h"

namespace dg {

namespace {

constexpr size_t kShare = 4;  // of the memory that is left, one part at most: the kernel can do without

}  // namespace

void* Run::kept(int32_t index) {
  const auto place = static_cast<size_t>(index);
  const KeepSpec& spec = p_.keeps[place];
  Buffer* buffer = inputs_[spec.input].buffer;
  const int64_t chunks = regs_[spec.chunks_reg], bytes = regs_[spec.bytes_reg];
  if (chunks <= 0 || bytes <= 0 || !buffer || !may_keep(buffer)) return nullptr;
  if (looked_.empty()) {
    looked_.resize(p_.keeps.size());
    kept_ = std::make_unique<std::vector<BufferRef>>(p_.keeps.size());
  }
  BufferRef& found = (*kept_)[place];
  if (!looked_[place]) {
    looked_[place] = true;
    void* data = static_cast<char*>(inputs_[spec.input].data) + regs_[spec.offset_reg];
    KeptKey key{reinterpret_cast<int64_t>(spec.function), reinterpret_cast<int64_t>(data)};
    for (int32_t i = 0; i < spec.n_sizes; ++i) key.push_back(regs_[p_.indices[static_cast<size_t>(spec.sizes + i)]]);
    bool worth;
    found.reset(find_kept(buffer, key, &worth));
    if (worth && static_cast<size_t>(bytes) <= available_memory() / kShare) {
      found.reset(allocate(static_cast<size_t>(bytes)));
      void* args[] = {data, found.get()->data};
      int64_t result[5] = {0, 0, 0, reinterpret_cast<int64_t>(SignalFlag::never()), 0};
      spec.function(args, key.data() + 2, 0, chunks, nullptr, result);
      keep(buffer, key, found.get());
    }
  }
  return found.get() ? found.get()->data : nullptr;
}

}  // namespace dg
