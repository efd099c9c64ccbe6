"""Source conversion: a user's function, with every read of outside state and every call made visible to the recorder.

The converted function keeps the user's file name and line numbers, so tracebacks and debuggers show the user's own
source. What is rewritten, with `_dg_` the function's `Sites` object:

    name            (global or closure)   _dg_.read(k, name)
    obj.attr                              _dg_.attr(obj, "attr")
    obj[index]                            _dg_.item(obj, index)
    f(args)                               _dg_.callee(f)(args)
    obj.attr = v, obj[i] = v              _dg_.set_attr(v, obj, "attr"), _dg_.set_item(v, obj, i)
    del obj.attr, del obj[i]              _dg_.del_attr(obj, "attr"), _dg_.del_item(obj, i)
    obj.attr += v, obj[i] += v            _dg_.aug_attr(obj, "attr", "+", v), _dg_.aug_item(obj, i, "+", v)
    global x; x = v                       x = _dg_.store(k, v)

Locals are left alone. Of classes defined inside a function, bases and values are rewritten; methods are converted when called.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from dataclasses import dataclass, field
from typing import Any

from .finding import SourceMissing, definition
from .flow import lower
from .scopes import HELPER, THUNK, FunctionNode, Scope, bound_names, declared_names, names_of_class, reads_frame

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "iadd", ast.Sub: "isub", ast.Mult: "imul", ast.Div: "itruediv", ast.FloorDiv: "ifloordiv", ast.Mod: "imod",
    ast.Pow: "ipow", ast.MatMult: "imatmul", ast.LShift: "ilshift", ast.RShift: "irshift", ast.BitOr: "ior",
    ast.BitXor: "ixor", ast.BitAnd: "iand",
}  # fmt: skip


@dataclass
class Converted:
    """Converted code, shared by all function objects made from one `def`."""

    code: types.CodeType
    sites: list[tuple[str, str]] = field(default_factory=list)  # ("global" | "free", name)
    codes: tuple[types.CodeType, ...] = ()  # this code and the nested ones, which may be equal
    methods: tuple[types.CodeType, ...] = ()  # of classes inside, not converted yet
    outside: frozenset[str] = frozenset()  # its free variables that a capture does not make


def convert(function: types.FunctionType, outside: frozenset[str] | None = None) -> Converted:
    """Converts the source of `function`; raises SourceMissing.

    Args:
        outside: free variables that were there before a capture; left out: all.
    """
    code = function.__code__
    free = frozenset(code.co_freevars)
    outside = free if outside is None else free & outside
    found, owner = definition(function)
    node = lower(found)
    scope = Scope(bound_names(node), set(outside), around=free - outside)
    sites: list[tuple[str, str]] = []
    rewriter = _Rewriter(scope, sites, owner, function.__globals__)
    body = rewriter.function_body(node)
    inner = _definition(node, body)
    converted = _compile(inner, code)
    if converted.co_varnames[: code.co_argcount] != code.co_varnames[: code.co_argcount]:
        raise SourceMissing(f"{code.co_filename} has changed since it was imported")
    codes, methods = _nested(converted)
    return Converted(converted, sites, tuple(codes), tuple(methods), outside)


def _nested(code: types.CodeType) -> tuple[list[types.CodeType], list[types.CodeType]]:
    """(a code object with those inside of it, the methods of classes among these)."""
    found, methods = [code], []
    of_class = not code.co_flags & inspect.CO_OPTIMIZED
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if of_class and HELPER not in constant.co_freevars and not constant.co_name.startswith("<"):
                methods.append(constant)
                continue
            inner = _nested(constant)
            found += inner[0]
            methods += inner[1]
    return found, methods


# ---- rewriting ----------------------------------------------------------------------------------------------------


class _Rewriter(ast.NodeTransformer):
    def __init__(self, scope: Scope, sites: list[tuple[str, str]], owner: str, module: dict[str, Any]) -> None:
        self.scope = scope
        self.sites = sites
        self.site_numbers: dict[tuple[str, str], int] = {}
        self.owner = owner.lstrip("_")
        self.module = module
        self.temporaries = 0

    def function_body(self, node: FunctionNode) -> list[ast.stmt]:
        self.scope.declared |= set(declared_names(node))
        if isinstance(node, ast.Lambda):
            return [ast.copy_location(ast.Return(self.visit(node.body)), node.body)]
        return self.statements(node.body)

    def statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in body:
            new = self.visit(statement)
            result += new if isinstance(new, list) else [new]
        return result

    # -- helpers

    def mangle(self, name: str) -> str:
        private = name.startswith("__") and not name.endswith("__") and self.owner
        return f"_{self.owner}{name}" if private else name

    def site(self, name: str) -> int | None:
        """The number of an outside name, None for locals and for builtins nobody shadows."""
        kind = self.scope.kind(name)
        if kind == "local" or name == "__class__":
            return None
        if kind == "global" and name not in self.module and hasattr(builtins, name):
            return None
        key = (kind, name)
        if key not in self.site_numbers:
            self.site_numbers[key] = len(self.sites)
            self.sites.append(key)
        return self.site_numbers[key]

    def helper(self, at: ast.AST, method: str, *args: ast.expr) -> ast.Call:
        name = ast.copy_location(ast.Name(HELPER, ast.Load()), at)
        attribute = ast.copy_location(ast.Attribute(name, method, ast.Load()), at)
        for arg in args:
            if not hasattr(arg, "lineno"):
                ast.copy_location(arg, at)
        return ast.copy_location(ast.Call(attribute, list(args), []), at)

    def index(self, node: ast.expr) -> ast.expr:
        """An index as an ordinary expression."""
        if isinstance(node, ast.Slice):
            parts = [ast.Constant(None) if p is None else self.visit(p) for p in (node.lower, node.upper, node.step)]
            return self.helper(node, "slice", *parts)
        if isinstance(node, ast.Tuple):
            elements = [self.index(e) for e in node.elts]
            return ast.copy_location(ast.Tuple(elements, ast.Load()), node)
        visited: ast.expr = self.visit(node)
        return visited

    def base(self, node: ast.expr) -> ast.expr:
        """The object of a subscript or method call: its identity matters, not all it contains."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            return self.name(node, "read_base")
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            return self.helper(node, "attr_base", self.base(node.value), ast.Constant(self.mangle(node.attr)))
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
            return self.helper(node, "item_base", self.base(node.value), self.index(node.slice))
        visited: ast.expr = self.visit(node)
        return visited

    def name(self, node: ast.Name, method: str) -> ast.expr:
        node = ast.copy_location(ast.Name(self.mangle(node.id), node.ctx), node)
        site = self.site(node.id)
        return node if site is None else self.helper(node, method, ast.Constant(site), node)

    # -- expressions

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if not isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Name(self.mangle(node.id), node.ctx), node)
        return self.name(node, "read")

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if getattr(node, "plain", False):
            return node
        name = self.mangle(node.attr)
        if not isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Attribute(self.base(node.value), name, node.ctx), node)
        return self.helper(node, "attr", self.base(node.value), ast.Constant(name))

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if getattr(node, "plain", False):
            return node
        if not isinstance(node.ctx, ast.Load):
            return ast.copy_location(ast.Subscript(self.base(node.value), self.index(node.slice), node.ctx), node)
        return self.helper(node, "item", self.base(node.value), self.index(node.slice))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if getattr(node, "plain", False):  # a helper of control flow
            args = [self.visit(a) for a in node.args[1:]]
            if node.args:
                over = isinstance(node.func, ast.Attribute) and node.func.attr in ("for_", "comprehension")
                args.insert(0, self.walked(node.args[0]) if over else self.visit(node.args[0]))
            return ast.copy_location(ast.Call(node.func, args, []), node)
        if reads_frame(node) and self.site(node.func.id) is None:  # type: ignore[attr-defined]
            return self.frame_reader(node)
        function = self.visit(node.func)
        new = ast.Call(
            self.helper(node, "callee", function),
            [self.visit(a) for a in node.args],
            [ast.copy_location(ast.keyword(k.arg, self.visit(k.value)), k) for k in node.keywords],
        )
        return ast.copy_location(new, node)

    def walked(self, node: ast.expr) -> ast.expr:
        """What a loop goes over: its items matter, and not yet what they hold."""
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            return self.helper(node, "walked", self.base(node), ast.Constant(name))
        visited: ast.expr = self.visit(node)
        return visited

    def frame_reader(self, node: ast.Call) -> ast.expr:
        """A call that must stay in its frame."""
        made = self.generic_visit(node)
        assert isinstance(node.func, ast.Name) and isinstance(made, ast.expr)
        if node.func.id == "globals":
            return self.helper(node, "outside", made)
        if node.func.id in ("eval", "exec"):
            unseen = self.helper(node, "unseen", ast.Constant(node.func.id))
            return ast.copy_location(ast.BoolOp(ast.Or(), [unseen, made]), node)
        return made

    def visit_Starred(self, node: ast.Starred) -> ast.expr:
        value = self.visit(node.value)
        if isinstance(node.ctx, ast.Load):
            value = self.helper(node, "items", value)
        return ast.copy_location(ast.Starred(value, node.ctx), node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        args = self.arguments(node.args)
        outer, self.scope = self.scope, self.scope.inner(node)
        body = self.visit(node.body)
        self.scope = outer
        return ast.copy_location(ast.Lambda(args, body), node)

    def comprehension(self, node: Any) -> Any:
        first = self.visit(node.generators[0].iter)  # evaluated in the enclosing scope
        outer, self.scope = self.scope, self.scope.inner(node)
        self.scope.declared = outer.declared - self.scope.local
        generators = []
        for i, g in enumerate(node.generators):
            source = first if i == 0 else self.visit(g.iter)
            source = self.helper(node, "items", source)
            generators.append(ast.comprehension(self.visit(g.target), source, [self.visit(c) for c in g.ifs], g.is_async))
        if isinstance(node, ast.DictComp):
            new: ast.expr = ast.DictComp(self.visit(node.key), self.visit(node.value), generators)
        else:
            new = type(node)(self.visit(node.elt), generators)
        self.scope = outer
        return ast.copy_location(new, node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension

    # -- statements

    def arguments(self, args: ast.arguments) -> ast.arguments:
        """Defaults are evaluated outside; annotations would be evaluated again, so they go."""

        def bare(a: ast.arg) -> ast.arg:
            return ast.copy_location(ast.arg(self.mangle(a.arg)), a)

        return ast.arguments(
            [bare(a) for a in args.posonlyargs], [bare(a) for a in args.args], bare(args.vararg) if args.vararg else None,
            [bare(a) for a in args.kwonlyargs], [None if d is None else self.visit(d) for d in args.kw_defaults],
            bare(args.kwarg) if args.kwarg else None, [self.visit(d) for d in args.defaults],
        )  # fmt: skip

    def nested_function(self, node: Any) -> Any:
        decorators = [self.visit(d) for d in node.decorator_list]
        args = self.arguments(node.args)
        outer, self.scope = self.scope, self.scope.inner(node)
        body = self.statements(node.body)
        self.scope = outer
        return ast.copy_location(type(node)(node.name, args, body, decorators, None, None), node)

    visit_FunctionDef = visit_AsyncFunctionDef = nested_function

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        node.bases = [self.visit(b) for b in node.bases]
        node.keywords = [ast.copy_location(ast.keyword(k.arg, self.visit(k.value)), k) for k in node.keywords]
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        own = names_of_class(node)

        def visited(value: Any) -> Any:
            """A value that only names of outside of the class go into."""
            mine = value is None or any(isinstance(n, ast.Name) and n.id in own for n in ast.walk(value))
            return value if mine else self.visit(value)

        for statement in node.body:
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                statement.value = visited(statement.value)
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                statement.decorator_list = [visited(d) for d in statement.decorator_list]
                statement.args.defaults = [visited(d) for d in statement.args.defaults]
                statement.args.kw_defaults = [visited(d) for d in statement.args.kw_defaults]
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.match_case:
        guard = None if node.guard is None else self.visit(node.guard)
        return ast.match_case(node.pattern, guard, self.statements(node.body))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return self.visit_Assign(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_Assign(self, node: ast.Assign) -> Any:
        value = self.visit(node.value)
        if len(node.targets) == 1:
            return self.assign(node.targets[0], value, node)
        temporary = self.temporary(node)
        result: list[ast.stmt] = [ast.copy_location(ast.Assign([temporary], value), node)]
        for target in node.targets:
            load = ast.copy_location(ast.Name(temporary.id, ast.Load()), node)
            result += self.assign(target, load, node)
        return result

    def temporary(self, at: ast.AST) -> ast.Name:
        self.temporaries += 1
        return ast.copy_location(ast.Name(f"{HELPER}{self.temporaries}", ast.Store()), at)

    def assign(self, target: ast.expr, value: ast.expr, at: ast.stmt) -> list[ast.stmt]:
        """Statements that store an already rewritten value."""
        if isinstance(target, ast.Attribute):
            name = ast.Constant(self.mangle(target.attr))
            return [self.statement(self.helper(at, "set_attr", value, self.base(target.value), name), at)]
        if isinstance(target, ast.Subscript):
            stored = self.helper(at, "set_item", value, self.base(target.value), self.index(target.slice))
            return [self.statement(stored, at)]
        if isinstance(target, ast.Name):
            site = self.site(target.id)
            if site is not None:
                value = self.helper(at, "store", ast.Constant(site), value)
            return [ast.copy_location(ast.Assign([self.visit(target)], value), at)]
        after: list[ast.stmt] = []
        value = self.helper(at, "items", value)
        return [ast.copy_location(ast.Assign([self.target(target, at, after)], value), at), *after]

    def target(self, target: ast.expr, at: ast.stmt, after: list[ast.stmt]) -> ast.expr:
        """A target that stores locals; what stores elsewhere goes through temporaries and `after`."""
        if isinstance(target, (ast.Tuple, ast.List)):
            elements = [self.target(e, at, after) for e in target.elts]
            return ast.copy_location(type(target)(elements, ast.Store()), target)
        if isinstance(target, ast.Starred):
            return ast.copy_location(ast.Starred(self.target(target.value, at, after), ast.Store()), target)
        if isinstance(target, ast.Name) and self.site(target.id) is None:
            local: ast.expr = self.visit(target)
            return local
        temporary = self.temporary(at)
        after += self.assign(target, ast.copy_location(ast.Name(temporary.id, ast.Load()), at), at)
        return temporary

    @staticmethod
    def statement(value: ast.expr, at: ast.stmt) -> ast.stmt:
        return ast.copy_location(ast.Expr(value), at)

    def visit_For(self, node: Any) -> Any:
        source = self.visit(node.iter)
        before: list[ast.stmt] = []
        target = self.target(node.target, node, before)
        body = before + self.statements(node.body)
        return ast.copy_location(type(node)(target, source, body, self.statements(node.orelse), None), node)

    visit_AsyncFor = visit_For

    def visit_Delete(self, node: ast.Delete) -> Any:
        made: list[ast.stmt] = []
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                call = self.helper(node, "del_attr", self.base(target.value), ast.Constant(self.mangle(target.attr)))
            elif isinstance(target, ast.Subscript) and not getattr(target, "plain", False):
                call = self.helper(node, "del_item", self.base(target.value), self.index(target.slice))
            else:
                made.append(ast.copy_location(ast.Delete([self.visit(target)]), node))
                continue
            made.append(ast.copy_location(ast.Expr(call), node))
        return made

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        operator = ast.Constant(_OPERATORS[type(node.op)])
        value = self.visit(node.value)
        target = node.target
        if isinstance(target, ast.Attribute):
            name = ast.Constant(self.mangle(target.attr))
            return self.statement(self.helper(node, "aug_attr", self.base(target.value), name, operator, value), node)
        if isinstance(target, ast.Subscript):
            base, index = self.base(target.value), self.index(target.slice)
            return self.statement(self.helper(node, "aug_item", base, index, operator, value), node)
        site = self.site(target.id)
        store = self.visit(target)
        if site is None:
            local = ast.copy_location(ast.Name(store.id, ast.Load()), node)
            return ast.copy_location(ast.Assign([store], self.helper(node, "update", local, operator, value)), node)
        old = ast.copy_location(ast.Name(store.id, ast.Load()), node)
        new = self.helper(node, "aug", ast.Constant(site), old, operator, value)
        return ast.copy_location(ast.Assign([store], new), node)


# ---- compiling ----------------------------------------------------------------------------------------------------


_MADE = "_dg_made_"  # no name of the user's: a function that calls itself reads its own from the module


def _definition(node: FunctionNode, body: list[ast.stmt]) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The function without decorators, annotations and defaults (the function object brings its own)."""
    args = node.args

    def bare(a: ast.arg) -> ast.arg:
        return ast.copy_location(ast.arg(a.arg), a)

    none = ast.copy_location(ast.Constant(None), node)
    new = ast.arguments(
        [bare(a) for a in args.posonlyargs], [bare(a) for a in args.args], bare(args.vararg) if args.vararg else None,
        [bare(a) for a in args.kwonlyargs], [None if d is None else none for d in args.kw_defaults],
        bare(args.kwarg) if args.kwarg else None, [none for _ in args.defaults],
    )  # fmt: skip
    kind = ast.AsyncFunctionDef if isinstance(node, ast.AsyncFunctionDef) else ast.FunctionDef
    return ast.copy_location(kind(_MADE, new, body, [], None, None), node)


def _compile(inner: ast.FunctionDef | ast.AsyncFunctionDef, original: types.CodeType) -> types.CodeType:
    free = [ast.arg(name) for name in (*original.co_freevars, HELPER)]
    load = ast.Name(inner.name, ast.Load())
    factory = ast.FunctionDef(
        "_dg_factory_",
        ast.arguments([], free, None, [], [], None, []),
        [inner, ast.Return(load)], [], None, None,
    )  # fmt: skip
    module = ast.Module([factory], [])
    for child in (factory, *factory.args.args, factory.body[1], load):
        ast.copy_location(child, inner)
    ast.fix_missing_locations(module)
    compiled = compile(module, original.co_filename, "exec", dont_inherit=True, flags=original.co_flags & 0x1000000)
    made = next(c for c in compiled.co_consts if isinstance(c, types.CodeType))
    code = next(c for c in made.co_consts if isinstance(c, types.CodeType) and c.co_name == inner.name)
    return _renamed(code, original.co_name, original.co_qualname)


def _renamed(code: types.CodeType, name: str, qualname: str) -> types.CodeType:
    """The code under a name; pieces of its control flow have the same one: messages name the user's function."""
    constants = []
    for c in code.co_consts:
        if isinstance(c, types.CodeType):
            piece = c.co_name.startswith(HELPER) or THUNK in c.co_varnames
            c = _renamed(c, name, qualname) if piece else _renamed(c, c.co_name, f"{qualname}.<locals>.{c.co_name}")
        constants.append(c)
    return code.replace(co_consts=tuple(constants), co_name=name, co_qualname=qualname)
