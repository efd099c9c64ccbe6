"""The operators, by family. Each is one block; see `definition` for what a block says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duograph import _core as core

from . import (  # noqa: F401
    activations,
    affine_views,
    arithmetic,
    arranging,
    assembling,
    bessel,
    bessel_second,
    bits,
    choice,
    comparison,
    contractions,
    copying,
    counting,
    covariance,
    creation,
    divisions,
    drawing,
    dropping,
    einsum,
    exponentiation,
    extrema,
    functions,
    gates,
    incomplete,
    indexing,
    joining,
    layouts,
    likelihoods,
    losses,
    margins,
    masks,
    movement,
    normalisation,
    norms,
    optimizer_steps,
    padding,
    pairs,
    permuting,
    products,
    quantiles,
    random,
    rarer_steps,
    reductions,
    regrouping,
    rounding,
    row_distances,
    rows,
    sampled,
    scans,
    scattering,
    searching,
    similarity,
    slicing,
    sorting,
    special,
    statistics,
    tables,
    tabulating,
    tails,
    unary,
    view_forms,
    windows,
    zeta,
)
from .definition import REGISTRY

if TYPE_CHECKING:
    from .activations import *
    from .arithmetic import *
    from .bits import *
    from .choice import *
    from .comparison import *
    from .contractions import *
    from .copying import *
    from .creation import *
    from .divisions import *
    from .exponentiation import *
    from .extrema import *
    from .functions import *
    from .gates import *
    from .indexing import *
    from .joining import *
    from .layouts import *
    from .likelihoods import *
    from .losses import *
    from .margins import *
    from .masks import *
    from .movement import *
    from .normalisation import *
    from .optimizer_steps import *
    from .pairs import *
    from .permuting import *
    from .random import *
    from .reductions import *
    from .rounding import *
    from .rows import *
    from .slicing import *
    from .special import *
    from .statistics import *
    from .tables import *
    from .unary import *
    from .view_forms import *

for _name, _hook in (
    ("trace_op", "duograph.ops.tracing:trace_op"),
    ("raise_error", "duograph.ops.tracing:raise_error"),
    ("python_gradient", "duograph.ops.gradient:python_gradient"),
    ("view_gradient", "duograph.ops.regions:view_gradient"),
    ("gradient_needs", "duograph.runtime.compile:gradient_needs"),
    ("misfit", "duograph.ops.calls:misfit"),
):
    core.set_hook(_name, _hook)


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
