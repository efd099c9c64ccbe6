// Program::parse: the dict of a program, checked field by field. A wrong index here would be a wild pointer at run
// time.
#include "program_parse.h"

#include <Python.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>

#include "program_field.h"

namespace dg {

namespace {

constexpr int64_t kMaxItems = 1 << 24;
constexpr int kMaxNesting = 64;

class Parser {
 public:
  Parser(Program::Impl& impl, const Field& spec) : p_(impl), spec_(spec) {}

  int n_sizes = 0;

  void parse(const uint8_t* code, size_t code_size) {
    inputs();
    registers();
    n_outputs_ = spec_["outputs"].size();
    data();
    symbols(code, code_size);
    slots();
    outputs();
    n_nodes_ = spec_["nodes"].size();
    p_.blocks.emplace_back();
    block(spec_["steps"], 0, 0);
    late();
    finish_program(p_);
    p_.frame_words = int64_t{p_.n_regs} + p_.max_sizes + p_.max_args + static_cast<int64_t>(p_.slots.size());
  }

 private:
  DType dtype(const Field& field) const { return static_cast<DType>(field.integer_below(kDTypeCount, "dtype")); }
  int32_t reg(const Field& field) const { return field.integer_below(p_.n_regs, "register"); }
  int32_t optional_reg(const Field& field) const { return field.is_none() ? -1 : reg(field); }
  int32_t slot(const Field& field) const { return field.integer_below(static_cast<int64_t>(p_.slots.size()), "slot"); }
  static int64_t limited(const Field& list) {
    if (list.size() > kMaxItems) fail(list.where(), "too long");
    return list.size();
  }

  void inputs() {
    const Field ranks = spec_["inputs"], numbers = spec_["numbers"];
    int64_t count = 0;
    for (int64_t i = 0; i < limited(ranks); ++i) {
      p_.ranks.push_back(ranks[i].integer_below(kMaxRank + 1, "rank"));
      count += 2 * p_.ranks.back();
    }
    for (int64_t i = 0; i < limited(numbers); ++i) p_.number_dtypes.push_back(dtype(numbers[i]));
    const Field sizes = spec_["n_sizes"];
    n_sizes = sizes.is_none() ? 0 : sizes.integer_below(kMaxItems, "number of sizes");
    p_.first_instr_reg = p_.n_regs = static_cast<int32_t>(count) + n_sizes;
  }

  void registers() {
    p_.constants.assign(static_cast<size_t>(p_.n_regs), 0);
    constant_.assign(static_cast<size_t>(p_.n_regs), false);
    late_regs_.assign(static_cast<size_t>(p_.n_regs), -1);
    const Field list = spec_["regs"];
    for (int64_t i = 0; i < limited(list); ++i) {
      const Field item = list[i];
      const std::string op = item[int64_t{0}].text();
      RegInstr instr{};
      if (op == "const") {
        instr.op = RegOp::Const;
        instr.value = item[1].integer();
      } else if (op == "late") {
        if (item[1].integer() != static_cast<int64_t>(p_.late.size()))
          fail(item.where(), "late sizes are numbered in order");
        instr.op = RegOp::Late;
        p_.late.push_back({p_.n_regs, {}, {}, {}, {}, {}});
      } else if (op == "select") {
        instr = {RegOp::Select, reg(item[2]), reg(item[3]), reg(item[1])};
      } else {
        if (!named_operation(op, &instr.op)) fail(item.where(), "unknown register operation '" + op + "'");
        instr = {instr.op, reg(item[1]), reg(item[2])};
        if (is_constant(instr.b)) instr.divide_by_shifting(p_.constants[static_cast<size_t>(instr.b)]);
      }
      instr.target = p_.n_regs++;
      add_register(instr);
    }
    const Field checks = spec_["checks"];
    for (int64_t i = 0; i < limited(checks); ++i) {
      const int64_t code = checks[i][1].integer();
      if (code <= 0) fail(checks[i].where(), "a check code must be positive");
      const int32_t known = reg(checks[i][int64_t{0}]);
      checks_after(late_of(known)).push_back({known, code});
    }
    p_.arena_reg = optional_reg(spec_["arena"]);
    if (late_of(p_.arena_reg) >= 0) fail("arena", "its size is not known when the program starts");
    const Field arenas = spec_["late_arenas"];
    for (int64_t i = 0; i < limited(arenas); ++i) {
      p_.late_arenas.push_back(reg(arenas[i]));
      const int32_t after = late_of(p_.late_arenas.back());
      if (after < 0) fail(arenas[i].where(), "its size is known when the program starts");
      p_.late[static_cast<size_t>(after)].arenas.push_back(static_cast<int32_t>(i));
    }
  }

