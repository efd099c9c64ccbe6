"""The first call of an operator in a new interpreter, which reads what to call from its standard input.

The process has imported duograph, looked the operator up and made the tensors; what the call itself imports, reads from the
cache of objects and maps counts. NumPy is not imported: operands come as lists.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from typing import Any, NamedTuple


class Operand(NamedTuple):
    """An array, without NumPy."""

    dtype: str
    shape: tuple[int, ...]
    values: list[Any]


class DTypeOf(NamedTuple):
    """A dtype by its name."""

    name: str


def describe(operator: str, args: Any, kwargs: Any) -> bytes:
    """A call as this module's program reads it."""
    return pickle.dumps((operator, _written(args), _written(kwargs)))


def seconds(call: bytes) -> float:
    """Processor time of the described call in a process of its own; 0 where it fails."""
    command = [sys.executable, "-W", "ignore", "-c", "from benchmarks.first_calls import main; main()"]
    done = subprocess.run(command, input=call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return float(done.stdout or 0)


def _written(value: Any) -> Any:
    import numpy as np

    from duograph.ops.samples import DTypeName

    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        return Operand(array.dtype.name, array.shape, array.ravel().tolist())
    if isinstance(value, DTypeName):
        return DTypeOf(str(value))
    if isinstance(value, dict):
        return {key: _written(x) for key, x in value.items()}
    return type(value)(map(_written, value)) if isinstance(value, (list, tuple)) else value


def _read(value: Any) -> Any:
    import duograph as dg

    if isinstance(value, Operand):
        return dg._core.from_flat(value.values, getattr(dg, value.dtype), value.shape)
    if isinstance(value, DTypeOf):
        return getattr(dg, value.name)
    if isinstance(value, dict):
        return {key: _read(x) for key, x in value.items()}
    return type(value)(map(_read, value)) if isinstance(value, (list, tuple)) else value


def main() -> None:
    """Read a call, make it, print the seconds it took."""
    import duograph as dg

    name, args, kwargs = pickle.load(sys.stdin.buffer)
    dg.zeros  # noqa: B018  # looking up any name brings the table of operators
    function = dg.ops.definition.REGISTRY[name].exported
    args, kwargs = _read(args), _read(kwargs)
    start = time.process_time()
    function(*args, **kwargs)
    print(time.process_time() - start)
