"""Writing and scoring: greedy, top-k, top-p, temperature, seeds, prompts, and the passes over held-out text."""

import math

import numpy as np
import pytest
import torch

from nlpseq.config import configure
from nlpseq.errors import UsageError
from nlpseq.language_model import LanguageModel, build_lm, choose, cold, held_out, log_normaliser
from nlpseq.settings import LMConfig, TokenizerConfig, WritingConfig
from nlpseq.tokenizer import Tokenizer
from nlpseq.units import Characters, TokenUnits
from nlpseq.vocab import EOS, GO, NUM, PAD, UNK, URL

LETTERS = "abcdefgh .\n"


def live(units=None, **settings):
    """An untrained model with large weights, so that nothing is nearly even."""
    units = units or Characters.learn([LETTERS], min_count=1)
    sizes = {"cell": "lstm", "layers": 2, "hidden_size": 16, "embed_size": 16}
    config = configure(LMConfig, corpus="c", out="o", **sizes, **settings)
    torch.manual_seed(3)
    model = build_lm(config, len(units))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return LanguageModel(model, units, config=config, facts={})


def words():
    texts = ["the cat sees the dog .", "a dog eats 5 apples ,", "yes : no"]
    return TokenUnits(Tokenizer.train(texts, TokenizerConfig(units="word")))


def how(**settings):
    return WritingConfig(**settings)


def draws(logits, settings, number=4000):
    dice = [torch.Generator().manual_seed(row) for row in range(number)]
    return torch.bincount(choose(torch.tensor([logits] * number), settings, dice), minlength=len(logits)) / number


SHARES = [0.0, 0.0, 0.0, 0.02, 0.5, 0.3, 0.15, 0.03]
LOGITS = [math.log(max(share, 1e-9)) for share in SHARES]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, SHARES),
        ({"temperature": 0}, [0, 0, 0, 0, 1, 0, 0, 0]),
        ({"temperature": 1e-310}, [0, 0, 0, 0, 1, 0, 0, 0]),
        ({"top_k": 2}, [0, 0, 0, 0, 0.625, 0.375, 0, 0]),
        ({"top_k": 99}, SHARES),
        ({"top_p": 0.7}, [0, 0, 0, 0, 0.625, 0.375, 0, 0]),
        ({"top_p": 0.5}, [0, 0, 0, 0, 1, 0, 0, 0]),
        ({"top_p": 1.0}, SHARES),
        ({"top_p": 1e-6}, [0, 0, 0, 0, 1, 0, 0, 0]),
        ({"temperature": 0.5, "top_k": 2}, [0, 0, 0, 0, 0.735, 0.265, 0, 0]),
    ],
)
def test_what_is_drawn_is_what_the_settings_leave(settings, expected):
    torch.testing.assert_close(draws(LOGITS, how(**settings)), torch.tensor(expected).float(), atol=0.025, rtol=0)


def test_special_tokens_are_never_written_but_the_end_is():
    logits = [0.0] * 8
    for name in (PAD, UNK, GO):
        logits[name] = 50.0
    found = draws(logits, how())
    assert found[[PAD, UNK, GO]].sum() == 0
    assert found[EOS] > 0.1


@pytest.mark.parametrize("units", [None, Characters(None)], ids=["char", "byte"])
def test_numbers_and_links_are_no_characters(units):
    lm = live(units)
    lm.model.output.bias.data[[NUM, URL]] = 99.0
    lm.model.output.bias.data[lm.units.encode(["a"])[0]] = 50.0
    assert lm.sample("b", length=9, past_end=True) == ["b" + 9 * "a"]
    tokens = live(words())
    tokens.model.output.bias.data[NUM] = 99.0
    assert tokens.sample("", length=3) == ["[NUM] [NUM] [NUM]"]


def test_a_text_is_the_same_however_many_are_written_beside_it():
    lm = live()
    several = lm.sample("a", count=5, length=40, past_end=True)
    assert lm.sample("a", count=2, length=40, past_end=True) == several[:2]
    assert lm.sample("a", length=40, past_end=True) == several[:1]


def test_a_prompt_of_words_that_ends_in_a_space_is_gone_on_with_behind_it():
    lm = live(words())
    for prompt in ("the cat ", "the cat"):
        found = lm.sample(prompt, length=9, temperature=0, past_end=True)[0]
        assert found.startswith("the cat ")
        assert "  " not in found
        assert prompt + "".join(lm.stream(prompt, length=9, temperature=0, past_end=True)) == found


def test_the_score_of_words_has_the_end_of_each_line_that_is_not_blank():
    lm = live(words())
    (found,) = lm.score(["the cat\n\n  \nyes\u2028no"])
    assert [name for name, _ in found.units] == ["the", "cat", "<eos>", "yes", "<eos>", "no", "<eos>"]
    assert lm.score(["the cat"]) == [s._replace(text="the cat") for s in lm.score(["the cat\n"])]
    assert lm.score([" \n"])[0].units == []


@pytest.mark.parametrize("units", [Characters(None), words()], ids=["byte", "word"])
def test_half_a_character_is_no_text(units):
    lm = live(units)
    with pytest.raises(UsageError, match=r"`text` must be UTF-8 text, but is \"a.*ud800"):
        lm.score(["a\ud800"])


def test_greedy_writing_is_the_argmax_of_the_whole_prefix_each_time():
    lm = live()
    text = lm.sample("abc", temperature=0, length=12, past_end=True)[0]
    assert text.startswith("abc")
    ids = [EOS, *lm.units.encode(["abc"])[0].tolist()]
    for _ in range(12):
        logits = lm.model.output(lm.model(torch.tensor([ids]))[0][0, -1])
        logits[[PAD, UNK, GO, NUM, URL]] = -torch.inf
        ids.append(int(logits.argmax()))
    assert text == "abc" + lm.units.decode(ids[4:])


