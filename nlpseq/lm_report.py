"""Scores and report of a language model on a text."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nlpseq.baselines import trigram_ids
from nlpseq.language_model import COLD, STAGE, Held, LanguageModel, cold, held_out, log_normaliser
from nlpseq.lm_gradients import gradient_chart
from nlpseq.lm_task import LMBatch, StreamTask, noise_of
from nlpseq.lm_text import Text
from nlpseq.loop import read_log
from nlpseq.metrics import Score
from nlpseq.python_lines import accepted
from nlpseq.report import Block, Chart, Paragraph, Report, Samples, Series, Table
from nlpseq.units import Ids, TokenUnits, Units
from nlpseq.vocab import NUM, UNK, URL

__all__ = ["Drawn", "lm_report", "scores_line"]

_ONE_STREAM = 200_000  # units of a text up to which it is passed as one stream …
_STREAMS = 64  # … and how many side by side beyond
_SHOWN = 24  # of the samples drawn while training
_WRITTEN = 16, 1000  # texts and their units, of which the lines of Python are counted
_SEED = 1
_CONTEXTS = 4096  # units that the loss of noise-contrastive estimation is measured on
_TRIGRAM = 2_000_000  # units that the trigrams are of


class Drawn(NamedTuple):
    """Samples drawn while training: at which step, at what loss on validation, one for each prompt."""

    step: int
    loss: float
    texts: list[str]


def lm_report(
    lm: LanguageModel,
    text: Text,
    *,
    corpus: str,
    split: str,
    python: bool,
    train: Ids | None = None,
    log: Path | None = None,
    samples: Sequence[Drawn] = (),
) -> Report:
    """Return scores, curves and samples of a language model on a text.

    python: whether the text is source of Python; train: the training text, for yardsticks and the figure of gradients,
    which are left out without it; log: `metrics.jsonl` of the training, for the curves; samples: drawn while training,
    in order. Raises ArtefactError for a damaged log.
    """
    started = time.perf_counter()
    settings = lm.facts["fingerprint"]
    streams = 1 if len(text.ids) <= _ONE_STREAM else _STREAMS
    one, windows = held_out(lm.model, text.ids, streams=streams), cold(lm.model, text.ids)
    seconds = time.perf_counter() - started
    scores = _scores(lm, text, one, windows, streams=streams)
    if (cache := lm.cache) is not None:
        name = f"nats_per_{lm.units.noun}"
        heard = (
            f"cache:{cache.size} states, weight {cache.weight:.3f}, sharpness {cache.sharpness:g}, fitted on validation"
        )
        found = held_out(lm.model, text.ids, streams=streams, cache=cache)
        scores[f"{name}_cache"] = Score(found.loss, None, None, found.units, f"{scores[name].signature}|{heard}")
    blocks = [*_curves(log, lm.units.noun, lm.config.softmax.objective), *_samples(samples, lm.config.sampling.prompts)]
    if lm.config.softmax.objective == "nce":
        blocks.append(_normaliser(lm, text, one, train))
    if python:
        lines, table = _python(lm, text, train)
        scores |= lines
        blocks.append(table)
    if train is not None and lm.config.gradients:
        blocks.append(gradient_chart(train, len(lm.units), seed=_SEED))
    return Report(
        stage=STAGE,
        corpus=corpus,
        split=split,
        scores=scores,
        seconds=round(time.perf_counter() - started, 3),
        settings={k: v for k, v in settings.items() if v not in ("", None) and k not in lm.config.data.idle},
        counts=_counts(lm, text, one, seconds),
        blocks=[_explained(lm.units.noun, cached=lm.cache is not None), *blocks],
    )


def scores_line(report: Report) -> str:
    """Return the scores in one line, as the command line prints them."""
    return ", ".join(f"{name} {score.value:.4f}" for name, score in report.scores.items()) + f" ({report.split})"


def _scores(lm: LanguageModel, text: Text, one: Held, windows: Held, *, streams: int) -> dict[str, Score]:
    noun, counts = lm.units.noun, text.counts
    made = f"{noun}{_made(lm.units)}|vocabulary:{len(lm.units)}"
    common = f"unit:{made}|[UNK]:{counts.unknown} of {counts.units}, predicted like any unit"
    side = f"one pass, {streams} stream{'s side by side' if streams > 1 else ''}, state carried"
    stateful = f"{common}|context:{side}|document ends:{one.ends}"
    alone = f"{common}|context:windows of {COLD} from a cold start|document ends:{windows.ends}"

    def score(value: float, found: Held, signature: str) -> Score:
        return Score(value, None, None, found.units, signature)

    scores = {
        f"nats_per_{noun}": score(one.loss, one, stateful),
        f"bits_per_{noun}": score(one.loss / math.log(2), one, stateful),
        "perplexity": score(math.exp(min(one.loss, 700)), one, stateful),
        f"nats_per_{noun}_cold": score(windows.loss, windows, alone),
    }
    if noun != "character" and not _lost(lm.units, text.ids):
        bits = one.nats / math.log(2) / max(1, counts.characters)
        scores["bits_per_character"] = Score(bits, None, None, counts.characters, f"{stateful}|per:character of text")
    return scores


def _made(units: Units) -> str:
    """Return how a tokeniser made the units: perplexities of other settings are of another text."""
    if not isinstance(units, TokenUnits):
        return ""
    c = units.tokenizer.config
    yes = {name: "yes" if getattr(c, name) else "no" for name in ("lowercase", "numbers", "links")}
    return (
        f" ({c.units}, lowercase:{yes['lowercase']}, [NUM]:{yes['numbers']}, [URL]:{yes['links']}, at least "
        f"{c.min_count} times, at most {c.vocab_size}; each line that is not blank a document)"
    )


def _lost(units: Units, ids: Ids) -> bool:
    """Return whether a text cannot be told from its units, so that bits per character would be those of less."""
    lowered = isinstance(units, TokenUnits) and units.tokenizer.config.lowercase
    return lowered or bool(np.isin(ids, (UNK, NUM, URL)).any())


def _counts(lm: LanguageModel, text: Text, one: Held, seconds: float) -> dict[str, Any]:
    noun = lm.units.noun
    facts = {name: lm.facts[name] for name in ("parameters", "vocabulary", "steps", "minutes") if name in lm.facts}
    return facts | {
        f"{noun}s": text.counts.units,
        "documents": text.counts.documents,
        "characters_of_text": text.counts.characters,
        "unknown": text.counts.unknown,
        f"{noun}s_per_second": round(one.units / max(seconds, 1e-9)),
    }


def _explained(noun: str, *, cached: bool) -> Block:
    text = (
        f"Nats per {noun}: the negative log-probability of a {noun} given all before it, in one pass over the text "
        f"that carries its state; “cold”: in windows of {COLD} that each begin without context. Perplexity is its "
        f"exponential: among how many equally likely {noun}s the model is in doubt."
    )
    if cached:
        text += (
            " “Cache”: in the same pass, of the network with its continuous cache, which remembers what stood behind "
            "the last states; each of several streams begins with an empty one. All else is of the network alone."
        )
    return Paragraph(text, "How to read the scores")


def _curves(log: Path | None, noun: str, objective: str) -> list[Block]:
    if not (records := read_log(log)):
        return []

    def series(key: str, name: str) -> Series:
        points = [(r["step"], r[key]) for r in records if key in r]
        return Series(name, [x for x, _ in points], [y for _, y in points])

    trained, validated = series("loss", "training"), series("validation_loss", "validation")
    losses = [Chart("Loss", [trained, validated], "step", f"nats per {noun}")]
    if objective == "nce":  # two losses, of which neither says anything of the other
        losses = [
            Chart("Loss of noise-contrastive estimation", [trained], "step", f"nats per {noun}, of its own questions"),
            Chart("Loss of the full softmax", [validated], "step", f"nats per {noun}"),
        ]
    return [
        *losses,
        Chart("Norm of the gradient before clipping", [series("norm", "norm")], "step", "norm", log=True),
    ]


def _samples(samples: Sequence[Drawn], prompts: str | None) -> list[Block]:
    if not samples:
        return []
    places = np.unique(np.linspace(0, len(samples) - 1, min(_SHOWN, len(samples))).round().astype(int))
    begun = [prompt or "from the start" for prompt in (prompts or "").split("|")]
    rows = [(f"{samples[p].step:,}", f"{samples[p].loss:.3f}", *samples[p].texts) for p in places]
    note = "Drawn at each validation with the same seed, from the weights as they then were; evenly chosen where many."
    return [Samples("What the model writes as it learns", ("step", "loss", *begun), rows, note)]


def _normaliser(lm: LanguageModel, text: Text, one: Held, train: Ids | None) -> Block:
    """Return how far from 1 the normaliser Z is that noise-contrastive estimation never computes."""
    mean, deviation = log_normaliser(lm.model, text.ids)
    rows: list[tuple[float, ...]] = [(one.loss, one.loss - mean, mean, deviation)]
    titles = ["full softmax, nats", "scores taken as they are, nats", "mean of log Z", "its deviation"]
    if train is not None:
        rows = [(*rows[0], _own_loss(lm, text.ids, train))]
        titles.append(f"its own loss, first {_CONTEXTS:,} units, nats")
    note = (
        "The loss with the normaliser, and about what it would be if Z were taken for 1 (with the mean of log Z over "
        "the first 4,096 contexts, where Z is measured)."
    )
    return Table("Loss and normaliser", titles, rows, note)


def _own_loss(lm: LanguageModel, ids: Ids, train: Ids) -> float:
    """Return the loss of noise-contrastive estimation on the beginning of a text, per unit, its noise drawn once."""
    noise = noise_of(np.bincount(train, minlength=len(lm.units)), lm.config.softmax)
    task = StreamTask(lm.model, ids, 1, min(_CONTEXTS, len(ids) - 1), _SEED, noise and noise.to(lm.device))
    batch = task.batch(np.zeros(1, np.int64))
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(_SEED)
        loss, _, count = task.loss(LMBatch(batch.fed.to(lm.device), batch.targets.to(lm.device)))
    return float(loss) / count


def _python(lm: LanguageModel, text: Text, train: Ids | None) -> tuple[dict[str, Score], Block]:
    """Return the share of lines that are Python: of what the model writes, of a trigram, of the text itself."""
    count, length = _WRITTEN
    drawn = lm.sample(count=count, length=length, past_end=True, seed=_SEED)
    texts = {"python_lines": "\n".join(_whole(one) for one in drawn)}
    if train is not None:
        ids = trigram_ids(train[:_TRIGRAM], count * length, seed=_SEED)
        texts["python_lines_trigram"] = _whole(lm.units.decode(ids))
    texts["python_lines_real"] = _whole(lm.units.decode(text.ids[: 4 * count * length].tolist()))
    scores, rows = {}, []
    for name, written in texts.items():
        found = accepted(written)
        share, tokens = (100 * n / max(1, found.lines) for n in (found.ast, found.tokenize))
        how = "" if name == "python_lines_real" else f"|sampled:{count * length} units at temperature 1, seed {_SEED}"
        scores[name] = Score(share, None, None, found.lines, f"lines:each alone, not blank|by:ast{how}")
        rows.append((name.removeprefix("python_lines").strip("_") or "model", found.lines, share, tokens))
    titles = ("text", "lines", "accepted by ast, %", "by tokenize, %")
    note = (
        "Each line alone, without its indent: lines inside long strings and brackets count as they stand, so real "
        "source has less than 100 %. The trigram draws each unit by the two before it, as often as the training text "
        "has it."
    )
    return scores, Table("Lines that are Python", titles, rows, note)


def _whole(text: str) -> str:
    """Return the text without its first and last line, which may be cut."""
    return text.partition("\n")[2].rpartition("\n")[0]
