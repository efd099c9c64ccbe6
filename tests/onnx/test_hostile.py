"""Files that are damaged or made to harm: an error that says what is wrong, in bounded time and memory."""

import os
import random
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import duograph as dg

FLOAT = TensorProto.FLOAT


def value(name, shape=(2,)):
    return helper.make_tensor_value_info(name, FLOAT, shape)


def made(nodes, initialisers=(), inputs=("x",), outputs=("y",), functions=(), imports=()):
    graph = helper.make_graph(nodes, "g", [value(n) for n in inputs], [value(n) for n in outputs], list(initialisers))
    opsets = [helper.make_opsetid("", 18), *imports]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def refused(model, text):
    with pytest.raises(dg.onnx.ModelError, match=text):
        dg.onnx.load(model.SerializeToString() if hasattr(model, "SerializeToString") else model)


def test_structures_without_meaning_name_the_node():
    node = helper.make_node
    refused(
        made([node("Add", ["x", "b"], ["y"], name="n")]), r"node 'n' \(ai.onnx.Add, opset 18\) reads 'b', which nothing computes"
    )
    refused(made([node("Add", ["x", "b"], ["a"], name="m"), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]), "a cycle")
    refused(made([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])]), "two values of graph 'g' have the name 'y'")
    refused(made([node("Relu", ["x"], ["z"])]), "output 'y', which nothing computes")
    refused(made([node("Relu", ["x", "x"], ["y"], name="n")]), "node 'n' .* has 2 inputs, the operator takes 1")
    refused(made([node("Concat", ["x"], ["y"], name="n")]), "node 'n' .* lacks the attribute 'axis'")
    refused(made([node("F", ["x"], ["y"], domain="d")]), "says no version of the domain 'd'")
    refused(b"", "has no graph")
    refused(b"no model at all", "no ONNX model")
    with pytest.raises(dg.onnx.UnsupportedError, match=r"node 'n' \(d.F, opset 3\) is not known"):
        dg.onnx.load(made([node("F", ["x"], ["y"], "n", domain="d")], imports=[helper.make_opsetid("d", 3)]))


def test_nodes_out_of_order_are_put_in_order():
    nodes = [helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])]
    assert dg.onnx.load(made(nodes))(dg.tensor([-1.0, 2.0])).tolist() == [0.0, -2.0]


def test_sizes_are_believed_when_the_bytes_are_there():
    node = [helper.make_node("Add", ["x", "w"], ["y"])]
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[1 << 40, 1 << 7], raw_data=b"\0" * 8)
    refused(made(node, [tensor]), "initialiser 'w' has sizes .* which take .* bytes, and 8")
    tensor.dims[:] = [-2]
    refused(made(node, [tensor]), r"initialiser 'w' has the sizes \[-2\]")
    tensor.dims[:] = [2]
    tensor.data_type = 0
    refused(made(node, [tensor]), "initialiser 'w' has no element type")


def external(location, offset=0, length=8):
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=text)
    return tensor


def test_external_data_lies_in_the_models_folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    (folder / "inside").write_bytes(np.array([1.0, 2.0, 3.0], np.float32).tobytes())
    os.symlink(tmp_path / "secret", folder / "link")
    os.mkfifo(folder / "pipe")
    node = [helper.make_node("Add", ["x", "w"], ["y"])]
    path = folder / "m.onnx"

    def load(**place):
        path.write_bytes(made(node, [external(**place)]).SerializeToString())
        return dg.onnx.load(path)

    assert load(location="inside", offset=4)(dg.tensor([1.0, 1.0])).tolist() == [3.0, 4.0]
    for location in ("../secret", "link", str(tmp_path / "secret"), "", "."):
        with pytest.raises(dg.onnx.ModelError, match="initialiser 'w'"):
            load(location=location)
    with pytest.raises(dg.onnx.ModelError, match="no regular file"):
        load(location="pipe")
    with pytest.raises(dg.onnx.ModelError, match="which has 12"):
        load(location="inside", offset=8)
    with pytest.raises(dg.onnx.ModelError, match="takes 8 bytes"):
        load(location="inside", length=1 << 60)


