"""`raise` on some ways through the body of a `try`: caught where it is raised, so that a tensor may decide whether it is.

try:                          try:
    if a: raise E                 if a:
    B                                 try: raise E
except X: H                           except X: H
else: C                               <leave the body>
                                  B
                              except X: H
                              else: C, unless the body was left
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence

from .scopes import HELPER, OwnStatements

_MOST = 8  # raised on more ways, a `try` is left to Python


class Leave(ast.stmt):
    """The rest of the body of a `try` is left out; `flag` says that it was."""

    def __init__(self, flag: str) -> None:
        super().__init__()
        self.flag = flag


class Raises(OwnStatements):
    """Puts handlers where a `try` statement of one function is left by `raise` or `assert`."""

    def __init__(self) -> None:
        self.count = 0

    def statements(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(statement) for statement in body]

    def visit_Try(self, node: ast.Try) -> ast.stmt:
        self.generic_visit(node)
        if not node.handlers or any(isinstance(n, ast.Raise) for handler in node.handlers for n in ast.walk(handler)):
            return node
        loops = not any(isinstance(n, (ast.Break, ast.Continue)) for handler in node.handlers for n in ast.walk(handler))
        if not 0 < _ways(node.body, loops) <= _MOST:
            return node
        self.count += 1
        node.flag = f"{HELPER}left{self.count}"  # type: ignore[attr-defined]
        node.loops = loops  # type: ignore[attr-defined]
        node.body = self._caught(node.body, node)
        return node

    def _caught(self, body: Sequence[ast.stmt], around: ast.Try) -> list[ast.stmt]:
        made: list[ast.stmt] = []
        for statement in body:
            if isinstance(statement, ast.Assert):
                made += self._assertion(statement, around)
                continue
            if isinstance(statement, ast.If):
                for part in (statement.body, statement.orelse):
                    part[:] = [*self._caught(part[:-1], around), *self._raised(part[-1], around)] if part else []
            elif isinstance(statement, (ast.For, ast.While)) and around.loops:  # type: ignore[attr-defined]
                statement.body = self._caught(statement.body, around)
            made.append(statement)
        return made

    def _raised(self, last: ast.stmt, around: ast.Try) -> list[ast.stmt]:
        """What ends one side of an `if`."""
        if not isinstance(last, ast.Raise) or last.exc is None:
            return self._caught([last], around)
        leave = ast.copy_location(Leave(around.flag), last)  # type: ignore[attr-defined]
        caught = ast.copy_location(ast.Try([last], copy.deepcopy(around.handlers), [], []), last)
        return [caught, leave]

    def _assertion(self, node: ast.Assert, around: ast.Try) -> list[ast.stmt]:
        name = ast.copy_location(ast.Name("AssertionError", ast.Load()), node)
        made = ast.copy_location(ast.Call(name, [] if node.msg is None else [node.msg], []), node)
        error = ast.copy_location(ast.Raise(made, None), node)
        fails = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node)
        return [ast.copy_location(ast.If(fails, self._raised(error, around), []), node)]


def _ways(body: Sequence[ast.stmt], loops: bool) -> int:
    """On how many ways statements raise, nested in `if`, or in loops as well."""
    found = 0
    for statement in body:
        if isinstance(statement, ast.Assert):
            found += 1
        elif isinstance(statement, ast.If):
            for part in (statement.body, statement.orelse):
                found += _ways(part, loops) + (bool(part) and isinstance(part[-1], ast.Raise) and part[-1].exc is not None)
        elif isinstance(statement, (ast.For, ast.While)) and loops:
            found += _ways(statement.body, loops)
    return found


def left(node: ast.AST) -> set[str]:
    """The flags of `try` statements around a statement whose bodies it may leave."""
    if isinstance(node, Leave):
        return {node.flag}
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)):
        return set()
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        found |= left(child)
    return found - {getattr(node, "flag", "")}
