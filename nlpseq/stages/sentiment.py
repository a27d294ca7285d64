"""The sentiment stage: from a corpus of text and label to a classifier, its scores and its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nlpseq import folders
from nlpseq.artefact import MANIFEST, read_manifest, save
from nlpseq.batches import Plan, pad, plan
from nlpseq.calibration import fit_temperature
from nlpseq.classifier import STAGE, STRIDE, SentimentClassifier, build_classifier
from nlpseq.config import to_plain
from nlpseq.corpora import Corpus, corpus_path, corpus_version
from nlpseq.cuts import PARTS
from nlpseq.errors import CorpusError, sentence
from nlpseq.labelled import (
    LabelCounts,
    LabelledData,
    LabelledSplit,
    classes_of,
    encode_labelled,
    labelled_splits,
    open_labelled,
    readable,
    scorable,
)
from nlpseq.loop import Event, Watch, counting, unwatched
from nlpseq.losses import adversarial
from nlpseq.nn.classifier import TextClassifier
from nlpseq.preflight import preflight
from nlpseq.pretrained import open_vectors, start_from_vectors
from nlpseq.report import Report, check_folder, write
from nlpseq.sentiment_report import scores_line, sentiment_report
from nlpseq.settings import LabelConfig, SentimentConfig
from nlpseq.staging import Job, train_network, train_stage
from nlpseq.tokenizer import Tokenizer
from nlpseq.training import World, float32, set_threads, to_device
from nlpseq.weights import WEIGHTS, pack_weights

__all__ = ["LabelBatch", "SentimentTask", "evaluate_sentiment", "train_sentiment"]


class LabelBatch(NamedTuple):
    """A batch as the model takes it."""

    tokens: Tensor  # (B, S) int64
    lengths: Tensor  # (B,) int64
    targets: Tensor  # (B,) int64
    rows: int


@dataclass(frozen=True)
class SentimentTask:
    """What `fit` has to know to train a classifier."""

    model: TextClassifier
    data: LabelledData
    batch_tokens: int
    seed: int
    smoothing: float = 0.0
    adversarial: float = 0.0

    def plan(self, epoch: int) -> Plan:
        """Return the epoch's batches, of like length."""
        widths = -(-self.data.tokens.lengths // STRIDE) * STRIDE
        return plan([widths], self.batch_tokens, seed=self.seed, epoch=epoch)

    def batch(self, rows: npt.NDArray[np.int64]) -> LabelBatch:
        """Return the examples of these numbers."""
        tokens, lengths = pad(self.data.tokens, rows, multiple=STRIDE)
        return LabelBatch(tokens, lengths, torch.from_numpy(self.data.labels[rows]), len(rows))

    def loss(self, batch: LabelBatch, done: float = 0.0) -> tuple[Tensor, Tensor, int]:
        """Return the loss to descend, the plain cross-entropy, both summed, in nats, and the number of texts.

        The first is the cross-entropy, smoothed, and adversarial where that is asked for (`nlpseq.losses.adversarial`).
        """
        inputs = self.model.embed(batch.tokens)
        return *adversarial(partial(self._losses, batch), inputs, batch.lengths, share=self.adversarial), batch.rows

    def _losses(self, batch: LabelBatch, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the smoothed and the plain cross-entropy at vectors (B, S, E), each () and summed, in nats."""
        logits = self.model.read(inputs, batch.lengths)
        loss = F.cross_entropy(logits, batch.targets, reduction="sum", label_smoothing=self.smoothing)
        plain = F.cross_entropy(logits.detach(), batch.targets, reduction="sum") if self.smoothing else loss
        return loss, plain


class _Prepared(NamedTuple):
    corpus: Corpus
    columns: tuple[str, str]
    splits: dict[str, LabelledSplit]
    classes: dict[str, int]
    tokenizer: Tokenizer
    train: LabelledData
    validation: LabelledData


def train_sentiment(config: SentimentConfig, *, watch: Watch = unwatched) -> SentimentClassifier:
    """Return a classifier trained as `config` says, and leave it in `config.run.out` with its report.

    A run that was stopped goes on where it was; a folder that holds this run finished is loaded as it is. watch: is
    handed events to show. Raises UsageError for settings, CorpusError for data, ArtefactError for the folder,
    WorkError where the work fails, Interrupted after Ctrl-C with the state saved.
    """
    first = partial(open_labelled, str(config.run.corpus), config.columns)
    reads = {"tokenizer": config.tokenizer, "embeddings": config.pretrained.embeddings}
    columns = (config.columns.text, config.columns.label)
    work = partial(_train, config)
    train_stage(config, STAGE, columns=columns, reads=reads, opened=first, work=work, watch=watch)
    return SentimentClassifier.load(str(config.run.out), device=config.compute.device)


def _train(config: SentimentConfig, job: Job) -> None:
    with job.first_alone():
        vectors = open_vectors(config.pretrained, config.model.embed_size)  # before long work: they may not fit
        work = _prepare(config, job.state, job.watch)
    torch.manual_seed(config.compute.seed)
    model = build_classifier(config, len(work.tokenizer), len(work.classes))
    facts = _facts(work, model) | {"fingerprint": dict(job.wanted)}
    if vectors is not None:
        tokens = work.tokenizer.units(range(len(work.tokenizer)))
        freeze, seed = config.pretrained.freeze, config.compute.seed
        covered = start_from_vectors([model.embedding], vectors, tokens=tokens, freeze=freeze, seed=seed)
        job.note(f"{covered.told('units')}.")
        facts["embeddings"] = covered._asdict()
        del vectors  # which may be hundreds of megabytes
    training, seed = config.training, config.compute.seed
    task = SentimentTask(model, work.train, training.batch_tokens, seed, config.label_smoothing, config.adversarial)
    held_out = SentimentTask(model, work.validation, training.batch_tokens, 0)
    evaluate, metric = _validation(held_out), config.metric
    facts |= train_network(job, model, task, training, seed=seed, evaluate=evaluate, metric=metric, counted="text")
    if job.first:
        facts["temperature"] = fit_temperature(*_logits(held_out))
        classifier = SentimentClassifier(model, work.tokenizer, config=config, facts=facts)
        _finish(classifier, work, job)


def _prepare(config: SentimentConfig, state: Path, watch: Watch) -> _Prepared:
    """Return corpus, tokeniser and ids; what an earlier try of this run has written whole is taken as it is."""
    if config.tokenizer is not None:
        read_manifest(Path(config.tokenizer))  # a wrong folder is said before the corpus is read
    corpus, columns = open_labelled(str(config.run.corpus), config.columns, told=counting(watch, "reading, row"))
    splits = labelled_splits(corpus, columns)
    if not (state / "tokenizer" / MANIFEST).exists():
        _look_over(corpus, columns, watch)
    watch(Event("note", f"Reading {corpus.name} ({', '.join(columns)})."))
    order = corpus.card.labels.get(columns[1], ()) if corpus.card else ()
    classes = classes_of(splits["train"], corpus.name, order=order)
    splits = _scorable(splits, classes, watch)
    if not (state / "tokenizer" / MANIFEST).exists():
        tokenizer = _tokenizer(config, splits["train"], rows=sum(classes.values()), watch=watch)
        (state / "tokenizer").mkdir(exist_ok=True)
        save(state / "tokenizer", "tokenize", settings={}, files=tokenizer.files(), facts={})
    tokenizer = Tokenizer.load(state / "tokenizer")
    watch(Event("note", f"The vocabulary has {len(tokenizer):,} units."))

    def encode(name: str) -> LabelledData:
        told = counting(watch, f"{name} to ids, row")
        return encode_labelled(
            splits[name], list(classes), tokenizer=tokenizer, path=state / name, reading=config.reading, told=told
        )

    prepared = _Prepared(corpus, columns, splits, classes, tokenizer, encode("train"), encode("validation"))
    for name, data in (("train", prepared.train), ("validation", prepared.validation)):
        if not len(data.labels):
            must = "have at least one row with text and label"
            raise CorpusError(sentence(name, must, "without one", corpus.name, quote=False))
        watch(Event("note", f"{name}: {summary(data.counts)}"))
    return prepared


def _scorable(splits: dict[str, LabelledSplit], classes: dict[str, int], watch: Watch) -> dict[str, LabelledSplit]:
    """Return the splits that can be scored, and say what is not: before the training, not behind it."""
    found, left = scorable(splits, classes)
    for name, rows in left.items():
        watch(Event("note", f"warning: {name}: {rows:,} rows have a label that train does not have and are left out."))
    if len(found) < len(splits):
        watch(Event("note", "warning: test has no text with a label, so validation is what is reported."))
    return found


def _look_over(corpus: Corpus, columns: tuple[str, str], watch: Watch) -> None:
    """Say what is wrong with the corpus, and raise CorpusError with all of it that must be mended."""
    there = [n for n in corpus.splits if n in PARTS and (n != "test" or columns[1] in corpus.split(n).columns)]
    parts = Corpus(corpus.name, {name: corpus.split(name) for name in there}, corpus.card)
    told = counting(watch, "looking over, row")
    found = preflight(parts, columns, max_words=None, max_characters=None, max_ratio=None, told=told)
    found.raise_errors()
    for fault in found.faults:
        watch(Event("note", f"warning: {fault.message}"))


def summary(counts: LabelCounts) -> str:
    """Return one line on what became of a split's rows."""
    c = counts
    left = f", left out {c.empty:,} empty and {c.unlabelled:,} without label" if c.empty or c.unlabelled else ""
    share = c.describe()["unknown_percent"]
    return f"{c.kept:,} texts{left}; {c.cut:,} are read in part; {c.tokens:,} tokens, [UNK] {share:.2f} %"


def _tokenizer(config: SentimentConfig, train: LabelledSplit, *, rows: int, watch: Watch) -> Tokenizer:
    if config.tokenizer is not None:
        return Tokenizer.load(config.tokenizer)
    units = config.vocabulary
    watch(Event("note", f"Learning at most {units.vocab_size:,} {units.units} units."))
    drawn = islice(train, 0, None, max(1, -(-rows // units.sample)))
    return Tokenizer.train((readable(example.text, units) for example in drawn), units)


def _facts(work: _Prepared, model: TextClassifier) -> dict[str, Any]:
    return {
        "corpus": work.corpus.name,
        "columns": list(work.columns),
        "classes": list(work.classes),
        "class_counts": list(work.classes.values()),
        "temperature": 1.0,
        "vocabulary": len(work.tokenizer),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train": work.train.counts.describe(),
        "validation": work.validation.counts.describe(),
    }


@float32()
@torch.inference_mode()
def _logits(task: SentimentTask) -> tuple[Tensor, Tensor]:
    """Return what the model says of all examples, (N, C), and their classes (N,), on the CPU."""
    task.model.eval()
    device, order = task.model.output.weight.device, task.plan(0)
    logits, targets = [], []
    for number in range(len(order)):
        batch = to_device(task.batch(order.batch(number)), device)
        logits.append(task.model(batch.tokens, batch.lengths))
        targets.append(batch.targets)
    return torch.cat(logits).cpu(), torch.cat(targets).cpu()


def _validation(task: SentimentTask) -> Callable[[], dict[str, float]]:
    """Return what measures the model as it stands."""

    def evaluate() -> dict[str, float]:
        logits, targets = _logits(task)
        right = (logits.argmax(1) == targets).double().mean()
        return {"loss": float(F.cross_entropy(logits.double(), targets)), "accuracy": 100 * float(right)}

    return evaluate


def _finish(classifier: SentimentClassifier, work: _Prepared, job: Job) -> None:
    """Score and report on the test split into the state folder, then switch the new model in."""
    split = "test" if "test" in work.splits else "validation"
    job.note(f"Classifying {split}; a yardstick, words without order, is learnt beside it.")
    report = sentiment_report(
        classifier, work.splits[split], split, name=work.corpus.name, train=work.splits["train"],
        log=job.state / "metrics.jsonl", own=True,
    )  # fmt: skip
    write(job.state, report)
    job.note(scores_line(report))
    files = {WEIGHTS: pack_weights(classifier.model), **classifier.tokenizer.files()}
    save(job.folder, STAGE, settings=to_plain(classifier.config), files=files, facts=classifier.facts)


def evaluate_sentiment(
    model: str | Path,
    corpus: str,
    *,
    split: str = "test",
    columns: LabelConfig | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    watch: Watch = unwatched,
) -> Report:
    """Return the scores and samples of a finished classifier on a split of a corpus, and write them as its report.

    columns: of text and label, those of the training when absent; out: the folder of the report, when absent one of its
    own in the model's, `evaluate-<corpus>-<split>`. Raises UsageError, ArtefactError, CorpusError, WorkError.
    """
    if out:
        check_folder(Path(out))  # before any work
    set_threads(None, World())
    classifier = SentimentClassifier.load(model, device=device)
    asked, (text, label) = columns or LabelConfig(), classifier.facts["columns"]
    opened, found = open_labelled(corpus, LabelConfig(asked.text or text, asked.label or label))
    splits = labelled_splits(opened, found) if "train" in opened.splits else {}
    examples = splits.get(split) or LabelledSplit(opened.split(split), found)
    if examples.cut_here and split != "train":  # as in training: a class whose only texts it has is not scored
        known = frozenset(one.label for one in splits["train"] if one.label is not None)
        examples = replace(examples, labels=known)
    watch(Event("note", f"Classifying {opened.part(split)}."))
    log = Path(model) / "metrics.jsonl"
    train = splits["train"] if split in splits and split != "train" else None  # else the yardsticks know the answers
    version = folders.stamp(corpus_path(corpus, columns=found)) or corpus_version(corpus)
    own = (classifier.facts["corpus"], folders.stamp_in(classifier.facts["fingerprint"], "corpus")) == (
        opened.name,
        version,
    )
    report = sentiment_report(classifier, examples, split, name=opened.name, train=train, log=log, own=own)
    folder = Path(out) if out else folders.evaluation_folder(Path(model), opened.name, split)
    write(folder, report)
    watch(Event("note", f"The report is {folder / 'report.html'}."))
    return report
