"""Records of a training for TensorBoard, under the names of `tf.summary`.

A summary is an operation: fetched, its value is bytes, which `FileWriter.add_summary` writes.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from duograph.errors import ArgumentError, GraphError

from . import summary_values as values_of
from .building import Graph, GraphKeys, get_default_graph
from .definition import Definition, Operand, Operands
from .dtypes import string
from .elements import Tensor
from .events import EventFile, graph_def, proto
from .shapes import PartialType

__all__ = [
    "FileWriter",
    "FileWriterCache",
    "audio",
    "histogram",
    "image",
    "merge",
    "merge_all",
    "scalar",
    "tensor_summary",
    "text",
]

_NOT_IN_TAGS = re.compile(r"[^-/\w.]")


def _definition(type: str, host: Any, function: Any) -> Definition:
    return Definition(type, function, infer=lambda *types, **attrs: PartialType(string, ()), host=host, differentiable=False)


def _one(tag: str, value: Operand, options: Any) -> None:
    """The parameters of a summary of one tensor."""


def _several(inputs: Operands) -> None:
    """The parameters of summaries made one."""


def _of(function: Any) -> Any:
    """The host's part of a summary: its bytes."""
    return lambda tag, value, options: values_of.summary_bytes(function(tag, value, **options))


_SCALAR = _definition("ScalarSummary", _of(values_of.scalar_values), _one)
_HISTOGRAM = _definition("HistogramSummary", _of(values_of.histogram_values), _one)
_IMAGE = _definition("ImageSummary", _of(values_of.image_values), _one)
_AUDIO = _definition("AudioSummaryV2", _of(values_of.audio_values), _one)
_TEXT = _definition("TextSummary", _of(values_of.text_values), _one)
_TENSOR = _definition("TensorSummaryV2", _of(values_of.tensor_values), _one)


def _merged(inputs: Sequence[bytes]) -> bytes:
    """One Summary of several; two values of one tag would hide each other."""
    made = proto("summary", "Summary")()
    for serialized in inputs:
        made.MergeFromString(serialized)
    tags = [value.tag for value in made.value]
    if len(set(tags)) != len(tags):
        twice = sorted({tag for tag in tags if tags.count(tag) > 1})
        raise GraphError(f"summary.merge: {', '.join(map(repr, twice))} comes twice", hint="give summaries names of their own")
    result: bytes = made.SerializeToString()
    return result


_MERGE = _definition("MergeSummary", _merged, _several)


def _summary(definition: Definition, name: str, value: Any, collections: Any, family: str | None, **options: Any) -> Tensor:
    if not isinstance(name, str) or not name.strip("/"):
        raise ArgumentError(f"summary: {name!r} is no name", hint="a summary's name is its tag in TensorBoard")
    cleaned = _NOT_IN_TAGS.sub("_", name).lstrip("/")
    family = None if family is None else _NOT_IN_TAGS.sub("_", family).lstrip("/")
    graph = _graph_of(value)
    with graph.as_default(), graph.name_scope(cleaned if family is None else f"{family}/{cleaned}") as scope:
        tag = scope.rstrip("/") if family is None else f"{family}/{scope.rstrip('/')}"
        made: Tensor = definition(tag=tag, value=value, options=options, name=scope)
    graph.add_to_collections([GraphKeys.SUMMARIES] if collections is None else list(collections), made)
    return made


def _graph_of(value: Any) -> Graph:
    return value.graph if isinstance(value, Tensor) else get_default_graph()


def scalar(name: str, tensor: Any, collections: Any = None, family: str | None = None) -> Tensor:
    """A number, drawn over the steps.

    Args:
        name: its tag in TensorBoard, behind the present scope of names.
        collections: names of the collections it goes to; by default GraphKeys.SUMMARIES, which `merge_all` reads.
        family: a word in front of the tag, by which TensorBoard puts summaries together.

    Errors:   ShapeError for a tensor of more than one element

    >>> import duograph.graph as tf
    >>> loss = tf.summary.scalar("loss", tf.constant(0.5))
    >>> with tf.Session() as session:
    ...     tf.summary.Summary.FromString(session.run(loss)).value[0].simple_value
    0.5
    """
    return _summary(_SCALAR, name, tensor, collections, family)


