"""The definition of a function in its file."""

from __future__ import annotations

import ast
import linecache
import types
from collections.abc import Iterator

from .scopes import FunctionNode, parameters


class SourceMissing(Exception):
    """The function's source cannot be had, or is not the source of this code."""


_files: dict[str, tuple[list[str], ast.Module]] = {}


def definition(function: types.FunctionType) -> tuple[FunctionNode, str]:
    """The definition in the file and the name of the class around it."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise SourceMissing("its source is not available")
    known = _files.get(code.co_filename)
    if known is None or known[0] is not lines:
        try:
            known = _files[code.co_filename] = (lines, ast.parse("".join(lines)))
        except SyntaxError as error:
            raise SourceMissing("its source cannot be parsed") from error
    candidates = [
        (node, owner)
        for node, owner in _beginning_at(code.co_firstlineno, known[1], "")
        if (code.co_name == "<lambda>") == isinstance(node, ast.Lambda)
        and (isinstance(node, ast.Lambda) or node.name == code.co_name)
        and parameters(node.args) == _code_parameters(code)
    ]
    if len(candidates) > 1:  # several lambdas on one line: the one around this code's instructions
        inside = [c for c in candidates if _contains(c[0], code)]
        candidates = sorted(inside, key=lambda c: _extent(c[0]))[:1]
    if not candidates:
        raise SourceMissing("its source was not found")
    return candidates[0]


def _beginning_at(line: int, node: ast.AST, owner: str) -> Iterator[tuple[FunctionNode, str]]:
    """The functions inside `node` that begin at a line, decorators included, each with the name of the class around it."""
    for child in ast.iter_child_nodes(node):
        first = _first_line(child)
        if first is not None and not first <= line <= getattr(child, "end_lineno", line):
            continue
        if first == line and isinstance(child, (ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child, owner
        yield from _beginning_at(line, child, child.name if isinstance(child, ast.ClassDef) else owner)


def _first_line(node: ast.AST) -> int | None:
    """Where a node begins, decorators included; None for nodes without a place."""
    first: int | None = getattr(node, "lineno", None)
    decorators = getattr(node, "decorator_list", None)
    return min(first, decorators[0].lineno) if decorators and first is not None else first


def _code_parameters(code: types.CodeType) -> list[str]:
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    return list(code.co_varnames[:count])


def _extent(node: FunctionNode) -> tuple[int, int]:
    return ((node.end_lineno or node.lineno) - node.lineno, (node.end_col_offset or 0) - node.col_offset)


def _contains(node: FunctionNode, code: types.CodeType) -> bool:
    start = (node.lineno, node.col_offset)
    end = (node.end_lineno or node.lineno, node.end_col_offset or 0)
    for line, end_line, column, end_column in code.co_positions():
        if None in (line, end_line, column, end_column) or (line, column) == (line, 0):
            continue
        if not (start <= (line, column) and (end_line, end_column) <= end):
            return False
    return True
