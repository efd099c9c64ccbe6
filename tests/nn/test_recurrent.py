"""Recurrent layers and cells against PyTorch's, in both modes."""

from __future__ import annotations

import numpy as np
import pytest

import duograph as dg
from duograph.nn.utils import rnn

torch = pytest.importorskip("torch")

KINDS = {
    "lstm": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": 2}),
    "gru": ("GRU", {}),
    "tanh": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
}


def ours(x):
    return dg.from_numpy(x.detach().numpy().copy())


def pair(name, *args, **options):
    """PyTorch's layer and ours with the same weights, in float64."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **options, dtype=torch.float64)
    made = getattr(dg.nn, name)(*args, **options, dtype=dg.float64)
    made.load_state_dict({key: ours(value) for key, value in theirs.state_dict().items()})
    assert list(made.state_dict()) == list(theirs.state_dict())
    assert repr(made) == repr(theirs)
    return theirs, made


def close(got, want):
    assert tuple(got.shape) == tuple(want.shape)
    np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-10, atol=1e-12)


def flat(result):
    """The tensors of a result, packed sequences by their data."""
    if isinstance(result, (tuple, list)) and not hasattr(result, "batch_sizes"):
        return [t for part in result for t in flat(part)]
    return [result.data if hasattr(result, "batch_sizes") else result]


def compare(theirs, made, x, states=None, pack=None):
    """Results, and gradients of a weighted sum of all of them: to input, states and weights."""
    x.requires_grad_()
    mine = ours(x).requires_grad_()
    given = [] if states is None else list(states)
    for s in given:
        s.requires_grad_()
    own = [ours(s).requires_grad_() for s in given]
    hx = None if states is None else given[0] if len(given) == 1 else tuple(given)
    own_hx = None if states is None else own[0] if len(own) == 1 else tuple(own)
    if pack is None:
        want, got = theirs(x, hx), made(mine, own_hx)
    else:
        lengths, batch_first = pack
        theirs_packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first, False)
        ours_packed = rnn.pack_padded_sequence(mine, lengths.tolist(), batch_first, False)
        want, got = theirs(theirs_packed, hx), made(ours_packed, own_hx)
    weights = [torch.randn_like(t) for t in flat(want)]
    for a, b in zip(flat(got), flat(want), strict=True):
        close(a, b)
    sum((a * w).sum() for a, w in zip(flat(want), weights)).backward()
    sum((a * ours(w)).sum() for a, w in zip(flat(got), weights)).backward()
    wanted = [x, *given, *theirs.parameters()]
    for a, b in zip([mine, *own, *made.parameters()], wanted, strict=True):
        close(a.grad, b.grad)
    return got, want


def states_of(layer, *batch):
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    h = torch.randn(count, *batch, layer.proj_size or layer.hidden_size, dtype=torch.float64)
    if layer.mode != "LSTM":
        return [h]
    return [h, torch.randn(count, *batch, layer.hidden_size, dtype=torch.float64)]


def random(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_layers(kind):
    """Layers on top of each other, both directions, batch first or not, states given or not, without a batch."""
    name, options = KINDS[kind]
    theirs, made = pair(name, 3, 4, num_layers=2, bidirectional=True, **options)
    compare(theirs, made, random(5, 2, 3), states_of(theirs, 2))
    compare(theirs, made, random(5, 3), states_of(theirs))
    theirs, made = pair(name, 3, 4, bias=False, batch_first=True, **options)
    compare(theirs, made, random(2, 5, 3))
    compare(theirs, made, random(1, 1, 3), states_of(theirs, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences(kind):
    """Unlike lengths, both directions: results past the end are zeros, last states are those of each sequence's last step."""
    name, options = KINDS[kind]
    theirs, made = pair(name, 3, 4, num_layers=2, bidirectional=True, **options)
    lengths = torch.tensor([2, 5, 1, 5])
    got, want = compare(theirs, made, random(5, 4, 3), states_of(theirs, 4), (lengths, False))
    for a, b in zip(rnn.pad_packed_sequence(got[0]), torch.nn.utils.rnn.pad_packed_sequence(want[0])):
        close(a, b)
    for field in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        assert getattr(got[0], field).tolist() == getattr(want[0], field).tolist()
    compare(theirs, made, random(1, 3, 3), None, (torch.tensor([2]), True))


