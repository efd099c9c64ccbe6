"""Names in a function's syntax tree: what it binds, what it declares, what belongs to it and not to a function inside."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

HELPER = "_dg_"
THUNK = HELPER + "thunk"  # a parameter that marks lambdas of the conversion
# These look at the frame that calls them.
FRAME_READERS = frozenset({"super", "locals", "globals", "vars", "dir", "eval", "exec", "breakpoint"})


def reads_frame(node: ast.AST) -> bool:
    """Whether it is a call that looks at the frame it is made in."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return False
    return node.func.id in FRAME_READERS and not (node.func.id in ("vars", "dir") and node.args)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def parameters(args: ast.arguments) -> list[str]:
    names = [a.arg for a in args.posonlyargs + args.args + args.kwonlyargs]
    return names + [a.arg for a in (args.vararg, args.kwarg) if a is not None]


@dataclass
class Scope:
    local: set[str]
    free: set[str]  # bound outside the converted function
    declared: set[str] = field(default_factory=set)  # `global` and `nonlocal` names
    around: frozenset[str] = frozenset()  # bound by a captured function around this one: locals of the capture

    def kind(self, name: str) -> str:
        if name in self.around:
            return "local"
        if name in self.local and name not in self.declared:
            return "local"
        return "free" if name in self.free else "global"

    def inner(self, node: ast.AST) -> Scope:
        return Scope(
            self.local - self.declared | bound_names(node), self.free, set(declared_names(node)) - self.local, self.around
        )


def bound_names(node: ast.AST, with_declared: bool = False) -> set[str]:
    """Names that a function or comprehension binds itself; if asked, with those it declares global or nonlocal."""
    names: set[str] = set()
    if isinstance(node, FUNCTIONS):
        names.update(parameters(node.args))
        roots: list[ast.AST] = list(node.body) if isinstance(node.body, list) else [node.body]
    else:
        roots = [g.target for g in node.generators]  # type: ignore[attr-defined]
    declared: set[str] = set()
    stack = roots
    while stack:
        child = stack.pop()
        if isinstance(child, ast.Name):
            if isinstance(child.ctx, (ast.Store, ast.Del)):
                names.add(child.id)
        elif isinstance(child, (ast.Global, ast.Nonlocal)):
            declared.update(child.names)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(child.name)
            stack += child.decorator_list
            if not isinstance(child, ast.ClassDef):
                stack += [d for d in child.args.defaults + child.args.kw_defaults if d is not None]
            continue
        elif isinstance(child, ast.Lambda):
            stack += [d for d in child.args.defaults + child.args.kw_defaults if d is not None]
            continue
        elif isinstance(child, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            # Targets are the comprehension's own, but a walrus inside binds here.
            names.update(n.target.id for n in ast.walk(child) if isinstance(n, ast.NamedExpr))
            continue
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            names.update((a.asname or a.name).split(".")[0] for a in child.names)
        elif isinstance(child, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and child.name:
            names.add(child.name)
        elif isinstance(child, ast.MatchMapping) and child.rest:
            names.add(child.rest)
        stack += ast.iter_child_nodes(child)
    return names if with_declared else names - declared


def declared_names(node: ast.AST) -> dict[str, str]:
    """Names that a function declares, with "global" or "nonlocal"."""
    found: dict[str, str] = {}
    for child in own_walk(node):
        if isinstance(child, (ast.Global, ast.Nonlocal)):
            found.update(dict.fromkeys(child.names, "global" if isinstance(child, ast.Global) else "nonlocal"))
    return found


def own_walk(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function's body; functions and classes inside are given, but not what is in them."""
    body = getattr(node, "body", None)
    stack: list[ast.AST] = list(body) if isinstance(body, list) else []
    while stack:
        child = stack.pop()
        yield child
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            stack += ast.iter_child_nodes(child)


class OwnStatements(ast.NodeTransformer):
    """Changes the statements of one function; functions and classes inside have their own turn."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.stmt:
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return node


def names_of_class(node: ast.ClassDef) -> set[str]:
    """The names that the body of a class binds."""
    names: set[str] = set()
    for child in own_walk(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(child.name)
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            names.add(child.id)
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            names.update((a.asname or a.name).split(".")[0] for a in child.names)
    targets = [n.target for child in own_walk(node) for n in getattr(child, "generators", ())]
    return names - {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
