// Sorting, selecting and searching in rows.
#pragma once

#include "row_walk.h"

namespace dg {

void add_sorts(RowTable& table);

}  // namespace dg
