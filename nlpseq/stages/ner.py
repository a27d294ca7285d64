"""The ner stage: from a corpus of tagged sentences to a tagger, its scores and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nlpseq import folders
from nlpseq.artefact import MANIFEST, load, save
from nlpseq.batches import Plan, pad, plan
from nlpseq.config import from_plain, to_plain
from nlpseq.corpora import Split
from nlpseq.entity_scores import f1_value
from nlpseq.errors import CorpusError, sentence
from nlpseq.loop import Event, Watch, counting, unwatched
from nlpseq.losses import adversarial
from nlpseq.ner_report import fit_outside_penalty, fit_span_temperature, ner_report, scores_line
from nlpseq.nn.crf import best_paths, log_partition, path_scores
from nlpseq.nn.tagger import TaggerNetwork
from nlpseq.pretrained import open_vectors, refuse_strangers
from nlpseq.report import Report, check_folder, write
from nlpseq.settings import NerConfig, PretrainedConfig, TagConfig
from nlpseq.staging import Job, train_network, train_stage
from nlpseq.tagged import Sentence, TaggedCorpus, Tally, may_lack_types, open_tagged, scheme_of, sentences
from nlpseq.tagged_ids import Lexicon, TagCounts, TaggedData, build_lexicon, encode_tagged, unknown_type
from nlpseq.tagger import STAGE, Tagger, build_network
from nlpseq.tags import Scheme
from nlpseq.training import World, set_threads, to_device
from nlpseq.vectors import Embeddings
from nlpseq.weights import WEIGHTS, pack_weights

__all__ = ["TagBatch", "TaggingTask", "evaluate_tagger", "train_ner"]

_LEXICON = "lexicon.json"


class TagBatch(NamedTuple):
    """A batch as the model takes it."""

    words: Tensor  # (B, T) int64, rows of words
    rare: Tensor  # (B, T) float32, probability that a word is taken for one that train does not have
    spellings: Tensor  # (B, T) int64, rows of `characters`
    characters: Tensor  # (U, L) int64, of the distinct words
    sizes: Tensor  # (U,) int64
    lengths: Tensor  # (B,) int64
    tags: Tensor  # (B, T) int64
    tokens: int


@dataclass(frozen=True)
class TaggingTask:
    """What `fit` has to know to train a tagger; rare: (V,), how likely each word is taken for an unknown one."""

    model: TaggerNetwork
    data: TaggedData
    batch_tokens: int
    seed: int
    rare: npt.NDArray[np.float32]
    adversarial: float = 0.0

    def plan(self, epoch: int) -> Plan:
        """Return the epoch's batches, of like length."""
        return plan((self.data.words.lengths,), self.batch_tokens, seed=self.seed, epoch=epoch)

    def batch(self, rows: npt.NDArray[np.int64]) -> TagBatch:
        """Return the examples of these numbers; each distinct word's characters stand there once."""
        numbers, lengths = pad(self.data.words, rows)
        tags, _ = pad(self.data.tags, rows)
        distinct, places = np.unique(numbers.numpy(), return_inverse=True)
        table, sizes = pad(self.data.spellings, distinct)
        spellings = torch.from_numpy(places.reshape(numbers.shape))
        words = table[:, 0][spellings]
        rare = torch.from_numpy(self.rare)[words]
        return TagBatch(words, rare, spellings, table[:, 1:], sizes - 1, lengths, tags, int(lengths.sum()))

    def inputs(self, batch: TagBatch) -> Tensor:
        """Return what each token enters the recurrent layers as, (B, T, E + F)."""
        unknown = None
        if self.model.training and self.rare.any():
            unknown = torch.rand(batch.rare.shape, device=batch.rare.device) < batch.rare
        spelt = F.embedding(batch.spellings, self.model.spell(batch.characters, batch.sizes))
        return self.model.embed(batch.words, spelt, unknown)

    def loss(self, batch: TagBatch, done: float = 0.0) -> tuple[Tensor, Tensor, int]:
        """Return the loss to descend, the negative log-likelihood of the tags, both summed in nats, and the tokens.

        The first is adversarial where that is asked for (`nlpseq.losses.adversarial`).
        """

        def losses(inputs: Tensor) -> tuple[Tensor, Tensor]:
            return self.likelihood(self.model.read(inputs, batch.lengths), batch)

        return *adversarial(losses, self.inputs(batch), batch.lengths, share=self.adversarial), batch.tokens

    def likelihood(self, scores: Tensor, batch: TagBatch) -> tuple[Tensor, Tensor]:
        """Return the negative log-likelihood under scores of tags, once with a gradient and once without."""
        with torch.autocast(scores.device.type, enabled=False):
            if self.model.chain.scores is None:
                each = F.cross_entropy(scores.float().flatten(0, 1), batch.tags.flatten(), reduction="none")
                inside = torch.arange(batch.tags.shape[1], device=each.device) < batch.lengths[:, None]
                loss = (each * inside.flatten()).sum()
            else:
                lattice = self.model.chain.lattice(scores, batch.lengths)
                loss = log_partition(lattice).sum() - path_scores(lattice, batch.tags).sum()
        return loss, loss.detach()