  // The last late size that a register needs, or -1.
  int32_t late_of(int32_t reg) const { return reg >= 0 ? late_regs_[static_cast<size_t>(reg)] : -1; }
  std::vector<Check>& checks_after(int32_t late) {
    return late < 0 ? p_.checks : p_.late[static_cast<size_t>(late)].checks;
  }

  bool is_constant(int32_t reg) const { return constant_[static_cast<size_t>(reg)]; }

  // Registers that do not depend on sizes are computed here, once.
  void add_register(const RegInstr& instr) {
    if (instr.op == RegOp::Late) {
      constant_.push_back(false);
      p_.constants.push_back(0);
      late_regs_.push_back(static_cast<int32_t>(p_.late.size()) - 1);
      return;
    }
    int32_t after = -1;
    if (instr.op != RegOp::Const) {
      after = std::max(late_of(instr.a), late_of(instr.b));
      if (instr.op == RegOp::Select) after = std::max(after, late_of(instr.c));
    }
    late_regs_.push_back(after);
    const bool constant = instr.op == RegOp::Const || (is_constant(instr.a) && is_constant(instr.b) &&
                                                       (instr.op != RegOp::Select || is_constant(instr.c)));
    constant_.push_back(constant);
    p_.constants.push_back(constant ? instr.evaluate(p_.constants.data()) : 0);
    if (!constant) (after < 0 ? p_.instrs : p_.late[static_cast<size_t>(after)].instrs).push_back(instr);
  }

  void data() {
    const Field field = spec_["data"];
    if (field.is_none()) return;
    const std::string bytes = field.bytes();
    p_.data = BufferRef(allocate(bytes.size()));
    std::memcpy(p_.data.get()->data, bytes.data(), bytes.size());
    data_bytes_ = static_cast<int64_t>(bytes.size());
  }

  void slots() {
    const Field list = spec_["slots"];
    for (int64_t i = 0; i < limited(list); ++i) {
      const Field item = list[i];
      const std::string kind = item[int64_t{0}].text();
      ProgramSlot slot{};
      if (kind == "input") {
        slot = {SlotKind::Input, item[1].integer_below(static_cast<int64_t>(p_.ranks.size()), "input")};
      } else if (kind == "number") {
        slot = {SlotKind::Number, item[1].integer_below(static_cast<int64_t>(p_.number_dtypes.size()), "number")};
      } else if (kind == "output") {
        slot = {SlotKind::Output, item[1].integer_below(n_outputs_, "output")};
      } else if (kind == "temp") {
        const int32_t arena =
            item.size() > 3 ? item[3].integer_below(static_cast<int64_t>(p_.late_arenas.size()), "late arena") + 1 : 0;
        if (arena == 0 && p_.arena_reg < 0) fail(item.where(), "a temporary, but the program has no arena");
        slot = {SlotKind::Temp, arena, reg(item[1]), reg(item[2])};
      } else if (kind == "view") {
        slot = {SlotKind::View, item[1].integer_below(i, "slot"), reg(item[2])};
      } else if (kind == "const") {
        if (!p_.data.get()) fail(item.where(), "a constant, but the program has no data");
        slot.kind = SlotKind::Const;
        slot.data_offset = item[1].integer_below(data_bytes_ + 1, "data offset");
      } else if (kind == "row" || kind == "stack" || kind == "box") {
        slot.kind = kind == "row" ? SlotKind::Row : kind == "stack" ? SlotKind::Stack : SlotKind::Box;
      } else if (kind == "kept") {
        slot.kind = SlotKind::Kept;
      } else if (kind == "symbol") {
        slot.kind = SlotKind::Symbol;
        slot.function = function(item[1]);
      } else {
        fail(item.where(), "unknown kind '" + kind + "'");
      }
      p_.slots.push_back(slot);
    }
  }

