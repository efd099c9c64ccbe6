"""Flags, files, messages, and what programs call before anything else."""

import logging

import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, FileError


def test_nothing_to_switch():
    tf.disable_v2_behavior()
    tf.compat.v1.disable_eager_execution()
    assert tf.compat.v1 is tf and not tf.executing_eagerly()


def test_flags():
    tf.flags.DEFINE_integer("turns_of_test", 3, "how many")
    tf.flags.DEFINE_boolean("loud_of_test", False)
    tf.flags.DEFINE_list("names_of_test", "a,b")
    left = tf.flags.FLAGS(["program", "--turns_of_test=5", "--loud_of_test", "--other", "x"])
    flags = tf.flags.FLAGS
    assert (flags.turns_of_test, flags.loud_of_test, flags.names_of_test) == (5, True, ["a", "b"])
    assert left == ["program", "--other", "x"]
    flags.turns_of_test = 7
    assert flags.flag_values_dict()["turns_of_test"] == 7
    with pytest.raises(AttributeError, match="no flag 'unknown'"):
        _ = flags.unknown
    with pytest.raises(ArgumentError, match="defined twice"):
        tf.flags.DEFINE_float("turns_of_test", 1.0)
    with pytest.raises(SystemExit) as ended:
        tf.app.run(lambda argv: len(argv), ["program", "rest"])
    assert ended.value.code == 2


def test_files(tmp_path):
    folder = tmp_path / "a" / "b"
    tf.gfile.MakeDirs(folder)
    with tf.gfile.GFile(folder / "x.txt", "w") as file:
        file.write("text")
    tf.gfile.Copy(folder / "x.txt", folder / "y.txt")
    with pytest.raises(FileError, match="there already"):
        tf.gfile.Copy(folder / "x.txt", folder / "y.txt")
    assert tf.gfile.ListDirectory(folder) == ["x.txt", "y.txt"] and tf.gfile.IsDirectory(folder)
    tf.gfile.Rename(folder / "y.txt", folder / "z.txt")
    tf.gfile.Remove(folder / "x.txt")
    assert [name.rpartition("/")[2] for name in tf.gfile.Glob(str(folder / "*.txt"))] == ["z.txt"]
    assert [files for _, _, files in tf.gfile.Walk(tmp_path)][-1] == ["z.txt"]
    tf.gfile.DeleteRecursively(folder)
    assert not tf.gfile.Exists(folder)


def test_messages(caplog):
    tf.logging.set_verbosity(tf.logging.INFO)
    with caplog.at_level(logging.INFO, "duograph.graph"):
        tf.logging.info("step %d", 3)
        tf.logging.debug("not shown")
    assert caplog.messages == ["step 3"] and tf.logging.get_verbosity() == tf.logging.INFO


def test_errors_by_tensorflows_names():
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [2])
        v = tf.Variable(1.0)
        with tf.Session() as session:
            with pytest.raises(tf.errors.InvalidArgumentError):
                session.run(x)
            with pytest.raises(tf.errors.InvalidArgumentError):
                session.run(x * 1.0, {x: [1.0, 2.0, 3.0]})
            with pytest.raises(tf.errors.FailedPreconditionError):
                session.run(v + 1.0)
            assert session.run(tf.constant(7) / 2).dtype == "float64"