class _Prepared(NamedTuple):
    source: TaggedCorpus
    scheme: Scheme
    lexicon: Lexicon
    train: TaggedData
    validation: TaggedData


def train_ner(config: NerConfig, *, watch: Watch = unwatched) -> Tagger:
    """Return a tagger trained as `config` says, and leave it in `config.run.out` with its report.

    A run that was stopped goes on where it was; a folder that holds this run finished is loaded as it is. watch: is
    handed events to show. Raises UsageError for settings, CorpusError for data, ArtefactError for the folder,
    WorkError where the work fails, Interrupted after Ctrl-C with the state saved.
    """
    first = partial(open_tagged, str(config.run.corpus), config.reading)
    reads = {"embeddings": config.pretrained.embeddings}
    columns = (config.reading.tokens, config.reading.tags)
    work = partial(_train, config)
    train_stage(config, STAGE, columns=columns, reads=reads, opened=first, work=work, watch=watch)
    return Tagger.load(str(config.run.out), device=config.compute.device)


def _train(config: NerConfig, job: Job) -> None:
    given = PretrainedConfig(config.pretrained.embeddings, config.pretrained.freeze)
    with job.first_alone():
        vectors = open_vectors(given, config.model.embed_size)  # before long work: they may not fit
        work = _prepare(config, vectors, job.state, job.watch)
    torch.manual_seed(config.compute.seed)
    model = build_network(config, work.lexicon)
    covered = _start_from_vectors(model, vectors, lexicon=work.lexicon, config=config, watch=job.watch)
    del vectors  # which may be hundreds of megabytes
    seen = np.array(work.lexicon.counts, np.float32)
    rare = np.zeros(len(work.lexicon.words), np.float32)
    rare[: len(seen)] = config.model.word_dropout / np.maximum(config.model.word_dropout + seen, 1e-9)
    batch_tokens, seed = config.training.batch_tokens, config.compute.seed
    task = TaggingTask(model, work.train, batch_tokens, seed, rare, config.adversarial)
    facts = _facts(work, model) | covered | {"fingerprint": dict(job.wanted)}
    tagger = Tagger(model, work.lexicon, config=config, facts=facts)
    evaluate = _validation(tagger, work, config)
    facts |= train_network(
        job, model, task, config.training, seed=seed, evaluate=evaluate, metric=config.metric, counted="token"
    )
    if job.first:
        _finish(tagger, work, job.folder, state=job.state, watch=job.watch)


def _prepare(config: NerConfig, vectors: Embeddings | None, state: Path, watch: Watch) -> _Prepared:
    """Return corpus, lexicon and ids; what an earlier try of this run has written whole is taken as it is."""
    source = open_tagged(str(config.run.corpus), config.reading, told=counting(watch, "reading, row"))
    train, validation = (source.corpus.split(name) for name in ("train", "validation"))
    scheme = scheme_of(source, config.reading.scheme)
    repair = config.reading.illegal == "repair"
    folder = state / "lexicon"
    if not (folder / MANIFEST).exists():
        watch(Event("note", f"Reading {source.corpus.name} ({source.tokens}, {source.tags}; {scheme.upper()})."))
        told = counting(watch, "reading train, row")
        read = sentences(source, train, scheme, repair=repair, tally=Tally(), told=told)
        lexicon = build_lexicon(read, vectors.words if vectors else (), config.pretrained.extra_words)
        for name in ("validation", *({"test"} & source.corpus.splits.keys())):  # faults are said before any training
            checked = sentences(source, source.corpus.split(name), scheme, repair=repair, tally=Tally())
            found = Counter(entity.type for one in checked for entity in one.entities)
            _check_types(lexicon, found.keys(), source, name, repair=repair)
            if missed := sum(number for kind, number in found.items() if kind not in lexicon.entities):
                watch(Event("note", f"{name}: {missed:,} entities of types that train lacks, counted as missed."))
        folder.mkdir(exist_ok=True)
        save(folder, STAGE, settings={}, files={_LEXICON: lexicon.file()}, facts={})
    lexicon = Lexicon.from_file(load(folder, STAGE).files[_LEXICON], str(folder))

    def encode(split: Split) -> TaggedData:
        tally = Tally()
        told = counting(watch, f"{split.name} to ids, row", len(split))
        return encode_tagged(
            sentences(source, split, scheme, repair=repair, tally=tally, told=told),
            tally,
            lexicon=lexicon,
            path=state / split.name,
            longest=config.max_length,
        )

    prepared = _Prepared(source, scheme, lexicon, encode(train), encode(validation))
    for data in (prepared.train, prepared.validation):
        watch(Event("note", f"{'train' if data is prepared.train else 'validation'}: {summary(data.counts)}"))
    return prepared


