"""The translate stage: from a corpus of pairs to a translator, its scores and its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nlpseq import folders, metrics
from nlpseq.artefact import MANIFEST, read_manifest, save
from nlpseq.batches import Plan, pad, plan
from nlpseq.config import to_plain
from nlpseq.corpora import Corpus
from nlpseq.errors import CorpusError, sentence
from nlpseq.loop import Event, Watch, counting, unwatched
from nlpseq.losses import linear_cross_entropy
from nlpseq.nn.seq2seq import DecoderState, EncoderDecoder
from nlpseq.pairs import Counts, PairData, encode_split, language, learn_tokenizer, open_pairs, texts
from nlpseq.preflight import preflight
from nlpseq.pretrained import open_vectors, start_from_vectors
from nlpseq.report import Report, check_folder, write
from nlpseq.settings import PairConfig, TranslateConfig
from nlpseq.staging import Job, train_network, train_stage
from nlpseq.tokenizer import Tokenizer
from nlpseq.training import World, set_threads, to_device
from nlpseq.translation_report import scores_line, translation_report
from nlpseq.translator import STAGE, Translator, build_model
from nlpseq.vectors import Embeddings
from nlpseq.vocab import GO
from nlpseq.weights import WEIGHTS, pack_weights

__all__ = ["PairBatch", "TranslationTask", "evaluate_translator", "train_translator"]

VALIDATED = 1000  # sentences translated at each validation


class PairBatch(NamedTuple):
    """A batch as the model takes it; N real target tokens, `<eos>` included."""

    source: Tensor  # (B, S) int64, in reading order
    lengths: Tensor  # (B,) int64
    fed: Tensor  # (B, T) int64, the target shifted right behind <go>
    places: Tensor  # (N,) int64, where in B * T the real tokens are
    targets: Tensor  # (N,) int64
    tokens: int


@dataclass(frozen=True)
class TranslationTask:
    """What `fit` has to know to train a translator by teacher forcing, or by scheduled sampling where `sampled` > 0."""

    model: EncoderDecoder
    data: PairData
    batch_tokens: int
    seed: int
    smoothing: float
    sampled: float = 0.0

    def plan(self, epoch: int) -> Plan:
        """Return the epoch's batches, of like target and source length."""
        lengths = (self.data.source.lengths, self.data.target.lengths)
        return plan(lengths, self.batch_tokens, seed=self.seed, epoch=epoch)

    def batch(self, rows: npt.NDArray[np.int64]) -> PairBatch:
        """Return the examples of these numbers."""
        source, lengths = pad(self.data.source, rows)
        target, sizes = pad(self.data.target, rows)
        fed = torch.cat([torch.full((len(rows), 1), GO), target[:, :-1]], 1)
        places = (torch.arange(target.shape[1]) < sizes[:, None]).flatten().nonzero()[:, 0]
        return PairBatch(source, lengths, fed, places, target.flatten()[places], len(places))

    def loss(self, batch: PairBatch, done: float = 0.0) -> tuple[Tensor, Tensor, int]:
        """Return the smoothed and the plain cross-entropy, summed in nats, and the number of target tokens."""
        state = self.model.encode(batch.source, batch.lengths)
        fed = self._own_tokens_mixed_in(state, batch.fed, self.sampled * done) if self.sampled * done else batch.fed
        features, _ = self.model.decode(state, fed)
        real = features.flatten(0, 1).index_select(0, batch.places)
        output = self.model.output
        loss, plain = linear_cross_entropy(real, output.weight, output.bias, batch.targets, smoothing=self.smoothing)
        return loss, plain, batch.tokens

    @torch.no_grad()
    def _own_tokens_mixed_in(self, state: DecoderState, fed: Tensor, share: float) -> Tensor:
        """Return `fed` with a share of its tokens replaced by what the decoder, so fed, finds likeliest (Bengio 2015).

        No gradient flows through the choice, as in the paper, so that the fused pass over the result computes the rest.
        """
        own = torch.rand(fed.shape, device=fed.device) < share
        tokens = fed[:, 0]
        mixed = [tokens]
        for place in range(1, fed.shape[1]):
            logits, state = self.model.step(tokens, state)
            tokens = torch.where(own[:, place], logits.argmax(1), fed[:, place])
            mixed.append(tokens)
        torch.clear_autocast_cache()  # torch before pull request 165068 would hand on weights cast without gradients
        return torch.stack(mixed, 1)


class _Prepared(NamedTuple):
    corpus: Corpus
    columns: tuple[str, str]
    tokenizer: Tokenizer
    train: PairData
    validation: PairData


