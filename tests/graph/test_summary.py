"""tf.summary: what is written is read back by TensorBoard itself."""

import io
import sys
import warnings
import wave
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import duograph.graph as tf
from duograph.errors import ArgumentError, DomainError, FileError, GraphError, ShapeError
from duograph.graph import events

sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))  # TensorBoard then leaves TensorFlow alone
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto import graph_pb2


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def read_back(folder):
    everything = {"scalars": 0, "histograms": 0, "compressedHistograms": 0, "images": 0, "audio": 0, "tensors": 0, "graph": 0}
    found = EventAccumulator(str(folder), size_guidance=everything)
    found.Reload()
    return found


def test_a_training_is_read_back(tmp_path):
    x = tf.placeholder(tf.float32, [None, 1], name="x")
    w = tf.Variable([[0.0]], name="w")
    loss = tf.matmul(x, w) - x * 3.0
    loss = tf.identity((loss * loss)[0, 0], name="loss")
    step = tf.train.GradientDescentOptimizer(0.25).minimize(loss)
    with tf.get_default_graph().name_scope("training"):
        tf.summary.scalar("loss", loss)
        tf.summary.histogram("w", w)
    merged = tf.summary.merge_all()
    losses = []
    with tf.Session() as session, tf.summary.FileWriter(tmp_path / "logs", session.graph) as writer:
        session.run(tf.global_variables_initializer())
        for i in range(4):
            summary, value, _ = session.run([merged, loss, step], {x: [[1.0]]})
            assert isinstance(summary, bytes)
            writer.add_summary(summary, i)
            losses.append(value)
    found = read_back(tmp_path / "logs")
    assert found.Tags()["scalars"] == ["training/loss"] and found.Tags()["distributions"] == ["training/w"]
    written = found.Scalars("training/loss")
    assert [e.step for e in written] == [0, 1, 2, 3] and losses[0] == 9.0
    np.testing.assert_array_equal([e.value for e in written], losses)
    histogram = found.Histograms("training/w")[3].histogram_value
    assert histogram.num == 1 and histogram.min == histogram.max == pytest.approx(3.0 - 3.0 * 0.5**3)
    assert len(found.CompressedHistograms("training/w")) == 4


def test_the_graph_is_read_back(tmp_path):
    x = tf.placeholder(tf.float32, [None, 2], name="x")
    with tf.get_default_graph().name_scope("layer"):
        w = tf.Variable([[1.0], [2.0]], name="w")
        y = tf.matmul(x, w, name="product")
    with tf.get_default_graph().control_dependencies([w.assign_sub([[1.0], [1.0]], name="less")]):
        tf.no_op("behind")
    tf.summary.FileWriter(tmp_path, graph=tf.get_default_graph()).close()
    graph = read_back(tmp_path).Graph()
    assert isinstance(graph, graph_pb2.GraphDef)
    nodes = {node.name: node for node in graph.node}
    assert list(nodes) == [op.name for op in tf.get_default_graph().get_operations()]
    product = nodes[y.op.name]
    assert product.op == "MatMul" and list(product.input) == ["x", w.op.name]
    assert product.attr["dtype"].type == 1
    assert [d.size for d in product.attr["_output_shapes"].list.shape[0].dim] == [-1, 1]
    assert b"test_summary.py" in product.attr["built_at"].s
    assert list(nodes["behind"].input) == ["^less"]


def test_a_graph_with_loops_holds_all_that_its_nodes_name():
    x, w = tf.placeholder(tf.float32, []), tf.Variable(2.0)
    _, power = tf.while_loop(lambda i, p: i < 3, lambda i, p: (i + 1, p * x * w), [0, tf.constant(1.0)])
    chosen = tf.cond(x > 0.0, lambda: power * 2.0, lambda: w * 3.0)
    tf.train.AdamOptimizer().minimize(chosen)
    nodes = {node.name: node for node in events.graph_def(tf.get_default_graph()).node}
    assert {x.lstrip("^").partition(":")[0] for node in nodes.values() for x in node.input} <= set(nodes)
    assert [x for x in nodes["cond"].input if x.startswith("cond/")] == ["cond/mul", "cond/mul_1"]


def test_histograms_count_every_element(tmp_path):
    values = np.concatenate([np.random.default_rng(0).normal(size=1000), [0.0, 0.0]])
    summary = tf.summary.histogram("h", tf.constant(values))
    with tf.Session() as session, tf.summary.FileWriter(tmp_path) as writer:
        writer.add_summary(session.run(summary), 5)
    found = read_back(tmp_path).Histograms("h")[0].histogram_value
    assert (found.num, sum(found.bucket)) == (1002, 1002)
    assert found.sum == pytest.approx(values.sum()) and found.sum_squares == pytest.approx((values**2).sum())
    limits, counts = np.array(found.bucket_limit), np.array(found.bucket)
    assert counts[0] == 0 and counts[-1] == 0 and not ((counts[1:] == 0) & (counts[:-1] == 0)).any()
    for limit in (-1.0, 0.0, 0.5):
        near = np.searchsorted(limits, limit)
        assert counts[: near + 1].sum() == (values < limits[near]).sum()


