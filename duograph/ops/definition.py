"""What an operator is: one `@op` block gives the eager function, the method, the graph node, the gradient and the tests.

The decorated function's signature says what the parameters are, read from the annotation *strings*:

| annotation | parameter | may change without a new compilation |
| --- | --- | --- |
| `Tensor`, `Operand` | a tensor (`Operand`: or a Python number) | its sizes and values |
| `Tensor \\| None` | the same, or absent | |
| `Sequence[Tensor]` | a list of tensors | sizes and values, not its length |
| `Number`, `Number \\| None` | a number that takes part as a value | yes |
| `Sizes`, `*name: int` | several integers, none below 0 (-1 may stand for "the rest") | their values, not how many they are |
| `Integers` | several integers, of either sign | the same |
| `*name: Axis` | several axes | no |
| `Size`, `Size \\| None` | one integer | its value |
| anything else | structure: axes, modes, flags, dtypes | no |

The body says what the operator means, in one of three ways:
* `primitive="exp"`: it *is* that scalar primitive of the IR; the body is `...`;
* `lowers=True`: the body emits IR nodes itself (`ops.tracing.emit`), with its own type and shape rule;
* otherwise a composition: Tensor code that calls other operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, TypeVar, cast

from duograph import _core as core

from .arguments import AUTOCAST, OPERATORS, checked, names_of
from .shape_changes import in_place_view

if TYPE_CHECKING:
    import inspect
    from collections.abc import Sequence

    from duograph._core import Tensor

    from .dtypes import Rule

    Axis: TypeAlias = int
    Number: TypeAlias = float | Tensor
    Operand: TypeAlias = Tensor | float
    Size: TypeAlias = int
    Sizes: TypeAlias = Sequence[int]
    Integers: TypeAlias = Sequence[int]

P = ParamSpec("P")
R = TypeVar("R")

# Kinds of parameters and flags of `core.Op`.
TENSOR, OPTIONAL_TENSOR, TENSOR_LIST, NUMBER, ATTR, SIZES, SIZE, ATTRS = range(8)
OPERAND_KINDS = (TENSOR, OPTIONAL_TENSOR, TENSOR_LIST, NUMBER)
FLAG_ELEMENTWISE, FLAG_VIEW, FLAG_INPLACE, FLAG_NONDIFFERENTIABLE, FLAG_RANDOM, FLAG_CREATION = 1, 2, 4, 8, 16, 32
FLAG_INPLACE_LISTS = 64

# Kinds of operators: `kind` drives fusion, the documentation's chapters and which generated tests apply.
ELEMENTWISE = "elementwise"
REDUCTION = "reduction"
MOVEMENT = "movement"
VIEW = "view"
CONTRACTION = "contraction"
COMPOSITION = "composition"
INDEXING = "indexing"
RANDOM = "random"
CREATION = "creation"
LOSS = "loss"
UPDATE = "update"
FUNCTION = "function"  # plain Python that only picks among operators

_KIND_FLAGS = {
    ELEMENTWISE: FLAG_ELEMENTWISE,
    VIEW: FLAG_VIEW,
    RANDOM: FLAG_RANDOM,
    CREATION: FLAG_CREATION | FLAG_NONDIFFERENTIABLE,
    UPDATE: FLAG_INPLACE_LISTS | FLAG_NONDIFFERENTIABLE,
}
_ANNOTATIONS = {
    "Tensor": TENSOR,
    "Operand": TENSOR,
    "Tensor | None": OPTIONAL_TENSOR,
    "Operand | None": OPTIONAL_TENSOR,
    "Sequence[Tensor]": TENSOR_LIST,
    "Number": NUMBER,
    "Number | None": NUMBER,
    "Sizes": SIZES,
    "Integers": SIZES,
    "Size": SIZE,
    "Size | None": SIZE,
}

Param: TypeAlias = "tuple[str, int, Any]"
GradientRule: TypeAlias = "Callable[..., Any]"


class Definition:
    """Everything known about one operator. `core.Op` carries it; the core itself reads none of it."""

    __slots__ = (
        "aliases",
        "autocast",
        "base",
        "dtypes",
        "exported",
        "flags",
        "function",
        "functional",
        "gradient",
        "inplace",
        "into",
        "kind",
        "lowers",
        "method",
        "name",
        "names",
        "op",
        "params",
        "primitive",
        "public",
        "receives",
        "reference",
        "samples",
        "slot",
        "space",
        "tolerance",
        "torch",
        "wider",
        "write",
        "writes",
    )

    name: str
    names: dict[str, str]  # what PyTorch calls parameters that have another name here
    function: Callable[..., Any]
    kind: str
    params: tuple[Param, ...]
    flags: int
    dtypes: Rule | None
    primitive: str | None
    lowers: bool
    reference: str | Callable[..., Any] | None
    torch: str | Callable[..., Any] | None  # PyTorch's function; None: the one that the docstring names as its source
    samples: Any
    tolerance: float
    gradient: GradientRule | None
    write: Callable[..., Any] | None
    base: Definition | None
    op: Any
    exported: Any  # what the package's namespace shows: `op`, or a function over it
    inplace: str | None
    into: Any  # the operator behind `out=`, once it was asked for
    receives: bool  # of a written form: its first parameter is no operand of `base`
    wider: Any  # takes the calls whose arguments the parameter table does not know
    slot: str | None
    space: str | None  # the name by which it is in a namespace of its own: "special.i0e"
    aliases: tuple[str, ...]
    autocast: str  # a key of AUTOCAST
    method: bool | str  # or the name of the method
    public: bool
    functional: bool  # whether it is in `nn.functional`
    writes: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        """Whether the package defines it, so that its name and the package's version say all about it."""
        return self.function.__module__.startswith("duograph.")

    @property
    def __signature__(self) -> inspect.Signature:
        """What `inspect.signature` and `help` show of the operator."""
        import inspect

        return inspect.signature(self.function)

    @property
    def differentiable(self) -> bool:
        return not self.flags & FLAG_NONDIFFERENTIABLE

    def vjp(self, rule: GradientRule) -> GradientRule:
        """Decorator: `rule(g, out, *args)` gives one gradient per tensor parameter, written with operators.

        Gradients of broadcast operands of elementwise operators come back in the broadcast shape.
        """
        self.gradient = rule
        return rule

    def writes_through(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator for views: `rule(base, value, *args)` is `base` after `value` was written into the view."""
        self.write = rule
        return rule

    def __repr__(self) -> str:
        return f"<operator {self.name}>"


if TYPE_CHECKING:

    class Operator(Generic[R]):
        """The static face of `core.Op`. Arguments are checked by the stubs that the wheel ships."""

        definition: Definition
        name: str

        def __call__(self, *args: Any, **kwargs: Any) -> R: ...
        def vjp(self, rule: GradientRule) -> GradientRule: ...
        def writes_through(self, rule: Callable[..., Any]) -> Callable[..., Any]: ...


REGISTRY: dict[str, Definition] = {}


def read_parameters(function: Callable[..., Any]) -> tuple[Param, ...]:
    """The parameters of a signature, in order, as `core.Op` wants them: (name, kind, default)."""
    code = function.__code__
    annotations = function.__annotations__
    count = code.co_argcount
    names = code.co_varnames
    defaults = function.__defaults__ or ()
    first_default = count - len(defaults)
    params: list[Param] = []
    for i in range(count):
        name = names[i]
        default = defaults[i - first_default] if i >= first_default else core.REQUIRED
        params.append((name, _ANNOTATIONS.get(annotations[name], ATTR), default))
    if code.co_flags & 0x04:  # *name
        name = names[count]
        params.append((name, ATTRS if annotations[name] == "Axis" else SIZES, core.REQUIRED))
    return tuple(params)


def op(
    *,
    kind: str,
    dtypes: Rule | None = None,
    primitive: str | None = None,
    lowers: bool = False,
    differentiable: bool = True,
    reference: str | Callable[..., Any] | None = None,
    torch: str | Callable[..., Any] | None = None,
    samples: Any = None,
    tolerance: float = 1.0,
    method: bool | str = True,
    public: bool = True,
    functional: bool = False,
    space: str | None = None,
    slot: str | None = None,
    inplace: bool | str = False,
    inplace_slot: str | None = None,
    aliases: tuple[str, ...] = (),
    names: str = "",
    over: str | None = None,
    writes: tuple[str, ...] = (),
    autocast: str = "",
) -> Callable[[Callable[..., R]], Operator[R]]:
    """Make an operator of a typed function. See this module's docstring for what signature and body say.

    Args:
        kind: the operator's family (`ELEMENTWISE`, `REDUCTION`, …).
        dtypes: which dtypes are taken and which comes out (`ops.dtypes`).
        primitive, lowers: what the body is; neither: a composition.
        differentiable: False for results that never carry a gradient.
        reference: a NumPy function by name ("numpy.exp") or a function of (numpy, *args); samples: what to test it on.
        torch: what PyTorch calls it, or a function of (torch, *args), where the docstring's source does not say it already.
        tolerance: how many times the usual tolerance the generated tests allow.
        method: whether (or by which name) it is a method of Tensor; public: whether it is in the package's namespace;
            functional: whether it is in `nn.functional`; space: its name in a namespace of its own, as "linalg.norm",
            which alone then has it.
        slot, inplace_slot: the operator symbols it implements, "__add__" and "__iadd__".
        inplace: whether it has an in-place form (its name and aliases with an underscore), or that form's name; a view's
            changes the tensor's shape.
        aliases: further names; writes: list parameters written in place.
        names: parameters that PyTorch calls otherwise, "mat1=a mat2=b"; it takes them by both names. The first two operands
            are `input` and `other` without a word.
        over: the operator whose calls it takes where their arguments are not that operator's but this one's, also in place.
        autocast: what it computes in under `dg.autocast`: "lower", "float32" (its tensors are converted first), or
            "promote" (to the widest among them); in-place forms and `out=` take what they are given.
    """

    def make(function: Callable[..., R]) -> Operator[R]:
        definition = _define(function, kind)
        definition.params = read_parameters(function)
        definition.flags = _KIND_FLAGS.get(kind, 0) | (0 if differentiable else FLAG_NONDIFFERENTIABLE)
        definition.dtypes = dtypes
        definition.primitive, definition.lowers = primitive, lowers
        definition.reference, definition.torch = reference, torch
        definition.samples, definition.tolerance = samples, tolerance
        definition.inplace = definition.name + "_" if inplace is True else inplace or None
        definition.slot, definition.aliases, definition.autocast = slot, aliases, autocast
        definition.method, definition.public = (False, False) if over or space else (method, public)
        definition.functional, definition.space = functional, space
        definition.writes, definition.names = writes, names_of(names)
        return cast("Operator[R]", _enter(definition, over, inplace_slot))

    return make


def _enter(definition: Definition, over: str | None, inplace_slot: str | None) -> Any:
    """Make the operator of a finished definition, and put it where users, symbols and other operators find it."""
    written = tuple(i for i, parameter in enumerate(definition.params) if parameter[0] in definition.writes)
    definition.op = definition.exported = _documented(definition, writes=written, autocast=AUTOCAST[definition.autocast])
    _register(definition)
    if definition.slot:
        core.bind_slot(definition.slot, definition.op)
    if over:
        REGISTRY[over].wider = definition.op
    if definition.inplace and definition.kind == VIEW:
        for name in (definition.inplace, *(alias + "_" for alias in definition.aliases)):
            core.bind_method(name, in_place_view(definition, name))
    elif definition.inplace:
        _add_in_place_form(definition, definition.inplace, over, inplace_slot)
    return definition.op


def _documented(definition: Definition, **properties: Any) -> Any:
    """The operator of a definition, with the function's documentation."""
    made = core.Op(definition.name, definition.params, definition.flags, definition, **properties)
    made.__doc__, made.__module__ = definition.function.__doc__, definition.function.__module__
    return made


def _define(function: Callable[..., Any], kind: str) -> Definition:
    """A definition with nothing said yet but the function."""
    definition = Definition()
    name = function.__name__
    if name[-1] == "_" and kind != UPDATE:
        name = name[:-1]  # sum_, max_: a trailing underscore only avoids a builtin's name
    definition.name = name
    definition.function = definition.op = definition.exported = function
    definition.kind = kind
    definition.params = ()
    definition.flags = 0
    definition.dtypes = definition.primitive = definition.gradient = definition.write = definition.base = None
    definition.reference = definition.torch = definition.samples = definition.inplace = definition.slot = definition.space = None
    definition.into = definition.wider = None
    definition.lowers = definition.receives = definition.functional = False
    definition.writes = ()
    definition.autocast = ""
    definition.names = {}
    return definition


def _register(definition: Definition) -> None:
    """Put it into the registry, and onto `Tensor` under its names."""
    REGISTRY[definition.name] = definition
    OPERATORS.update(dict.fromkeys((definition.name, *definition.aliases), definition.name))
    method = definition.method
    if method:
        for bound in (definition.name if method is True else method, *definition.aliases):
            setattr(core.Tensor, bound, definition.exported)


def copy_of(definition: Definition) -> Definition:
    """A definition that says the same."""
    made = Definition()
    for field in Definition.__slots__:
        setattr(made, field, getattr(definition, field))
    return made


def _add_in_place_form(base: Definition, name: str, over: str | None, slot: str | None) -> None:
    """The operator that writes `base`'s result into its first operand."""
    form = copy_of(base)
    form.name = name
    form.base = base
    form.aliases = tuple(alias + "_" for alias in base.aliases)
    form.flags = base.flags | FLAG_INPLACE
    form.wider, form.autocast = None, ""
    form.op = form.exported = _documented(form, inplace_of=base.op)
    form.method = not over and bool(base.method or not base.functional)
    _register(form)
    if over:
        REGISTRY[over + "_"].wider = form.op
    if slot:
        core.bind_slot(slot, form.op)


def function(
    *,
    reference: str | Callable[..., Any] | None = None,
    torch: str | Callable[..., Any] | None = None,
    samples: Any = None,
    method: bool | str = True,
    public: bool = True,
    functional: bool = False,
    space: str | None = None,
    differentiable: bool = True,
    tolerance: float = 1.0,
    aliases: tuple[str, ...] = (),
    names: str = "",
    over: str | None = None,
    slot: str | None = None,
    autocast: str = "",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a plain Python function that picks among operators by its arguments; documented and tested like one.

    With `over` it takes the place of the operator of that name in the namespace and as a method (it takes further
    arguments that the operator has not), the operator keeps its symbol; `slot` gives the function the symbol.
    `autocast` is as for operators; without it those that the function calls decide, with "as given" they do not.
    """

    def make(body: Callable[P, R]) -> Callable[P, R]:
        f = checked(body, over or body.__name__.rstrip("_"), names, autocast)
        if slot:
            setattr(core.Tensor, slot, f)
        if over:
            if over in REGISTRY:
                REGISTRY[over].exported = f
            for bound in (over, *aliases) if method else ():
                setattr(core.Tensor, bound, f)
            return f
        definition = _define(f, FUNCTION)
        definition.flags = 0 if differentiable else FLAG_NONDIFFERENTIABLE
        definition.reference, definition.torch = reference, torch
        definition.samples = samples
        definition.tolerance = tolerance
        definition.aliases = aliases
        definition.method, definition.public = (False, False) if space else (method, public)
        definition.functional, definition.space = functional, space
        _register(definition)
        return f

    return make


def bind(definition: Definition, operands: Sequence[Any], attrs: Sequence[Any], sizes: Sequence[Any]) -> list[Any]:
    """The arguments of a call in parameter order, from its flattened parts.

    Args:
        operands: one entry per TENSOR, OPTIONAL_TENSOR and NUMBER and per element of a TENSOR_LIST; None: absent.
        attrs: in parameter order an ATTR's value; a SIZES' (length, positions of -1); True or None for a SIZE (None:
            absent); a TENSOR_LIST's length.
        sizes: the integers of SIZES and SIZE parameters in order.
    """
    args: list[Any] = []
    operand = attr = size = 0
    for _, kind, _ in definition.params:
        if kind in (TENSOR, OPTIONAL_TENSOR, NUMBER):
            args.append(operands[operand])
            operand += 1
            continue
        value = attrs[attr]
        attr += 1
        if kind == TENSOR_LIST:
            args.append(list(operands[operand : operand + value]))
            operand += value
        elif kind == SIZES:
            length, minus_ones = value
            given = list(sizes[size : size + length])
            for position in minus_ones:
                given[position] = -1
            args.append(tuple(given))
            size += length
        elif kind == SIZE:
            args.append(None if value is None else sizes[size])
            size += value is not None
        else:
            args.append(value)
    return args


def spread(definition: Definition, args: Sequence[Any]) -> tuple[Any, ...]:
    """Arguments in parameter order as positional ones: a `*sizes` parameter is unpacked."""
    if definition.function.__code__.co_flags & 0x04:
        last = args[-1]
        return (*args[:-1], *(last if isinstance(last, (tuple, list)) else (last,)))
    return tuple(args)


def flatten_operands(definition: Definition, args: Sequence[Any]) -> list[Any]:
    """The tensor-like arguments (TENSOR, OPTIONAL_TENSOR, TENSOR_LIST's elements, NUMBER) in order."""
    flat: list[Any] = []
    for (_, kind, _), value in zip(definition.params, args):
        if kind == TENSOR_LIST:
            flat.extend(value)
        elif kind in OPERAND_KINDS:
            flat.append(value)
    return flat
