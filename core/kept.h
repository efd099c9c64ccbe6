// What a program makes of a parameter before it uses it, such as panels for products of matrices: it stays with the
// parameter's memory for the runs that come, as long as nobody writes there.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"

namespace dg {

// What was made, by what, of which elements: equal keys mean equal bytes.
using KeptKey = std::vector<int64_t>;

// Whether values made of the memory may be kept: it is a parameter's, large, and nobody outside holds its address.
bool may_keep(const Buffer* buffer);
// The values made of the memory as it is now (a new reference), or null. `worth`: it came unchanged to enough runs, so
// they should be made and handed to `keep`.
Buffer* find_kept(Buffer* buffer, const KeptKey& key, bool* worth);
void keep(Buffer* buffer, const KeptKey& key, Buffer* made);

// Code that is not ours may write to the memory from now on, without a word, until the same number of `close_buffer`.
void open_buffer(Buffer* buffer);
void close_buffer(Buffer* buffer);

}  // namespace dg
