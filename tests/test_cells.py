"""The reference cells against the equations, written out once more in numbers, and the fused layers against them."""

import math

import pytest
import torch
from torch import nn

from nlpseq.nn import cells
from nlpseq.nn.cells import GRUCell, LSTMCell, PeepholeLSTMCell, SimpleCell, TextbookGRUCell, Weights, unroll
from nlpseq.nn.recurrent import Layer, Recurrent

D, H = 3, 4
GATES = {SimpleCell: 1, LSTMCell: 4, PeepholeLSTMCell: 4, GRUCell: 3, TextbookGRUCell: 3}


def drawn(kind, seed=5):
    torch.manual_seed(seed)
    rows = GATES[kind] * H
    shapes = ((rows, D), (rows, H), (rows,), (rows,))
    weights = Weights(*(torch.randn(shape, dtype=torch.float64) for shape in shapes))
    return weights._replace(peepholes=torch.randn(3, H, dtype=torch.float64)) if kind is PeepholeLSTMCell else weights


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand(kind, w, x, h, c):
    """One step in plain numbers, unit by unit: h and c after it."""

    def dot(matrix, row, vector):
        return sum(float(a) * b for a, b in zip(matrix[row], vector, strict=True))

    def given(gate, unit):
        row = gate * H + unit
        return dot(w.inputs, row, x) + float(w.input_bias[row])

    def kept(gate, unit, seen=h):
        row = gate * H + unit
        return dot(w.recurrent, row, seen) + float(w.recurrent_bias[row])

    def both(gate, unit):
        return given(gate, unit) + kept(gate, unit)

    units = range(H)
    if kind is SimpleCell:
        return [math.tanh(both(0, u)) for u in units], None
    if kind in (LSTMCell, PeepholeLSTMCell):
        peep = w.peepholes.tolist() if w.peepholes is not None else [[0.0] * H] * 3
        i = [sigmoid(both(0, u) + peep[0][u] * c[u]) for u in units]
        f = [sigmoid(both(1, u) + peep[1][u] * c[u]) for u in units]
        new = [f[u] * c[u] + i[u] * math.tanh(both(2, u)) for u in units]
        o = [sigmoid(both(3, u) + peep[2][u] * new[u]) for u in units]
        return [o[u] * math.tanh(new[u]) for u in units], new
    r, z = [sigmoid(both(0, u)) for u in units], [sigmoid(both(1, u)) for u in units]
    if kind is GRUCell:
        n = [math.tanh(given(2, u) + r[u] * kept(2, u)) for u in units]
        return [(1 - z[u]) * n[u] + z[u] * h[u] for u in units], None
    reset = [r[u] * h[u] for u in units]
    n = [math.tanh(given(2, u) + kept(2, u, reset)) for u in units]
    return [z[u] * n[u] + (1 - z[u]) * h[u] for u in units], None


@pytest.mark.parametrize("kind", GATES)
def test_a_step_is_that_of_the_equations(kind):
    weights = drawn(kind)
    h, c = torch.randn(2, 1, H, dtype=torch.float64).unbind(0)
    state = (h, c) if GATES[kind] == 4 else (h,)
    x = torch.randn(1, D, dtype=torch.float64)
    found = kind(weights).step(x, state)
    expected = by_hand(kind, weights, x[0].tolist(), h[0].tolist(), c[0].tolist())
    for ours, theirs in zip(found, expected, strict=False):
        assert ours[0].tolist() == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("kind", GATES)
def test_gradients_are_those_of_finite_differences(kind):
    weights = drawn(kind)
    parts = [part.requires_grad_() for part in weights if part is not None]
    inputs = torch.randn(2, 3, D, dtype=torch.float64, requires_grad=True)

    def value(x, *given):
        first = (torch.zeros(2, H, dtype=torch.float64),) * (2 if GATES[kind] == 4 else 1)
        return unroll(kind(Weights(*given)), x, first, lengths=torch.tensor([3, 2]))[0]

    assert torch.autograd.gradcheck(value, (inputs, *parts))


@pytest.mark.parametrize(
    ("kind", "module"), [(SimpleCell, nn.RNN), (LSTMCell, nn.LSTM), (GRUCell, nn.GRU)], ids=lambda it: it.__name__
)
def test_torch_computes_the_same(kind, module):
    fused = module(D, H, batch_first=True).double()
    inputs = torch.randn(2, 6, D, dtype=torch.float64)
    first = (torch.zeros(2, H, dtype=torch.float64),) * (2 if kind is LSTMCell else 1)
    outputs, _ = unroll(kind(Weights(*fused.all_weights[0])), inputs, first)
    torch.testing.assert_close(outputs, fused(inputs)[0], rtol=0, atol=1e-12)


