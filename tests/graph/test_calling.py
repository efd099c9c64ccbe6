"""Functions and Modules of duograph on graph tensors."""

import numpy as np
import pytest

import duograph as dg
import duograph.graph as tf
import duograph.nn.functional as F
from duograph.errors import ShapeError


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as made:
        yield made


def test_functions_and_operators_of_duograph():
    x = tf.placeholder(tf.float32, [None, 4])
    made = [
        dg.relu(x),
        dg.matmul(x, dg.ones(4, 2)),
        dg.stack([x, x * 2.0], dim=1),
        F.softmax(x, dim=-1),
        F.cross_entropy(x, tf.constant([0, 1])),
        dg.einsum("ij,kj->ik", x, x),
        dg.chunk(x, 2, dim=1)[1],
    ]
    assert [str(y.shape) for y in made[:4]] == ["(?, 4)", "(?, 2)", "(?, 2, 4)", "(?, 4)"]
    data = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    t = dg.tensor(data)
    wanted = [
        dg.relu(t),
        t @ dg.ones(4, 2),
        dg.stack([t, t * 2.0], dim=1),
        F.softmax(t, dim=-1),
        F.cross_entropy(t, dg.tensor([0, 1])),
        t @ t.T,
        t[:, 2:],
    ]
    with tf.Session() as session:
        for got, want in zip(session.run(made, {x: data}), wanted):
            assert np.allclose(got, want.numpy(), rtol=1e-5, atol=1e-6)


def test_a_module_shares_its_parameters_and_is_trained():
    dg.manual_seed(0)
    model = dg.nn.Sequential(dg.nn.Linear(4, 8), dg.nn.ReLU(), dg.nn.Flatten(), dg.nn.Linear(8, 1))
    x, y = tf.placeholder(tf.float32, [None, 4]), tf.placeholder(tf.float32, [None, 1])
    out = model(x)
    assert out.shape.as_list() == [None, 1] and model(x).op.name == "Sequential_1"
    variables = tf.trainable_variables()
    assert [v.shared is p for v, p in zip(variables, model.parameters())] == [True] * 4
    loss = F.mse_loss(out, y)
    steps = [v.assign_sub(0.1 * g) for v, g in zip(variables, tf.gradients(loss, variables))]
    random = np.random.default_rng(0)
    data = random.standard_normal((16, 4)).astype(np.float32)
    target = data.sum(1, keepdims=True)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first = session.run(loss, {x: data, y: target})
        for _ in range(50):
            session.run(steps, {x: data, y: target})
        last = session.run(loss, {x: data, y: target})
        assert np.allclose(session.run(out, {x: data}), model(dg.tensor(data)).detach().numpy(), atol=1e-6)
    assert last < first / 3


def test_modules_that_branch_on_sizes_or_values():
    class Branching(dg.nn.Module):
        def forward(self, x):
            x = x.view(x.size(0), -1)
            if x.sum() > 0:
                return x * 2
            return -x

    x = tf.placeholder(tf.float32)
    y = Branching()(x)
    with tf.Session() as session:
        assert session.run(y, {x: np.ones((2, 2, 2))}).tolist() == [[2.0] * 4] * 2
        assert session.run(y, {x: -np.ones((1, 3))}).tolist() == [[1.0] * 3]


def test_mistakes_are_those_of_the_function():
    with pytest.raises(ShapeError, match="matmul: inner sizes differ"):
        dg.matmul(tf.constant(np.ones((2, 3))), tf.constant(np.ones((2, 3))))