def _check_types(lexicon: Lexicon, found: Set[str], source: TaggedCorpus, split: str, *, repair: bool) -> None:
    """Raise CorpusError where there is nothing to learn or to validate, or a type that train lacks and must have."""
    corpus = source.corpus.name
    for name, kinds in (("train", set(lexicon.entities)), (split, found & lexicon.entities.keys())):
        if not kinds and name != "test":
            must = "have at least one entity" + (", of a type that train has" if name != "train" and found else "")
            raise CorpusError(sentence(name, must, "without one", corpus, quote=False))
    further = sorted(found - lexicon.entities.keys())
    if further and not may_lack_types(source, split, repair=repair):
        raise unknown_type(further[0], lexicon, f"{corpus}, {split}")


def summary(counts: TagCounts) -> str:
    """Return one line on what became of a split's rows."""
    c = counts.describe()
    notes = [
        (c["empty"], "empty left out"),
        (c["cut"], "cut into pieces"),
        (c["illegal"], "tags repaired that could not stand where they did"),
    ]
    further = "".join(f", {number:,} {note}" for number, note in notes if number)
    return (
        f"{c['sentences']:,} sentences{further}; {c['tokens']:,} tokens, {c['entities']:,} entities, "
        f"[UNK] {c['unknown_percent']:.2f} %"
    )


def _start_from_vectors(
    model: TaggerNetwork, vectors: Embeddings | None, *, lexicon: Lexicon, config: NerConfig, watch: Watch
) -> dict[str, Any]:
    """Let the words start from given vectors, where there are any; return what is to be remembered."""
    if vectors is None:
        return {}
    words, generator = lexicon.words.words, torch.Generator().manual_seed(config.compute.seed)
    known = words[: lexicon.trained]
    table, covered = vectors.init_table(known, generator)
    refuse_strangers(covered)
    matrix, found = vectors.lookup(words)
    has_vector = torch.from_numpy(found)
    model.given.copy_(torch.from_numpy(matrix))
    model.register_buffer("given", model.given, persistent=False)  # in no saved state: a resumed run has them again
    pace = 0.0 if config.pretrained.freeze else config.pretrained.pace
    model.paces[: len(known)] = torch.where(has_vector[: len(known)], pace, 1.0)
    with torch.no_grad():  # words without a vector are drawn like the given ones, and trained as fast as anything
        model.words.weight.copy_(table.masked_fill(has_vector[: len(known), None], 0.0))
    further = len(words) - len(known)
    more = f"; {further:,} further words are known by their vectors" if further else ""
    watch(Event("note", f"{covered.told('words of train')}{more}."))
    return {"embeddings": covered._asdict() | {"further": further}}


def _facts(work: _Prepared, model: TaggerNetwork) -> dict[str, Any]:
    return {
        "corpus": work.source.corpus.name,
        "tokens": work.source.tokens,
        "tags": work.source.tags,
        "scheme": work.scheme,
        "types": sorted(work.lexicon.entities),
        "vocabulary": len(work.lexicon.words),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train": work.train.counts.describe(),
        "validation": work.validation.counts.describe(),
    }