def histogram(name: str, values: Any, collections: Any = None, family: str | None = None) -> Tensor:
    """How the elements of a tensor are distributed, over the steps.

    Errors:   DomainError for NaN and infinities
    """
    return _summary(_HISTOGRAM, name, values, collections, family)


def image(name: str, tensor: Any, max_outputs: int = 3, collections: Any = None, family: str | None = None) -> Tensor:
    """Pictures [batch, height, width, channels] of 1 (grey), 3 (RGB) or 4 (RGBA) channels.

    uint8 is taken as it is. Floats are stretched for each picture: the largest becomes 255; if some are negative, 0 becomes
    128. Pixels with NaN or infinities are red.

    Args:
        max_outputs: how many of the batch are kept: tags end with "/image", or "/image/0", "/image/1", ….
    """
    _check_count("image", max_outputs)
    return _summary(_IMAGE, name, tensor, collections, family, max_outputs=max_outputs)


def audio(
    name: str, tensor: Any, sample_rate: Any, max_outputs: int = 3, collections: Any = None, family: str | None = None
) -> Tensor:
    """Sounds [batch, frames] or [batch, frames, channels], numbers from -1 to 1, at `sample_rate` frames a second."""
    _check_count("audio", max_outputs)
    return _summary(_AUDIO, name, tensor, collections, family, sample_rate=sample_rate, max_outputs=max_outputs)


def _check_count(function: str, max_outputs: Any) -> None:
    if not isinstance(max_outputs, int) or max_outputs < 1:
        raise ArgumentError(f"summary.{function}: max_outputs is a number from 1 on, not {max_outputs!r}")


def text(name: str, tensor: Any, collections: Any = None) -> Tensor:
    """Texts, which TensorBoard shows as Markdown; nested lists become tables.

    Errors:   ArgumentError for a tensor of another dtype than tf.string
    """
    dtype = tensor.dtype if isinstance(tensor, Tensor) else None
    if dtype is not None and dtype is not string:
        raise ArgumentError(f"summary.text: {tensor.name} is {dtype.name}, not text", hint="tf.summary.tensor_summary")
    return _summary(_TEXT, name, tensor, collections, None)


def tensor_summary(
    name: str,
    tensor: Any,
    summary_description: str | None = None,
    collections: Any = None,
    summary_metadata: Any = None,
    family: str | None = None,
    display_name: str | None = None,
) -> Tensor:
    """Any tensor, as it is. `summary_metadata`: a SummaryMetadata, which says what shows it."""
    return _summary(_TENSOR, name, tensor, collections, family, metadata=summary_metadata)


def merge(inputs: Iterable[Any], collections: Any = None, name: str | None = None) -> Tensor:
    """One summary of several.

    Errors:   GraphError, when it is run, if a tag comes twice
    """
    parts = list(inputs)
    if not parts:
        raise ArgumentError("summary.merge: there are no summaries")
    for part in parts:
        if not isinstance(part, Tensor) or part.node.definition.host is None:
            raise ArgumentError(f"summary.merge: {part!r} is no summary", hint="tf.summary.scalar(name, tensor)")
    graph = parts[0].graph
    with graph.as_default():
        made: Tensor = _MERGE(inputs=parts, name=name or "Merge/MergeSummary")
    graph.add_to_collections(list(collections or ()), made)
    return made


def merge_all(key: Any = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None) -> Tensor | None:
    """One summary of all in a collection; None if there are none."""
    found = get_default_graph().get_collection(key, scope)
    return merge(found, name=name) if found else None