  std::vector<int32_t> dims(const Field& list) const {
    std::vector<int32_t> regs;
    if (list.size() > kMaxRank) fail(list.where(), "more than " + std::to_string(kMaxRank) + " dimensions");
    for (int64_t d = 0; d < list.size(); ++d) regs.push_back(reg(list[d]));
    return regs;
  }

  void outputs() {
    const Field list = spec_["outputs"];
    for (int64_t j = 0; j < limited(list); ++j) {
      const Field item = list[j];
      OutputSpec output;
      output.dtype = dtype(item[int64_t{0}]);
      const Field alias = item.size() > 2 ? item[2] : Field(Py_None, item.where());
      const auto n_inputs = static_cast<int64_t>(p_.ranks.size());
      if (alias.is_none()) {
        output.shape = dims(item[1]);
      } else if (alias[int64_t{0}].is_text()) {
        if (alias[int64_t{0}].text() != "inplace") fail(alias.where(), "expected \"inplace\"");
        output.kind = OutputKind::InPlace;
        output.source = alias[1].integer_below(n_inputs, "input");
      } else {
        output.shape = dims(item[1]);
        const Field source = alias[int64_t{0}];
        if (source.is_list()) {  // ["output", k]: a view of an earlier fresh output
          output.kind = OutputKind::OutputView;
          output.source = source[1].integer_below(j, "output");
          if (source[int64_t{0}].text() != "output" || p_.outputs[output.source].kind != OutputKind::Fresh)
            fail(source.where(), "expected [\"output\", k] with an earlier fresh output");
        } else {
          output.kind = OutputKind::InputView;
          output.source = source.integer_below(n_inputs, "input");
        }
        const bool strided = !alias[1].is_none();
        if (strided) output.strides = dims(alias[1]);
        if (strided && output.strides.size() != output.shape.size())
          fail(alias.where(), "as many strides as sizes expected");
        if (!strided && !output.shape.empty()) fail(alias.where(), "a view needs strides");
        output.offset_reg = alias.size() > 2 ? optional_reg(alias[2]) : -1;
      }
      output.late = late_of(output.offset_reg);
      for (const int32_t size : output.shape) output.late = std::max(output.late, late_of(size));
      for (const int32_t stride : output.strides) output.late = std::max(output.late, late_of(stride));
      if (output.kind == OutputKind::OutputView)
        output.late = std::max(output.late, p_.outputs[static_cast<size_t>(output.source)].late);
      if (output.late >= 0) p_.late[static_cast<size_t>(output.late)].outputs.push_back(static_cast<int32_t>(j));
      p_.outputs.push_back(std::move(output));
    }
  }

  void symbols(const uint8_t* code, size_t code_size) {
    const Field list = spec_["symbols"];
    for (int64_t i = 0; i < limited(list); ++i) p_.symbols.push_back(list[i].text());
    if (code_size == 0) return;
    try {
      p_.code = load_object(code, code_size);
    } catch (const LoadError& error) {
      fail("code", error.what());
    }
  }

