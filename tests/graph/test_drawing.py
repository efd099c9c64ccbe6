"""Pictures of graphs."""

import numpy as np
import pytest

import duograph as dg
import duograph.graph as tf
from duograph.errors import ArgumentError, FileError
from duograph.graph.overlay import Overlay


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


def test_boxes_frames_and_arrows(graph, tmp_path):
    x = tf.placeholder(tf.float32, [None], name="x")
    with graph.name_scope("layer"), graph.name_scope("inner"):
        y = tf.multiply(x, 2.0, name="twice")
    with graph.control_dependencies([tf.no_op("before")]):
        tf.cond(tf.constant(True), lambda: y + 1.0, lambda: y - 1.0)
    text = graph._repr_svg_()
    assert text.lstrip().startswith("<?xml") and "</svg>" in text
    for word in ("x", "layer", "inner", "twice", "tf.cond true", "tf.cond false", "before"):
        assert f"<!-- {word} -->" in text or word in text, word
    for ending in ("svg", "png"):
        graph.draw(tmp_path / f"g.{ending}")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG") and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(FileError, match="ends neither"):
        graph.draw(tmp_path / "g.gif")


def test_boxes_lie_below_what_they_read(graph):
    from duograph.graph.drawing import boxes_of, edges_of, lay_out, load_libraries

    a = tf.constant(1.0)
    tf.add(a * a, tf.gradients(a * a, a)[0])
    nodes = graph.get_operations()
    of, boxes = boxes_of(nodes)
    edges = list(edges_of(nodes, of))
    lay_out(boxes, edges, load_libraries()[0])
    assert edges and all(source.y < target.y for source, target, _ in edges)
    assert len({(b.x, b.y) for b in boxes}) == len(boxes)


def test_large_graphs_show_scopes(graph):
    from duograph.graph.drawing import boxes_of

    with graph.name_scope("many"):
        for _ in range(500):
            tf.no_op()
    _, boxes = boxes_of(graph.get_operations())
    assert [b.title for b in boxes] == ["many/…"]


def test_kernels_of_a_run_are_laid_over_the_picture(graph, tmp_path):
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    scaled = tf.multiply(x, 2.0, name="scaled")
    shifted = tf.add(scaled, 1.0, name="shifted")
    product = tf.matmul(shifted, x, transpose_b=True, name="product")
    tf.exp(x, name="not_asked_for")
    with tf.Session() as session:
        report = session.explain(product, {x: np.ones((5, 4))})
    first, last = report.static.kernel_list
    assert {"scaled", "shifted"} <= set(first.scopes) and "product" in last.scopes
    assert [place.memory for place in (*first.writes, *last.writes)] == ["arena", "result 0"]
    assert (first.writes[0].offset, first.writes[0].bytes, last.writes[0].bytes) == (0, 5 * 4 * 4, 5 * 5 * 4)

    overlay = Overlay(report)
    assert overlay.kernels_of(["scaled"]) == overlay.kernels_of(["scaled", "shifted"]) == [0]
    assert overlay.kernels_of(["product"]) == [1] and overlay.kernels_of(["not_asked_for"]) == []
    graph.draw(tmp_path / "g.svg", run=report)
    text = (tmp_path / "g.svg").read_text()
    assert f"<!-- 2 kernels; the bar is the arena of {report.arena_bytes} bytes -->" in text and "arena[0:80]" in text
    with pytest.raises(ArgumentError, match="the report of `session"):
        graph.draw(tmp_path / "g.svg", run="fast")


def test_kernels_of_loops_belong_to_the_operations_inside(graph):
    steps = tf.placeholder(tf.int32, [], name="steps")
    turned = tf.while_loop(lambda i, a: i < steps, lambda i, a: (i + 1, tf.matmul(a, a, name="square")), [0, tf.ones([3, 3])])
    with tf.Session() as session:
        overlay = Overlay(session.explain(turned[1], {steps: 2}))
    (inside,) = [node.name for node in graph.get_operations() if node.name.endswith("square")]
    assert len(overlay.kernels_of([inside])) == 1


def test_kernels_of_a_captured_graph(tmp_path):
    function = dg.static(lambda x, w: dg.relu(x @ w) * 2)
    arguments = dg.ones(4, 6), dg.ones(6, 8)
    captured = function.graph(*arguments)
    with tf.Session(graph=captured) as session:
        feeds = dict(zip(captured.get_collection("inputs"), arguments))
        report = session.explain(captured.get_collection("outputs"), feeds)
    (kernel,) = report.static.kernel_list
    assert {"matmul", "relu", "mul"} <= set(kernel.scopes) and len(report.dynamic.kernel_list) >= 3
    captured.draw(tmp_path / "g.png", run=report)
