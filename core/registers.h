// The register program: integer arithmetic over sizes and strides, run before the steps of a program.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace dg {

// The integer operations of the register program. Arithmetic saturates; division by zero gives 0, so that a program
// whose checks fail later never traps.
enum class RegOp : uint8_t {
  Const,
  Late,  // filled by a step
  Add,
  Sub,
  Mul,
  FloorDiv,
  Mod,
  Min,
  Max,
  CeilDiv,
  Eq,
  Ne,
  Lt,
  Le,
  And,
  Or,
  Select,
  FloorShift,  // division by a power of two, which the parser puts in the place of FloorDiv, CeilDiv and Mod:
  CeilShift,   // an integer division costs as much as all the rest of a small program's registers
  ModMask
};

// The operation of two registers that has a name; whether there is one.
inline bool named_operation(std::string_view name, RegOp* op) {
  struct Named {
    const char* name;
    RegOp op;
  };
  static constexpr Named kNamed[] = {{"add", RegOp::Add},
                                     {"sub", RegOp::Sub},
                                     {"mul", RegOp::Mul},
                                     {"mod", RegOp::Mod},
                                     {"floordiv", RegOp::FloorDiv},
                                     {"ceildiv", RegOp::CeilDiv},
                                     {"min", RegOp::Min},
                                     {"max", RegOp::Max},
                                     {"eq", RegOp::Eq},
                                     {"ne", RegOp::Ne},
                                     {"lt", RegOp::Lt},
                                     {"le", RegOp::Le},
                                     {"and", RegOp::And},
                                     {"or", RegOp::Or}};
  for (const Named& row : kNamed)
    if (name == row.name) {
      *op = row.op;
      return true;
    }
  return false;
}

struct RegInstr {
  RegOp op;
  int32_t a = 0, b = 0, c = 0;
  int64_t value = 0;  // of Const; of a division by a power of two, its shift or mask
  int32_t target = 0;

  int64_t evaluate(const int64_t* regs) const;

  // A division by this number becomes a shift where it can.
  void divide_by_shifting(int64_t divisor) {
    if (divisor <= 0 || (divisor & (divisor - 1))) return;
    if (op != RegOp::FloorDiv && op != RegOp::CeilDiv && op != RegOp::Mod) return;
    value = op == RegOp::Mod ? divisor - 1 : __builtin_ctzll(static_cast<uint64_t>(divisor));
    op = op == RegOp::Mod ? RegOp::ModMask : op == RegOp::FloorDiv ? RegOp::FloorShift : RegOp::CeilShift;
  }
};

inline int64_t wrap_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
inline int64_t wrap_sub(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
inline int64_t wrap_mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// Beyond 64 bits the nearest number: a size that wrapped around would pass for a small one.
inline int64_t saturating_add(int64_t a, int64_t b) {
  int64_t result;
  if (!__builtin_add_overflow(a, b, &result)) [[likely]]
    return result;
  return a < 0 ? INT64_MIN : INT64_MAX;
}
inline int64_t saturating_sub(int64_t a, int64_t b) {
  int64_t result;
  if (!__builtin_sub_overflow(a, b, &result)) [[likely]]
    return result;
  return a < 0 ? INT64_MIN : INT64_MAX;
}
inline int64_t saturating_mul(int64_t a, int64_t b) {
  int64_t result;
  if (!__builtin_mul_overflow(a, b, &result)) [[likely]]
    return result;
  return (a < 0) == (b < 0) ? INT64_MAX : INT64_MIN;
}

// Rounds down like Python's //; 0 for a zero divisor.
inline int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrap_sub(0, a);
  const int64_t quotient = a / b;
  return quotient - ((a % b != 0) && ((a < 0) != (b < 0)));
}
inline int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == 0 || b == -1) return 0;
  const int64_t remainder = a % b;
  return remainder != 0 && ((remainder < 0) != (b < 0)) ? remainder + b : remainder;
}

inline int64_t RegInstr::evaluate(const int64_t* regs) const {
  if (op == RegOp::Const) return value;
  const int64_t x = regs[a], y = regs[b];
  switch (op) {
    case RegOp::Add:
      return saturating_add(x, y);
    case RegOp::Sub:
      return saturating_sub(x, y);
    case RegOp::Mul:
      return saturating_mul(x, y);
    case RegOp::FloorDiv:
      return floor_divide(x, y);
    case RegOp::Mod:
      return floor_modulo(x, y);
    case RegOp::Min:
      return std::min(x, y);
    case RegOp::Max:
      return std::max(x, y);
    case RegOp::CeilDiv:
      return floor_divide(x, y) + (floor_modulo(x, y) != 0);
    case RegOp::Eq:
      return x == y;
    case RegOp::Ne:
      return x != y;
    case RegOp::Lt:
      return x < y;
    case RegOp::Le:
      return x <= y;
    case RegOp::And:
      return x && y;
    case RegOp::Or:
      return x || y;
    case RegOp::FloorShift:
      return x >> value;
    case RegOp::CeilShift:
      return (x >> value) + ((x & ((int64_t{1} << value) - 1)) != 0);
    case RegOp::ModMask:
      return x & value;
    default:
      return regs[c] ? x : y;  // Select
  }
}

}  // namespace dg
