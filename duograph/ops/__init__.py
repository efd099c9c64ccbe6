"""The operators, by family. Each is one block; see `definition` for what a block says."""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any

from duograph import _core as core

from .convolution import columns, convolutions  # noqa: F401
from .definition import REGISTRY
from .elementwise import (  # noqa: F401
    activations,
    arithmetic,
    bessel,
    bessel_first,
    bessel_second,
    bits,
    choice,
    comparison,
    divisions,
    exponentiation,
    functions,
    gates,
    incomplete,
    orthogonal,
    pairs,
    rounding,
    special,
    tails,
    unary,
    zeta,
)
from .matrix import attention, contractions, einsum, heads, products, row_distances  # noqa: F401
from .pooling import adaptive, fractional, further_pools, greatest, pools, sums, unpooling, with_indices  # noqa: F401
from .randomness import drawing, dropping, random  # noqa: F401
from .recurrence import layers  # noqa: F401
from .reduction import (  # noqa: F401
    answers,
    covariance,
    extrema,
    normalisation,
    norms,
    quantiles,
    reductions,
    sampled,
    scans,
    similarity,
    standardising,
    statistics,
)
from .resampling import interpolation, sampling, upsampling  # noqa: F401
from .selection import advanced_indexing, bags, counting, indexing, masks, medians, rows, scattering, searching, sorting, tables  # noqa: F401
from .shapes import (  # noqa: F401
    affine_views,
    arranging,
    assembling,
    copying,
    creation,
    joining,
    layouts,
    movement,
    padding,
    permuting,
    regrouping,
    slicing,
    tabulating,
    view_forms,
    windows,
)
from .training import ctc, likelihoods, losses, margins, optimizer_steps, rarer_steps  # noqa: F401

if TYPE_CHECKING:
    from .elementwise.activations import *
    from .elementwise.arithmetic import *
    from .elementwise.bits import *
    from .elementwise.choice import *
    from .elementwise.comparison import *
    from .elementwise.divisions import *
    from .elementwise.exponentiation import *
    from .elementwise.functions import *
    from .elementwise.gates import *
    from .elementwise.pairs import *
    from .elementwise.rounding import *
    from .elementwise.special import *
    from .elementwise.unary import *
    from .matrix.attention import *
    from .matrix.contractions import *
    from .matrix.heads import *
    from .randomness.random import *
    from .reduction.answers import *
    from .reduction.extrema import *
    from .reduction.normalisation import *
    from .reduction.reductions import *
    from .reduction.standardising import *
    from .reduction.statistics import *
    from .selection.advanced_indexing import *
    from .selection.bags import *
    from .selection.indexing import *
    from .selection.masks import *
    from .selection.rows import *
    from .selection.tables import *
    from .shapes.copying import *
    from .shapes.creation import *
    from .shapes.joining import *
    from .shapes.layouts import *
    from .shapes.movement import *
    from .shapes.permuting import *
    from .shapes.slicing import *
    from .shapes.view_forms import *
    from .training.ctc import *
    from .training.likelihoods import *
    from .training.losses import *
    from .training.margins import *
    from .training.optimizer_steps import *

for _name, _hook in (
    ("trace_op", "duograph.ops.tracing:trace_op"),
    ("raise_error", "duograph.ops.failed_checks:raise_error"),
    ("python_gradient", "duograph.ops.gradient:python_gradient"),
    ("view_gradient", "duograph.ops.regions:view_gradient"),
    ("gradient_needs", "duograph.runtime.compile:gradient_needs"),
    ("misfit", "duograph.ops.calls:misfit"),
):
    core.set_hook(_name, _hook)


def operator(name: str) -> Any:
    """The operator of a name: what copies and pickles of one lead to."""
    return REGISTRY[name].op


copyreg.pickle(core.Op, lambda op: (operator, (op.name,)))


def __getattr__(name: str) -> object:
    """An operator by name, those included that were defined elsewhere."""
    found = REGISTRY.get(name)
    if found is None:
        for definition in REGISTRY.values():
            if name in definition.aliases:
                found = definition
                break
        else:
            raise AttributeError(f"module 'duograph.ops' has no attribute {name!r}")
    globals()[name] = found.exported
    exported: object = found.exported
    return exported
