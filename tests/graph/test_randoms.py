"""Random tensors: distributions, seeds of graphs and operations; first values of variables."""

import numpy as np
import pytest

import duograph as dg
import duograph.graph as tf
from duograph.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def graph():
    dg.manual_seed(5)
    with tf.Graph().as_default() as made:
        yield made


def test_distributions():
    n = 20000
    with tf.Session() as session:
        normal, cut, uniform, whole = session.run(
            [
                tf.random_normal([n], 2.0, 0.5),
                tf.truncated_normal([n], 1.0, 2.0),
                tf.random_uniform([n], -1.0, 3.0),
                tf.random_uniform([n], 2, 6, tf.int32),
            ]
        )
        assert normal.mean() == pytest.approx(2.0, abs=0.03) and normal.std() == pytest.approx(0.5, abs=0.03)
        assert np.abs(cut - 1.0).max() <= 4.0 and cut.std() == pytest.approx(2 * 0.8796, abs=0.05)
        assert uniform.min() >= -1 and uniform.max() < 3 and uniform.mean() == pytest.approx(1.0, abs=0.05)
        assert whole.dtype == np.int32 and np.bincount(whole, minlength=7)[2:6].min() > n / 4.4
        assert set(whole.tolist()) == {2, 3, 4, 5}
        gamma = session.run(tf.random_gamma([n], [0.5, 3.0], 2.0))
        assert gamma.shape == (n, 2) and gamma.min() >= 0.0
        np.testing.assert_allclose(gamma.mean(0), [0.25, 1.5], rtol=0.05)
        np.testing.assert_allclose(gamma.var(0), [0.125, 0.75], rtol=0.1)
        classes = session.run(tf.multinomial(np.log([[0.2, 0.8], [1.0, 0.0001]]).astype(np.float32), n))
        assert classes.shape == (2, n) and classes.dtype == np.int64
        assert classes.mean(1)[0] == pytest.approx(0.8, abs=0.02) and classes.mean(1)[1] < 0.01
        assert session.run(tf.random_poisson([1.0, 9.0], [n])).mean(0) == pytest.approx([1.0, 9.0], rel=0.05)


def drawn(times, *tensors):
    with tf.Session() as session:
        return [[value.tolist() for value in session.run(list(tensors))] for _ in range(times)]


def test_a_seed_of_an_operation_begins_anew_in_each_session():
    seeded = [tf.random_normal([3], seed=1), tf.random_uniform([3], seed=1), tf.random_shuffle(tf.range(50), seed=4)]
    free = tf.random_normal([3])
    first, second = drawn(2, *seeded), drawn(2, *seeded)
    assert first == second and first[0] != first[1]
    assert drawn(1, free) != drawn(1, free)
    other = tf.random_normal([3], seed=2)
    assert drawn(1, other)[0][0] != first[0][0]


def test_dropout_takes_seeds_and_has_gradients():
    x = tf.ones([100])
    kept = tf.nn.dropout(x, 0.5, seed=3)
    slope = tf.gradients(kept, x)[0]
    first, again = drawn(2, kept, slope), drawn(2, kept, slope)
    assert first == again and first[0] != first[1] and first[0][0] == first[0][1]
    assert 20 < sum(v == 2.0 for v in first[0][0]) < 80


def test_a_seed_of_a_graph():
    def draw(seed):
        with tf.Graph().as_default():
            tf.set_random_seed(seed)
            return drawn(2, tf.random_normal([2]), tf.random_uniform([2]), tf.random_normal([2]))

    assert draw(3) == draw(3) != draw(4)
    one, _, other = draw(3)[0]
    assert one != other


def test_duographs_seed_counts_without_another():
    x = tf.random_normal([4])
    with tf.Session() as session:
        dg.manual_seed(1)
        first = session.run(x)
        dg.manual_seed(1)
        assert session.run(x).tolist() == first.tolist()


