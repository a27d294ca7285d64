import pytest
import torch
from torch.nn import functional as F

from nlpseq.nn.masks import dropout, locked_dropout
from nlpseq.nn.recurrent import CELLS, Layer, Recurrent, reverse

LENGTHS = [4, 1, 7, 3]
WIDTH = 9  # two columns are padding in every row
EVERY = [(cell, layers, both) for cell in CELLS for layers in (1, 2) for both in (False, True)]
every = pytest.mark.parametrize(("cell", "layers", "both"), EVERY)


def elman(x, h, w, mask):
    """h' = tanh(W x + U h + b) (Elman 1990)."""
    return (torch.tanh(w[0] @ x + w[2] + w[1] @ (h[0] * mask) + w[3]),)


def lstm(x, state, w, mask):
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000; gates i, f, g, o."""
    h, c = state
    i, f, g, o = (w[0] @ x + w[2] + w[1] @ (h * mask) + w[3]).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru(x, h, w, mask):
    """Cho et al. 2014, arXiv v1: the reset gate after the product; gates r, z, n."""
    xr, xz, xn = (w[0] @ x + w[2]).chunk(3)
    hr, hz, hn = (w[1] @ (h[0] * mask) + w[3]).chunk(3)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    n = torch.tanh(xn + r * hn)
    return ((1 - z) * n + z * h[0],)


STEP = {"gru": gru, "lstm": lstm, "rnn": elman}


def row_by_steps(layer, row, state=None, mask=1.0):
    """Outputs (S, H) and state (K, H) of one row (S, D), one token after the other."""
    w = [layer.rnn.weight_ih_l0, layer.rnn.weight_hh_l0, layer.rnn.bias_ih_l0, layer.rnn.bias_hh_l0]
    carried = tuple(row.new_zeros(layer.states, layer.rnn.hidden_size) if state is None else state)
    outputs = []
    for x in row:
        carried = STEP[layer.cell](x, carried, w, mask)
        outputs.append(carried[0])
    return torch.stack(outputs), torch.stack(carried)


def stack_by_steps(net, row):
    finals = []
    for level in range(0, len(net.layers), net.directions):
        outputs, final = row_by_steps(net.layers[level], row)
        finals.append(final)
        if net.directions == 2:
            back, final = row_by_steps(net.layers[level + 1], row.flip(0))
            outputs = torch.cat([outputs, back.flip(0)], 1)
            finals.append(final)
        row = outputs
    return row, torch.cat(finals)


def made(cell, layers, both, dtype=torch.float32, **dropout):
    torch.manual_seed(3)
    net = Recurrent(cell, 5, 6, layers=layers, bidirectional=both, **dropout).to(dtype)
    inputs = torch.randn(len(LENGTHS), WIDTH, 5, dtype=dtype)
    return net, inputs, torch.tensor(LENGTHS)


def gradients(value, tensors):
    return torch.autograd.grad(value, tensors)


@every
def test_values_and_gradients_are_those_of_the_equations(cell, layers, both):
    net, inputs, lengths = made(cell, layers, both, torch.float64)
    inputs.requires_grad_()
    outputs, state = net(inputs, lengths)
    rows = [stack_by_steps(net, inputs[i, :n]) for i, n in enumerate(LENGTHS)]
    for i, (expected, final) in enumerate(rows):
        torch.testing.assert_close(outputs[i, : LENGTHS[i]], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(state[i], final, rtol=0, atol=1e-12)

    weigh = torch.randn(WIDTH, outputs.shape[2], dtype=torch.float64), torch.randn_like(state[0])
    pairs = [(outputs[i, :n], state[i]) for i, n in enumerate(LENGTHS)], rows
    values = [sum((o * weigh[0][: len(o)]).sum() + (s * weigh[1]).sum() for o, s in side) for side in pairs]
    wanted = [inputs, *net.parameters()]
    for ours, theirs in zip(*(gradients(value, wanted) for value in values), strict=True):
        assert theirs.abs().max() > 1e-3
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@every
def test_right_padding_moves_nothing(cell, layers, both):
    net, inputs, lengths = made(cell, layers, both)
    outputs, state = net(inputs, lengths)
    for i, n in enumerate(LENGTHS):
        alone, last = net(inputs[i : i + 1, :n])
        torch.testing.assert_close(outputs[i, :n], alone[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(state[i], last[0], rtol=0, atol=1e-6)


@every
def test_what_stands_at_padding_counts_for_nothing(cell, layers, both):
    net, inputs, lengths = made(cell, layers, both)
    real = (torch.arange(WIDTH) < lengths[:, None])[..., None]
    other = torch.where(real, inputs, 100 * torch.randn_like(inputs)).requires_grad_()
    outputs, state = net(inputs, lengths)
    changed, moved = net(other, lengths)
    assert torch.equal(state, moved)
    assert torch.equal(outputs * real, torch.where(real, changed, 0.0))
    (gradient,) = gradients((changed * real).sin().sum() + moved.sin().sum(), [other])
    assert not gradient[~real[..., 0]].any()
    assert gradient[real[..., 0]].abs().sum(1).min() > 0


def test_the_frozen_cell_is_the_cell_of_the_unpadded_run_to_the_bit():
    layer = Layer("lstm", 8, 32)
    # Products of these with the inputs are exact in any order, so that only freezing itself could show.
    layer.rnn.weight_ih_l0.data = torch.randint(-8, 9, (128, 8)) / 16.0
    for scale in (1.0, 50.0):
        inputs = torch.randint(-8, 9, (4, 12, 8)) / 8.0 * scale
        _, whole = layer(inputs[:, :5])
        _, padded = layer(inputs, torch.tensor([5, 5, 5, 5]))
        assert torch.equal(whole, padded)


@every
def test_the_state_is_that_of_a_rows_ends(cell, layers, both):
    net, inputs, lengths = made(cell, layers, both)
    outputs, state = net(inputs, lengths)
    last = outputs[torch.arange(4), lengths - 1, :6]
    expected = torch.cat([last, outputs[:, 0, 6:]], 1) if both else last
    assert torch.equal(net.top(state), expected)
    assert state.shape == (4, net.states, 6)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_state_carries_a_sequence_on(cell, layers):
    net, inputs, _ = made(cell, layers, False)
    whole, end = net(inputs)
    first, state = net(inputs[:, :4])
    second, carried = net(inputs[:, 4:], None, state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(carried, end, rtol=0, atol=1e-6)
    reached, padded = net(inputs, torch.tensor([3, 9, 1, 5]), state)
    torch.testing.assert_close(padded[0], net(inputs[:1, :3], None, state[:1])[1][0], rtol=0, atol=1e-6)
    assert not torch.equal(reached, whole)


def test_textbook_gru_by_its_mapping_of_weights():
    """Version 3, r * h before the product, is the same map where W_hn is diagonal and b_hn is 0."""
    layer = Layer("gru", 3, 4).double()
    w_ih, w_hh = layer.rnn.weight_ih_l0.data, layer.rnn.weight_hh_l0.data
    b_ih, b_hh = layer.rnn.bias_ih_l0.data, layer.rnn.bias_hh_l0.data
    w_hh[8:] = torch.diag(w_hh[8:].diagonal())
    b_hh[8:] = 0
    row = torch.randn(6, 3, dtype=torch.float64)
    h = torch.zeros(4, dtype=torch.float64)
    for x in row:
        r = torch.sigmoid(w_ih[:4] @ x + b_ih[:4] + w_hh[:4] @ h + b_hh[:4])
        z = torch.sigmoid(-(w_ih[4:8] @ x + b_ih[4:8] + w_hh[4:8] @ h + b_hh[4:8]))  # the weights of z change sign
        new = torch.tanh(w_ih[8:] @ x + b_ih[8:] + w_hh[8:] @ (r * h))
        h = (1 - z) * h + z * new
    torch.testing.assert_close(layer(row[None])[1][0, 0], h, rtol=0, atol=1e-12)
    w_hh[8:] += 0.1
    assert not torch.allclose(layer(row[None])[1][0, 0], h)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("padded", [False, True])
def test_recurrent_dropout_is_the_masked_step_loop(cell, padded):
    layer = Layer(cell, 5, 8, recurrent_dropout=0.5).double()
    inputs = torch.randn(4, WIDTH, 5, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor(LENGTHS) if padded else None
    torch.manual_seed(11)
    outputs, state = layer(inputs, lengths)
    torch.manual_seed(11)
    mask = F.dropout(torch.ones(1, 8, dtype=torch.float64), 0.5)[0]
    assert set(mask.tolist()) == {0.0, 2.0}
    rows = [row_by_steps(layer, inputs[i, : LENGTHS[i] if padded else WIDTH], mask=mask) for i in range(4)]
    for i, (expected, final) in enumerate(rows):
        torch.testing.assert_close(outputs[i, : len(expected)], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(state[i], final, rtol=0, atol=1e-12)
    wanted = [inputs, *layer.parameters()]
    ours, theirs = gradients(state.sum(), wanted), gradients(sum(final.sum() for _, final in rows), wanted)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout"])
@pytest.mark.parametrize("cell", CELLS)
def test_dropout_is_off_in_eval_and_new_in_every_batch(cell, kind):
    net, inputs, lengths = made(cell, 2, True, **{kind: 0.5})
    plain = made(cell, 2, True)[0]
    plain.load_state_dict(net.state_dict())
    assert not torch.allclose(net(inputs, lengths)[1], net(inputs, lengths)[1])
    assert torch.equal(net.eval()(inputs, lengths)[1], plain(inputs, lengths)[1])


@pytest.mark.parametrize("recurrent_dropout", [0.0, 0.5])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_weights_start_orthogonal_gate_by_gate(cell, recurrent_dropout):
    for gate in Layer(cell, 3, 16, recurrent_dropout=recurrent_dropout).rnn.weight_hh_l0.split(16):
        torch.testing.assert_close(gate @ gate.T, torch.eye(16), rtol=0, atol=1e-5)


def test_reverse_leaves_the_padding_behind():
    tokens = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [9, 0, 0, 0, 0]])
    there = reverse(tokens[..., None], torch.tensor([3, 5, 1]))
    assert there[..., 0].tolist() == [[3, 2, 1, 0, 0], [8, 7, 6, 5, 4], [9, 0, 0, 0, 0]]
    assert torch.equal(reverse(there, torch.tensor([3, 5, 1]))[..., 0], tokens)


def test_locked_dropout_has_one_mask_for_all_tokens_of_a_row():
    inputs = torch.rand(200, 7, 50) + 0.5
    dropped = locked_dropout(inputs, 0.25, True)
    factors = dropped / inputs
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors))
    assert set(torch.unique((factors * 3).round()).tolist()) == {0.0, 4.0}  # 0 and 1 / 0.75
    assert (factors[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert not torch.equal(factors[0], factors[1])
    assert locked_dropout(inputs, 0.25, False) is inputs
    assert locked_dropout(inputs, 0.0, True) is inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_zeroes_its_share_and_keeps_the_mean(dtype):
    inputs = torch.ones(500, 1001, dtype=dtype, requires_grad=True)  # not a multiple of the four elements of a draw
    dropped = dropout(inputs, 0.3, True)
    kept = dropped.detach() != 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.003)
    columns = kept.float().mean(0)
    assert columns.min() > 0.7 - 0.12 < 0.7 + 0.12 > columns.max()  # six deviations: no place of a draw is special
    assert dropped.detach()[kept].unique().item() == pytest.approx(1 / 0.7, rel=0.004)
    neighbours = torch.corrcoef(kept[:, :8].float().T) - torch.eye(8)
    assert neighbours.abs().max() < 0.3
    dropped.sum().backward()
    assert torch.equal(inputs.grad != 0, kept)


def test_dropout_is_off_in_eval_and_at_0():
    inputs = torch.ones(3, 4)
    assert dropout(inputs, 0.3, False) is inputs
    assert dropout(inputs, 0.0, True) is inputs
