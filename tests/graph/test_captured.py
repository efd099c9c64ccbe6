"""What a static function captured, as a graph."""

import numpy as np
import pytest

import duograph as dg
import duograph.graph as tf
from duograph.errors import ArgumentError, GraphError, ShapeError

MODEL = dg.nn.Sequential(dg.nn.Linear(4, 8), dg.nn.ReLU(), dg.nn.Linear(8, 2))


@dg.static
def network(x, n):
    y = MODEL(x) * n
    i = dg.tensor(0)
    while i < 3:
        y = y * 1.5
        i = i + 1
    return y, (y.softmax(1) + x.shape[0]).sum()


@pytest.fixture
def graph():
    with dg.no_grad():
        for rows in (3, 5):
            network(dg.ones(rows, 4), 2.0)
        return network.graph()


def test_it_computes_what_the_function_does_at_any_size(graph):
    x, n = graph.get_collection("inputs")
    results = graph.get_collection("outputs")
    assert x.name == "x:0" and x.shape.as_list() == [None, 4]
    with tf.Session(graph=graph) as session, dg.no_grad():
        for rows in (5, 6, 1):
            data = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
            found = session.run(results, {x: data, n: 2.0})
            for got, want in zip(found, network(dg.tensor(data), 2.0)):
                assert np.allclose(got, want.numpy(), rtol=1e-6)


def test_fetched_fed_and_changed_in_the_middle(graph):
    x, n = graph.get_collection("inputs")
    with tf.Session(graph=graph) as session:
        data = np.ones((2, 4), np.float32)
        hidden = session.run("relu:0", {x: data})
        assert np.allclose(hidden, dg.relu(MODEL[0](dg.tensor(data))).detach().numpy())
        assert session.run("softmax:0", {"while_loop:2": np.zeros((2, 2))}).tolist() == [[0.5, 0.5]] * 2
        first = graph.get_tensor_by_name("relu:0")
        doubled = tf.graph_replace(graph.get_collection("outputs")[0], {first: first * 2.0})
        got = session.run(doubled, {x: data, n: 1.0})
        assert np.allclose(got, MODEL[2](dg.tensor(hidden) * 2.0).detach().numpy() * 1.5**3, rtol=1e-5)
        with pytest.raises(ShapeError):
            session.run("relu:0", {x: np.ones((2, 5))})


def test_parameters_are_shared_variables(graph):
    names = [v.node.name for v in graph.get_collection("variables")]
    assert len(names) == 4 and all(v.shared is p for v, p in zip(graph.get_collection("variables"), MODEL.parameters()))
    text = graph.as_text()
    assert "relu = relu(linear:0)" in text and "test_captured.py" in text


def test_what_calls_python_is_there_to_look_at():
    called = dg.host_callback(lambda v: v + 1.0, like="v")
    graph = dg.static(lambda x: called(x * 2.0)).graph(dg.ones(3))
    (x,) = graph.get_collection("inputs")
    with tf.Session(graph=graph) as session:
        assert session.run("mul:0", {x: np.ones(3)}).tolist() == [2.0] * 3
        with pytest.raises(GraphError, match="to look at only"):
            session.run(graph.get_collection("outputs"), {x: np.ones(3)})


def test_what_draws_draws_anew():
    graph = dg.static(lambda x: x + dg.rand(3)).graph(dg.ones(3))
    (x,) = graph.get_collection("inputs")
    with tf.Session(graph=graph) as session:
        found = [session.run(graph.get_collection("outputs")[0], {x: np.ones(3)}) for _ in range(2)]
    assert (found[0] != found[1]).any() and all((f >= 1).all() for f in found)


def test_nothing_captured():
    with pytest.raises(ArgumentError, match="captured nothing yet"):
        dg.static(lambda x: x).graph()