def test_functions_that_call_themselves_or_grow_without_bound():
    node, opsets = helper.make_node, [helper.make_opsetid("", 18), helper.make_opsetid("d", 1)]
    imports = [helper.make_opsetid("d", 1)]
    itself = helper.make_function("d", "F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="d")], opsets)
    refused(made([node("F", ["x"], ["y"], domain="d")], functions=[itself], imports=imports), "a function that calls itself")
    bomb = [helper.make_function("d", "F0", ["a"], ["b"], [node("Relu", ["a"], ["b"])], opsets)]
    for i in range(1, 40):
        twice = [node(f"F{i - 1}", ["a"], ["c"], domain="d"), node(f"F{i - 1}", ["c"], ["b"], domain="d")]
        bomb.append(helper.make_function("d", f"F{i}", ["a"], ["b"], twice, opsets))
    refused(made([node("F39", ["x"], ["y"], domain="d")], functions=bomb, imports=imports), "more than 1,000,000 nodes")


def field(number, content):
    """A protobuf field that holds a message."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_graphs_inside_graphs_have_an_end():
    graph = b""
    for _ in range(500):
        attribute = field(1, b"body") + field(6, graph) + b"\xa0\x01\x05"
        graph = field(1, field(4, b"Loop") + field(5, attribute))
    refused(b"\x08\x08" + field(7, graph), "no ONNX model, or a damaged one")


def damaged(data, seed):
    random_ = random.Random(seed)
    found = bytearray(data)
    if random_.random() < 0.3:
        return bytes(found[: random_.randrange(len(found))])
    for _ in range(random_.randrange(1, 6)):
        found[random_.randrange(len(found))] ^= 1 << random_.randrange(8)
    return bytes(found)


def small_network():
    random_ = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random_.standard_normal((4, 2, 3, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(random_.standard_normal((64, 3)).astype(np.float32), "b"),
        numpy_helper.from_array(np.array([1, -1], np.int64), "s"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Reshape", ["r", "s"], ["f"]),
        helper.make_node("MatMul", ["f", "b"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", (1, 2, 4, 4))], [value("y", None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def run_damaged(count):
    data, x = small_network(), dg.ones(1, 2, 4, 4)
    assert tuple(dg.onnx.load(data)(x).shape) == (1, 3)
    for seed in range(count):
        try:
            model = dg.onnx.load(damaged(data, seed))
            with dg.dynamic_mode():
                model(x)
        except dg.errors.Error:
            pass


def test_damaged_files_are_refused_or_run():
    run_damaged(300)


@pytest.mark.long
def test_many_damaged_files_are_refused_or_run():
    run_damaged(10_000)


def test_onnx_itself_is_an_extra(monkeypatch):
    import sys

    from duograph.onnx.messages import messages

    messages.cache_clear()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(dg.errors.ArgumentError, match=r'pip install "duograph\[onnx\]"'):
        dg.onnx.load(b"")
    monkeypatch.undo()
    assert onnx


def test_external_data_is_mapped(tmp_path):
    def anonymous():
        with open("/proc/self/smaps_rollup") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous"))

    size = 1 << 24
    np.ones(size, np.float32).tofile(tmp_path / "w")
    tensor = external("w", length=4 * size)
    tensor.dims[:] = [4096, 4096]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [value("x", (1, 4096))], [value("y", None)], [tensor]
    )
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())
    before = anonymous()
    model = dg.onnx.load(tmp_path / "m.onnx")
    assert anonymous() - before < 0.1 * 4 * size / 1024
    assert float(model(dg.ones(1, 4096))[0, 0]) == 4096.0


SIZES = {
    "ConstantOfShape": ({}, [[1 << 40, 1 << 40]]),
    "ConstantOfShape of 4 TiB": ({}, [[1 << 20, 1 << 20]]),
    "Tile": ({}, ["x", [1 << 30, 1 << 20]]),
    "Pad": ({}, ["x", [1 << 40, 0, 1 << 40, 0]]),
    "Resize": ({"mode": "linear"}, ["x", "", [1e9, 1e9]]),
    "Conv": ({"pads": [1 << 40] * 4}, ["image", "kernels"]),
    "ConvTranspose": ({"strides": [1 << 40] * 2}, ["image", "kernels"]),
    "CenterCropPad": ({}, ["x", [1 << 40, 1 << 40]]),
    "RandomNormal": ({"shape": [1 << 40, 4]}, []),
    "HannWindow": ({}, [1 << 50]),
    "RoiAlign": (
        {"sampling_ratio": 2, "output_height": 1 << 40, "output_width": 1 << 20},
        ["image", [[0.0, 0.0, 1.0, 1.0]], [0]],
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_results_that_no_memory_holds(name):
    attributes, given = SIZES[name]
    arrays = {"x": np.ones((2, 3), np.float32), "image": np.ones((1, 1, 8, 8), np.float32)}
    known = {"kernels": np.ones((1, 1, 3, 3), np.float32)}
    names = []
    for i, each in enumerate(given):
        if not isinstance(each, str):
            array = np.array(each)
            known[f"k{i}"] = array.astype(np.float32) if array.dtype.kind == "f" else array
        names.append(each if isinstance(each, str) else f"k{i}")
    inputs = [helper.make_tensor_value_info(n, FLOAT, arrays[n].shape) for n in arrays if n in names]
    constants = [numpy_helper.from_array(array, n) for n, array in known.items() if n in names]
    node = helper.make_node(name.split()[0], names, ["y"], name="n", **attributes)
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", FLOAT, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    start = time.monotonic()
    with pytest.raises(dg.errors.OutOfMemoryError, match="bytes"):
        dg.onnx.load(model.SerializeToString())(*[arrays[n] for n in arrays if n in names])
    assert time.monotonic() - start < 10


def test_a_step_beyond_all_sizes():
    steps = [numpy_helper.from_array(np.array([n]), k) for k, n in zip("abcd", (-(1 << 63), (1 << 63) - 1, 0, (1 << 63) - 1))]
    model = made([helper.make_node("Slice", ["x", *"abcd"], ["y"])], steps)
    assert dg.onnx.load(model)(dg.tensor([5.0, 6.0])).tolist() == [5.0]