  // The address of a symbol, of the program's own code or of a library: "library:function".
  void* function(const Field& field) const {
    const std::string& name = p_.symbols[field.integer_below(static_cast<int64_t>(p_.symbols.size()), "symbol")];
    const size_t colon = name.rfind(':');
    void* found = nullptr;
    if (colon != std::string::npos)
      found = library_symbol(name.substr(0, colon), name.substr(colon + 1));
    else if (p_.code)
      found = p_.code->symbol(name);
    if (!found) fail(field.where(), "the code has no function '" + name + "'");
    return found;
  }

  // Appends indices and gives where they start.
  int32_t add_indices(const std::vector<int32_t>& values) {
    const auto begin = static_cast<int32_t>(p_.indices.size());
    p_.indices.insert(p_.indices.end(), values.begin(), values.end());
    return begin;
  }

  bool seen_by_caller(int32_t slot) const {
    while (p_.slots[slot].kind == SlotKind::View) slot = p_.slots[slot].index;
    return p_.slots[slot].kind == SlotKind::Input;
  }
  bool written_in_place(int32_t slot) const {
    while (p_.slots[slot].kind == SlotKind::View) slot = p_.slots[slot].index;
    if (p_.slots[slot].kind != SlotKind::Input) return false;
    for (const OutputSpec& output : p_.outputs)
      if (output.kind == OutputKind::InPlace && output.source == p_.slots[slot].index) return true;
    return false;
  }

  void kernel(const Field& item, Step& step) {
    step.kind = StepKind::Kernel;
    step.symbol = item[1].integer_below(static_cast<int64_t>(p_.symbols.size()), "symbol");
    step.function = reinterpret_cast<KernelFunction>(function(item[1]));
    std::vector<int32_t> args, sizes;
    for (int64_t i = 0; i < limited(item[2]); ++i) args.push_back(slot(item[2][i]));
    for (int64_t i = 0; i < limited(item[3]); ++i) sizes.push_back(reg(item[3][i]));
    step.n_args = static_cast<int32_t>(args.size());
    step.n_sizes = static_cast<int32_t>(sizes.size());
    step.args = add_indices(args);
    step.sizes = add_indices(sizes);
    p_.max_args = std::max(p_.max_args, step.n_args);
    p_.max_sizes = std::max(p_.max_sizes, step.n_sizes);
    step.chunks_reg = optional_reg(item[4]);
    step.scratch_reg = optional_reg(item[5]);
    if (item.size() > 6 && !item[6].is_none() && item[6].integer() >= 0)
      step.node = n_nodes_ ? item[6].integer_below(n_nodes_, "node")
                           : static_cast<int32_t>(item[6].integer_below(kMaxItems, "node"));
    if (item.size() > 7) step.cost_reg = optional_reg(item[7]);
    if (step.cost_reg >= 0) p_.cost_regs.push_back(step.cost_reg);
    // The slots a kernel writes may be listed; otherwise it may write whatever is updated in place.
    if (item.size() > 8 && !item[8].is_none()) {
      for (int64_t i = 0; i < limited(item[8]); ++i) step.commits |= seen_by_caller(slot(item[8][i]));
    } else {
      for (const int32_t arg : args) step.commits |= written_in_place(arg);
    }
    step.whole = item.size() > 9 && item[9].truth();
    if (item.size() > 10) step.grain_reg = optional_reg(item[10]);
    if (item.size() > 11 && !item[11].is_none()) step.keep = keep(item[11], step);
    if (item.size() > 12) step.chain = chain(item[12]);
  }

  // [kernels, which makes the sums, two positions in their sizes, registers]
  int32_t chain(const Field& item) {
    ChainSpec spec{};
    spec.count = item[int64_t{0}].integer_below(4, "number of kernels");
    spec.window = item[1].integer_below(2, "position");
    if (spec.count < 2 || spec.window >= spec.count || spec.count > spec.window + 2)
      fail(item.where(), "no such chain of kernels");
    spec.first_word = item[2].integer_below(kMaxItems, "position");
    spec.end_word = item[3].integer_below(kMaxItems, "position");
    for (int64_t i = 0; i < ChainSpec::kRegs; ++i) spec.regs[i] = reg(item[4 + i]);
    p_.chains.push_back(spec);
    return static_cast<int32_t>(p_.chains.size()) - 1;
  }

