"""The embed stage: from a corpus to word vectors, their scores and their report."""

from __future__ import annotations

import math
import mmap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from nlpseq import folders
from nlpseq.artefact import save
from nlpseq.batches import Ragged
from nlpseq.config import check, to_plain
from nlpseq.corpora import corpus_path
from nlpseq.embed_report import MEASURES, embedding_report, noun, scores_line, tests_at_hand
from nlpseq.errors import Interrupted, WorkError, sentence
from nlpseq.loop import Event, Log, Watch, save_state, signals, take_up, unwatched
from nlpseq.report import write
from nlpseq.settings import EmbedConfig
from nlpseq.threads import usable_cores
from nlpseq.training import World, choose_device, set_threads
from nlpseq.vectors import STAGE, Embeddings, StoredVectors, to_files
from nlpseq.word_stream import Source, WordStream, open_source, prepare_stream
from nlpseq.word_training import HeldOut, WordRun, WordStep, begin_words, fit_words, held_out

__all__ = ["train_embeddings"]

_FEW = 1000  # steps in which little is learnt
_LOOK_SECONDS = 1.0  # between looks at losses: a look waits for the device


def train_embeddings(config: EmbedConfig, *, watch: Watch = unwatched) -> Embeddings:
    """Return word vectors trained as `config` says, and leave them in `config.run.out` with their report.

    A run that was stopped goes on where it was; a folder that holds this run finished is loaded as it is. watch: is
    handed events to show. Raises UsageError for settings, CorpusError for data, ArtefactError for the folder,
    WorkError where the work fails, Interrupted after Ctrl-C with the state saved.
    """
    check(config)
    device = choose_device(config.compute.device)
    set_threads(config.compute.threads, World())
    folder = Path(str(config.run.out))
    wanted = _wanted(config)
    with folders.held(folder):
        done = folders.finished(
            folder, STAGE, wanted=wanted, replace=config.run.replace, first=lambda: open_source(config)
        )
        if not done:
            _train(config, folder, wanted, device=device, watch=watch)
        folders.release(folder, wanted)
        embeddings = Embeddings.load(folder)
        report = f"The report is {folder / 'report.html'}."
        watch(Event("note", f"{folder} holds this very run, finished; nothing to do." if done else report))
        return embeddings


def _wanted(config: EmbedConfig) -> dict[str, Any]:
    columns = [column for column in (config.text, config.pair.source, config.pair.target) if column]
    place = corpus_path(str(config.run.corpus), columns=columns)
    return folders.fingerprint(config, corpus=folders.stamp(place), tokenizer=folders.stamp(config.tokenizer))


def _train(config: EmbedConfig, folder: Path, wanted: Mapping[str, Any], *, device: torch.device, watch: Watch) -> None:
    started = time.perf_counter()
    state = folders.claim(folder, wanted=wanted, replace=config.run.replace, resume=config.compute.resume)
    source = open_source(config)
    names = [split.name for split in source.train]
    held_out = source.corpus.whole is not None and names == ["train"]  # whose test this stage has no use for
    left = " Its test split is not read; --splits all reads every row." if held_out else ""
    watch(Event("note", f"Reading {source.corpus.name} ({', '.join(source.columns)}; {', '.join(names)}).{left}"))
    rows = source.rows
    stream = prepare_stream(
        source, config, path=state / "text", told=lambda done: watch(Event("progress", "text to ids", done, rows))
    )
    watch(Event("note", _summary(stream, noun(wanted))))
    run = begin_words(
        stream.counts, config.model, seed=config.compute.seed, device=device, tokens=len(stream.train.ids)
    )
    if run.total < _FEW * run.shape.tokens and config.model.max_steps is None:
        most = math.ceil(run.total / run.shape.tokens)
        watch(Event("note", f"At most {most:,} steps in all: a smaller --block and more --epochs suit so little text."))
    if (workers := config.model.workers) > (cores := usable_cores()):
        watch(Event("note", f"More workers ({workers}) than cores ({cores}) are no faster."))
    _fit(run, stream.train, state=state, word=noun(wanted), watch=watch)
    facts = {
        "corpus": source.corpus.name,
        "columns": list(source.columns),
        "vocabulary": len(stream.words),
        **stream.facts,
        "words_trained": run.tokens,
        "words_trained_after_subsampling": run.effective,
        "blocks": run.step,
        "device": str(device),
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "fingerprint": dict(wanted),
    }
    _finish(_Work(config, source, stream, facts), run, folder, state=state, watch=watch)


class _Work(NamedTuple):
    config: EmbedConfig
    source: Source
    stream: WordStream
    facts: dict[str, Any]


