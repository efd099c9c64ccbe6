// Arithmetic of the numbers that a static function was given, as Python does it.

#include <algorithm>
#include <cmath>

#include "static_call.h"

namespace dg {

namespace {

bool set(Number* number, double value) {
  number->is_float = true;
  number->real = value;
  return true;
}

bool set(Number* number, int64_t value) {
  number->is_float = false;
  number->integer = value;
  return true;
}

// `x // y`, or `x % y` if `rest`.
bool divide(Number* result, double x, double y, bool rest) {
  double remainder = std::fmod(x, y);
  double quotient = (x - remainder) / y;
  if (remainder != 0 && (y < 0) != (remainder < 0)) {
    remainder += y;
    quotient -= 1;
  } else if (remainder == 0) {
    remainder = std::copysign(0.0, y);
  }
  if (rest) return set(result, remainder);
  double floored = quotient != 0 ? std::floor(quotient) : std::copysign(0.0, x / y);
  if (quotient - floored > 0.5) floored += 1;
  return set(result, floored);
}

// The same of whole numbers, of which the first is where the result goes.
bool divide(Number* a, int64_t b, bool rest) {
  if (b == -1) {
    int64_t negative;
    if (rest) return set(a, int64_t{0});
    return !__builtin_sub_overflow(int64_t{0}, a->integer, &negative) && set(a, negative);
  }
  int64_t quotient = a->integer / b, remainder = a->integer % b;
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    remainder += b;
    --quotient;
  }
  return set(a, rest ? remainder : quotient);
}

bool apply(Token::Op op, Number* a, const Number& b) {
  const bool real = a->is_float || b.is_float;
  const double x = a->as_double(), y = b.as_double();
  auto give = [&](double value) { return set(a, value); };
  auto whole = [&](int64_t value) { return set(a, value); };
  int64_t result;
  switch (op) {
    case Token::Add:
      return real ? give(x + y) : !__builtin_add_overflow(a->integer, b.integer, &result) && whole(result);
    case Token::Sub:
      return real ? give(x - y) : !__builtin_sub_overflow(a->integer, b.integer, &result) && whole(result);
    case Token::Mul:
      return real ? give(x * y) : !__builtin_mul_overflow(a->integer, b.integer, &result) && whole(result);
    case Token::Div:
      return y != 0 && give(x / y);
    case Token::FloorDiv:
    case Token::Mod:
      return y != 0 && (real ? divide(a, x, y, op == Token::Mod) : divide(a, b.integer, op == Token::Mod));
    case Token::Pow: {
      double value = std::pow(x, y);
      return real && std::isfinite(value) && give(value);
    }
    case Token::Lt:
      return whole(real ? x < y : a->integer < b.integer);
    case Token::Le:
      return whole(real ? x <= y : a->integer <= b.integer);
    case Token::Eq:
      return whole(real ? x == y : a->integer == b.integer);
    case Token::Ne:
      return whole(real ? x != y : a->integer != b.integer);
    case Token::Gt:
      return whole(real ? x > y : a->integer > b.integer);
    case Token::Ge:
      return whole(real ? x >= y : a->integer >= b.integer);
    case Token::Min:
      return real ? give(std::fmin(x, y)) : whole(std::min(a->integer, b.integer));
    case Token::Max:
      return real ? give(std::fmax(x, y)) : whole(std::max(a->integer, b.integer));
    default:
      return false;
  }
}

double function_of(Token::Op op, double x) {
  switch (op) {
    case Token::Sqrt:
      return std::sqrt(x);
    case Token::Exp:
      return std::exp(x);
    case Token::Log:
      return std::log(x);
    case Token::Log2:
      return std::log2(x);
    case Token::Log10:
      return std::log10(x);
    case Token::Sin:
      return std::sin(x);
    case Token::Cos:
      return std::cos(x);
    case Token::Tan:
      return std::tan(x);
    default:
      return std::tanh(x);
  }
}

}  // namespace

bool evaluate(const Postfix& postfix, StaticCall* call, Number* result) {
  Number stack[33];
  int depth = 0;
  for (const Token& token : postfix) {
    if (token.op == Token::Read) {
      PyObject* value = call->reads[token.index];
      Number& number = stack[depth++];
      number.is_float = token.is_float;
      if (token.is_float) {
        if (!PyFloat_CheckExact(value)) return false;
        number.real = PyFloat_AS_DOUBLE(value);
      } else {
        if (!PyLong_CheckExact(value)) return false;
        int overflow;
        number.integer = PyLong_AsLongLongAndOverflow(value, &overflow);
        if (overflow) return false;
      }
    } else if (token.op == Token::Size || token.op == Token::Stride) {
      const TensorObject* tensor = call->tensors[token.index];
      if (token.integer >= tensor->rank) return false;
      stack[depth++] = {false, (token.op == Token::Size ? tensor->sizes : tensor->strides)[token.integer], 0};
    } else if (token.op == Token::ReadSize || token.op == Token::ReadStride) {
      if (!is_tensor(call->reads[token.index])) return false;
      const TensorObject* tensor = as_tensor(call->reads[token.index]);
      if (token.integer >= tensor->rank) return false;
      stack[depth++] = {false, (token.op == Token::ReadSize ? tensor->sizes : tensor->strides)[token.integer], 0};
    } else if (token.op == Token::ConstInt) {
      stack[depth++] = {false, token.integer, 0};
    } else if (token.op == Token::ConstFloat) {
      stack[depth++] = {true, 0, token.real};
    } else if (token.op == Token::Neg) {
      Number& number = stack[depth - 1];
      if (number.is_float)
        number.real = -number.real;
      else if (__builtin_sub_overflow(int64_t{0}, number.integer, &number.integer))
        return false;
    } else if (token.op >= Token::Sqrt) {
      Number& number = stack[depth - 1];
      number = {true, 0, function_of(token.op, number.as_double())};
      if (!std::isfinite(number.real)) return false;  // Python raises
    } else {
      --depth;
      if (!apply(token.op, &stack[depth - 1], stack[depth])) return false;
    }
  }
  *result = stack[0];
  return true;
}

int64_t evaluate_size(const Postfix& postfix, StaticCall* call) {
  Number number;
  if (!evaluate(postfix, call, &number) || number.is_float)
    raise_error("InternalError", "a size of a static function was lost");
  return number.integer;
}

PyObject* number_object(const Postfix& postfix, StaticCall* call) {  // new reference
  Number number;
  if (!evaluate(postfix, call, &number)) raise_error("InternalError", "a number of a static function was lost");
  return checked(number.is_float ? PyFloat_FromDouble(number.real) : PyLong_FromLongLong(number.integer));
}

}  // namespace dg
