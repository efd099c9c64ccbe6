"""tf.train.Saver: checkpoints and what is wrong with them."""

import os

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import duograph.graph as tf
from duograph.errors import ArgumentError, DTypeError, FileError, GraphError, ShapeError, UninitializedError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def test_a_training_goes_on_where_it_was_saved(tmp_path):
    w = tf.Variable([1.0, -2.0], name="w")
    count = tf.train.create_global_step()
    step = tf.train.AdamOptimizer(0.1).minimize(w * w, count)
    saver = tf.train.Saver()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        path = saver.save(session, tmp_path / "model.ckpt", global_step=count)
        session.run(step)
        expected = session.run([w, count])
    assert path == str(tmp_path / "model.ckpt-1") == tf.train.latest_checkpoint(tmp_path)
    with tf.Session() as session:
        saver.restore(session, path)
        session.run(step)
        found = session.run([w, count])
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1] == expected[1] == 2


def test_a_checkpoint_is_a_safetensors_file(tmp_path):
    tf.Variable(np.arange(6.0).reshape(2, 3), name="layer/w")
    tf.Variable(True, name="flag")
    tf.Variable(1.5, name="half", dtype=tf.bfloat16)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        path = tf.train.Saver().save(session, str(tmp_path / "model"))
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model"]
    assert tf.train.list_variables(tmp_path) == [("flag", []), ("half", []), ("layer/w", [2, 3])]
    reader = tf.train.NewCheckpointReader(path)
    assert reader.get_variable_to_dtype_map() == {"layer/w": tf.float64, "flag": tf.bool, "half": tf.bfloat16}
    assert reader.has_tensor("flag") and not reader.has_tensor("w")
    assert reader.get_tensor("half") == 1.5 and b"layer/w (DT_FLOAT64) [2, 3]" in reader.debug_string()
    np.testing.assert_array_equal(tf.train.load_variable(path, "layer/w:0"), np.arange(6.0).reshape(2, 3))
    with pytest.raises(FileError, match=r"holds no 'layer/v'(.|\n)*it holds 'layer/w'"):
        tf.train.load_variable(tmp_path, "layer/v")


def test_files_of_others_are_read_and_ours_by_others(tmp_path):
    save_file({"theirs": np.array([3.0, 4.0], np.float32)}, tmp_path / "theirs.safetensors")
    w = tf.Variable(tf.zeros([2]) if hasattr(tf, "zeros") else [0.0, 0.0], name="ours")
    with tf.Session() as session:
        tf.train.Saver({"theirs": w}).restore(session, tmp_path / "theirs.safetensors")
        assert session.run(w).tolist() == [3.0, 4.0]
        path = tf.train.Saver([w]).save(session, str(tmp_path / "ours"), write_state=False)
    assert load_file(path)["ours"].tolist() == [3.0, 4.0]
    assert tf.train.latest_checkpoint(tmp_path) is None


def test_old_checkpoints_are_deleted(tmp_path):
    tf.Variable(0, name="w")
    saver = tf.train.Saver(max_to_keep=2, pad_step_number=True)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for i in (1, 2, 3, 2):
            saver.save(session, str(tmp_path / "m"), global_step=i)
    names = ["m-00000003", "m-00000002"]
    assert [os.path.basename(path) for path in saver.last_checkpoints] == names
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", *sorted(names)]
    state = tf.train.get_checkpoint_state(tmp_path)
    assert state.all_model_checkpoint_paths == saver.last_checkpoints
    assert state.model_checkpoint_path == str(tmp_path / "m-00000002") and len(state.all_model_checkpoint_timestamps) == 2
    again = tf.train.Saver(max_to_keep=1)
    again.recover_last_checkpoints(state.all_model_checkpoint_paths)
    with tf.Session() as session:
        again.restore(session, tf.train.latest_checkpoint(tmp_path))
        again.save(session, str(tmp_path / "m"), global_step=9)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "m-9"]


def test_one_for_so_many_hours_stays(tmp_path):
    tf.Variable(0, name="w")
    saver = tf.train.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1e-9)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for i in range(3):
            saver.save(session, str(tmp_path / "m"), global_step=i)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "m-0", "m-1", "m-2"]


def test_a_directory_can_be_moved(tmp_path):
    tf.Variable(0, name="w")
    (tmp_path / "a").mkdir()
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "a" / "m"), latest_filename="newest")
    (tmp_path / "a").rename(tmp_path / "b")
    assert tf.train.latest_checkpoint(tmp_path / "b", "newest") == str(tmp_path / "b" / "m")
    assert (tmp_path / "b" / "newest").read_text().startswith('model_checkpoint_path: "m"\nall_model_checkpoint_paths: "m"\n')


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path):
    save_file({"w": np.ones((2, 3), np.float32), "b": np.ones(2)}, tmp_path / "m")
    w, b = tf.Variable(np.zeros((3, 2), np.float32), name="w"), tf.Variable([0.0, 0.0], name="b")
    tf.Variable(0, name="weight")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(FileError, match=r"restore: '.*m' has no 'weight'\n  weight \(VariableV2\) built at .*test_saver.py"):
            tf.train.Saver().restore(session, tmp_path / "m")
        with pytest.raises(
            ShapeError, match=r"restore: 'w' has shape \(2, 3\) in '.*m', variable 'w' \(3, 2\)(.|\n)*reshape=True"
        ):
            tf.train.Saver([w]).restore(session, tmp_path / "m")
        with pytest.raises(DTypeError, match=r"restore: 'b' is float64 in '.*m', variable 'b' is float32"):
            tf.train.Saver([b]).restore(session, tmp_path / "m")
        assert not session.run(w).any()
        tf.train.Saver([w], reshape=True).restore(session, tmp_path / "m")
        assert session.run(w).all()


