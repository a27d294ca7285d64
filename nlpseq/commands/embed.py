"""`nlpseq embed`: train, nearest, analogy, evaluate, join and export."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nlpseq.commands.shared import (
    Command,
    blocks,
    print_lines,
    reading,
    run_training,
    say,
    training_options,
)
from nlpseq.errors import UsageError, sentence
from nlpseq.settings import EmbedConfig

if TYPE_CHECKING:
    from nlpseq.vectors import Embeddings, Neighbours

__all__ = ["embed"]

_FORMATS = ("word2vec", "word2vec-binary", "glove", "tsv")


@click.group()
def embed() -> None:
    """Word vectors: skip-gram and CBOW by noise-contrastive estimation."""


@embed.command("train")
@training_options(EmbedConfig)
def train_embeddings(recipe: str | None, *, check: bool, tensorboard: bool, **options: Any) -> None:
    """Learn word vectors from the text of a corpus, or vectors of a tokeniser's units."""
    home = "nlpseq.stages.embed:train_embeddings"
    run_training(EmbedConfig, home, recipe, check=check, tensorboard=tensorboard, options=options)


def _vectors_options(command: Command) -> Command:
    """Give a command --model and --vectors, one of which must be given."""
    file = click.option("--vectors", metavar="FILE", help="Or a file of word2vec's or GloVe's, gzipped or not.")
    return click.option("--model", metavar="DIR", help="Folder of trained vectors.")(file(command))


def _opened(model: str | None, vectors: str | None) -> Embeddings:
    from nlpseq.vectors import Embeddings

    if model is None and vectors is None:
        raise UsageError(sentence("model", "be given, or else vectors", "absent", "option --model", quote=False))
    if model is not None and vectors is not None:
        raise UsageError(sentence("model", "be left out with --vectors", model, "option --model"))
    embeddings = Embeddings.load(str(model or vectors))
    if repeated := embeddings.facts.get("repeated"):
        say(f"warning: rows of {model or vectors} that repeat an earlier word were left out: {repeated:,}")
    return embeddings


_count = click.option("-n", "--count", default=10, type=click.IntRange(1), show_default=True, help="Words to print.")


def _print_answers(
    queries: Iterable[str | list[str]], ask: Callable[[Any], Neighbours], *, as_json: bool, numbered: bool
) -> None:
    """Print a line for each query, an empty one for a query without an answer, which ends in exit code 1.

    numbered: whether messages say which line of standard input a query is.
    """
    failed = False
    for number, query in enumerate(queries, 1):
        found: Neighbours = []
        line = ""
        try:
            found = ask(query)
            words = "  ".join(f"{word} {cosine:.3f}" for word, cosine in found)
            line = f"{query if isinstance(query, str) else ' '.join(query)}: {words}"
        except UsageError as error:
            failed = True
            say(f"nlpseq: line {number}: {error}" if numbered else f"nlpseq: {error}")
        print_lines([json.dumps({"query": query, "found": found}, ensure_ascii=False) if as_json else line])
    if failed:
        sys.exit(1)


@embed.command("nearest")
@_vectors_options
@reading
@_count
def nearest_words(
    texts: tuple[str, ...], model: str | None, vectors: str | None, *, batch_size: int, as_json: bool, count: int
) -> None:
    """Print the words nearest to each word, with their cosines.

    A word without a vector as it is may have one in lowercase, or as [NUM] or [URL]. For one that has none an empty
    line is printed, the reason goes to standard error, and the exit code at the end is 1.
    """
    embeddings = _opened(model, vectors)
    words = chain.from_iterable(blocks(texts, batch_size))
    _print_answers(words, lambda word: embeddings.nearest(word, count), as_json=as_json, numbered=not texts)


@embed.command("analogy")
@_vectors_options
@reading
@_count
def answer_analogies(
    texts: tuple[str, ...], model: str | None, vectors: str | None, *, batch_size: int, as_json: bool, count: int
) -> None:
    """Print what answers "a is to b as c is to …", for three words, or three on each line of standard input.

    Words that hold spaces are arguments of their own, or stand apart by tabs.

    A word without a vector as it is may have one in lowercase, or as [NUM] or [URL]. For a line without an answer an
    empty line is printed, the reason goes to standard error, and the exit code at the end is 1.
    """
    asked = [_three(texts if len(texts) > 1 else _words_of(texts[0]))] if texts else None
    embeddings = _opened(model, vectors)
    questions: Iterable[Any] = asked or map(_words_of, chain.from_iterable(blocks((), batch_size)))
    _print_answers(
        questions, lambda words: embeddings.analogy(*_three(words), count), as_json=as_json, numbered=not texts
    )


