"""The work that each operator does in `benchmarks operators`: arguments with `s` × `s` elements, by name.

Elementwise functions, losses and whatever else has operands of one shape need no line here: their first sample's operands,
drawn anew with `s` rows and columns, are their work. An operator that works along a dimension is measured along the last one
and along the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from duograph.ops import samples

ELEMENTWISE, REDUCTION, SHAPE, COMPOSITION, PRODUCT, OTHER, VIEW = (
    "elementwise", "reductions", "shapes and indexing", "compositions and losses", "products", "creation and random", "views",
)  # fmt: skip
FAMILIES = (ELEMENTWISE, REDUCTION, SHAPE, COMPOSITION, PRODUCT, OTHER, VIEW)

Arguments: TypeAlias = "Callable[[samples.Maker, int], tuple[Any, ...]]"

_OF_KIND = {
    "elementwise": ELEMENTWISE, "reduction": REDUCTION, "movement": SHAPE, "indexing": SHAPE, "composition": COMPOSITION,
    "loss": COMPOSITION, "contraction": PRODUCT, "creation": OTHER, "random": OTHER, "view": VIEW,
}  # fmt: skip
_BY_NAME = {
    ELEMENTWISE: "rsub polygamma rrelu positive isclose",
    REDUCTION: "max min cummax cummin sort topk kthvalue median nanmedian searchsorted bucketize mode unique unique_consecutive"
    " bincount aminmax std_mean var_mean norm isin allclose equal histc",
    SHAPE: "repeat_interleave roll fliplr flipud block_diag cartesian_prod combinations nonzero masked_select argwhere"
    " constant_pad_nd rot90 select_scatter slice_scatter one_hot unravel_index",
    COMPOSITION: "softmin gumbel_softmax cross_entropy triplet_margin_with_distance_loss cross cdist vander trace",
    PRODUCT: "mm bmm mv dot vdot outer einsum tensordot chain_matmul",
    OTHER: "arange linspace logspace tril_indices triu_indices zeros_like ones_like full_like normal multinomial bernoulli"
    " randint_like rand randn randint randperm dropout",
    VIEW: "broadcast_tensors narrow split chunk unbind tensor_split hsplit vsplit dsplit atleast_1d atleast_2d atleast_3d adjoint"
    " ravel view_as reshape_as expand_as as_strided meshgrid",
}
_FAMILY = {name: family for family, names in _BY_NAME.items() for name in names.split()}

SKIPPED = frozenset({"triplet_margin_with_distance_loss"})  # its function of distances is the caller's


def family_of(name: str, kind: str) -> str:
    """The group whose geometric mean an operator counts in."""
    return _FAMILY.get(name, _OF_KIND.get(kind, OTHER))


def _matrix(*rest: Any) -> Arguments:
    return lambda m, s: (m(s, s), *rest)


def _both(*names: str) -> dict[str, dict[str, Arguments]]:
    """Along the last and the first dimension."""
    return {name: {"": _matrix(1), "dim 0": _matrix(0)} for name in names}


def _one(m: samples.Maker, s: int) -> tuple[Any, ...]:
    return (m(s * s),)


def _chosen(m: samples.Maker, s: int) -> Any:
    return m.ints(s, s, high=s)


def _masked(m: samples.Maker, s: int) -> tuple[Any, ...]:
    return m(s, s), m.bools(s, s)


def _labels(m: samples.Maker, s: int) -> tuple[Any, ...]:
    return m(s, s), m.ints(s, high=s)


def _distinct(m: samples.Maker, s: int) -> Any:
    """Whole values with about a thousand distinct ones."""
    return m(s * s, low=0, high=1000).astype(np.int64).astype(m.of([1]).dtype)


def _sorted(m: samples.Maker, n: int) -> Any:
    return np.sort(m(n))


def _small(m: samples.Maker, *shape: int) -> Any:
    """Factors whose powers and products stay in range."""
    return m(*shape) if m.kind == "i" else m(*shape) * m.of(0.01)


def _probability(m: samples.Maker, *shape: int) -> Any:
    return m(*shape, low=0.01, high=0.99)


_WORKS: dict[str, Arguments | dict[str, Arguments]] = {
    # Elementwise: broadcast rows and columns
    "where": lambda m, s: (m.bools(s, s), m(s, s), m(s, s)),
    "add": {"": lambda m, s: (m(s, s), m(s, s)), "row": lambda m, s: (m(s, s), m(s)), "column": lambda m, s: (m(s, s), m(s, 1))},
    "mul": {"": lambda m, s: (m(s, s), m(s, s)), "number": lambda m, s: (m(s, s), 3)},
    "rsub": lambda m, s: (m(s, s), m(s, s)),
    "gcd": lambda m, s: (m(s, s, low=-300, high=300), m(s, s, low=-300, high=300)),
    "lcm": lambda m, s: (m(s, s, low=-300, high=300), m(s, s, low=-300, high=300)),
    "ldexp": lambda m, s: (m(s, s), m.ints(s, s, low=-3, high=4)),
    "masked_fill": lambda m, s: (*_masked(m, s), 1),
    "polygamma": lambda m, s: (1, m(s, s, low=0.5, high=5)),
    "rrelu": _matrix(0.1, 0.3),
    "prelu": lambda m, s: (m(s, s), m(1)),
    "positive": _matrix(),
    # Reductions
    **{
        name: {"": _matrix(), "dim 1": _matrix(1), "dim 0": _matrix(0)}
        for name in ("sum", "amax", "amin", "argmax", "argmin", "max", "min", "any", "all", "count_nonzero", "mean", "var", "std",
                     "nansum", "nanmean", "std_mean", "var_mean")
    },
    "prod": {  # near 1, so that products of a thousand stay normal numbers
        "": lambda m, s: (m(s, s, low=0.9, high=1.1),),
        "dim 1": lambda m, s: (m(s, s, low=0.9, high=1.1), 1),
        "dim 0": lambda m, s: (m(s, s, low=0.9, high=1.1), 0),
    },
    "aminmax": _matrix(),
    "norm": {"": _matrix(), "dim 1": _matrix(2, 1), "dim 0": _matrix(2, 0), "order 1": _matrix(1, 1), "order 3": _matrix(3, 1)},
    "dist": lambda m, s: (m(s, s), m(s, s)),
    "renorm": _matrix(2.0, 0, 1.5),
    **_both("logsumexp", "cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"),
    "diff": {"": _matrix(1, 1), "dim 0": _matrix(1, 0)},
    "trapezoid": {"": _matrix(), "dim 0": lambda m, s: (m(s, s), {"dim": 0})},
    "cumulative_trapezoid": {"": _matrix(), "dim 0": lambda m, s: (m(s, s), {"dim": 0})},
    "sort": {"": _one, "dim 1": _matrix(1), "dim 0": _matrix(0)},
    "argsort": {"": _one, "dim 1": _matrix(1), "dim 0": _matrix(0)},
    "msort": _matrix(),
    "topk": {"": lambda m, s: (m(s * s), s), "dim 1": lambda m, s: (m(s, s), 5), "dim 0": lambda m, s: (m(s, s), 5, 0)},
    "kthvalue": {"": lambda m, s: (m(s * s), s), "dim 1": _matrix(3)},
    "median": {"": _matrix(), "dim 1": _matrix(1)},
    "nanmedian": {"": _matrix(), "dim 1": _matrix(1)},
    "mode": _matrix(),
    "quantile": {"": lambda m, s: (m(s * s), 0.3), "dim 1": _matrix(0.3, 1)},
    "nanquantile": {"": lambda m, s: (m(s * s), 0.3), "dim 1": _matrix(0.3, 1)},
    "searchsorted": lambda m, s: (_sorted(m, s * s), m(s, s)),
    "bucketize": lambda m, s: (m(s, s), _sorted(m, s)),
    "bincount": lambda m, s: (m.ints(s * s, high=s),),
    "histc": lambda m, s: (m(s * s), 100),
    "unique": {"": lambda m, s: (_distinct(m, s),), "all distinct": _one},
    "unique_consecutive": lambda m, s: (_sorted(m, s * s),),
    "isin": lambda m, s: (m(s, s), m(s)),
    "cov": _matrix(),
    "corrcoef": _matrix(),
    "pdist": lambda m, s: (m(s, s),),
    "allclose": lambda m, s: (lambda x: (x, x.copy()))(m(s, s)),
    "equal": lambda m, s: (lambda x: (x, x.copy()))(m(s, s)),
    # Shapes
    "diagonal_scatter": lambda m, s: (m(s, s), m(s)),
    "diag_embed": lambda m, s: (m(s),),
    "diag": lambda m, s: (m(s),),
    "diagflat": lambda m, s: (m(s),),
    "cat": {"": lambda m, s: ([m(s // 2, s), m(s // 2, s)],), "dim 1": lambda m, s: ([m(s, s // 2), m(s, s // 2)], 1)},
    "stack": {"": lambda m, s: ([m(s // 2, s), m(s // 2, s)],), "dim 2": lambda m, s: ([m(s, s // 2), m(s, s // 2)], 2)},
    "hstack": lambda m, s: ([m(s, s // 2), m(s, s // 2)],),
    "vstack": lambda m, s: ([m(s // 2, s), m(s // 2, s)],),
    "dstack": lambda m, s: ([m(s, s // 2), m(s, s // 2)],),
    "column_stack": lambda m, s: ([m(s, s // 2), m(s, s // 2)],),
    "flip": {"": _matrix(1), "dim 0": _matrix(0), "both": _matrix((0, 1))},
    "fliplr": _matrix(),
    "flipud": _matrix(),
    "tile": lambda m, s: (m(s, s // 4), (1, 4)),
    "repeat": lambda m, s: (m(s // 4, s), 4, 1),
    "repeat_interleave": {
        "": lambda m, s: (m(s * s // 4), 4),
        "dim 0": lambda m, s: (m(s // 4, s), 4, 0),
        "dim 1": lambda m, s: (m(s, s // 4), 4, 1),
        "counts": lambda m, s: (m(s * s // 2), m.ints(s * s // 2, high=4)),
    },
    "roll": {"": lambda m, s: (m(s * s), s), "dim 1": _matrix(3, 1), "dim 0": _matrix(3, 0)},
    "rot90": {"": _matrix(), "3 turns": _matrix(3)},
    "tril": _matrix(),
    "triu": _matrix(),
    "block_diag": lambda m, s: (m(s // 2, s // 2), m(s // 2, s // 2)),
    "cartesian_prod": lambda m, s: (m(s), m(s)),
    "combinations": lambda m, s: (m(s),),
    "constant_pad_nd": lambda m, s: (m(s, s), (1, 2, 1, 2)),
    "pixel_shuffle": lambda m, s: (m(1, 16, s // 4, s // 4), 4),
    "pixel_unshuffle": lambda m, s: (m(1, 1, s, s), 4),
    "channel_shuffle": lambda m, s: (m(1, 8, s // 8, s), 4),
    # Indexing
    "index_select": {"": lambda m, s: (m(s, s), 0, m.ints(s, high=s)), "dim 1": lambda m, s: (m(s, s), 1, m.ints(s, high=s))},
    "gather": {"": lambda m, s: (m(s, s), 1, _chosen(m, s)), "dim 0": lambda m, s: (m(s, s), 0, _chosen(m, s))},
    "take_along_dim": lambda m, s: (m(s, s), _chosen(m, s), 1),
    "scatter": {
        "": lambda m, s: (m(s, s), 1, _chosen(m, s), m(s, s)),
        "dim 0": lambda m, s: (m(s, s), 0, _chosen(m, s), m(s, s)),
    },
    "scatter_add": {
        "": lambda m, s: (m(s, s), 1, _chosen(m, s), m(s, s)),
        "dim 0": lambda m, s: (m(s, s), 0, _chosen(m, s), m(s, s)),
        "one row": lambda m, s: (m(s * s), 0, m.ints(s * s, high=s * s), m(s * s)),
    },
    "scatter_reduce": {
        how: lambda m, s, how=how: (m(s, s), 1, _chosen(m, s), m(s, s), how) for how in ("sum", "prod", "amax", "mean")
    },
    "index_add": lambda m, s: (m(s, s), 0, m.ints(s, high=s), m(s, s)),
    "index_copy": lambda m, s: (m(s, s), 0, m.ints(s, high=s), m(s, s)),
    "index_fill": lambda m, s: (m(s, s), 0, m.ints(s // 2, high=s), 2),
    "index_reduce": lambda m, s: (m(s, s), 0, m.ints(s, high=s), m(s, s), "prod"),
    "take": lambda m, s: (m(s, s), m.ints(s, s, high=s * s)),
    "as_strided_scatter": lambda m, s: (m(2 * s * s), m(s, s), (s, s), (2 * s, 1)),
    "masked_select": _masked,
    "masked_scatter": lambda m, s: (*_masked(m, s), m(s * s)),
    "nonzero": lambda m, s: (m.bools(s, s),),
    "argwhere": lambda m, s: (m.bools(s, s),),
    "select_scatter": lambda m, s: (m(s, s), m(s), 0, 1),
    "slice_scatter": lambda m, s: (m(s, s), m(s // 2, s), 0, 1, 1 + s // 2),
    "one_hot": lambda m, s: (m.ints(s, high=s), s),
    "embedding": lambda m, s: (m.ints(s, high=s), m(s, s)),
    "unravel_index": lambda m, s: (m.ints(s * s, high=s * s), (s, s)),
    # Compositions and losses
    "softmax": {"": _matrix(1), "dim 0": _matrix(0)},
    "log_softmax": {"": _matrix(1), "dim 0": _matrix(0)},
    "softmin": {"": _matrix(1)},
    "layer_norm": lambda m, s: (m(s, s), (s,), m(s), m(s)),
    "rms_norm": lambda m, s: (m(s, s), (s,), m(s)),
    "local_response_norm": lambda m, s: (m(8, s // 8, s), 3),
    "nll_loss": _labels,
    "cross_entropy": _labels,
    "multi_margin_loss": _labels,
    "multilabel_margin_loss": lambda m, s: (m(s * s // 8, 8), m.ints(s * s // 8, 8, low=-1, high=8)),
    "cosine_embedding_loss": lambda m, s: (m(s, s), m(s, s), m.of(np.resize([1, -1], s))),
    "margin_ranking_loss": lambda m, s: (m(s * s), m(s * s), m.of(np.resize([1, -1], s * s))),
    "cross": lambda m, s: (m(s * s // 3, 3), m(s * s // 3, 3)),
    "cdist": lambda m, s: (m(s, 16), m(s, 16)),
    "trace": _matrix(),
    "vander": lambda m, s: (_small(m, s), s),
    # Products
    "matmul": lambda m, s: (m(s, s), m(s, s)),
    "mm": lambda m, s: (m(s, s), m(s, s)),
    "linear": lambda m, s: (m(s, s), m(s, s), m(s)),
    "bmm": lambda m, s: (m(s // 8, 8, s), m(s // 8, s, 8)),
    "mv": lambda m, s: (m(s, s), m(s)),
    "dot": lambda m, s: (m(s * s), m(s * s)),
    "vdot": lambda m, s: (m(s * s), m(s * s)),
    "outer": lambda m, s: (m(s), m(s)),
    "einsum": lambda m, s: ("ij,jk->ik", m(s, s), m(s, s)),
    "tensordot": lambda m, s: (m(s // 4, 4, s), m(4, s, 64), 2),
    "addmm": lambda m, s: (m(s, s), m(s, s), m(s, s)),
    "addmv": lambda m, s: (m(s), m(s, s), m(s)),
    "addr": lambda m, s: (m(s, s), m(s), m(s)),
    "baddbmm": lambda m, s: (m(s // 8, 8, 8), m(s // 8, 8, s), m(s // 8, s, 8)),
    "addbmm": lambda m, s: (m(8, 8), m(s // 8, 8, s), m(s // 8, s, 8)),
    "inner": lambda m, s: (m(s, s), m(s, s)),
    "kron": lambda m, s: (m(s // 4, s // 4), m(4, 4)),
    "matrix_power": lambda m, s: (_small(m, s // 2, s // 2), 3),
    "chain_matmul": lambda m, s: (m(s, 16), m(16, s), m(s, 16)),
    "bilinear": lambda m, s: (m(s, 16), m(s, 16), m(8, 16, 16), m(8)),
    # Creation and random
    "full": lambda m, s: ((s, s), 1.5),
    "eye": lambda m, s: (s,),
    "arange": lambda m, s: (s * s,),
    "linspace": lambda m, s: (0.0, 1.0, s * s),
    "logspace": lambda m, s: (0.0, 2.0, s * s),
    "tril_indices": lambda m, s: (s, s),
    "triu_indices": lambda m, s: (s, s),
    "zeros_like": _matrix(),
    "ones_like": _matrix(),
    "full_like": _matrix(2),
    "rand": lambda m, s: (s, s),
    "randn": lambda m, s: (s, s),
    "randint": lambda m, s: (0, 100, (s, s)),
    "randperm": lambda m, s: (s * s,),
    "bernoulli": lambda m, s: (_probability(m, s, s),),
    "normal": lambda m, s: (m(s, s), 1.0),
    "multinomial": lambda m, s: (_probability(m, s), s // 2),
    "randint_like": _matrix(100),
    # Views
    "reshape": lambda m, s: (m(s, s), s // 2, 2 * s),
    "flatten": lambda m, s: (m(s, s),),
    "squeeze": lambda m, s: (m(1, s, 1, s),),
    "unsqueeze": _matrix(0),
    "unflatten": lambda m, s: (m(s, s), 1, (2, s // 2)),
    "permute": lambda m, s: (m(2, s // 2, s), 2, 0, 1),
    "transpose": _matrix(0, 1),
    "movedim": lambda m, s: (m(2, s // 2, s), 0, 2),
    "expand": lambda m, s: (m(s, 1), s, s),
    "broadcast_to": lambda m, s: (m(s, 1), (s, s)),
    "broadcast_tensors": lambda m, s: (m(s, 1), m(s)),
    "diagonal": _matrix(),
    "select": _matrix(0, 1),
    "narrow": _matrix(0, 1, 3),
    "split": lambda m, s: (m(s, s), s // 4),
    "chunk": _matrix(4),
    "unbind": lambda m, s: (m(4, s * s // 4),),
    "tensor_split": _matrix(4),
    "hsplit": _matrix(4),
    "vsplit": _matrix(4),
    "dsplit": lambda m, s: (m(2, s // 2, s), 4),
    "as_strided": lambda m, s: (m(s * s), (s // 2, s // 2), (2 * s, 2)),
    "meshgrid": lambda m, s: (m(s), m(s)),
}  # fmt: skip


def works(name: str, samples_of: Any, dtype: str, side: int) -> Iterator[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """(what distinguishes it from the operator's other works, arguments with arrays, keywords) of each of its works."""
    if name in SKIPPED:
        return
    found = _WORKS.get(name)
    for label, make in found.items() if isinstance(found, dict) else [("", found or _grown(samples_of))]:
        args = make(samples.Maker(dtype), side)
        kwargs = args[-1] if args and isinstance(args[-1], dict) else {}
        if args:
            yield label, args[:-1] if kwargs else args, kwargs


def _grown(samples_of: Any) -> Arguments:
    """The first sample with its operands drawn anew from their range; nothing where they are not of one shape."""

    def make(m: samples.Maker, s: int) -> tuple[Any, ...]:
        made = samples_of(m)
        arrays = [a for a in made[0] if isinstance(a, np.ndarray)] if made else []
        if not arrays or any(a.shape != arrays[0].shape or a.ndim != 2 for a in arrays):
            return ()
        return tuple(_redrawn(m, a, s) if isinstance(a, np.ndarray) else a for a in made[0])

    return make


def _redrawn(m: samples.Maker, array: Any, side: int) -> Any:
    """`side` × `side` values of an array's range; of its own values where it has two."""
    values = np.unique(array)
    if len(values) <= 2:
        return m.random.choice(values, (side, side))
    if array.dtype.kind == "f":
        return m.random.uniform(values[0], values[-1], (side, side)).astype(array.dtype)
    return m.random.integers(values[0], values[-1], (side, side), endpoint=True).astype(array.dtype)
