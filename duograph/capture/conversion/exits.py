"""The first steps of converting control flow: `return`, `break` and `continue` as flags, and what is read later.

After this every statement has one way in and one way out. `stops` on a loop are the flags that end it; `live` on a
control statement are the names read after it, `live_in` on a loop those read at the start of a turn.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from .raising import Leave, left
from .scopes import HELPER, THUNK, FunctionNode, bound_names, declared_names, own_walk

RETURNED, RESULT = HELPER + "returned", HELPER + "result"


def name_of(name: str, at: ast.AST) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), at)


def assign(name: str, value: ast.expr, at: ast.AST) -> ast.stmt:
    target = ast.copy_location(ast.Name(name, ast.Store()), at)
    return ast.copy_location(ast.Assign([target], ast.copy_location(value, at)), at)


def thunk(value: ast.expr) -> ast.Lambda:
    """A function without arguments that gives the value of an expression."""
    kwonly = [ast.copy_location(ast.arg(THUNK), value)]
    default: list[ast.expr | None] = [ast.copy_location(ast.Constant(None), value)]
    made = ast.copy_location(ast.Lambda(ast.arguments([], [], None, kwonly, default, None, []), value), value)
    made.plain = True  # type: ignore[attr-defined]
    return made


def _flag(name: str, value: bool, at: ast.AST) -> ast.stmt:
    return assign(name, ast.Constant(value), at)


def none_of(flags: Iterable[str], at: ast.AST) -> ast.expr:
    """`not (a or b)`."""
    names = [name_of(flag, at) for flag in sorted(flags)]
    joined = names[0] if len(names) == 1 else ast.copy_location(ast.BoolOp(ast.Or(), names), at)
    return ast.copy_location(ast.UnaryOp(ast.Not(), joined), at)


class Exits:
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
        helper = ast.copy_location(ast.Attribute(name_of(HELPER, last), "result", ast.Load()), last)
        value = ast.copy_location(ast.Call(helper, [name_of(RETURNED, last), thunk(name_of(RESULT, last))], []), last)
        helper.plain = value.plain = True  # type: ignore[attr-defined]
        end = ast.copy_location(ast.Return(value), last)
        return [_flag(RETURNED, False, first), *lowered, end]

    def block(self, body: Sequence[ast.stmt], broke: str, skipped: str, keep_return: bool = False) -> list[ast.stmt]:
        """Statements without exits; `broke` and `skipped` are the flags of the loop around them."""
        out: list[ast.stmt] = []
        for i, statement in enumerate(body):
            if isinstance(statement, ast.Return) and not keep_return:
                value = statement.value or ast.Constant(None)
                return [*out, assign(RESULT, value, statement), _flag(RETURNED, True, statement)]
            if isinstance(statement, (ast.Break, ast.Continue)):
                return [*out, _flag(broke if isinstance(statement, ast.Break) else skipped, True, statement)]
            if isinstance(statement, Leave):
                return [*out, _flag(statement.flag, True, statement)]
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
                out.append(ast.copy_location(ast.If(none_of(flags, at), after, known), at))
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
        return flags | left(statement)

    def inside(self, statement: ast.stmt, broke: str, skipped: str, keep_return: bool) -> list[ast.stmt]:
        """One statement with the statements in it rewritten."""
        if isinstance(statement, (ast.While, ast.For)):
            return self.loop(statement, broke, skipped, keep_return)
        if isinstance(statement, ast.Try):
            return self.attempt(statement, broke, skipped, keep_return)
        for field in ("body", "orelse", "finalbody"):
            inner = getattr(statement, field, None)
            if isinstance(inner, list) and inner and not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                setattr(
                    statement, field, self.block(inner, broke, skipped, keep_return) or [ast.copy_location(ast.Pass(), statement)]
                )
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            part.body = self.block(part.body, broke, skipped, keep_return)
        return [statement]

    def attempt(self, node: ast.Try, broke: str, skipped: str, keep_return: bool) -> list[ast.stmt]:
        """`try`: its `else` runs where the body was not left."""
        flags = set().union(*(self._flags_of(statement, broke, skipped) for statement in node.body))
        flags -= {RETURNED} if keep_return else set()
        node.body = self.block(node.body, broke, skipped, keep_return)
        for part in (*node.handlers, *([] if not node.orelse else [node])):
            name = "orelse" if part is node else "body"
            setattr(part, name, self.block(getattr(part, name), broke, skipped, keep_return))
        if node.orelse and flags:
            node.orelse = [ast.copy_location(ast.If(none_of(flags, node), node.orelse, []), node)]
        node.finalbody = self.block(node.finalbody, broke, skipped, keep_return)
        own = getattr(node, "flag", None)
        return [node] if own is None else [_flag(own, False, node), node]

    def loop(self, node: ast.While | ast.For, outer_broke: str, outer_skipped: str, keep_return: bool) -> list[ast.stmt]:
        if isinstance(node, ast.While) and not node.orelse and any(isinstance(n, ast.NamedExpr) for n in ast.walk(node.test)):
            leave: list[ast.stmt] = [ast.copy_location(ast.Break(), node)]
            end = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
            node.body = [ast.copy_location(ast.If(end, leave, []), node), *node.body]
            node.test = ast.copy_location(ast.Constant(True), node)
        self.loops += 1
        broke, skipped = f"{HELPER}broke{self.loops}", f"{HELPER}skipped{self.loops}"
        breaks, skips = (any(_leaves(s, {kind}) for s in node.body) for kind in ("break", "continue"))
        returns = any(_leaves(s, {"return"}) for s in node.body) and not keep_return
        stops = set().union(*map(left, node.body))
        body = self.block(node.body, broke, skipped, keep_return)
        before: list[ast.stmt] = []
        if skips:
            body.insert(0, _flag(skipped, False, node))
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
            after = [ast.copy_location(ast.If(none_of(stops, node), orelse, []), node)] if stops else orelse
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
        if isinstance(statement, (ast.Return, ast.Break, ast.Continue, Leave)):
            return True
        if isinstance(statement, ast.If) and statement.orelse:
            ends = [_always_leaves(part) or _raises(part) for part in (statement.body, statement.orelse)]
            if all(ends) and not all(_raises(part) for part in (statement.body, statement.orelse)):
                return True
    return False


def _raises(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Raise)


# ---- what is read later -------------------------------------------------------------------------------------------


def annotate_liveness(node: FunctionNode) -> set[str]:
    """Notes on every control statement which names are read after it; returns the names that inner functions read."""
    captured: set[str] = set()
    for child in own_walk(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            captured |= _reads_outside(child)
    assert isinstance(node.body, list)
    _live_before(node.body, set(captured), captured)
    return captured


def _reads_outside(node: ast.AST) -> set[str]:
    """The names that a function reads, or assigns, and does not have for itself."""
    if isinstance(node, ast.ClassDef):
        return reads(node)
    return (reads(node) | {name for name, how in declared_names(node).items() if how == "nonlocal"}) - bound_names(node)


def reads(node: ast.AST) -> set[str]:
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
        return reads(statement.test) | then | _live_before(statement.orelse, set(live), captured)
    if isinstance(statement, (ast.While, ast.For)):
        statement.live = set(live)  # type: ignore[union-attr]
        head = reads(statement.test if isinstance(statement, ast.While) else statement.iter) | live
        head |= getattr(statement, "stops", set())
        for _ in range(2):
            head = head | _live_before(statement.body, set(head), captured)
        before = head - (stored(statement.target) if isinstance(statement, ast.For) else set()) | live
        statement.live_in = before  # type: ignore[union-attr]
        return before
    if isinstance(statement, ast.With):
        live = _live_before(statement.body, live, captured)
        for item in reversed(statement.items):
            if isinstance(item.optional_vars, ast.Name):
                live = live - ({item.optional_vars.id} - captured)
            live = live | reads(item)
        return live
    if isinstance(statement, ast.Try):
        return _live_before_try(statement, live, captured)
    if isinstance(statement, ast.Match):
        inner = set(live) | reads(statement)  # any statement inside may be the last that runs
        for block in _blocks(statement):
            _live_before(block, set(inner), captured)
        return inner
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        plain = {t.id for t in targets if isinstance(t, ast.Name)}
        for target in targets:
            if isinstance(target, (ast.Tuple, ast.List)) and all(isinstance(e, ast.Name) for e in target.elts):
                plain |= {e.id for e in target.elts if isinstance(e, ast.Name)}
        return (live - (plain - captured)) | reads(statement)
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        return live | reads(statement) | {statement.target.id}
    return live | reads(statement)


def _live_before_try(statement: ast.Try, live: set[str], captured: set[str]) -> set[str]:
    """The same of `try`, where any statement may be the last that runs before a handler or `finally`."""
    final = _live_before(statement.finalbody, set(live), captured)
    caught = set(final)
    for handler in statement.handlers:
        inside = _live_before(handler.body, set(final), captured | final)
        caught |= (inside - {handler.name or ""}) | (set() if handler.type is None else reads(handler.type))
    after = _live_before(statement.orelse, set(final), captured | final)
    return _live_before(statement.body, after | caught, captured | caught) | caught


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    found = [getattr(statement, field, []) for field in ("body", "orelse", "finalbody")]
    found += [part.body for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ()))]
    return [block for block in found if block]


def stored(target: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
