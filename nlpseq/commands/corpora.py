"""`nlpseq corpora`: list, show and fetch."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nlpseq.commands.shared import print_lines, say
from nlpseq.settings import PairConfig

__all__ = ["corpora"]


@click.group()
def corpora() -> None:
    """What there is to learn from."""


@corpora.command("list")
def list_corpora() -> None:
    """Print the corpora that nlpseq knows by name."""
    from nlpseq.cards import catalogue

    cards = catalogue()
    width = max(len(card.name) for card in cards)
    print_lines(f"{card.name:{width}}  {card.task:12}  {card.title}" for card in cards)


@corpora.command("show")
@click.argument("corpus")
@click.option("--source", metavar="COLUMN", help="Column of the source.")
@click.option("--target", metavar="COLUMN", help="Column of the target.")
@click.option("--tokenizer", metavar="DIR", help="Folder of a trained tokeniser, to print the share of [UNK].")
def show_corpus(corpus: str, source: str | None, target: str | None, tokenizer: str | None) -> None:
    """Print what a corpus holds and all that is wrong with it; exit code 2 where something must be mended."""
    from nlpseq.corpora import load_corpus
    from nlpseq.preflight import preflight, render
    from nlpseq.tokenizer import Tokenizer

    columns = [column for column in (source, target) if column] or None
    if source and target:
        from nlpseq.pairs import open_pairs

        opened, _ = open_pairs(corpus, PairConfig(source, target))  # which refuses what training would refuse
    else:
        opened = load_corpus(corpus, columns=columns)
    coverage = Tokenizer.load(tokenizer).coverage if tokenizer else None
    found = preflight(opened, columns, coverage=coverage)
    print_lines([render(found)])
    if found.errors:
        sys.exit(2)
    if opened.whole and not columns:
        say("The file was cut by the text of all its columns; a training cuts it by those that it reads.")


@corpora.command("fetch")
@click.argument("corpus")
@click.option("--out", metavar="DIR", help="Folder of the local copies; nlpseq's cache when absent.")
def fetch_corpus(corpus: str, out: str | None) -> None:
    """Fetch a corpus from its source and keep it, verified, for offline use."""
    from nlpseq.fetch import cache_folder, fetch

    print_lines([str(fetch(corpus, Path(out) if out else cache_folder()))])
