"""tf.custom_gradient: gradients that the user writes."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, GraphError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def softplus(x):
    e = tf.exp(x)
    return tf.log(1.0 + e), lambda slope: slope * (1.0 - 1.0 / (1.0 + e))


def test_the_gradient_is_the_one_that_is_given_and_can_be_differentiated_again():
    x = tf.placeholder(tf.float32, [None])
    (slope,) = tf.gradients(tf.custom_gradient(softplus)(x), x)
    (bend,) = tf.gradients(slope, x)
    with tf.Session() as session:
        found, second = session.run([slope, bend], {x: [1.0, 100.0]})
    sigmoid = 1 / (1 + np.exp(-1.0))
    np.testing.assert_allclose(found, [sigmoid, 1.0], rtol=1e-6)
    np.testing.assert_allclose(second[0], sigmoid * (1 - sigmoid), rtol=1e-5)


def test_several_results_and_arguments_inside_of_a_loop():
    @tf.custom_gradient
    def both(x, y):
        return (x * y, x + y), lambda a, b: (a * 2.0, None)

    x, y = tf.constant(3.0), tf.constant(4.0)
    _, total = tf.while_loop(lambda i, t: i < 2, lambda i, t: (i + 1, both(t, y)[0]), [0, x])
    with tf.Session() as session:
        assert session.run([total, tf.gradients(total, x)[0]]) == [48.0, 4.0]


def test_variables_that_are_no_arguments():
    w = tf.get_variable("w", initializer=3.0)

    @tf.custom_gradient
    def scaled(x):
        def grad(slope, variables=None):
            assert variables == [w]
            return slope * 10.0, [slope * 100.0]

        return x * w, grad

    x = tf.constant(2.0)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(tf.gradients(scaled(x), [x, w])) == [10.0, 100.0]
        with pytest.raises(ArgumentError, match="reads the variables 'w'"):
            tf.custom_gradient(lambda x: (x * w, lambda slope: slope))(x)


def test_mistakes():
    with pytest.raises(ArgumentError, match="must give"):
        tf.custom_gradient(lambda x: x)(1.0)
    with pytest.raises(ArgumentError, match="gives 2 values for 1 arguments"):
        tf.custom_gradient(lambda x: (x, lambda slope: (slope, slope)))(1.0)
    with pytest.raises(GraphError, match="custom_gradient"):
        tf.RegisterGradient("MatMul")