def test_pictures(tmp_path):
    bytes_ = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    grey = np.array([[[[0.0], [1.0]], [[2.0], [np.nan]]]], np.float32)
    signed = np.array([[[[-1.0, 0.0, 0.5]]]])
    summaries = [
        tf.summary.image("rgb", tf.constant(bytes_), max_outputs=5),
        tf.summary.image("grey", tf.constant(grey), max_outputs=1, family="odd ones"),
        tf.summary.image("signed", tf.constant(signed), max_outputs=1),
    ]
    with tf.Session() as session, tf.summary.FileWriter(tmp_path) as writer:
        writer.add_summary(session.run(tf.summary.merge(summaries)))
    found = read_back(tmp_path)
    names = {"rgb/image/0", "rgb/image/1", "odd_ones/odd_ones/grey/image", "signed/image"}
    assert set(found.Tags()["images"]) == names

    def pixels(tag):
        event = found.Images(tag)[0]
        array = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
        assert (event.height, event.width) == array.shape[:2]
        return array

    np.testing.assert_array_equal(pixels("rgb/image/1"), bytes_[1])
    assert pixels("odd_ones/odd_ones/grey/image").tolist() == [[0, 127], [255, 255]]
    assert pixels("signed/image").tolist() == [[[1, 128, 191]]]


def test_sound(tmp_path):
    wave_ = np.sin(np.arange(100) / 5)
    stereo = tf.summary.audio("tone", tf.constant(np.stack([wave_, -wave_], -1)[None]), tf.constant(8000.0), max_outputs=1)
    mono = tf.summary.audio("mono", tf.constant(np.stack([wave_, wave_ * 2])), 4000)
    with tf.Session() as session, tf.summary.FileWriter(tmp_path) as writer:
        for summary in session.run([stereo, mono]):
            writer.add_summary(summary, np.int64(1))
    found = read_back(tmp_path)
    assert set(found.Tags()["audio"]) == {"tone/audio", "mono/audio/0", "mono/audio/1"}
    event = found.Audio("tone/audio")[0]
    assert (event.sample_rate, event.length_frames, event.content_type) == (8000, 100, "audio/wav")
    with wave.open(io.BytesIO(event.encoded_audio_string)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, 8000, 100)
        samples = np.frombuffer(file.readframes(100), "<i2").reshape(100, 2) / 32767
    np.testing.assert_allclose(samples, np.stack([wave_, -wave_], -1), atol=2e-5)
    with wave.open(io.BytesIO(found.Audio("mono/audio/1")[0].encoded_audio_string)) as file:
        assert np.frombuffer(file.readframes(100), "<i2").max() == 32767


def test_text_and_tensors(tmp_path):
    fed = tf.placeholder(tf.string, [], name="fed")
    written = [
        tf.summary.text("note", tf.constant("**bold** é")),
        tf.summary.text("table", tf.constant([["a", "b"], ["c", "d"]])),
        tf.summary.text("said", fed),
        tf.summary.tensor_summary("numbers", tf.constant([[1, 2, 3]])),
    ]
    with tf.Session() as session, tf.summary.FileWriter(tmp_path) as writer:
        for i, said in enumerate(["first", "second"]):
            writer.add_summary(session.run(tf.summary.merge(written), {fed: said}), i)
    found = read_back(tmp_path)
    assert set(found.Tags()["tensors"]) == {"note", "table", "said", "numbers"}
    assert found.SummaryMetadata("note").plugin_data.plugin_name == "text"
    assert found.Tensors("note")[0].tensor_proto.string_val[0].decode() == "**bold** é"
    table = found.Tensors("table")[0].tensor_proto
    assert [d.size for d in table.tensor_shape.dim] == [2, 2] and list(table.string_val) == [b"a", b"b", b"c", b"d"]
    assert [e.tensor_proto.string_val[0] for e in found.Tensors("said")] == [b"first", b"second"]
    assert np.frombuffer(found.Tensors("numbers")[0].tensor_proto.tensor_content, np.int32).tolist() == [1, 2, 3]


def test_summaries_made_by_hand(tmp_path):
    writer = tf.summary.FileWriter(tmp_path, filename_suffix=".test")
    writer.add_summary(tf.summary.Summary(value=[tf.summary.Summary.Value(tag="accuracy", simple_value=0.5)]), 3)
    writer.add_event(tf.summary.Event(step=4, summary=tf.summary.Summary()))
    writer.add_run_metadata(tf.RunMetadata(), "step3", 3)
    with pytest.raises(ArgumentError, match="the tag 'step3' was written before"):
        writer.add_run_metadata(tf.RunMetadata(), "step3", 3)
    writer.close()
    with pytest.raises(GraphError, match=r"is closed(.|\n)*reopen"):
        writer.add_event(tf.summary.Event())
    writer.reopen()
    writer.add_summary(tf.summary.Summary(value=[tf.summary.Summary.Value(tag="accuracy", simple_value=0.75)]), 4)
    writer.close()
    assert len(list(tmp_path.glob("events.out.tfevents.*.test"))) == 2
    assert [(e.step, e.value) for e in read_back(tmp_path).Scalars("accuracy")] == [(3, 0.5), (4, 0.75)]
    assert tf.Summary is tf.summary.Summary and not hasattr(tf, "nothing_of_this_name")


