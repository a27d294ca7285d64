"""The tokenize stage: a tokeniser from the training split of a corpus."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from nlpseq import folders
from nlpseq.artefact import save
from nlpseq.config import check, to_plain
from nlpseq.corpora import Corpus, Split, corpus_path
from nlpseq.loop import Event, Watch, counting, unwatched
from nlpseq.pairs import learn_tokenizer, normalised_rows, open_text
from nlpseq.preflight import preflight
from nlpseq.report import Report, Samples, Table, write
from nlpseq.settings import TokenizeConfig
from nlpseq.tokenizer import Tokenizer

__all__ = ["train_tokenizer"]

STAGE = "tokenize"
_AT_ONCE = 2048  # rows encoded together
_SAMPLES = 20


@dataclass(frozen=True)
class Coverage:
    """How a tokeniser covers a split."""

    rows: int
    words: int
    tokens: int
    unknown: int

    @property
    def percent(self) -> float:
        """Share of `[UNK]` among the tokens."""
        return 100 * self.unknown / max(1, self.tokens)


def train_tokenizer(config: TokenizeConfig, *, watch: Watch = unwatched) -> Tokenizer:
    """Return a tokeniser learnt from the training split alone, and leave it in `config.run.out` with its report.

    A folder that holds this run finished is loaded as it is. watch: is handed events to show. Raises UsageError for
    settings, CorpusError for data, ArtefactError for the folder, WorkError where it cannot be written.
    """
    check(config)
    folder = Path(str(config.run.out))
    asked = [column for column in (config.text, config.pair.source, config.pair.target) if column]
    wanted = folders.fingerprint(config, corpus=folders.stamp(corpus_path(str(config.run.corpus), columns=asked)))
    with folders.held(folder):
        if folders.finished(folder, STAGE, wanted=wanted, replace=config.run.replace):
            tokenizer = Tokenizer.load(folder)
            watch(Event("note", f"{folder} holds this very run, finished; nothing to do."))
        else:
            tokenizer = _train(config, folder, wanted, watch=watch)
        folders.release(folder, wanted)
        return tokenizer


def _train(config: TokenizeConfig, folder: Path, wanted: Mapping[str, Any], *, watch: Watch) -> Tokenizer:
    started = time.perf_counter()
    state = folders.claim(folder, wanted=wanted, replace=config.run.replace, resume=False)
    corpus, columns = open_text(str(config.run.corpus), config.text, config.pair)
    found = preflight(corpus, columns, told=counting(watch, "looking over, row"))
    found.raise_errors()
    for fault in found.faults:
        watch(Event("note", f"warning: {fault.message}"))
    watch(Event("note", f"Learning {config.vocabulary.units} units from {corpus.name} ({', '.join(columns)})."))
    told = counting(watch, "text to learn units from, row")
    tokenizer = learn_tokenizer(corpus.split("train"), columns, config.vocabulary, told=told)
    watch(Event("note", f"The vocabulary has {len(tokenizer):,} units."))
    covered = {name: _cover(split, columns, tokenizer) for name, split in corpus.splits.items()}
    for name, one in covered.items():
        watch(Event("note", f"{name}: {one.rows:,} rows, {one.tokens:,} tokens, [UNK] {one.percent:.2f} %"))
    facts = {
        "corpus": corpus.name,
        "columns": list(columns),
        "vocabulary": len(tokenizer),
        "coverage": {name: asdict(one) for name, one in covered.items()},
        "fingerprint": dict(wanted),
    }
    seconds = round(time.perf_counter() - started, 3)
    write(state, _report(config, corpus, tokenizer, covered=covered, columns=columns, seconds=seconds))
    save(folder, STAGE, settings=to_plain(config), files=tokenizer.files(), facts=facts)
    return tokenizer


def _cover(split: Split, columns: Sequence[str], tokenizer: Tokenizer) -> Coverage:
    rows = words = tokens = unknown = 0
    texts = normalised_rows(split, columns, tokenizer.config)
    while block := list(islice(texts, _AT_ONCE)):
        flat = [text for row in block for text in row]
        encoded = tokenizer.encode_normalised(flat)
        rows += len(block)
        words += sum(len(text.split()) for text in flat)
        tokens += sum(map(len, encoded))
        unknown += sum(map(tokenizer.unknown, encoded))
    return Coverage(rows, words, tokens, unknown)


def _report(
    config: TokenizeConfig,
    corpus: Corpus,
    tokenizer: Tokenizer,
    *,
    covered: dict[str, Coverage],
    columns: Sequence[str],
    seconds: float,
) -> Report:
    rows = [(n, c.rows, c.words, c.tokens, c.tokens / max(1, c.words), c.percent) for n, c in covered.items()]
    titles = ("split", "rows", "words", "tokens", "tokens a word", "[UNK] %")
    texts = (text for row in islice(iter(corpus.split("train")), _SAMPLES) for text in (str(row[columns[0]]),))
    samples = [(text, " ".join(tokenizer.tokens(text))) for text in texts]
    return Report(
        stage=STAGE,
        corpus=f"{corpus.name} ({', '.join(columns)})",
        split="train",
        scores={},
        seconds=seconds,
        settings={name: value for name, value in to_plain(config).items() if value is not None},
        counts={"vocabulary": len(tokenizer)}
        | {f"unknown_percent_{n}": round(c.percent, 4) for n, c in covered.items()},
        blocks=[Table("Coverage", titles, rows), Samples("Tokens", (columns[0], "tokens"), samples)],
    )
