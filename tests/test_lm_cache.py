"""The continuous cache: its definition, what it forgets, how it is fitted, and a model that has one."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nlpseq import language_model, train_lm
from nlpseq.config import configure
from nlpseq.language_model import LanguageModel, _seed, build_lm, choose, held_out, passed
from nlpseq.lm_cache import Cache, Memory, Passed, fit_cache
from nlpseq.settings import LMConfig, WritingConfig
from nlpseq.stages.lm import evaluate_language_model
from nlpseq.units import Characters
from nlpseq.vocab import EOS, GO, NUM, PAD, UNK, URL

VOCABULARY = 6


def parts(rows=2, length=40, width=5, seed=0):
    """Texts side by side with states that mean something: a unit stands behind states near its own direction."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(VOCABULARY, (rows, length), generator=generator)
    centres = torch.randn(VOCABULARY, width, generator=generator)
    features = centres[targets] + torch.randn(rows, length, width, generator=generator)
    network = torch.log_softmax(
        torch.randn(rows, length, VOCABULARY, generator=generator) + 1.5 * F.one_hot(targets), 2
    )
    return Passed(features, targets, network.gather(2, targets[..., None])[..., 0])


def cut(text, *lengths):
    pieces = zip(*(torch.split(of, lengths, 1) for of in text), strict=True)
    return [Passed(*piece) for piece in pieces]


def by_hand(text, cache):
    """Each place by the equations: the last `size` places before it, in float64."""
    features, targets, network = (of.double() if of.is_floating_point() else of for of in text)
    found = network.clone()
    for row in range(len(targets)):
        for now in range(1, targets.shape[1]):
            first = max(0, now - cache.size)
            near = F.cosine_similarity(features[row, now][None], features[row, first:now], dim=1)
            shares = torch.softmax(cache.sharpness * near, 0)
            said = shares[targets[row, first:now] == targets[row, now]].sum()
            full = (now - first) / (now - first + 100) / (cache.size / (cache.size + 100))
            weight = cache.weight * full
            found[row, now] = ((1 - weight) * network[row, now].exp() + weight * said).log()
    return found


@pytest.mark.parametrize("size", [1, 7, 39, 1000])
@pytest.mark.parametrize("lengths", [(40,), (1,) * 40, (13, 20, 7)])
def test_it_is_its_definition_however_the_text_is_cut(size, lengths):
    text, cache = parts(), Cache(size, 0.3, 4.0)
    memory = Memory(size)
    found = torch.cat([memory.log_likelihood(part, cache) for part in cut(text, *lengths)], 1)
    torch.testing.assert_close(found.double(), by_hand(text, cache), atol=1e-5, rtol=1e-5)
    assert len(memory) == min(size, 40)


def test_similarities_in_small_pieces(monkeypatch):
    text, cache = parts(), Cache(9, 0.3, 4.0)
    whole = Memory(9).log_likelihood(text, cache)
    monkeypatch.setattr("nlpseq.lm_cache._ROOM", 200)
    torch.testing.assert_close(Memory(9).log_likelihood(text, cache), whole)


def test_shares_are_a_distribution_and_what_a_pass_finds():
    text, memory = parts(), Memory(8)
    memory.add(text.features[:, :-1], text.targets[:, :-1])
    shares = memory.shares(text.features[:, -1], 4.0, VOCABULARY)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    (recalled,) = memory.recall(text.features[:, -1:], text.targets[:, -1:], [4.0])
    torch.testing.assert_close(shares.gather(1, text.targets[:, -1:]), recalled)


def test_the_fit_is_the_best_of_a_grid():
    text = parts(1, 300)
    found = fit_cache(cut(text, 100, 200), 50)
    assert 0.2 < found.weight < 0.98
    assert found.size == 50

    def nats(weight, sharpness):
        return -float(Memory(50).log_likelihood(text, Cache(50, weight, sharpness)).sum())

    best = nats(found.weight, found.sharpness)
    for weight in np.linspace(0.02, 0.98, 49):
        for sharpness in (5.0, 10.0, 20.0, 40.0, 80.0):
            assert best <= nats(float(weight), sharpness) + 1e-2


def test_a_memory_of_no_use_is_hardly_heard():
    text = parts(1, 300)
    sure = text._replace(network=torch.full_like(text.network, math.log(0.999)))
    assert fit_cache([sure], 50).weight < 0.01


def live(cache):
    units = Characters.learn(["abcdefgh .\n"], min_count=1)
    config = configure(LMConfig, corpus="c", out="o", hidden_size=16, embed_size=16, cache=cache and cache.size)
    torch.manual_seed(3)
    model = build_lm(config, len(units))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return LanguageModel(model, units, config=config, facts={"cache": cache._asdict()} if cache else {})


