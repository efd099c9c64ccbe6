"""duograph: a deep-learning framework in which the same program is a dynamic graph and a static graph.

Write it dynamic, run it static:

>>> import duograph as dg
>>> f = dg.static(lambda x: (x * 2 + 1).tanh())
>>> f(dg.zeros(2))
tensor([0.7616, 0.7616])

Importing the package loads the core alone. Everything else (operators, networks, code generation, NumPy) is imported when
one of its names is first asked for.
"""

# ruff: noqa: F401
from __future__ import annotations

from . import _core as _core
from . import _forks as _forks
from . import _hooks as _hooks
from ._core import (
    DType,
    Tensor,
    bfloat16,
    empty_cache,
    float16,
    float32,
    float64,
    get_default_dtype,
    get_num_threads,
    get_rng_state,
    int8,
    int16,
    int32,
    int64,
    manual_seed,
    memory_stats,
    set_default_dtype,
    set_flush_denormal,
    set_num_threads,
    set_rng_state,
    uint8,
    uint16,
    uint32,
    uint64,
)

TYPE_CHECKING = False  # as typing's, whose import takes longer than all of the above
if TYPE_CHECKING:
    from typing import Any

    from . import amp as amp
    from . import autograd as autograd
    from . import cuda as cuda
    from . import errors as errors
    from . import func as func
    from . import jit as jit
    from . import linalg as linalg
    from . import models as models
    from . import nn as nn
    from . import onnx as onnx
    from . import ops as ops
    from . import optim as optim
    from . import special as special
    from . import utils as utils
    from .amp import GradScaler as GradScaler
    from .amp import autocast as autocast
    from .amp import clear_autocast_cache as clear_autocast_cache
    from .amp import get_autocast_dtype as get_autocast_dtype
    from .amp import is_autocast_cache_enabled as is_autocast_cache_enabled
    from .amp import is_autocast_enabled as is_autocast_enabled
    from .amp import set_autocast_cache_enabled as set_autocast_cache_enabled
    from .amp import set_autocast_dtype as set_autocast_dtype
    from .amp import set_autocast_enabled as set_autocast_enabled
    from .autograd import enable_grad as enable_grad
    from .autograd import inference_mode as inference_mode
    from .autograd import is_grad_enabled as is_grad_enabled
    from .autograd import is_inference_mode_enabled as is_inference_mode_enabled
    from .autograd import no_grad as no_grad
    from .autograd import set_grad_enabled as set_grad_enabled
    from .autograd import tape as tape
    from .capture.outside.callbacks import host_callback as host_callback
    from .capture.reports.compare import compare as compare
    from .capture.tune import tune as tune
    from .capture.values.declared import Dim as Dim
    from .capture.values.declared import check_size as check_size
    from .errors import Error as Error
    from .func import vmap as vmap
    from .jit import compile as compile
    from .jit import dynamic_mode as dynamic_mode
    from .jit import static as static
    from .linalg.decompositions import cholesky as cholesky
    from .linalg.determinants import det as det
    from .linalg.determinants import logdet as logdet
    from .linalg.determinants import slogdet as slogdet
    from .linalg.exponentials import matrix_exp as matrix_exp
    from .linalg.lu import lu_unpack as lu_unpack
    from .linalg.ranks import pinverse as pinverse
    from .linalg.solutions import cholesky_inverse as cholesky_inverse
    from .linalg.solutions import cholesky_solve as cholesky_solve
    from .linalg.systems import inverse as inverse
    from .onnx.model import load as load_static
    from .ops import *
    from .ops.randomness.generators import Generator as Generator
    from .ops.randomness.generators import default_generator as default_generator
    from .serialization import load as load
    from .serialization import save as save
    from .tensors.creation import *  # type: ignore[has-type]  # over the operators of the same names
    from .tensors.device import device as device
    from .tensors.formats import channels_last as channels_last
    from .tensors.formats import channels_last_3d as channels_last_3d
    from .tensors.formats import contiguous_format as contiguous_format
    from .tensors.formats import preserve_format as preserve_format
    from .tensors.formats import strided as strided
    from .tensors.functions import *  # type: ignore[has-type]  # over the operators of the same names
    from .tensors.size import Size as Size
    from .tensors.text import set_printoptions as set_printoptions

__version__ = "0.1.0"