def test_sizes_of_the_run():
    x = tf.placeholder(tf.float32, [None, 2])
    noise = [tf.random_normal(tf.shape(x)), tf.random_uniform([tf.shape(x)[0], 3], seed=1), tf.truncated_normal(tf.shape(x)[:1])]
    with tf.Session() as session:
        for n in (2, 5, 3):
            assert [v.shape for v in session.run(noise, {x: np.ones((n, 2))})] == [(n, 2), (n, 3), (n,)]


def test_shuffles_and_crops():
    x = np.arange(60).reshape(10, 6)
    shuffled, cropped = tf.random_shuffle(tf.constant(x)), tf.random_crop(tf.constant(x), [3, 2])
    with tf.Session() as session:
        found = session.run(shuffled)
        assert found.tolist() != x.tolist() and sorted(found.tolist()) == x.tolist()
        for _ in range(5):
            part = session.run(cropped)
            row, column = divmod(part[0, 0], 6)
            assert part.tolist() == x[row : row + 3, column : column + 2].tolist()
    with pytest.raises(ShapeError, match="does not fit"):
        tf.random_crop(tf.constant(x), [11, 2])


def test_mistakes():
    with pytest.raises(ArgumentError, match="maxval is missing"):
        tf.random_uniform([2], dtype=tf.int32)
    with pytest.raises(ArgumentError, match="there is nothing between"):
        tf.random_uniform([2], 3, 3, tf.int32)
    with pytest.raises(ArgumentError, match="mode is 'fan'"):
        tf.variance_scaling_initializer(mode="fan")


SCALES = {
    "glorot_uniform": 2 / 500, "glorot_normal": 2 / 500, "he_uniform": 2 / 200, "he_normal": 2 / 200, "lecun_uniform": 1 / 200,
    "lecun_normal": 1 / 200,
}  # fmt: skip


def test_initializers():
    made = {name: getattr(tf, f"{name}_initializer")()([200, 300]) for name in SCALES}
    made["orthogonal"] = tf.orthogonal_initializer(gain=2.0)([3, 4, 5])
    made["wide"] = tf.orthogonal_initializer()([3, 5])
    made["identity"] = tf.identity_initializer(2.0)([2, 3])
    made["constant"] = tf.constant_initializer([1, 2, 3, 4])([2, 2])
    made["ones"] = tf.initializers.ones()([2], dtype=tf.int32)
    made["kernel"] = tf.variance_scaling_initializer(distribution="untruncated_normal")([5, 5, 40, 3])
    with tf.Session() as session:
        found = session.run(made)
    for name, variance in SCALES.items():
        assert found[name].var() == pytest.approx(variance, rel=0.05) and found[name].mean() == pytest.approx(0, abs=0.002)
    assert found["kernel"].var() == pytest.approx(1 / 1000, rel=0.1)
    flat = found["orthogonal"].reshape(12, 5)
    np.testing.assert_allclose(flat.T @ flat, 4 * np.eye(5), atol=1e-4)
    np.testing.assert_allclose(found["wide"] @ found["wide"].T, np.eye(3), atol=1e-5)
    assert found["identity"].tolist() == [[2, 0, 0], [0, 2, 0]] and found["constant"].tolist() == [[1, 2], [3, 4]]
    assert found["ones"].tolist() == [1, 1] and found["ones"].dtype == np.int32


def test_initializers_of_variables_and_their_configurations():
    v = tf.get_variable("v", [4, 2], initializer=tf.truncated_normal_initializer(stddev=0.1, seed=3))
    w = tf.get_variable("w", [4, 2])
    values = []
    for _ in range(2):
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            values.append(session.run([v, w]))
    assert values[0][0].tolist() == values[1][0].tolist() and np.abs(values[0][0]).max() <= 0.2
    assert np.abs(values[0][1]).max() <= 1.0 and values[0][1].tolist() != values[1][1].tolist()
    again = tf.random_uniform_initializer.from_config(tf.random_uniform_initializer(-2, 2, seed=1).get_config())
    assert (again.minval, again.maxval, again.seed, again.dtype) == (-2, 2, 1, tf.float32)
