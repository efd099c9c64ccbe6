"""Every operator on its samples: mapped over examples, and one example after the other."""

import numpy as np
import pytest
from operator_harness import SPECIAL_KINDS, as_calls, map_arrays, name_of, sampled

import duograph as dg
from duograph.errors import CaptureError
from duograph.func.trees import leaves
from duograph.ops.definition import ELEMENTWISE
from duograph.ops.samples import DTypeName, Maker

# What has a result whose size depends on values, or is made from one, draws, or asks for a value in Python has no batched form.
REFUSED = {
    *("nonzero", "nonzero_rows", "true_positions", "masked_select", "selected", "argwhere", "bincount"),
    *("unique", "unique_consecutive", "distinct", "distinct_rows", "distinct_runs", "repeated_indices", "repeat_interleave"),
    *("bernoulli", "multinomial", "normal", "randint_like", "poisson", "binomial", "one_hot", "equal", "allclose"),
}
FINITE = np.finfo("float64").eps * 64


def collect(value, found):
    """The arrays in an argument, in order."""
    map_arrays(lambda array: found.append(array) or array, value)
    return found


def filled(value, tensors):
    if isinstance(value, DTypeName):
        return getattr(dg, value)
    return map_arrays(lambda _: next(tensors), value)


OPERATORS = [d for d in sampled() if d.kind not in SPECIAL_KINDS]


@pytest.mark.parametrize("definition", [d for d in OPERATORS if d.kind != ELEMENTWISE], ids=name_of)
def test_mapped_as_one_by_one(definition):
    compare(definition, 1)


@pytest.mark.long
@pytest.mark.parametrize("definition", OPERATORS, ids=name_of)
def test_all_samples_mapped_as_one_by_one(definition):
    compare(definition, None)


def compare(definition, count):
    """The first `count` samples that can be mapped at all."""
    op, done = definition.op, 0
    for alike in zip(*(as_calls(definition.samples(Maker("float64", seed))) for seed in range(3))):
        if count is not None and done == count:
            return
        arrays = [collect([*call.args, *call.kwargs.values()], []) for call in alike]
        if not arrays[0] or len({tuple(a.shape for a in row) for row in arrays}) > 1:
            continue
        call = alike[0]

        def run(*examples, call=call):
            given = iter(examples)
            args = [filled(a, given) for a in call.args]
            return op(*args, **{k: filled(a, given) for k, a in call.kwargs.items()})

        try:
            expected = [run(*map(dg.tensor, row)) for row in arrays]
        except dg.Error:
            continue
        if not all(isinstance(x, dg.Tensor) for e in expected for x in leaves(e)):
            continue  # a plain bool
        try:
            mapped = dg.vmap(run)(*(dg.tensor(np.stack(column)) for column in zip(*arrays)))
        except CaptureError:
            assert definition.name in REFUSED, definition.name
            continue
        done += 1
        columns = list(zip(*(list(leaves(e)) for e in expected)))
        for found, wanted in zip(leaves(mapped), columns, strict=True):
            wanted = np.stack([np.asarray(w.numpy()) for w in wanted])
            np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9, atol=FINITE)
