from itertools import product

import pytest
import torch
from torch.nn import functional as F

from nlpseq.nn.recurrent import CELLS
from nlpseq.nn.seq2seq import DecoderState, Dropout, EncoderDecoder, Shape

SHAPES = [
    Shape(11, 13, 6, 8, cell, layers, bidirectional, every, every == bidirectional)
    for cell, layers, bidirectional, every in product(CELLS, (1, 2), (False, True), (False, True))
]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(map(str, s[4:])))
SOURCE = torch.tensor([[5, 6, 7, 8, 3], [9, 3, 0, 0, 0], [10, 4, 3, 0, 0]])
LENGTHS = torch.tensor([5, 2, 3])
FED = torch.tensor([[2, 5, 12, 7], [2, 6, 6, 8], [2, 11, 4, 9]])


def made(shape, dropout=None):
    torch.manual_seed(5)
    return EncoderDecoder(shape, dropout or Dropout()).double()


@every_shape
def test_steps_give_what_teacher_forcing_gives(shape):
    model = made(shape).eval()
    first = model.encode(SOURCE, LENGTHS)
    features, end = model.decode(first, FED)
    state, logits = first, []
    for column in FED.T:
        step, state = model.step(column, state)
        logits.append(step)
    torch.testing.assert_close(torch.stack(logits, 1), model.output(features), rtol=0, atol=1e-12)
    torch.testing.assert_close(state.recurrent, end.recurrent, rtol=0, atol=1e-12)
    assert torch.equal(state.context, end.context)


@every_shape
def test_features_see_no_later_token_and_every_earlier_one(shape):
    model = made(shape).eval()
    first = model.encode(SOURCE, LENGTHS)
    whole = model.decode(first, FED)[0]
    for place in range(FED.shape[1]):
        changed = FED.clone()
        changed[:, place] = 1
        moved = (model.decode(first, changed)[0] - whole).abs().amax((0, 2)) > 1e-12
        assert moved.tolist() == [at >= place for at in range(FED.shape[1])]


@every_shape
def test_padding_of_the_source_moves_nothing(shape):
    model = made(shape).eval()
    state = model.encode(SOURCE, LENGTHS)
    wider = model.encode(torch.cat([SOURCE, torch.full((3, 4), 7)], 1), LENGTHS)
    for ours, other in zip(state, wider, strict=True):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-12)
    alone = model.encode(SOURCE[1:2, :2], LENGTHS[1:2])
    torch.testing.assert_close(alone.recurrent[0], state.recurrent[1], rtol=0, atol=1e-12)


@every_shape
def test_every_parameter_gets_a_gradient(shape):
    model = made(shape)
    features, _ = model.decode(model.encode(SOURCE, LENGTHS), FED)
    F.cross_entropy(model.output(features).flatten(0, 1), FED.flatten()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-8, name


@every_shape
def test_the_context_is_seen_at_every_step_or_once(shape):
    model = made(shape).eval()
    state = model.encode(SOURCE, LENGTHS)
    other = DecoderState(state.recurrent, state.context + 1)
    change = (model.decode(state, FED)[0] - model.decode(other, FED)[0]).abs().amax((0, 2))
    assert (change > 1e-6).tolist() == [shape.context_at_every_step] * 4
    blank = DecoderState(torch.zeros_like(state.recurrent), state.context)
    assert not torch.allclose(model.decode(state, FED)[0], model.decode(blank, FED)[0])


@pytest.mark.parametrize("shape", [s for s in SHAPES if s.bidirectional], ids=lambda s: f"{s.cell}-{s.layers}")
def test_the_bridge_joins_both_directions_of_each_layer(shape):
    model = made(shape).eval()
    state = model.encode(SOURCE, LENGTHS)
    _, both = model.encoder(model.source_embedding(SOURCE), LENGTHS)
    kinds = 2 if shape.cell == "lstm" else 1  # h, and for the LSTM c
    forward = [2 * kinds * layer + kind for layer in range(shape.layers) for kind in range(kinds)]
    expected = [torch.tanh(model.bridge(torch.cat([both[:, k], both[:, k + kinds]], 1))) for k in forward]
    torch.testing.assert_close(state.recurrent, torch.stack(expected, 1))
    outputs, _ = model.encoder(model.source_embedding(SOURCE), LENGTHS)
    ends = torch.cat([outputs[torch.arange(3), LENGTHS - 1, :8], outputs[:, 0, 8:]], 1)
    torch.testing.assert_close(state.context, ends)


def test_one_direction_hands_its_last_state_over():
    model = made(Shape(11, 13, 6, 8, "lstm", 2)).eval()
    state = model.encode(SOURCE, LENGTHS)
    _, last = model.encoder(model.source_embedding(SOURCE), LENGTHS)
    assert torch.equal(state.recurrent, last)
    assert torch.equal(state.context, last[:, 2])  # h of the second layer, after h and c of the first


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_are_one_tensor(tied):
    model = made(Shape(11, 13, 6, 8, tied=tied))
    assert (model.output.weight is model.target_embedding.weight) is tied
    sizes = [tuple(p.shape) for p in model.parameters()]
    assert sizes.count((13, 6)) == (1 if tied else 2)
    assert sizes.count((11, 6)) == 1


@pytest.mark.parametrize("kind", Dropout._fields)
def test_each_dropout_acts_in_training_and_never_in_eval(kind):
    model = made(Shape(11, 13, 6, 8, layers=2), Dropout(**{kind: 0.5}))

    def features():
        return model.decode(model.encode(SOURCE, LENGTHS), FED)[0]

    assert not torch.allclose(features(), features())
    model.eval()
    plain = made(Shape(11, 13, 6, 8, layers=2)).eval()
    assert torch.equal(features(), plain.decode(plain.encode(SOURCE, LENGTHS), FED)[0])


def test_without_dropout_training_is_evaluation():
    model = made(Shape(11, 13, 6, 8, layers=2))
    trained = model.decode(model.encode(SOURCE, LENGTHS), FED)[0]
    torch.testing.assert_close(model.eval().decode(model.encode(SOURCE, LENGTHS), FED)[0], trained, rtol=0, atol=1e-12)