  // The kernels of a chain are there, and the one that makes the sums has the two sizes.
  void check_chains(const Field& list, const std::vector<Step>& steps) const {
    for (size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].chain < 0) continue;
      const ChainSpec& spec = p_.chains[static_cast<size_t>(steps[i].chain)];
      for (size_t k = i; k < i + static_cast<size_t>(spec.count); ++k)
        if (k >= steps.size() || steps[k].kind != StepKind::Kernel || steps[k].commits || steps[k].n_args < 3 ||
            (k > i && steps[k].chain >= 0))
          fail(list.where(), "a chain of kernels that are none");
      if (std::max(spec.first_word, spec.end_word) >= steps[i + static_cast<size_t>(spec.window)].n_sizes)
        fail(list.where(), "a chain whose sums have too few sizes");
    }
  }

  int32_t keep(const Field& item, const Step& step) {
    KeepSpec spec{};
    spec.argument = item[int64_t{0}].integer_below(step.n_args, "argument");
    const int32_t kept = p_.indices[static_cast<size_t>(step.args + spec.argument)];
    if (p_.slots[static_cast<size_t>(kept)].kind != SlotKind::Kept) fail(item.where(), "expected a slot that is kept");
    spec.input = item[1].integer_below(static_cast<int64_t>(p_.ranks.size()), "input");
    spec.function = reinterpret_cast<KernelFunction>(function(item[2]));
    std::vector<int32_t> sizes;
    for (int64_t i = 0; i < limited(item[3]); ++i) sizes.push_back(reg(item[3][i]));
    spec.n_sizes = static_cast<int32_t>(sizes.size());
    spec.sizes = add_indices(sizes);
    spec.chunks_reg = reg(item[4]);
    spec.bytes_reg = reg(item[5]);
    spec.offset_reg = reg(item[6]);
    spec.replaces = item.size() > 7 && item[7].truth();
    p_.keeps.push_back(spec);
    return static_cast<int32_t>(p_.keeps.size()) - 1;
  }

  // ["images", steps, how many, [[slot, bytes from image to image]]]
  void images(const Field& item, Step& step, int depth) {
    step.kind = StepKind::Images;
    step.first = nested(item[1], depth);
    step.count_reg = reg(item[2]);
    std::vector<int32_t> moving;
    for (int64_t i = 0; i < limited(item[3]); ++i) {
      moving.push_back(slot_of_kind(item[3][i][int64_t{0}], SlotKind::View, "a view"));
      moving.push_back(reg(item[3][i][1]));
    }
    step.n_args = static_cast<int32_t>(moving.size());
    step.args = add_indices(moving);
  }

  int32_t nested(const Field& steps, int depth) {
    const auto index = static_cast<int32_t>(p_.blocks.size());
    p_.blocks.emplace_back();
    block(steps, index, depth + 1);
    return index;
  }

  int32_t late_size(const Field& field) const {
    return field.integer_below(static_cast<int64_t>(p_.late.size()), "late size");
  }
  int32_t optional_late(const Field& field) const { return field.is_none() ? -1 : late_size(field); }

  int32_t slot_of_kind(const Field& field, SlotKind kind, const char* what) const {
    const int32_t found = slot(field);
    if (p_.slots[static_cast<size_t>(found)].kind != kind) fail(field.where(), std::string("expected ") + what);
    return found;
  }

