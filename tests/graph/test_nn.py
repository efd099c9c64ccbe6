"""Networks of graph tensors: values against NumPy and PyTorch, TensorFlow's padding, gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import duograph.graph as tf
from duograph.errors import ArgumentError, BoundsError, ShapeError


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


def same_pads(size, window, stride):
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def channels_first(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy())


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


def torch_conv2d(x, w, stride, padding, dilation=1, groups=1):
    image = channels_first(x)
    if padding == "SAME":
        pads = [same_pads(n, (k - 1) * dilation + 1, stride) for n, k in zip(x.shape[1:3], w.shape[:2])]
        image = F.pad(image, [*pads[1], *pads[0]])
    kernel = torch.tensor(w).permute(3, 2, 0, 1)
    return channels_last(F.conv2d(image, kernel, stride=stride, dilation=dilation, groups=groups))


def test_same_padding_by_hand():
    x = np.arange(1.0, 6.0, dtype=np.float32).reshape(1, 5, 1)
    even = tf.nn.conv1d(x, np.ones((2, 1, 1), np.float32), 1, "SAME")  # one zero, behind
    wide = tf.nn.conv1d(x, np.ones((4, 1, 1), np.float32), 2, "SAME")  # 1 before, 2 behind
    four = tf.nn.conv1d(x[:, :4], np.ones((3, 1, 1), np.float32), 2, "SAME")  # none before, 1 behind
    found = [v.ravel().tolist() for v in run([even, wide, four])]
    assert found == [[3, 5, 7, 9, 5], [6, 14, 9], [6, 7]]


@pytest.mark.parametrize(
    "window, stride, padding", [(3, 1, "SAME"), (2, 1, "SAME"), (3, 2, "SAME"), (4, 3, "SAME"), (5, 2, "VALID")]
)
def test_conv2d(window, stride, padding):
    x, w = numbers(2, 7, 8, 3), numbers(window, window, 3, 4, seed=1)
    image = tf.placeholder(tf.float32, [None, 7, 8, 3])
    made = tf.nn.conv2d(image, w, [1, stride, stride, 1], padding)
    wanted = torch_conv2d(x, w, stride, padding)
    assert made.shape.as_list() == [None, *wanted.shape[1:]]
    close(run(made, {image: x}), wanted)


def test_conv2d_orders_dilations_groups_and_explicit_padding():
    x, w = numbers(2, 7, 8, 4), numbers(3, 3, 4, 6, seed=1)
    first = tf.nn.conv2d(np.moveaxis(x, -1, 1), w, [1, 1, 2, 2], "SAME", data_format="NCHW")
    gaps = tf.nn.conv2d(x, w, 1, "SAME", dilations=[1, 2, 2, 1])
    atrous = tf.nn.atrous_conv2d(x, w, 2, "SAME")
    groups = tf.nn.conv2d(x, w[:, :, :2], 1, "VALID")
    explicit = tf.nn.conv2d(x, w, 1, [[0, 0], [1, 1], [1, 1], [0, 0]])
    general = tf.nn.convolution(x, w, "SAME", dilation_rate=[2, 2])
    found = run([first, gaps, atrous, groups, explicit, general])
    dilated = torch_conv2d(x, w, 1, "SAME", 2)
    wanted = [
        np.moveaxis(torch_conv2d(x, w, 2, "SAME"), -1, 1), dilated, dilated, torch_conv2d(x, w[:, :, :2], 1, "VALID", groups=2),
        torch_conv2d(x, w, 1, "SAME"), dilated,
    ]  # fmt: skip
    for a, b in zip(found, wanted):
        close(a, b)


def test_gradients_of_conv2d():
    x, w = numbers(2, 6, 5, 3), numbers(4, 4, 3, 2, seed=1)
    image, kernel = tf.constant(x), tf.constant(w)
    made = tf.nn.conv2d(image, kernel, [1, 2, 2, 1], "SAME")
    found = run(tf.gradients(made * made, [image, kernel]))
    a, b = channels_first(x).requires_grad_(), torch.tensor(w, requires_grad=True)
    out = F.conv2d(F.pad(a, [1, 2, 1, 1]), b.permute(3, 2, 0, 1), stride=2)
    (out * out).sum().backward()
    close(found[0], channels_last(a.grad), 1e-4)
    close(found[1], b.grad, 1e-4)


def test_conv2d_mistakes():
    x, w = tf.zeros_like(tf.constant(numbers(1, 5, 5, 3))), numbers(3, 3, 4, 2)
    with pytest.raises(ShapeError, match=r"the input has 3 channels, the filter .* reads 4"):
        tf.nn.conv2d(x, w, 1, "SAME")
    with pytest.raises(ArgumentError, match=r"strides = .*: windows do not reach over batch and channels"):
        tf.nn.conv2d(x, w[:, :, :3], [2, 1, 1, 1], "SAME")
    with pytest.raises(ArgumentError, match="padding is 'FULL'"):
        tf.nn.conv2d(x, w[:, :, :3], 1, "FULL")
    with pytest.raises(ArgumentError, match="data_format is 'HWCN'"):
        tf.nn.conv2d(x, w[:, :, :3], 1, "SAME", data_format="HWCN")
    with pytest.raises(ShapeError, match="expected 4 dimensions"):
        tf.nn.conv2d(x[0], w[:, :, :3], 1, "SAME")


@pytest.mark.parametrize(
    "window, stride, size, padding",
    [(3, 2, 7, "SAME"), (4, 2, 8, "SAME"), (3, 2, 8, "SAME"), (3, 2, 8, "VALID"), (2, 3, 6, "SAME")],
)
def test_conv2d_transpose_is_the_gradient(window, stride, size, padding):
    w, batch = numbers(window, window, 2, 3, seed=1), tf.placeholder(tf.int32, [])
    image = tf.constant(numbers(2, size, size, 2))
    small = tf.nn.conv2d(image, w, stride, padding)
    given = tf.constant(numbers(*small.shape.as_list(), seed=2))
    made = tf.nn.conv2d_transpose(given, w, [batch, size, size, 2], [1, stride, stride, 1], padding)
    assert made.shape.as_list()[1:] == [size, size, 2]
    found, wanted = run([made, tf.gradients(small, image, given)[0]], {batch: 2})
    close(found, wanted)


def test_conv2d_transpose_mistake():
    with pytest.raises(ShapeError, match="not what SAME gives for output_shape"):
        tf.nn.conv2d_transpose(numbers(1, 4, 4, 3), numbers(3, 3, 2, 3), [1, 10, 10, 2], 2)


def test_depthwise_and_separable():
    x, w, p = numbers(2, 6, 6, 3), numbers(3, 3, 3, 2, seed=1), numbers(1, 1, 6, 4, seed=2)
    found = run([tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"), tf.nn.separable_conv2d(x, w, p, [1, 1, 1, 1], "SAME")])
    inner = np.zeros((2, 6, 6, 6), np.float32)
    for c in range(3):
        inner[..., 2 * c : 2 * c + 2] = torch_conv2d(x[..., c : c + 1], w[:, :, c : c + 1], 1, "SAME")
    close(found[0], inner)
    close(found[1], inner @ p[0, 0])


def test_conv1d_and_conv3d():
    x, w = numbers(2, 9, 3), numbers(4, 3, 2, seed=1)
    volume, kernel = numbers(1, 5, 5, 5, 2), numbers(3, 3, 3, 2, 2, seed=1)
    found = run([tf.nn.conv1d(x, w, 2, "VALID"), tf.nn.conv3d(volume, kernel, [1, 2, 2, 2, 1], "SAME")])
    close(found[0], channels_last(F.conv1d(channels_first(x), torch.tensor(w).permute(2, 1, 0), stride=2)))
    close(
        found[1],
        channels_last(F.conv3d(channels_first(volume), torch.tensor(kernel).permute(4, 3, 0, 1, 2), stride=2, padding=1)),
    )


@pytest.mark.parametrize("size, window, stride", [(6, 2, 2), (7, 2, 2), (6, 3, 2), (5, 3, 1)])
def test_pools(size, window, stride):
    x = numbers(2, size, size, 3)
    arguments = [1, window, window, 1], [1, stride, stride, 1]
    fetches = [f(x, *arguments, p) for f in (tf.nn.max_pool, tf.nn.avg_pool) for p in ("SAME", "VALID")]
    maxima, inner_maxima, means, inner_means = run(fetches)
    pads = same_pads(size, window, stride)
    wide = F.pad(channels_first(x), [*pads, *pads], value=float("nan"))
    windows = wide.unfold(2, window, stride).unfold(3, window, stride).flatten(4)
    close(maxima, channels_last(torch.nan_to_num(windows, -1e9).amax(4)))
    close(means, channels_last(windows.nanmean(4)))
    close(inner_maxima, channels_last(F.max_pool2d(channels_first(x), window, stride)))
    close(inner_means, channels_last(F.avg_pool2d(channels_first(x), window, stride)))


def test_argmax_of_pools_and_other_ranks():
    x = numbers(2, 5, 5, 3)
    values, places = tf.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME", include_batch_in_index=True)
    found, where, rows = run([values, places, tf.nn.pool(x[:, 0], [2], "MAX", "VALID", strides=[2])])
    assert where.dtype == np.int64
    close(x.ravel()[where], found)
    close(found, run(tf.nn.max_pool(x, 2, 2, "SAME")))
    close(rows, np.maximum(x[:, 0, 0:4:2], x[:, 0, 1:5:2]))
    with pytest.raises(ShapeError, match="a window of 6 does not fit into 5 pixels"):
        tf.nn.max_pool(x, 6, 1, "VALID")


def test_activations():
    x = numbers(4, 5) * 3
    t = torch.tensor(x)
    table = {
        "relu": F.relu, "relu6": F.relu6, "elu": F.elu, "selu": F.selu, "softplus": F.softplus, "softsign": F.softsign,
        "sigmoid": torch.sigmoid, "tanh": torch.tanh, "swish": F.silu, "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
        "softmax": lambda x: F.softmax(x, -1), "log_softmax": lambda x: F.log_softmax(x, -1),
        "crelu": lambda x: torch.cat([F.relu(x), F.relu(-x)], 1), "l2_loss": lambda x: (x * x).sum() / 2,
        "zero_fraction": lambda x: (x == 0).float().mean(),
    }  # fmt: skip
    for (name, function), found in zip(table.items(), run([getattr(tf.nn, name)(x) for name in table])):
        np.testing.assert_allclose(found, function(t).numpy(), rtol=2e-5, atol=2e-5, err_msg=name)
    assert tf.nn.relu(x, name="mine").name == "mine:0"
    close(run(tf.nn.softmax(x, 0)), F.softmax(t, 0))
    close(run(tf.nn.relu_layer(x, numbers(5, 2), [1.0, 2.0])), F.relu(t @ torch.tensor(numbers(5, 2)) + torch.tensor([1.0, 2.0])))


def test_dropout():
    keep = tf.placeholder(tf.float32, [])
    x = tf.constant(np.ones((100, 100), np.float32))
    rows = tf.nn.dropout(x, keep, noise_shape=[100, 1])
    made, by_rate = tf.nn.dropout(x, keep), tf.nn.dropout(x, rate=1 - keep)
    slope = tf.gradients(made, x)[0]
    with tf.Session() as session:
        for part in (0.5, 0.8):
            for value in session.run([made, by_rate], {keep: part}):
                assert set(np.unique(value)) == {0.0, np.float32(1 / np.float32(part))}
                assert abs((value > 0).mean() - part) < 0.03
        together = session.run(rows, {keep: 0.5})
        assert (together == together[:, :1]).all()
        value, grad = session.run([made, slope], {keep: 0.5})
        assert (value == grad).all()
        assert (session.run(made, {keep: 0.5}) != session.run(made, {keep: 0.5})).any()
    assert tf.nn.dropout(x, 1.0) is x
    with pytest.raises(ArgumentError, match=r"keep_prob = 1.5 is not in \(0, 1\]"):
        tf.nn.dropout(x, 1.5)
    with pytest.raises(ArgumentError, match="give keep_prob or rate"):
        tf.nn.dropout(x, 0.5, rate=0.5)


def test_bias_add():
    x, b = numbers(2, 3, 4, 5), numbers(5, seed=1)
    last, first = run([tf.nn.bias_add(x, b), tf.nn.bias_add(np.moveaxis(x, -1, 1), b, "NCHW")])
    close(last, x + b)
    close(first, np.moveaxis(x + b, -1, 1))
    with pytest.raises(ShapeError, match=r"bias has shape \(4,\), value \(2, 3, 4, 5\) has 5 channels"):
        tf.nn.bias_add(x, b[:4])


def test_normalization():
    x, scale, offset = numbers(4, 3, 3, 5), numbers(5, seed=1), numbers(5, seed=2)
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    made = tf.nn.moments(tf.constant(x), [0, 1, 2])
    plain = tf.nn.batch_normalization(x, *made, offset, scale, 0.01)
    fused = tf.nn.fused_batch_norm(x, scale, offset, epsilon=0.01)
    given = tf.nn.fused_batch_norm(x, scale, offset, mean, variance, 0.01, is_training=False)[0]
    found = run([made, plain, fused, given, tf.nn.l2_normalize(x, 3), tf.nn.lrn(x, 1, 2.0, 0.5, 0.75)])
    wanted = (x - mean) / np.sqrt(variance + 0.01) * scale + offset
    close(found[0][0], mean)
    close(found[0][1], variance)
    for value in (found[1], found[2][0], found[3]):
        close(value, wanted, 1e-4)
    close(found[2][2], variance * 36 / 35, 1e-4)
    close(found[4], x / np.sqrt((x * x).sum(3, keepdims=True)))
    squares = np.pad(x * x, [(0, 0)] * 3 + [(1, 1)])
    close(found[5], x / (2 + 0.5 * (squares[..., :-2] + squares[..., 1:-1] + squares[..., 2:])) ** 0.75)


def test_weighted_moments_and_statistics():
    x, weights = numbers(6, 3), np.array([[1.0], [2], [0], [1], [3], [1]], np.float32)
    mean, variance = run(tf.nn.weighted_moments(x, [0], weights))
    repeated = np.repeat(x, weights[:, 0].astype(int), 0)
    close(mean, repeated.mean(0))
    close(variance, repeated.var(0))
    statistics = tf.nn.sufficient_statistics(x, [0], shift=tf.constant(0.5))
    close(run(tf.nn.normalize_moments(*statistics)), [x.mean(0), x.var(0)])


def test_losses_with_logits():
    logits, labels = numbers(4, 5), np.abs(numbers(4, 5, seed=1))
    t, soft = torch.tensor(logits), torch.tensor(labels)
    classes = np.array([0, 4, 2, 2])
    x = tf.constant(logits)
    dense = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=x)
    sparse = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=x)
    sigmoid = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=x)
    weighted = tf.nn.weighted_cross_entropy_with_logits(targets=labels, logits=x, pos_weight=2.0)
    poisson = tf.nn.log_poisson_loss(labels, x)
    found = run([dense, sparse, sigmoid, weighted, poisson])
    wanted = [
        -(soft * F.log_softmax(t, 1)).sum(1), F.cross_entropy(t, torch.tensor(classes), reduction="none"),
        F.binary_cross_entropy_with_logits(t, soft, reduction="none"),
        F.binary_cross_entropy_with_logits(t, soft, reduction="none", pos_weight=torch.tensor(2.0)),
        F.poisson_nll_loss(t, soft, reduction="none"),
    ]  # fmt: skip
    for a, b in zip(found, wanted):
        close(a, b)
    slope = run(tf.gradients(sparse, x)[0])
    close(slope, F.softmax(t, 1).numpy() - np.eye(5)[classes])
    with pytest.raises(ArgumentError, match="give labels and logits, both by name"):
        tf.nn.softmax_cross_entropy_with_logits(labels, x)
    with pytest.raises(ShapeError, match=r"labels have shape \(4, 4\), logits \(4, 5\)"):
        tf.nn.softmax_cross_entropy_with_logits(labels=labels[:, :4], logits=x)
    with pytest.raises(BoundsError):
        run(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[5, 0, 0, 0], logits=x))


def test_gradient_of_labels():
    labels, logits = tf.constant([[0.5, 0.5]]), tf.constant([[1.0, 3.0]])
    both = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
    one = tf.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    found = run([tf.gradients(both, labels)[0], tf.gradients(one, labels, unconnected_gradients="zero")[0]])
    close(found[0], [[np.log(1 + np.e**2), np.log(1 + np.e**-2)]])
    assert not found[1].any()


def test_embedding_lookup():
    table, ids = numbers(7, 3), np.array([[6, 0], [3, 5]])
    parts = [tf.constant(table[i::3]) for i in range(3)]
    blocks = [tf.constant(x) for x in (table[:3], table[3:5], table[5:])]
    fetches = [
        tf.nn.embedding_lookup(table, ids), tf.nn.embedding_lookup(parts, ids), tf.nn.embedding_lookup(blocks, ids, "div"),
        tf.nn.embedding_lookup(table, ids, max_norm=0.5),
    ]  # fmt: skip
    found = run(fetches)
    for value in found[:3]:
        close(value, table[ids])
    assert np.linalg.norm(found[3], axis=-1).max() <= 0.5 + 1e-6
    with pytest.raises(BoundsError):
        run(tf.nn.embedding_lookup(table, [7]))


def test_samplers():
    true = np.array([[0], [50]])
    unique = tf.nn.log_uniform_candidate_sampler(true, 1, 20, True, 100)
    repeated = tf.nn.log_uniform_candidate_sampler(true, 1, 5000, False, 100)
    even = tf.nn.uniform_candidate_sampler(true, 1, 5000, False, 10)
    with tf.Session() as session:
        for _ in range(3):
            found = session.run(unique)
            assert len(set(found.sampled_candidates.tolist())) == 20
            assert 0 < found.true_expected_count[1, 0] < found.true_expected_count[0, 0] <= 1
        found = session.run(repeated)
        share = (found.sampled_candidates == 0).sum()
        close(found.true_expected_count[0, 0], 5000 * np.log(2) / np.log(101), 1e-4)
        assert abs(share - found.true_expected_count[0, 0]) < 120
        assert np.bincount(session.run(even).sampled_candidates).min() > 400


def test_sampled_losses():
    weights, biases, inputs, labels = numbers(9, 4), numbers(9, seed=1), numbers(3, 4, seed=2), np.array([[1], [8], [3]])
    w = tf.constant(weights)
    every = (np.arange(9), np.ones((3, 1), np.float32), np.ones(9, np.float32))
    soft = tf.nn.sampled_softmax_loss(w, biases, labels, inputs, 9, 9, sampled_values=every)
    nce = tf.nn.nce_loss(w, biases, labels, inputs, 9, 9, sampled_values=every, remove_accidental_hits=True)
    drawn = tf.nn.nce_loss(w, biases, labels, inputs, 4, 9)
    found = run([soft, nce, drawn, tf.gradients(drawn, w)[0]])
    logits = torch.tensor(inputs) @ torch.tensor(weights).T + torch.tensor(biases)
    close(found[0], F.cross_entropy(logits, torch.tensor(labels[:, 0]), reduction="none"))
    one_hot = torch.tensor(np.eye(9, dtype=np.float32)[labels[:, 0]])
    close(found[1], F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none").sum(1))
    assert found[2].shape == (3,)
    assert found[3].any()


def test_choices():
    x = np.array([[1.0, 3.0, 2.0], [3.0, 1.0, 3.0]], np.float32)
    best = tf.nn.top_k(x, tf.constant(2))
    found, within = run([best, tf.nn.in_top_k(x, [2, 1], 2)])
    assert found.values.tolist() == [[3, 2], [3, 3]]
    assert found.indices.tolist() == [[1, 2], [0, 2]]
    assert within.tolist() == [True, False]


def test_ctc_loss():
    logits, labels = numbers(6, 2, 4), np.array([[0, 1, 1], [2, -1, -1]], np.int32)
    made = tf.nn.ctc_loss(labels, logits, np.array([6, 5], np.int32))
    dense = tf.nn.ctc_loss_v2(np.maximum(labels, 1), logits, np.array([3, 1]), np.array([6, 5]))
    found = run([made, dense])
    log = F.log_softmax(torch.tensor(logits), 2)
    for value, targets, blank in ((found[0], labels, 3), (found[1], np.maximum(labels, 1), 0)):
        targets = torch.tensor(targets).long().clamp(0)
        wanted = F.ctc_loss(log, targets, torch.tensor([6, 5]), torch.tensor([3, 1]), blank, "none")
        close(value, wanted, 1e-4)


def test_images_of_many_sizes_share_programs():
    image = tf.placeholder(tf.float32, [None, None, None, 2])
    made = tf.nn.max_pool(tf.nn.conv2d(image, numbers(3, 3, 2, 1), 2, "SAME"), 2, 2, "SAME")
    with tf.Session() as session:
        for size in range(8, 44, 4):  # one capture for each size would be a warning
            assert session.run(made, {image: numbers(1, size, size, 2)}).shape == (1, size // 4, size // 4, 1)


def test_images_stay_as_they_lie_between_convolutions():
    import duograph as dg
    from duograph.graph.layout import any_layout, channels_first, channels_last, source_of

    first = dg.tensor(numbers(2, 3, 4, 5))
    view = channels_last(first)
    assert source_of(view) is first is channels_first(view)
    bias = dg.tensor(numbers(3, seed=1))
    other = dg.tensor(numbers(2, 4, 5, 3, seed=2))

    @any_layout
    def total(x, y):
        return x + y

    for x, y, kept in (
        (view, bias, True),
        (view, view, True),
        (bias, view, True),
        (view, 2.0, True),
        (view, other, False),
        (other, view, False),
    ):
        found = total(x=x, y=y)
        close(found.numpy(), (x + y).numpy())
        assert (source_of(found) is not None) == kept
    assert source_of(other) is source_of(bias) is None
    del view
    assert source_of(dg.tensor(1.0)) is None


def test_residual_networks_with_arithmetic():
    x, w, b = numbers(2, 5, 5, 4), numbers(3, 3, 4, 4, seed=1), numbers(4, seed=2)
    image, kernel = tf.constant(x), tf.constant(w)
    inner = tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME") + b)
    made = tf.tanh((tf.nn.conv2d(inner, kernel, 1, "SAME") + inner) * 0.1 - image)
    found, *slopes = run([made, *tf.gradients(made, [image, kernel])])
    a, k = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)

    def conv(v):
        return F.conv2d(v.permute(0, 3, 1, 2), k.permute(3, 2, 0, 1), padding=1).permute(0, 2, 3, 1)

    hidden = F.relu(conv(a) + torch.tensor(b))
    wanted = torch.tanh((conv(hidden) + hidden) * 0.1 - a)
    wanted.sum().backward()
    close(found, wanted.detach(), 1e-4)
    close(slopes[0], a.grad, 1e-3)
    close(slopes[1], k.grad, 1e-3)


def test_seeds_of_dropout_and_samplers():
    x = np.ones((20, 20), np.float32)
    made, other = (tf.nn.dropout(x, 0.5, seed=seed) for seed in (1, 2))
    chosen = tf.nn.log_uniform_candidate_sampler([[0]], 1, 5, True, 100, seed=3).sampled_candidates
    runs = []
    for _ in range(2):
        with tf.Session() as session:
            runs.append([session.run([made, other, chosen]) for _ in range(2)])
    for first, again in zip(*runs):
        for a, b in zip(first, again):
            assert (a == b).all()
    assert (runs[0][0][0] != runs[0][1][0]).any()
    assert (runs[0][0][0] != runs[0][0][1]).any()
