"""`nlpseq ner`: train, tag and evaluate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from nlpseq.commands.shared import (
    Command,
    blocks,
    model_option,
    print_lines,
    print_report,
    reading,
    run_training,
    say,
    training_options,
)
from nlpseq.errors import UsageError, sentence
from nlpseq.progress import shown
from nlpseq.settings import NerConfig

if TYPE_CHECKING:
    from nlpseq.tagger import Tagged, Tagger

__all__ = ["ner"]

_SCHEMES = click.Choice(("iob1", "iob2", "iobes"))


@click.group()
def ner() -> None:
    """Named entities: a Bi-LSTM with characters and a CRF."""


@ner.command("train")
@training_options(NerConfig)
def train_ner(recipe: str | None, *, check: bool, tensorboard: bool, **options: Any) -> None:
    """Learn to find named entities from a corpus of tagged sentences."""
    home = "nlpseq.stages.ner:train_ner"
    run_training(NerConfig, home, recipe, check=check, tensorboard=tensorboard, options=options)


def _output_options(command: Command) -> Command:
    """Give a command what is printed or written of the sentences that were tagged."""
    as_conll = click.option("--conll", is_flag=True, help="A token and its tag a line, a blank line behind each text.")
    scheme = click.option("--scheme", type=_SCHEMES, help="Of the tags in --conll or --out; iob2 when absent.")
    out = click.option("--out", metavar="FILE", help="Write to a file instead: .conll, .jsonl (spans) or .parquet.")
    replace = click.option("--replace", is_flag=True, help="Replace a file that is there.")
    return as_conll(scheme(out(replace(command))))


@ner.command("tag")
@model_option
@reading
@click.option("--tokenised", is_flag=True, help="Texts are tokens separated by spaces.")
@_output_options
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
def tag_texts(
    model: str, texts: tuple[str, ...], batch_size: int, as_json: bool, *, conll: bool, **further: Any
) -> None:
    """Find the entities in texts: a line of types and names for each.

    --json gives spans in characters of the text, each with its confidence, in a form that training reads too.
    """
    from nlpseq.tagged_files import check_file, conll_lines, json_line, write_tagged
    from nlpseq.tagger import Tagger
    from nlpseq.training import World, set_threads

    out, scheme = further["out"], further["scheme"]
    if sum([as_json, conll, out is not None]) > 1:
        found = "given together"
        raise UsageError(sentence("--json, --conll and --out", "be given one at a time", found, quote=False))
    if scheme is not None and not conll and out is None:
        raise UsageError(sentence("scheme", "be left out without --conll or --out", scheme, "option --scheme"))
    if out is not None:
        check_file(out, replace=further["replace"])
    tagger = Tagger.load(model, device=further["device"])
    set_threads(None, World())
    tagged = _tagged(tagger, blocks(texts, batch_size), tokenised=further["tokenised"])
    if out is not None:
        number = write_tagged(out, tagged, scheme or "iob2", replace=further["replace"])
        say(f"{number:,} texts with their entities are in {out}.")
        return
    for one in tagged:
        if conll:
            print_lines(conll_lines(one, scheme or "iob2"))
        else:
            plain = "  ".join(f"{entity.type} {entity.text}" for entity in one.entities)
            print_lines([json_line(one) if as_json else plain])


def _tagged(tagger: Tagger, texts: Iterator[list[str]], *, tokenised: bool) -> Iterator[Tagged]:
    number = 0
    for block in texts:
        for one in tagger.tag_tokens([text.split() for text in block]) if tokenised else tagger.tag_fully(block):
            number += 1
            if one.cut:
                say(f"line {number}: {len(one.tokens):,} tokens, tagged in pieces")
            yield one


@ner.command("evaluate")
@model_option
@click.option("--corpus", required=True, metavar="NAME|PATH", help="Corpus by name, or a file or folder of yours.")
@click.option("--split", default="test", show_default=True, help="Split to score; all rows of a file: all.")
@click.option("--tokens", metavar="COLUMN", help="Column (.conll: or number) of tokens or text; as in training.")
@click.option("--tags", metavar="COLUMN", help="Column (.conll: or number) of tags or spans; as in training.")
@click.option("--scheme", type=click.Choice(("auto", *_SCHEMES.choices)), help="Of the tags; as in training.")
@click.option("--illegal", type=click.Choice(("refuse", "repair")), help="What is not legal; as in training.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", metavar="DIR", help="Folder of the report; MODEL/evaluate-CORPUS-SPLIT when absent.")
def evaluate_tagger(model: str, corpus: str, split: str, *, device: str, out: str | None, **further: Any) -> None:
    """Print the scores of a tagger, and write report.json and report.html."""
    from nlpseq.stages.ner import evaluate_tagger

    watch = shown(say)
    report = evaluate_tagger(model, corpus, split=split, reading=further, device=device, out=out, watch=watch)
    print_report(report)
