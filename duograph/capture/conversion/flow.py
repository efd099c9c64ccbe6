"""Control flow made visible: `if`, `while`, `for` and the rest become calls that may run as Python or as graph nodes.

Two steps over the syntax tree of one function. First `return`, `break` and `continue` inside control flow become flags
and nesting, so that every statement has one way in and one way out. Then each control statement becomes nested
functions handed to a helper (`_dg_` is the function's `Sites` object):

    if t: A else: B        _dg_.if_(t, then, otherwise, variables)
    while t: A             _dg_.while_(test, body, variables)
    for x in xs: A         _dg_.for_(xs, body, stop, variables)
    a if t else b          _dg_.if_exp(t, lambda: a, lambda: b)
    a and b, a or b        _dg_.and_(a, lambda: b), _dg_.or_(a, lambda: b)
    not a, a < b < c       _dg_.not_(a), _dg_.chain(a, ("lt", lambda: b), ("lt", lambda: c))
    try: A ... except: B   try: _dg_.tried(1); A ... except: _dg_.caught(); B finally: _dg_.tried(-1)
    assert t, m            _dg_.assert_(t, lambda: m)
    f"{a:.2f} b"           _dg_.text((a, "", ".2f"), " b")

`variables` is `_dg_.variables(get, set, names, live, loads)`: see `control.Variables`.
On Python values the helpers do what the statement does.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Sequence, Set

from .exits import Exits, annotate_liveness, assign, name_of, none_of, reads, thunk
from .matching import Matches
from .raising import Raises
from .scopes import HELPER, FunctionNode, bound_names, declared_names, own_walk, parameters, reads_frame

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip
_TAKE_ALL = frozenset({"sum", "list", "tuple", "max", "min", "sorted"})  # builtins that take every item of an iterator
_NO_LAMBDA = (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)


def lower(node: FunctionNode) -> FunctionNode:
    """A copy of the function with its control flow as helper calls; nested functions too."""
    made = copy.deepcopy(node)
    _lower_in_place(made)
    return made


def _lower_in_place(node: FunctionNode, around: Set[str] = frozenset()) -> None:
    """`around`: variables of the functions around it."""
    if isinstance(node, ast.Lambda):
        node.body = _Generator(set(), node).visit(node.body)
        return
    if _is_left_alone(node):
        _Nested(around | bound_names(node)).visit_body(node.body)
        return
    node.body = Raises().statements(Matches().function(node.body))
    node.body = Exits().function(node)
    captured = annotate_liveness(node)
    names = bound_names(node)
    generator = _Generator(names, node, around)
    generator.captured = captured
    body = generator.statements(node.body)
    node.body = [*_bindings(names - set(parameters(node.args)), body[0]), *body]


def _bindings(names: Iterable[str], at: ast.stmt) -> list[ast.stmt]:
    """A statement that never runs and makes the names variables of the function, wherever else they are assigned."""
    assignments = [assign(name, ast.Constant(None), at) for name in sorted(names)]
    return [ast.copy_location(ast.If(ast.copy_location(ast.Constant(False), at), assignments, []), at)] if assignments else []


def _is_left_alone(node: FunctionNode) -> bool:
    """Generators and coroutines cannot be cut into functions, and who looks at its own frame must find it."""
    for child in own_walk(node):
        if isinstance(child, (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            return True
        if reads_frame(child) and child.func.id != "super":  # type: ignore[attr-defined]
            return True
    return isinstance(node, ast.AsyncFunctionDef)


def _tested(test: ast.expr) -> ast.expr:
    """The expression, of which only the truth counts; its `and`, `or` and `not` are marked so."""
    if isinstance(test, ast.BoolOp):
        test.tested = True  # type: ignore[attr-defined]
        for part in test.values:
            _tested(part)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        _tested(test.operand)
    return test


class _Nested(ast.NodeVisitor):
    """Lowers the functions inside of one that is left alone."""

    def __init__(self, around: Set[str]) -> None:
        self.around = around

    def visit_body(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        _lower_in_place(node, self.around)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        return


# ---- helper calls -------------------------------------------------------------------------------------------------


class _Generator(ast.NodeTransformer):
    """Control flow as helper calls."""

    def __init__(self, local: set[str], function: FunctionNode, around: Set[str] = frozenset()) -> None:
        self.local = local
        self.around = around
        self.declared = declared_names(function)
        # Those of the functions around it are variables of a statement, too; others are outside, where writes are seen.
        self.theirs = {name for name, how in self.declared.items() if how == "nonlocal" and name in around}
        self.own = local - self.declared.keys() | self.theirs
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
        function = ast.copy_location(ast.Attribute(name_of(HELPER, at), helper, ast.Load()), at)
        function.plain = True  # type: ignore[attr-defined]
        made = ast.copy_location(ast.Call(function, list(args), []), at)
        made.plain = True  # type: ignore[attr-defined]
        # A traceback names the statement's first line, not its last.
        function.end_lineno = made.end_lineno = function.lineno
        function.end_col_offset = made.end_col_offset = function.col_offset
        for child in args:
            ast.fix_missing_locations(ast.copy_location(child, at) if not hasattr(child, "lineno") else child)
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
        shared = sorted(assigned & self.own)
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
        peeks = [self.call(at, "peek", thunk(name_of(name, at))) for name in names]
        tuple_ = ast.copy_location(ast.Tuple(peeks, ast.Load()), at)
        body: list[ast.stmt] = []
        for i, name in enumerate(names):
            item = ast.copy_location(ast.Subscript(name_of(value, at), ast.Constant(i), ast.Load()), at)
            item.plain = True  # type: ignore[attr-defined]
            body.append(assign(name, item, at))
            again = copy.deepcopy(item)
            again.plain = True  # type: ignore[attr-defined]
            delete = ast.copy_location(ast.Delete([ast.copy_location(ast.Name(name, ast.Del()), at)]), at)
            body.append(ast.copy_location(ast.If(self.call(at, "is_unbound", again), [delete], []), at))
        setter = self.function("set", body, at, value)
        return [setter], thunk(tuple_), name_of(setter.name, at)

    def strings(self, names: Iterable[str], at: ast.AST) -> ast.expr:
        made = ast.copy_location(ast.Tuple([ast.Constant(name) for name in names], ast.Load()), at)
        return ast.fix_missing_locations(made)

    def variables(self, statement: ast.stmt, body: Iterable[ast.stmt]) -> list[str]:
        """The local variables that statements assign."""
        return sorted({n for s in body for n in _assigned(s)} & self.own)

    def live(self, statement: ast.stmt, names: Sequence[str], more: str = "live") -> ast.expr:
        alive = getattr(statement, more, set()) | getattr(statement, "live", set()) | self.captured | self.theirs
        return self.strings([*(n for n in names if n in alive), *sorted(alive.difference(names))], statement)

    # -- statements

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        source = copy.copy(node)
        names = self.variables(node, [*node.body, *node.orelse])
        test = self.visit(_tested(node.test))
        self.depth += 1
        then = self.function("then", self.statements(node.body), node)
        otherwise = self.function("else", self.statements(node.orelse), node)
        self.depth -= 1
        made, getter, setter = self.state(names, node)
        branches = (name_of(then.name, node), name_of(otherwise.name, node))
        loads = self.loads(node, [*source.body, *source.orelse], names)
        parts = (getter, setter, self.strings(names, node), self.live(node, names), loads)
        call = self.call(node, "if_", test, *branches, self.call(node, "variables", *parts))
        return [then, otherwise, *made, ast.copy_location(ast.Expr(call), node)]

    def visit_While(self, node: ast.While) -> list[ast.stmt]:
        names = self.variables(node, node.body)
        test = node.test
        stops = getattr(node, "stops", None)
        if stops:
            test = ast.copy_location(ast.BoolOp(ast.And(), [none_of(stops, node), test]), node)
        test = _tested(test)
        loads = self.loads(node, [*node.body, test], names)
        self.depth += 1
        before: list[ast.stmt] = []
        if any(isinstance(n, ast.NamedExpr) for n in ast.walk(test)):
            before = [self.function("test", [ast.copy_location(ast.Return(self.visit(test)), node)], node)]
            again = name_of(before[0].name, node)  # type: ignore[attr-defined]
        else:
            again = thunk(self.visit(test))
        body = self.function("body", self.statements(node.body), node)
        self.depth -= 1
        made, getter, setter = self.state(names, node)
        parts = (getter, setter, self.strings(names, node), self.live(node, names, "live_in"), loads)
        call = self.call(node, "while_", again, name_of(body.name, node), self.call(node, "variables", *parts))
        return [*before, body, *made, ast.copy_location(ast.Expr(call), node)]

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        item = HELPER + "item"
        take = ast.copy_location(ast.Assign([node.target], name_of(item, node)), node)
        source = self.visit(node.iter)
        body = [take, *node.body]
        names = self.variables(node, body)
        loads = self.loads(node, node.body, names)
        stops = getattr(node, "stops", None)
        self.depth += 1
        stop: ast.expr = ast.copy_location(ast.Constant(None), node)
        if stops:
            flags = none_of(stops, node)
            assert isinstance(flags, ast.UnaryOp)
            stop = thunk(self.visit(flags.operand))
        function = self.function("body", self.statements(body), node, item)
        self.depth -= 1
        made, getter, setter = self.state(names, node)
        parts = (getter, setter, self.strings(names, node), self.live(node, names, "live_in"), loads)
        variables = self.call(node, "variables", *parts)
        call = self.call(node, "for_", source, name_of(function.name, node), stop, variables)
        return [function, *made, ast.copy_location(ast.Expr(call), node)]

    def loads(self, node: ast.stmt, body: Iterable[ast.AST], names: Sequence[str]) -> ast.expr:
        """A function that gives what a loop body reads besides its own variables."""
        read = sorted({n for part in body for n in reads(part)} & self.own - set(names))
        peeks = [self.call(node, "peek", thunk(name_of(name, node))) for name in read]
        return thunk(ast.copy_location(ast.Tuple(peeks, ast.Load()), node))

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        message = thunk(self.visit(node.msg)) if node.msg is not None else ast.copy_location(ast.Constant(None), node)
        return ast.copy_location(ast.Expr(self.call(node, "assert_", self.visit(_tested(node.test)), message)), node)

    def visit_Try(self, node: ast.Try) -> ast.stmt:
        def say(helper: str, *change: int) -> ast.stmt:
            values = [ast.copy_location(ast.Constant(c), node) for c in change]
            return ast.fix_missing_locations(ast.copy_location(ast.Expr(self.call(node, helper, *values)), node))

        node.body, node.orelse = self.statements(node.body), self.statements(node.orelse)
        for handler in node.handlers:
            handler.type = None if handler.type is None else self.visit(handler.type)
            handler.body = [say("caught"), *self.statements(handler.body)]
        node.body.insert(0, say("tried", 1))
        node.finalbody = [say("tried", -1), *self.statements(node.finalbody)]
        return node

    def visit_Global(self, node: ast.Global) -> ast.stmt | None:
        return node if not self.depth else None

    visit_Nonlocal = visit_Global  # type: ignore[assignment]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        node.args.kw_defaults = [None if d is None else self.visit(d) for d in node.args.kw_defaults]
        _lower_in_place(node, self.around | self.local)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node

    # -- expressions

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        if any(isinstance(n, _NO_LAMBDA) for part in (node.body, node.orelse) for n in ast.walk(part)):
            return self.generic_visit(node)  # type: ignore[return-value]
        test = self.visit(_tested(node.test))
        self.depth += 1
        parts = [thunk(self.visit(part)) for part in (node.body, node.orelse)]
        self.depth -= 1
        return self.call(node, "if_exp", test, *parts)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        if any(isinstance(n, _NO_LAMBDA) for part in node.values[1:] for n in ast.walk(part)):
            return self.generic_visit(node)  # type: ignore[return-value]
        first = self.visit(node.values[0])
        self.depth += 1
        rest = [thunk(self.visit(value)) for value in node.values[1:]]
        self.depth -= 1
        names = ("all_of", "any_of") if getattr(node, "tested", False) else ("and_", "or_")
        return self.call(node, names[isinstance(node.op, ast.Or)], first, *rest)

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
            links.append(ast.copy_location(ast.Tuple([name, thunk(self.visit(right))], ast.Load()), node))
        self.depth -= 1
        return self.call(node, "chain", left, *links)

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        return self.comprehension(node) or self.generic_visit(node)  # type: ignore[return-value]

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp) -> ast.expr | None:
        """All items of a comprehension as a list; None if more than one `for` makes them."""
        (first, *others), target = node.generators, node.generators[0].target
        names = [target] if isinstance(target, ast.Name) else target.elts if isinstance(target, ast.Tuple) else []
        plain = names and all(isinstance(name, ast.Name) for name in names)
        # A function made in it sees the last item of all, so that the items must share one variable.
        own = any(isinstance(n, (*_NO_LAMBDA, ast.Lambda)) for n in ast.walk(node))
        if others or first.is_async or not plain or own:
            return None
        items = self.visit(first.iter)
        spread = ast.copy_location(ast.Constant(isinstance(target, ast.Tuple)), node)
        self.depth += 1
        parts = [node.elt]
        if first.ifs:
            both = ast.BoolOp(ast.And(), first.ifs)
            parts.append(first.ifs[0] if len(first.ifs) == 1 else ast.copy_location(both, first.ifs[0]))
        functions = [thunk(self.visit(part)) for part in parts]
        self.depth -= 1
        for function in functions:
            function.args.args = [ast.copy_location(ast.arg(name.id), name) for name in names]  # type: ignore[attr-defined]
        return self.call(node, "comprehension", items, spread, *functions)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        parts: list[ast.expr] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                conversion = ast.copy_location(ast.Constant("" if part.conversion < 0 else chr(part.conversion)), node)
                spec: ast.expr = (
                    ast.copy_location(ast.Constant(""), node) if part.format_spec is None else self.visit(part.format_spec)
                )
                parts.append(ast.copy_location(ast.Tuple([self.visit(part.value), conversion, spec], ast.Load()), node))
            else:
                parts.append(part)
        return self.call(node, "said" if getattr(node, "said", False) else "text", *parts)

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        number = isinstance(node.left, ast.Constant) and not isinstance(node.left.value, str)
        if not isinstance(node.op, ast.Mod) or number:
            return self.generic_visit(node)  # type: ignore[return-value]
        name = "said_modulo" if getattr(node, "said", False) else "modulo"
        return self.call(node, name, self.visit(node.left), self.visit(node.right))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if getattr(node, "said", False) and len(node.args) == 1:  # str(...)
            field = ast.FormattedValue(node.args[0], ord("s"), None)
            spoken = ast.copy_location(ast.JoinedStr([ast.copy_location(field, node)]), node)
            spoken.said = True  # type: ignore[attr-defined]
            return self.visit_JoinedStr(spoken)
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        whole = name in _TAKE_ALL and 1 <= len(node.args) <= (2 if name == "sum" else 1)
        if whole and isinstance(node.args[0], ast.GeneratorExp):
            items = self.comprehension(node.args[0])
            if items is not None:
                node.args = [items, *map(self.visit, node.args[1:])]
                for keyword in node.keywords:
                    keyword.value = self.visit(keyword.value)
                return node
        if isinstance(node.func, ast.Name) and node.func.id == "print":
            for text in node.args:
                _said(text)
        bare = isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args
        if bare and self.depth and self.first is not None:
            node.args = [name_of("__class__", node), name_of(self.first, node)]
            return node
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        if getattr(node, "plain", False):
            return node
        return self.generic_visit(node)  # type: ignore[return-value]


def _said(text: ast.expr) -> None:
    """Marks what a printed text is made of."""
    if isinstance(text, ast.BinOp) and isinstance(text.op, ast.Add):
        _said(text.left)
        _said(text.right)
    spoken = isinstance(text, ast.Call) and isinstance(text.func, ast.Name) and text.func.id == "str" and not text.keywords
    if isinstance(text, ast.JoinedStr) or spoken or (isinstance(text, ast.BinOp) and isinstance(text.op, ast.Mod)):
        text.said = True  # type: ignore[attr-defined]


def _no_arguments() -> ast.arguments:
    return ast.arguments([], [], None, [], [], None, [])


def _assigned(statement: ast.stmt) -> set[str]:
    """Names that a statement assigns in the function it is in."""
    wrapper = ast.FunctionDef("_", _no_arguments(), [statement], [], None, None)
    return bound_names(wrapper, with_declared=True)