@pytest.mark.parametrize("units", [None, Characters(None), words()], ids=["char", "byte", "word"])
def test_the_same_seed_gives_the_same_text_and_streaming_it_too(units):
    lm = live(units)
    prompt = "ab\n" if lm.units.whole else "the cat"
    first = lm.sample(prompt, length=30, seed=7, past_end=True)
    assert lm.sample(prompt, length=30, seed=7, past_end=True) == first
    assert lm.sample(prompt, length=30, seed=8, past_end=True) != first
    assert prompt + "".join(lm.stream(prompt, length=30, seed=7, past_end=True)) == first[0]
    assert first[0].startswith(prompt)


def test_several_texts_differ_and_a_document_ends_them():
    lm = live()
    found = lm.sample("a", count=5, length=40)
    assert len(set(found)) >= 4
    lm.model.output.bias.data[EOS] = 50.0
    assert lm.sample("a", count=2, length=40) == ["a", "a"]
    assert lm.sample("a", length=3, past_end=True) == ["a\n\n\n"]
    assert lm.sample("abc", length=0, count=2) == ["abc", "abc"]


def test_each_unit_costs_one_step():
    lm = live()
    calls = []
    step = lm.model.step
    lm.model.step = lambda tokens, state: (calls.append(len(tokens)), step(tokens, state))[1]
    lm.sample("abcd", length=20, past_end=True, count=3)
    assert calls == [3] * 20
    lm.model.output.bias.data[EOS] = 50.0
    lm.sample("abcd", length=20, count=3)
    assert len(calls) == 20  # all have ended with the first unit


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": -1}, "`temperature` must be a number from 0 to 100"),
        ({"top_p": 0}, "`top_p` must be a number from 1e-06 to 1"),
        ({"top_k": 0}, "`top_k` must be a whole number"),
        ({"lenght": 3}, "did you mean `length`?"),
        ({"count": 0}, "`count` must be a whole number of at least 1"),
    ],
)
def test_settings_that_cannot_be(settings, said):
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        live().sample("a", **settings)


def test_the_score_of_a_text_is_the_sum_of_its_units():
    lm = live()
    one, empty, other = lm.score(["abc", "", "ab"])
    assert [name for name, _ in one.units] == ["a", "b", "c"]
    assert one.nats == pytest.approx(sum(value for _, value in one.units))
    assert [v for _, v in one.units[:2]] == pytest.approx([v for _, v in other.units], abs=1e-5)
    assert (empty.nats, empty.units) == (0.0, [])
    everything = [lm.score([letter])[0].nats for letter in LETTERS]
    assert sum(map(math.exp, everything)) < 1
    assert lm.score(["abc", "b" * 99, "ab"])[0] == one  # whatever is beside it
    assert lm.score(["a\u2603"])[0].unknown == lm.unknown("a\u2603") == 1
    with pytest.raises(UsageError, match="`texts` must be a list of texts"):
        lm.score("abc")


def text(lm, length, seed=0):
    draw = np.random.default_rng(seed)
    return np.append(draw.integers(6, len(lm.units), length), EOS).astype(np.int32)


def test_the_pass_over_a_text_is_the_score_of_its_units():
    lm = live()
    ids = text(lm, 500)
    found = held_out(lm.model, ids)
    assert found.nats == pytest.approx(-lm.score([lm.units.decode(ids[:-1].tolist())])[0].nats, rel=1e-5)
    assert (found.units, found.ends) == (500, 0)
    ids[100] = EOS
    assert held_out(lm.model, ids).ends == 1


@pytest.mark.parametrize("streams", [2, 3, 7])
def test_streams_side_by_side_count_every_unit_once_and_start_warm(streams):
    lm = live()
    for layer in lm.model.stack.layers:
        layer.rnn.weight_hh_l0.data.mul_(0.1)  # or it would be chaotic: no state is forgotten
    ids = text(lm, 2003)
    one, several = held_out(lm.model, ids), held_out(lm.model, ids, streams=streams)
    assert several.units == one.units == 2003
    assert several.nats == pytest.approx(one.nats, rel=1e-5)
    short = text(lm, 50)  # where what is read before a stream is all that there is
    assert held_out(lm.model, short, streams=2).nats == pytest.approx(held_out(lm.model, short).nats, rel=1e-5)


def test_cold_windows_begin_without_context():
    lm = live()
    ids = text(lm, 600)
    found = cold(lm.model, ids)
    assert found.units == 2 * 256
    expected = 0.0
    for start in (0, 256):
        window = torch.from_numpy(ids[start : start + 257].astype(np.int64))
        shares = torch.log_softmax(lm.model.output(lm.model(window[None, :-1])[0][0]), 1).detach()
        expected -= float(shares[torch.arange(256), window[1:]].sum())
    assert found.nats == pytest.approx(expected, rel=1e-5)
    assert cold(lm.model, text(lm, 9)).units == 8


def test_the_normaliser_is_measured():
    lm = live()
    mean, deviation = log_normaliser(lm.model, text(lm, 300))
    lm.model.output.bias.data += 2.0
    shifted, same = log_normaliser(lm.model, text(lm, 300))
    assert shifted - mean == pytest.approx(2.0, abs=1e-4)
    assert same == pytest.approx(deviation, abs=1e-4)


def test_a_prompt_of_words_keeps_its_lines():
    lm = live(words())
    assert lm._ids("the cat\nyes") == [*lm.units.encode(["the cat"])[0], EOS, *lm.units.encode(["yes"])[0]]
    assert lm._ids("yes\n")[-1] == EOS
    assert lm.sample("the cat\nyes ", length=0) == ["the cat\nyes "]