def test_more_layers():
    """An empty batch, one feature, a size of one, three layers, float32 by default."""
    theirs, made = pair("LSTM", 1, 1, num_layers=3)
    compare(theirs, made, random(3, 1, 1))
    assert made(dg.zeros(3, 0, 1, dtype=dg.float64))[0].shape == (3, 0, 1)
    layer = dg.nn.GRU(3, 4)
    assert layer.flatten_parameters() is None
    assert {p.dtype for p in layer.parameters()} == {dg.float32}
    assert all(float(p.abs().max()) <= 0.5 for p in layer.parameters())
    assert [len(weights) for weights in dg.nn.LSTM(3, 4, 2, proj_size=2).all_weights] == [5, 5]
    assert repr(dg.nn.RNN(3, 4, 2, "relu", False)) == repr(torch.nn.RNN(3, 4, 2, "relu", False))


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells(name):
    count = 2 if name == "LSTMCell" else 1
    for options in ({}, {"bias": False}, {"nonlinearity": "relu"} if name == "RNNCell" else {}):
        theirs, made = pair(name, 3, 4, **options)
        compare(theirs, made, random(2, 3), [random(2, 4) for _ in range(count)])
    compare(theirs, made, random(3), [random(4) for _ in range(count)])
    compare(theirs, made, random(2, 3))


@pytest.mark.parametrize("mode", ["lstm", "gru", "rnn_tanh", "lstm_iofc", "gru_zrh"])
@pytest.mark.parametrize("backwards", [False, True])
def test_second_gradients(mode, backwards):
    """Of a layer's first and last states, with lengths and without."""
    kind = mode.partition("_")[0]
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[kind]
    dg.manual_seed(0)
    sizes = [(3, 2, 2), (2, 2), *[(2, 2)] * (kind == "lstm"), (2 * gates, 2), (2 * gates, 2), (2 * gates,), (2 * gates,)]
    operands = [dg.randn(*size, dtype=dg.float64).requires_grad_() for size in sizes]
    live = dg.tensor([[True, True], [True, True], [False, True]])

    def layer(x, h, *rest):
        c, weights = (rest[0], rest[1:]) if kind == "lstm" else (None, rest)
        found = dg.ops.recurrent_layer(mode, x, h, c, *weights, None, live, backwards)
        return found[: 3 if kind == "lstm" else 2]

    assert dg.autograd.gradcheck(layer, operands)
    assert dg.autograd.gradgradcheck(layer, operands)


@pytest.mark.parametrize(("mode", "order"), [("lstm_iofc", (0, 3, 1, 2)), ("gru_zrh", (1, 0, 2))])
def test_gates_in_another_order(mode, order):
    """Weights whose gates lie in the order of ONNX give the bits of the same in the order of PyTorch, and their gradients."""
    dg.manual_seed(0)
    gates, size = len(order), 5
    x, h, c = dg.randn(4, 3, 2), dg.randn(3, size), dg.randn(3, size) if gates == 4 else None
    weights = [dg.randn(gates * size, *rest) for rest in ((2,), (size,), (), ())]
    found = []
    for name in (mode.partition("_")[0], mode):
        leaves = [weight.clone().requires_grad_() for weight in weights]
        given = leaves if name != mode else [dg.cat([dg.split(leaf, size)[i] for i in order]) for leaf in leaves]
        outputs = dg.ops.recurrent_layer(name, x, h, c, *given)
        outputs[0].pow(2).sum().backward()
        found.append([outputs[0], *(leaf.grad for leaf in leaves)])
    outputs, gradients = zip(*((each[0].detach().numpy(), each[1:]) for each in found))
    np.testing.assert_array_equal(*outputs)
    for a, b in zip(*gradients, strict=True):  # which add up the gates in another order
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)


def test_static_with_changing_sizes():
    """One capture for all lengths and batches; under strict the bits are dynamic mode's."""
    for strict in (True, False):
        dg.manual_seed(0)
        layer = dg.nn.LSTM(3, 4, num_layers=2, bidirectional=True)

        def step(x, layer=layer):
            output, (h, c) = layer(x)
            loss = (output * output).mean() + h.sum() * c.sum()
            loss.backward()
            gradients = [p.grad for p in layer.parameters()]
            layer.zero_grad()
            return output, loss, gradients

        static = dg.static(step, strict=strict)
        for time, batch in ((5, 2), (7, 3), (4, 6), (9, 2)):
            x = dg.randn(time, batch, 3)
            for a, b in zip(flat(static(x)), flat(step(x)), strict=True):
                if strict:
                    assert a.detach().numpy().tobytes() == b.detach().numpy().tobytes()
                else:
                    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-4, atol=1e-5)
        assert static.captures <= 2


