"""Commands on files that are not as simple as they look."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

import duograph as dg
from duograph.cli.app import app

HEADER = '<ir_version: 8, opset_import: ["" : 18]> '
ADD = HEADER + "g (float[N,2] x) => (float[N,2] y) <float[2] w = {1.0, 2.0}> { middle = Add(x, w) y = Mul(middle, w) }"


def answer(*arguments, code=0):
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def saved(path, text):
    onnx.save(onnx.parser.parse_model(text), path)
    return path


# ---- diff


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("Mul(middle, w)", "Mul(middle, middle)", "Mul y: inputs middle, w / middle, middle"),
        ("Add(x, w)", "Sub(x, w)", "middle is made by Add / Sub"),
        ('"" : 18', '"" : 17', "opset of ai.onnx: 18 / 17"),
        ("(float[N,2] y)", "(float[M,2] y)", "output y: float[N, 2] / float[M, 2]"),
        ("{ middle", "{ unused = Exp(x) middle", "Exp unused is only in the second"),
    ],
)
def test_diff_names_what_is_not_the_same(tmp_path, old, new, line):
    assert old in ADD
    first, second = saved(tmp_path / "a.onnx", ADD), saved(tmp_path / "b.onnx", ADD.replace(old, new))
    found = answer("diff", first, second, "--no-numbers", code=1)
    assert line in found["structure"] and found["numbers"] == []


def test_diff_names_the_attribute(tmp_path):
    text = HEADER + "g (float[2,3] x) => (float[2,3] y) { y = Softmax<axis = 1>(x) }"
    first, second = saved(tmp_path / "a.onnx", text), saved(tmp_path / "b.onnx", text.replace("axis = 1", "axis = 0"))
    assert answer("diff", first, second, "--no-numbers", code=1)["structure"] == ["Softmax y: attribute axis: 1 / 0"]
    assert answer("diff", first, second, "--no-structure", code=1)["numbers"][0]["differs"] is True


def test_diff_reads_external_data(tmp_path):
    w = np.arange(2000, dtype=np.float32)
    paths = []
    for name, shift in (("a", 0), ("b", 1)):
        model = onnx.parser.parse_model(HEADER + "g (float[2000] x) => (float[2000] y) { y = Add(x, w) }")
        model.graph.initializer.append(numpy_helper.from_array(w + shift, "w"))
        paths.append(tmp_path / f"{name}.onnx")
        onnx.save(model, paths[-1], save_as_external_data=True, location=f"{name}.data", size_threshold=0)
    assert answer("diff", *paths, "--no-numbers", code=1)["weights"] == ["w: largest difference 1"]


def test_diff_of_models_with_other_inputs_is_not_the_same(tmp_path):
    first, second = saved(tmp_path / "a.onnx", ADD), saved(tmp_path / "b.onnx", ADD.replace("x", "z"))
    found = answer("diff", first, second, "--no-structure", code=1)
    assert found["same"] is False and "other inputs" in found["note"]


# ---- convert


def model_of(w, nodes="y = MatMul(x, w)", opset=18):
    sizes = f"[1,{w.shape[0]}]", f"[1,{w.shape[1]}]"
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float{sizes[0]} x) => (float{sizes[1]} y) {{ {nodes} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(w, "w"))
    return model


def test_whole_numbers_have_a_scale_for_each_channel_of_the_output(tmp_path):
    w = np.random.default_rng(0).standard_normal((32, 48)).astype(np.float32) * np.logspace(-4, 3, 48, dtype=np.float32)
    source, target = tmp_path / "w.onnx", tmp_path / "small.onnx"
    onnx.save(model_of(w), source)
    answer("convert", source, target, "--weights", "int8")
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(target).graph.initializer}
    assert kept["w.scale"].shape == (48,)
    errors = np.abs(kept["w.int8"] * kept["w.scale"] - w).max(axis=0) / np.abs(w).max(axis=0)
    assert errors.max() <= 0.51 / 127
    x = dg.randn(1, 32)
    np.testing.assert_allclose(dg.onnx.load(target)(x).numpy(), dg.onnx.load(source)(x).numpy(), rtol=0.2, atol=40)


def test_names_of_smaller_weights_are_new_and_few_elements_share_no_scale(tmp_path):
    model = model_of(np.random.default_rng(0).standard_normal((32, 32)).astype(np.float32), "a = MatMul(x, w) y = Add(a, s)")
    model.graph.node[1].input[1] = "w.scale"
    model.graph.initializer.append(numpy_helper.from_array(np.ones(32, np.float32), "w.scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(2048, np.float32), "bias"))
    source, target = tmp_path / "w.onnx", tmp_path / "small.onnx"
    onnx.save(model, source)
    assert answer("convert", source, target, "--weights", "int8")["weights_changed"] == 1
    assert answer("diff", source, target, "--no-structure", "--tolerance", 0.02)["same"] is True


def test_float16_refuses_what_it_cannot_hold(tmp_path):
    source, target = tmp_path / "w.onnx", tmp_path / "small.onnx"
    onnx.save(model_of(np.full((32, 32), 1e6, np.float32)), source)
    assert "too large" in answer("convert", source, target, "--weights", "float16", code=2)["error"]
    assert not target.exists()
    answer("convert", source, target, "--weights", "bfloat16")


def test_weights_that_are_inputs_or_outputs_stay(tmp_path):
    model = model_of(np.ones((32, 32), np.float32))
    model.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [32, 32]))
    source, target = tmp_path / "w.onnx", tmp_path / "small.onnx"
    onnx.save(model, source)
    assert answer("convert", source, target, "--weights", "float16")["weights_changed"] == 0


def test_an_opset_without_the_operators_is_refused(tmp_path):
    source = tmp_path / "w.onnx"
    onnx.save(model_of(np.ones((32, 32), np.float32), opset=11), source)
    assert "needs opset 13" in answer("convert", source, tmp_path / "b.onnx", "--weights", "int8", code=2)["error"]
    answer("convert", source, tmp_path / "b.onnx", "--weights", "int8", "--opset", 13)
    assert "--opset" in answer("convert", source, tmp_path / "c.onnx", "--opset", 1000, code=2)["error"]


def test_functions_survive_another_opset_as_their_bodies(tmp_path):
    source, target = tmp_path / "f.onnx", tmp_path / "g.onnx"
    x = dg.randn(2, 3)
    dg.static(lambda x: dg.nn.functional.softmax(x, 0)).save(source, x, verify_with=x)
    assert onnx.load(source).functions
    answer("convert", source, target, "--opset", 20)
    assert not onnx.load(target).functions
    assert any("the example in the file" in row["check"] for row in answer("check", target)["checks"])


@pytest.mark.parametrize("opset", [16, 18])
def test_an_older_opset_than_onnx_can_write(tmp_path, opset):
    source, target = tmp_path / "f.onnx", tmp_path / "g.onnx"
    x = dg.randn(2, 3)
    dg.static(dg.nn.GELU()).save(source, x, sizes={"x": (dg.Dim("batch"), 3)}, verify_with=x)
    assert answer("convert", source, target, "--opset", opset)["opset"][""] == opset
    assert answer("check", target)["passed"] is True
    assert answer("info", target)["inputs"] == answer("info", source)["inputs"]
    assert "from opset 16" in answer("convert", source, target, "--opset", 12, code=2)["error"]


def test_a_converter_that_makes_no_valid_model(tmp_path):
    text = "g (float[N,4] x) => (float[N,1] y) <int64[1] axes = {1}> { y = ReduceMean<noop_with_empty_axes = 0>(x, axes) }"
    source, target = saved(tmp_path / "a.onnx", HEADER + text), tmp_path / "b.onnx"
    answer("convert", source, target, "--opset", 16)
    assert answer("check", target)["passed"] is True
    assert answer("diff", source, target, "--size", "N=3", "--no-structure")["same"] is True


def test_large_models_are_two_files(tmp_path, monkeypatch):
    monkeypatch.setattr("duograph.cli.converting._LARGEST", 100)
    source, target = tmp_path / "w.onnx", tmp_path / "small.onnx"
    onnx.save(model_of(np.ones((64, 64), np.float32)), source)
    sizes = []
    for _ in range(2):
        answer("convert", source, target, "--opset", 20)
        sizes.append((tmp_path / "small.onnx.data").stat().st_size)
    assert sizes[0] == sizes[1] >= 64 * 64 * 4 and target.stat().st_size < 1000
    assert answer("diff", source, target, "--no-structure")["same"] is True
    assert {path.name for path in tmp_path.iterdir()} == {"w.onnx", "small.onnx", "small.onnx.data"}


def test_weights_of_a_model_as_a_state(tmp_path):
    source = saved(tmp_path / "a.onnx", ADD)
    answer("convert", source, tmp_path / "w.safetensors")
    assert dg.load(tmp_path / "w.safetensors")["w"].tolist() == [1.0, 2.0]
    dg.save({"model": {"w": dg.ones(2, dtype=dg.bfloat16)}, "step": 3}, tmp_path / "s.safetensors")
    answer("convert", tmp_path / "s.safetensors", tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as found:
        assert found.files == ["model.w"] and found["model.w"].tolist() == [1.0, 1.0]
    (tmp_path / "bad.safetensors").write_bytes(b"no such thing")
    assert answer("convert", tmp_path / "bad.safetensors", tmp_path / "t.npz", code=2)["error"]


# ---- inputs


def test_a_size_that_the_model_does_not_have(tmp_path):
    path = saved(tmp_path / "a.onnx", ADD)
    assert "no open size 'M'; it has N" in answer("run", path, "--size", "M=3", code=2)["error"]


@pytest.mark.parametrize(("shape", "made"), [("1,1,4,6", (1, 1, 4, 6)), ("1,4,6,3", (1, 4, 6, 3)), ("N,3,H,W", (1, 3, 5, 7))])
def test_pictures_fit_the_input(tmp_path, shape, made):
    from matplotlib.image import imsave

    picture = np.zeros((5, 7, 4), np.float32)
    picture[..., :] = 0.5, 0.5, 0.5, 1.0
    imsave(tmp_path / "p.png", picture)
    path = saved(tmp_path / "a.onnx", HEADER + f"g (float[{shape}] x) => (float[{shape}] y) {{ y = Neg(x) }}")
    found = answer("run", path, "-i", tmp_path / "p.png")["outputs"]["y"]
    assert found["shape"] == list(made)
    assert found["least"] == pytest.approx(-0.5, abs=0.01) and found["greatest"] == pytest.approx(-0.5, abs=0.01)


def test_bfloat16_goes_in_and_comes_out(tmp_path):
    path = saved(tmp_path / "a.onnx", HEADER + "g (bfloat16[4] x) => (bfloat16[4] y) { y = Add(x, x) }")
    answer("run", path, "-o", tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as found:
        y = found["y"]
    assert y.dtype == np.float32 and y.any() and dg.tensor(y).bfloat16().float().tolist() == y.tolist()


def test_high_bounds_whole_numbers(tmp_path):
    path = saved(tmp_path / "a.onnx", HEADER + "g (int64[1000] x) => (int64[1000] y) { y = Identity(x) }")
    assert answer("run", path)["outputs"]["y"]["greatest"] == 1
    assert answer("run", path, "--high", 50)["outputs"]["y"]["greatest"] == 49


def test_outputs_that_are_sequences(tmp_path):
    text = HEADER + "g (float[4] x) => (seq(float[2]) y) <int64[2] parts = {2, 2}> { y = SplitToSequence(x, parts) }"
    assert list(answer("run", saved(tmp_path / "a.onnx", text))["outputs"]) == ["y.0", "y.1"]


# ---- info, check, bench, view


def test_info_counts_what_lies_in_branches(tmp_path):
    text = (
        HEADER
        + """g (bool c, float[2] x) => (float[2] y)
        { y = If (c) <then_branch = a () => (float[2] t) { t = Exp(x) }, else_branch = b () => (float[2] e) { e = Neg(x) }> }"""
    )
    found = answer("info", saved(tmp_path / "a.onnx", text), "--kernels")
    assert found["operators"] == {"If": 1, "Neg": 1, "Exp": 1} or found["operators"] == {"If": 1, "Exp": 1, "Neg": 1}
    assert found["program"]["kernels"] == len(found["program"]["kernel_list"])


def test_info_says_what_is_in_a_file_that_random_inputs_do_not_fit(tmp_path):
    text = HEADER + "g (float[N,2] x, float[M,3] z) => (float[K,3] y) { y = MatMul(x, z) }"
    found = answer("info", saved(tmp_path / "a.onnx", text))
    assert found["operators"] == {"MatMul": 1} and "inner sizes differ" in found["program"]["error"]


def test_a_damaged_example_is_an_error(tmp_path):
    model = onnx.parser.parse_model(ADD)
    helper.set_model_props(model, {"duograph.example.output.y": "no digits"})
    onnx.save(model, tmp_path / "a.onnx")
    assert "damaged" in answer("check", tmp_path / "a.onnx", code=2)["error"]


def test_bench_on_several_numbers_of_threads(tmp_path):
    path = saved(tmp_path / "a.onnx", ADD)
    before = dg.get_num_threads()
    rows = answer("bench", path, "--threads", "1,2", "--rounds", 2, "--against", "onnxruntime")["results"]
    assert [(row["runtime"], row["threads"]) for row in rows] == [
        ("duograph", 1), ("onnxruntime", 1), ("duograph", 2), ("onnxruntime", 2)
    ]  # fmt: skip
    assert dg.get_num_threads() == before
    assert "--threads" in answer("bench", path, "--threads", "0", code=2)["error"]


def test_bench_says_that_another_runtime_does_not_take_the_file(tmp_path):
    model = onnx.parser.parse_model(ADD)
    model.ir_version = 200  # which onnxruntime does not know
    onnx.save(model, tmp_path / "a.onnx")
    error = answer("bench", tmp_path / "a.onnx", "--rounds", 1, "--against", "onnxruntime", code=2)["error"]
    assert error.startswith("onnxruntime cannot load")


def test_tune_fixes_open_sizes(tmp_path, monkeypatch):
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "cache"))
    text = HEADER + "g (float[N,64] x) => (float[N,64] y) { y = MatMul(x, w) }"
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((64, 64), np.float32), "w"))
    onnx.save(model, tmp_path / "a.onnx")
    found = answer("tune", tmp_path / "a.onnx", "--size", "N=8")
    assert found["unknown"] == 0


def test_view_writes_a_file(tmp_path):
    path, target = saved(tmp_path / "a.onnx", ADD), tmp_path / "v.onnx"
    assert answer("view", path, "-o", target)["written"] == str(target)
    onnx.checker.check_model(str(target), full_check=True)
    assert all(
        any(row.key.startswith("duograph.kernel.") for row in node.metadata_props) for node in onnx.load(target).graph.node
    )


def test_damaged_arrays_and_pictures(tmp_path):
    path = saved(tmp_path / "a.onnx", HEADER + "g (float[1,1,4,4] x) => (float[1,1,4,4] y) { y = Neg(x) }")
    for name, content in (
        ("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr"),
        ("x.npz", b"PK\x03\x04 no archive"),
        ("x.png", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00"),
        ("y.png", b"no picture"),
    ):
        (tmp_path / name).write_bytes(content)
        assert name in answer("run", path, "-i", tmp_path / name, code=2)["error"]


def test_names_that_are_no_text(tmp_path):
    path, broken = saved(tmp_path / "a.onnx", ADD), tmp_path / "b.onnx"
    broken.write_bytes(path.read_bytes().replace(b"middle", b"mid\xffle"))
    for arguments in (("diff", path, broken), ("convert", broken, tmp_path / "c.onnx", "--weights", "int8"), ("info", broken)):
        assert "no text" in answer(*arguments, code=2)["error"]


def test_a_model_as_python(tmp_path):
    path, target = saved(tmp_path / "a.onnx", ADD), tmp_path / "add.py"
    assert answer("convert", path, target)["written"] == str(target)
    assert "nn.Module" in target.read_text() and (tmp_path / "add.safetensors").exists()


def test_an_example_goes_along_with_smaller_weights(tmp_path):
    source, target = tmp_path / "w.onnx", tmp_path / "small.onnx"
    x, model = dg.randn(3, 64), dg.nn.Linear(64, 64)
    dg.static(model).save(source, x, verify_with=x)
    answer("convert", source, target, "--weights", "int8")
    (_, row) = answer("check", target, "--tolerance", "1e-6")["checks"]
    assert "the example in the file" in row["check"] and row["passed"] is True


def test_diff_of_models_that_take_other_shapes(tmp_path):
    first, second = saved(tmp_path / "a.onnx", ADD), saved(tmp_path / "b.onnx", ADD.replace("float[N,2] x", "float[3,2] x"))
    found = answer("diff", first, second, code=1)
    assert "does not take what the first does" in found["note"] and found["structure"]


def test_settings_of_a_training_step_are_inputs_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("DUOGRAPH_CACHE_DIR", str(tmp_path / "cache"))  # choices are kept there
    model, path = dg.nn.Linear(3, 1), tmp_path / "step.onnx"
    optimizer = dg.optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    dg.static(step).save(path, dg.ones(4, 3))
    np.save(tmp_path / "lr.npy", np.float64(0.5))
    (name,) = dg.onnx.load(path).settings
    assert list(answer("run", path, "-i", f"{name}={tmp_path / 'lr.npy'}")["inputs"]) == ["x", name]
    assert answer("check", path, "-i", f"{name}={tmp_path / 'lr.npy'}")["passed"] is True
    answer("bench", path, "-i", f"{name}={tmp_path / 'lr.npy'}", "--rounds", 1, "--against", "onnxruntime")
    answer("tune", path, "-i", f"{name}={tmp_path / 'lr.npy'}")


def test_nodes_of_branches_say_which_kernels_compute_them(tmp_path):
    text = (
        HEADER
        + """g (bool c, float[2] x) => (float[2] y)
        { y = If (c) <then_branch = a () => (float[2] t) { t = Exp(x) }, else_branch = b () => (float[2] e) { e = Neg(x) }> }"""
    )
    answer("view", saved(tmp_path / "a.onnx", text), "-o", tmp_path / "v.onnx")
    (node,) = onnx.load(tmp_path / "v.onnx").graph.node
    inner = [each for attribute in node.attribute for each in attribute.g.node]
    assert all(any(row.key.startswith("duograph.kernel.") for row in each.metadata_props) for each in inner)