  // [row, stack, bytes of a row, rows or none]
  void stacks(const Field& list, Step& step) {
    step.stacks = static_cast<int32_t>(p_.stacks.size());
    step.n_stacks = static_cast<int32_t>(limited(list));
    for (int64_t i = 0; i < list.size(); ++i) {
      const Field item = list[i];
      StackSpec stack{};
      stack.row = slot_of_kind(item[int64_t{0}], SlotKind::Row, "a row");
      stack.bytes_reg = reg(item[2]);
      stack.capacity_reg = optional_reg(item[3]);
      stack.stack =
          stack.capacity_reg >= 0 ? slot(item[1]) : slot_of_kind(item[1], SlotKind::Stack, "a stack that grows");
      views_of(stack.row, &stack.row_views, &stack.n_row_views);
      if (stack.capacity_reg < 0) views_of(stack.stack, &stack.stack_views, &stack.n_stack_views);
      p_.stacks.push_back(stack);
    }
  }

  // The views of a slot, each after what it is a view of.
  void views_of(int32_t slot, int32_t* first, int32_t* count) {
    std::vector<int32_t> views;
    for (size_t i = 0; i < p_.slots.size(); ++i) {
      auto root = static_cast<int32_t>(i);
      while (p_.slots[static_cast<size_t>(root)].kind == SlotKind::View)
        root = p_.slots[static_cast<size_t>(root)].index;
      if (root == slot && root != static_cast<int32_t>(i)) views.push_back(static_cast<int32_t>(i));
    }
    *first = add_indices(views);
    *count = static_cast<int32_t>(views.size());
  }

  // ["box", box, bytes, kept or not], ["number", box of an earlier step, slot], ["unbox", box, bytes, slot of the
  // number]
  void box(const Field& item, Step& step, const std::string& kind) {
    const int32_t box = slot_of_kind(item[1], SlotKind::Box, "a box");
    p_.boxes = true;
    if (kind == "number") {
      const auto made = made_by_.find(box);
      if (made == made_by_.end()) fail(item.where(), "nothing makes this box");
      step.kind = StepKind::Number;
      step.box = made->second;
      step.target = slot(item[2]);
      return;
    }
    step.kind = kind == "box" ? StepKind::Box : StepKind::Unbox;
    step.target = box;
    views_of(box, &step.args, &step.n_args);
    step.count_reg = reg(item[2]);
    if (step.kind == StepKind::Unbox) {
      step.source = slot(item[3]);
    } else {
      step.kept = item[3].truth();
      step.box = made_by_[box] = p_.n_boxes++;
    }
  }

  // ["host", number, [[slot, dtype, [size]]] of operands, the same of results]
  void host(const Field& item, Step& step) {
    step.kind = StepKind::Host;
    step.args = static_cast<int32_t>(p_.hosts.size());
    HostSpec spec{item[1].integer_below(kMaxItems, "host call"), static_cast<int32_t>(limited(item[2])), {}};
    for (int64_t part = 2; part < 4; ++part)
      for (int64_t i = 0; i < limited(item[part]); ++i) {
        const Field value = item[part][i];
        spec.values.push_back({slot(value[int64_t{0}]), dtype(value[1]), dims(value[2])});
      }
    p_.hosts.push_back(std::move(spec));
  }

