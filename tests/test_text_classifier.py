import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nlpseq.nn.classifier import ClassifierDropout, ClassifierShape, Convolution, TextClassifier

LENGTHS = torch.tensor([9, 1, 4, 6])
SHAPE = ClassifierShape(20, 3, 5, 6)
KINDS = [
    {"pooling": "max"},
    {"pooling": "mean", "cell": "gru"},
    {"pooling": "last", "cell": "lstm", "layers": 2},
    {"pooling": "last", "cell": "rnn", "bidirectional": False},
    {"pooling": "last", "cell": "peephole"},
    {"pooling": "max", "convolution": Convolution(7, 3, 2)},
    {"pooling": "last", "cell": "gru", "convolution": Convolution(4, 4, 3), "bidirectional": False},
]
every = pytest.mark.parametrize("kind", KINDS, ids=str)


def made(kind=KINDS[0], **dropout):
    torch.manual_seed(2)
    tokens = torch.randint(1, 20, (4, 9)) * (torch.arange(9) < LENGTHS[:, None])
    return TextClassifier(SHAPE._replace(**kind), ClassifierDropout(**dropout)).double(), tokens


@every
def test_padding_moves_nothing(kind):
    model, tokens = made(kind)
    model.eval()
    whole = model(tokens, LENGTHS)
    wider = F.pad(tokens, (0, 5), value=7)
    torch.testing.assert_close(model(wider, LENGTHS), whole, rtol=0, atol=1e-12)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(tokens[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-12)


def row_by_hand(model, tokens):
    """The logits of one row, without padding, from torch's own layers."""
    shape = model.shape
    inputs = model.embedding.weight[tokens][None]
    if shape.convolution:
        _, width, pool = shape.convolution
        before = (width - 1) // 2
        padded = F.pad(inputs, (0, 0, before, width - 1 - before))[0]
        found = torch.stack([
            torch.relu(torch.einsum("fdw,wd->f", model.convolution.weight, padded[at : at + width])
                       + model.convolution.bias) for at in range(len(tokens))
        ])  # fmt: skip
        inputs = torch.stack([found[at : at + pool].amax(0) for at in range(0, len(tokens), pool)])[None]
    kinds = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
    net = kinds[shape.cell](
        inputs.shape[2], shape.hidden_size, shape.layers, batch_first=True, bidirectional=shape.bidirectional
    ).double()
    ours = [weight for layer in model.recurrent.layers for weight in layer.rnn.all_weights[0]]
    for theirs, weight in zip([w for group in net.all_weights for w in group], ours, strict=True):
        theirs.data = weight.data
    outputs = net(inputs)[0][0]
    h = shape.hidden_size
    pooled = {"max": outputs.amax(0), "mean": outputs.mean(0), "last": torch.cat([outputs[-1, :h], outputs[0, h:]])}
    return model.output(pooled[shape.pooling])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.get("cell") != "peephole"], ids=str)
def test_logits_are_those_of_torchs_own_layers(kind):
    model, tokens = made(kind)
    found = model.eval()(tokens, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        torch.testing.assert_close(found[row], row_by_hand(model, tokens[row, :length]), rtol=0, atol=1e-12)


@every
def test_the_largest_value_counts_where_all_are_negative(kind):
    model, tokens = made(kind)
    with torch.no_grad():
        for layer in model.recurrent.layers:
            layer.rnn.bias_ih_l0.fill_(-5.0)
            layer.rnn.bias_hh_l0[: 2 * 6] = 9.0
    assert torch.isfinite(model.eval()(tokens, LENGTHS)).all()


@pytest.mark.parametrize("kind", ["word", "embedding", "layer", "recurrent", "output"])
def test_each_dropout_is_on_in_training_only(kind):
    shape = {"layers": 2}
    model, tokens = made(shape, **{kind: 0.5})
    assert not torch.equal(model(tokens, LENGTHS), model(tokens, LENGTHS))
    plain = made(shape)[0]
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(tokens, LENGTHS), plain.eval()(tokens, LENGTHS))


@pytest.mark.parametrize(("pooling", "cell", "scale"), [("max", "rnn", 0.5), ("last", "rnn", 1.0), ("max", "gru", 1.0)])
def test_a_simple_network_that_is_pooled_has_a_short_memory_to_begin_with(pooling, cell, scale):
    model, _ = made({"pooling": pooling, "cell": cell, "layers": 2})
    for layer in model.recurrent.layers:
        gate = layer.rnn.weight_hh_l0[:6]
        torch.testing.assert_close(gate @ gate.T, scale**2 * torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-6)


def test_word_dropout_hides_whole_tokens(monkeypatch):
    model, tokens = made(word=0.5)
    seen = []
    run = model.recurrent.outputs
    monkeypatch.setattr(model.recurrent, "outputs", lambda inputs, lengths: seen.append(inputs) or run(inputs, lengths))
    model(tokens, LENGTHS)
    hidden = (seen[0] == 0).all(2)
    assert 0.2 < hidden.double().mean() < 0.8
    expected = 2 * model.embedding(tokens)
    torch.testing.assert_close(seen[0][~hidden], expected[~hidden])
