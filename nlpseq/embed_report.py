"""Scores and report of word vectors that were just trained."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nlpseq.config import settings_of
from nlpseq.corpora import Corpus
from nlpseq.errors import ArtefactError, sentence
from nlpseq.metrics import Score
from nlpseq.report import Block, Chart, Map, Paragraph, Report, Series, Table
from nlpseq.settings import WordsConfig
from nlpseq.vector_scores import Evaluation, WordTest, evaluate, local_tests
from nlpseq.vectors import STAGE, Embeddings
from nlpseq.word_training import HeldOut

__all__ = ["MEASURES", "Measure", "embedding_report", "noun", "scores_line", "tests_at_hand"]


class Measure(NamedTuple):
    """What is measured on held-out text: drawn from thinned text as in training or not, of the model or a yardstick."""

    thinned: bool
    unigram: bool  # of each word's share of the text alone, on the same pairs

    @property
    def text(self) -> str:
        """What the text is called."""
        return "thinned out as in training" if self.thinned else "as it stands"


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        "perplexity": Measure(thinned=True, unigram=False),
        "perplexity_unigram": Measure(thinned=True, unigram=True),
        "perplexity_not_thinned": Measure(thinned=False, unigram=False),
        "perplexity_not_thinned_unigram": Measure(thinned=False, unigram=True),
    }
)
_SHOWN = 12  # words whose neighbours are shown
_NEIGHBOURS = 8
_MAPPED = 150  # words of the map

Records = Sequence[Mapping[str, Any]]
Matrix = npt.NDArray[np.float32]


def noun(fingerprint: Mapping[str, Any]) -> str:
    """Return what has the vectors: a word, or a unit of a tokeniser."""
    return "unit" if fingerprint.get("tokenizer") else "word"


def tests_at_hand(corpus: Corpus) -> list[WordTest]:
    """Return the tests that the corpus has itself, else those on this machine; only those that can be done here."""
    tests = local_tests(corpus)
    own = [test for test in tests if test.source.startswith(f"{corpus.name} ")]
    return [test for test in own or tests if test.questions or find_spec("gensim")]


def embedding_report(
    embeddings: Embeddings, *, held: Mapping[str, HeldOut], tests: Sequence[WordTest], log: Path
) -> Report:
    """Return scores, curves, neighbours and a map of word vectors.

    embeddings: with the facts of their training; held: by the names of `MEASURES`, empty where nothing was measured;
    tests: to be scored; log: `metrics.jsonl` of the training. Raises ArtefactError for a damaged log.
    """
    started = time.perf_counter()
    facts = embeddings.facts
    held = {name: found for name, found in held.items() if found.pairs}
    found = evaluate(embeddings, tests)
    directions = embeddings.vectors / np.maximum(np.linalg.norm(embeddings.vectors, axis=1, keepdims=True), 1e-12)
    records = _records(log)
    scores = _told(found) | perplexities(held, facts)
    blocks = [*_explained(scores), *_losses(records, noun(facts["fingerprint"])), *_normaliser(held), *found.blocks]
    blocks += [_neighbours(embeddings, directions), _map(embeddings, directions)]
    return Report(
        stage=STAGE,
        corpus=f"{facts['corpus']} ({', '.join(facts['columns'])})",
        split=str(facts["fingerprint"]["splits"]),
        scores=scores,
        seconds=round(60 * facts["minutes"] + time.perf_counter() - started, 3),
        settings=_settings(facts["fingerprint"]),
        counts=_counts(facts, records) | found.counts,
        blocks=blocks,
    )


def _settings(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was set and had an effect: with a tokeniser, the settings of words have none."""
    idle = {item.name for item in settings_of(WordsConfig)} if fingerprint.get("tokenizer") else set()
    return {name: value for name, value in fingerprint.items() if value not in ("", None) and name not in idle}


def _told(found: Evaluation) -> dict[str, Score]:
    """Return the scores of tests of which at least a tenth could be asked: the tables have the others too."""
    told = {}
    for name, score in found.scores.items():
        test = name.removesuffix("_all")
        asked, unknown = found.scores[test].n, found.counts[f"{test}_out_of_vocabulary"]
        if asked >= (asked + unknown) / 10:
            told[name] = score
    return told


