"""Control flow made visible: `if`, `while`, `for` and the rest become calls that may run as Python or as graph nodes.

Two steps over the syntax tree of one function. First `return`, `break` and `continue` inside control flow become flags
and nesting, so that every statement has one way in and one way out. Then each control statement becomes nested
functions handed to a helper (`_dg_` is the function's `Sites` object):

    if t: A else: B        _dg_.if_(t, then, otherwise, get, set, names, live)
    while t: A             _dg_.while_(test, body, get, set, names, live, loads)
    for x in xs: A         _dg_.for_(xs, body, stop, get, set, names, live, loads)
    a if t else b          _dg_.if_exp(t, lambda: a, lambda: b)
    a and b, a or b        _dg_.and_(a, lambda: b), _dg_.or_(a, lambda: b)
    not a, a < b < c       _dg_.not_(a), _dg_.chain(a, ("lt", lambda: b), ("lt", lambda: c))
    assert t, m            _dg_.assert_(t, lambda: m)
    f"{a:.2f} b"           _dg_.text((a, "", ".2f"), " b")

`get` and `set` reach the variables a statement assigns, `live` are those that are read later, `loads` gives what a loop
body looks at besides. On Python values the helpers do what the statement does.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Sequence

from .scopes import FRAME_READERS, HELPER, THUNK, FunctionNode, bound_names, declared_names, own_walk, parameters

RETURNED, RESULT = HELPER + "returned", HELPER + "result"
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
_NO_LAMBDA = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


def lower(node: FunctionNode) -> FunctionNode:
    """A copy of the function with its control flow as helper calls; nested functions too."""
    made = copy.deepcopy(node)
    _lower_in_place(made)
    return made


def _lower_in_place(node: FunctionNode) -> None:
    if isinstance(node, ast.Lambda):
        node.body = _Generator(set(), node).visit(node.body)
        return
    if _is_left_alone(node):
        _Nested().visit_body(node.body)
        return
    node.body = _Exits().function(node)
    captured = _annotate_liveness(node)
    names = bound_names(node)
    generator = _Generator(names, node)
    generator.captured = captured
    body = generator.statements(node.body)
    node.body = [*_bindings(names - set(parameters(node.args)), body[0]), *body]


def _bindings(names: Iterable[str], at: ast.stmt) -> list[ast.stmt]:
    """A statement that never runs and makes the names variables of the function, wherever else they are assigned."""
    assignments = [_assign(name, ast.Constant(None), at) for name in sorted(names)]
    return [ast.copy_location(ast.If(ast.copy_location(ast.Constant(False), at), assignments, []), at)] if assignments else []


def _is_left_alone(node: FunctionNode) -> bool:
    """Generators and coroutines cannot be cut into functions, and who looks at its own frame must find it."""
    for child in own_walk(node):
        if isinstance(child, (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            return True
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name):
            if child.func.id in FRAME_READERS and child.func.id != "super":
                return True
    return isinstance(node, ast.AsyncFunctionDef)


class _Nested(ast.NodeVisitor):
    """Lowers the functions inside of one that is left alone."""

    def visit_body(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        _lower_in_place(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        return


# ---- one way in, one way out --------------------------------------------------------------------------------------


def _name(name: str, at: ast.AST) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), at)


def _assign(name: str, value: ast.expr, at: ast.AST) -> ast.stmt:
    target = ast.copy_location(ast.Name(name, ast.Store()), at)
    return ast.copy_location(ast.Assign([target], ast.copy_location(value, at)), at)


def _flag(name: str, value: bool, at: ast.AST) -> ast.stmt:
    return _assign(name, ast.Constant(value), at)


def _none_of(flags: Iterable[str], at: ast.AST) -> ast.expr:
    """`not (a or b)`."""
    names = [_name(flag, at) for flag in sorted(flags)]
    joined = names[0] if len(names) == 1 else ast.copy_location(ast.BoolOp(ast.Or(), names), at)
    return ast.copy_location(ast.UnaryOp(ast.Not(), joined), at)


class _Exits:
    """Takes `return`, `break` and `continue` out of nested statements."""

    def __init__(self) -> None:
        self.loops = 0

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
        body = node.body
        nested = [s for s in body if not isinstance(s, ast.Return) and _leaves(s, {"return"})]
        if not nested:
            return self.block(body, "", "", keep_return=True)
        lowered = self.block(body, "", "")
        first, last = body[0], body[-1]
        helper = ast.copy_location(ast.Attribute(_name(HELPER, last), "result", ast.Load()), last)
        value = ast.copy_location(ast.Call(helper, [_name(RETURNED, last), _name(RESULT, last)], []), last)
        helper.plain = value.plain = True  # type: ignore[attr-defined]
        end = ast.copy_location(ast.Return(value), last)
        return [_flag(RETURNED, False, first), _assign(RESULT, ast.Constant(None), first), *lowered, end]

    def block(self, body: Sequence[ast.stmt], broke: str, skipped: str, keep_return: bool = False) -> list[ast.stmt]:
        """Statements without exits; `broke` and `skipped` are the flags of the loop around them."""
        out: list[ast.stmt] = []
        for i, statement in enumerate(body):
            if isinstance(statement, ast.Return) and not keep_return:
                value = statement.value or ast.Constant(None)
                return [*out, _assign(RESULT, value, statement), _flag(RETURNED, True, statement)]
            if isinstance(statement, (ast.Break, ast.Continue)):
                return [*out, _flag(broke if isinstance(statement, ast.Break) else skipped, True, statement)]
            flags = self._flags_of(statement, broke, skipped)
            rest = list(body[i + 1 :])
            if not flags:
                out += self.inside(statement, broke, skipped, keep_return)
                continue
            if isinstance(statement, ast.If):
                first, second = _always_leaves(statement.body), _always_leaves(statement.orelse)
                if first:
                    statement.orelse = [*statement.orelse, *([] if second else rest)]
                elif second:
                    statement.body = [*statement.body, *rest]
                out += self.inside(statement, broke, skipped, keep_return)
                if first or second:
                    return out
            else:
                out += self.inside(statement, broke, skipped, keep_return)
            if rest:
                at = rest[0]
                after = self.block(rest, broke, skipped, keep_return)
                # Where the rest is left out because the function has returned, that is known.
                known = [_flag(RETURNED, True, at)] if flags == {RETURNED} else []
                out.append(ast.copy_location(ast.If(_none_of(flags, at), after, known), at))
            return out
        return out

    @staticmethod
    def _flags_of(statement: ast.stmt, broke: str, skipped: str) -> set[str]:
        """The flags a statement may set."""
        flags = set()
        if _leaves(statement, {"return"}):
            flags.add(RETURNED)
        if broke and _leaves(statement, {"break"}):
            flags.add(broke)
        if skipped and _leaves(statement, {"continue"}):
            flags.add(skipped)
        return flags

    def inside(self, statement: ast.stmt, broke: str, skipped: str, keep_return: bool) -> list[ast.stmt]:
        """One statement with the statements in it rewritten."""
        if isinstance(statement, (ast.While, ast.For)):
            return self.loop(statement, broke, skipped, keep_return)
        for field in ("body", "orelse", "finalbody"):
            inner = getattr(statement, field, None)
            if isinstance(inner, list) and inner and not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                setattr(statement, field, self.block(inner, broke, skipped, keep_return) or [ast.copy_location(ast.Pass(), statement)])
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            part.body = self.block(part.body, broke, skipped, keep_return)
        return [statement]

    def loop(self, node: ast.While | ast.For, outer_broke: str, outer_skipped: str, keep_return: bool) -> list[ast.stmt]:
        self.loops += 1
        broke, skipped = f"{HELPER}broke{self.loops}", f"{HELPER}skipped{self.loops}"
        breaks, skips = (any(_leaves(s, {kind}) for s in node.body) for kind in ("break", "continue"))
        returns = any(_leaves(s, {"return"}) for s in node.body) and not keep_return
        body = self.block(node.body, broke, skipped, keep_return)
        before: list[ast.stmt] = []
        if skips:
            body.insert(0, _flag(skipped, False, node))
        stops = set()
        if breaks:
            stops.add(broke)
            before.append(_flag(broke, False, node))
        if returns:
            stops.add(RETURNED)
        orelse = self.block(node.orelse, outer_broke, outer_skipped, keep_return) if node.orelse else []
        node.body, node.orelse = body, []
        if stops:
            node.stops = stops  # type: ignore[union-attr]
        after: list[ast.stmt] = []
        if stops == {RETURNED} and isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value:
            after = [_flag(RETURNED, True, node)]  # there is no other way out
        if orelse:
            after = [ast.copy_location(ast.If(_none_of(stops, node), orelse, []), node)] if stops else orelse
        return [*before, node, *after]


def _leaves(statement: ast.AST, kinds: set[str], in_loop: bool = False) -> bool:
    """Whether a statement may leave what is around it: by `return`, or by `break` or `continue` of the loop around it."""
    if isinstance(statement, ast.Return):
        return "return" in kinds
    if isinstance(statement, (ast.Break, ast.Continue)):
        return not in_loop and ("break" if isinstance(statement, ast.Break) else "continue") in kinds
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)):
        return False
    inner = in_loop or isinstance(statement, (ast.While, ast.For))
    for child in ast.iter_child_nodes(statement):
        of_else = isinstance(statement, (ast.While, ast.For)) and child in statement.orelse
        if _leaves(child, kinds, in_loop if of_else else inner):
            return True
    return False


def _always_leaves(body: Sequence[ast.stmt]) -> bool:
    for statement in body:
        if isinstance(statement, (ast.Return, ast.Break, ast.Continue)):
            return True
        if isinstance(statement, ast.If) and statement.orelse:
            ends = [_always_leaves(part) or _raises(part) for part in (statement.body, statement.orelse)]
            if all(ends) and not all(_raises(part) for part in (statement.body, statement.orelse)):
                return True
    return False


def _raises(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise)


# ---- what is read later -------------------------------------------------------------------------------------------


def _annotate_liveness(node: FunctionNode) -> set[str]:
    """Notes on every control statement which names are read after it; returns the names that inner functions read."""
    captured: set[str] = set()
    for child in own_walk(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            captured |= _reads(child)
    assert isinstance(node.body, list)
    _live_before(node.body, set(captured), captured)
    return captured


def _reads(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)}


def _live_before(body: Sequence[ast.stmt], live: set[str], captured: set[str]) -> set[str]:
    """The names read by the statements, or after them if `live`, before they are assigned."""
    for statement in reversed(body):
        live = _live_before_one(statement, live, captured)
    return live


def _live_before_one(statement: ast.stmt, live: set[str], captured: set[str]) -> set[str]:
    if isinstance(statement, ast.If):
        statement.live = set(live)  # type: ignore[attr-defined]
        then = _live_before(statement.body, set(live), captured)
        return _reads(statement.test) | then | _live_before(statement.orelse, set(live), captured)
    if isinstance(statement, (ast.While, ast.For)):
        statement.live = set(live)  # type: ignore[union-attr]
        head = _reads(statement.test if isinstance(statement, ast.While) else statement.iter) | live
        head |= getattr(statement, "stops", set())
        for _ in range(2):
            head = head | _live_before(statement.body, set(head), captured)
        before = head - (_stored(statement.target) if isinstance(statement, ast.For) else set()) | live
        statement.live_in = before  # type: ignore[union-attr]
        return before
    if isinstance(statement, (ast.With, ast.Try, ast.Match)):
        inner = set(live) | _reads(statement)  # any statement inside may be the last that runs
        for block in _blocks(statement):
            _live_before(block, set(inner), captured)
        return inner
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        plain = {t.id for t in targets if isinstance(t, ast.Name)}
        for target in targets:
            if isinstance(target, (ast.Tuple, ast.List)) and all(isinstance(e, ast.Name) for e in target.elts):
                plain |= {e.id for e in target.elts if isinstance(e, ast.Name)}
        return (live - (plain - captured)) | _reads(statement)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        return live | _reads(statement) | {statement.target.id}
    return live | _reads(statement)


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    found = [getattr(statement, field, []) for field in ("body", "orelse", "finalbody")]
    found += [part.body for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ()))]
    return [block for block in found if block]


def _stored(target: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


# ---- helper calls -------------------------------------------------------------------------------------------------


class _Generator(ast.NodeTransformer):
    """Control flow as helper calls."""

    def __init__(self, local: set[str], function: FunctionNode) -> None:
        self.local = local
        self.declared = declared_names(function)
        self.first = next(iter([a.arg for a in (*function.args.posonlyargs, *function.args.args)]), None)
        self.captured: set[str] = set()
        self.count = 0
        self.depth = 0

    def statements(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for statement in body:
            made = self.visit(statement)
            out += made if isinstance(made, list) else [] if made is None else [made]
        return out

    # -- pieces

    def call(self, at: ast.AST, helper: str, *args: ast.expr) -> ast.expr:
        function = ast.copy_location(ast.Attribute(_name(HELPER, at), helper, ast.Load()), at)
        function.plain = True  # type: ignore[attr-defined]
        made = ast.copy_location(ast.Call(function, list(args), []), at)
        made.plain = True  # type: ignore[attr-defined]
        # A traceback names the statement's first line, not its last.
        function.end_lineno = made.end_lineno = function.lineno
        function.end_col_offset = made.end_col_offset = function.col_offset
        for child in args:
            ast.fix_missing_locations(ast.copy_location(child, at) if not hasattr(child, "lineno") else child)
        return made

    def thunk(self, value: ast.expr) -> ast.expr:
        arguments = _no_arguments()
        arguments.kwonlyargs.append(ast.copy_location(ast.arg(THUNK), value))
        arguments.kw_defaults.append(ast.copy_location(ast.Constant(None), value))
        made = ast.copy_location(ast.Lambda(arguments, value), value)
        made.plain = True  # type: ignore[attr-defined]
        return made

    def function(
        self, kind: str, body: Sequence[ast.stmt], at: ast.stmt, parameter: str | None = None, names: Iterable[str] = ()
    ) -> ast.FunctionDef:
        """A nested function that assigns the enclosing one's variables."""
        self.count += 1
        arguments = _no_arguments()
        if parameter is not None:
            arguments.args.append(ast.copy_location(ast.arg(parameter), at))
        assigned = {n for s in body for n in _assigned(s)} | set(names)
        head: list[ast.stmt] = []
        shared = sorted((assigned & self.local) - self.declared.keys())
        for keyword in ("nonlocal", "global"):
            listed = sorted(n for n in assigned if self.declared.get(n) == keyword)
            if keyword == "nonlocal":
                listed = sorted({*listed, *shared})
            if listed:
                head.append((ast.Nonlocal if keyword == "nonlocal" else ast.Global)(listed))
        made = ast.FunctionDef(f"{HELPER}{kind}{self.count}", arguments, [*head, *(body or [ast.Pass()])], [], None, None)
        ast.copy_location(made, at)
        for statement in made.body:
            if not hasattr(statement, "lineno"):
                ast.copy_location(statement, at)
        return made

    def state(self, names: Sequence[str], at: ast.stmt) -> tuple[list[ast.stmt], ast.expr, ast.expr]:
        """(definitions, the function that gets the variables, the one that sets them)."""
        value = HELPER + "v"
        peeks = [self.call(at, "peek", self.thunk(_name(name, at))) for name in names]
        tuple_ = ast.copy_location(ast.Tuple(peeks, ast.Load()), at)
        body: list[ast.stmt] = []
        for i, name in enumerate(names):
            item = ast.copy_location(ast.Subscript(_name(value, at), ast.Constant(i), ast.Load()), at)
            item.plain = True  # type: ignore[attr-defined]
            body.append(_assign(name, item, at))
            again = copy.deepcopy(item)
            again.plain = True  # type: ignore[attr-defined]
            delete = ast.copy_location(ast.Delete([ast.copy_location(ast.Name(name, ast.Del()), at)]), at)
            body.append(ast.copy_location(ast.If(self.call(at, "is_unbound", again), [delete], []), at))
        setter = self.function("set", body, at, value)
        return [setter], self.thunk(tuple_), _name(setter.name, at)

    def strings(self, names: Iterable[str], at: ast.AST) -> ast.expr:
        made = ast.copy_location(ast.Tuple([ast.Constant(name) for name in names], ast.Load()), at)
        return ast.fix_missing_locations(made)

    def variables(self, statement: ast.stmt, body: Iterable[ast.stmt]) -> list[str]:
        """The local variables that statements assign."""
        return sorted({n for s in body for n in _assigned(s)} & self.local - self.declared.keys())

    def live(self, statement: ast.stmt, names: Sequence[str], more: str = "live") -> ast.expr:
        alive = getattr(statement, more, set()) | getattr(statement, "live", set()) | self.captured
        return self.strings([n for n in names if n in alive], statement)

    # -- statements

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        source = copy.copy(node)
        names = self.variables(node, [*node.body, *node.orelse])
        test = self.visit(node.test)
        self.depth += 1
        then = self.function("then", self.statements(node.body), node)
        otherwise = self.function("else", self.statements(node.orelse), node)
        self.depth -= 1
        made, getter, setter = self.state(names, node)
        branches = (_name(then.name, node), _name(otherwise.name, node))
        loads = self.loads(node, [*source.body, *source.orelse], names)
        call = self.call(
            node, "if_", test, *branches, getter, setter, self.strings(names, node), self.live(node, names), loads
        )
        return [then, otherwise, *made, ast.copy_location(ast.Expr(call), node)]

    def visit_While(self, node: ast.While) -> list[ast.stmt]:
        names = self.variables(node, node.body)
        test = node.test
        stops = getattr(node, "stops", None)
        if stops:
            test = ast.copy_location(ast.BoolOp(ast.And(), [_none_of(stops, node), test]), node)
        loads = self.loads(node, [*node.body, test], names)
        self.depth += 1
        before: list[ast.stmt] = []
        if any(isinstance(n, ast.NamedExpr) for n in ast.walk(test)):
            before = [self.function("test", [ast.copy_location(ast.Return(self.visit(test)), node)], node)]
            thunk = _name(before[0].name, node)  # type: ignore[attr-defined]
        else:
            thunk = self.thunk(self.visit(test))
        body = self.function("body", self.statements(node.body), node)
        self.depth -= 1
        made, getter, setter = self.state(names, node)
        call = self.call(
            node, "while_", thunk, _name(body.name, node), getter, setter,
            self.strings(names, node), self.live(node, names, "live_in"), loads,
        )  # fmt: skip
        return [*before, body, *made, ast.copy_location(ast.Expr(call), node)]

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        item = HELPER + "item"
        take = ast.copy_location(ast.Assign([node.target], _name(item, node)), node)
        source = self.visit(node.iter)
        body = [take, *node.body]
        names = self.variables(node, body)
        loads = self.loads(node, node.body, names)
        stops = getattr(node, "stops", None)
        self.depth += 1
        stop: ast.expr = ast.copy_location(ast.Constant(None), node)
        if stops:
            flags = _none_of(stops, node)
            assert isinstance(flags, ast.UnaryOp)
            stop = self.thunk(self.visit(flags.operand))
        function = self.function("body", self.statements(body), node, item)
        self.depth -= 1
        made, getter, setter = self.state(names, node)
        call = self.call(
            node, "for_", source, _name(function.name, node), stop, getter, setter,
            self.strings(names, node), self.live(node, names, "live_in"), loads, self.strings(sorted(_stored(node.target)), node),
        )  # fmt: skip
        return [function, *made, ast.copy_location(ast.Expr(call), node)]

    def loads(self, node: ast.stmt, body: Iterable[ast.AST], names: Sequence[str]) -> ast.expr:
        """A function that gives what a loop body reads besides its own variables."""
        read = sorted({n for part in body for n in _reads(part)} & self.local - set(names) - self.declared.keys())
        peeks = [self.call(node, "peek", self.thunk(_name(name, node))) for name in read]
        return self.thunk(ast.copy_location(ast.Tuple(peeks, ast.Load()), node))

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        message = self.thunk(self.visit(node.msg)) if node.msg is not None else ast.copy_location(ast.Constant(None), node)
        return ast.copy_location(ast.Expr(self.call(node, "assert_", self.visit(node.test), message)), node)

    def visit_Global(self, node: ast.Global) -> ast.stmt | None:
        return node if not self.depth else None

    visit_Nonlocal = visit_Global  # type: ignore[assignment]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        node.args.kw_defaults = [None if d is None else self.visit(d) for d in node.args.kw_defaults]
        _lower_in_place(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node

    # -- expressions

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        if any(isinstance(n, _NO_LAMBDA) for part in (node.body, node.orelse) for n in ast.walk(part)):
            return self.generic_visit(node)  # type: ignore[return-value]
        test = self.visit(node.test)
        self.depth += 1
        parts = [self.thunk(self.visit(part)) for part in (node.body, node.orelse)]
        self.depth -= 1
        return self.call(node, "if_exp", test, *parts)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        if any(isinstance(n, _NO_LAMBDA) for part in node.values[1:] for n in ast.walk(part)):
            return self.generic_visit(node)  # type: ignore[return-value]
        first = self.visit(node.values[0])
        self.depth += 1
        rest = [self.thunk(self.visit(value)) for value in node.values[1:]]
        self.depth -= 1
        return self.call(node, "and_" if isinstance(node.op, ast.And) else "or_", first, *rest)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        value = self.visit(node.operand)
        if isinstance(node.op, ast.Not):
            return self.call(node, "not_", value)
        return ast.copy_location(ast.UnaryOp(node.op, value), node)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        plain = len(node.ops) == 1 or any(type(op) not in _COMPARISONS for op in node.ops)
        if plain or any(isinstance(n, _NO_LAMBDA) for part in node.comparators for n in ast.walk(part)):
            return self.generic_visit(node)  # type: ignore[return-value]
        left = self.visit(node.left)
        self.depth += 1
        links = []
        for op, right in zip(node.ops, node.comparators):
            name = ast.copy_location(ast.Constant(_COMPARISONS[type(op)]), node)
            links.append(ast.copy_location(ast.Tuple([name, self.thunk(self.visit(right))], ast.Load()), node))
        self.depth -= 1
        return self.call(node, "chain", left, *links)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        parts: list[ast.expr] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                conversion = ast.copy_location(ast.Constant("" if part.conversion < 0 else chr(part.conversion)), node)
                spec: ast.expr = ast.copy_location(ast.Constant(""), node) if part.format_spec is None else self.visit(part.format_spec)
                parts.append(ast.copy_location(ast.Tuple([self.visit(part.value), conversion, spec], ast.Load()), node))
            else:
                parts.append(part)
        return self.call(node, "text", *parts)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        bare = isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args
        if bare and self.depth and self.first is not None:
            node.args = [_name("__class__", node), _name(self.first, node)]
            return node
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        if getattr(node, "plain", False):
            return node
        return self.generic_visit(node)  # type: ignore[return-value]


def _no_arguments() -> ast.arguments:
    return ast.arguments([], [], None, [], [], None, [])


def _assigned(statement: ast.stmt) -> set[str]:
    """Names that a statement assigns in the function it is in."""
    wrapper = ast.FunctionDef("_", _no_arguments(), [statement], [], None, None)
    return bound_names(wrapper, with_declared=True)