  void block(const Field& list, int32_t index, int depth) {
    if (depth > kMaxNesting) fail(list.where(), "nested too deeply");
    std::vector<Step> steps;
    for (int64_t i = 0; i < limited(list); ++i) {
      const Field item = list[i];
      const std::string kind = item[int64_t{0}].text();
      Step step{};
      if (kind == "kernel") {
        kernel(item, step);
      } else if (kind == "copy") {
        step.kind = StepKind::Copy;
        step.target = slot(item[1]);
        step.source = slot(item[2]);
        step.count_reg = reg(item[3]);
        p_.cost_regs.push_back(step.count_reg);
        step.commits = seen_by_caller(step.target);
      } else if (kind == "zero") {
        step.kind = StepKind::Zero;
        step.target = slot(item[1]);
        step.count_reg = reg(item[2]);
        p_.cost_regs.push_back(step.count_reg);
        step.commits = seen_by_caller(step.target);
      } else if (kind == "random") {
        step.kind = StepKind::Random;
        step.target = slot(item[1]);
        step.count_reg = reg(item[2]);
      } else if (kind == "cond") {
        step.kind = StepKind::Cond;
        step.target = slot(item[1]);
        step.first = nested(item[2], depth);
        step.second = nested(item[3], depth);
      } else if (kind == "while") {
        step.kind = StepKind::While;
        step.first = nested(item[1], depth);
        step.target = slot(item[2]);
        step.second = nested(item[3], depth);
        if (item.size() > 4) step.late = optional_late(item[4]);
        if (item.size() > 5) stacks(item[5], step);
        p_.loops = true;
      } else if (kind == "images") {
        images(item, step, depth);
      } else if (kind == "measure") {
        step.kind = StepKind::Measure;
        step.late = late_size(item[1]);
        step.source = slot(item[2]);
      } else if (kind == "nonzero") {
        step.kind = StepKind::Nonzero;
        step.late = late_size(item[1]);
        step.source = slot(item[2]);
        step.count_reg = reg(item[3]);
        step.target = slot(item[4]);
        step.chunks_reg = reg(item[5]);
        p_.cost_regs.push_back(step.count_reg);
      } else if (kind == "box" || kind == "number" || kind == "unbox") {
        box(item, step, kind);
      } else if (kind == "check") {
        step.kind = StepKind::Check;
        step.count_reg = reg(item[1]);
        if ((step.code = item[2].integer()) <= 0) fail(item.where(), "a check code must be positive");
      } else if (kind == "host") {
        host(item, step);
      } else {
        fail(item.where(), "unknown kind '" + kind + "'");
      }
      steps.push_back(step);
    }
    check_chains(list, steps);
    p_.blocks[index] = std::move(steps);
  }

  // Slots that wait for late sizes. Those set by loops count as known: they are set whenever they change.
  void late() {
    if (p_.late.empty()) return;
    p_.late_slots = p_.slots;
    std::vector<int32_t> after;
    for (size_t i = 0; i < p_.slots.size(); ++i) {
      ProgramSlot& slot = p_.slots[i];
      int32_t last = std::max(late_of(slot.offset_reg), late_of(slot.bytes_reg));
      if (slot.kind == SlotKind::Output) last = p_.outputs[static_cast<size_t>(slot.index)].late;
      if (slot.kind == SlotKind::View) last = std::max(last, after[static_cast<size_t>(slot.index)]);
      if (slot.kind == SlotKind::Temp && slot.index)
        last = std::max(last, late_of(p_.late_arenas[static_cast<size_t>(slot.index) - 1]));
      after.push_back(last);
      if (last < 0) continue;
      p_.late[static_cast<size_t>(last)].slots.push_back(static_cast<int32_t>(i));
      slot.kind = SlotKind::Late;
    }
  }

  Program::Impl& p_;
  Field spec_;
  std::vector<bool> constant_;          // per register
  std::vector<int32_t> late_regs_;      // per register: the last late size it needs, or -1
  std::map<int32_t, int32_t> made_by_;  // by slot: which step that makes boxes made this one
  int64_t n_outputs_ = 0, n_nodes_ = 0, data_bytes_ = 0;
};

}  // namespace

Program* Program::parse(PyObject* spec, const uint8_t* code, size_t code_size) {
  std::unique_ptr<Program> program(new Program);
  Parser parser(*program->impl_, Field(spec, ""));
  parser.parse(code, code_size);
  program->n_inputs = static_cast<int>(program->impl_->ranks.size());
  program->n_numbers = static_cast<int>(program->impl_->number_dtypes.size());
  program->n_outputs = static_cast<int>(program->impl_->outputs.size());
  program->n_sizes = parser.n_sizes;
  return program.release();
}

}  // namespace dg
