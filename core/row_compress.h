// What a mask chooses of a row, and how far apart.
#pragma once

#include "row_walk.h"

namespace dg {

void add_compressions(RowTable& table);

}  // namespace dg
