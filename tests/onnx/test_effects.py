"""Prints and errors in files: read again they are said and raised as before."""

import contextlib
import io

import onnx
import pytest
from onnx import TensorProto, helper
from round_trip import outputs_of

import duograph as dg


def program(x, n):
    print("total", x.sum(), 3, "{braces}", x.shape[0], sep="-", end="!\n")
    print(f"{x.sum()} and {x.mean():.2f} of {x.shape[0]}", "%5.2f|%s" % (x.mean(), x[0]), [x[0], "a", (x.shape[0], 2.5)])  # noqa: UP031
    i = dg.tensor(0)
    for k in range(n.item()):
        print("turn", k, i)
        i = i + 1
    if x.sum() <= 0:  # pytest writes asserts anew
        raise AssertionError("positive {}")
    if x.sum() > 100:
        raise ValueError("too large", x.sum())
    if x.max() > 50:
        raise KeyError(f"large {x.max()} of {x.shape[0]}")
    return x * 2 + i


def said(function, *args):
    """What a call prints, and which error it raises."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            function(*args)
        return out.getvalue(), None, None
    except Exception as error:
        return out.getvalue(), type(error), str(error)


GIVEN = [([1.0, 1.0], 2), ([1.0, 2.0, 3.0], 0), ([-1.0], 1), ([40.0, 70.0], 1), ([51.0, 0.0], 1), ([1.0] * 4, 3)]


def test_are_said_again(tmp_path):
    static, path = dg.static(program), tmp_path / "program.onnx"
    static.save(path, dg.ones(3), dg.tensor(2), sizes={"x": (dg.Dim("n"),)})
    onnx.checker.check_model(str(path), full_check=True)
    outputs_of(path, dg.ones(2), dg.tensor(1))
    loaded = dg.load_static(path)
    loaded.save(tmp_path / "again.onnx", dg.ones(3), dg.tensor(2))
    again = dg.load_static(tmp_path / "again.onnx")
    for numbers, turns in GIVEN:
        args = dg.tensor(numbers), dg.tensor(turns)
        wanted = said(program, *args)
        assert said(loaded, *args) == wanted
        with dg.jit.dynamic_mode():
            assert said(loaded, *args) == wanted
        assert said(again, *args) == wanted
    assert loaded.program.captures == 1


def test_what_else_a_print_may_do_is_refused():
    import sys

    for call in (lambda x: print(x, file=sys.stderr), lambda x: print({"a": x})):

        def program(x, call=call):
            call(x)
            return x * 2

        with pytest.raises(dg.errors.GraphError, match=r"calls Python|makes a text of more") as error:
            dg.onnx.export(program, dg.ones(2))
        assert "print(" in str(error.value)


def test_an_error_of_an_unknown_kind_names_it(tmp_path):
    class Odd(Exception):
        pass

    def program(x):
        if x.sum() > 0:
            raise Odd("so", 3)
        return x

    dg.onnx.export(program, dg.ones(2), tmp_path / "odd.onnx")
    assert said(dg.load_static(tmp_path / "odd.onnx"), dg.ones(2)) == ("", RuntimeError, "Odd: ('so', 3)")


@pytest.mark.parametrize(
    "text",
    ["{0.__class__.__init__.__globals__}", "{0[0]}", "{1}", "{x}", "{}", "{0:9999999d}", "{0:{0}}", "{0", "}", "{0!a}", "{²}"],
)
def test_texts_of_files_are_harmless(text):
    value = helper.make_tensor_value_info
    node = helper.make_node("Print1", ["x"], ["done"], domain="duograph", text=text)
    inputs, outputs = [value("x", TensorProto.FLOAT, [])], [value("done", TensorProto.BOOL, [])]
    graph = helper.make_graph([node], "hostile", inputs, outputs)
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("duograph", 1)]
    model = dg.onnx.load(helper.make_model(graph, opset_imports=imports, ir_version=8))
    with pytest.raises(dg.onnx.ModelError, match="the text"):
        model(dg.tensor(1.0))


def test_errors_of_duograph_in_branches_of_branches(tmp_path):
    def program(x):
        rows = [row * 2 for row in x if row.sum() > 0]
        return dg.stack(rows) if len(rows) > 0 else dg.zeros(0, 4)

    dg.onnx.export(program, dg.ones(3, 4), tmp_path / "a.onnx", dynamic_axes={"x": [0]})
    model = dg.onnx.load(tmp_path / "a.onnx")
    for x in (dg.ones(3, 4), -dg.ones(2, 4), dg.randn(7, 4)):
        assert model(x).tolist() == program(x).tolist()  # a warning would be an error: it is one program