def scores_line(report: Report) -> str:
    """Return the scores in one line, as the command line prints them."""
    none = "No scores: perplexity needs NCE and held-out text, the others a test whose words have vectors."
    return ", ".join(f"{name} {score.value:.4g}" for name, score in report.scores.items()) or none


def perplexities(held: Mapping[str, HeldOut], facts: Mapping[str, Any]) -> dict[str, Score]:
    """Return the full softmax' perplexity on held-out pairs, by the names of `MEASURES`; facts: of the training."""
    return {
        name: Score(found.perplexity, None, None, found.pairs, _signature(MEASURES[name], found, facts))
        for name, found in held.items()
    }


def _signature(measure: Measure, found: HeldOut, facts: Mapping[str, Any]) -> str:
    """Return all that a perplexity depends on besides the corpus and the vectors."""
    settings = facts["fingerprint"]
    word = noun(settings)
    normal = "+".join(name for name in ("lowercase", "numbers", "links") if settings[name]) or "none"
    parts = {
        "softmax": "full",
        "model": "unigram" if measure.unigram else settings["architecture"],
        "window": f"{settings['window']}{',dynamic' if settings['dynamic_window'] else ''}",
        "text": measure.text,
        "subsample": settings["subsample"] if measure.thinned else None,
        "vocabulary": facts["vocabulary"],
        **({"tokenizer": settings["text of the tokenizer"]} if word == "unit" else {"normalised": normal}),
        "tokens": f"{facts['held_words']} held-out {word}s",
        "pairs": found.pairs,
    }
    return "|".join(f"{name}:{'none' if value is None else value}" for name, value in parts.items())


def _explained(scores: Mapping[str, Score]) -> list[Block]:
    """Return a sentence on each kind of score that there is."""
    told = []
    if any(name.startswith("analogies") for name in scores):
        told.append(
            "Analogies: the share of questions (a is to b as c is to …) to which the nearest word is the right one, of "
            "those whose four words all have a vector; “all”: of all questions, those with an unknown word being wrong."
        )
    if "perplexity" in scores:
        told.append(
            "Perplexity: among how many equally likely words the model is in doubt about a word's neighbour; “unigram” "
            "is that of each word's share of the text alone, on the same pairs: a model that has learnt something is "
            "below it on thinned text, as it was trained on, but need not be on text as it stands."
        )
    return [Paragraph(" ".join(told), "How to read the scores")] if told else []


def _counts(facts: Mapping[str, Any], records: Records) -> dict[str, Any]:
    seconds = sum(r["seconds"] for r in records)
    word = noun(facts["fingerprint"])
    return {
        f"{word}s_with_a_vector": facts["vocabulary"],
        f"{word}s_of_training_text": facts["words"],
        **({"words_dropped_as_too_rare": facts["words_dropped"]} if word == "word" else {}),
        "training_documents": facts["documents"],
        f"held_out_{word}s": facts["held_words"],
        "held_out_documents": facts["held_documents"],
        f"{word}s_trained_per_second": round(facts["words_trained"] / max(seconds, 1e-9)),
    }


def _records(log: Path) -> Records:
    try:
        return [dict(json.loads(line)) for line in log.read_bytes().splitlines()]
    except (ValueError, TypeError):
        must = "hold one JSON object per line"
        raise ArtefactError(sentence(str(log), must, "damaged", quote=False)) from None


def _losses(records: Records, word: str) -> list[Block]:
    """Return the curve of the loss, and its true mean over every epoch; word: what the text is made of."""
    points = [(r["tokens"], r["loss"]) for r in records if r["noise_words"]]
    curve = Series("training", [x for x, _ in points], [y for _, y in points])
    rows = []
    for epoch, group in groupby(records, key=lambda r: int(r["epoch"])):
        of_epoch = list(group)
        noise = sum(r["noise_words"] for r in of_epoch)
        seconds = sum(r["seconds"] for r in of_epoch)
        loss = sum(r["loss"] * r["noise_words"] for r in of_epoch) / max(1, noise)
        rows.append((epoch + 1, loss, noise, seconds, of_epoch[-1]["rate"]))
    titles = ("epoch", "loss", "noise words measured", "seconds", "learning rate at its end")
    note = "Mean over the noise words of at least one block in 32, in nats for each noise word."
    return [
        Chart("Loss per noise word", [curve], f"{word}s of text", "nats per noise word", note=note),
        Table("Loss per noise word, each epoch", titles, rows, note),
    ]


