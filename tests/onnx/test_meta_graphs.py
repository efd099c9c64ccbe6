"""Session graphs in ONNX files: exported with variables, collections and control flow, and run again by name."""

import importlib.util
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import duograph as dg
import duograph.graph as tf
from duograph.errors import GraphError

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "graph"


def build():
    """A small network with dropout, a loop, a branch, Adam, summaries and collections."""
    x, y = tf.placeholder(tf.float32, [None, 4], name="x"), tf.placeholder(tf.float32, [None, 2], name="y")
    keep = tf.placeholder_with_default(1.0, [], name="keep")
    with tf.variable_scope("layer"):
        w = tf.get_variable("w", [4, 2])
        b = tf.get_variable("b", [2], initializer=tf.zeros_initializer())
    hidden = tf.nn.dropout(tf.nn.relu(tf.matmul(x, w) + b, name="hidden"), keep_prob=keep)
    grown = tf.while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, z * 1.5), [tf.constant(0), hidden])[1]
    z = tf.cond(tf.reduce_sum(x) > 0.0, lambda: grown, lambda: -grown)
    tf.split(z, 2, axis=1, name="halves")
    tf.identity(z, name="z")
    loss = tf.reduce_mean(tf.square(z - y), name="loss")
    step = tf.train.get_or_create_global_step()
    train = tf.train.AdamOptimizer(0.01).minimize(loss, global_step=step, name="train")
    tf.add_to_collection("train_op", train)
    tf.add_to_collection("things", "a text")
    tf.add_to_collection("things", loss)
    tf.summary.scalar("cost", loss)
    tf.summary.merge_all()
    tf.global_variables_initializer()


FEED = {"x:0": np.linspace(-1, 2, 20, dtype=np.float32).reshape(5, 4), "y:0": np.ones((5, 2), np.float32)}
FETCHES = ["loss:0", "z:0", "halves:1", "layer/w:0", "global_step:0", "gradients/Gradient:0"]


@pytest.fixture
def saved(tmp_path):
    """A graph and its checkpoint in files, and what its session gives."""
    with tf.Graph().as_default(), tf.Session() as session:
        build()
        session.run("init")
        path = tf.train.Saver().save(session, str(tmp_path / "model"), write_meta_graph=True)
        results = []
        for _ in range(4):
            results.append(session.run(FETCHES, FEED))
            session.run("train", FEED)
    return path, results