def test_static_packed_sequences():
    """Lengths that are a tensor's values, sorted by the function or before."""
    dg.manual_seed(0)
    layer = dg.nn.GRU(3, 4, bidirectional=True)

    def run(x, lengths, enforce_sorted):
        packed = rnn.pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)
        output, h = layer(packed)
        padded, again = rnn.pad_packed_sequence(output)
        ((padded * padded).sum() + h.sum()).backward()
        gradients = [p.grad for p in layer.parameters()]
        layer.zero_grad()
        return padded, again, h, gradients

    static = dg.static(run, strict=True)
    for lengths in ([3, 5, 1], [2, 2, 4], [5, 5], [4, 3, 3]):
        given = dg.randn(5, len(lengths), 3), dg.tensor(lengths), lengths == sorted(lengths, reverse=True)
        for a, b in zip(flat(static(*given)), flat(run(*given)), strict=True):
            assert a.tolist() == b.tolist()


def test_in_loops_and_branches():
    """A layer, and cells, inside of a captured loop and branch, with their gradients."""
    dg.manual_seed(0)
    layer, cell = dg.nn.GRU(3, 4), dg.nn.LSTMCell(4, 4)

    def run(pieces):
        h, state = dg.zeros(1, 2, 4), (dg.zeros(2, 4), dg.zeros(2, 4))
        for piece in pieces:
            output, h = layer(piece, h)
            state = cell(output[-1], state)
            if h.sum() > 0:
                h = layer(piece[:1], h)[1]
        (state[0] * state[0] + h).sum().backward()
        gradients = [p.grad for p in (*layer.parameters(), *cell.parameters())]
        layer.zero_grad()
        cell.zero_grad()
        return h, gradients

    static = dg.static(run, strict=True)
    for count, time in ((9, 3), (12, 2)):
        pieces = dg.randn(count, time, 2, 3)
        for a, b in zip(flat(static(pieces)), flat(run(pieces)), strict=True):
            assert a.tolist() == b.tolist()


def test_functions_of_functions():
    """`vmap`, and forward mode against differences."""
    dg.manual_seed(0)
    layer = dg.nn.LSTM(3, 4, bidirectional=True, dtype=dg.float64)
    xs, t = dg.randn(3, 5, 2, 3, dtype=dg.float64), dg.randn(5, 2, 3, dtype=dg.float64)

    def outputs(x):
        return layer(x)[0]

    for a, b in zip(dg.func.vmap(outputs)(xs), xs, strict=True):
        close(a, outputs(b))
    _, tangent = dg.func.jvp(outputs, (xs[0],), (t,))
    step = 1e-6
    difference = (outputs(xs[0] + step * t) - outputs(xs[0] - step * t)) / (2 * step)
    np.testing.assert_allclose(tangent.detach().numpy(), difference.detach().numpy(), atol=1e-7)


def test_padded_and_packed():
    sequences = [[1.0, 2.0], [3.0], [4.0, 5.0, 6.0]]
    for options in ({}, {"batch_first": True}, {"padding_value": 7.0, "padding_side": "left"}):
        want = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in sequences], **options)
        got = rnn.pad_sequence([dg.tensor(s) for s in sequences], **options)
        assert got.tolist() == want.tolist()
    unpadded = rnn.unpad_sequence(rnn.pad_sequence([dg.tensor(s) for s in sequences]), dg.tensor([2, 1, 3]))
    assert [t.tolist() for t in unpadded] == sequences
    packed = rnn.pack_sequence([dg.tensor(s) for s in sequences], enforce_sorted=False)
    want = torch.nn.utils.rnn.pack_sequence([torch.tensor(s) for s in sequences], enforce_sorted=False)
    for a, b in zip(packed, want, strict=True):
        assert a.tolist() == b.tolist()
    assert [t.tolist() for t in rnn.unpack_sequence(packed)] == sequences
    longer, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=4)
    assert longer.tolist() == [[1, 2, -1, -1], [3, -1, -1, -1], [4, 5, 6, -1]] and lengths.tolist() == [2, 1, 3]
    assert packed.double().data.dtype == dg.float64 and packed.float() is packed


def test_dropout_between_layers():
    dg.manual_seed(0)
    layer = dg.nn.GRU(3, 8, num_layers=2, dropout=0.9)
    x = dg.randn(5, 2, 3)
    first, second = layer(x)[0], layer(x)[0]
    assert first.tolist() != second.tolist()
    layer.eval()
    assert layer(x)[0].tolist() == layer(x)[0].tolist()
    with pytest.warns(UserWarning, match="num_layers=1"):
        dg.nn.GRU(3, 8, dropout=0.5)


