"""`tune`: measures in which way each contraction of a static function is made the fastest, and remembers it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph._collection import paused_collection
from duograph._forks import capture_lock, compile_lock
from duograph._recorded import state
from duograph.errors import ArgumentError, CaptureError

from .reports.signatures import warn
from .reports.tuning import Tuned, TuneReport

if TYPE_CHECKING:
    from duograph.codegen.kernel import ContractionKernel
    from duograph.passes.fusion.schedule import KernelStep
    from duograph.runtime.choices import Choice
    from duograph.runtime.measure import Reach

# Another way is taken if it is so much faster: what is less may be chance.
_LEAST_GAIN = 1.03


class Tuner:
    """Measure how the products and convolutions of a static function are made the fastest here, and make them so.

    Sizes, dtypes and the instruction level decide in which way a contraction is made: a convolution as a product of
    matrices or directly, in panels of 32 or 16 kernels; its gradient to the kernels as a product, directly or tap by tap. That
    decision comes from a model of processors. `dg.tune` runs all ways by turns on this one, each contraction by itself on
    memory of its own: the function is captured, but not run. What is faster by at least 3 % is taken from then on by this
    function, and by every static function with such a contraction that is captured later, in other processes too: choices
    are kept beside the object cache, for these sizes, strides, dtype and number of threads, this processor, instruction level
    and version of duograph. All ways give the same bits but one, which is measured only where it is asked for.

    Functions with `strict=True` take no choices, nor does dynamic mode. Nor do contractions whose sizes are symbols, as
    after calls with several sizes. Measure on a machine that does nothing else.

    Args:
        function: a static function or method, or a Module whose class is static.
        args, kwargs: what it is called with.
        winograd: measure Winograd's way, too, for convolutions of float32 with 3 × 3 taps and a stride of 1, and their
            gradients to the image: F(4×4, 3×3), a quarter of the multiplications. Its rounding errors are larger: for
            normally distributed x and kernels the largest is 5e-6 (64 channels) to 2e-5 (256) of the largest result, where other
            ways' is 5e-7; inf and NaN spread over the 36 elements of a tile. Temporaries hold 4 times the kernels' bytes,
            so functions with a `memory_budget` never take it.

    `dg.tune.forget()` removes all choices.

    Errors:   ArgumentError if the function is not static, or strict; CaptureError inside of a static function
    Source:   torch.backends.cudnn.benchmark; Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks"; for
              its errors Barabasz et al. 2018, "Error Analysis and Improving the Accuracy of Winograd Convolution"

    >>> import duograph as dg
    >>> net = dg.static(dg.nn.Conv2d(16, 16, 3, padding=1))
    >>> report = dg.tune(net, dg.rand(1, 16, 14, 14))
    >>> report.contractions[0].rule
    'narrow direct'
    """

    def __call__(self, function: Any, /, *args: Any, winograd: bool = False, **kwargs: Any) -> TuneReport:
        if state.recorder is not None:
            raise CaptureError("tune: it measures, which a static function cannot do", hint="call it outside")
        function, args = _found(function, args)
        if not isinstance(function, core.StaticFunction):
            what = getattr(function, "__name__", type(function).__name__)
            raise ArgumentError(f"tune: {what} is not a static function", hint="dg.tune(dg.static(function), *args)")
        handler = function.handler
        if handler.strict:
            raise ArgumentError(f"tune: {handler.__name__} is strict, and strict functions take no choices")
        with capture_lock, compile_lock, paused_collection():
            report = _tune(handler, args, kwargs, winograd)
            function.clear_captures()
            handler.miss(args, kwargs)
        return report

    def forget(self) -> None:
        """Remove all choices, also those that other processes made. Functions keep what they are until captured again."""
        from duograph.runtime import choices

        choices.forget()

    def __repr__(self) -> str:
        return "duograph.tune"


tune = Tuner()


def _found(function: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The static function behind a method, or behind a Module whose class is static, and what it is called with."""
    if isinstance(function, core.StaticFunction):
        return function, args
    method = getattr(function, "forward", function)
    if isinstance(getattr(method, "__func__", None), core.StaticFunction):
        return method.__func__, (method.__self__, *args)
    return function, args


