"""`to_python`: models and static functions as Python text that computes the same, in both modes."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import duograph as dg
from benchmarks.exported_models import NAMES, exported
from duograph import nn
from duograph.errors import ArgumentError


def module_of(path):
    """The class that a file defines, made."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (made,) = [x for x in vars(module).values() if isinstance(x, type) and x.__module__ == path.stem]
    return made().eval()


def well_formed(path):
    """Whether ruff's formatter leaves the text as it is."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--diff", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def kernels(report):
    """How many kernels the static program runs, and operations in them."""
    return re.findall(r"(?m)^(?:kernels|floating-point operations) .* ([\d ]+)$", re.sub(r"(?<=\d) (?=\d)", "", str(report)))


def results(made):
    return made if isinstance(made, (tuple, list)) else (made,)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_networks(name, tmp_path):
    (network,) = exported(torch, small=True, wanted=lambda other: other == name)
    args = [dg.from_numpy(arg.numpy()) for arg in network.args]
    loaded = dg.onnx.load(network.file)
    path = tmp_path / f"{name}.py"
    loaded.to_python(path)
    text = path.read_text()
    loaded.to_python(path)
    assert path.read_text() == text
    well_formed(path)
    net = module_of(path)
    static = dg.static(net)
    with dg.no_grad():
        expected = results(loaded(*args))
        for made in (net(*args), static(*args), static(*args)):
            for ours, theirs in zip(results(made), expected, strict=True):
                np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-5)
    found = kernels(static.explain(*args))
    assert len(found) == 2 and found == kernels(loaded.explain(*args))


def halves(x, many):
    """Branches and loops that tensors steer."""
    y = x.sin()
    if y.sum() > 0:
        y = y * 2
    else:
        y = y - 1
    i = dg.tensor(0)
    while i < many:
        y = y / 2 + x
        i = i + 1
    return y, i


def test_branch_and_loop(tmp_path):
    path = tmp_path / "halves.py"
    args = dg.tensor([0.5, 1.0, 2.0]), dg.tensor(5)
    dg.static(halves).to_python(path, *args)
    text = path.read_text()
    assert "if " in text and "while " in text and "# " in text
    well_formed(path)
    net = module_of(path)
    static = dg.static(net)
    for x, many in (args, (-args[0], dg.tensor(2)), (args[0], dg.tensor(0))):
        for ours, theirs in zip(net(x, many), halves(x, many), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
        for ours, theirs in zip(static(x, many), halves(x, many), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
    assert len(static.signatures()) == 1


def composites(x, y):
    """Operators that ONNX does not have."""
    x = dg.silu(x) + dg.nn.functional.smooth_l1_loss(x, y, beta=0.5)
    x = dg.nn.functional.rms_norm(x, (4,))
    x = dg.logaddexp(x, y).diff(dim=1, prepend=x[:, :1])
    return dg.nn.functional.glu(x) * dg.logsumexp(x, 1, keepdim=True), x


def test_operators_that_onnx_lacks_are_the_calls_that_they_were(tmp_path):
    path, args = tmp_path / "composites.py", (dg.randn(3, 4), dg.randn(3, 4))
    dg.static(composites).to_python(path, *args)
    text = path.read_text()
    for call in (
        "dg.silu(x)",
        "dg.smooth_l1_loss(x, y, beta=0.5)",
        "dg.rms_norm(add, (4,))",
        "dg.logaddexp(",
        "dg.glu(",
        ", 1, True)",
    ):
        assert call in text
    assert "self.call_" not in text and "op." not in text
    well_formed(path)
    static = dg.static(module_of(path))
    for made in (module_of(path)(*args), static(*args)):
        for ours, theirs in zip(made, composites(*args), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
    assert kernels(static.explain(*args)) == kernels(dg.static(composites).explain(*args))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "3",
        '{"operator": "silu"}',
        '{"operator": "save", "arguments": {}}',
        '{"operator": "silu", "arguments": {"x": {"input": 7}}}',
    ],
)
def test_calls_in_metadata_that_are_none_are_passed_over(text):
    model = dg.onnx.export(dg.silu, dg.ones(2)).model_proto
    (row,) = [row for row in model.graph.node[0].metadata_props if row.key == "duograph.call"]
    row.value = text
    np.testing.assert_allclose(dg.onnx.load(model)(dg.ones(2)).numpy(), dg.silu(dg.ones(2)).numpy(), rtol=1e-6)


def test_trainable_weights_of_a_module(tmp_path):
    path = tmp_path / "net.py"
    model = dg.nn.Sequential(dg.nn.Linear(3, 4), dg.nn.Tanh(), dg.nn.Linear(4, 2))
    x = dg.randn(5, 3)
    dg.onnx.to_python(model, path, x)
    np.testing.assert_allclose(module_of(path)(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    file = dg.onnx.export(model, x).model_proto
    dg.onnx.load(file, trainable=True).to_python(path)
    net = module_of(path)
    net(x).sum().backward()
    assert len(list(net.parameters())) == 4 and all(p.grad is not None for p in net.parameters())


def test_scan_and_loop_with_rows(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 18]> rows (float[N, 2] x, int64 n)
    => (float[2] s, float[N, 2] r, float[K, 2] more)
    {
        zero = Constant<value = float[2] {0.0, 0.0}>()
        yes = Constant<value = bool {1}>()
        s, r = Scan<num_scan_inputs = 1, body = add (float[2] a, float[2] b) => (float[2] c, float[2] d)
            { c = Add(a, b) d = Mul(c, b) }>(zero, x)
        more = Loop<body = turn (int64 i, bool on) => (bool on_, float[2] row)
            { on_ = Identity(on) f = Cast<to = 1>(i) row = Add(f, s) }>(n, yes)
    }"""
    loaded = dg.onnx.load(onnx.parser.parse_model(text))
    path = tmp_path / "rows.py"
    loaded.to_python(path)
    well_formed(path)
    net = module_of(path)
    static = dg.static(net)
    for x, n in ((dg.randn(3, 2), dg.tensor(6)), (dg.randn(1, 2), dg.tensor(5)), (dg.randn(3, 2), dg.tensor(0))):
        expected = loaded(x, n)
        for made in (net(x, n), static(x, n)):
            for ours, theirs in zip(made, expected, strict=True):
                assert ours.shape == theirs.shape
                np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)
    assert net(dg.zeros(0, 2), dg.tensor(0))[1].shape == (0, 2)


