"""Tests of every operator, generated from the registry."""

from __future__ import annotations

import doctest

import numpy as np
import operator_harness as harness
import pytest
import torch_reference

import duograph as dg
from duograph.ops.definition import CREATION, ELEMENTWISE, FUNCTION, RANDOM, UPDATE, Definition

SAMPLED = harness.sampled()
REFERENCED = [d for d in SAMPLED if d.reference is not None]


@pytest.mark.parametrize("definition", REFERENCED, ids=harness.name_of)
def test_values(definition: Definition) -> None:
    """Results are the reference's, in every dtype that the operator takes (in one, where PyTorch is the reference of all)."""
    every = (*harness.FLOATS, *harness.HALVES, *harness.OTHERS)
    for dtype in (first_dtype(definition),) if torch_reference.is_compared(definition) else every:
        made = harness.calls(definition, dtype)
        if not made or not harness.accepts(definition, made[0], dtype):
            continue
        for i, call in enumerate(made[:2] if dtype in harness.HALVES else made):
            call = harness.rounded(call, dtype)
            given = harness.tensors(call, dtype)
            found = harness.flat(definition.exported(*given.args, **given.kwargs))
            try:
                floating = isinstance(found[0], dg.Tensor) and found[0].dtype.is_floating_point
                expected = harness.reference_of(definition, call, floating)
            except TypeError:  # NumPy has no such thing for bool
                assert dtype == "bool"
                continue
            assert len(found) == len(expected)
            for got, want in zip(found, expected):
                harness.assert_close(got, want, dtype, definition.tolerance, f"{definition.name} {dtype} sample {i}")
        if definition.kind == CREATION:
            break


def first_dtype(definition: Definition) -> str:
    """float32, or int64 for operators that take no floats."""
    made = harness.calls(definition, "float32")
    return "float32" if not made or harness.accepts(definition, made[0], "float32") else "int64"


@pytest.mark.parametrize("definition", [d for d in SAMPLED if d.kind != CREATION], ids=harness.name_of)
def test_layouts(definition: Definition) -> None:
    """Operands with gaps and exchanged dimensions give the very bits of contiguous ones."""
    if definition.name in ("view", "view_as", "merged", "as_strided"):
        pytest.skip("refuses most of them: see test_views")
    dtype = first_dtype(definition)
    for call in harness.calls(definition, dtype):
        plain = harness.tensors(call, dtype)
        strided = harness.tensors(call, dtype, lambda a: harness.noncontiguous(a, dtype))
        for a, b in zip(
            harness.flat(definition.exported(*plain.args, **plain.kwargs)),
            harness.flat(definition.exported(*strided.args, **strided.kwargs)),
        ):
            np.testing.assert_array_equal(harness.array_of(a), harness.array_of(b))


@pytest.mark.parametrize("definition", [d for d in SAMPLED if d.kind == ELEMENTWISE], ids=harness.name_of)
def test_shared_elements(definition: Definition) -> None:
    """Operands that show one element at several places: expanded, and windows that overlap."""
    dtype = first_dtype(definition)
    call = next((c for c in harness.calls(definition, dtype) if all(a.size >= 5 for a in harness.iterate_arrays(c))), None)
    if call is None:
        return
    views = (lambda x: x.reshape(-1)[:3].reshape(3, 1).expand(3, 4), lambda x: x.reshape(-1)[:5].unfold(0, 3, 1))
    for view in views:
        shared = harness.tensors(call, dtype, lambda a: view(harness.tensor_of(a, dtype)))  # noqa: B023
        copied = harness.tensors(call, dtype, lambda a: view(harness.tensor_of(a, dtype)).clone())  # noqa: B023
        for a, b in zip(
            harness.flat(definition.exported(*shared.args, **shared.kwargs)),
            harness.flat(definition.exported(*copied.args, **copied.kwargs)),
        ):
            np.testing.assert_array_equal(harness.array_of(a), harness.array_of(b))


def smooth_calls(definition: Definition) -> list[harness.Call]:
    return [c for c in harness.calls(definition, "float64") if harness.is_smooth(c)]


DIFFERENTIABLE = [
    pytest.param(d, marks=[pytest.mark.long] if torch_reference.is_compared(d) else [], id=d.name)  # with PyTorch's, by default
    for d in REFERENCED
    if d.differentiable and d.kind != CREATION
]


