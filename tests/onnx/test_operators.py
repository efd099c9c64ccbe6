"""The table of operators: which row a node gets."""

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
