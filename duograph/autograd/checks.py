"""Checkers of gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from duograph import _core as core
from duograph.errors import ArgumentError, GradError

from .gradients import as_tuple, grad

if TYPE_CHECKING:
    from random import Random

    from duograph._core import Tensor


def gradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    seed: int = 0,
    *,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of `func` at `inputs` with central differences. Use float64 inputs.

    Every input element is moved by `eps`, every output element weighted by a random number that `seed` fixes.

    Args:
        nondet_tol: how much two runs of one backward may differ.
        check_undefined_grad: backward has to work, too, where only one of several outputs has a gradient.
        check_grad_dtypes: gradients have the dtypes of their inputs.
        check_batched_grad: `grad(is_grads_batched=True)` gives what a loop over the rows does.
        check_forward_ad: the derivative along a random direction by `duograph.func.jvp` is compared, too.
        check_backward_ad: False leaves the gradients out.
        fast_mode: all elements of an input are moved at once, along a random direction: quick, and may miss a fault.
        masked: accepted for PyTorch's sake; there are no sparse tensors.

    Returns: True; with raise_exception=False, False in the place of a GradError
    Errors:  GradError naming input and element where the two differ by more than atol + rtol·|numeric|, or saying which
             other check failed; ArgumentError for inputs that differences cannot be taken of

    >>> import duograph as dg
    >>> dg.autograd.gradcheck(dg.sin, dg.tensor([0.5, 1.0], dtype=dg.float64, requires_grad=True))
    True
    """
    if not (check_backward_ad or check_forward_ad):
        raise ArgumentError("gradcheck: nothing is left to check", hint="leave check_backward_ad at True, or check_forward_ad")
    from random import Random

    check = _Check(func, as_tuple(inputs), eps, atol, rtol, Random(seed))
    try:
        if check_backward_ad:
            check.gradients(fast_mode, nondet_tol, check_grad_dtypes)
            if check_undefined_grad:
                check.single_outputs()
            if check_batched_grad:
                check.batches()
        if check_forward_ad:
            check.directions()
    except GradError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    seed: int = 0,
    *,
    gen_non_contig_grad_outputs: bool = False,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the gradients of `func`: second order, with respect to the inputs and to the outputs' gradients.

    Args:
        grad_outputs: gradients of the outputs to start from (default: random ones).
        gen_non_contig_grad_outputs: the random ones have gaps in memory.
        check_fwd_over_rev, check_rev_over_rev: which derivatives of the gradients are checked.

    The others are `gradcheck`'s.

    >>> import duograph as dg
    >>> dg.autograd.gradgradcheck(lambda x: x**3, dg.tensor([0.5, 1.0], dtype=dg.float64, requires_grad=True))
    True
    """
    args = as_tuple(inputs)
    wanted = _wanted(args)
    outputs = _differentiable(func(*args))
    if grad_outputs is None:
        from random import Random

        generator = Random(seed + 1)
        seeds = [_seed(o, generator, gen_non_contig_grad_outputs) for o in outputs]
    else:
        seeds = [g.detach().requires_grad_() for g in as_tuple(grad_outputs)]

    def gradients(*values: Any) -> tuple[Any, ...]:
        inner, outer = values[: len(args)], values[len(args) :]
        pairs = [(o, s) for o, s in zip(_differentiable(func(*inner)), outer) if o.requires_grad]
        found = grad(
            [o for o, _ in pairs], [inner[i] for i in wanted], [s for _, s in pairs], create_graph=True, allow_unused=True
        )
        return tuple(g for g in found if g is not None and g.requires_grad)

    return gradcheck(
        gradients, (*args, *seeds), eps, atol, rtol, raise_exception, seed,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad, check_forward_ad=check_fwd_over_rev, check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
    )  # fmt: skip


class _Outputs(NamedTuple):
    """Outputs through which a gradient flows, and what each is weighted with."""

    tensors: list[Any]
    weights: list[Any]


class _Check:
    """One function at one place, and what it is compared with."""

    def __init__(
        self, func: Callable[..., Any], args: tuple[Any, ...], eps: float, atol: float, rtol: float, generator: Random
    ) -> None:
        self.func, self.args, self.eps, self.atol, self.rtol = func, args, eps, atol, rtol
        self.wanted = _wanted(args)
        self.generator = generator
        self.outputs = _differentiable(func(*args))
        self.weights = [_filled([generator.uniform(0.5, 1.5) for _ in range(o.numel())], o) for o in self.outputs]

    def run(self) -> _Outputs:
        """The outputs anew: their graph is there to be used up."""
        pairs = [(o, w) for o, w in zip(_differentiable(self.func(*self.args)), self.weights) if o.requires_grad]
        if not pairs:
            raise GradError("gradcheck: no output depends on an input that requires grad")
        return _Outputs([o for o, _ in pairs], [w for _, w in pairs])

    def gradients(self, fast: bool, nondet_tol: float, dtypes: bool) -> None:
        outputs = self.run()
        inputs = [self.args[i] for i in self.wanted]
        first = grad(outputs.tensors, inputs, outputs.weights, retain_graph=True, allow_unused=True)
        second = grad(outputs.tensors, inputs, outputs.weights, allow_unused=True)
        for i, g, again in zip(self.wanted, first, second):
            if dtypes and g is not None and g.dtype != self.args[i].dtype:
                raise GradError(f"gradcheck: the gradient of input {i} is {g.dtype.name}, the input {self.args[i].dtype.name}")
            values = [0.0] * self.args[i].numel() if g is None else _flat(g)
            for at, (a, b) in enumerate(zip(values, [] if again is None else _flat(again))):
                if abs(a - b) > nondet_tol:
                    raise GradError(
                        f"gradcheck: backward is not deterministic: the gradient of input {i} at element {at} is {a:.9g}, "
                        f"then {b:.9g}",
                        hint="allow differences up to nondet_tol=, or make backward give the same each time",
                    )
            if fast:
                self._along_a_direction(i, values)
            else:
                self._by_elements(i, values)

    def _by_elements(self, which: int, values: list[float]) -> None:
        base = _flat(self.args[which])
        for at, value in enumerate(base):
            higher, lower = (
                self._weighted(which, [*base[:at], v, *base[at + 1 :]]) for v in (value + self.eps, value - self.eps)
            )
            self._compare(f"the gradient of input {which} at element {at}", values[at], (higher - lower) / (2 * self.eps))

    def _along_a_direction(self, which: int, values: list[float]) -> None:
        base = _flat(self.args[which])
        way = [self.generator.uniform(-1.0, 1.0) for _ in base]
        higher, lower = (self._weighted(which, [b + s * self.eps * w for b, w in zip(base, way)]) for s in (1, -1))
        found = sum(v * w for v, w in zip(values, way))
        self._compare(f"the gradient of input {which} along a random direction", found, (higher - lower) / (2 * self.eps))

    def _compare(self, what: str, found: float, expected: float) -> None:
        if not abs(found - expected) <= self.atol + self.rtol * abs(expected):
            raise GradError(f"gradcheck: {what} is {found:.9g}, by differences it is {expected:.9g}")

    def _weighted(self, which: int, values: list[float]) -> float:
        """The weighted sum of all outputs with other values for one input."""
        replaced = _filled(values, self.args[which]).requires_grad_(self.args[which].requires_grad)
        results = _differentiable(self.func(*self.args[:which], replaced, *self.args[which + 1 :]))
        return sum(a * b for o, w in zip(results, self.weights) for a, b in zip(_flat(o), _flat(w)))

    def single_outputs(self) -> None:
        """Backward where only one output has a gradient, against the sum of all of them."""
        count = len(self.run().tensors)
        for n in range(count if count > 1 else 0):
            outputs = self.run()
            try:
                grad(outputs.tensors[n], [self.args[i] for i in self.wanted], outputs.weights[n], allow_unused=True)
            except Exception as error:
                raise GradError(
                    f"gradcheck: backward fails where only output {n} has a gradient: {type(error).__name__}: {error}",
                    hint="a gradient that is None stands for zeros",
                ) from error

    def batches(self) -> None:
        """`is_grads_batched` against a loop."""
        inputs = [self.args[i] for i in self.wanted]
        outputs = self.run()
        stacked = [_filled([*_flat(w), *(2 * v for v in _flat(w))], w, (2, *w.shape)) for w in outputs.weights]
        found = grad(outputs.tensors, inputs, stacked, retain_graph=True, allow_unused=True, is_grads_batched=True)
        for row, factor in enumerate((1.0, 2.0)):
            weights = [_filled([factor * v for v in _flat(w)], w) for w in outputs.weights]
            single = grad(outputs.tensors, inputs, weights, retain_graph=True, allow_unused=True)
            for i, batch, alone in zip(self.wanted, found, single):
                if batch is None or alone is None:
                    continue
                for at, (a, b) in enumerate(zip(_flat(batch[row]), _flat(alone))):
                    self._compare(f"row {row} of the batched gradient of input {i} at element {at}", a, b)

    def directions(self) -> None:
        """Forward mode along a random direction of all inputs, against differences."""
        from duograph.func.transforms import jvp

        ways = [[self.generator.uniform(-1.0, 1.0) for _ in range(self.args[i].numel())] for i in self.wanted]

        def run(*values: Any) -> tuple[Any, ...]:
            placed = list(self.args)
            for i, value in zip(self.wanted, values):
                placed[i] = value
            return tuple(_differentiable(self.func(*placed)))

        inputs = [self.args[i].detach() for i in self.wanted]
        _, found = jvp(run, tuple(inputs), tuple(_filled(way, x) for way, x in zip(ways, inputs)))
        moved = [run(*(_moved(x, way, step).requires_grad_() for x, way in zip(inputs, ways))) for step in (self.eps, -self.eps)]
        for n, (tangent, higher, lower) in enumerate(zip(found, *moved)):
            for at, (t, h, low) in enumerate(zip(_flat(tangent), _flat(higher), _flat(lower))):
                self._compare(f"the forward derivative of output {n} at element {at}", t, (h - low) / (2 * self.eps))


def _wanted(args: tuple[Any, ...]) -> list[int]:
    """Which arguments the gradients are compared of."""
    wanted = [i for i, a in enumerate(args) if isinstance(a, core.Tensor) and a.requires_grad]
    if not wanted:
        raise ArgumentError("gradcheck: no input requires grad")
    for i in wanted:
        if args[i].dtype.name != "float64":
            raise ArgumentError(f"gradcheck: input {i} is {args[i].dtype.name}", hint="differences need float64 inputs")
        if any(step == 0 and size > 1 for step, size in zip(args[i].stride(), args[i].shape)):
            raise ArgumentError(
                f"gradcheck: input {i} shows one element at several places, which cannot be moved one by one",
                hint="pass x.contiguous()",
            )
    return wanted


def _differentiable(results: Any) -> list[Any]:
    items = results if isinstance(results, (tuple, list)) else (results,)
    return [o for o in items if isinstance(o, core.Tensor) and o.dtype.is_floating_point]


def _seed(output: Any, generator: Random, gaps: bool) -> Any:
    values = [generator.uniform(0.5, 1.5) for _ in range(output.numel())]
    if not gaps:
        return _filled(values, output).requires_grad_()
    spread = [v for value in values for v in (value, 0.0)]
    return _filled(spread, output, (*output.shape, 2))[..., 0].requires_grad_()


def _moved(x: Any, way: list[float], step: float) -> Any:
    return _filled([v + step * w for v, w in zip(_flat(x), way)], x)


def _filled(values: list[float], like: Any, shape: tuple[int, ...] | None = None) -> Any:
    return core.from_flat(values, like.dtype, tuple(like.shape) if shape is None else shape)


def _flat(tensor: Any) -> list[float]:
    values = tensor.detach().contiguous().reshape(-1).tolist()
    return list(values)