def train_translator(config: TranslateConfig, *, watch: Watch = unwatched) -> Translator:
    """Return a translator trained as `config` says, and leave it in `config.run.out` with its report.

    A run that was stopped goes on where it was; a folder that holds this run finished is loaded as it is. watch: is
    handed events to show. Raises UsageError for settings, CorpusError for data, ArtefactError for the folder,
    WorkError where the work fails, Interrupted after Ctrl-C with the state saved.
    """
    first = partial(open_pairs, str(config.run.corpus), config.pair)
    reads = {"tokenizer": config.tokenizer, "embeddings": config.pretrained.embeddings}
    columns = (config.pair.source, config.pair.target)
    work = partial(_train, config)
    train_stage(config, STAGE, columns=columns, reads=reads, opened=first, work=work, watch=watch)
    return Translator.load(str(config.run.out), device=config.compute.device)


def _train(config: TranslateConfig, job: Job) -> None:
    with job.first_alone():
        vectors = open_vectors(config.pretrained, config.model.embed_size)  # before long work: they may not fit
        work = _prepare(config, job.state, job.watch)
    torch.manual_seed(config.compute.seed)
    model = build_model(config, len(work.tokenizer))
    given = _start_from_vectors(model, vectors, tokenizer=work.tokenizer, config=config, watch=job.watch)
    del vectors  # which may be hundreds of megabytes
    task = TranslationTask(
        model,
        work.train,
        config.training.batch_tokens,
        config.compute.seed,
        config.label_smoothing,
        config.scheduled_sampling,
    )
    facts = _facts(config, work, model) | given | {"fingerprint": dict(job.wanted)}
    translator = Translator(model, work.tokenizer, config=config, facts=facts)
    evaluate = _validation(translator, work, config)
    seed, metric = config.compute.seed, config.metric
    facts |= train_network(job, model, task, config.training, seed=seed, evaluate=evaluate, metric=metric)
    if job.first:
        _finish(translator, work, job.folder, state=job.state, watch=job.watch)


def _prepare(config: TranslateConfig, state: Path, watch: Watch) -> _Prepared:
    """Return corpus, tokeniser and ids; what an earlier try of this run has written whole is taken as it is."""
    if config.tokenizer is not None:
        read_manifest(Path(config.tokenizer))  # a wrong folder is said before the corpus is read
    corpus, columns = open_pairs(str(config.run.corpus), config.pair, told=counting(watch, "reading, row"))
    for name in ("train", "validation"):
        corpus.split(name)
    if config.tokenizer is None and config.vocabulary.numbers and (nameless := [c for c in columns if not language(c)]):
        named = " and ".join(f"`{column}`" for column in nameless)
        told = f"No language is known by the name {named}, as by en, fr, de: numbers keep the source's form."
        watch(Event("note", told))
    tokenizer_dir = state / "tokenizer"
    if not (tokenizer_dir / MANIFEST).exists():
        watch(Event("note", f"Looking {corpus.name} ({columns[0]} to {columns[1]}) over."))
        found = preflight(corpus, columns, told=counting(watch, "looking over, row"))
        found.raise_errors()
        for fault in found.faults:
            watch(Event("note", f"warning: {fault.message}"))
        tokenizer = _tokenizer(config, corpus, columns, watch)
        tokenizer_dir.mkdir(exist_ok=True)
        save(tokenizer_dir, "tokenize", settings={}, files=tokenizer.files(), facts={})
    tokenizer = Tokenizer.load(tokenizer_dir)
    watch(Event("note", f"The vocabulary has {len(tokenizer):,} units."))

    def encode(name: str, max_length: int | None) -> PairData:
        split = corpus.split(name)
        rows = len(split)
        return encode_split(
            split,
            columns,
            tokenizer=tokenizer,
            path=state / name,
            max_length=max_length,
            backwards=config.model.source_order == "reversed",
            told=counting(watch, f"{name} to ids, row", rows),
        )

    prepared = _Prepared(corpus, columns, tokenizer, encode("train", config.max_length), encode("validation", None))
    for name, data in (("train", prepared.train), ("validation", prepared.validation)):
        if not len(data.source):
            must = "have at least one pair with text on both sides"
            must += f" of at most {config.max_length} tokens" if name == "train" else ""
            raise CorpusError(sentence(name, must, "without one", corpus.name, quote=False))
        watch(Event("note", f"{name}: {summary(data.counts)}"))
    return prepared


def summary(counts: Counts) -> str:
    """Return one line on what became of a split's rows."""
    c = counts.describe()
    left = f", left out {c['empty']:,} empty and {c['long']:,} long" if c["empty"] or c["long"] else ""
    return (
        f"{c['kept']:,} pairs{left}; {c['source_tokens']:,} source and {c['target_tokens']:,} target tokens, "
        f"[UNK] {c['source_unknown_percent']:.2f} and {c['target_unknown_percent']:.2f} %, "
        f"{c['masked']:,} numbers and links masked"
    )