@pytest.mark.parametrize("definition", DIFFERENTIABLE)
def test_gradient(definition: Definition) -> None:
    for call in smooth_calls(definition):
        harness.check_gradient(definition, call)


@pytest.mark.parametrize("definition", DIFFERENTIABLE)
def test_second_gradient(definition: Definition) -> None:
    for call in smooth_calls(definition):
        harness.check_second_gradient(definition, call)


@pytest.mark.parametrize("definition", [d for d in SAMPLED if d.kind != CREATION], ids=harness.name_of)
def test_static(definition: Definition) -> None:
    """The static graph gives the dynamic graph's very bits."""
    if definition.name in ("allclose", "equal", "nonzero", "one_hot"):
        pytest.skip("reads values")

    def run(args: list, kwargs: dict) -> object:
        return definition.exported(*args, **kwargs)

    static = dg.static(run, strict=True)
    dtype = first_dtype(definition)
    for call in harness.calls(definition, dtype)[:4]:
        given = harness.tensors(call, dtype)
        expected = harness.flat(run(list(given.args), given.kwargs))
        found = harness.flat(static(list(given.args), given.kwargs))
        for a, b in zip(expected, found, strict=True):
            np.testing.assert_array_equal(harness.array_of(a), harness.array_of(b))


IN_PLACE = [d for d in dg.ops.REGISTRY.values() if d.base is not None]


@pytest.mark.parametrize("definition", [d for d in IN_PLACE if d.base.samples is not None], ids=harness.name_of)
def test_in_place(definition: Definition) -> None:
    """An in-place form writes what the operator returns, into the same memory."""
    base = definition.base
    assert base is not None
    tried = 0
    for dtype in ("float32", "int64", "float64"):
        if dtype == "float64" and tried:
            break
        for call in harness.calls(base, dtype):
            if not isinstance(call.args[0], np.ndarray) or not harness.accepts(base, call, dtype):
                continue
            given = harness.tensors(call, dtype)
            expected = base.op(*given.args, **given.kwargs)
            if expected.shape != given.args[0].shape or expected.dtype not in (given.args[0].dtype, dg.bool):
                continue
            target = given.args[0].clone()
            pointer, version = target.data_ptr(), target._version
            result = definition.op(target, *given.args[1:], **given.kwargs)
            assert result is target and target.data_ptr() == pointer and target._version > version
            np.testing.assert_array_equal(harness.array_of(target), harness.array_of(expected.to(target.dtype)))
            tried += 1
    assert tried


DOCUMENTED = harness.definitions()


@pytest.mark.parametrize("definition", DOCUMENTED, ids=harness.name_of)
def test_example(definition: Definition) -> None:
    """The docstring's example runs and prints what it says."""
    text = definition.function.__doc__ or ""
    names = {name: getattr(dg, name) for name in dir(dg) if not name.startswith("_")}
    for internal in dg.ops.REGISTRY.values():
        names.setdefault(internal.name, internal.exported)
    names |= {"dg": dg, "float": float, "bool": bool, "int": int}
    example = doctest.DocTestParser().get_doctest(text, names, definition.name, None, 0)
    if not example.examples:
        assert not definition.public, "a public operator has an example"
        return
    report: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize("definition", DOCUMENTED, ids=harness.name_of)
def test_complete(definition: Definition) -> None:
    """No operator lacks a docstring with its sections, a reference, samples or a gradient."""
    text = definition.function.__doc__ or ""
    assert text, "has no docstring"
    if not definition.public and definition.samples is None and definition.kind not in (RANDOM, UPDATE):
        return  # a building block of other operators, tested through them
    for section in ("Shapes:", "Dtypes:", "Gradient:", "Errors:", "Source:", ">>> "):
        assert section in text, f"the docstring lacks {section}"
    if definition.kind not in (RANDOM, UPDATE) and definition.name not in ("randperm", "dropout", "gumbel_softmax"):
        assert definition.samples is not None, "has no samples"
        compared = definition.reference is not None or torch_reference.function_of(definition) is not None
        assert compared, "has no reference, neither a function nor PyTorch's as its source"
    if definition.kind != FUNCTION and (definition.primitive or definition.lowers) and definition.differentiable:
        assert definition.gradient is not None, "neither a gradient nor differentiable=False"
