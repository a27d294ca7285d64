"""The recurrent language model: a step is a pass over one unit, states go on, dropouts drop."""

import pytest
import torch
from torch.nn import functional as F

from nlpseq.nn.lm import LMDropout, LMShape, RecurrentLM
from nlpseq.nn.recurrent import Recurrent
from nlpseq.nn.residual import Residual

PLAIN, RESIDUAL, WHOLE = {}, {"residual": True}, {"residual": True, "feed_forward": 16}


def network(cell="lstm", *, blocks=PLAIN, tied=True, layers=2, **drops):
    torch.manual_seed(0)
    return RecurrentLM(LMShape(20, 8, 12, cell=cell, layers=layers, tied=tied, **blocks), LMDropout(**drops))


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("blocks", [PLAIN, RESIDUAL, WHOLE])
def test_steps_give_what_a_pass_gives(cell, tied, blocks):
    model = network(cell, tied=tied, blocks=blocks).eval()
    tokens = torch.randint(20, (3, 7))
    with torch.no_grad():
        features, last = model(tokens)
        state = None
        for place in range(7):
            now, state = model.step(tokens[:, place], state)
            torch.testing.assert_close(now, features[:, place], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(state, last, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("blocks", [PLAIN, WHOLE])
def test_a_text_in_two_parts_is_the_text_in_one(cell, blocks):
    model = network(cell, blocks=blocks).eval()
    tokens = torch.randint(20, (3, 9))
    whole, last = model(tokens)
    first, state = model(tokens[:, :4])
    second, end = model(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)
    torch.testing.assert_close(end, last)


def test_tied_weights_are_one_and_untied_are_not():
    tied, untied = network(tied=True), network(tied=False)
    assert tied.output.weight is tied.embedding.weight
    assert tied.output.weight.shape == (20, 8)
    assert untied.output.weight.shape == (20, 12)
    assert sum(p.numel() for p in untied.parameters()) == sum(p.numel() for p in tied.parameters()) + 20 * 12 - 8 * 13


@pytest.mark.parametrize("name", ["word", "embedding", "layer", "recurrent", "output"])
@pytest.mark.parametrize("blocks", [PLAIN, RESIDUAL])
def test_every_dropout_drops_in_training_alone(name, blocks):
    model = network(blocks=blocks, **{name: 0.5})
    tokens = torch.randint(20, (4, 6))
    model.eval()
    assert torch.equal(model(tokens)[0], model(tokens)[0])
    model.train()
    assert not torch.equal(model(tokens)[0], model(tokens)[0])


def test_word_dropout_takes_whole_words_and_output_dropout_is_locked():
    model = network(layers=1, word=0.5, tied=False)
    seen = []
    model.stack.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(torch.arange(20).repeat(2, 1))
    assert torch.equal(seen[0][0], seen[0][1])  # one mask for the table
    assert 0 < (seen[0][0] == 0).all(1).sum() < 20
    model = network(layers=1, output=0.5, tied=False)
    features, _ = model(torch.randint(20, (2, 9)))
    dropped = features == 0
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert dropped.any()


@pytest.mark.parametrize("feed_forward", [0, 7])
def test_residual_blocks_are_their_definition(feed_forward):
    torch.manual_seed(0)
    blocks = Residual(5, 6, layers=2, feed_forward=feed_forward)
    stack = Recurrent("gru", 6, 6, layers=2)
    stack.blocks = blocks
    stack = stack.double().eval()
    inputs = torch.randn(3, 4, 5, dtype=torch.float64)
    for weights in stack.parameters():  # norms that do nothing would not be seen
        weights.data += 0.1 * torch.randn_like(weights)

    def norm(x, layer):
        spread = (x - x.mean(2, keepdim=True)) / (x.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
        return spread * layer.weight + layer.bias

    total = norm(inputs @ blocks.entry[0].weight.T + blocks.entry[0].bias, blocks.entry[1])
    for number, layer in enumerate(stack.layers):
        total = total + layer(norm(total, blocks.norms[number]))[0]
        if feed_forward:
            first, wide, _, narrow = blocks.further[number]
            total = total + narrow(F.gelu(wide(norm(total, first))))
    torch.testing.assert_close(stack(inputs)[0], norm(total, blocks.exit))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("blocks", [PLAIN, RESIDUAL])
def test_a_new_model_knows_nothing(tied, blocks):
    torch.manual_seed(0)
    model = RecurrentLM(LMShape(71, 64, 64, layers=2, tied=tied, **blocks), LMDropout()).eval()
    tokens = torch.randint(71, (4, 30))
    logits = model.output(model(tokens)[0])
    chance = torch.tensor(71.0).log().item()
    assert F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).item() < chance + 0.8
    assert F.cross_entropy(logits.flatten(0, 1), tokens.flatten()).item() > chance - 0.8  # nor says what was just read


@pytest.mark.parametrize("embed_size", [8, 12])
def test_sums_of_residual_blocks_are_float32_under_autocast(embed_size):
    seen = []
    model = RecurrentLM(LMShape(20, embed_size, 12, tied=False, **WHOLE), LMDropout())
    model.stack.blocks.exit.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.zeros(2, 3, dtype=torch.int64))
    assert seen == [torch.float32]


def test_a_step_is_refused_where_it_would_be_another_network():
    inputs = torch.zeros(2, 4)
    backwards, peepholes, training = (
        Recurrent("gru", 4, 4, bidirectional=True),
        Recurrent("peephole", 4, 4),
        Recurrent("gru", 4, 4),
    )
    for stack in (backwards.eval(), peepholes.eval(), training.train()):
        with pytest.raises(ValueError, match="step is for layers that read forwards"):
            stack.step(inputs, None)