def _tokenizer(config: TranslateConfig, corpus: Corpus, columns: tuple[str, str], watch: Watch) -> Tokenizer:
    if config.tokenizer is not None:
        return Tokenizer.load(config.tokenizer)
    watch(Event("note", f"Learning at most {config.vocabulary.vocab_size:,} {config.vocabulary.units} units."))
    told = counting(watch, "text to learn units from, row")
    return learn_tokenizer(corpus.split("train"), columns, config.vocabulary, told=told)


def _start_from_vectors(
    model: EncoderDecoder, vectors: Embeddings | None, *, tokenizer: Tokenizer, config: TranslateConfig, watch: Watch
) -> dict[str, Any]:
    """Let both sides' embeddings start from given vectors, where there are any; return what is to be remembered."""
    if vectors is None:
        return {}
    layers = (model.source_embedding, model.target_embedding)
    tokens = tokenizer.units(range(len(tokenizer)))
    freeze, seed = config.pretrained.freeze, config.compute.seed
    covered = start_from_vectors(layers, vectors, tokens=tokens, freeze=freeze, seed=seed)
    watch(Event("note", f"{covered.told('units')}."))
    return {"embeddings": covered._asdict()}


def _facts(config: TranslateConfig, work: _Prepared, model: EncoderDecoder) -> dict[str, Any]:
    return {
        "corpus": work.corpus.name,
        "source": work.columns[0],
        "target": work.columns[1],
        "vocabulary": len(work.tokenizer),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train": work.train.counts.describe(),
        "validation": work.validation.counts.describe(),
    }


def _validation(live: Translator, work: _Prepared, config: TranslateConfig) -> Callable[[], dict[str, float]]:
    """Return what measures the model as it stands: loss over all of validation, BLEU and chrF over its start."""
    split = texts(work.corpus.split("validation"), work.columns)
    pairs = list(islice((pair for pair in split if all(side.strip() for side in pair)), VALIDATED))
    task = TranslationTask(live.model, work.validation, config.training.batch_tokens, 0, 0.0)
    order = task.plan(0)
    scored = _can_score() or config.metric != "loss"

    @torch.inference_mode()
    def evaluate() -> dict[str, float]:
        live.model.eval()
        sums, tokens = torch.zeros((), device=live.device), 0
        for number in range(len(order)):
            batch = to_device(task.batch(order.batch(number)), live.device)
            _, plain, count = task.loss(batch)
            sums, tokens = sums + plain, tokens + count
        scores = {"loss": float(sums) / tokens}
        if scored:
            outputs = live.translate([source for source, _ in pairs])
            references = [target for _, target in pairs]
            scores["bleu"] = metrics.bleu_value(outputs, references)
            scores["chrf"] = metrics.chrf_value(outputs, references)
        return scores

    return evaluate


def _can_score() -> bool:
    return find_spec("sacrebleu") is not None


def _finish(translator: Translator, work: _Prepared, folder: Path, *, state: Path, watch: Watch) -> None:
    """Score and report on the test split into the state folder, then switch the new model in."""
    if _can_score():
        split = "test" if "test" in work.corpus.splits else "validation"
        watch(Event("note", f"Translating {split}."))
        report = translation_report(translator, work.corpus, split, log=state / "metrics.jsonl")
        write(state, report)
        watch(Event("note", scores_line(report)))
    files = {WEIGHTS: pack_weights(translator.model), **translator.tokenizer.files()}
    save(folder, STAGE, settings=to_plain(translator.config), files=files, facts=translator.facts)


def evaluate_translator(
    model: str | Path,
    corpus: str,
    *,
    split: str = "test",
    pair: PairConfig | None = None,
    against: str | Path | None = None,
    device: str = "auto",
    out: str | Path | None = None,
    watch: Watch = unwatched,
) -> Report:
    """Return the scores and samples of a finished translator on a split of a corpus, and write them as its report.

    pair: columns, those of the training when absent; against: the folder of another translator, for the paired
    bootstrap; out: the folder of the report, when absent one of its own in the model's, `evaluate-<corpus>-<split>`.
    Raises UsageError, ArtefactError, CorpusError, WorkError.
    """
    if out:
        check_folder(Path(out))  # before any work
    set_threads(None, World())
    translator = Translator.load(model, device=device)
    asked = pair or PairConfig()
    source, target = asked.source or translator.facts["source"], asked.target or translator.facts["target"]
    opened, columns = open_pairs(corpus, PairConfig(source, target))
    opened.split(split)
    watch(Event("note", f"Translating {opened.part(split)}."))
    baseline = None if against is None else Translator.load(against, device=device)
    log = Path(model) / "metrics.jsonl"
    report = translation_report(translator, opened, split, columns=columns, log=log, against=baseline)
    folder = Path(out) if out else folders.evaluation_folder(Path(model), opened.name, split)
    write(folder, report)
    watch(Event("note", f"The report is {folder / 'report.html'}."))
    return report
