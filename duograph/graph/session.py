"""`Session`: runs the part of a graph that a fetch needs, and keeps the values of variables."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from duograph import _core as core
from duograph.capture.user_lines import user_location
from duograph.errors import DTypeError, Error, GraphError, ShapeError

from .building import Graph, get_default_graph
from .definition import structure_of
from .dtypes import numpy_dtype, string
from .elements import Operation, Tensor
from .plans import Plan
from .state import State

__all__ = [
    "ConfigProto", "GPUOptions", "GraphOptions", "InteractiveSession", "OptimizerOptions", "RunMetadata", "RunOptions", "Session",
    "get_default_session",
]  # fmt: skip


class GPUOptions:
    """Options for GPUs: taken and kept, as there is nothing to set on a CPU."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)
        self.allow_growth = options.get("allow_growth", False)
        self.per_process_gpu_memory_fraction = options.get("per_process_gpu_memory_fraction", 1.0)


class ConfigProto:
    """How a session runs: `intra_op_parallelism_threads` is the number of threads, the rest is kept as it is given."""

    def __init__(self, **options: Any) -> None:
        self.gpu_options = GPUOptions()
        self.intra_op_parallelism_threads = 0
        self.inter_op_parallelism_threads = 0
        self.allow_soft_placement = True
        self.log_device_placement = False
        self.device_count: dict[str, int] = {}
        self.__dict__.update(options)


