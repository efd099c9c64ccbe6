"""Measures over many runs, against NumPy and scikit-learn's definitions."""

import numpy as np
import pytest

import duograph.graph as tf
from duograph.errors import ArgumentError, ShapeError


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def over_batches(metrics, batches):
    """The values behind some batches, each equal to what the last update gave."""
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        for feeds in batches:
            updates = session.run([update for _, update in metrics], feeds)
        values = session.run([value for value, _ in metrics])
    for value, update in zip(values, updates):
        np.testing.assert_allclose(value, update, rtol=1e-6)
    return values


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_means_over_batches():
    x, y, w = (tf.placeholder(tf.float32, [None]) for _ in range(3))
    m = tf.metrics
    metrics = [
        m.mean(x), m.mean(x, w), m.mean_squared_error(y, x), m.root_mean_squared_error(y, x, w), m.mean_absolute_error(y, x),
        m.mean_relative_error(y, x, tf.abs(y)), m.percentage_below(x, 0.0), m.accuracy(y > 0.0, x > 0.0),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    batches = [
        [rng.standard_normal(n).astype(np.float32) for _ in range(2)] + [rng.random(n).astype(np.float32)] for n in (5, 3, 9)
    ]
    a, b, c = (np.concatenate(v) for v in zip(*batches))
    found = over_batches(metrics, [dict(zip((x, y, w), batch)) for batch in batches])
    wanted = [
        a.mean(), (a * c).sum() / c.sum(), ((a - b) ** 2).mean(), np.sqrt((c * (a - b) ** 2).sum() / c.sum()),
        np.abs(a - b).mean(), (np.abs(a - b) / np.abs(b)).mean(), (a < 0).mean(), ((a > 0) == (b > 0)).mean(),
    ]  # fmt: skip
    close(found, wanted)
    assert len(tf.local_variables()) == len(tf.get_collection(tf.GraphKeys.METRIC_VARIABLES)) == 16
    assert tf.local_variables()[0].name == "mean/total:0"
    assert [x.name for x in metrics[-1]] == ["accuracy/value:0", "accuracy/update_op:0"]


def test_confusion():
    labels, predictions = tf.placeholder(tf.bool, [None]), tf.placeholder(tf.bool, [None])
    m = tf.metrics
    kinds = m.true_positives, m.false_positives, m.true_negatives, m.false_negatives, m.precision, m.recall
    rng = np.random.default_rng(0)
    batches = [(rng.random(n) < 0.5, rng.random(n) < 0.7) for n in (6, 10)]
    found = over_batches([f(labels, predictions) for f in kinds], [{labels: a, predictions: b} for a, b in batches])
    a, b = (np.concatenate(x) for x in zip(*batches))
    tp, fp, tn, fn = (a & b).sum(), (~a & b).sum(), (~a & ~b).sum(), (a & ~b).sum()
    close(found, [tp, fp, tn, fn, tp / (tp + fp), tp / (tp + fn)])


def test_thresholds_and_areas():
    labels, scores = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.float32, [None])
    m = tf.metrics
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.4
    given = np.clip(rng.normal(0.4 + 0.2 * truth, 0.15), 0.01, 0.99).astype(np.float32)
    metrics = [
        m.auc(labels, scores), m.auc(labels, scores, curve="PR"), m.precision_at_thresholds(labels, scores, [0.3, 0.6]),
        m.recall_at_thresholds(labels, scores, [0.3, 0.6]),
    ]  # fmt: skip
    parts = [{labels: truth[s].astype(np.int32), scores: given[s]} for s in (slice(0, 100), slice(100, 400))]
    roc, pr, precision, recall = over_batches(metrics, parts)
    better = given[truth][:, None] > given[~truth]
    assert abs(roc - better.mean()) < 3e-3
    above = given[:, None] > [0.3, 0.6]
    hits = (above & truth[:, None]).sum(0)
    close(precision, hits / above.sum(0))
    close(recall, hits / truth.sum())
    assert 0.5 < pr < 1
    with pytest.raises(ArgumentError, match='curve is "ROC" or "PR"'):
        m.auc(labels, scores, curve="roc")


def test_classes():
    labels, predictions = tf.placeholder(tf.int32, [None]), tf.placeholder(tf.int32, [None])
    metrics = [tf.metrics.mean_iou(labels, predictions, 4), tf.metrics.mean_per_class_accuracy(labels, predictions, 3)]
    found = over_batches(metrics, [{labels: [0, 0, 1], predictions: [0, 1, 1]}, {labels: [2, 2], predictions: [2, 0]}])
    close(found, [(1 / 3 + 1 / 2 + 1 / 2) / 3, (0.5 + 1 + 0.5) / 3])


def test_empty_and_mistakes():
    value, _ = tf.metrics.mean(tf.placeholder(tf.float32, [None]))
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        assert session.run(value) == 0
    with pytest.raises(ShapeError, match=r"labels have shape \(3,\), predictions \(2,\)"):
        tf.metrics.accuracy([1, 2, 3], [1, 2])
