"""Sessions that begin where the last checkpoint ended, call hooks around each run, and say when to stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from duograph.errors import ArgumentError, GraphError, UninitializedError

from ..building import Graph, GraphKeys, get_default_graph
from ..constants import group
from ..session import Session
from ..variables import global_variables, local_variables, variables_initializer
from .checkpoints import latest_checkpoint
from .hooks import (
    CheckpointSaverHook,
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
    StepCounterHook,
    SummarySaverHook,
)
from .saver import Saver
from .steps import get_global_step

__all__ = [
    "ChiefSessionCreator",
    "MonitoredSession",
    "MonitoredTrainingSession",
    "Scaffold",
    "SessionCreator",
    "SingularMonitoredSession",
]


class Scaffold:
    """The parts of a training's start: how variables get values, and what saves them. What is left out is made.

    Args:
        init_op: runs if there is no checkpoint; by default it gives all variables their initial values.
        init_feed_dict: what it is fed.
        init_fn: a function of the scaffold and the session, called behind it.
        local_init_op: runs in any case; by default it gives local variables their initial values.
        saver: a `Saver`.
    """

    def __init__(
        self,
        init_op: Any = None,
        init_feed_dict: Any = None,
        init_fn: Callable[[Any, Any], Any] | None = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        local_init_op: Any = None,
        summary_op: Any = None,
        saver: Saver | None = None,
        copy_from_scaffold: Any = None,
        local_init_feed_dict: Any = None,
    ) -> None:
        self.init_op, self.init_feed_dict, self.init_fn = init_op, init_feed_dict, init_fn
        self.local_init_op, self.local_init_feed_dict = local_init_op, local_init_feed_dict
        self.summary_op, self.saver = summary_op, saver

    def finalize(self) -> Scaffold:
        """Makes what is left out, and finalizes the graph."""
        graph = get_default_graph()
        self.init_op = self._of(graph, GraphKeys.INIT_OP, self.init_op, lambda: variables_initializer(global_variables()))
        tables = graph.get_collection("table_initializer")
        self.local_init_op = self._of(
            graph,
            GraphKeys.LOCAL_INIT_OP,
            self.local_init_op,
            lambda: group(*[v.initializer for v in local_variables()], *tables, name="init_local"),
        )
        self.saver = self._of(graph, GraphKeys.SAVERS, self.saver, lambda: Saver(allow_empty=True))
        graph.finalize()
        return self

    @staticmethod
    def _of(graph: Graph, collection: str, given: Any, make: Callable[[], Any]) -> Any:
        """What is given; or what an earlier session on this graph had; or made, and kept for later ones."""
        if given is not None:
            return given
        kept = graph.get_collection(collection)
        if not kept:
            kept = [make()]
            graph.add_to_collection(collection, kept[0])
        return kept[0]


class SessionCreator:
    """Makes the session of a `MonitoredSession`."""

    def create_session(self) -> Session:
        """The session."""
        raise GraphError(f"{type(self).__name__} does not say how it makes a session", hint="define create_session()")


class ChiefSessionCreator(SessionCreator):
    """Makes a session whose variables have values: of the latest checkpoint, or their initial ones."""

    def __init__(
        self,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        checkpoint_dir: Any = None,
        checkpoint_filename_with_path: Any = None,
    ) -> None:
        self.scaffold = scaffold or Scaffold()
        self._master, self._config = master, config
        self._folder, self._path = checkpoint_dir, checkpoint_filename_with_path

    def create_session(self) -> Session:
        """The session."""
        self.scaffold.finalize()
        session = Session(self._master, config=self._config)
        path = self._path or (None if self._folder is None else latest_checkpoint(self._folder))
        scaffold = self.scaffold
        if path is not None:
            assert scaffold.saver is not None
            scaffold.saver.restore(session, path)
        else:
            session.run(scaffold.init_op, feed_dict=scaffold.init_feed_dict)
            if scaffold.init_fn is not None:
                scaffold.init_fn(scaffold, session)
        session.run(scaffold.local_init_op, feed_dict=scaffold.local_init_feed_dict)
        missing = [v for v in session.graph.get_collection(GraphKeys.GLOBAL_VARIABLES) if not session.state.has(v)]
        if missing:
            raise UninitializedError(
                f"the session begins with variables that have no value: {', '.join(repr(v.node.name) for v in missing)}",
                [v.node.built_at for v in missing],
                hint="init_op of the scaffold has to give them one",
            )
        return session


class MonitoredSession:
    """A session with hooks. As a context it is closed at the end; hooks end only if there was no error.

    >>> import duograph.graph as tf
    >>> graph = tf.Graph()
    >>> with graph.as_default():
    ...     step = tf.train.create_global_step()
    ...     count = step.assign_add(1)
    ...     with tf.train.MonitoredSession(hooks=[tf.train.StopAtStepHook(last_step=3)]) as session:
    ...         while not session.should_stop():
    ...             _ = session.run(count)
    ...         session.raw_session().run(step)
    np.int64(3)
    """

    def __init__(
        self, session_creator: Any = None, hooks: Sequence[SessionRunHook] | None = None, stop_grace_period_secs: float = 120
    ) -> None:
        self._hooks = list(hooks or ())
        for hook in self._hooks:
            if not isinstance(hook, SessionRunHook):
                raise ArgumentError(f"MonitoredSession: {hook!r} is no SessionRunHook")
            hook.begin()
        self.graph: Graph = get_default_graph()
        self._session: Session | None = (session_creator or ChiefSessionCreator()).create_session()
        self._stop = False
        self._entered: Any = None
        for hook in self._hooks:
            hook.after_create_session(self._session, None)

    def raw_session(self) -> Session:
        """The session itself, without hooks. GraphError if it is closed."""
        if self._session is None:
            raise GraphError("the monitored session is closed")
        return self._session

    def should_stop(self) -> bool:
        """Whether a hook asked to stop."""
        return self._stop or self._session is None

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Runs fetches, with what the hooks want besides."""
        session = self.raw_session()
        if self._stop:
            raise GraphError("run: the session was asked to stop", hint="while not session.should_stop():")
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict, options), session)
        wanted: dict[SessionRunHook, Any] = {}
        feeds = dict(feed_dict or {})
        for hook in self._hooks:
            args = hook.before_run(context)
            if args is not None:
                wanted[hook] = args.fetches
                self._add_feeds(hook, feeds, args.feed_dict or {})
        asked = {hook: x for hook, x in wanted.items() if x is not None}
        result, found = session.run([fetches, list(asked.values())], feeds or None)
        values = dict(zip(asked, found))
        for hook in self._hooks:
            hook.after_run(context, SessionRunValues(values.get(hook), options, run_metadata))
        self._stop = self._stop or context.stop_requested
        return result

    def _add_feeds(self, hook: SessionRunHook, feeds: dict[Any, Any], more: dict[Any, Any]) -> None:
        for tensor, value in more.items():
            if tensor in feeds:
                raise ArgumentError(f"{type(hook).__name__} feeds {tensor.name}, which is fed already")
            feeds[tensor] = value

    def run_step_fn(self, step_fn: Callable[..., Any]) -> Any:
        """Calls a function of a context with `session`, `run_with_hooks` and `request_stop`."""
        return step_fn(StepContext(self))

    def __enter__(self) -> MonitoredSession:
        self._entered = self.raw_session().as_default()
        self._entered.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self._entered.__exit__(kind, error, trace)
        stopped = kind is not None and issubclass(kind, StopIteration)
        self._end(kind is None or stopped)
        return stopped

    def close(self) -> None:
        """Ends the hooks and closes the session."""
        self._end(True)

    def _end(self, well: bool) -> None:
        if self._session is None:
            return
        try:
            if well:
                for hook in self._hooks:
                    hook.end(self._session)
        finally:
            self._session.close()
            self._session = None


