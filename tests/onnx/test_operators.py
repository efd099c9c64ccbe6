"""The table of operators: which row a node gets."""

import pytest

import duograph as dg
from duograph.onnx.errors import ModelError, UnsupportedError
from duograph.onnx.operators.definition import NUMBERS, TENSOR, Operator, find, known, operator


def test_rows_say_what_their_functions_take():
    def function(data: "Tensor", shape: "Numbers | None" = None, *rest: "Tensor", axis: int, mode: str = "a", opset: int):  # noqa: F821
        return data

    row = Operator("", "Anything", 3, None, function)
    assert row.inputs == [TENSOR, NUMBERS]
    assert (row.kind(1), row.kind(5), row.required) == (NUMBERS, TENSOR, 1)
    assert (row.attributes, row.asked, row.given) == ({"axis", "mode"}, {"axis"}, {"opset"})


def test_the_newest_meaning_a_version_has_is_taken():
    domain = "test.rows"
    old = operator("Twice", since=1, until=6, domain=domain)(lambda x: "old")
    new = operator("Twice", since=9, domain=domain)(lambda x: "new")
    assert find(domain, "Twice", 6).function is old
    assert find(domain, "Twice", 8) is None
    assert find(domain, "Twice", 12).function is new
    assert find(domain, "Thrice", 12) is None
    del known()[domain, "Twice"]


def test_attributes_have_the_schemas_names():
    import onnx.defs

    for (domain, name), rows in known().items():
        if domain or not onnx.defs.has(name):
            continue
        for row in rows:
            newest = min(row.until or 99, onnx.defs.onnx_opset_version())
            versions = {x.since_version: x for x in _schemas(name) if x.since_version <= newest}
            first = max((v for v in versions if v <= row.since), default=min(versions))
            named = set().union(*(versions[v].attributes for v in versions if v >= first))
            assert row.attributes <= named, row


def _schemas(name):
    import onnx.defs

    return [x for x in onnx.defs.get_all_schemas_with_history() if x.name == name and not x.domain]


def test_a_loop_that_carries_nothing_and_has_no_condition():
    import numpy as np
    import onnx

    helper = onnx.helper
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Identity", ["on"], ["more"]), helper.make_node("Cast", ["i"], ["row"], to=1)]
    body = helper.make_graph(nodes, "body", [info("i", 7, []), info("on", 9, [])], [info("more", 9, []), info("row", 1, [])])
    node = helper.make_node("Loop", ["n", ""], ["rows"], body=body)
    graph = helper.make_graph([node], "g", [info("n", 7, [])], [info("rows", 1, ["n"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    assert dg.onnx.load(model)(np.int64(6)).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["input", "weight", "graph", "alpha", "size"])
def test_names_that_are_no_text(name):
    import onnx

    helper = onnx.helper
    nodes = [helper.make_node("Elu", ["input"], ["a"], alpha=1.0), helper.make_node("Add", ["a", "weight"], ["y"])]
    inputs = [helper.make_tensor_value_info("input", 1, ["size"])]
    weight = helper.make_tensor("weight", 1, [1], [2.0])
    graph = helper.make_graph(nodes, "graph", inputs, [helper.make_tensor_value_info("y", 1, None)], [weight])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    with pytest.raises(ModelError, match="which is no UTF-8 text"):
        dg.onnx.load(data.replace(name.encode(), b"\xff" + name[1:].encode()))


@pytest.mark.parametrize("name", ["StringNormalizer", "StringConcat", "RegexFullMatch", "StringSplit"])
def test_operators_on_texts_are_refused_with_the_reason(name):
    import onnx

    helper = onnx.helper
    names = ["x", "x"] if name == "StringConcat" else ["x"]
    outputs = ["y", "n"] if name == "StringSplit" else ["y"]
    graph = helper.make_graph(
        [helper.make_node(name, names, outputs)], "g", [helper.make_tensor_value_info("x", 8, [3])],
        [helper.make_empty_tensor_value_info("y")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    with pytest.raises(
        UnsupportedError, match=rf"{name}, opset 20\) works on texts, for which there is no dtype: it is not known"
    ):
        dg.onnx.load(model)
