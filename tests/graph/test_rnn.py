"""Recurrent networks: cells and sequences against PyTorch."""

import numpy as np
import pytest
import torch

import duograph.graph as tf
from duograph.errors import ArgumentError

cells = tf.nn.rnn_cell


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


def run(fetches, feeds=None):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feeds or {})


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(a, b, tolerance=2e-5):
    np.testing.assert_allclose(a, np.asarray(b), rtol=tolerance, atol=tolerance)


def torch_lstm(x, kernel, bias, units, forget_bias=1.0):
    lstm = torch.nn.LSTM(x.shape[2], units, batch_first=True)
    i, j, f, o = np.split(kernel, 4, 1)
    weights = np.concatenate([i, f, j, o], 1).T
    bi, bj, bf, bo = np.split(bias, 4)
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.tensor(weights[:, : x.shape[2]]))
        lstm.weight_hh_l0.copy_(torch.tensor(weights[:, x.shape[2] :]))
        lstm.bias_ih_l0.copy_(torch.tensor(np.concatenate([bi, bf + forget_bias, bj, bo])))
        lstm.bias_hh_l0.zero_()
        return [v.numpy() for v in (lambda out, s: (out, s[0][0], s[1][0]))(*lstm(torch.tensor(x)))]


@pytest.mark.parametrize("kind", [cells.BasicLSTMCell, cells.LSTMCell])
def test_lstm(kind):
    x = tf.placeholder(tf.float32, [None, None, 3])
    cell = kind(4)
    outputs, state = tf.nn.dynamic_rnn(cell, x, dtype=tf.float32)
    kernel, bias = tf.trainable_variables()
    title = "basic_lstm_cell" if kind is cells.BasicLSTMCell else "lstm_cell"
    assert [kernel.name, bias.name] == [f"rnn/{title}/kernel:0", f"rnn/{title}/bias:0"]
    slope = tf.gradients(outputs, kernel)[0]
    fed = numbers(2, 5, 3)
    out, last, w, b, grad = run([outputs, state, kernel, bias, slope], {x: fed})
    wanted, h, c = torch_lstm(fed, w, b, 4)
    close(out, wanted)
    close(last.h, h)
    close(last.c, c)
    assert grad.shape == w.shape
    assert grad.any()


