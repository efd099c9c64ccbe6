"""Names that programs use here and there, and those that are refused."""

import unittest

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, DomainError, DTypeError, ShapeError


@pytest.fixture(autouse=True)
def session():
    with tf.Graph().as_default(), tf.Session() as made:
        yield made


def test_questions_about_tensors(session):
    x = tf.placeholder(tf.float32, [None, 3])
    assert tf.is_tensor(x) and tf.is_numeric_tensor(x) and not tf.is_tensor(3.0)
    assert tf.get_static_value(tf.constant([1, 2])).tolist() == [1, 2] and tf.get_static_value(x) is None
    assert tf.dimension_value(x.shape[1]) == 3 and tf.dimension_value(tf.dimension_at_index(x.shape, 0)) is None
    checks = [tf.is_non_decreasing([1, 2, 2]), tf.is_strictly_increasing([1, 2, 2]), tf.is_non_decreasing([2, 1])]
    assert session.run(checks) == [True, False, False]
    assert session.run(tf.timestamp()) > 1.6e9
    assert tf.assert_same_float_dtype([x]) is tf.float32
    with pytest.raises(DTypeError):
        tf.assert_same_float_dtype([tf.constant(1)])
    with pytest.raises(ShapeError, match="expected a scalar"):
        tf.assert_scalar(tf.ones([2]))
    with pytest.raises(ArgumentError, match="got Tensor"):
        tf.assert_proper_iterable(x)


def test_a_shape_that_is_ensured(session):
    x = tf.placeholder(tf.float32, [None, 3])
    y = tf.ensure_shape(x, [2, None])
    assert y.shape.as_list() == [2, 3]
    assert session.run(y, {x: np.ones((2, 3))}).shape == (2, 3)
    with pytest.raises(ShapeError, match="does not fit"):
        session.run(y, {x: np.ones((4, 3))})
    with pytest.raises(ShapeError, match=r"ensure_shape: .* has shape"):
        tf.ensure_shape(x, [2, 4])


def test_templates_switches_and_functions(session):
    scale = tf.make_template("scale", lambda x: x * tf.get_variable("w", initializer=2.0))
    results = [scale(tf.constant(1.0)), scale(tf.constant(3.0))]
    assert [v.op.name for v in tf.global_variables()] == ["scale/w"]
    session.run(tf.global_variables_initializer())
    assert session.run(results) == [2.0, 6.0]
    number = tf.placeholder(tf.int32, [])
    chosen = tf.switch_case(number, {1: lambda: tf.constant(10), 5: lambda: tf.constant(50)}, lambda: tf.constant(0))
    assert [session.run(chosen, {number: n}) for n in (1, 5, 7)] == [10, 50, 0]
    assert session.run(tf.py_function(lambda a: a * 2, [tf.constant([1.0])], tf.float32)).tolist() == [2.0]
    assert session.run(tf.bitwise.left_shift([1, 2], 2)).tolist() == [4, 8]
    assert session.run(tf.bitwise.invert([0])).tolist() == [-1]


def test_all_floats_are_checked(session):
    x = tf.placeholder(tf.float32, [])
    y = tf.log(x)
    check = tf.add_check_numerics_ops()
    session.run([y, check], {x: 1.0})
    with pytest.raises(DomainError, match="Log:0"):
        session.run([y, check], {x: -1.0})


def test_nested_structures():
    nested = {"b": (1, [2]), "a": 3}
    assert tf.nest.flatten(nested) == [3, 1, 2]
    assert tf.nest.pack_sequence_as(nested, [30, 10, 20]) == {"b": (10, [20]), "a": 30}
    assert tf.nest.map_structure(lambda x, y: x + y, nested, nested) == {"b": (2, [4]), "a": 6}
    with pytest.raises(ArgumentError, match="structures differ"):
        tf.nest.map_structure(lambda x, y: x, [1, 2], [1, [2]])


@pytest.mark.parametrize("name", ["SparseTensor", "FIFOQueue", "data", "keras", "string_join", "complex64", "estimator"])
def test_names_that_are_refused_say_what_takes_their_place(name):
    assert not hasattr(tf, name)
    with pytest.raises(AttributeError, match=f"tf.{name}: .*\n(.*\n)*.*hint: "):
        getattr(tf, name)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = tf.nonsense


class Case(tf.test.TestCase):
    def runTest(self):
        with self.test_session():
            self.assertAllClose({"a": [1.0, 2.0]}, {"a": (tf.constant([1.0, 2.0]) + 1e-9).eval()})
            self.assertAllEqual(self.evaluate(tf.constant([1])), [1])
            self.assertShapeEqual(np.ones((2, 3)), tf.ones([2, 3]))


def test_tests_of_graphs():
    result = unittest.TestResult()
    Case().run(result)
    assert result.wasSuccessful() and not tf.test.is_gpu_available()