class _Options:
    """Options that are taken and kept, as there is nothing that they would change."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)


class OptimizerOptions(_Options):
    """How TensorFlow rewrites graphs: taken and kept; programs here are always optimised."""

    L1, L0 = 0, -1
    DEFAULT, OFF, ON_1, ON_2 = 0, -1, 1, 2


class GraphOptions(_Options):
    """Options of graphs: taken and kept."""


class RunOptions:
    """Options of one run: taken and kept."""

    NO_TRACE, SOFTWARE_TRACE, HARDWARE_TRACE, FULL_TRACE = range(4)

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)


class RunMetadata:
    """What a run says of itself: nothing so far."""


class _Sessions(threading.local):
    def __init__(self) -> None:
        self.stack: list[Session] = []


_SESSIONS = _Sessions()


def get_default_session() -> Session | None:
    """The innermost `with session:` of this thread."""
    return _SESSIONS.stack[-1] if _SESSIONS.stack else None


def session_for(session: Session | None, graph: Graph) -> Session:
    """The session given, or the default one. GraphError if there is none, or it runs another graph."""
    found = session or get_default_session()
    if found is None:
        raise GraphError("there is no session to run this in", hint="call it inside of `with tf.Session():`, or give session=")
    if found.graph is not graph:
        raise GraphError("the session runs another graph than this belongs to")
    return found


class Session:
    """Runs a graph. Each session has values of its own for the graph's variables; a run is safe from several threads.

    Args:
        target: left for TensorFlow's sake; only "" is there.
        graph: what it runs, by default the graph that is the default now.
        config: a `ConfigProto`.

    >>> import duograph.graph as tf
    >>> x = tf.placeholder(tf.float32, [None])
    >>> with tf.Session() as session:
    ...     session.run(x * 2.0, feed_dict={x: [1.0, 2.0]})
    array([2., 4.], dtype=float32)
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        if target:
            raise GraphError(f"Session: there is no target {target!r}", hint="sessions run in this process: leave target out")
        self.graph = graph or get_default_graph()
        self.config = config or ConfigProto()
        self.state = State()
        self.graph.states.add(self.state)
        self._plans: dict[Any, Plan] = {}
        self._lock = threading.RLock()
        self._closed = False
        self._contexts: list[Any] = []
        threads = self.config.intra_op_parallelism_threads
        if threads:
            core.set_num_threads(threads)

    # ---- as a context

    def __enter__(self) -> Session:
        context = self.graph.as_default()
        context.__enter__()
        self._contexts.append(context)
        _SESSIONS.stack.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _SESSIONS.stack.pop()
        self._contexts.pop().__exit__(*error)
        self.close()

    def as_default(self) -> _Default:
        """Inside, it is the session of `eval` and `run`; it is not closed at the end."""
        return _Default(self)

    def close(self) -> None:
        """Lets go of variables and programs. A closed session cannot run."""
        self._closed = True
        self._plans.clear()
        self.state = State()

    @property
    def graph_def(self) -> str:
        """The graph as text."""
        return self.graph.as_text()

    def list_devices(self) -> list[str]:
        """The devices there are."""
        return ["/device:CPU:0"]

    # ---- running

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """The values of tensors, computed from what is fed and from the variables; operations run for their effects.

        Args:
            fetches: a tensor, an operation (its value is None), a name of either, or lists, tuples, named tuples and dicts
                of these, in any nesting.
            feed_dict: values for placeholders, or for any other tensor, which then is not computed.

        Only what the fetches need runs, in the order in which it was built; variables that are not assigned stay as they are.

        Errors:   GraphError for a closed session, an unknown fetch, a placeholder without a value, a tensor inside of a loop;
                  ShapeError, DTypeError for a value that does not fit; UninitializedError for a variable without a value.
                  Each names the line that built the operation, and the line that runs it.

        Returns NumPy arrays (numbers of NumPy for scalars), in the structure of the fetches.
        """
        try:
            asked = fetches if fetches.__class__ is not list else (list, *fetches)
            key = (asked, *feed_dict) if feed_dict else (asked,)
            plan = self._plans.get(key)
        except TypeError:  # a fetch with a structure that has no hash
            plan = key = None
        try:
            if plan is None or plan.epoch != self.state.epoch:
                plan = self._planned(key, fetches, feed_dict)
            return plan.run(feed_dict.values() if feed_dict else ())
        except Error as error:
            _note_run(error)
            raise

    def explain(self, fetches: Any, feed_dict: Any = None, time: bool = False) -> Any:
        """What the program of a run does: its kernels with the lines that built them, memory, operations. Changes nothing.

        Args:
            fetches, feed_dict: as `run` takes them.
            time: also run every kernel and give its microseconds.

        Errors:   those of `run`; GraphError for a run that is made without a program
        """
        try:
            plan = self._planned(None, fetches, feed_dict)
            return plan.explain(feed_dict.values() if feed_dict else (), time)
        except Error as error:
            _note_run(error)
            raise

    def _planned(self, key: Any, fetches: Any, feed_dict: Any) -> Plan:
        if self._closed:
            raise GraphError("the session is closed", hint="run inside of `with tf.Session() as session:`, or make a new session")
        with self._lock:
            elements: list[Any] = []
            structure = structure_of(fetches, elements, lambda x: not isinstance(x, (list, tuple, dict)))
            found = [self._fetch(x) for x in elements]
            feeds = [self._feed(x) for x in feed_dict or ()]
            own: Any = (structure, tuple(found), tuple(feeds))
            try:
                plan = self._plans.get(own)
            except TypeError:
                own = None
                plan = next((p for p in self._plans.values() if p.same(structure, found, feeds)), None)
            if plan is None or plan.epoch != self.state.epoch:
                plan = Plan(self.state, structure, found, feeds)
                self._plans[own if own is not None else plan] = plan
            if key is not None:
                self._plans[key] = plan
            return plan

    def _fetch(self, value: Any) -> Any:
        if value is None:
            raise GraphError(
                "run: None cannot be fetched", hint="gradients with respect to what has no influence are None: leave them out"
            )
        try:
            element = self.graph.as_graph_element(value)
        except GraphError as error:
            raise GraphError(f"run: {error.message}", error.operands, error.hint) from None
        node = element if isinstance(element, Operation) else element.node
        if node.region is not None:
            raise GraphError(
                f"run: {element.name!r} is inside of a {node.region.owner}, which computes it many times or never",
                [node.built_at],
                hint="return it from the body, and fetch that result",
            )
        return element

    def _feed(self, value: Any) -> Tensor:
        found = self.graph.as_graph_element(value, allow_operation=False)
        assert isinstance(found, Tensor)
        if found.node.region is not None:
            raise GraphError(
                f"run: {found.name!r} is inside of a {found.node.region.owner} and cannot be fed", [found.node.built_at]
            )
        return found

    def partial_run_setup(self, fetches: Any, feeds: Any = None) -> NoReturn:
        """GraphError: runs are whole here."""
        raise GraphError(
            "partial_run: a run cannot be left and gone on with", hint="session.run(fetches, feeds), with all of them"
        )

    partial_run = partial_run_setup

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function of the values for `feed_list` that gives the values of `fetches`."""
        feeds = list(feed_list or ())

        def call(*values: Any) -> Any:
            if len(values) != len(feeds):
                raise GraphError(f"the callable takes {len(feeds)} values, got {len(values)}")
            return self.run(fetches, dict(zip(feeds, values)))

        return call


class InteractiveSession(Session):
    """A session that is the default one from the start, until it is closed."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: ConfigProto | None = None) -> None:
        super().__init__(target, graph, config)
        _SESSIONS.stack.append(self)

    def close(self) -> None:
        """Lets go of everything; it is no longer the default session."""
        if self in _SESSIONS.stack:
            _SESSIONS.stack.remove(self)
        super().close()


