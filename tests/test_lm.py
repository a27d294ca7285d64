"""The recurrent language model: a step is a pass over one unit, states go on, dropouts drop."""

import pytest
import torch

from nlpseq.nn.lm import LMDropout, LMShape, RecurrentLM


def network(cell="lstm", *, tied=True, layers=2, **drops):
    torch.manual_seed(0)
    return RecurrentLM(LMShape(20, 8, 12, cell=cell, layers=layers, tied=tied), LMDropout(**drops))


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("tied", [True, False])
def test_steps_give_what_a_pass_gives(cell, tied):
    model = network(cell, tied=tied).eval()
    tokens = torch.randint(20, (3, 7))
    with torch.no_grad():
        features, last = model(tokens)
        state = None
        for place in range(7):
            logits, state = model.step(tokens[:, place], state)
            torch.testing.assert_close(logits, model.output(features[:, place]), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(state, last, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_text_in_two_parts_is_the_text_in_one(cell):
    model = network(cell).eval()
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
def test_every_dropout_drops_in_training_alone(name):
    model = network(**{name: 0.5})
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
