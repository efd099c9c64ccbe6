"""Define-and-run: the same programs of TensorFlow 1's API, run by duograph.graph and by TensorFlow's v1 Session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.harness import OURS, Case
from benchmarks.peers import load

THREADS = (1,)
Run = Callable[[], object]
TURNS = 10_000
NODES = 10_000


def _session(tf: Any, fetches: Any, feed: dict[Any, Any]) -> Run:
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return lambda: session.run(fetches, feed_dict=feed)


def _dense(tf: Any, x: Any, rows: int, columns: int) -> Any:
    random = np.random.default_rng(rows)
    w = tf.Variable(random.standard_normal((rows, columns)).astype(np.float32) * 0.1)
    return tf.matmul(x, w) + tf.Variable(np.zeros(columns, np.float32))


def small_network(tf: Any) -> Run:
    x = tf.placeholder(tf.float32, [None, 10])
    y = _dense(tf, tf.nn.relu(_dense(tf, x, 10, 20)), 20, 10)
    return _session(tf, y, {x: np.ones((1, 10), np.float32)})


def counter(tf: Any) -> Run:
    _, total = tf.while_loop(lambda i, s: i < TURNS, lambda i, s: (i + 1, s + 1.5), [tf.constant(0), tf.constant(0.0)])
    return _session(tf, total, {})


def softmax_regression(tf: Any) -> Run:
    random = np.random.default_rng(0)
    x, y = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.float32, [None, 10])
    logits = _dense(tf, x, 784, 10)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
    step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    images = random.random((100, 784), np.float32)
    labels = np.eye(10, dtype=np.float32)[random.integers(0, 10, 100)]
    return _session(tf, step, {x: images, y: labels})


def _recurrence(tf: Any, x: Any, w: Any, u: Any) -> Any:
    given = tf.TensorArray(tf.float32, size=100).unstack(x)

    def turn(i: Any, h: Any, rows: Any) -> Any:
        h = tf.tanh(tf.matmul(given.read(i), w) + tf.matmul(h, u))
        return i + 1, h, rows.write(i, h)

    start = tf.zeros([16, 128])
    _, _, rows = tf.while_loop(lambda i, h, rows: i < 100, turn, [tf.constant(0), start, tf.TensorArray(tf.float32, size=100)])
    out = rows.stack()
    return tf.gradients(tf.reduce_sum(out * out), [w, u])


def _recurrent_data() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.standard_normal((100, 16, 128)).astype(np.float32)
    return x, random.standard_normal((128, 128)).astype(np.float32) * 0.05


def recurrent(tf: Any) -> Run:
    data, weights = _recurrent_data()
    x = tf.placeholder(tf.float32, [100, 16, 128])
    return _session(tf, _recurrence(tf, x, tf.Variable(weights), tf.Variable(weights)), {x: data})


def recurrent_function(tensorflow: Any) -> Run:
    """The same as a tf.function."""
    data, weights = _recurrent_data()
    step = tensorflow.function(lambda x, w, u: _recurrence(tensorflow.compat.v1, x, w, u))
    given = [tensorflow.constant(x) for x in (data, weights, weights)]
    return lambda: [x.numpy() for x in step(*given)]


def mandelbrot(tf: Any) -> Run:
    """Turns until |z| > 2, for each point of a plane of complex numbers, as pairs of floats."""
    ys, xs = np.mgrid[-1.3:1.3:1024j, -2:1:1024j].astype(np.float32)
    cx, cy = tf.constant(xs), tf.constant(ys)

    def turn(i: Any, x: Any, y: Any, count: Any) -> Any:
        inside = x * x + y * y <= 4.0
        new_x, new_y = x * x - y * y + cx, 2.0 * x * y + cy
        return i + 1, tf.where(inside, new_x, x), tf.where(inside, new_y, y), count + tf.cast(inside, tf.int32)

    zeros = tf.zeros([1024, 1024])
    start = [tf.constant(0), zeros, zeros, tf.zeros([1024, 1024], tf.int32)]
    return _session(tf, tf.while_loop(lambda i, *_: i < 100, turn, start)[3], {})


def chain(tf: Any) -> tuple[Any, Any]:
    """(a placeholder, gradients) of a program of `NODES` operations, those of gradients not counted."""
    x = h = tf.placeholder(tf.float32, [64])
    weights = [tf.Variable(np.full(64, 0.5, np.float32)) for _ in range(10)]
    for i in range(NODES // 4):
        h = tf.tanh(h * weights[i % 10] + x) - 0.1
    return x, tf.gradients(h, [x, *weights])


def _builds(tf: Any, new: Callable[[], Any]) -> Run:
    def build() -> None:
        with new().as_default():
            chain(tf)

    return build


def _first_runs(tf: Any, new: Callable[[], Any]) -> Run:
    """The first run in a new session; the graph is there before."""
    with new().as_default():
        x, grads = chain(tf)
        init = tf.global_variables_initializer()
    graph, data = x.graph, np.ones(64, np.float32)

    def run() -> object:
        with tf.Session(graph=graph) as session:
            session.run(init)
            return session.run(grads, {x: data})

    return run


PROGRAMS = (
    ("bar 1: Session.run of Linear(10, 20)-ReLU-Linear(20, 10)", small_network, 20.0),
    (f"bar 2: counter loop, {TURNS} turns", counter, 25.0),
    ("bar 3: softmax regression, step of 100 images", softmax_regression, 5.0),
    ("bar 4: RNN of 100 turns, batch 16, hidden 128, gradients", recurrent, 1.25),
    ("bar 5: Mandelbrot, 1024 x 1024, 100 turns", mandelbrot, 4.0),
)


def cases(wanted: Callable[[str], bool]) -> Iterator[Case]:
    import duograph.graph

    tensorflow = load("tensorflow")
    v1 = tensorflow.compat.v1 if tensorflow else None

    def contestants(program: Callable[[Any], Run]) -> dict[str, Run]:
        with duograph.graph.Graph().as_default():
            found = {OURS: program(duograph.graph)}
        if tensorflow is not None:
            with tensorflow.Graph().as_default():
                found["TF v1 Session"] = program(v1)
        return found

    for title, program, asked in PROGRAMS:
        if wanted(title):
            found = contestants(program)
            if program is recurrent and tensorflow is not None:
                found["tf.function"] = recurrent_function(tensorflow)
            yield Case(title, found, {peer: asked for peer in found if peer != OURS})
    for what, make, asked in (("building", _builds, 3.0), ("first run of", _first_runs, 1.0)):
        title = f"bar 6: {what} a graph of {NODES} operations with gradients"
        if wanted(title):
            found = {OURS: make(duograph.graph, duograph.graph.Graph)}
            if tensorflow is not None:
                found["TF v1 Session"] = make(v1, tensorflow.Graph)
            yield Case(title, found, {peer: asked for peer in found if peer != OURS})