def test_is_run_by_name(saved):
    path, wanted = saved
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.train.import_meta_graph(f"{path}.meta").restore(session, path)
        for expected in wanted:
            for ours, theirs in zip(session.run(FETCHES, FEED), expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
            assert session.run(["train", "loss:0"], FEED)[1] == pytest.approx(float(expected[0]), rel=1e-5)
        assert tf.get_collection("train_op")[0] is graph.get_operation_by_name("train")
        assert tf.get_collection("things") == ["a text", graph.get_tensor_by_name("loss:0")]
        assert [x.name for x in tf.trainable_variables()] == ["layer/w:0", "layer/b:0"]
        assert graph.get_tensor_by_name("z:0").shape.as_list() == [None, 2]
        assert session.run("hidden:0", {"x:0": FEED["x:0"]}).shape == (5, 2)
        session.run(tf.global_variables_initializer())
        assert session.run("global_step:0") == 0
        assert session.run("loss:0", {**FEED, "keep:0": 0.5}) > 0


def test_trains_on_with_another_optimizer(saved):
    path, _ = saved
    with tf.Graph().as_default() as graph, tf.Session() as session:
        saver = tf.train.import_meta_graph(f"{path}.meta", import_scope="old")
        loss, variables = graph.get_tensor_by_name("old/loss:0"), tf.trainable_variables()
        step = tf.train.GradientDescentOptimizer(0.001).minimize(loss, name="descent")
        more = tf.matmul(graph.get_tensor_by_name("old/z:0"), tf.ones([2, 1]), name="old/more")
        saver.restore(session, path)
        feed = {f"old/{name}": value for name, value in FEED.items()}
        slopes = session.run([tf.gradients(loss, variables)[0], "old/gradients/Gradient:0"], feed)
        np.testing.assert_allclose(*slopes, rtol=1e-5, atol=1e-6)
        losses = [session.run([loss, step], feed)[0] for _ in range(5)]
        assert losses == sorted(losses, reverse=True)
        assert session.run(more, feed).shape == (5, 1)


def test_runs_and_trains_elsewhere(saved):
    path, wanted = saved
    model = onnx.load(f"{path}.meta")
    onnx.checker.check_model(model, full_check=True)
    said = json.loads(next(row.value for row in model.metadata_props if row.key == "duograph.graph"))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(f"{path}.meta", options, providers=["CPUExecutionProvider"])
    state, writes = {}, said["effects"]["train"]["writes"]
    for expected in wanted:
        feed = {**FEED, "keep:0": np.ones((), np.float32), **state}
        loss, z, *following = session.run(["loss:0", "z:0", *writes.values()], feed)
        np.testing.assert_allclose(loss, expected[0], rtol=1e-5)
        np.testing.assert_allclose(z, expected[1], rtol=1e-4, atol=1e-6)
        state = dict(zip(writes, following))


def test_what_is_not_there_is_named(saved, tmp_path):
    path, _ = saved
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.import_meta_graph(f"{path}.meta").restore(session, path)
        with pytest.raises(GraphError, match=r"'cost'.* it is made by Python when a run is done"):
            session.run("cost:0", FEED)
        with pytest.raises(GraphError, match="it is a part of an operation that changes variables"):
            session.run("train/update", FEED)
        with pytest.raises(GraphError, match="'hidden:0' is computed in the file"):
            session.run("z:0", {**FEED, "hidden:0": np.ones((5, 2), np.float32)})
        with pytest.raises(GraphError, match="the graph has an operation 'x' already"):
            tf.train.import_meta_graph(f"{path}.meta")
    dg.static(lambda x: x * 2).save(tmp_path / "other.onnx", dg.ones(2))
    with pytest.raises(dg.onnx.ModelError, match="was not written by export_meta_graph"):
        tf.train.import_meta_graph(tmp_path / "other.onnx")


def refused(build, message, **options):
    with tf.Graph().as_default():
        build()
        with pytest.raises(GraphError, match=message) as error:
            tf.train.export_meta_graph(**options)
    return str(error.value)


def test_what_no_file_can_is_refused():
    x = lambda: tf.placeholder(tf.float32, [None, 3], name="x")  # noqa: E731
    text = refused(lambda: tf.py_func(np.sin, [x()], tf.float32, name="sine"), "'sine' calls Python, which a file cannot")
    assert "tf.py_func(np.sin" in text
    refused(lambda: tf.add_to_collection("odd", (tf.identity(x()), object())), "the collection 'odd' has")
    with tf.Graph().as_default():
        tf.add_to_collection("odd", (tf.identity(x(), name="y"), object()))
        assert tf.train.export_meta_graph(collection_list=[]).graph.output[0].name == "y:0"


@pytest.mark.parametrize("change", [lambda s: s[:-40], lambda s: "[]", lambda s: s.replace("float32", "floaty"), lambda s: "{}"])
def test_damaged_files(saved, tmp_path, change):
    path, _ = saved
    model = onnx.load(f"{path}.meta")
    row = next(row for row in model.metadata_props if row.key == "duograph.graph")
    row.value = change(row.value)
    with tf.Graph().as_default(), pytest.raises(dg.Error):
        tf.train.import_meta_graph(model)


class Spy(tf.Session):
    """A session that notes its runs by name."""

    runs = None

    def run(self, fetches, feed_dict=None, **options):
        feed = {x.name: 1.0 if x.name == "keep_prob:0" else value for x, value in (feed_dict or {}).items()}
        fetched = fetches if isinstance(fetches, list) else [fetches]
        if feed:
            self.runs[tuple(x.name for x in fetched if getattr(x, "dtype", None) is not tf.string)] = feed
        return super().run(fetches, feed_dict, **options)


STEPS = {"fractals": 30}


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.py")))
def test_graphs_of_the_examples(monkeypatch, tmp_path, name):
    runs = {}
    monkeypatch.setattr(Spy, "runs", runs)
    monkeypatch.setattr(tf, "Session", Spy)
    monkeypatch.setattr(sys, "argv", [name, "--steps", str(STEPS.get(name, 1))])
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tf.Graph().as_default() as graph:
        module.main()
        monkeypatch.undo()
        saver, path = (tf.train.Saver() if tf.global_variables() else None), None
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            if saver is not None:
                path = saver.save(session, str(tmp_path / "model"))
            onnx.checker.check_model(tf.train.export_meta_graph(tmp_path / "graph.onnx"), full_check=True)
            wanted = [session.run(list(names), feed) for names, feed in runs.items()]
    del graph
    with tf.Graph().as_default(), tf.Session() as session:
        saver = tf.train.import_meta_graph(tmp_path / "graph.onnx")
        if saver is not None:
            saver.restore(session, path)
        for (names, feed), expected in zip(runs.items(), wanted, strict=True):
            for ours, theirs in zip(session.run(list(names), feed), expected, strict=True):
                if theirs is not None and name != "word2vec":  # whose training draws samples
                    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    assert runs
