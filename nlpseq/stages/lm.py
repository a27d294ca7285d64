"""The lm stage: from text to a language model, its samples, its scores and its report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch

from nlpseq import folders
from nlpseq.artefact import MANIFEST, load, read_manifest, save, write_file
from nlpseq.config import to_plain
from nlpseq.errors import CorpusError, UsageError, sentence
from nlpseq.language_model import STAGE, LanguageModel, build_lm, fitted_cache, held_out
from nlpseq.lm_dynamic import check_rate, with_dynamic
from nlpseq.lm_report import Drawn, lm_report, scores_line
from nlpseq.lm_task import noise_of, task_of
from nlpseq.lm_text import HELD_OUT, Source, Text, encode_text, learn_units, open_source, training_rows
from nlpseq.loop import Event, Watch, counting, unwatched
from nlpseq.report import Report, check_folder, write
from nlpseq.settings import LMConfig
from nlpseq.staging import Job, train_network, train_stage
from nlpseq.training import World, set_threads
from nlpseq.units import Ids, Units, units_from_files
from nlpseq.vocab import EOS
from nlpseq.weights import WEIGHTS, pack_weights

__all__ = ["evaluate_language_model", "train_lm"]

VALIDATED = 50_000  # units of the validation text that are passed at each validation
_STREAMS = 32  # side by side
_STRIDE = 3  # of windows, unless set
_SAMPLES = "samples.jsonl"


class _Prepared(NamedTuple):
    source: Source
    units: Units
    train: Text
    validation: Text
    test: Text
    names: tuple[str, str, str]  # of the splits that these are of


def train_lm(config: LMConfig, *, watch: Watch = unwatched) -> LanguageModel:
    """Return a language model trained as `config` says, and leave it in `config.run.out` with its report.

    A run that was stopped goes on where it was; a folder that holds this run finished is loaded as it is. watch: is
    handed events to show. Raises UsageError for settings, CorpusError for data, ArtefactError for the folder,
    WorkError where the work fails, Interrupted after Ctrl-C with the state saved.
    """
    first = partial(_open, config)
    reads = {"tokenizer": config.data.tokenizer}
    work = partial(_train, config)
    train_stage(config, STAGE, columns=[config.data.text], reads=reads, opened=first, work=work, watch=watch)
    return LanguageModel.load(str(config.run.out), device=config.compute.device)


def _open(config: LMConfig) -> Source:
    as_bytes = config.data.units == "byte" and config.data.tokenizer is None
    return open_source(str(config.run.corpus), config.data.text, as_bytes=as_bytes)


def _train(config: LMConfig, job: Job) -> None:
    with job.first_alone():
        work = _prepare(config, job.state, job.watch)
    torch.manual_seed(config.compute.seed)
    model = build_lm(config, len(work.units))
    counts = np.bincount(work.train.ids, minlength=len(work.units))
    noise = noise_of(counts, config.softmax)
    if noise is not None:  # so that the model starts normalised, as the embed stage's does
        with torch.no_grad():
            model.output.bias.copy_(torch.from_numpy(np.log(np.maximum(counts, 0.1) / counts.sum())))
    batching = config.batching
    task = task_of(
        model,
        work.train.ids,
        rows=max(1, config.training.batch_tokens // batching.steps),
        steps=batching.steps,
        stride=None if batching.batching == "streams" else batching.stride or _STRIDE,
        seed=config.compute.seed,
        noise=None if noise is None else noise.to(job.device),
    )
    live = LanguageModel(model, work.units, config=config, facts=_facts(config, work, model, job))
    if unknown := live.unknown((config.sampling.prompts or "").replace("|", "")):
        noun = f"{live.units.noun}{'s' * (unknown > 1)}"
        job.note(f"warning: {unknown} {noun} of the prompts never seen in training, read as [UNK]")
    diary = _Diary(job.state / _SAMPLES, live)
    watched = replace(job, watch=diary.watching(job.watch)) if job.first else job
    evaluate = _validation(live, work.validation.ids, diary)
    live.facts |= train_network(
        watched,
        model,
        task,
        config.training,
        seed=config.compute.seed,
        evaluate=evaluate,
        metric="loss",
        counted=work.units.noun,
    )
    if job.first:
        _finish(live, work, diary, job)


def _facts(config: LMConfig, work: _Prepared, model: torch.nn.Module, job: Job) -> dict[str, Any]:
    return {
        "corpus": work.source.name,
        "column": config.data.text,
        "unit": work.units.noun,
        "vocabulary": len(work.units),
        "parameters": sum(p.numel() for p in model.parameters()),
        "splits": list(work.names),
        "train": asdict(work.train.counts),
        "validation": asdict(work.validation.counts),
        "fingerprint": dict(job.wanted),
    }


def _prepare(config: LMConfig, state: Path, watch: Watch) -> _Prepared:
    """Return units and ids; what an earlier try of this run has written whole is taken as it is."""
    data = config.data
    if data.tokenizer is not None:
        read_manifest(Path(data.tokenizer))  # a wrong folder is said before the text is read
    source = _open(config)
    for said in source.left_out:
        watch(Event("note", said))
    validation = data.validation or ("validation" if "validation" in source.splits else HELD_OUT)
    test = data.test or ("test" if "test" in source.splits else validation)
    held = False if HELD_OUT in (validation, test) else None
    rows = partial(training_rows, source, data, held=held)
    for name in (data.splits, validation, test):
        if name != HELD_OUT:
            source.rows(name)  # a slip in a name is said before long work
    _refuse_overlap(data.splits, validation, test)
    units = _units(config, rows, state, watch)
    watch(Event("note", f"The vocabulary has {len(units):,} units."))

    def encode(name: str, role: str) -> Text:
        own = role == "train" or name == HELD_OUT
        text = training_rows(source, data, held=held if role == "train" else True) if own else source.rows(name)
        path = state / ("validation" if role == "test" and name == validation else role)
        joined = source.running and not own
        found = encode_text(text, units, path=path, joined=joined, told=counting(watch, f"{name} to ids, row"))
        _refuse_short(found, name, source)
        watch(Event("note", f"{name}: {_summary(found, units)}"))
        return found

    names = data.splits, validation, test
    train, validated, tested = (encode(*pair) for pair in zip(names, ("train", "validation", "test"), strict=True))
    return _Prepared(source, units, train, validated, tested, names)


def _refuse_overlap(splits: str, validation: str, test: str) -> None:
    """Raise UsageError where a model would be scored on what it is trained on; `all` holds every other split."""
    trained = {name.strip() for name in splits.split(",")}
    scored = {name.strip() for names in (validation, test) for name in names.split(",")} - {HELD_OUT}
    if scored and (trained & scored or "all" in trained | scored):
        must = f"be none of those that are scored ({', '.join(sorted(scored))}; {HELD_OUT} parts the training text)"
        raise UsageError(sentence("splits", must, splits))


def _refuse_short(text: Text, name: str, source: Source) -> None:
    if text.counts.units < 2:
        must = "have at least two units of text"
        raise CorpusError(sentence(name, must, str(text.counts.units), source.name, quote=False))


def _units(config: LMConfig, rows: Callable[[], Any], state: Path, watch: Watch) -> Units:
    """Return the units, learnt once for a run and kept with its state."""
    folder = state / "units"
    if not (folder / MANIFEST).exists():
        watch(Event("note", f"Learning the units of {config.run.corpus}."))
        learnt = learn_units(rows, config.data)
        folder.mkdir(exist_ok=True)
        save(folder, "units", settings={}, files=learnt.files(), facts={})
    return units_from_files(load(folder, "units").files, str(folder))


def _summary(text: Text, units: Units) -> str:
    c = text.counts
    share = 100 * c.unknown / max(1, c.units)
    documents = f"{c.documents:,} document{'s' * (c.documents != 1)}"
    return f"{c.units:,} {units.noun}s in {documents}, [UNK] {share:.2f} %"


class _Diary:
    """The samples that are drawn at each validation, in order: those of steps that a resumed run does anew are cut."""

    def __init__(self, path: Path, live: LanguageModel) -> None:
        self.path = path
        self._live = live
        self._drawn: list[str] = []

    def draw(self) -> None:
        """Draw the samples of one validation; with a generator of their own, so that nothing else changes."""
        s = self._live.config.sampling
        how: dict[str, Any] = {"length": s.sample_length, "temperature": s.sample_temperature, "past_end": True}
        prompts = (s.prompts or "").split("|")
        seed = self._live.config.compute.seed
        self._drawn = [self._live.sample(p, seed=seed + place, **how)[0] for place, p in enumerate(prompts)]

    def watching(self, watch: Watch) -> Watch:
        """Return a watch that keeps the samples with the step at which they were drawn."""
        if not (self.path.parent / folders.STATE).exists():
            self.path.unlink(missing_ok=True)

        def seen(event: Event) -> None:
            if event.kind == "resumed":
                self._cut(event.step)
            if event.kind == "validation" and self._drawn:
                drawn = Drawn(event.step, event.values["loss"], self._drawn)
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write(json.dumps(drawn._asdict()) + "\n")
            watch(event)

        return seen

    def _cut(self, step: int) -> None:
        kept = [drawn for drawn in self.read() if drawn.step <= step]
        write_file(self.path, "".join(json.dumps(drawn._asdict()) + "\n" for drawn in kept).encode())

    def read(self) -> list[Drawn]:
        """Return all samples in order; a damaged line is not worth a run."""
        found = []
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            try:
                found.append(Drawn(**json.loads(line)))
            except (ValueError, TypeError):
                continue
        return found


def _validation(live: LanguageModel, ids: Ids, diary: _Diary) -> Callable[[], dict[str, float]]:
    """Return what measures the model as it stands, and lets it write."""
    part = _validated(ids)
    streams = max(1, min(_STREAMS, len(part) // 512))

    def evaluate() -> dict[str, float]:
        live.model.eval()
        loss = held_out(live.model, part, streams=streams).loss
        if math.isfinite(loss):  # nothing can be drawn otherwise, and the loop says so better
            diary.draw()
        return {"loss": loss}

    return evaluate


def _validated(ids: Ids) -> Ids:
    """Return the part of the validation text that chooses: its first 50,000 units."""
    return np.append(ids[:VALIDATED], EOS) if len(ids) > VALIDATED else ids


def _finish(live: LanguageModel, work: _Prepared, diary: _Diary, job: Job) -> None:
    """Score and report on the test text into the state folder, then switch the new model in."""
    if size := live.config.model.cache:
        cache = fitted_cache(live.model, _validated(work.validation.ids), size)
        live.facts["cache"] = cache._asdict()
        job.note(f"The cache has weight {cache.weight:.3f} and sharpness {cache.sharpness:g}, fitted on validation.")
    also = " Three small networks are trained for the figure of gradients." if live.config.gradients else ""
    job.note(f"Scoring {work.names[2]}.{also}")
    report = lm_report(
        live,
        work.test,
        corpus=work.source.name,
        split=work.names[2],
        python=work.source.python,
        train=work.train.ids,
        log=job.state / "metrics.jsonl",
        samples=diary.read(),
    )
    write(job.state, report)
    job.note(scores_line(report))
    files = {WEIGHTS: pack_weights(live.model), **live.units.files()}
    save(job.folder, STAGE, settings=to_plain(live.config), files=files, facts=live.facts)


def evaluate_language_model(
    model: str | Path,
    corpus: str,
    *,
    split: str = "test",
    text: str | None = None,
    dynamic: float | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    watch: Watch = unwatched,
) -> Report:
    """Return the scores of a finished language model on a text, and write them as its report.

    corpus, text: as in training, the column of the training when absent; split: several one after the other as in
    `validation,test`, or held-out, what a training on this corpus held out of its text; dynamic: learning rate at which
    a copy of the model goes on learning from the text as it is scored, for one score more (`lm_dynamic`); out: the
    folder of the report, when absent one of its own in the model's, `evaluate-<corpus>-<split>`. Raises ArtefactError,
    CorpusError, UsageError for a rate that cannot be, WorkError.
    """
    if dynamic is not None:
        check_rate(dynamic)
    if out:
        check_folder(Path(out))  # before any work
    set_threads(None, World())
    live = LanguageModel.load(model, device=device)
    source = open_source(corpus, text or live.facts["column"], as_bytes=live.units.noun == "byte")
    for said in source.left_out:
        watch(Event("note", said))
    rows = _held_out(live, source) if split == HELD_OUT else source.rows(split)
    joined = source.running and split != HELD_OUT
    watch(Event("note", f"Scoring {split} of {source.name}."))
    with TemporaryDirectory(prefix="nlpseq-") as scratch:
        found = encode_text(rows, live.units, path=Path(scratch) / "text", joined=joined, told=lambda _: None)
        _refuse_short(found, split, source)
        log = Path(model) / "metrics.jsonl" if source.name == live.facts["corpus"] else None
        report = lm_report(live, found, corpus=source.name, split=split, python=source.python, log=log)
        if dynamic is not None:
            report = with_dynamic(report, live, found.ids, rate=dynamic, watch=watch)
    folder = Path(out) if out else folders.evaluation_folder(Path(model), source.name, split.replace(",", "+"))
    write(folder, report)
    watch(Event("note", f"The report is {folder / 'report.html'}."))
    return report


def _held_out(live: LanguageModel, source: Source) -> Iterator[str]:
    """Return what the training held out of its text; CorpusError where it did not, or read another corpus."""
    if source.name != live.facts["corpus"] or HELD_OUT not in live.facts["splits"]:
        must = f"be asked for where the model was trained on {source.name} with a part of the text held out"
        raise CorpusError(sentence(HELD_OUT, must, "not", source.name, quote=False))
    return training_rows(source, live.config.data, held=True)