def test_events_are_read_one_by_one(tmp_path):
    with tf.summary.FileWriter(tmp_path) as writer:
        for i in range(3):
            writer.add_summary(tf.Summary(value=[tf.Summary.Value(tag="a", simple_value=i)]), i)
    (path,) = tmp_path.iterdir()
    first, *events = tf.train.summary_iterator(path)
    assert first.file_version == "brain.Event:2"
    assert [(e.step, e.summary.value[0].simple_value) for e in events] == [(0, 0.0), (1, 1.0), (2, 2.0)]
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    assert len(list(tf.train.summary_iterator(path))) == 3
    path.write_bytes(data[:-6] + b"??" + data[-4:])
    with pytest.raises(FileError, match="is damaged"):
        list(tf.train.summary_iterator(path))


def test_events_are_on_disk_when_they_should_be(tmp_path):
    writer = tf.summary.FileWriter(tmp_path, flush_secs=0)
    for i in range(3):
        writer.add_summary(tf.summary.Summary(value=[tf.summary.Summary.Value(tag="a", simple_value=i)]), i)
    assert len(read_back(tmp_path).Scalars("a")) == 3
    writer.close()
    late = tf.summary.FileWriter(tmp_path / "late")
    late.add_summary(tf.summary.Summary(value=[tf.summary.Summary.Value(tag="a", simple_value=1.0)]), 1)
    assert "a" not in read_back(tmp_path / "late").Tags()["scalars"]
    late.flush()
    assert len(read_back(tmp_path / "late").Scalars("a")) == 1
    late.close()


def test_one_writer_for_each_directory(tmp_path):
    writer = tf.summary.FileWriterCache.get(tmp_path)
    assert tf.summary.FileWriterCache.get(str(tmp_path)) is writer and writer.get_logdir() == str(tmp_path)
    tf.summary.FileWriterCache.clear()
    assert tf.summary.FileWriterCache.get(tmp_path) is not writer
    tf.summary.FileWriterCache.clear()


def test_names_and_collections():
    x = tf.constant(1.0)
    with tf.get_default_graph().name_scope("outer"):
        first, second = tf.summary.scalar("a loss", x), tf.summary.scalar("a loss", x, collections=["mine"])
    assert (first.op.name, second.op.name) == ("outer/a_loss", "outer/a_loss_1")
    assert tf.get_default_graph().get_collection("mine") == [second]
    assert tf.summary.merge_all("mine").op.inputs == (second,)
    assert tf.summary.merge_all("nothing") is None


def test_mistakes_are_named(tmp_path):
    x = tf.placeholder(tf.float32, None, name="x")
    scalar, histogram, image = tf.summary.scalar("s", x), tf.summary.histogram("h", x), tf.summary.image("i", x)
    with tf.Session() as session:
        with pytest.raises(ShapeError, match=r"summary.scalar: 's' takes one number, got shape \(2,\)(.|\n)*test_summary.py"):
            session.run(scalar, {x: [1.0, 2.0]})
        with pytest.raises(DomainError, match=r"summary.histogram: 'h' holds inf, nan"):
            session.run(histogram, {x: [1.0, np.nan, np.inf]})
        with pytest.raises(ShapeError, match=r"summary.image: 'i' takes pictures"):
            session.run(image, {x: [1.0]})
        with pytest.raises(GraphError, match=r"summary.merge: 's' comes twice"):
            session.run(tf.summary.merge([scalar, scalar]), {x: 1.0})
    with pytest.raises(ArgumentError, match=r"summary.merge: .* is no summary"):
        tf.summary.merge([x])
    with pytest.raises(ArgumentError, match="x:0 is float32, not text"):
        tf.summary.text("t", x)
    with pytest.raises(GraphError, match="no operation can read it"):
        tf.identity(scalar)
    with tf.summary.FileWriter(tmp_path) as writer:
        with pytest.raises(ArgumentError, match="add_summary: s:0 is a tensor of the graph"):
            writer.add_summary(scalar)
        with pytest.raises(GraphError, match="add_meta_graph: graphs that can be read again"):
            writer.add_meta_graph("m")


def test_without_the_library(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    events.proto.cache_clear()
    monkeypatch.setattr(events.importlib, "import_module", missing)
    try:
        with pytest.raises(GraphError, match=r"tensorboardX, which is not installed(.|\n)*duograph\[tensorboard\]"):
            tf.summary.FileWriter(tmp_path)
    finally:
        events.proto.cache_clear()
