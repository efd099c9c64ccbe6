"""`match` as `if`: so a tensor, or a number that only the run knows, may decide which case runs.

    match x:                     _dg_subject1 = x
        case 1 | 2: A            if _dg_subject1 == 1 or _dg_subject1 == 2: A
        case n if n > 5: B       else:
                                     n = _dg_subject1
                                     if n > 5: B

Values, literals, alternatives, sequences of a fixed length, captures and classes without attributes are converted; a
statement with another pattern is left to Python.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Sequence

from .exits import assign, name_of
from .scopes import HELPER, OwnStatements

_WHOLE = frozenset({"bool", "bytearray", "bytes", "dict", "float", "frozenset", "int", "list", "set", "str", "tuple"})
_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr)
_Bindings = list[tuple[str, ast.expr]]


class _Unknown(Exception):
    """A pattern that is not converted."""


class Matches(OwnStatements):
    """Takes `match` out of the statements of one function."""

    def __init__(self) -> None:
        self.count = 0
        self.loads: Counter[str] = Counter()

    def function(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        self.loads = _loads(body)
        return self.statements(body)

    def statements(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        made: list[ast.stmt] = []
        for statement in body:
            found = self.visit(statement)
            made += found if isinstance(found, list) else [found]
        return made

    def visit_Match(self, node: ast.Match) -> ast.stmt | list[ast.stmt]:
        for case in node.cases:
            case.body = self.statements(case.body)
        self.count += 1
        subject = f"{HELPER}subject{self.count}"
        try:
            found = [_test(case.pattern, name_of(subject, case.pattern)) for case in node.cases]
        except _Unknown:
            return node
        own: Counter[str] = Counter()  # reads of names in the cases that bind them
        for case, (_, bindings) in zip(node.cases, found):
            inside = _loads([*case.body, *([case.guard] if case.guard else [])])
            own.update({name: inside[name] for name, _ in bindings})
        rest: list[ast.stmt] = []
        for number, case in reversed([*enumerate(node.cases)]):
            test, bindings = found[number]
            alone = all(self.loads[name] == own[name] for name, _ in bindings)
            rest = self._case(case, test, bindings, rest, alone)
        return [assign(subject, node.subject, node), *rest]

    def _case(
        self, case: ast.match_case, test: ast.expr | None, bindings: _Bindings, rest: list[ast.stmt], alone: bool
    ) -> list[ast.stmt]:
        """One case and those behind it; `alone`: nothing else reads the names that it binds."""
        at = case.pattern
        bound = [assign(name, value, at) for name, value in bindings]
        if case.guard is None:
            return [*bound, *case.body] if test is None else [_if(test, [*bound, *case.body], rest, at)]
        if test is None:
            return [*bound, _if(case.guard, case.body, rest, at)]
        plain = not any(isinstance(n, _SCOPES) for n in ast.walk(case.guard))
        if not bound or (alone and plain):
            guard = _Named(dict(bindings)).visit(case.guard)
            return [_if(_joined(ast.And(), [test, guard], at), [*bound, *case.body], rest, at)]
        self.count += 1
        fits = f"{HELPER}fits{self.count}"  # names stay bound where the guard fails
        both = _joined(ast.And(), [name_of(fits, at), case.guard], at)
        return [assign(fits, test, at), _if(name_of(fits, at), bound, [], at), _if(both, case.body, rest, at)]


class _Named(ast.NodeTransformer):
    """Puts what names stand for in their places."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self.values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.values.get(node.id, node))


def _loads(nodes: Sequence[ast.AST]) -> Counter[str]:
    """How often each name is read."""
    found = (n for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))
    return Counter(name.id for name in found)


def _if(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], at: ast.AST) -> ast.stmt:
    return ast.copy_location(ast.If(test, body, orelse), at)


def _joined(how: ast.boolop, tests: list[ast.expr], at: ast.AST) -> ast.expr:
    return tests[0] if len(tests) == 1 else ast.copy_location(ast.BoolOp(how, tests), at)


def _helper(name: str, at: ast.AST, *args: ast.expr) -> ast.expr:
    function = ast.copy_location(ast.Attribute(name_of(HELPER, at), name, ast.Load()), at)
    made = ast.copy_location(ast.Call(function, copy.deepcopy(list(args)), []), at)
    function.plain = made.plain = True  # type: ignore[attr-defined]
    return made


def _test(pattern: ast.pattern, subject: ast.expr) -> tuple[ast.expr | None, _Bindings]:
    """(whether the pattern fits, None if it always does; what it binds)."""
    if isinstance(pattern, ast.MatchValue):
        return ast.copy_location(ast.Compare(copy.deepcopy(subject), [ast.Eq()], [pattern.value]), pattern), []
    if isinstance(pattern, ast.MatchSingleton):
        constant = ast.copy_location(ast.Constant(pattern.value), pattern)
        return _helper("is_singleton", pattern, subject, constant), []
    if isinstance(pattern, ast.MatchAs):
        test, bindings = (None, []) if pattern.pattern is None else _test(pattern.pattern, subject)
        return test, bindings if pattern.name is None else [*bindings, (pattern.name, copy.deepcopy(subject))]
    if isinstance(pattern, ast.MatchOr):
        return _any_of(pattern, subject)
    if isinstance(pattern, ast.MatchSequence):
        return _sequence(pattern, subject)
    if isinstance(pattern, ast.MatchClass) and not pattern.kwd_attrs and len(pattern.patterns) <= 1:
        if pattern.patterns and not (isinstance(pattern.cls, ast.Name) and pattern.cls.id in _WHOLE):
            raise _Unknown
        test = _helper("is_of", pattern, subject, pattern.cls)
        inner, bindings = _test(pattern.patterns[0], subject) if pattern.patterns else (None, [])
        return (test if inner is None else _joined(ast.And(), [test, inner], pattern)), bindings
    raise _Unknown


def _any_of(pattern: ast.MatchOr, subject: ast.expr) -> tuple[ast.expr | None, _Bindings]:
    tests: list[ast.expr] = []
    for alternative in pattern.patterns:
        test, bindings = _test(alternative, subject)
        if bindings:
            raise _Unknown
        if test is None:
            return None, []
        tests.append(test)
    return _joined(ast.Or(), tests, pattern), []


def _sequence(pattern: ast.MatchSequence, subject: ast.expr) -> tuple[ast.expr | None, _Bindings]:
    length = ast.copy_location(ast.Constant(len(pattern.patterns)), pattern)
    tests, bound = [_helper("is_sequence", pattern, subject, length)], []
    for number, part in enumerate(pattern.patterns):
        if isinstance(part, ast.MatchStar):
            raise _Unknown
        at = ast.copy_location(ast.Constant(number), part)
        test, bindings = _test(part, ast.copy_location(ast.Subscript(copy.deepcopy(subject), at, ast.Load()), part))
        tests += [] if test is None else [test]
        bound += bindings
    return _joined(ast.And(), tests, pattern), bound