def test_static_and_dynamic_agree():
    fed = numbers(2, 4, 3)
    cell = cells.GRUCell(5)
    dynamic, last = tf.nn.dynamic_rnn(cell, fed, dtype=tf.float32)
    static, state = tf.nn.static_rnn(cell, [fed[:, t] for t in range(4)], dtype=tf.float32)
    wide = tf.nn.dynamic_rnn(cell, np.swapaxes(fed, 0, 1).copy(), dtype=tf.float32, time_major=True)[0]
    names = [v.name for v in tf.trainable_variables()]
    assert names == [f"rnn/gru_cell/{x}:0" for x in ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")]
    weight = cell.variables[0]
    slopes = [tf.gradients(x, weight)[0] for x in (dynamic, static)]
    a, b, c, d, e, g, h = run([dynamic, static, last, state, wide, *slopes])
    close(a, np.stack(b, 1))
    close(c, d)
    close(e, np.swapaxes(a, 0, 1))
    close(g, h, 1e-4)


def test_gru_by_hand():
    x, h = numbers(2, 3), numbers(2, 4, seed=1)
    outputs, state = cells.GRUCell(4)(tf.constant(x), tf.constant(h))
    found, gates, bias, kernel, other = run([outputs, *tf.trainable_variables()])
    value = 1 / (1 + np.exp(-(np.concatenate([x, h], 1) @ gates + bias)))
    reset, update = np.split(value, 2, 1)
    candidate = np.tanh(np.concatenate([x, reset * h], 1) @ kernel + other)
    close(found, update * h + (1 - update) * candidate)
    assert state is outputs


def test_lengths():
    fed, lengths = numbers(3, 4, 2), np.array([4, 1, 2])
    cell = cells.BasicRNNCell(3)
    whole, _ = tf.nn.dynamic_rnn(cell, fed, dtype=tf.float32)
    outputs, state = tf.nn.dynamic_rnn(cell, fed, lengths, dtype=tf.float32)
    static, last = tf.nn.static_rnn(cell, [fed[:, t] for t in range(4)], dtype=tf.float32, sequence_length=lengths)
    a, b, c, d, e = run([whole, outputs, state, static, last])
    for i, n in enumerate(lengths):
        close(b[i, :n], a[i, :n])
        assert not b[i, n:].any()
        close(c[i], a[i, n - 1])
    close(np.stack(d, 1), b)
    close(e, c)


def test_there_and_back():
    fed, lengths = numbers(3, 4, 2), np.array([4, 1, 2])
    there, back = cells.BasicRNNCell(3), cells.BasicRNNCell(3)
    outputs, states = tf.nn.bidirectional_dynamic_rnn(there, back, tf.constant(fed), lengths, dtype=tf.float32)
    turned = fed.copy()
    for i, n in enumerate(lengths):
        turned[i, :n] = fed[i, :n][::-1]
    alone, last = tf.nn.dynamic_rnn(back, turned, lengths, dtype=tf.float32, scope="again")
    assert [v.name.split("/")[1] for v in tf.trainable_variables()] == ["fw", "fw", "bw", "bw"]
    found, ends, wanted, end = run([outputs, states, alone, last])
    for i, n in enumerate(lengths):
        close(found[1][i, :n], wanted[i, :n][::-1])
    close(ends[1], end)
    tf.reset_default_graph()
    steps = [tf.constant(fed[:, t]) for t in range(4)]
    both, _, _ = tf.nn.static_bidirectional_rnn(cells.BasicRNNCell(3), cells.GRUCell(2), steps, dtype=tf.float32)
    assert [x.shape.as_list() for x in both] == [[3, 5]] * 4


def test_many_cells_and_wrappers():
    keep = tf.placeholder(tf.float32, [])
    layers = [cells.DropoutWrapper(cells.LSTMCell(4), output_keep_prob=keep), cells.ResidualWrapper(cells.GRUCell(4))]
    cell = cells.MultiRNNCell(layers)
    x = tf.placeholder(tf.float32, [None, 3, 2])
    outputs, state = tf.nn.dynamic_rnn(cell, x, initial_state=cell.zero_state(tf.shape(x)[0], tf.float32))
    assert len(cell.variables) == 6
    assert cell.variables[0].name == "rnn/multi_rnn_cell/cell_0/lstm_cell/kernel:0"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found, last = session.run([outputs, state], {x: numbers(5, 3, 2), keep: 1.0})
        again, other = session.run([outputs, session.graph.get_tensor_by_name(outputs.name)], {x: numbers(5, 3, 2), keep: 0.5})
    assert found.shape == (5, 3, 4)
    close(again, other)
    assert np.abs(found - again).max() > 1e-3
    assert isinstance(last[0], cells.LSTMStateTuple)


def test_lstm_with_everything():
    cell = cells.LSTMCell(4, use_peepholes=True, cell_clip=0.1, num_proj=3, proj_clip=0.05)
    outputs, state = tf.nn.dynamic_rnn(cell, numbers(2, 5, 3) * 5, dtype=tf.float32)
    assert cell.state_size == (4, 3)
    assert [v.name.rpartition("lstm_cell/")[2] for v in cell.variables] == [
        "kernel:0", "bias:0", "w_f_diag:0", "w_i_diag:0", "w_o_diag:0", "projection/kernel:0",
    ]  # fmt: skip
    out, last = run([outputs, state])
    assert out.shape == (2, 5, 3)
    assert np.abs(last.c).max() <= 0.1 + 1e-6
    assert np.abs(out).max() <= 0.05 + 1e-6


def test_training():
    rng = np.random.default_rng(0)
    fed = rng.standard_normal((16, 6, 1)).astype(np.float32)
    x, y = tf.placeholder(tf.float32, [None, 6, 1]), tf.placeholder(tf.float32, [None, 1])
    _, state = tf.nn.dynamic_rnn(cells.BasicLSTMCell(8), x, dtype=tf.float32)
    loss = tf.losses.mean_squared_error(y, tf.layers.dense(state.h, 1))
    step = tf.train.AdamOptimizer(0.03).minimize(loss)
    feeds = {x: fed, y: fed.sum(1) / 3}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, step], feeds)[0] for _ in range(40)]
    assert losses[-1] < 0.2 * losses[0]


def test_mistakes():
    with pytest.raises(ArgumentError, match="one cell is there twice"):
        cells.MultiRNNCell([cells.GRUCell(2)] * 2)
    with pytest.raises(ArgumentError, match="give initial_state, or dtype"):
        tf.nn.dynamic_rnn(cells.GRUCell(2), numbers(1, 2, 3))
    with pytest.raises(ArgumentError, match="inputs is a list of tensors"):
        tf.nn.static_rnn(cells.GRUCell(2), tf.constant(numbers(1, 2, 3)), dtype=tf.float32)
    with pytest.raises(ArgumentError, match="is no RNNCell"):
        tf.nn.dynamic_rnn(3, numbers(1, 2, 3), dtype=tf.float32)
