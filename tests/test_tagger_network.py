"""The tagger's network: padding changes nothing, given vectors beside learnt ones, words taken for unknown."""

from __future__ import annotations

import pytest
import torch

from nlpseq.nn.tagger import Dropout, Shape, TaggerNetwork


def network(spelling: str = "cnn", given: int = 0) -> TaggerNetwork:
    torch.manual_seed(2)
    shape = Shape(
        words=6, given=given, characters=12, tags=5, embed_size=4, character_size=3, features=6, hidden_size=8,
        spelling=spelling,
    )  # fmt: skip
    return TaggerNetwork(shape, Dropout(0.4, 0.4, 0.4, 0.1), torch.ones(6, 6, dtype=torch.bool), trained=True).eval()


@pytest.mark.parametrize("spelling", ["cnn", "lstm", "none"])
def test_padding_changes_no_score(spelling: str):
    model = network(spelling)
    letters, sizes = torch.randint(1, 12, (3, 5)), torch.tensor([5, 1, 3])
    spelt = model.spell(letters, sizes)
    padded = torch.cat([torch.where(torch.arange(5) < sizes[:, None], letters, 0), torch.full((3, 4), 9)], 1)
    torch.testing.assert_close(model.spell(padded, sizes), spelt)
    words, lengths = torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0]]), torch.tensor([3, 2])
    places = torch.tensor([[0, 1, 2, 0], [2, 1, 0, 0]])
    scores = model(words, spelt[places], lengths)
    for row, length in enumerate(lengths):
        alone = model(words[row : row + 1, :length], spelt[places[row : row + 1, :length]], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], scores[row, :length])


@pytest.mark.parametrize("spelling", ["cnn", "lstm"])
def test_characters_are_dropped_in_training_alone(spelling: str):
    model = network(spelling)
    letters, sizes = torch.randint(1, 12, (3, 5)), torch.tensor([5, 1, 3])
    torch.testing.assert_close(model.spell(letters, sizes), model.spell(letters, sizes), rtol=0, atol=0)
    model.train()
    assert not torch.equal(model.spell(letters, sizes), model.spell(letters, sizes))
    model.dropout = model.dropout._replace(characters=0.0)
    torch.testing.assert_close(model.spell(letters, sizes), model.spell(letters, sizes), rtol=0, atol=0)


def test_letters_and_their_order_count():
    model = network()
    first, second, third = model.spell(torch.tensor([[1, 2, 3], [3, 2, 1], [1, 2, 3]]), torch.tensor([3, 3, 2]))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, third)


def test_given_vectors_beside_what_was_learnt():
    model = network(given=8)  # six words of train, two further ones
    torch.nn.init.normal_(model.given)
    model.given[1] = model.given[4] = 0.0  # [UNK] and word 4 have none
    model.paces[:6] = torch.tensor([1.0, 1.0, 0.1, 0.1, 1.0, 0.1])
    learnt, words = model.words.weight, torch.tensor([[2, 4, 7]])
    expected = torch.stack([model.given[2] + 0.1 * learnt[2], learnt[4], model.given[7]])
    torch.testing.assert_close(model.vectors(words)[0], expected)
    unknown = torch.tensor([[True, True, False]])  # as they are given, or else [UNK]
    expected = torch.stack([model.given[2], learnt[1], model.given[7]])
    torch.testing.assert_close(model.vectors(words, unknown)[0], expected)


def test_a_word_taken_for_unknown_is_as_unk_is_in_tagging_given_vector_and_all():
    model = network(given=8)
    torch.nn.init.normal_(model.given)
    model.given[4] = 0.0
    model.paces[:6] = torch.tensor([1.0, 0.1, 0.1, 0.1, 1.0, 0.1])
    dropped = model.vectors(torch.tensor([[4, 3]]), torch.tensor([[True, False]]))
    torch.testing.assert_close(dropped, model.vectors(torch.tensor([[1, 3]])))


def test_a_character_that_training_never_meets_says_nothing():
    assert not network().characters.weight[1].any()
    assert network().characters.weight[0].any()


def test_without_given_vectors_an_unknown_word_is_unk():
    model = network()
    found = model.vectors(torch.tensor([[2, 4]]), torch.tensor([[False, True]]))[0]
    torch.testing.assert_close(found, model.words.weight[[2, 1]])
