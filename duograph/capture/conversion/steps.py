"""What each instruction of a function without source does in a capture: see `instructions`."""

from __future__ import annotations

import dis
import operator
import types
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..values.texts import joined

if TYPE_CHECKING:
    from .instructions import Frame

_BINARY = ("add", "and", "floordiv", "lshift", "matmul", "mul", "mod", "or", "pow", "rshift", "sub", "truediv", "xor")
_COMPARED = {"<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge}
_UNARY: dict[str, Callable[[Any], Any]] = {"POSITIVE": operator.pos, "NEGATIVE": operator.neg, "INVERT": operator.invert}
_CONVERSIONS = ("", "s", "r", "a")
NOTHING: Any = object()  # what is below a function on the stack that is no method
MADE: weakref.WeakKeyDictionary[Any, frozenset[int]] = weakref.WeakKeyDictionary()  # functions made here → own variables
_Step = Callable[["Frame", dis.Instruction], None]
STEPS: dict[str, _Step] = {}


def is_jump(name: str) -> bool:
    """Whether an instruction of this name goes on elsewhere."""
    return name.startswith(("JUMP_", "POP_JUMP_"))


def _step(*names: str) -> Callable[[_Step], _Step]:
    def keep(function: _Step) -> _Step:
        STEPS.update(dict.fromkeys(names, function))
        return function

    return keep


@_step("POP_TOP", "POP_EXCEPT")
def _pop_top(f: Frame, s: dis.Instruction) -> None:
    f.stack.pop()


@_step("RETURN_GENERATOR")
def _return_generator(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(None)  # what the first `next` sends


@_step("PUSH_NULL")
def _push_null(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(NOTHING)


@_step("SWAP")
def _swap(f: Frame, s: dis.Instruction) -> None:
    f.stack[-1], f.stack[-s.argval] = f.stack[-s.argval], f.stack[-1]


@_step("COPY")
def _copy(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(f.stack[-s.argval])


@_step("LOAD_CONST")
def _load_const(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(s.argval)


@_step("LOAD_ASSERTION_ERROR")
def _load_assertion_error(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(AssertionError)


@_step("LOAD_FAST")
def _load_fast(f: Frame, s: dis.Instruction) -> None:
    if s.argval not in f.variables:
        raise UnboundLocalError(f"cannot access local variable '{s.argval}' where it is not associated with a value")
    f.stack.append(f.variables[s.argval])


@_step("STORE_FAST")
def _store_fast(f: Frame, s: dis.Instruction) -> None:
    f.variables[s.argval] = f.pop()


@_step("DELETE_FAST")
def _delete_fast(f: Frame, s: dis.Instruction) -> None:
    del f.variables[s.argval]


@_step("LOAD_CLOSURE")
def _load_closure(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(f.cells[s.argval])


@_step("LOAD_DEREF")
def _load_deref(f: Frame, s: dis.Instruction) -> None:
    try:
        value = f.cells[s.argval].cell_contents
    except ValueError:
        raise NameError(f"cannot access free variable '{s.argval}' where it is not associated with a value") from None
    number = f.outside.get(s.argval)
    f.stack.append(value if number is None else f.sites.read_base(number, value))


@_step("STORE_DEREF")
def _store_deref(f: Frame, s: dis.Instruction) -> None:
    value = f.pop()
    number = f.outside.get(s.argval)
    f.cells[s.argval].cell_contents = value if number is None else f.sites.store(number, value)


@_step("LOAD_GLOBAL")
def _load_global(f: Frame, s: dis.Instruction) -> None:
    name = s.argval
    if s.arg is not None and s.arg & 1:
        f.stack.append(NOTHING)
    if name in f.globals:
        f.stack.append(f.sites.read_base(f.numbers[name], f.globals[name]))
        return
    builtins = f.globals.get("__builtins__", __builtins__)
    known = builtins if isinstance(builtins, dict) else vars(builtins)
    if name not in known:
        raise NameError(f"name '{name}' is not defined")
    f.stack.append(known[name])


@_step("STORE_GLOBAL")
def _store_global(f: Frame, s: dis.Instruction) -> None:
    f.globals[s.argval] = f.sites.store(f.numbers[s.argval], f.pop())


@_step("LOAD_ATTR")
def _load_attr(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(f.sites.attr_base(f.stack.pop(), s.argval))


@_step("LOAD_METHOD")
def _load_method(f: Frame, s: dis.Instruction) -> None:
    holder = f.stack.pop()
    f.stack += [NOTHING, f.sites.attr_base(holder, s.argval)]


@_step("STORE_ATTR")
def _store_attr(f: Frame, s: dis.Instruction) -> None:
    holder = f.stack.pop()
    f.sites.set_attr(f.pop(), holder, s.argval)


@_step("DELETE_ATTR")
def _delete_attr(f: Frame, s: dis.Instruction) -> None:
    f.sites.del_attr(f.stack.pop(), s.argval)


@_step("BINARY_SUBSCR")
def _binary_subscr(f: Frame, s: dis.Instruction) -> None:
    key = f.pop()
    f.stack.append(f.sites.item_base(f.stack.pop(), key))


@_step("STORE_SUBSCR")
def _store_subscr(f: Frame, s: dis.Instruction) -> None:
    key, holder = f.pop(), f.stack.pop()
    f.sites.set_item(f.pop(), holder, key)


@_step("DELETE_SUBSCR")
def _delete_subscr(f: Frame, s: dis.Instruction) -> None:
    key = f.pop()
    f.sites.del_item(f.stack.pop(), key)


@_step("UNARY_POSITIVE", "UNARY_NEGATIVE", "UNARY_INVERT")
def _unary(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(_UNARY[s.opname[6:]](f.pop()))


@_step("UNARY_NOT")
def _unary_not(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(f.sites.not_(f.pop()))


@_step("BINARY_OP")
def _binary_op(f: Frame, s: dis.Instruction) -> None:
    right = f.pop()
    in_place, number = divmod(s.arg or 0, len(_BINARY))
    name = _BINARY[number]
    if in_place:  # a list from outside that grows is journalled, not looked at
        f.stack.append(f.sites.update(f.stack.pop(), f"i{name}", right))
    elif name == "mod":
        f.stack.append(f.sites.modulo(f.pop(), right))
    else:
        f.stack.append(getattr(operator, f"{name}_" if name in ("and", "or") else name)(f.pop(), right))


@_step("COMPARE_OP")
def _compare_op(f: Frame, s: dis.Instruction) -> None:
    left, right = f.many(2)
    f.stack.append(_COMPARED[s.argval](left, right))


@_step("IS_OP")
def _is_op(f: Frame, s: dis.Instruction) -> None:
    right, left = f.stack.pop(), f.stack.pop()
    f.stack.append((left is right) is not bool(s.arg))


@_step("CONTAINS_OP")
def _contains_op(f: Frame, s: dis.Instruction) -> None:
    left, right = f.many(2)
    f.stack.append((left in f.sites.items(right)) is not bool(s.arg))


@_step("FORMAT_VALUE")
def _format_value(f: Frame, s: dis.Instruction) -> None:
    flags = s.arg or 0
    spec = f.pop() if flags & 4 else ""
    f.stack.append(joined(((f.pop(), _CONVERSIONS[flags & 3], spec),)))


@_step("BUILD_STRING")
def _build_string(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(joined(tuple((part, "", "") for part in f.many(s.arg or 0))))


@_step("BUILD_TUPLE", "BUILD_LIST", "BUILD_SET", "BUILD_SLICE")
def _build(f: Frame, s: dis.Instruction) -> None:
    items = f.many(s.arg or 0)
    kind = s.opname[6:]
    made = slice(*items) if kind == "SLICE" else {"TUPLE": tuple, "LIST": list, "SET": set}[kind](items)
    f.stack.append(made)


@_step("BUILD_MAP")
def _build_map(f: Frame, s: dis.Instruction) -> None:
    items = f.many(2 * (s.arg or 0))
    f.stack.append(dict(zip(items[::2], items[1::2])))


@_step("BUILD_CONST_KEY_MAP")
def _build_const_key_map(f: Frame, s: dis.Instruction) -> None:
    keys = f.pop()
    f.stack.append(dict(zip(keys, f.many(s.arg or 0))))


@_step("LIST_APPEND", "SET_ADD")
def _append(f: Frame, s: dis.Instruction) -> None:
    value = f.pop()
    holder = f.stack[-s.argval]
    holder.append(value) if s.opname == "LIST_APPEND" else holder.add(value)


@_step("MAP_ADD")
def _map_add(f: Frame, s: dis.Instruction) -> None:
    key, value = f.many(2)
    f.stack[-s.argval][key] = value


@_step("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE")
def _extend(f: Frame, s: dis.Instruction) -> None:
    items = f.sites.items(f.pop())
    holder = f.stack[-s.argval]
    holder.extend(items) if s.opname == "LIST_EXTEND" else holder.update(items)


@_step("DICT_MERGE")
def _dict_merge(f: Frame, s: dis.Instruction) -> None:
    items = f.pop()
    holder = f.stack[-s.argval]
    twice = next((key for key in items if key in holder), None)
    if twice is not None:
        raise TypeError(f"got multiple values for keyword argument '{twice}'")
    holder.update(items)


@_step("LIST_TO_TUPLE")
def _list_to_tuple(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(tuple(f.stack.pop()))


@_step("UNPACK_SEQUENCE")
def _unpack_sequence(f: Frame, s: dis.Instruction) -> None:
    items = list(f.sites.items(f.pop()))
    if len(items) != s.arg:
        raise ValueError(f"expected {s.arg} values to unpack, got {len(items)}")
    f.stack += reversed(items)


@_step("UNPACK_EX")
def _unpack_ex(f: Frame, s: dis.Instruction) -> None:
    before, after = (s.arg or 0) & 0xFF, (s.arg or 0) >> 8
    items = list(f.sites.items(f.pop()))
    if len(items) < before + after:
        raise ValueError(f"not enough values to unpack (expected at least {before + after}, got {len(items)})")
    end = len(items) - after
    f.stack += reversed([*items[:before], items[before:end], *items[end:]])


@_step("GET_ITER")
def _get_iter(f: Frame, s: dis.Instruction) -> None:
    items = f.stack.pop()
    f.stack.append(items if isinstance(items, Iterator) else iter(f.sites.items(f.sites.walked(items, ""))))


@_step("FOR_ITER")
def _for_iter(f: Frame, s: dis.Instruction) -> None:
    try:
        f.stack.append(next(f.stack[-1]))
    except StopIteration:
        f.stack.pop()
        f.at = f.code.place(s.argval)


@_step("KW_NAMES")
def _kw_names(f: Frame, s: dis.Instruction) -> None:
    f.names = f.code.code.co_consts[s.arg or 0]


@_step("CALL")
def _call(f: Frame, s: dis.Instruction) -> None:
    args, names = f.many(s.arg or 0), f.names
    f.names = ()
    second = f.stack.pop()
    first = f.stack.pop()
    if first is not NOTHING:  # a function and, above it, its first argument
        first, args = first, [second, *args]
    else:
        first = second
    count = len(args) - len(names)
    f.stack.append(f.call(first, args[:count], dict(zip(names, args[count:]))))


@_step("CALL_FUNCTION_EX")
def _call_function_ex(f: Frame, s: dis.Instruction) -> None:
    named = dict(f.pop()) if (s.arg or 0) & 1 else {}
    args = list(f.sites.items(f.pop()))
    function = f.stack.pop()
    if f.stack and f.stack[-1] is NOTHING:
        f.stack.pop()
    f.stack.append(f.call(function, args, named))


@_step("MAKE_FUNCTION")
def _make_function(f: Frame, s: dis.Instruction) -> None:
    flags, code = s.arg or 0, f.stack.pop()
    closure = f.stack.pop() if flags & 8 else ()
    if flags & 4:
        f.stack.pop()  # annotations
    by_name = f.stack.pop() if flags & 2 else None
    defaults = f.stack.pop() if flags & 1 else None
    made = types.FunctionType(code, f.globals, code.co_name, defaults, closure)
    made.__kwdefaults__ = by_name
    made.__qualname__ = code.co_qualname
    MADE[made] = frozenset(id(cell) for cell in closure if id(cell) in f.own)
    f.stack.append(made)


@_step("RAISE_VARARGS")
def _raise(f: Frame, s: dis.Instruction) -> None:
    if not s.arg:
        raise RuntimeError("No active exception to reraise")
    cause = f.pop() if s.arg == 2 else None
    error = f.pop()
    if s.arg == 2:
        raise error from cause
    raise error


@_step("BEFORE_WITH")
def _before_with(f: Frame, s: dis.Instruction) -> None:
    manager = f.stack.pop()
    kind = type(manager)
    f.stack.append(types.MethodType(kind.__exit__, manager))
    f.stack.append(kind.__enter__(manager))


@_step("PUSH_EXC_INFO")
def _push_exc_info(f: Frame, s: dis.Instruction) -> None:
    f.stack.insert(-1, None)


@_step("WITH_EXCEPT_START")
def _with_except_start(f: Frame, s: dis.Instruction) -> None:
    error = f.stack[-1]
    f.stack.append(f.stack[-4](type(error), error, error.__traceback__))


@_step("RERAISE")
def _reraise(f: Frame, s: dis.Instruction) -> None:
    raise f.stack.pop()


@_step("IMPORT_NAME")
def _import_name(f: Frame, s: dis.Instruction) -> None:
    level, names = f.many(2)
    f.stack.append(__import__(s.argval, f.globals, None, names, level))


@_step("IMPORT_FROM")
def _import_from(f: Frame, s: dis.Instruction) -> None:
    f.stack.append(getattr(f.stack[-1], s.argval))
