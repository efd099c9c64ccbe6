#include <algorithm>

#include "static_entry.h"

namespace dg {

namespace {

void check_range(int index, size_t count, const char* what) {
  if (index < 0 || static_cast<size_t>(index) >= count) malformed(what);
}

void check_postfix(const Postfix& postfix, const StaticEntry& entry) {
  int depth = 0;
  for (const Token& token : postfix) {
    if (token.op == Token::Read) check_range(token.index, entry.reads.size(), "number");
    if (token.op == Token::Size || token.op == Token::Stride) {
      check_range(token.index, entry.n_tensors, "number");
      if (token.integer < 0) malformed("number");
    }
    if (token.op == Token::ReadSize || token.op == Token::ReadStride) {
      check_range(token.index, entry.reads.size(), "number");
      if (token.integer < 0) malformed("number");
    }
    if (token.op <= Token::ConstFloat)
      ++depth;
    else if (token.op != Token::Neg && token.op < Token::Sqrt)
      --depth;
    if (depth < 1 || depth > 32) malformed("number");
  }
  if (depth != 1) malformed("number");
}

void check_template(const Template& made, const StaticEntry& entry, size_t n_outputs) {
  if (made.kind == Template::Output || made.kind == Template::View) check_range(made.index, n_outputs, "template");
  if (made.kind == Template::ReadValue) check_range(made.index, entry.reads.size(), "template");
  if (made.kind == Template::Number) check_postfix(made.postfix, entry);
  if (made.kind == Template::Dict && made.keys.size() != made.children.size()) malformed("template");
  if (made.kind == Template::View && (made.sizes.size() != made.strides.size() || made.sizes.size() > kMaxRank))
    malformed("template");
  for (const Template& child : made.children) check_template(child, entry, n_outputs);
}

void check_tape(const StaticEntry& entry) {
  const size_t n_inputs = entry.inputs.size(), n_outputs = entry.n_results();
  for (const Postfix& number : entry.tape_numbers) check_postfix(number, entry);
  for (const Postfix& size : entry.tape_sizes) check_postfix(size, entry);
  for (int i : entry.tape_inputs) check_range(i, n_inputs, "tape");
  if (entry.tape_specs.size() != entry.tape_outputs.size()) malformed("tape");
  for (int i : entry.tape_outputs) check_range(i, n_outputs, "tape");
  for (auto [i, j] : entry.tape_paths) check_range(static_cast<int>(std::max(i, j)), entry.tape_outputs.size(), "tape");
  for (const std::vector<int>& outputs : entry.tape_saved_for)
    for (int i : outputs) check_range(i, entry.tape_outputs.size(), "tape");
  for (auto [i, j] : entry.tape_rebased) {
    check_range(i, n_inputs, "tape");
    check_range(j, entry.tape_outputs.size(), "tape");
  }
  for (const Refusal& refusal : entry.tape_refusals) {
    for (int i : refusal.outputs) check_range(i, entry.tape_outputs.size(), "tape");
    for (int i : refusal.inputs) check_range(i, entry.tape_inputs.size(), "tape");
  }
  for (int i : entry.tape_depends) check_range(i, n_inputs, "tape");
  for (int i : entry.tape_depends_numbers) check_range(i, static_cast<int>(entry.numbers.size()), "tape");
  for (auto [output, i] : entry.tape_saved) check_range(i, output ? entry.program->n_outputs : n_inputs, "tape");
}

}  // namespace

void check_entry(const StaticEntry& entry) {
  for (size_t i = 0; i < entry.reads.size(); ++i) {
    const Read& read = entry.reads[i];
    if (read.kind == Read::Element) check_range(read.tuple, i, "read");
    if (read.kind == Read::Arg || read.kind == Read::ArgumentGrad)
      check_range(static_cast<int>(read.index), entry.n_tensors, "read");
    if (read.kind == Read::Piece && read.index >= 0) check_range(static_cast<int>(read.index), entry.n_tensors, "read");
    if (read.kind == Read::Number) check_range(static_cast<int>(read.index), entry.n_numbers, "read");
  }
  const size_t n_inputs = entry.inputs.size();
  for (const Guard& guard : entry.guards) {
    if (guard.kind <= Guard::Tensor) check_range(guard.read, entry.reads.size(), "guard");
    if (guard.kind == Guard::Aliased) {
      check_range(guard.read, entry.reads.size(), "guard");
      check_range(guard.other, entry.reads.size(), "guard");
    }
    if (guard.kind == Guard::Expression) check_postfix(guard.postfix, entry);
    for (int i : guard.movable) check_range(i, n_inputs, "guard");
    for (int i : guard.written) check_range(i, n_inputs, "guard");
  }
  for (const Input& input : entry.inputs)
    if (!input.fixed) check_range(input.read, entry.reads.size(), "input");
  for (const Postfix& number : entry.numbers) check_postfix(number, entry);
  for (const Postfix& size : entry.sizes) check_postfix(size, entry);
  if (static_cast<int>(n_inputs) != entry.program->n_inputs ||
      static_cast<int>(entry.numbers.size()) != entry.program->n_numbers ||
      static_cast<int>(entry.sizes.size()) != entry.program->n_sizes)
    raise_error("InternalError",
                "static entry: the program takes %d tensors, %d numbers and %d sizes, the entry gives %zu, %zu and %zu",
                entry.program->n_inputs, entry.program->n_numbers, entry.program->n_sizes, n_inputs,
                entry.numbers.size(), entry.sizes.size());
  const size_t n_outputs = entry.n_results();
  for (const Part& part : entry.parts) {
    check_range(part.source, part.of_output ? static_cast<size_t>(entry.program->n_outputs) : n_inputs, "parts");
    if (part.sizes.size() != part.strides.size() || part.sizes.size() > kMaxRank) malformed("parts");
    for (const Postfix& number : part.sizes) check_postfix(number, entry);
    for (const Postfix& number : part.strides) check_postfix(number, entry);
    check_postfix(part.offset, entry);
  }
  check_template(entry.outputs, entry, n_outputs);
  for (int i : entry.writes) check_range(i, n_inputs, "writes");
  for (int i : entry.frees) {
    check_range(i, entry.effects.size(), "frees");
    if (entry.effects[i].kind != Effect::Grad) malformed("frees");
  }
  auto check_effects = [&](const std::vector<Effect>& effects, size_t n_values) {
    for (const Effect& effect : effects)
      for (const Template& value : effect.values) check_template(value, entry, n_values);
  };
  check_effects(entry.effects, n_outputs);
  for (const HostCall& host : entry.hosts) {
    check_effects(host.effects, host.n_operands);
    for (const Template& value : host.args) check_template(value, entry, host.n_operands);
  }
  check_tape(entry);
}

}  // namespace dg
