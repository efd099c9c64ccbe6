"""`Saver`: keeps a session's variables in checkpoints, and puts them back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from duograph.errors import ArgumentError, DTypeError, FileError, GraphError, ShapeError
from duograph.serialization import save

from ..building import GraphKeys, get_default_graph
from ..elements import Tensor
from ..session import Session, get_default_session
from ..variables import Variable
from .checkpoints import (
    checkpoint_exists,
    get_checkpoint_mtimes,
    like,
    loaded,
    remove_checkpoint,
    update_checkpoint_state,
    write_text,
)

__all__ = ["Saver", "export_meta_graph", "import_meta_graph", "write_graph"]


class Saver:
    """Saves variables to checkpoints and restores them. A checkpoint is one safetensors file.

    Args:
        var_list: variables, or a dict from names in the checkpoint to variables; by default all there are now.
        reshape: take values of another shape with as many elements.
        max_to_keep: older checkpoints are deleted; None or 0 keeps all.
        keep_checkpoint_every_n_hours: of those that would be deleted, one for so many hours stays.
        allow_empty: without variables `save` does nothing.
        pad_step_number: steps are written with eight digits.
        defer_build: look for variables when it first saves or restores.

    Differs: a checkpoint is the very file "path-step", and a graph is written beside it only if `save` is asked for it.

    >>> import duograph.graph as tf, tempfile, os
    >>> tf.reset_default_graph()
    >>> count = tf.Variable(1, name="count")
    >>> saver = tf.train.Saver()
    >>> with tempfile.TemporaryDirectory() as folder, tf.Session() as session:
    ...     session.run(count.initializer)
    ...     path = saver.save(session, os.path.join(folder, "model"), global_step=7)
    ...     session.run(count.assign(5))
    ...     saver.restore(session, path)
    ...     session.run(count)
    ...     os.path.basename(path)
    np.int32(5)
    np.int32(1)
    'model-7'
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: Any = None,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:
        self._reshape = reshape
        self._max_to_keep = max_to_keep or 0
        self._hours = keep_checkpoint_every_n_hours
        self._next_kept = time.time() + keep_checkpoint_every_n_hours * 3600
        self._allow_empty = allow_empty
        self._pad_step_number = pad_step_number
        self._last: list[tuple[str, float]] = []
        self._given = var_list
        self._variables: dict[str, Variable] | None = None
        if not defer_build:
            self.build()

    def build(self) -> None:
        """Looks for the variables."""
        given = get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES) if self._given is None else self._given
        found = _by_name(given)
        if not found and not self._allow_empty:
            raise GraphError("Saver: there are no variables to save", hint="make it when they are built")
        self._variables = found

    def _names(self) -> dict[str, Variable]:
        if self._variables is None:
            self.build()
        assert self._variables is not None
        return self._variables

    # ---- saving

    def save(
        self,
        sess: Any,
        save_path: Any,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = False,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> str | None:
        """Writes a checkpoint, and says in the text `checkpoint` beside it that it is the latest.

        Args:
            save_path: where; with `global_step` (a number or a tensor) its number is added: "model-100".
            latest_filename: the name of the text.
            write_meta_graph, meta_graph_suffix: write the graph, too, as "path.meta": see `tf.train.export_meta_graph`.
            write_state: whether to write the text, and delete checkpoints that are too old.

        Errors:   FileError if the directory is not there; UninitializedError for a variable without a value

        Returns the checkpoint's path.
        """
        names = self._names()
        if not names:
            return None
        path = self._path(sess, os.fspath(save_path), global_step, latest_filename or "checkpoint")
        state = _state(sess, names.values())
        values = {name: state.read(variable).detach() for name, variable in names.items()}
        save(values, path)
        if write_meta_graph:
            session = raw_session(sess)
            import_module("duograph.onnx.meta_graphs.writing").export(session.graph, f"{path}.{meta_graph_suffix}", session, None)
        if write_state:
            self._note(path)
            self._delete_old()
            times = [when for _, when in self._last]
            update_checkpoint_state(os.path.dirname(path), path, self.last_checkpoints, latest_filename, times)
        return path

    def _path(self, sess: Any, path: str, global_step: Any, latest_filename: str) -> str:
        folder, name = os.path.split(path)
        if name == latest_filename:
            raise ArgumentError(
                f"save: {path!r} is the file that says which checkpoint is the latest", hint="save under another name: 'model'"
            )
        if not name or os.path.isdir(path):
            raise FileError(f"save: {path!r} is a directory", hint=f"name the file: {os.path.join(path, 'model')!r}")
        if not os.path.isdir(folder or "."):
            raise FileError(f"save: there is no directory {folder!r}", hint=f"os.makedirs({folder!r})")
        if global_step is None:
            return path
        step = int(sess.run(global_step) if isinstance(global_step, Tensor) else global_step)
        return f"{path}-{step:08d}" if self._pad_step_number else f"{path}-{step}"

    def _note(self, path: str) -> None:
        self._last = [(p, when) for p, when in self._last if p != path] + [(path, time.time())]

    def _delete_old(self) -> None:
        while self._max_to_keep and len(self._last) > self._max_to_keep:
            path, when = self._last.pop(0)
            if when > self._next_kept:
                self._next_kept += self._hours * 3600
            else:
                remove_checkpoint(path)

    @property
    def last_checkpoints(self) -> list[str]:
        """The checkpoints that were not deleted yet, the oldest first."""
        return [path for path, _ in self._last]

    def set_last_checkpoints(self, last_checkpoints: Iterable[str]) -> None:
        """Takes over checkpoints that another saver wrote."""
        self._last = [(path, float("inf")) for path in last_checkpoints]

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time: Iterable[tuple[str, float]]) -> None:
        """The same, with the times at which they were written."""
        self._last = list(last_checkpoints_with_time)

    def recover_last_checkpoints(self, checkpoint_paths: Iterable[str]) -> None:
        """Takes over those of these checkpoints that are there, to delete them in their turn."""
        there = [path for path in checkpoint_paths if checkpoint_exists(path)]
        self._last = list(zip(there, get_checkpoint_mtimes(there)))

    # ---- restoring

    def restore(self, sess: Any, save_path: Any) -> None:
        """Gives the variables the values of a checkpoint; they need no other initial value.

        Errors:   FileError if there is no such checkpoint, or it lacks a variable; ShapeError, DTypeError for one that does
                  not fit. Nothing is changed then.
        """
        if save_path is None:
            raise ArgumentError("restore: the path is None", hint="tf.train.latest_checkpoint gives None if there is none")
        path = os.fspath(save_path)
        names = self._names()
        found = loaded("restore", path)
        missing = [name for name in names if name not in found]
        if missing:
            raise FileError(
                f"restore: {path!r} has no {', '.join(repr(name) for name in missing)}",
                [names[name].node.built_at for name in missing],
                hint=like(missing[0], found) or "give Saver the variables that it has, or a dict from its names to variables",
            )
        values = {name: self._fitted(path, name, variable, found[name]) for name, variable in names.items()}
        state = _state(sess, names.values())
        for name, variable in names.items():
            state.write(variable, values[name], False)

    def _fitted(self, path: str, name: str, variable: Variable, value: Any) -> Any:
        if value.dtype is not variable.dtype:
            raise DTypeError(
                f"restore: {name!r} is {value.dtype.name} in {path!r}, variable {variable.node.name!r} is {variable.dtype.name}",
                [variable.node.built_at],
            )
        if variable.shape.is_compatible_with(tuple(value.shape)):
            return value
        if self._reshape and variable.shape.num_elements() == value.numel():
            return value.reshape(variable.shape.as_list())
        raise ShapeError(
            f"restore: {name!r} has shape {tuple(value.shape)} in {path!r}, variable {variable.node.name!r} {variable.shape}",
            [variable.node.built_at],
            hint="Saver(reshape=True) takes it" if variable.shape.num_elements() == value.numel() else None,
        )

    def export_meta_graph(
        self,
        filename: Any = None,
        collection_list: Any = None,
        as_text: bool = False,
        export_scope: str | None = None,
        clear_devices: bool = False,
        clear_extraneous_savers: bool = False,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> Any:
        """Writes the graph of its variables: see `tf.train.export_meta_graph`."""
        graph = next(iter(self._names().values())).graph if self._names() else get_default_graph()
        return export_meta_graph(
            filename, collection_list=collection_list, as_text=as_text, graph=graph, export_scope=export_scope
        )


def _by_name(given: Any) -> dict[str, Variable]:
    """Variables by their names in a checkpoint."""
    pairs = given.items() if isinstance(given, Mapping) else [(getattr(x, "node", x), x) for x in given]
    found: dict[str, Variable] = {}
    for key, variable in pairs:
        if not isinstance(variable, Variable):
            raise ArgumentError(
                f"Saver: {variable!r} is no variable", hint="var_list is a list of variables, or a dict from names to variables"
            )
        name = key if isinstance(key, str) else variable.node.name
        if found.get(name, variable) is not variable:
            raise GraphError(f"Saver: two variables are called {name!r}", [found[name].node.built_at, variable.node.built_at])
        found[name] = variable
    return found


def _state(sess: Any, variables: Iterable[Variable]) -> Any:
    """What a session keeps, if it runs the graph of these variables."""
    session = raw_session(sess)
    for variable in variables:
        if variable.graph is not session.graph:
            raise GraphError(
                f"Saver: variable {variable.node.name!r} belongs to another graph than the session runs", [variable.node.built_at]
            )
    return session.state


def raw_session(sess: Any) -> Any:
    """The session inside of one that keeps an eye on it. ArgumentError for what is none."""
    inner = getattr(sess, "raw_session", None)
    session = sess if inner is None else inner()
    if not isinstance(session, Session):
        raise ArgumentError(f"Saver: {sess!r} is no session")
    if session._closed:
        raise GraphError("Saver: the session is closed", hint="save inside of `with tf.Session() as session:`")
    return session


def export_meta_graph(
    filename: Any = None,
    meta_info_def: Any = None,
    graph_def: Any = None,
    saver_def: Any = None,
    collection_list: Any = None,
    as_text: bool = False,
    graph: Any = None,
    export_scope: str | None = None,
    clear_devices: bool = False,
    clear_extraneous_savers: bool = False,
    strip_default_attrs: bool = False,
    save_debug_info: bool = False,
) -> Any:
    """Writes a graph with its variables and collections as an ONNX file, which `import_meta_graph` and any ONNX runtime read.

    Args:
        filename: of the file; left out, the model is returned only.
        collection_list: the names of the collections to write; by default all.
        graph: by default the default graph.

    Each tensor is a result of the file under its name. Operations that change variables (those that collections name, and those
    that nothing else reads) are functions that give the variables' next values. Variables have the values of the default
    session, or their initial ones. Summaries and texts are left out; a placeholder of unknown rank
    is a number.

    Errors:   GraphError, with the line, for calls of Python, for what a collection holds besides elements of the graph, numbers
              and texts, and where what is built depends on a size that is open

    Returns the `onnx.ModelProto`.
    """
    for name, given in (("as_text", as_text), ("export_scope", export_scope), ("graph_def", graph_def)):
        if given:
            raise GraphError(f"export_meta_graph: {name} is not there: the whole graph is written as ONNX")
    found = get_default_graph() if graph is None else graph
    session = get_default_session()
    mine = session if session is not None and session.graph is found else None
    return import_module("duograph.onnx.meta_graphs.writing").export(found, filename, mine, collection_list)


def import_meta_graph(
    meta_graph_or_file: Any,
    clear_devices: bool = False,
    import_scope: str | None = None,
    return_elements: Any = None,
    input_map: Any = None,
) -> Saver | None:
    """Adds to the default graph what `export_meta_graph` has written: the same names, variables and collections.

    Args:
        meta_graph_or_file: a path, or the model that `export_meta_graph` gave.
        import_scope: before all names.

    Gradients go through what is imported, and it can be trained on; of its tensors, placeholders can be fed.

    Errors:   ModelError for another file, or a damaged one; GraphError for `input_map`

    Returns a saver of its variables; None if there are none.

    >>> import duograph.graph as tf, tempfile, os
    >>> tf.reset_default_graph()
    >>> x = tf.placeholder(tf.float32, [None], name="x")
    >>> y = tf.multiply(x, tf.get_variable("w", initializer=3.0), name="y")
    >>> path = os.path.join(tempfile.mkdtemp(), "model.meta")
    >>> _ = tf.train.export_meta_graph(path)
    >>> tf.reset_default_graph()
    >>> saver = tf.train.import_meta_graph(path)
    >>> with tf.Session() as session:
    ...     session.run(tf.global_variables_initializer())
    ...     session.run("y:0", {"x:0": [1.0, 2.0]})
    array([3., 6.], dtype=float32)
    """
    if input_map is not None or return_elements is not None:
        raise GraphError(
            "import_meta_graph: input_map and return_elements are not there",
            hint="feed the placeholders; get_tensor_by_name gives elements",
        )
    graph, scope = get_default_graph(), f"{import_scope.rstrip('/')}/" if import_scope else ""
    variables = import_module("duograph.onnx.meta_graphs.reading").restore(meta_graph_or_file, graph, scope)
    saved = [x for x in variables if x in graph.get_collection(GraphKeys.GLOBAL_VARIABLES)]
    return Saver({x.node.name.removeprefix(scope): x for x in saved}) if saved else None


def write_graph(graph_or_graph_def: Any, logdir: Any, name: str, as_text: bool = True) -> str:
    """Writes a graph to a file, to be looked at: as text, or as a GraphDef in the form of protocol buffers.

    Args:
        graph_or_graph_def: a graph, or the text that `session.graph_def` is.
        logdir: the directory; it is made if need be.

    Returns the file's path.
    """
    os.makedirs(logdir, exist_ok=True)
    path = os.path.join(os.fspath(logdir), name)
    if as_text:
        write_text(path, graph_or_graph_def if isinstance(graph_or_graph_def, str) else graph_or_graph_def.as_text() + "\n")
        return path
    if isinstance(graph_or_graph_def, str):
        raise ArgumentError("write_graph: text is written as text", hint="give the graph, or as_text=True")
    from ..events import graph_def

    with open(path, "wb") as file:
        file.write(graph_def(graph_or_graph_def).SerializeToString())
    return path