dtype = DType
bool = _core.bool
float, double, half = float32, float64, float16
short, int, long = int16, int32, int64
e, inf, nan, pi = 2.718281828459045, 1e999, 1e999 - 1e999, 3.141592653589793
newaxis = None

# Where names come from that are imported when first asked for. All others are operators.
_LAZY = {
    "amp": (
        "GradScaler", "autocast", "clear_autocast_cache", "get_autocast_dtype", "is_autocast_cache_enabled",
        "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_dtype", "set_autocast_enabled",
    ),
    "autograd": (
        "enable_grad", "inference_mode", "is_grad_enabled", "is_inference_mode_enabled", "no_grad", "set_grad_enabled", "tape",
    ),
    "capture.outside.callbacks": ("host_callback",),
    "capture.reports.compare": ("compare",),
    "capture.tune": ("tune",),
    "capture.values.declared": ("Dim", "check_size"),
    "cuda": (),
    "errors": ("Error",),
    "func": ("vmap",),
    "jit": ("compile", "dynamic_mode", "static"),
    "linalg": (),
    "linalg.decompositions": ("cholesky",),
    "linalg.determinants": ("det", "logdet", "slogdet"),
    "linalg.exponentials": ("matrix_exp",),
    "linalg.lu": ("lu_unpack",),
    "linalg.ranks": ("pinverse",),
    "linalg.solutions": ("cholesky_inverse", "cholesky_solve"),
    "linalg.systems": ("inverse",),
    "models": (),
    "nn": (),
    "onnx": (),
    "onnx.model": ("load_static",),
    "ops": (),
    "ops.randomness.generators": ("Generator", "default_generator"),
    "optim": (),
    "serialization": ("load", "save"),
    "special": (),
    "tensors.creation": (
        "arange", "as_tensor", "empty", "empty_like", "eye", "from_dlpack", "from_numpy", "full", "full_like", "linspace",
        "ones", "ones_like", "rand", "rand_like", "randint", "randn", "randn_like", "randperm", "tensor", "zeros",
        "zeros_like",
    ),
    "tensors.device": ("device",),
    "tensors.formats": ("channels_last", "channels_last_3d", "contiguous_format", "preserve_format", "strided"),
    "tensors.functions": (
        "are_deterministic_algorithms_enabled", "asarray", "broadcast_shapes", "can_cast", "conj_physical", "detach",
        "detach_", "empty_strided", "fill", "fill_", "finfo", "frombuffer", "get_default_device", "iinfo",
        "index_put", "index_put_", "initial_seed", "is_complex", "is_conj", "is_floating_point", "is_inference",
        "is_neg", "is_nonzero", "is_same_size", "is_signed", "is_tensor", "numel", "promote_types", "range",
        "resize_as_", "result_type", "scalar_tensor", "seed", "set_float32_matmul_precision", "split_with_sizes",
        "unsafe_split_with_sizes", "use_deterministic_algorithms", "zero_",
    ),
    "tensors.size": ("Size",),
    "tensors.text": ("set_printoptions",),
    "utils": (),
}  # fmt: skip
_RENAMED = {"load_static": "load"}
_OWNERS = {name: module for module, names in _LAZY.items() for name in names}


def _load(module: str) -> Any:
    return _forks.import_late(f"{__name__}.{module}")


def __getattr__(name: str) -> Any:
    if name in _OWNERS:
        found = getattr(_load(_OWNERS[name]), _RENAMED.get(name, name))
    elif name in _LAZY:
        found = _load(name)
    else:
        found = None if name.startswith("_") else _operator(name)
        if found is None:
            raise AttributeError(f"module 'duograph' has no attribute {name!r}")
    globals()[name] = found
    return found


def _operator(name: str) -> Any:
    """The public operator of that name or alias, None if there is none."""
    _load("tensors")  # with what tensors need to meet operators
    row = _load("ops.definition").REGISTRY.get(name)
    return row.exported if row is not None and row.public and row.name == name else _operators().get(name)


def _operators() -> dict[str, Any]:
    """The public operators by name and alias."""
    _load("tensors")
    rows = [definition for definition in _load("ops.definition").REGISTRY.values() if definition.public]
    return {name: row.exported for row in rows for name in (row.name, *row.aliases)}


def __dir__() -> list[str]:
    return sorted({*globals(), *_OWNERS, *_LAZY, *_operators()})