class FileWriter:
    """Writes summaries and graphs to an event file in a directory, for TensorBoard. It can be a context, which closes it.

    Args:
        logdir: the directory; it is made if need be.
        graph: is written first.
        flush_secs: how many seconds may pass before events are on disk. `max_queue` is taken: events do not wait for others.
        filename_suffix: what the file's name ends with.

    Errors:   GraphError if it is closed, or tensorboardX is not installed

    >>> import duograph.graph as tf, tempfile
    >>> loss = tf.summary.scalar("falling", tf.constant(0.5))
    >>> with tempfile.TemporaryDirectory() as folder, tf.Session() as session:
    ...     with tf.summary.FileWriter(folder, session.graph) as writer:
    ...         writer.add_summary(session.run(loss), global_step=1)
    """

    def __init__(
        self,
        logdir: Any,
        graph: Any = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: Any = None,
        filename_suffix: str | None = None,
        session: Any = None,
    ) -> None:
        self._logdir: str = os.fspath(logdir)
        self._options = (filename_suffix or "", flush_secs)
        self._file: EventFile | None = EventFile(self._logdir, *self._options)
        self._seen: set[str] = set()
        graph = session.graph if graph is None and session is not None else graph
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)

    def get_logdir(self) -> str:
        """The directory."""
        return self._logdir

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add_event(self, event: Any) -> None:
        """Writes an Event."""
        if self._file is None:
            raise GraphError(f"FileWriter: the one for {self._logdir!r} is closed", hint="writer.reopen() begins another file")
        self._file.add(event)

    def _add(self, global_step: Any, **content: Any) -> None:
        event = proto("event", "Event")(wall_time=time.time(), **content)
        if global_step is not None:
            event.step = int(np.asarray(global_step))
        self.add_event(event)

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """Writes a summary: bytes that a session gave, or a Summary."""
        if isinstance(summary, Tensor):
            raise ArgumentError(
                f"add_summary: {summary.name} is a tensor of the graph", hint="fetch it: add_summary(session.run(summary), step)"
            )
        if isinstance(summary, (bytes, np.bytes_)):
            summary = proto("summary", "Summary").FromString(bytes(summary))
        self._add(global_step, summary=summary)

    def add_graph(self, graph: Any, global_step: Any = None, graph_def: Any = None) -> None:
        """Writes a graph, for TensorBoard to draw."""
        if isinstance(graph, Graph):
            made = _graph_def(graph)
        elif graph is None and hasattr(graph_def, "SerializeToString"):
            made = graph_def
        else:
            raise ArgumentError(f"add_graph: {graph!r} is no tf.Graph")
        self._add(global_step, graph_def=made.SerializeToString())

    def add_session_log(self, session_log: Any, global_step: Any = None) -> None:
        """Writes a SessionLog."""
        self._add(global_step, session_log=session_log)

    def add_run_metadata(self, run_metadata: Any, tag: str, global_step: Any = None) -> None:
        """Writes that there was a run of this name; each name once."""
        if tag in self._seen:
            raise ArgumentError(f"add_run_metadata: the tag {tag!r} was written before", hint="tags are for one run each")
        self._seen.add(tag)
        content = run_metadata.SerializeToString() if hasattr(run_metadata, "SerializeToString") else b""
        self._add(global_step, tagged_run_metadata=proto("event", "TaggedRunMetadata")(tag=tag, run_metadata=content))

    def add_meta_graph(self, *args: Any, **kwargs: Any) -> None:
        """TensorBoard looks at graphs as `add_graph` writes them: GraphError."""
        raise GraphError(
            "add_meta_graph: graphs that can be read again are files of their own",
            hint="add_graph, to look at it; tf.train.export_meta_graph(path), to read it again",
        )

    def flush(self) -> None:
        """Brings everything to disk."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Brings everything to disk, and closes the file."""
        if self._file is not None:
            self._file.flush()
            self._file.close()
            self._file = None

    def reopen(self) -> None:
        """Begins another file in the directory, if it is closed."""
        if self._file is None:
            self._file = EventFile(self._logdir, *self._options)


_graph_def = graph_def


class FileWriterCache:
    """One writer for each directory."""

    _writers: dict[str, FileWriter] = {}
    _lock = threading.Lock()

    @staticmethod
    def get(logdir: Any) -> FileWriter:
        """The writer of a directory; a new one if there is none."""
        with FileWriterCache._lock:
            key = os.path.abspath(os.fspath(logdir))
            if key not in FileWriterCache._writers:
                FileWriterCache._writers[key] = FileWriter(logdir, graph=get_default_graph())
            return FileWriterCache._writers[key]

    @staticmethod
    def clear() -> None:
        """Closes all writers."""
        with FileWriterCache._lock:
            for writer in FileWriterCache._writers.values():
                writer.close()
            FileWriterCache._writers.clear()


_BUFFERS = {"Summary": "summary", "SummaryMetadata": "summary", "Event": "event", "SessionLog": "event"}


def __getattr__(name: str) -> Any:
    if name in _BUFFERS:
        return proto(_BUFFERS[name], name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