def test_functions_with_attributes(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 18, "own" : 1]> calls (float[N] x) => (float[N] z)
    { y = own.leak<slope = 0.5>(x) z = own.leak<slope = 0.25>(y) }
    <opset_import: ["" : 18], domain: "own"> leak <slope>(a) => (b) { b = LeakyRelu<alpha : float = @slope>(a) }"""
    loaded = dg.onnx.load(onnx.parser.parse_model(text))
    path = tmp_path / "calls.py"
    loaded.to_python(path)
    well_formed(path)
    x = dg.tensor([-2.0, 1.0])
    np.testing.assert_array_equal(module_of(path)(x).numpy(), loaded(x).numpy())


HOSTILE = [
    "",
    "class",
    "print",
    "self",
    "x y",
    "1st",
    "é",
    'a"""b',
    "import os\nos.abort()",
    "dg",
    "op",
    "Path",
    "a.b",
    "a_b",
    "None",
]


def test_long_lines_of_the_source_are_cut_without_a_blank(tmp_path):
    """A model's text is cut at 120 characters, which may be just behind a blank."""
    nodes = []
    for length in range(115, 125):
        nodes.append(helper.make_node("Sin", [nodes[-1].output[0] if nodes else "x"], [f"y{length}"]))
        row = nodes[-1].metadata_props.add()
        row.key, row.value = "duograph.line", "x" * length + " and what follows"
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "sines", [value("x", TensorProto.FLOAT, [2])], [value("y124", TensorProto.FLOAT, [2])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path = tmp_path / "sines.py"
    dg.onnx.load(model).to_python(path)
    assert path.read_text().count("# xxx") == 10
    well_formed(path)


def test_hostile_names(tmp_path):
    names = [name or "_" for name in HOSTILE]
    nodes, last = [], "x\n#"
    weights = []
    for i, name in enumerate(names):
        weights.append(helper.make_tensor(f"w.{name}.{name}", TensorProto.FLOAT, [2], [float(i), 1.0]))
        nodes.append(helper.make_node("Add", [last, f"w.{name}.{name}"], [name], name=f"n{name}"))
        row = nodes[-1].metadata_props.add()
        row.key, row.value = "duograph.line", f"{name}\r\nraise SystemExit\x0c\u2028raise SystemExit"
        last = name
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "def f():\n  pass", [value("x\n#", TensorProto.FLOAT, [2])], [value(last, TensorProto.FLOAT, [2])], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    loaded = dg.onnx.load(model, trainable=True)
    path = tmp_path / "hostile.py"
    loaded.to_python(path)
    well_formed(path)
    text = path.read_text()
    assert not re.search(r"(?m)^\s*(raise|os\.abort|import os)", text)
    x = dg.tensor([1.0, 2.0])
    np.testing.assert_array_equal(module_of(path)(x).detach().numpy(), loaded(x).detach().numpy())


def test_attributes_that_are_no_names(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 18, "own" : 1]> calls (float[N] x) => (float[N] z) { z = own.same(x) }
    <opset_import: ["" : 18], domain: "own"> same (a) => (b) { b = Identity(a) }"""
    model = onnx.parser.parse_model(text)
    model.graph.node[0].attribute.append(helper.make_attribute("a, b=exit()", 1))
    with pytest.raises(dg.onnx.UnsupportedError, match="has no name in Python"):
        dg.onnx.load(model).to_python(tmp_path / "calls.py")
    assert not list(tmp_path.iterdir())


def test_other_paths(tmp_path):
    with pytest.raises(ArgumentError, match="no name of a Python file"):
        dg.onnx.to_python(dg.static(dg.sin), tmp_path / "sin.txt", dg.ones(2))


def test_a_training_step_keeps_its_state(tmp_path):
    net = nn.Linear(3, 1)
    optimizer = dg.optim.Adam(net.parameters(), lr=0.1)

    @dg.static
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = dg.randn(8, 3), dg.randn(8, 1)
    step(x, y)
    step.to_python(tmp_path / "step.py", x, y)
    space = {"__file__": str(tmp_path / "step.py"), "__name__": "step"}
    exec(compile((tmp_path / "step.py").read_text(), tmp_path / "step.py", "exec"), space)
    dynamic, other = space["Step"](), space["Step"]()
    static = dg.static(other)
    for _ in range(3):
        want = step(x, y).item()
        assert dynamic(x, y).item() == pytest.approx(want, rel=1e-5) and static(x, y).item() == pytest.approx(want, rel=1e-5)
    np.testing.assert_allclose(dynamic.weight.grad.numpy(), net.weight.grad.numpy(), rtol=1e-4, atol=1e-6)
    assert "weight_exp_avg" in dict(dynamic.named_buffers())  # `weight` is a tensor: no module
