"""`nlpseq embed`: train, nearest, analogy, evaluate and export."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nlpseq.commands.shared import Command, blocks, given, print_lines, reading, say, settings_options, training
from nlpseq.config import configure
from nlpseq.errors import UsageError, sentence
from nlpseq.progress import recorded, shown
from nlpseq.settings import EmbedConfig

if TYPE_CHECKING:
    from nlpseq.vectors import Embeddings

__all__ = ["embed"]

_FORMATS = ("word2vec", "word2vec-binary", "glove", "tsv")


@click.group()
def embed() -> None:
    """Word vectors: skip-gram and CBOW by noise-contrastive estimation."""


@embed.command("train")
@settings_options(EmbedConfig)
@click.option("--check", is_flag=True, help="Only check the settings.")
@click.option("--tensorboard", is_flag=True, help="Write the curves to OUT/tensorboard too.")
def train_embeddings(recipe: str | None, *, check: bool, tensorboard: bool, **options: Any) -> None:
    """Learn word vectors from the text of a corpus, or vectors of a tokeniser's units."""
    config = configure(EmbedConfig, recipe=recipe, **given(options))
    if check:
        return
    with training():
        from nlpseq.stages.embed import train_embeddings

        watch = shown(say)
        if tensorboard:
            watch = recorded(watch, Path(str(config.run.out)) / "tensorboard")
        train_embeddings(config, watch=watch)


def _vectors_options(command: Command) -> Command:
    """Give a command --model and --vectors, one of which must be given."""
    file = click.option("--vectors", metavar="FILE", help="Or a file of word2vec's or GloVe's, gzipped or not.")
    return click.option("--model", metavar="DIR", help="Folder of trained vectors.")(file(command))


def _opened(model: str | None, vectors: str | None) -> Embeddings:
    from nlpseq.vectors import Embeddings

    if (model is None) == (vectors is None):
        found = "absent" if model is None else "given beside --vectors"
        raise UsageError(sentence("model", "be given, or else vectors", found, "option --model", quote=False))
    embeddings = Embeddings.load(str(model or vectors))
    if repeated := embeddings.facts.get("repeated"):
        say(f"warning: {repeated:,} rows of {vectors} repeat an earlier word and were left out")
    return embeddings


_count = click.option("-n", "--count", default=10, type=click.IntRange(1), show_default=True, help="Words to print.")


def _print_found(asked: str | list[str], found: list[tuple[str, float]], *, as_json: bool) -> None:
    if as_json:
        print_lines([json.dumps({"query": asked, "found": found}, ensure_ascii=False)])
    else:
        words = "  ".join(f"{word} {cosine:.3f}" for word, cosine in found)
        print_lines([f"{asked if isinstance(asked, str) else ' '.join(asked)}: {words}"])


@embed.command("nearest")
@_vectors_options
@reading
@_count
def nearest_words(
    texts: tuple[str, ...], model: str | None, vectors: str | None, *, batch_size: int, as_json: bool, count: int
) -> None:
    """Print the words nearest to each word, with their cosines."""
    embeddings = _opened(model, vectors)
    for word in chain.from_iterable(blocks(texts, batch_size)):
        _print_found(word, embeddings.nearest(word, count), as_json=as_json)


@embed.command("analogy")
@_vectors_options
@reading
@_count
def answer_analogies(
    texts: tuple[str, ...], model: str | None, vectors: str | None, *, batch_size: int, as_json: bool, count: int
) -> None:
    """Print what answers "a is to b as c is to …", for three words, or three on each line of standard input."""
    embeddings = _opened(model, vectors)
    for line in chain.from_iterable(blocks(("\t".join(texts),) if texts else (), batch_size)):
        words = line.split("\t" if "\t" in line else None)
        if len(words) != 3:
            raise UsageError(sentence("words", "be three, such as: man king woman", " ".join(words)))
        a, b, c = words
        _print_found(words, embeddings.analogy(a, b, c, count), as_json=as_json)


@embed.command("evaluate")
@_vectors_options
@click.option("--corpus", metavar="NAME|PATH", help="Word pairs or analogies; WS-353, SimLex-999, Google's if absent.")
@click.option("--split", metavar="NAME", help="Split of the corpus; all that are tests when absent.")
@click.option("--out", metavar="DIR", help="Folder for report.json and report.html; not written when absent.")
def evaluate_embeddings(model: str | None, vectors: str | None, corpus: str | None, **further: Any) -> None:
    """Print the scores of word vectors on word pairs and analogies."""
    from nlpseq.report import Table
    from nlpseq.vector_scores import evaluate_embeddings

    report = evaluate_embeddings(_opened(model, vectors), corpus, **further)
    for name, score in report.scores.items():
        interval = "" if score.low is None else f"  [{score.low:.3f}, {score.high:.3f}]"
        print_lines([f"{name:18} {score.value:7.3f}{interval}  n={score.n}  {score.signature}"])
    print_lines(f"{name}: {value}" for name, value in report.counts.items())
    for table in report.blocks:
        if isinstance(table, Table) and table.columns[0] == "category":
            print_lines([f"{table.title}: {'; '.join(table.columns)}", *map(_row, table.rows)])


def _row(cells: Sequence[object]) -> str:
    return "  ".join("–" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells)


@embed.command("export")
@_vectors_options
@click.option("--format", default="word2vec", show_default=True, type=click.Choice(_FORMATS), help="Of the file.")
@click.option("--out", required=True, metavar="FILE", help="File (gzipped if it ends in .gz); for tsv a folder.")
@click.option("--replace", is_flag=True, help="Replace a file that is there.")
def export_vectors(model: str | None, vectors: str | None, *, format: Any, out: str, replace: bool) -> None:
    """Write vectors for word2vec and gensim, GloVe's readers, or (tsv) the embedding projector."""
    changed = _opened(model, vectors).export(out, format=format, replace=replace)
    if changed:
        say(f"warning: {changed:,} words have underscores now where they had spaces, which {format} cannot hold")