def test_files_that_are_not_there_or_no_checkpoints(tmp_path):
    w = tf.Variable(0.0, name="w")
    saver = tf.train.Saver()
    (tmp_path / "model-10").write_bytes(b"nothing")
    with tf.Session() as session:
        with pytest.raises(FileError, match=r"restore: there is no checkpoint '.*model-1'\n(.|\n)*beside it there is 'model-10'"):
            saver.restore(session, tmp_path / "model-1")
        with pytest.raises(FileError, match="model-10 is truncated"):
            saver.restore(session, tmp_path / "model-10")
        with pytest.raises(FileError, match="is a directory"):
            saver.restore(session, tmp_path)
        with pytest.raises(ArgumentError, match="restore: the path is None"):
            saver.restore(session, tf.train.latest_checkpoint(tmp_path))
        with pytest.raises(UninitializedError, match="variable 'w' has no value yet"):
            saver.save(session, tmp_path / "m")
        session.run(w.initializer)
        with pytest.raises(FileError, match=r"save: there is no directory '.*none'"):
            saver.save(session, tmp_path / "none" / "m")
        with pytest.raises(ArgumentError, match="says which checkpoint is the latest"):
            saver.save(session, tmp_path / "checkpoint")
    (tmp_path / "checkpoint").write_text("what is this")
    with pytest.raises(FileError, match=r"line 1 of .*checkpoint says nothing"):
        tf.train.get_checkpoint_state(tmp_path)


def test_savers_that_make_no_sense():
    with pytest.raises(GraphError, match="Saver: there are no variables to save"):
        tf.train.Saver()
    assert tf.train.Saver(allow_empty=True).save(tf.Session(), "m") is None
    a, b = tf.Variable(0, name="a"), tf.Variable(0, name="b")
    with pytest.raises(ArgumentError, match="is no variable"):
        tf.train.Saver([tf.constant(1)])
    with pytest.raises(GraphError, match="belongs to another graph"):
        tf.train.Saver({"x": a, "y": b}).save(tf.Session(graph=tf.Graph()), "m")
    closed = tf.Session()
    closed.close()
    with pytest.raises(GraphError, match="Saver: the session is closed"):
        tf.train.Saver().save(closed, "m")
    with pytest.raises(GraphError, match="export_meta_graph: as_text is not there"):
        tf.train.Saver().export_meta_graph("m.meta", as_text=True)
    with pytest.raises(GraphError, match="import_meta_graph: input_map and return_elements are not there"):
        tf.train.import_meta_graph("m.meta", input_map={"x": a})


def test_a_graph_as_text(tmp_path):
    tf.constant(1.0, name="one")
    path = tf.train.write_graph(tf.get_default_graph(), tmp_path / "new", "graph.txt")
    assert path == str(tmp_path / "new" / "graph.txt") and (tmp_path / "new" / "graph.txt").read_text().startswith("one = Const(")
    binary = tf.train.write_graph(tf.get_default_graph(), tmp_path, "graph.pb", as_text=False)
    assert binary == str(tmp_path / "graph.pb") and b"one" in (tmp_path / "graph.pb").read_bytes()


def test_initial_values_from_a_checkpoint(tmp_path):
    save_file({"a/w": np.ones(2, np.float32), "a/b": np.full(3, 2.0, np.float32), "c": np.array(7)}, tmp_path / "m")
    w, b = tf.Variable([0.0, 0.0], name="new/w"), tf.Variable([0.0, 0.0, 0.0], name="new/b")
    other, third = tf.Variable([5.0, 5.0], name="other"), tf.Variable(0, name="third", dtype=tf.int64)
    tf.train.init_from_checkpoint(tmp_path / "m", {"a/": "new/", "a/w": other, "c": "third"})
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert [x.tolist() for x in session.run([w, b, other, third])] == [[1.0, 1.0], [2.0, 2.0, 2.0], [1.0, 1.0], 7]
    with pytest.raises(FileError, match=r"has no 'a/v', with which variable 'other' is to begin(.|\n)*it holds 'a/w'"):
        tf.train.init_from_checkpoint(tmp_path / "m", {"a/v": other})
    with pytest.raises(GraphError, match="the graph has no variable 'nothing'"):
        tf.train.init_from_checkpoint(tmp_path / "m", {"a/w": "nothing"})
    with pytest.raises(ShapeError, match=r"init_from_checkpoint: 'a/b' has shape \(3,\), variable 'other' \(2,\)"):
        tf.train.init_from_checkpoint(tmp_path / "m", {"a/b": other})
    with pytest.raises(DTypeError, match="init_from_checkpoint: 'c' is int64, variable 'count' int32"):
        tf.train.init_from_checkpoint(tmp_path / "m", {"c": tf.Variable(0, name="count")})
