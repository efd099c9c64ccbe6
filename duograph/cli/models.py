"""Loading for commands: every failure becomes a message and exit code 2."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import typer

from .output import INTERRUPTED, UsageError, fail


@contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Errors end the command with a message: without a traceback, unless the fault is ours."""
    from duograph.errors import Error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Error as error:
            if error.location is not None and os.path.dirname(typer.__file__) in error.location.file:
                error.location = None  # the user's line is the command
            fail(str(error), as_json)
        except (UsageError, OSError, MemoryError) as error:
            fail(str(error) or type(error).__name__, as_json)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            extra = "duograph[onnx]" if package == "onnx" else package
            fail(f'the package {package} is not installed: pip install "{extra}"', as_json)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except typer.Exit:
            raise
        except Exception as error:
            traceback.print_exc()
            fail(f"{type(error).__name__}: {error}", as_json)


def load(path: Any) -> Any:
    """The model of a file, or of its proto."""
    import duograph as dg

    return dg.onnx.load(path)


def source(path: str) -> Any:
    """The file as `load` reads it: `model` is its ModelProto, `folder` holds external data."""
    from duograph.onnx.reading import read

    found = read(path)
    for name in _names(found.model):
        if not isinstance(name, str):  # bytes that are no UTF-8
            raise UsageError(f"{path} has the name {name!r}, which is no text")
    return found


def _names(model: Any) -> Iterator[Any]:
    """The names in the main graph and the functions."""
    graph = model.graph
    for values in (graph.input, graph.output, graph.initializer, model.functions):
        yield from (value.name for value in values)
    yield from (entry.domain for entry in model.opset_import)
    for node in (*graph.node, *(node for function in model.functions for node in function.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def proto(path: str) -> Any:
    """The file's ModelProto."""
    return source(path).model


def tensors(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """The arrays as tensors."""
    import duograph as dg

    def tensor(x: np.ndarray[Any, Any]) -> Any:
        if x.dtype.name == "bfloat16":
            return tensor(x.astype(np.float32)).bfloat16()
        return dg.from_numpy(np.require(x, requirements=["C", "W"])) if x.ndim else dg.tensor(x)

    return {name: tensor(x) for name, x in arrays.items()}


def call(model: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
    """The model's outputs by name."""
    import duograph as dg

    with dg.no_grad():
        made = model(**tensors(arrays))
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name, value in zip(model.outputs, made if len(model.outputs) > 1 else (made,)):
        if isinstance(value, (list, tuple)):
            found.update({f"{name}.{i}": array_of(each) for i, each in enumerate(value)})
        elif value is not None:
            found[name] = array_of(value)
    return found


def array_of(tensor: Any) -> np.ndarray[Any, Any]:
    """A tensor as an array; bfloat16, which NumPy does not have, as float32."""
    made: np.ndarray[Any, Any] = (tensor.float() if tensor.dtype.name == "bfloat16" else tensor).detach().numpy()
    return made


def nodes_of(graph: Any) -> Iterator[Any]:
    """All nodes of a graph or function, also those of the graphs that branches and loops hold."""
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else attribute.graphs