def _validation(live: Tagger, work: _Prepared, config: NerConfig) -> Callable[[], dict[str, float]]:
    """Return what measures the model as it stands, over all of validation."""
    no_dropout = np.zeros(len(live.lexicon.words), np.float32)
    task = TaggingTask(live.model, work.validation, 4 * config.training.batch_tokens, 0, no_dropout)
    order, names = task.plan(0), np.array(live.lexicon.tags, object)

    @torch.inference_mode()
    def evaluate() -> dict[str, float]:
        live.model.eval()
        sums, tokens = torch.zeros((), device=live.device), 0
        pairs: list[tuple[list[str], list[str]]] = []
        for number in range(len(order)):
            batch = to_device(task.batch(order.batch(number)), live.device)
            scores = live.model.read(task.inputs(batch), batch.lengths)
            sums, tokens = sums + task.likelihood(scores, batch)[1], tokens + batch.tokens
            paths = best_paths(live.model.chain.lattice(scores, batch.lengths))
            rows = zip(paths.cpu().numpy(), batch.tags.cpu().numpy(), batch.lengths.tolist(), strict=True)
            pairs += [(names[ours[:n]].tolist(), names[theirs[:n]].tolist()) for ours, theirs, n in rows]
        return {"loss": float(sums) / tokens, "f1": f1_value(*zip(*pairs, strict=True))}

    return evaluate


def _finish(tagger: Tagger, work: _Prepared, folder: Path, *, state: Path, watch: Watch) -> None:
    """Calibrate, score and report on the test split into the state folder, then switch the new model in."""
    watch(Event("note", "Calibrating on validation."))
    read = _reader(work.source, tagger.config.reading, work.scheme)
    held = list(read("validation", Tally()))
    tagger.facts["outside_penalty"] = fit_outside_penalty(tagger, held)
    if penalty := tagger.outside_penalty:
        way = "lowered" if penalty > 0 else "raised"
        watch(Event("note", f"Where tags are chosen, O is {way} by {abs(penalty):g} nats, as validation asks."))
    tagger.facts["temperature"] = round(fit_span_temperature(tagger, held), 4)
    repair = tagger.config.reading.illegal == "repair"
    split = "test" if "test" in work.source.corpus.splits else "validation"
    watch(Event("note", f"Tagging {split}."))
    report = ner_report(tagger, work.source, split, read=read, repair=repair, log=state / "metrics.jsonl")
    write(state, report)
    watch(Event("note", scores_line(report)))
    tagger.model.register_buffer("given", tagger.model.given)
    files = {WEIGHTS: pack_weights(tagger.model), _LEXICON: tagger.lexicon.file()}
    save(folder, STAGE, settings=to_plain(tagger.config), files=files, facts=tagger.facts)


def _reader(source: TaggedCorpus, reading: TagConfig, scheme: Scheme) -> Callable[[str, Tally], Iterator[Sentence]]:
    """Return what reads the sentences of a split by its name."""

    def read(name: str, tally: Tally) -> Iterator[Sentence]:
        return sentences(source, source.corpus.split(name), scheme, repair=reading.illegal == "repair", tally=tally)

    return read


def evaluate_tagger(
    model: str | Path,
    corpus: str,
    *,
    split: str = "test",
    reading: Mapping[str, str | None] | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    watch: Watch = unwatched,
) -> Report:
    """Return the scores and samples of a finished tagger on a split of a corpus, and write them as its report.

    reading: settings of `TagConfig` that are other than in the training, None for one that is not; out: the folder of
    the report, when absent one of its own in the model's, `evaluate-<corpus>-<split>`. Raises UsageError,
    ArtefactError, CorpusError, WorkError.
    """
    if out:
        check_folder(Path(out))  # before any work
    set_threads(None, World())
    tagger = Tagger.load(model, device=device)
    asked = {name: value for name, value in (reading or {}).items() if value is not None}
    as_asked = from_plain(TagConfig, to_plain(tagger.config.reading) | asked, "reading")
    source = open_tagged(corpus, as_asked)
    source.corpus.split(split)
    scheme = scheme_of(source, as_asked.scheme)
    watch(Event("note", f"Tagging {source.corpus.part(split)}."))
    log = Path(model) / "metrics.jsonl"
    read, repair = _reader(source, as_asked, scheme), as_asked.illegal == "repair"
    report = ner_report(tagger, source, split, read=read, repair=repair, log=log)
    folder = Path(out) if out else folders.evaluation_folder(Path(model), source.corpus.name, split)
    write(folder, report)
    watch(Event("note", f"The report is {folder / 'report.html'}."))
    return report