def _summary(stream: WordStream, word: str) -> str:
    f = stream.facts
    share = 100 * f["words_dropped"] / max(1, f["words_read"])
    rare = f", {share:.2f} % dropped as too rare" if word == "word" else ""
    held = f"; {f['held_words']:,} {word}s of {f['held_documents']:,} held-out documents" if f["held_documents"] else ""
    return (
        f"{len(stream.words):,} {word}s have a vector; {f['words']:,} {word}s of text in {f['documents']:,} documents"
        f"{rare}{held}."
    )


def _fit(run: WordRun, text: Ragged, *, state: Path, word: str, watch: Watch) -> None:
    """Train to the end, from a saved state where there is one; Interrupted after SIGINT or SIGTERM.

    word: what the text is made of, for messages.
    """
    path, log = state / folders.STATE, Log(state / "metrics.jsonl")
    log.cut(take_up(run, path))
    if run.tokens:
        watch(Event("resumed", word, run.tokens, run.total))
    saved = time.monotonic()
    since = _Since(run.tokens)
    with signals() as caught:
        for step in fit_words(run, text):
            since.steps.append(step)
            stop, due = bool(caught), time.monotonic() - saved > run.config.save_minutes * 60
            if stop or due or run.done or step.epoch_ended or since.seconds > _LOOK_SECONDS:
                _look(run, since, log=log, word=word, watch=watch)
                _let_go(text)
                since = _Since(run.tokens)
            if stop or due:
                save_state(run, path, log.synced())
                saved = time.monotonic()
                watch(Event("saved", "", run.tokens, run.total))
            if stop:
                place = f"{word} {run.tokens:,} of {run.total:,}"
                raise Interrupted(f"Stopped at {place}; the state is saved, the same command goes on from there.")
        save_state(run, path, log.synced())  # what follows, such as the scores, may still fail


@dataclass
class _Since:
    """What was done since the last look."""

    tokens: int
    steps: list[WordStep] = field(default_factory=list)
    begun: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.begun


def _look(run: WordRun, since: _Since, *, log: Log, word: str, watch: Watch) -> None:
    """Read the losses since the last look, write one line, stop where one is not finite."""
    last, noise = since.steps[-1], sum(step.noise_words for step in since.steps)
    loss = float(torch.stack([step.loss for step in since.steps]).sum())
    if not math.isfinite(loss):
        must = "stay finite (the last saved state is kept; a lower learning_rate or a smaller block may help)"
        found = f"{loss} at {word} {run.tokens:,}, learning rate {last.rate:.2e}"
        raise WorkError(sentence("loss", must, found, quote=False))
    seconds = since.seconds
    values = {
        "epoch": last.epoch,
        "loss": loss / max(1, noise),
        "noise_words": noise,
        "rate": last.rate,
        "tokens_per_second": (run.tokens - since.tokens) / max(seconds, 1e-9),
    }
    progress = {"step": run.step, "tokens": run.tokens, "effective": run.effective, "seconds": round(seconds, 3)}
    log.write(progress | values)
    watch(Event("step", word, run.tokens, run.total, values))


def _let_go(text: Ragged) -> None:
    """Hand back the pages of text that were read, which would count as memory of ours until the system wants them."""
    pages: Any = text.ids.base
    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def _finish(work: _Work, run: WordRun, folder: Path, *, state: Path, watch: Watch) -> None:
    """Score and report into the state folder, then switch the new vectors in."""
    config, stream = work.config, work.stream
    vectors = run.inputs.cpu().numpy()
    if not np.isfinite(vectors).all():
        must = "stay finite (a lower learning_rate or a smaller block may help)"
        raise WorkError(sentence("vectors", must, "infinite or not a number", quote=False))
    embeddings = Embeddings(stream.words, vectors, stream.counts, facts=work.facts)
    held: dict[str, HeldOut] = {}
    if config.model.objective == "nce" and stream.held.lengths.max(initial=0) > 1:
        watch(Event("note", "Measuring the normaliser on held-out text."))
        for name, measure in MEASURES.items():
            model = _unigram(stream, config, thinned=measure.thinned) if measure.unigram else run
            held[name] = held_out(model, stream.held, subsample=measure.thinned)
    tests = [] if config.tokenizer else tests_at_hand(work.source.corpus)
    report = embedding_report(embeddings, held=held, tests=tests, log=state / "metrics.jsonl")
    write(state, report)
    watch(Event("note", scores_line(report)))
    stored = StoredVectors(list(stream.words), vectors, stream.counts)
    save(folder, STAGE, settings=to_plain(config), files=to_files(stored), facts=work.facts)


def _unigram(stream: WordStream, config: EmbedConfig, *, thinned: bool) -> WordRun:
    """Return a model that knows no more than the share of each word: one that has just begun, whose outputs are 0."""
    subsample = config.model.subsample if thinned else None
    settings = replace(config.model, embed_size=1, subsample=subsample)
    return begin_words(stream.counts, settings, seed=config.compute.seed, device=torch.device("cpu"), tokens=0)
