"""tf.train: each optimizer's steps against its formula in NumPy, learning rates, averages, the global step."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, DTypeError, GradError, GraphError, ShapeError

START = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
INPUTS = [np.array([[1.0, 0.5 + i], [0.3, -1.0]], np.float32) for i in range(4)]


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def gradient(x, w):
    return x.T @ (2 * (x @ w))


def trajectory(make):
    """The weights after each step on the sum of (x·w)²."""
    w = tf.Variable(START, name="w")
    x = tf.placeholder(tf.float32, [None, 2])
    product = tf.matmul(x, w)
    optimizer = make()
    step = optimizer.minimize(product * product, tf.train.get_or_create_global_step())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = []
        for value in INPUTS:
            assert session.run(step, {x: value}) is None
            found.append(session.run(w))
    return optimizer, found


def expected(step):
    """The same in float64, by a function (w, gradient, what it keeps, number of the step) -> w."""
    w, kept, found = START.astype(np.float64), {}, []
    for i, x in enumerate(INPUTS):
        w = step(w, gradient(x, w), kept, i + 1)
        found.append(w)
    return found


def momentum_step(nesterov):
    def step(w, g, kept, t):
        kept["a"] = a = kept.get("a", 0) * 0.8 + g
        return w - 0.01 * (g + 0.8 * a if nesterov else a)

    return step


def adam_step(w, g, kept, t):
    m = kept["m"] = 0.9 * kept.get("m", 0) + 0.1 * g
    v = kept["v"] = 0.99 * kept.get("v", 0) + 0.01 * g * g
    return w - 0.1 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 0.01)


def adagrad_step(w, g, kept, t):
    a = kept["a"] = kept.get("a", 0.1) + g * g
    return w - 0.1 * g / np.sqrt(a)


def adadelta_step(w, g, kept, t):
    a = kept["a"] = 0.9 * kept.get("a", 0) + 0.1 * g * g
    step = np.sqrt(kept.get("u", 0) + 1e-3) / np.sqrt(a + 1e-3) * g
    kept["u"] = 0.9 * kept.get("u", 0) + 0.1 * step * step
    return w - 0.5 * step


def rmsprop_step(centered):
    def step(w, g, kept, t):
        ms = kept["ms"] = 0.9 * kept.get("ms", 1.0) + 0.1 * g * g
        mean = kept["mg"] = 0.9 * kept.get("mg", 0.0) + 0.1 * g
        mom = kept["mom"] = 0.5 * kept.get("mom", 0) + 0.05 * g / np.sqrt(ms - centered * mean**2 + 1e-10)
        return w - mom

    return step


def ftrl_step(w, g, kept, t):
    before = kept.get("a", 0.1)
    after = kept["a"] = before + g * g
    linear = kept["l"] = kept.get("l", 0) + g + 0.4 * w - (after**0.3 - before**0.3) / 0.1 * w
    quadratic = after**0.3 / 0.1 + 2 * 0.1
    return np.where(np.abs(linear) > 0.5, (np.sign(linear) * 0.5 - linear) / quadratic, 0.0)


def shrunk(v, rate):
    return np.sign(v) * np.maximum(np.abs(v) - rate * 0.3, 0) / (1 + rate * 0.2)


def proximal_adagrad_step(w, g, kept, t):
    a = kept["a"] = kept.get("a", 0.1) + g * g
    return shrunk(w - 0.1 / np.sqrt(a) * g, 0.1 / np.sqrt(a))


def dual_step(w, g, kept, t):
    total = kept["g"] = kept.get("g", 0) + g
    squares = kept["s"] = kept.get("s", 0.1) + g * g
    return -0.1 * np.sign(total) * np.maximum(np.abs(total) - 0.3 * t, 0) / (np.sqrt(squares) + 0.2 * t * 0.1)


KINDS = {
    "plain": (lambda: tf.train.GradientDescentOptimizer(0.01), lambda w, g, kept, t: w - 0.01 * g, []),
    "momentum": (lambda: tf.train.MomentumOptimizer(0.01, 0.8), momentum_step(False), ["w/Momentum:0"]),
    "nesterov": (lambda: tf.train.MomentumOptimizer(0.01, 0.8, use_nesterov=True), momentum_step(True), ["w/Momentum:0"]),
    "adam": (
        lambda: tf.train.AdamOptimizer(0.1, beta2=0.99, epsilon=0.01),
        adam_step,
        ["beta1_power:0", "beta2_power:0", "w/Adam:0", "w/Adam_1:0"],
    ),
    "adagrad": (lambda: tf.train.AdagradOptimizer(0.1), adagrad_step, ["w/Adagrad:0"]),
    "adadelta": (
        lambda: tf.train.AdadeltaOptimizer(0.5, rho=0.9, epsilon=1e-3), adadelta_step, ["w/Adadelta:0", "w/Adadelta_1:0"]
    ),
    "rmsprop": (
        lambda: tf.train.RMSPropOptimizer(0.05, momentum=0.5), rmsprop_step(False), ["w/RMSProp:0", "w/RMSProp_1:0"]
    ),
    "centered": (
        lambda: tf.train.RMSPropOptimizer(0.05, momentum=0.5, centered=True),
        rmsprop_step(True),
        ["w/RMSProp:0", "w/RMSProp_1:0", "w/RMSProp_2:0"],
    ),
    "ftrl": (
        lambda: tf.train.FtrlOptimizer(
            0.1,
            -0.3,
            l1_regularization_strength=0.5,
            l2_regularization_strength=0.1,
            l2_shrinkage_regularization_strength=0.2,
        ),
        ftrl_step,
        ["w/Ftrl:0", "w/Ftrl_1:0"],
    ),
    "proximal": (
        lambda: tf.train.ProximalGradientDescentOptimizer(0.01, 0.3, 0.2),
        lambda w, g, kept, t: shrunk(w - 0.01 * g, 0.01),
        [],
    ),
    "dual": (
        lambda: tf.train.AdagradDAOptimizer(0.1, tf.train.get_or_create_global_step(), 0.1, 0.3, 0.2),
        dual_step,
        ["w/AdagradDA:0", "w/AdagradDA_1:0"],
    ),
    "proximal adagrad": (
        lambda: tf.train.ProximalAdagradOptimizer(0.1, 0.1, 0.3, 0.2), proximal_adagrad_step, ["w/ProximalAdagrad:0"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_the_formula(kind):
    make, step, kept = KINDS[kind]
    optimizer, found = trajectory(make)
    for ours, theirs in zip(found, expected(step)):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
    assert [v.name for v in optimizer.variables()] == kept


def test_learning_rate_can_be_fed_and_can_fall():
    rate = tf.placeholder(tf.float32, [])
    w = tf.Variable(1.0)
    count = tf.train.create_global_step()
    fed = tf.train.GradientDescentOptimizer(rate).minimize(w * 2.0)
    falling = tf.train.MomentumOptimizer(tf.train.exponential_decay(1.0, count, 1, 0.5), 0.0).minimize(w * 2.0, count)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(fed, {rate: 0.25})
        session.run(fed, {rate: 0.5})
        assert session.run(w) == -0.5
        session.run(falling)
        session.run(falling)
        assert session.run(w) == -0.5 - 2.0 - 1.0
        assert tf.train.global_step(session, count) == 2


def test_gradients_can_be_changed_on_their_way():
    w, idle = tf.Variable([1.0, 2.0], name="w"), tf.Variable(0.0, name="idle")
    optimizer = tf.train.GradientDescentOptimizer(1.0, name="Plain")
    pairs = optimizer.compute_gradients(w * w, grad_loss=tf.constant([1.0, 0.5]))
    assert pairs[1] == (None, idle)
    step = optimizer.apply_gradients([(None if g is None else g * 0.25, v) for g, v in pairs])
    assert step.name == "Plain" and tf.get_default_graph().get_collection(tf.GraphKeys.TRAIN_OP) == [step]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        assert session.run(w).tolist() == [0.5, 1.5]


def test_two_optimizers_in_one_run_see_the_same_values():
    a, b = tf.Variable(2.0), tf.Variable(3.0)
    product = a * b
    steps = [tf.train.GradientDescentOptimizer(1.0).minimize(product, var_list=[v]) for v in (a, b)]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run([*steps, product])[-1] == 6.0
        assert session.run([a, b]) == [-1.0, 1.0]


def test_steps_of_one_run_follow_each_other_by_control_dependencies():
    w = tf.Variable(8.0)
    optimizer = tf.train.GradientDescentOptimizer(0.25)
    first = optimizer.minimize(w * w)
    with tf.get_default_graph().control_dependencies([first]):
        again = w.read_value()
        second = optimizer.apply_gradients([(again * 2.0, w)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(second)
        assert session.run(w) == 2.0


def test_a_kind_of_ones_own():
    class SignDescent(tf.train.Optimizer):
        def __init__(self):
            super().__init__(False, "Sign")

        def _create_slots(self, var_list):
            for var in var_list:
                self._zeros_slot(var, "seen", self._name)

        def _apply_dense(self, grad, var):
            seen = self.get_slot(var, "seen").assign_add(grad)
            return var.assign_sub(seen / tf.abs(seen))

    w = tf.Variable(5.0, name="w")
    optimizer = SignDescent()
    step = optimizer.minimize(w * w)
    assert optimizer.get_slot_names() == ["seen"] and optimizer.get_slot(w, "seen").name == "w/Sign:0"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        assert session.run([w, optimizer.get_slot(w, "seen")]) == [4.0, 10.0]


def test_mistakes_are_named():
    w = tf.Variable([1.0, 2.0], name="w")
    optimizer = tf.train.AdamOptimizer()
    with pytest.raises(GraphError, match=r"Adam: the loss Const:0 does not depend on any of the variables 'w'"):
        optimizer.minimize(tf.constant(1.0))
    with pytest.raises(GraphError, match="Adam: there is no gradient for any of the variables 'w'"):
        optimizer.apply_gradients([(None, w)])
    with pytest.raises(ArgumentError, match="apply_gradients got no variables"):
        optimizer.apply_gradients([])
    with pytest.raises(ShapeError, match=r"Adam: the gradient Const_1:0 has shape \(3,\), variable 'w' \(2,\)"):
        optimizer.apply_gradients([(tf.constant([1.0, 2.0, 3.0]), w)])
    with pytest.raises(DTypeError, match="is float64, variable 'w' is float32"):
        optimizer.apply_gradients([(tf.constant(np.ones(2)), w)])
    with pytest.raises(GradError, match="is int32: only floats have gradients"):
        optimizer.minimize(tf.constant(1))
    with pytest.raises(ArgumentError, match="the loss is function, not a tensor of the graph"):
        optimizer.minimize(lambda: w)
    with pytest.raises(GraphError, match="is no variable"):
        optimizer.apply_gradients([(tf.constant(1.0), tf.constant(1.0))])
    tf.reset_default_graph()
    with pytest.raises(GraphError, match="Adam: there are no variables to change"):
        optimizer.minimize(tf.constant(1.0))


RATES = {
    "exponential": (lambda t: tf.train.exponential_decay(0.5, t, 3, 0.7), lambda t: 0.5 * 0.7 ** (t / 3)),
    "staircase": (lambda t: tf.train.exponential_decay(0.5, t, 3, 0.7, True), lambda t: 0.5 * 0.7 ** (t // 3)),
    "natural": (lambda t: tf.train.natural_exp_decay(0.5, t, 3, 0.7), lambda t: 0.5 * np.exp(-0.7 * t / 3)),
    "inverse": (lambda t: tf.train.inverse_time_decay(0.5, t, 3, 0.7, True), lambda t: 0.5 / (1 + 0.7 * (t // 3))),
    "polynomial": (
        lambda t: tf.train.polynomial_decay(0.5, t, 4, 0.01, 2.0), lambda t: 0.49 * (1 - min(t, 4) / 4) ** 2 + 0.01
    ),
    "cycle": (
        lambda t: tf.train.polynomial_decay(0.5, t, 4, 0.1, cycle=True),
        lambda t: 0.4 * (1 - t / (4 * max(1, np.ceil(t / 4)))) + 0.1,
    ),
    "piecewise": (
        lambda t: tf.train.piecewise_constant(t, [2, 5], [1.0, 0.5, 0.1]), lambda t: 1.0 if t <= 2 else 0.5 if t <= 5 else 0.1
    ),
    "cosine": (
        lambda t: tf.train.cosine_decay(0.5, t, 7, 0.1),
        lambda t: 0.5 * (0.9 * (1 + np.cos(np.pi * min(t, 7) / 7)) / 2 + 0.1),
    ),
    "restarts": (
        lambda t: tf.train.cosine_decay_restarts(0.5, t, 3),
        lambda t: 0.25 * (1 + np.cos(np.pi * (t / 3 if t < 3 else (t - 3) / 6 if t < 9 else (t - 9) / 12))),
    ),
    "linear cosine": (
        lambda t: tf.train.linear_cosine_decay(0.5, t, 7),
        lambda t: 0.5 * ((1 - min(t, 7) / 7) * (1 + np.cos(np.pi * min(t, 7) / 7)) / 2 + 0.001),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", RATES)
def test_learning_rates(kind):
    make, formula = RATES[kind]
    step = tf.placeholder(tf.int64, [])
    rate = make(step)
    assert rate.dtype is tf.float32 and rate.shape == ()
    with tf.Session() as session:
        found = [session.run(rate, {step: t}) for t in range(12)]
    np.testing.assert_allclose(found, [formula(t) for t in range(12)], rtol=3e-6, atol=1e-7)


def test_piecewise_constant_wants_one_value_more_than_boundaries():
    with pytest.raises(ArgumentError, match="2 boundaries make 3 pieces, got 2 values"):
        tf.train.piecewise_constant(tf.constant(1), [1, 2], [1.0, 2.0])


def test_moving_averages():
    w = tf.Variable([0.0, 1.0], name="w")
    x = tf.placeholder(tf.float32, [], name="x")
    count = tf.train.create_global_step()
    plain, limited = tf.train.ExponentialMovingAverage(0.9), tf.train.ExponentialMovingAverage(0.9, count, name="Limited")
    debiased = tf.train.ExponentialMovingAverage(0.9, zero_debias=True, name="Debiased")
    keep = tf.group(plain.apply([w, x]), limited.apply([w]), debiased.apply([x]))
    assert plain.average(w).name == "w/ExponentialMovingAverage:0" and plain.average(count) is None
    assert "w" in tf.train.ExponentialMovingAverage(0.9).average_name(w)
    restored = plain.variables_to_restore()
    assert restored["w/ExponentialMovingAverage"] is w and "w" not in restored and "global_step" in restored
    averages = [plain.average(w), plain.average(x), limited.average(w), debiased.average(x)]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        mean, of_x, slow = np.array([0.0, 1.0]), 0.0, np.array([0.0, 1.0])
        for i in range(1, 4):
            session.run([w.assign([1.0 * i, 2.0]), count.assign_add(2)])
            session.run(keep, {x: 3.0})
            mean, of_x = 0.9 * mean + 0.1 * np.array([i, 2.0]), 0.9 * of_x + 0.1 * 3
            decay = min(0.9, (1 + 2 * i) / (10 + 2 * i))
            slow = decay * slow + (1 - decay) * np.array([i, 2.0])
            for ours, theirs in zip(session.run(averages), [mean, of_x, slow, 3.0]):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_moving_average_behind_a_step_sees_what_the_step_made():
    w = tf.Variable(1.0)
    averages = tf.train.ExponentialMovingAverage(0.5)
    with tf.get_default_graph().control_dependencies([tf.train.GradientDescentOptimizer(1.0).minimize(w * 2.0)]):
        step = averages.apply([w])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        assert session.run([w, averages.average(w)]) == [-1.0, 0.0]


def test_global_step():
    assert tf.train.get_global_step() is None
    step = tf.train.get_or_create_global_step()
    assert step is tf.train.get_or_create_global_step() is tf.train.get_global_step()
    assert (step.name, step.dtype, step.trainable) == ("global_step:0", tf.int64, False)
    with pytest.raises(GraphError, match="create_global_step: the graph has 'global_step'"):
        tf.train.create_global_step()
    with pytest.raises(GraphError, match="the global step is one integer"):
        tf.train.assert_global_step(tf.constant(1.0))


def test_gradients_are_those_of_the_values_that_were_read_before_an_assignment():
    w, average = tf.Variable([2.0, 3.0], name="w"), tf.Variable([10.0, 20.0], trainable=False)
    loss = tf.reduce_sum(w * average)
    with tf.control_dependencies([tf.assign(average, average * 0.0)]):
        step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        np.testing.assert_allclose(session.run(w), [1.0, 1.0], rtol=1e-6)
        assert session.run(average).tolist() == [0.0, 0.0]


def test_one_optimizer_behind_another_in_one_run():
    w, u = tf.Variable(2.0), tf.Variable(3.0)
    first = tf.train.GradientDescentOptimizer(0.1).minimize(w * w * u, var_list=[w])
    second_loss = u * u * w
    with tf.control_dependencies([first]):
        second = tf.train.GradientDescentOptimizer(0.1).minimize(second_loss, var_list=[u])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(second)
        np.testing.assert_allclose(session.run([w, u]), [2.0 - 0.1 * 12.0, 3.0 - 0.1 * 12.0], rtol=1e-6)
