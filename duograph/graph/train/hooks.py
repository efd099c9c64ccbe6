"""What goes on beside a training: parts that a monitored session calls before and after each run."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from duograph.errors import ArgumentError, DomainError, GraphError

from ..building import GraphKeys, get_default_graph
from ..elements import Tensor
from .saver import Saver
from .steps import get_global_step

__all__ = [
    "CheckpointSaverHook",
    "CheckpointSaverListener",
    "FeedFnHook",
    "FinalOpsHook",
    "GlobalStepWaiterHook",
    "LoggingTensorHook",
    "NanLossDuringTrainingError",
    "NanTensorHook",
    "SecondOrStepTimer",
    "SessionRunArgs",
    "SessionRunContext",
    "SessionRunHook",
    "SessionRunValues",
    "StepCounterHook",
    "StopAtStepHook",
    "SummarySaverHook",
]

_log = logging.getLogger("duograph.graph")


class SessionRunArgs:
    """What a hook adds to a run: fetches, and values to feed."""

    def __init__(self, fetches: Any, feed_dict: Any = None, options: Any = None) -> None:
        self.fetches, self.feed_dict, self.options = fetches, feed_dict, options


class SessionRunValues(NamedTuple):
    """What a run gave for a hook's fetches."""

    results: Any
    options: Any = None
    run_metadata: Any = None


class SessionRunContext:
    """One run of a monitored session, as hooks see it."""

    def __init__(self, original_args: SessionRunArgs, session: Any) -> None:
        self.original_args, self.session = original_args, session
        self.stop_requested = False

    def request_stop(self) -> None:
        """`session.should_stop()` is true from now on."""
        self.stop_requested = True


class SessionRunHook:
    """Does something beside a training. What is not overridden does nothing."""

    def begin(self) -> None:
        """Once, before the session is there: the graph can be added to."""

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Once, when variables have their values."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Before each run; gives what it wants fetched as well."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """After each run, with what it wanted."""

    def end(self, session: Any) -> None:
        """Once, at the end, unless there was an error."""


class SecondOrStepTimer:
    """Says when something is due: every so many steps, or seconds."""

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None) -> None:
        if (every_secs is None) == (every_steps is None):
            raise ArgumentError("a hook's timer takes either seconds or steps", hint="give one of every_secs and every_steps")
        self.every_secs, self.every_steps = every_secs, every_steps
        self.reset()

    def reset(self) -> None:
        """Begins anew: it is due at the next step."""
        self._step: int | None = None
        self._time = 0.0

    def should_trigger_for_step(self, step: int) -> bool:
        """Whether it is due at this step."""
        if self._step is None:
            return True
        if step == self._step:
            return False
        if self.every_secs is not None:
            return time.monotonic() >= self._time + self.every_secs
        assert self.every_steps is not None
        return step >= self._step + self.every_steps

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """It was done at this step. Gives the seconds and steps since the last time."""
        now = time.monotonic()
        passed = (None, None) if self._step is None else (now - self._time, step - self._step)
        self._step, self._time = step, now
        return passed

    def last_triggered_step(self) -> int | None:
        """The last step at which it was done."""
        return self._step


def step_of(hook: str) -> Tensor:
    """The global step. GraphError if the graph has none."""
    found = get_global_step()
    if found is None:
        raise GraphError(f"{hook} counts by the global step, and the graph has none", hint="tf.train.get_or_create_global_step()")
    return found


class StopAtStepHook(SessionRunHook):
    """Stops after `num_steps` steps, or when the global step is `last_step`."""

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        if (num_steps is None) == (last_step is None):
            raise ArgumentError("StopAtStepHook takes either num_steps or last_step")
        self._num_steps, self._last_step = num_steps, last_step

    def begin(self) -> None:
        self._global_step = step_of("StopAtStepHook")

    def after_create_session(self, session: Any, coord: Any) -> None:
        if self._last_step is None:
            self._last_step = int(session.run(self._global_step)) + (self._num_steps or 0)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        assert self._last_step is not None
        if int(run_context.session.run(self._global_step)) >= self._last_step:
            run_context.request_stop()


