"""Generators of random numbers beside the default one: a seed and a count of the numbers drawn, in a tensor.

In dynamic mode the core draws from that memory. A static program takes the tensor as state, as it does a buffer: what it
draws is where dynamic mode would draw it, and it leaves the same state behind.
"""

from __future__ import annotations

from _thread import _local
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from duograph import _core as core
from duograph.errors import ArgumentError, CaptureError
from duograph.ir.builder import current

from ..definition import REGISTRY
from ..shapes.copying import cast
from ..shapes.creation import full, iota
from ..tracing import emit, wrap

if TYPE_CHECKING:
    from duograph._core import Tensor
    from duograph.ir.dim import Expr


class Generator:
    """A source of random numbers of its own, for the argument `generator=` of what draws.

    >>> g = Generator().manual_seed(3)
    >>> state = g.get_state()
    >>> first = dg.rand(2, generator=g)
    >>> bool((dg.rand(2, generator=g.set_state(state)) == first).all())
    True
    """

    def __init__(self, device: Any = "cpu") -> None:
        if str(device).partition(":")[0] != "cpu":
            raise ArgumentError(f"Generator: numbers are drawn on the cpu, not on {device!r}")
        self._state = full((2,), 0, core.uint64)

    def _with_state(self, do: Callable[[], Any]) -> Any:
        """What a function of the core gives while this generator's state takes the place of the default one's."""
        if core.tracing():
            raise CaptureError("Generator: its state is read and set outside of static functions")
        previous = core.rng_use(self._state.data_ptr())
        try:
            return do()
        finally:
            core.rng_use(previous)

    def manual_seed(self, seed: int) -> Generator:
        """Starts anew from a seed, any integer; returns the generator."""
        self._with_state(lambda: core.manual_seed(seed))
        return self

    def seed(self) -> int:
        """Sets a seed that nobody can foresee, and returns it."""
        from secrets import randbits

        made = randbits(63)
        self.manual_seed(made)
        return made

    def initial_seed(self) -> int:
        """The seed that was set last."""
        seed: int = self._with_state(core.get_rng_state)[0]
        return seed

    def get_state(self) -> tuple[int, int]:
        """The seed, and how many numbers were drawn since; what `set_state` takes."""
        state: tuple[int, int] = self._with_state(core.get_rng_state)
        return state

    def set_state(self, state: tuple[int, int]) -> Generator:
        """Goes on from a state; returns the generator."""
        self._with_state(lambda: core.set_rng_state(state))
        return self

    def clone_state(self) -> Generator:
        """A new generator that goes on as this one would."""
        return Generator().set_state(self.get_state())

    @property
    def device(self) -> Any:
        """Where numbers are drawn: the cpu."""
        return self._state.device

    def __getstate__(self) -> tuple[int, int]:
        return self.get_state()

    def __setstate__(self, state: tuple[int, int]) -> None:
        self.__init__()  # type: ignore[misc]
        self.set_state(state)


class DefaultGenerator(Generator):
    """The one that `manual_seed` seeds, and that all draw from that are given no other. The core keeps its state."""

    def __init__(self) -> None:
        """Nothing is computed while the package is imported."""

    @property
    def device(self) -> Any:
        return Generator().device

    def _with_state(self, do: Callable[[], Any]) -> Any:
        return do()


default_generator = DefaultGenerator()


class Drawing:
    """What a static function draws from a generator: its state when that began, and how many numbers since."""

    def __init__(self, state: Tensor) -> None:
        self.state = state
        self.before = wrap(current().read(state))
        self.count: Expr = 0

    def key(self, count: Expr) -> Tensor:
        """Where that many numbers are drawn, which the generator then has behind it."""
        key = self.before if isinstance(self.count, int) and self.count == 0 else self.before + self._moved()
        self.count = self.count + count
        return key

    def _moved(self) -> Tensor:
        counts: Any = REGISTRY["where"].op(iota(2) == 1, full((), self.count, core.int64), 0)
        moved: Tensor = cast(counts, core.uint64)
        return moved

    def end(self) -> None:
        """Leaves the generator's state behind."""
        REGISTRY["add_"].op(self.state, self._moved())


class _Active(_local):
    drawing: Drawing | None = None


_ACTIVE = _Active()


def random_key(count: Expr) -> Tensor:
    """Where that many numbers are drawn: of the generator in use, or of the default one when the program runs."""
    if _ACTIVE.drawing is not None:
        return _ACTIVE.drawing.key(count)
    return emit("random_key", [], core.uint64, (2,), count=count)


class using:
    """Inside, numbers are drawn from this generator; None: from the default one."""

    def __init__(self, generator: Generator | None) -> None:
        if generator is not None and not isinstance(generator, Generator):
            raise ArgumentError(f"generator must be a Generator or None, not {type(generator).__name__}")
        self.generator = None if generator is default_generator else generator
        self.previous: Any = None

    def __enter__(self) -> None:
        if self.generator is None:
            return
        state = self.generator._state
        if core.tracing():
            self.previous, _ACTIVE.drawing = _ACTIVE.drawing, Drawing(state)
        else:
            self.previous = core.rng_use(state.data_ptr())

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if self.generator is None:
            return
        if isinstance(self.previous, int):
            core.rng_use(self.previous)
            return
        drawing, _ACTIVE.drawing = _ACTIVE.drawing, self.previous
        if kind is None and drawing is not None:
            drawing.end()


def drawn_from(generator: Generator | None, op: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """A call of a random operator, its numbers from this generator; None: from the default one."""
    if generator is None:
        return op(*args, **keywords)
    with using(generator):
        return op(*args, **keywords)