class StepContext:
    """What a step function gets."""

    def __init__(self, monitored: MonitoredSession) -> None:
        self._monitored = monitored

    @property
    def session(self) -> Session:
        """The session, without hooks."""
        return self._monitored.raw_session()

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """Runs with the hooks."""
        return self._monitored.run(*args, **kwargs)

    def request_stop(self) -> None:
        """Ends the training: raises StopIteration."""
        raise StopIteration("step_fn has requested the iterations to stop")


class SingularMonitoredSession(MonitoredSession):
    """A session with hooks, that begins from the latest checkpoint of a directory if there is one."""

    def __init__(
        self,
        hooks: Sequence[SessionRunHook] | None = None,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        checkpoint_dir: Any = None,
        stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: Any = None,
    ) -> None:
        creator = ChiefSessionCreator(scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path)
        super().__init__(creator, hooks, stop_grace_period_secs)


def MonitoredTrainingSession(  # as TensorFlow spells it
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: Any = None,
    scaffold: Scaffold | None = None,
    hooks: Sequence[SessionRunHook] | None = None,
    chief_only_hooks: Sequence[SessionRunHook] | None = None,
    save_checkpoint_secs: float | None = None,
    save_summaries_steps: int | None = None,
    save_summaries_secs: float | None = None,
    config: Any = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float = 7200,
    save_checkpoint_steps: int | None = None,
    summary_dir: Any = None,
) -> MonitoredSession:
    """A session for training: it goes on from the latest checkpoint in a directory, saves there, and writes summaries there.

    Args:
        checkpoint_dir: left out, nothing is saved.
        save_checkpoint_secs, save_checkpoint_steps: how often it saves; by default every 600 seconds.
        save_summaries_steps, save_summaries_secs: how often summaries are written, if there are some; by default every 100
            steps.
        log_step_count_steps: how often steps a second are printed and written; None or 0 for never.
        is_chief: only True is there.

    Errors:   GraphError for several processes
    """
    if not is_chief or master:
        raise GraphError("MonitoredTrainingSession: sessions run in one process", hint="leave master and is_chief out")
    scaffold = scaffold or Scaffold()
    every = [*(hooks or ()), *(chief_only_hooks or ())]
    folder = summary_dir or checkpoint_dir
    if folder is not None and get_global_step() is not None:
        folder = os.fspath(folder)
        if log_step_count_steps:
            every.append(StepCounterHook(log_step_count_steps, output_dir=folder))
        if get_default_graph().get_collection(GraphKeys.SUMMARIES):
            steps = 100 if save_summaries_steps is None and save_summaries_secs is None else save_summaries_steps
            every.append(SummarySaverHook(steps, save_summaries_secs, folder))
    if checkpoint_dir is not None and (save_checkpoint_secs or save_checkpoint_steps or save_checkpoint_secs is None):
        seconds = 600.0 if save_checkpoint_secs is None and save_checkpoint_steps is None else save_checkpoint_secs
        every.append(CheckpointSaverHook(checkpoint_dir, seconds, save_checkpoint_steps, scaffold=scaffold))
    return MonitoredSession(ChiefSessionCreator(scaffold, config=config, checkpoint_dir=checkpoint_dir), every)
