// Scans along rows.
#pragma once

#include "row_walk.h"

namespace dg {

void add_scans(RowTable& table);

}  // namespace dg