def _normaliser(held: Mapping[str, HeldOut]) -> list[Block]:
    """Return how far from 1 the softmax' normaliser Z is that was never computed in training."""
    if not held:
        return []
    rows = [_measured(MEASURES[name], found) for name, found in held.items()]
    titles = ("held-out text", "model", "mean of log Z", "its deviation", "perplexity", "pairs")
    note = (
        "On about 4,096 contexts of the held-out text. Log Z is 0 where the model is normalised without being told to; "
        "the perplexity is that of the full softmax, and the yardstick that of each word's share of the text alone."
    )
    return [Table("Normaliser and perplexity", titles, rows, note)]


def _measured(measure: Measure, found: HeldOut) -> tuple[object, ...]:
    if measure.unigram:  # whose shares add up to 1
        return measure.text, "yardstick (unigram)", None, None, found.perplexity, found.pairs
    return measure.text, "vectors", found.log_z_mean, found.log_z_deviation, found.perplexity, found.pairs


def _is_word(word: str, letters: int) -> bool:
    bare = word.removeprefix("\u2581")
    return len(bare) >= letters and bare.isalpha()


def _commonest(embeddings: Embeddings, letters: int) -> list[int]:
    """Return the places of words that occur and have so many letters and nothing else, commonest first."""
    counts = np.ones(len(embeddings)) if embeddings.counts is None else embeddings.counts
    order = np.argsort(-counts, kind="stable").tolist()
    return [place for place in order if counts[place] and _is_word(embeddings.words[place], letters)]


def chosen(embeddings: Embeddings) -> list[int]:
    """Return the places of the words whose neighbours are shown: the report says how they are chosen."""
    common = _commonest(embeddings, 4)
    ranks = np.unique(np.geomspace(10, max(10, min(len(common), 3000)), _SHOWN).round().astype(int))
    return [common[rank - 1] for rank in ranks if rank <= len(common)]


def _neighbours(embeddings: Embeddings, directions: Matrix) -> Block:
    rows = []
    for place in chosen(embeddings):
        cosines = directions @ directions[place]
        cosines[place] = -2
        nearest = np.argsort(-cosines, kind="stable")[:_NEIGHBOURS]
        found = ", ".join(f"{embeddings.words[i]} {cosines[i]:.2f}" for i in nearest)
        count = int(embeddings.counts[place]) if embeddings.counts is not None else None
        rows.append((embeddings.words[place], count, found))
    note = (
        "Of the words of four letters or more, by frequency, the tenth, then ranks at equal ratios up to the 3,000th; "
        "beside each neighbour the cosine."
    )
    return Table("Nearest neighbours", ("word", "times", "neighbours"), rows, note)


def _map(embeddings: Embeddings, directions: Matrix) -> Block:
    """Return the commonest words on the first two principal components of their directions."""
    places = _commonest(embeddings, 3)[:_MAPPED]
    if len(places) < 3 or directions.shape[1] < 2:
        return Map("Map of the commonest words", [])
    centred = directions[places] - directions[places].mean(0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    flips = np.sign(right[:2][np.arange(2), np.abs(right[:2]).argmax(1)])  # a component's sign is arbitrary
    plane = left[:, :2] * sizes[:2] * flips
    shares = 100 * sizes[:2] ** 2 / max(float((sizes**2).sum()), 1e-12)
    note = (
        f"The {len(places)} commonest words of three letters or more, on the two principal components of their unit "
        f"vectors ({shares[0]:.0f} and {shares[1]:.0f} % of the variance)."
    )
    points = [(embeddings.words[p], float(x), float(y)) for p, (x, y) in zip(places, plane, strict=True)]
    return Map("Map of the commonest words", points, note)
