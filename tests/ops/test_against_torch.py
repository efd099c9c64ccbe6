"""Every operator against PyTorch: values, dtypes, shapes, gradients, names; generated from the registry."""

from __future__ import annotations

import operator_harness as harness
import pytest
import torch
import torch_reference as reference

import duograph as dg
from duograph.ops.definition import CREATION, ELEMENTWISE, RANDOM, REGISTRY, UPDATE, VIEW, Definition

COMPARED = [d for d in harness.definitions() if reference.is_compared(d)]
# What differs from PyTorch, and why.
WITHOUT_SPECIAL = {
    "add_scaled": "PyTorch fuses the product with the sum, which does not overflow in between",
    "sub_scaled": "as add_scaled",
    "addcmul": "as add_scaled",
    "polygamma_of": "poles of negative numbers: infinite here, 1e15 there",
    "pow": "negative powers of integers are refused",
    "hardswish": "the product overflows before the division in PyTorch",
    "remainder": "PyTorch gives NaN or not by the length of the tensor",
    "i0": "infinite at infinities here, NaN there",
    "i1": "as i0",
    "zeta": "NaN stays NaN, 0 at q of infinity; q below 0 that is not whole: NaN here, a sum for whole x there",
    "gelu": "-inf * 0: NaN or 0 in PyTorch, by the length of the tensor",
}
WITHOUT_SPECIAL |= dict.fromkeys(
    [f"{shifted}chebyshev_polynomial_{kind}" for shifted in ("", "shifted_") for kind in "tuvw"]
    + ["hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p"],
    "NaN stays NaN here, and is what lies beside it there",
)
WITHOUT_SPECIAL_INTEGERS = {
    "fmod": "PyTorch stops the process at the least integer by -1",
    "lcm": "as fmod",
    "gcd": "as fmod",
}
WITHOUT_SPECIAL_GRADIENT = {
    "logit": "the sign of the infinity at -0 depends on the length of the tensor",
    "mvlgamma": "-0 - 0 / 2 is -0 here",
    "polygamma_of": "as its values",
    "digamma": "as polygamma",
    "softsign": "0 at the infinities here, NaN there",
    "i0": "as its values",
    "i1": "as its values; a number at NaN there",
    "i1e": "as i1",
    "log_ndtr": "infinite at -inf here, NaN there",
}
WITHOUT_GRADIENT = {"ldexp": "PyTorch's gradient rounds 2 ** b to whole numbers"}
LOOSE_GRADIENT = {
    "hardsigmoid": (1e4, "PyTorch's 1/6 has seven digits"),
    "digamma": (1e3, "PyTorch's trigamma has nine digits"),
    "lgamma": (1e3, "the same, in the second one"),
}
WITHOUT_INTEGERS = {
    "softsign": "computed in floats here, with overflow in integers there",
    "pairwise_distance": "as softsign",
    "triplet_margin_loss": "as softsign",
    "local_response_norm": "as softsign",
    "between": "bytes are interpolated in fixed-point numbers there",
    "smoothed_to": "as between",
    "interpolate": "as between",
}
WITHOUT_HALVES = {"nextafter": "float32 and float64 only"}
WITHOUT_SECOND: dict[str, str] = {}


def dtypes_for(definition: Definition) -> tuple[str, ...]:
    """float32, float64, int64 and two of the others by turns, so that all are tried across the operators."""
    turn = sum(definition.name.encode())
    halves = () if definition.name in WITHOUT_HALVES else (harness.HALVES[turn % 2],)
    if definition.name in WITHOUT_INTEGERS:
        return ("float32", "float64", *halves)
    return ("float32", "float64", "int64", *halves, ("bool", "uint8", "int32", "int16", "int8")[turn % 5])


