"""Pictures of graphs."""

import pytest

import duograph.graph as tf
from duograph.errors import FileError


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
