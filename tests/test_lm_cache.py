"""The continuous cache: its definition, what it forgets, how it is fitted, and a model that has one."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nlpseq import language_model, train_lm
from nlpseq.config import configure
from nlpseq.language_model import LanguageModel, build_lm, fitted_cache, held_out
from nlpseq.lm_cache import Cache, Memory, Passed, fit_cache
from nlpseq.settings import LMConfig
from nlpseq.stages.lm import evaluate_language_model
from nlpseq.units import Characters
from nlpseq.vocab import EOS

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
            full = (now - first) / (now - first + 200) / (cache.size / (cache.size + 200))
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


def test_what_a_memory_says_of_all_units_adds_up_to_one():
    text = parts()
    whole = []
    for unit in range(VOCABULARY):
        memory = Memory(8)
        memory.recall(text.features[:, :-1], text.targets[:, :-1], [4.0])
        (said,) = memory.recall(text.features[:, -1:], torch.full((2, 1), unit), [4.0])
        whole.append(said)
    torch.testing.assert_close(torch.stack(whole).sum(0), torch.ones(2, 1))
    (first,) = Memory(8).recall(text.features[:, :1], text.targets[:, :1], [4.0])
    assert first.tolist() == [[0], [0]]


def test_room_is_made_for_what_is_there_and_not_for_what_could_be():
    memory = Memory(1_000_000)
    for start in range(0, 40, 3):
        memory.add(*(of[:, start : start + 3] for of in parts()[:2]))
    assert len(memory) == 40
    assert memory._units.numel() <= 2 * 4 * 40


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


def test_parts_side_by_side_each_remember_their_own_however_they_are_passed(monkeypatch):
    model, cache = live(None).model, Cache(20, 0.3, 8.0)
    ids = np.append(np.random.default_rng(1).integers(7, 15, 901), EOS).astype(np.int32)  # the last part has 299
    found = held_out(model, ids, streams=3, cache=cache)
    assert found.units == 901
    nats = 0.0
    for part, start in enumerate((0, 301, 602)):
        stop = min(start + 301, 901)
        fed = torch.tensor([[EOS, *ids[:-2].tolist()]])
        with torch.inference_mode():
            state = model(fed[:, start - 256 : start])[1] if part else None
            features, _ = model(fed[:, start:stop], state)
            targets = torch.tensor(ids[None, start:stop]).long()
            network = torch.log_softmax(model.output(features), 2).gather(2, targets[..., None])[..., 0]
            nats -= float(Memory(20).log_likelihood(Passed(features, targets, network), cache).sum())
    assert found.nats == pytest.approx(nats, rel=1e-5)
    monkeypatch.setattr(language_model, "_HEARD", 64)
    monkeypatch.setattr(language_model, "_LOGITS", 60)
    assert held_out(model, ids, streams=3, cache=cache).nats == pytest.approx(nats, rel=1e-5)
    small = fitted_cache(model, ids, 20)
    monkeypatch.undo()
    assert small == pytest.approx(fitted_cache(model, ids, 20), rel=1e-4)


def test_what_is_written_is_the_network_s_alone():
    assert live(Cache(50, 0.8, 80.0)).sample("abcd" * 30, count=2) == live(None).sample("abcd" * 30, count=2)


def test_names_that_come_again_are_learnt():
    model = live(None)
    rng = np.random.default_rng(0)
    names = [rng.integers(7, 15, 6) for _ in range(3)]
    text = np.concatenate([names[rng.integers(3)] for _ in range(200)])
    ids = np.append(text, EOS).astype(np.int32)
    cache = fitted_cache(model.model, ids[:601], 300)
    assert held_out(model.model, ids, cache=cache).loss < 0.5 * held_out(model.model, ids).loss


def test_a_training_fits_its_cache_and_the_finished_model_has_it(tmp_path, monkeypatch):
    path = tmp_path / "songs.txt"
    rng = np.random.default_rng(2)
    names = ["".join(rng.choice(list("abcdefghijklm"), 6)) for _ in range(30)]
    # Each verse sings of one name, of which nothing before it says anything.
    said = [f"{names[n // 8]} sings {rng.integers(90)}, {names[rng.integers(30)]} sings\n" for n in range(240)]
    path.write_text("".join(said))
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
    assert 0.01 < model.cache.weight < 0.99
    assert scores["nats_per_character_cache"]["value"] < 0.95 * scores["nats_per_character"]["value"]
    assert scores["nats_per_character_cache"]["signature"].endswith(
        f"|cache:300 states, weight {model.cache.weight:.3f}, sharpness {model.cache.sharpness:g}, fitted on validation"
    )
    text = path.read_text()
    first, second = (text.index("\n", int(len(text) * share)) + 1 for share in (0.9, 0.95))
    held = np.append(model.units.encode([text[first:second]])[0], EOS).astype(np.int32)
    assert model.cache == pytest.approx(fitted_cache(model.model, held, 300), rel=1e-6)
    again = evaluate_language_model(tmp_path / "m", str(path), device="cpu", out=tmp_path / "r")
    assert again.scores["nats_per_character_cache"].value == scores["nats_per_character_cache"]["value"]
    monkeypatch.setattr("nlpseq.lm_report._ONE_STREAM", 10)
    monkeypatch.setattr("nlpseq.lm_report._STREAMS", 4)
    parts = evaluate_language_model(tmp_path / "m", str(path), device="cpu", out=tmp_path / "r")
    rest = np.append(model.units.encode([text[second:]])[0], EOS).astype(np.int32)
    wanted = held_out(model.model, rest, streams=4, cache=model.cache).loss
    assert parts.scores["nats_per_character_cache"].value == pytest.approx(wanted, rel=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cache_on_cuda_says_what_it_says_on_the_cpu():
    model, cache = live(None).model, Cache(20, 0.3, 8.0)
    ids = np.append(np.random.default_rng(1).integers(7, 15, 901), EOS).astype(np.int32)
    expected = held_out(model, ids, streams=3, cache=cache).nats, fitted_cache(model, ids, 20).weight
    model.cuda()
    found = held_out(model, ids, streams=3, cache=cache).nats, fitted_cache(model, ids, 20).weight
    assert found == pytest.approx(expected, rel=1e-3)