def _elements(tensors: Any) -> dict[str, Any]:
    graph = get_default_graph()
    pairs = tensors.items() if isinstance(tensors, Mapping) else [(getattr(x, "name", x), x) for x in tensors]
    return {str(name): graph.as_graph_element(x, allow_operation=False) for name, x in pairs}


class LoggingTensorHook(SessionRunHook):
    """Prints tensors every so many runs, or seconds, or at the end.

    Args:
        tensors: a list of tensors or names, or a dict from words to these.
        formatter: a function of the dict of values, which gives the text.
    """

    def __init__(
        self,
        tensors: Any,
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Any = None,
    ) -> None:
        self._given, self._formatter, self._at_end = tensors, formatter, at_end
        only_at_end = at_end and every_n_iter is None and every_n_secs is None
        self._timer = None if only_at_end else SecondOrStepTimer(every_n_secs, every_n_iter)
        self._count = 0

    def begin(self) -> None:
        self._tensors = _elements(self._given)
        self._count = 0
        if self._timer is not None:
            self._timer.reset()

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._due = self._timer is not None and self._timer.should_trigger_for_step(self._count)
        return SessionRunArgs(self._tensors) if self._due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if self._due:
            self._print(run_values.results)
        self._count += 1

    def end(self, session: Any) -> None:
        if self._at_end:
            self._print(session.run(self._tensors))

    def _print(self, values: dict[str, Any]) -> None:
        seconds = None if self._timer is None else self._timer.update_last_triggered_step(self._count)[0]
        if self._formatter is not None:
            print(self._formatter(values))
            return
        text = ", ".join(f"{name} = {value}" for name, value in values.items())
        print(text if seconds is None else f"{text} ({seconds:.3f} sec)")


class NanLossDuringTrainingError(DomainError):
    """A loss became NaN."""


class NanTensorHook(SessionRunHook):
    """Stops when a loss is NaN: with an error, or without."""

    def __init__(self, loss_tensor: Tensor, fail_on_nan_loss: bool = True) -> None:
        self._loss, self._fail = loss_tensor, fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._loss)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if np.isnan(run_values.results).any():
            if self._fail:
                raise NanLossDuringTrainingError(
                    f"NanTensorHook: {self._loss.name} is NaN", [self._loss.node.built_at], hint="tf.check_numerics, a lower rate"
                )
            run_context.request_stop()


class CheckpointSaverListener:
    """Does something when a `CheckpointSaverHook` saves. What is not overridden does nothing."""

    def begin(self) -> None:
        """Once, before the session is there."""

    def before_save(self, session: Any, global_step_value: int) -> None:
        """Before each checkpoint."""

    def after_save(self, session: Any, global_step_value: int) -> Any:
        """After each checkpoint. True ends the training."""

    def end(self, session: Any, global_step_value: int) -> None:
        """Once, behind the last checkpoint."""


class CheckpointSaverHook(SessionRunHook):
    """Saves every so many steps or seconds, at the first step and at the end."""

    def __init__(
        self,
        checkpoint_dir: Any,
        save_secs: float | None = None,
        save_steps: int | None = None,
        saver: Saver | None = None,
        checkpoint_basename: str = "model.ckpt",
        scaffold: Any = None,
        listeners: Sequence[Any] | None = None,
    ) -> None:
        self._folder = os.fspath(checkpoint_dir)
        self._path = os.path.join(self._folder, checkpoint_basename)
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._saver, self._scaffold = saver, scaffold
        self._listeners: list[CheckpointSaverListener] = list(listeners or ())

    def begin(self) -> None:
        self._global_step = step_of("CheckpointSaverHook")
        for listener in self._listeners:
            listener.begin()

    def after_create_session(self, session: Any, coord: Any) -> None:
        os.makedirs(self._folder, exist_ok=True)
        if self._saver is None:
            self._saver = getattr(self._scaffold, "saver", None) or Saver()
        self._save(session, int(session.run(self._global_step)))

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        step = int(run_context.session.run(self._global_step))
        if self._timer.should_trigger_for_step(step) and self._save(run_context.session, step):
            run_context.request_stop()

    def end(self, session: Any) -> None:
        step = int(session.run(self._global_step))
        if step != self._timer.last_triggered_step():
            self._save(session, step)
        for listener in self._listeners:
            listener.end(session, step)

    def _save(self, session: Any, step: int) -> bool:
        """Save; whether a listener wants to stop."""
        assert self._saver is not None
        self._timer.update_last_triggered_step(step)
        for listener in self._listeners:
            listener.before_save(session, step)
        self._saver.save(session, self._path, global_step=step)
        return any([listener.after_save(session, step) for listener in self._listeners])