def test_the_textbooks_gru_is_torchs_where_its_recurrence_is_diagonal():
    weights = drawn(GRUCell)
    recurrent, bias = weights.recurrent.clone(), weights.recurrent_bias.clone()
    recurrent[2 * H :] = torch.diag(torch.randn(H, dtype=torch.float64))
    bias[2 * H :] = 0
    diagonal = weights._replace(recurrent=recurrent, recurrent_bias=bias)
    inputs, first = torch.randn(2, 5, D, dtype=torch.float64), (torch.zeros(2, H, dtype=torch.float64),)

    def outputs(kind, w):
        return unroll(kind(w), inputs, first)[0]

    mapped = cells.textbook_weights(diagonal)
    torch.testing.assert_close(outputs(TextbookGRUCell, mapped), outputs(GRUCell, diagonal), rtol=0, atol=1e-12)
    torch.testing.assert_close(cells.textbook_weights(mapped), diagonal)
    full = cells.textbook_weights(weights)
    assert not torch.allclose(outputs(TextbookGRUCell, full), outputs(GRUCell, weights), atol=1e-3)


def test_without_peepholes_it_is_the_lstm():
    weights = drawn(LSTMCell)
    inputs, first = torch.randn(2, 5, D, dtype=torch.float64), (torch.zeros(2, H, dtype=torch.float64),) * 2
    closed = weights._replace(peepholes=torch.zeros(3, H, dtype=torch.float64))
    assert torch.equal(*(unroll(cell, inputs, first)[0] for cell in (LSTMCell(weights), PeepholeLSTMCell(closed))))
    with pytest.raises(ValueError, match="`peepholes` must be given"):
        PeepholeLSTMCell(weights).step(inputs[:, 0], first)


@pytest.mark.parametrize("cell", ["gru", "lstm", "peephole", "rnn"])
def test_a_layers_reference_is_the_layer(cell):
    layer = Layer(cell, D, H).double()
    if cell == "peephole":
        nn.init.normal_(layer.peepholes)
    inputs, lengths = torch.randn(3, 6, D, dtype=torch.float64), torch.tensor([6, 1, 4])
    first = (torch.zeros(3, H, dtype=torch.float64),) * layer.states
    outputs, last = unroll(layer.reference, inputs, first, lengths=lengths)
    found, state = layer(inputs, lengths)
    torch.testing.assert_close(state, torch.stack(last, 1), rtol=0, atol=1e-12)
    for row, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(found[row, :length], outputs[row, :length], rtol=0, atol=1e-12)


def test_peepholes_in_both_directions_and_two_layers_ignore_padding():
    torch.manual_seed(1)
    net = Recurrent("peephole", D, H, layers=2, bidirectional=True).double()
    for layer in net.layers:
        nn.init.normal_(layer.peepholes)
    inputs, lengths = torch.randn(3, 7, D, dtype=torch.float64), torch.tensor([7, 2, 5])
    outputs, state = net(inputs, lengths)
    assert state.shape == (3, net.states, H) == (3, 8, H)
    for row, length in enumerate(lengths.tolist()):
        alone, last = net(inputs[row : row + 1, :length])
        torch.testing.assert_close(outputs[row, :length], alone[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(state[row], last[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", ["gru", "lstm", "peephole", "rnn"])
def test_a_mask_for_each_row_is_gals_dropout(cell):
    net = Recurrent(cell, D, H, recurrent_dropout=0.5).double()
    net.mask_each_row()
    layer = net.layers[0]
    inputs, lengths = torch.randn(9, 6, D, dtype=torch.float64), torch.full((9,), 6)
    torch.manual_seed(3)
    found, _ = layer(inputs, lengths)
    torch.manual_seed(3)
    mask = nn.functional.dropout(torch.ones(9, H, dtype=torch.float64), 0.5)
    assert len(mask.unique(dim=0)) > 3
    for row in range(9):
        state = (torch.zeros(1, H, dtype=torch.float64),) * layer.states
        for step, x in enumerate(inputs[row]):
            w = layer.reference.weights
            if cell == "gru":
                state = layer.reference.step(x[None], state, mask[row][None])
            else:  # a state of which the weights see a part is the same as weights of which columns are 0
                state = type(layer.reference)(w._replace(recurrent=w.recurrent * mask[row])).step(x[None], state)
            torch.testing.assert_close(found[row, step], state[0][0], rtol=0, atol=1e-12)
    assert torch.equal(layer.eval()(inputs, lengths)[0], layer(inputs, lengths)[0])