ERRORS = [
    (lambda: dg.nn.LSTM(3, 4)(dg.ones(0, 2, 3)), ValueError, "at least one step"),
    (lambda: dg.nn.LSTM(3, 4)(dg.ones(5, 2, 2)), ValueError, r"input_size = 3, got 2 of \(5, 2, 2\)"),
    (lambda: dg.nn.LSTM(3, 4)(dg.ones(5)), ValueError, "must have 3 dimensions"),
    (lambda: dg.nn.LSTM(3, 4)(dg.ones(5, 2, 3), dg.ones(1, 2, 4)), TypeError, r"a pair \(h_0, c_0\)"),
    (
        lambda: dg.nn.LSTM(3, 4)(dg.ones(5, 2, 3), (dg.ones(2, 2, 4), dg.ones(1, 2, 4))),
        ValueError,
        r"h_0 must have shape \(1, batch, 4\), got \(2, 2, 4\)",
    ),
    (lambda: dg.nn.GRU(3, 4)(dg.ones(5, 2, 3), dg.ones(1, 3, 4)), ValueError, "h_0 has 3 sequences, the input 2"),
    (lambda: dg.nn.GRU(3, 4)(dg.ones(5, 3), dg.ones(1, 3, 4)), ValueError, r"h_0 must have shape \(1, 4\)"),
    (lambda: dg.nn.GRU(3, 4)(dg.ones(5, 2, 3, dtype=dg.float64)), TypeError, "the weights are float32"),
    (lambda: dg.nn.LSTM(3, 4, proj_size=4), ValueError, "smaller than hidden_size"),
    (lambda: dg.nn.RNN(3, 0), ValueError, "hidden_size must be at least 1"),
    (lambda: dg.nn.RNN(3, 4.0), TypeError, "hidden_size must be an int"),
    (lambda: dg.nn.RNN(3, 4, nonlinearity="gelu"), ValueError, "'tanh' or 'relu'"),
    (lambda: dg.nn.GRU(3, 4, dropout=2), ValueError, "between 0 and 1"),
    (lambda: dg.nn.GRUCell(3, 4)(dg.ones(2, 2)), ValueError, "input_size = 3, got 2"),
    (lambda: dg.nn.GRUCell(3, 4)(dg.ones(2, 3), dg.ones(3, 4)), ValueError, r"h must have shape \(2, 4\), got \(3, 4\)"),
    (lambda: rnn.pack_padded_sequence(dg.ones(3, 2), [1, 2]), ValueError, "must not grow"),
    (lambda: rnn.pack_padded_sequence(dg.ones(3, 2), [2, 0]), ValueError, "at least 1"),
    (lambda: rnn.pack_padded_sequence(dg.ones(3, 2), [4, 1]), ValueError, "the input has 3 steps"),
    (lambda: rnn.pack_padded_sequence(dg.ones(3, 2), [3]), ValueError, "one number for each of 2 sequences"),
    (lambda: rnn.pad_sequence([dg.ones(3, 2), dg.ones(3, 1)]), ValueError, "may differ in their length only"),
    (lambda: rnn.pad_packed_sequence(rnn.pack_sequence([dg.ones(3)]), total_length=2), ValueError, "has 3 steps"),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_errors(number):
    call, error, text = ERRORS[number]
    with pytest.raises(dg.Error, match=text) as found:
        call()
    assert isinstance(found.value, error)


@pytest.mark.parametrize("lengths", [[3, 0], [4, 1]])
def test_lengths_out_of_range_in_static_functions(lengths):
    static = dg.static(lambda x, lengths: rnn.pack_padded_sequence(x, lengths).data)
    assert static(dg.ones(3, 2), dg.tensor([3, 1])).tolist() == [1, 1, 1, 1]
    with pytest.raises(IndexError, match=r"index .* is out of range for a dimension of size 3"):
        static(dg.ones(3, 2), dg.tensor(lengths))


def test_static_sequences_padded_to_a_total_length():
    """Unsorted lengths, a tensor or a list: values and gradients as PyTorch's; more steps than that are an index's error."""

    def run(given, lengths, pack, pad):
        padded, again = pad(pack(given, lengths, enforce_sorted=False), padding_value=-1.5, total_length=7)
        (padded * padded).sum().backward()
        return padded, again, given.grad

    static = dg.static(lambda x, lengths: run(x, lengths, rnn.pack_padded_sequence, rnn.pad_packed_sequence))
    there = torch.nn.utils.rnn
    for steps, lengths in ((6, [2, 6, 3]), (5, [5, 1, 5]), (7, [7, 7, 2])):
        x = torch.randn(steps, 3, 2, requires_grad=True)
        expected = run(x, torch.tensor(lengths), there.pack_padded_sequence, there.pad_packed_sequence)
        for given in (dg.tensor(lengths), lengths):
            for a, b in zip(static(ours(x).requires_grad_(), given), expected, strict=True):
                assert a.tolist() == b.tolist()
    with pytest.raises(IndexError, match="index 7 is out of range for a dimension of size 7"):
        static(dg.ones(8, 3, 2).requires_grad_(), dg.tensor([8, 1, 1]))
