"""A model folder is a public interface: a frozen tiny one of each minor version still gives its stored output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import nlpseq
from nlpseq import LanguageModel, SentimentClassifier, Tagger, Translator

MODELS = sorted((Path(__file__).parent / "models").glob("*/translate.json"))


@pytest.mark.parametrize("stored", MODELS, ids=lambda path: path.parent.name)
def test_a_translator_of_an_earlier_version_translates_as_it_did(stored: Path):
    expected = json.loads(stored.read_text("utf-8"))
    found = Translator.load(stored.parent / "translate").translate_fully([row["source"] for row in expected])
    assert [one.text for one in found] == [row["text"] for row in expected]
    assert [one.score for one in found] == pytest.approx([row["score"] for row in expected], abs=2e-3)


CLASSIFIERS = sorted((Path(__file__).parent / "models").glob("*/sentiment.json"))


@pytest.mark.parametrize("stored", CLASSIFIERS, ids=lambda path: path.parent.name)
def test_a_classifier_of_an_earlier_version_answers_as_it_did(stored: Path):
    expected = json.loads(stored.read_text("utf-8"))
    classifier = SentimentClassifier.load(stored.parent / "sentiment", device="cpu")
    for row, found in zip(expected, classifier.predict_fully([r["text"] for r in expected], explain=True), strict=True):
        assert found.label == row["label"]
        assert found.probability == pytest.approx(row["probability"], abs=1e-4)
        assert [word for word, _ in found.words] == [word for word, _ in row["words"]]
        assert [weight for _, weight in found.words] == pytest.approx([x for _, x in row["words"]], abs=1e-3)


LANGUAGE_MODELS = sorted((Path(__file__).parent / "models").glob("*/lm.json"))


@pytest.mark.parametrize("stored", LANGUAGE_MODELS, ids=lambda path: path.parent.name)
def test_a_language_model_of_an_earlier_version_scores_and_writes_as_it_did(stored: Path):
    expected = json.loads(stored.read_text("utf-8"))
    model = LanguageModel.load(stored.parent / "lm", device="cpu")
    found = model.score([row["text"] for row in expected["scores"]])
    assert [one.nats for one in found] == pytest.approx([row["nats"] for row in expected["scores"]], abs=1e-3)
    assert [one.unknown for one in found] == [row["unknown"] for row in expected["scores"]]
    assert model.sample(expected["prompt"], temperature=0, length=60, past_end=True) == [expected["greedy"]]


@pytest.mark.parametrize("stage", ["translate", "sentiment", "ner", "lm"])
def test_there_is_a_frozen_model_of_this_minor_version(stage: str):
    minor = nlpseq.__version__.rsplit(".", 1)[0]
    assert (Path(__file__).parent / "models" / minor / f"{stage}.json").is_file()


@pytest.mark.parametrize("stored", sorted((Path(__file__).parent / "models").glob("*/ner.json")), ids=str)
def test_a_tagger_of_an_earlier_version_tags_as_it_did(stored: Path):
    expected = json.loads(stored.read_text("utf-8"))
    found = Tagger.load(stored.parent / "ner").tag([row["text"] for row in expected])
    for entities, row in zip(found, expected, strict=True):
        sure = [one.pop("confidence") for one in row["entities"]]
        assert [entity.confidence for entity in entities] == pytest.approx(sure, abs=2e-3)
        assert [{k: v for k, v in entity._asdict().items() if k != "confidence"} for entity in entities] == row[
            "entities"
        ]