@pytest.mark.parametrize("definition", COMPARED, ids=harness.name_of)
def test_values(definition: Definition) -> None:
    """Values, dtypes and shapes on the samples and on odd operands made of them."""
    compared = 0
    for dtype in dtypes_for(definition):
        made = harness.calls(definition, dtype)
        for i, call in enumerate(made if dtype in ("float32", "float64") else made[:2]):
            call = harness.rounded(call, dtype)
            compared += reference.compare(definition, call, dtype, f"{definition.name} {dtype} sample {i}")
        for what, call in reference.odd_calls(definition, dtype):
            skipped = definition.name in WITHOUT_SPECIAL or ("int" in dtype and definition.name in WITHOUT_SPECIAL_INTEGERS)
            if what != "special" or not skipped:
                compared += reference.compare(
                    definition, harness.rounded(call, dtype), dtype, f"{definition.name} {dtype} {what}"
                )
        if definition.kind == CREATION:
            break
    assert compared, "PyTorch takes none of the samples"


DIFFERENTIABLE = [d for d in COMPARED if d.differentiable and d.kind != CREATION and d.name not in WITHOUT_GRADIENT]


@pytest.mark.parametrize("definition", DIFFERENTIABLE, ids=harness.name_of)
def test_gradients(definition: Definition) -> None:
    """First and second gradients; the first also at special values."""
    tolerance = definition.tolerance * LOOSE_GRADIENT.get(definition.name, (1, ""))[0]
    for i, call in enumerate(harness.calls(definition, "float64")):
        if not harness.is_smooth(call):
            continue
        for second in (False, True):
            if second and definition.name in WITHOUT_SECOND:
                continue
            pair = reference.gradients(definition, call, second)
            what = f"{definition.name} sample {i}, {'second' if second else 'first'} derivative"
            if pair:
                reference.assert_same_gradients(*pair, tolerance * (100 if second else 1), what)
    for what, call in reference.odd_calls(definition, "float64", extremes=False):
        if what == "special" and definition.name in WITHOUT_SPECIAL_GRADIENT:
            continue
        pair = reference.gradients(definition, call, False)
        if pair:
            reference.assert_same_gradients(*pair, tolerance, f"{definition.name} {what}")


OUT = [d for d in COMPARED if d.kind not in (VIEW, CREATION) and hasattr(d.exported, "params") and not d.writes]


@pytest.mark.parametrize("definition", OUT, ids=harness.name_of)
def test_out(definition: Definition) -> None:
    """`out=` writes the result into the tensors given; empty ones take its shape."""
    dtype = "float32" if definition.samples(harness.Maker("float32")) else "int64"
    made = [c for c in harness.calls(definition, dtype) if harness.accepts(definition, c, dtype)]
    dtype, call = (dtype, made[0]) if made else ("int64", harness.calls(definition, "int64")[0])
    given = harness.tensors(call, dtype)
    expected = definition.exported(*given.args, **given.kwargs)
    if not isinstance(expected, (dg.Tensor, tuple)):
        return
    targets = [dg.zeros(x.shape, dtype=x.dtype) for x in harness.flat(expected)]
    pointers = [t.data_ptr() for t in targets]
    out = targets[0] if isinstance(expected, dg.Tensor) else tuple(targets)
    assert definition.exported(*given.args, **given.kwargs, out=out) is out
    for target, pointer, want in zip(targets, pointers, harness.flat(expected)):
        assert target.data_ptr() == pointer
        harness.np.testing.assert_array_equal(harness.array_of(target), harness.array_of(want))
    if isinstance(out, dg.Tensor):
        empty = dg.empty(0, dtype=out.dtype)
        assert definition.exported(*given.args, **given.kwargs, out=empty) is empty and empty.shape == expected.shape


@pytest.mark.parametrize("definition", COMPARED, ids=harness.name_of)
def test_in_place_forms_are_those_of_torch(definition: Definition) -> None:
    if definition.method:
        for name in (definition.name, *definition.aliases):
            assert hasattr(dg.Tensor, name + "_") or not hasattr(torch.Tensor, name + "_"), f"there is no Tensor.{name}_"


def test_most_operators_are_compared() -> None:
    public = [d for d in REGISTRY.values() if d.public and d.base is None and d.kind not in (RANDOM, UPDATE)]
    assert len(COMPARED) > 0.9 * len(public)
    assert sum(d.kind == ELEMENTWISE for d in COMPARED) > 60
