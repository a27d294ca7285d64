"""The report of a language model: the normaliser, Python's lines, the gradient through time, curves."""

import math

import numpy as np
import pytest
import torch
from test_language_model import live, text

from nlpseq.baselines import trigram_ids
from nlpseq.errors import ArtefactError
from nlpseq.language_model import held_out
from nlpseq.lm_gradients import gradient_chart
from nlpseq.lm_report import Drawn, lm_report, scores_line
from nlpseq.lm_text import Counts, Text


def model(**settings):
    lm = live(**settings)
    lm.facts = {"fingerprint": {"seed": 1, "numbers": True, "text of the corpus": ""}, "parameters": 5}
    return lm


def report(lm, length=400, **further):
    ids = text(lm, length)
    counts = Counts(rows=1, documents=1, characters=length, units=length)
    return lm_report(lm, Text(ids, counts), corpus="c", split="s", python=False, **further)


def block(found, title):
    return next(one for one in found.blocks if getattr(one, "title", "") == title)


def test_scores_are_one_figure_in_several_units():
    lm = model()
    found = report(lm)
    nats = held_out(lm.model, text(lm, 400)).loss
    values = {name: score.value for name, score in found.scores.items()}
    assert values["nats_per_character"] == pytest.approx(nats)
    assert values["bits_per_character"] == pytest.approx(nats / math.log(2))
    assert values["perplexity"] == pytest.approx(math.exp(nats))
    assert "nats_per_character" in scores_line(found)
    assert list(found.settings) == ["seed"]  # numbers means nothing to characters


def test_the_loss_without_the_normaliser_is_the_scores_as_they_are():
    lm = model(objective="nce")
    (plain,) = block(report(lm), "Loss and normaliser").rows
    lm.model.output.bias.data += 2.0
    (shifted,) = block(report(lm), "Loss and normaliser").rows
    assert shifted[0] == pytest.approx(plain[0], abs=1e-4)
    assert shifted[1] == pytest.approx(plain[1] - 2, abs=1e-4)
    assert shifted[2] == pytest.approx(plain[2] + 2, abs=1e-4)
    features, _ = lm.model(torch.from_numpy(np.append([3], text(lm, 400)[:399]).astype(np.int64))[None])
    logits = lm.model.output(features[0]).detach()
    own = logits[torch.arange(400), torch.from_numpy(text(lm, 400)[:400].astype(np.int64))]
    assert shifted[1] == pytest.approx(-float(own.mean()), abs=1e-2)


def test_a_trigram_writes_what_follows_two_units_as_often_as_the_text_has_it():
    text = np.array([1, 2, 3, 1, 2, 3, 1, 2, 4], np.int32)  # behind 1, 2: 3 twice, 4 once
    found = trigram_ids(text, 6000, seed=0)
    circle = {(a, b, c) for a, b, c in zip(text, np.roll(text, -1), np.roll(text, -2), strict=True)}
    assert set(zip([1, 2, *found], [2, *found], found, strict=False)) <= circle
    behind = [found[n] for n in range(2, 6000) if found[n - 2 : n] == [1, 2]]
    assert behind.count(3) / len(behind) == pytest.approx(2 / 3, abs=0.03)
    assert trigram_ids(text, 9, seed=0) == found[:9]


def test_samples_are_shown_in_order_and_few_of_many():
    drawn = [Drawn(step, 3.0 - step / 100, [f"text {step}"]) for step in range(1, 101)]
    rows = block(report(model(prompts="Once"), samples=drawn), "What the model writes as it learns").rows
    steps = [int(row[0]) for row in rows]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1], len(steps)) == (1, 100, 24)
    assert rows[0][1:] == ("2.990", "text 1")


def test_curves_are_those_of_the_log(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1, "loss": 3.0, "norm": 0.5}\n{"step": 1, "validation_loss": 2.5}\n')
    found = report(model(), log=log)
    assert [list(one.y) for one in block(found, "Loss").series] == [[3.0], [2.5]]
    assert list(block(found, "Norm of the gradient before clipping").series[0].y) == [0.5]
    log.write_text("{")
    with pytest.raises(ArtefactError, match="must hold one JSON object per line"):
        report(model(), log=log)


def test_the_gradient_is_measured_for_the_three_cells_and_is_less_the_further_back(monkeypatch):
    monkeypatch.setattr("nlpseq.lm_gradients._UPDATES", 3)
    chart = gradient_chart(np.tile(np.arange(6, 16, dtype=np.int32), 60), 16, seed=1)
    norms = {one.name: one.y for one in chart.series}
    assert list(norms) == ["simple", "LSTM", "GRU"]
    for values in norms.values():
        assert len(values) == 64
        assert min(values) > 0
        assert values[0] > values[8] > values[30] > values[63]
    assert chart.log