class _Default:
    def __init__(self, session: Session) -> None:
        self.session = session

    def __enter__(self) -> Session:
        _SESSIONS.stack.append(self.session)
        return self.session

    def __exit__(self, *error: object) -> None:
        _SESSIONS.stack.pop()


def _note_run(error: Error) -> None:
    """Names the line that runs the graph, behind the line that built the operation."""
    line = user_location()
    if line is None:
        return
    if error.location is not None and (error.location.file, error.location.line) == (line.file, line.line):
        error.location = None
    error.operands = (*error.operands, f"run at {line}")


def fed_array(tensor: Tensor, value: Any) -> Any:
    """The value for a tensor as an array of its dtype. ShapeError, DTypeError if it does not fit."""
    if isinstance(value, core.Tensor):
        array = value.detach()
        have, dtype = tuple(array.shape), array.dtype
        if dtype is not tensor.dtype:
            array = array.to(tensor.dtype)
    else:
        if tensor.dtype is string:
            return value
        if isinstance(value, Tensor):
            raise DTypeError(
                f"feed: the value for {tensor.name!r} is the graph tensor {value.name!r}", hint="feed numbers and arrays"
            )
        array = _numbers(tensor, value)
        have = array.shape
    sizes = tensor.type.sizes
    if sizes is not None and (len(sizes) != len(have) or any(s is not None and s != h for s, h in zip(sizes, have))):
        raise ShapeError(
            f"feed: the value for {tensor.name!r} has shape {tuple(have)}, its shape is {tensor.shape}", [tensor.node.built_at]
        )
    return array


def _numbers(tensor: Tensor, value: Any) -> Any:
    wanted = np.dtype(numpy_dtype(tensor.dtype))
    try:
        array = np.asarray(value)
        if array.dtype == object:
            raise ValueError
    except ValueError:
        raise DTypeError(
            f"feed: the value for {tensor.name!r} is no array: {type(value).__name__}", [tensor.node.built_at]
        ) from None
    if array.dtype == wanted:
        return array
    ranks = {"b": 0, "u": 1, "i": 1, "f": 2}
    if array.size and ranks.get(array.dtype.kind, 3) > ranks[wanted.kind]:
        raise DTypeError(
            f"feed: the value for {tensor.name!r} is {array.dtype}, its dtype is {tensor.dtype.name}",
            [tensor.node.built_at],
            hint=f"convert it: np.asarray(value, np.{wanted})",
        )
    return array.astype(wanted)