def test_a_score_is_that_of_the_pass_and_of_what_is_drawn_from():
    model, text = live(Cache(6, 0.4, 8.0)), "abbab abbab. abbab\n"
    ids = model.units.encode([text])[0].tolist()
    score = model.score([text])[0].nats
    found = held_out(model.model, np.array([*ids, EOS], np.int32), cache=model.cache)
    assert found.nats == pytest.approx(-score, rel=1e-5)
    assert found.nats != pytest.approx(held_out(model.model, np.array([*ids, EOS], np.int32)).nats, rel=1e-3)
    memory, state, fed, nats = Memory(6), None, EOS, 0.0
    with torch.inference_mode():
        for unit in ids:
            features, state = model.model.step(torch.tensor([fed]), state)
            shares = model._scores(features, memory)
            shares = shares if len(memory) else torch.log_softmax(shares, 1)
            assert float(shares.exp().sum()) == pytest.approx(1, rel=1e-5)
            nats += float(shares[0, unit])
            memory.add(features[:, None], torch.tensor([[unit]]))
            fed = unit
    assert nats == pytest.approx(score, rel=1e-5)


def test_parts_side_by_side_each_remember_their_own():
    model = live(None)
    ids = np.append(np.random.default_rng(1).integers(7, 15, 900), EOS).astype(np.int32)
    cache = Cache(20, 0.3, 8.0)
    found = held_out(model.model, ids, streams=3, cache=cache)
    assert found.units == 900
    almost = [held_out(model.model, ids, streams=n, cache=cache._replace(weight=1e-9)).nats for n in (1, 3)]
    assert almost == pytest.approx([held_out(model.model, ids, streams=n).nats for n in (1, 3)], rel=1e-5)


def test_what_is_written_remembers_the_prompt_and_each_text_its_own(monkeypatch):
    model = live(Cache(50, 0.8, 80.0))
    prompt = "abcd" * 30
    texts = model.sample(prompt, count=5, length=30)
    assert all(text.startswith(prompt) for text in texts)
    assert len(set(texts)) > 1
    alone = live(None).sample(prompt, count=5, length=30)
    assert "".join(texts).count("abcd") > 5 + "".join(alone).count("abcd")
    assert "".join(model.stream(prompt, length=30)) == texts[0][len(prompt) :]
    monkeypatch.setattr(language_model, "_REMEMBERED", 2 * 2 * 50 * 16)
    assert model.sample(prompt, count=5, length=30) == texts


def test_what_is_written_is_remembered_too():
    model, how, dice = live(Cache(50, 0.8, 80.0)), WritingConfig(length=40, past_end=True), torch.Generator()
    dice.manual_seed(_seed(how.seed, 0))
    memory, state, fed, written = Memory(50), None, EOS, []
    with torch.inference_mode():
        for _ in range(40):
            features, state = model.model.step(torch.tensor([fed]), state)
            drawn = choose(model._scores(features, memory), how, [dice], never=(PAD, GO, UNK, NUM, URL))
            written.append(fed := int(drawn))
            memory.add(features[:, None], drawn[:, None])
    assert [step[0] for step in model._write([], how, range(1))] == written


def test_names_that_come_again_are_learnt():
    model = live(None)
    rng = np.random.default_rng(0)
    names = [rng.integers(7, 15, 6) for _ in range(3)]
    text = np.concatenate([names[rng.integers(3)] for _ in range(200)])
    ids = np.append(text, EOS).astype(np.int32)
    cache = fit_cache(passed(model.model, ids[:601]), 300)
    assert held_out(model.model, ids, cache=cache).loss < 0.5 * held_out(model.model, ids).loss


def test_a_training_fits_its_cache_and_the_finished_model_has_it(tmp_path):
    path = tmp_path / "songs.txt"
    rng = np.random.default_rng(2)
    names = ["".join(rng.choice(list("abcdefghijklm"), 6)) for _ in range(30)]
    # Each verse sings of one name, of which nothing before it says anything.
    path.write_text("".join(f"{names[n // 8]} sings {n % 3}, {names[n // 8]} sings\n" for n in range(240)))
    config = configure(
        LMConfig,
        corpus=str(path),
        out=str(tmp_path / "m"),
        hidden_size=32,
        embed_size=16,
        batch_tokens=256,
        steps=32,
        max_steps=120,
        learning_rate=0.01,
        evaluate_steps=40,
        cache=300,
        gradients=False,
        device="cpu",
        threads=1,
        precision="fp32",
    )
    notes = []
    model = train_lm(config, watch=lambda event: notes.append(event.text) if event.kind == "note" else None)
    assert model.cache is not None
    assert model.cache.size == 300
    assert f"The cache has weight {model.cache.weight:.3f} and sharpness {model.cache.sharpness:g}" in " ".join(notes)
    scores = json.loads((tmp_path / "m" / "report.json").read_text())["scores"]
    assert scores["nats_per_character_cache"]["value"] < 0.8 * scores["nats_per_character"]["value"]
    assert scores["nats_per_character_cache"]["signature"].endswith(
        f"|cache:300 states, weight {model.cache.weight:.3f}, sharpness {model.cache.sharpness:g}"
    )
    again = evaluate_language_model(tmp_path / "m", str(path), device="cpu", out=tmp_path / "r")
    assert again.scores["nats_per_character_cache"].value == scores["nats_per_character_cache"]["value"]
