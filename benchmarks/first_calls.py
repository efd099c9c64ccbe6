"""The first call of an operator in a new interpreter, which reads what to call from its standard input.

The process has imported duograph, looked the operator up and made the tensors; what the call itself imports, reads from the
cache of objects and maps counts. NumPy is not imported: operands come as JSON, arrays, dtypes and tuples as objects that say so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any


def describe(operator: str, args: Any, kwargs: Any) -> str:
    """A call as this module's program reads it."""
    return json.dumps([operator, _written(list(args)), {name: _written(value) for name, value in kwargs.items()}])


def seconds(call: str) -> float:
    """Processor time of the described call in a process of its own; 0 where it fails."""
    command = [sys.executable, "-W", "ignore", "-c", "from benchmarks.first_calls import main; main()"]
    done = subprocess.run(command, input=call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return float(done.stdout or 0)


def _written(value: Any) -> Any:
    import numpy as np

    from duograph.ops.samples import DTypeName

    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        return {"dtype": array.dtype.name, "shape": array.shape, "values": array.ravel().tolist()}
    if isinstance(value, DTypeName):
        return {"dtype": value}
    if isinstance(value, (list, tuple)):
        items = [_written(x) for x in value]
        return {"tuple": items} if isinstance(value, tuple) else items
    return value


def _read(value: Any) -> Any:
    import duograph as dg

    if isinstance(value, list):
        return [_read(x) for x in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(_read(x) for x in value["tuple"])
    dtype = getattr(dg, value["dtype"])
    return dg._core.from_flat(value["values"], dtype, tuple(value["shape"])) if "values" in value else dtype


def main() -> None:
    """Read a call, make it, print the seconds it took."""
    import duograph as dg

    name, args, kwargs = json.load(sys.stdin)
    dg.zeros  # noqa: B018  # looking up any name brings the table of operators
    function = dg.ops.definition.REGISTRY[name].exported
    args, kwargs = _read(args), {key: _read(x) for key, x in kwargs.items()}
    start = time.process_time()
    function(*args, **kwargs)
    print(time.process_time() - start)