def _tune(handler: Any, args: tuple[Any, ...], kwargs: dict[str, Any], winograd: bool) -> TuneReport:
    from duograph.codegen.contraction import algorithms
    from duograph.runtime import cache, choices

    winograd = winograd and handler.budget is None
    with choices.measuring():
        _, built = handler.capture(args, kwargs)
    report = TuneReport(handler.__name__, core.get_num_threads())
    steps: dict[str, list[KernelStep]] = {}
    kept: dict[str, bool] = {}
    for step, is_kept in _contractions(built):
        if any(not isinstance(extent, int) for extent in (*step.kernel.batch, *step.kernel.m, *step.kernel.n, *step.kernel.k)):
            report.unknown += 1
        else:
            name = choices.name_of(step.kernel, is_kept)
            steps.setdefault(name, []).append(step)
            kept[name] = is_kept
    known, chosen = choices.table(), {}
    for name, alike in steps.items():
        kernel: Any = alike[0].kernel
        ways = [way for way in algorithms.ways(kernel) if winograd or way != algorithms.WINOGRAD]
        report.unmeasured += len(ways) < len(algorithms.ways(kernel))
        if len(ways) == 1:
            continue
        before = known.get(name)
        is_new = before is None or not set(ways) <= before.seconds.keys()
        seconds = _measured(kernel, ways, kept[name]) if before is None or is_new else before.seconds
        chosen[name] = _choice(kernel, ways, seconds)
        report.contractions.append(_row(alike, chosen[name], is_new))
    new = {name: choice for name, choice in chosen.items() if known.get(name) != choice}
    if choices.add(new):
        report.folder = cache.folder()
    elif new:
        warn("tune: the folder of the object cache cannot be written to: what was measured is known to this process alone")
    return report


def _contractions(built: Sequence[Any]) -> list[tuple[Any, bool]]:
    """The kernels of programs that are contractions, and whether what is made of their first operand may be kept with it."""
    from duograph.codegen.kernel import ContractionKernel
    from duograph.runtime.assemble import kept_operands, kernel_steps

    found: list[tuple[Any, bool]] = []
    for each in built:
        made = each.assembled()
        steps = [step for step in kernel_steps(made.plan.steps) if isinstance(step.kernel, ContractionKernel)]
        found += zip(steps, kept_operands(steps, made.graph, made.plan))
    return found


def _measured(kernel: ContractionKernel, ways: Sequence[str], kept: bool) -> dict[str, float]:
    """Seconds of each way."""
    from duograph.codegen.contraction import algorithms
    from duograph.runtime import measure

    tensors = [_memory(reach) for reach in measure.reaches(kernel)]
    if kept:
        tensors[0] = core.as_subclass(tensors[0], _Parameter)
    runnable = {way: measure.Measured(algorithms.made_as(kernel, way), tensors) for way in ways}
    return measure.race(runnable, algorithms.way_of(algorithms.by_rule(kernel)))


class _Parameter(core.Tensor):
    """A tensor that programs keep with what they make of it."""


def _choice(kernel: ContractionKernel, ways: Sequence[str], seconds: dict[str, float]) -> Choice:
    """The fastest of the ways, if it is faster than the one that sizes decide for by more than chance."""
    from duograph.codegen.contraction import algorithms
    from duograph.runtime.choices import Choice

    rule = algorithms.way_of(algorithms.by_rule(kernel))
    fastest = min(ways, key=seconds.__getitem__)
    return Choice(fastest if seconds[fastest] * _LEAST_GAIN < seconds[rule] else rule, rule, seconds)


def _memory(reach: Reach) -> Any:
    """A tensor for an operand, whose first element is at the operand's address."""
    from duograph.tensors.creation import rand

    memory = rand(reach.high - reach.low, dtype=core.float32).to(getattr(core, reach.dtype))
    return memory[-reach.low :]


def _row(steps: list[KernelStep], choice: Choice, is_new: bool) -> Tuned:
    from duograph.runtime.report import expression

    kernel, where = steps[0].kernel, steps[0].locations[-1] if steps[0].locations else None
    location = f"{os.path.basename(where.file)}:{where.line}" if where is not None else ""
    m, n, k = (" × ".join(map(str, sizes)) or "1" for sizes in (kernel.m, kernel.n, kernel.k))  # type: ignore[union-attr]
    sizes = f"[{m}, {k}] @ [{k}, {n}]"
    return Tuned(expression(steps[0]), sizes, location, choice.rule, choice.way, choice.seconds, len(steps), is_new)