class SummarySaverHook(SessionRunHook):
    """Writes summaries every so many steps or seconds.

    Args:
        summary_op: a summary, or several; by default all of GraphKeys.SUMMARIES.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: Any = None,
        summary_writer: Any = None,
        scaffold: Any = None,
        summary_op: Any = None,
    ) -> None:
        if output_dir is None and summary_writer is None:
            raise ArgumentError("SummarySaverHook: give output_dir or summary_writer")
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._folder, self._writer, self._given = output_dir, summary_writer, summary_op

    def begin(self) -> None:
        from ..summary import FileWriterCache

        self._global_step = step_of("SummarySaverHook")
        given = self._given if self._given is not None else get_default_graph().get_collection(GraphKeys.SUMMARIES)
        self._summaries = list(given) if isinstance(given, (list, tuple)) else [given]
        self._writer = self._writer or FileWriterCache.get(self._folder)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        step = int(run_context.session.run(self._global_step)) + 1
        self._due = self._timer.should_trigger_for_step(step)
        return SessionRunArgs(self._summaries) if self._due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if not self._due:
            return
        step = int(run_context.session.run(self._global_step))
        self._timer.update_last_triggered_step(step)
        for summary in run_values.results:
            self._writer.add_summary(summary, step)

    def end(self, session: Any) -> None:
        self._writer.flush()


class StepCounterHook(SessionRunHook):
    """Counts steps a second: says so to the logger "duograph.graph", and writes the summary "global_step/sec"."""

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: Any = None,
        summary_writer: Any = None,
    ) -> None:
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._folder, self._writer = output_dir, summary_writer

    def begin(self) -> None:
        self._global_step = step_of("StepCounterHook")
        if self._writer is None and self._folder is not None:
            from ..summary import FileWriterCache

            self._writer = FileWriterCache.get(self._folder)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        step = int(run_context.session.run(self._global_step))
        if not self._timer.should_trigger_for_step(step):
            return
        seconds, steps = self._timer.update_last_triggered_step(step)
        if not seconds or not steps:
            return
        _log.info("global_step/sec: %g", steps / seconds)
        if self._writer is not None:
            from ..summary_values import summary_bytes, value_of

            self._writer.add_summary(summary_bytes([value_of("global_step/sec", simple_value=steps / seconds)]), step)


class GlobalStepWaiterHook(SessionRunHook):
    """Waits for the global step to reach a number, for trainings in which another thread counts it up."""

    def __init__(self, wait_until_step: int) -> None:
        self._wait_until = wait_until_step

    def begin(self) -> None:
        self._global_step = step_of("GlobalStepWaiterHook")

    def before_run(self, run_context: SessionRunContext) -> None:
        while int(run_context.session.run(self._global_step)) < self._wait_until:
            time.sleep(0.05)


class FinalOpsHook(SessionRunHook):
    """Runs fetches at the end: `final_ops_values` has what they gave."""

    def __init__(self, final_ops: Any, final_ops_feed_dict: Any = None) -> None:
        self._fetches, self._feeds = final_ops, final_ops_feed_dict
        self.final_ops_values: Any = None

    def end(self, session: Any) -> None:
        self.final_ops_values = session.run(self._fetches, feed_dict=self._feeds)


class FeedFnHook(SessionRunHook):
    """Feeds each run what a function gives."""

    def __init__(self, feed_fn: Any) -> None:
        self.feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(None, self.feed_fn())