def _words_of(line: str) -> list[str]:
    return line.split("\t" if "\t" in line else None)


def _three(words: Sequence[str]) -> tuple[str, str, str]:
    if len(words) != 3:
        raise UsageError(sentence("words", "be three, such as: man king woman", " ".join(words)))
    return words[0], words[1], words[2]


@embed.command("evaluate")
@_vectors_options
@click.option("--corpus", metavar="NAME|PATH", help="Word pairs or analogies; WS-353, SimLex-999, Google's if absent.")
@click.option("--split", metavar="NAME", help="Split of the corpus; all that are tests when absent.")
@click.option("--out", metavar="DIR", help="Folder for report.json and report.html; not written when absent.")
def evaluate_embeddings(
    model: str | None, vectors: str | None, *, corpus: str | None, split: str | None, out: str | None
) -> None:
    """Print the scores of word vectors on word pairs and analogies."""
    from nlpseq.report import Table
    from nlpseq.vector_scores import check_report_folder, evaluate_embeddings

    if out is not None:
        check_report_folder(out)  # reading large vectors takes long
    report = evaluate_embeddings(_opened(model, vectors), corpus, split=split, out=out)
    for name, score in report.scores.items():
        interval = "" if score.low is None else f"  [{score.low:.3f}, {score.high:.3f}]"
        print_lines([f"{name:18} {score.value:7.3f}{interval}  n={score.n}  {score.signature}"])
    print_lines(f"{name}: {value}" for name, value in report.counts.items())
    for table in report.blocks:
        if isinstance(table, Table) and table.columns[0] == "category":
            print_lines([f"{table.title}: {'; '.join(table.columns)}", *map(_row, table.rows)])
    if out is not None:
        say(f"The report is {Path(out) / 'report.html'}.")


def _row(cells: Sequence[object]) -> str:
    return "  ".join("–" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells)


@embed.command("join")
@click.argument("parts", metavar="DIR|FILE|CORPUS DIR|FILE|CORPUS...", nargs=-1)
@click.option(
    "--format", default="word2vec-binary", show_default=True, type=click.Choice(_FORMATS[:3]), help="Of the file."
)
@click.option("--out", required=True, metavar="FILE", help="File (gzipped if it ends in .gz).")
@click.option("--replace", is_flag=True, help="Replace a file that is there.")
def join_vectors(parts: tuple[str, ...], *, format: Any, out: str, replace: bool) -> None:
    """Write several vectors side by side, as one file for --embeddings.

    Each is a folder of trained vectors, a file, or a corpus that is one. A word takes from each its own vector, else
    that of its lowercase form, or of [NUM] or [URL], else zeros; all are scaled to the deviation of the first.
    """
    from nlpseq.vector_files import check_target
    from nlpseq.vectors import Embeddings

    if len(parts) < 2:
        raise UsageError(sentence("vectors", "be two or more to be joined", " ".join(parts) or "absent", quote=False))
    check_target(out, format=format, replace=replace)  # reading large vectors takes long
    embeddings = Embeddings.join([_opened(part, None) for part in parts])
    for part, facts in zip(parts, embeddings.facts["joined"], strict=True):
        scaled = f"scaled by {facts['scaled']:.3g}"
        say(f"{part}: {facts['words']:,} of {len(embeddings):,} words, {facts['size']:,} numbers each, {scaled}.")
    _export(embeddings, out, format=format, replace=replace)
    say(f"A stage starts from them with --embeddings {out} --embed-size {embeddings.vector_size}.")


@embed.command("export")
@_vectors_options
@click.option("--format", default="word2vec", show_default=True, type=click.Choice(_FORMATS), help="Of the file.")
@click.option("--out", required=True, metavar="FILE", help="File (gzipped if it ends in .gz); for tsv a folder.")
@click.option("--replace", is_flag=True, help="Replace a file that is there.")
def export_vectors(model: str | None, vectors: str | None, *, format: Any, out: str, replace: bool) -> None:
    """Write vectors for word2vec and gensim, GloVe's readers, or (tsv) the embedding projector."""
    _export(_opened(model, vectors), out, format=format, replace=replace)


def _export(embeddings: Embeddings, out: str, *, format: Any, replace: bool) -> None:
    changed = embeddings.export(out, format=format, replace=replace)
    say(f"{len(embeddings):,} words with vectors of {embeddings.vector_size:,} numbers are in {out} ({format}).")
    if changed:
        say(f"warning: {changed:,} words have underscores now where they had spaces, which {format} cannot hold")
