"""`nlpseq sentiment`: train, predict and evaluate."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from nlpseq.commands.shared import (
    blocks,
    model_option,
    print_lines,
    print_report,
    reading,
    run_training,
    say,
    training_options,
)
from nlpseq.progress import shown
from nlpseq.settings import LabelConfig, SentimentConfig

if TYPE_CHECKING:
    from nlpseq.classifier import Prediction

__all__ = ["sentiment"]

_AT_ONCE = 1024  # lines: texts of one padded length go through the network together, few of them waste most of a step
_TOLD = 6  # words of an explanation on a line


@click.group()
def sentiment() -> None:
    """A label for a text: simple RNN, LSTM, GRU, in one direction or both."""


@sentiment.command("train")
@training_options(SentimentConfig)
def train_sentiment(recipe: str | None, *, check: bool, tensorboard: bool, **options: Any) -> None:
    """Learn labels from a corpus of text and label; trains the tokeniser as well where none is given."""
    home = "nlpseq.stages.sentiment:train_sentiment"
    run_training(SentimentConfig, home, recipe, check=check, tensorboard=tensorboard, options=options)


@sentiment.command("predict")
@model_option
@partial(reading, at_once=_AT_ONCE)
@click.option("--explain", is_flag=True, help="Also the words that carried the decision, and how much, in logits.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32, or bf16: faster, but an answer may then depend on the texts beside it.",
)
def predict_sentiment(
    model: str, texts: tuple[str, ...], batch_size: int, as_json: bool, *, explain: bool, device: str, precision: str
) -> None:
    """Print the label of each text and its calibrated probability, one result per line.

    A text without a token has no label and gives an empty line.
    """
    from nlpseq.classifier import SentimentClassifier
    from nlpseq.training import World, set_threads

    classifier = SentimentClassifier.load(model, device=device, precision=precision)
    set_threads(None, World())
    number = cut = strange = 0
    for block in blocks(texts, batch_size):
        for one in classifier.predict_fully(block, explain=explain):
            number, cut, strange = number + 1, cut + (one.read < one.tokens), strange + (one.unknown > 0)
            if one.label is None:
                say(f"line {number}: no token in it, so no label")
            found = one._asdict() if explain else {k: v for k, v in one._asdict().items() if k != "words"}
            print_lines([json.dumps(found, ensure_ascii=False) if as_json else _line(one)])
    if cut:
        say(f"longer than is read (--max-tokens of the training), so read in part: {cut:,} of {number:,} texts")
    if strange:
        say(f"with units unknown to the model (--json counts them): {strange:,} of {number:,} texts")


def _line(one: Prediction) -> str:
    if one.label is None:
        return ""
    strongest = sorted(one.words, key=lambda word: -abs(word[1]))[:_TOLD]
    told = [" ".join(f"{word} {weight:+.2f}" for word, weight in strongest)] if one.words else []
    return "\t".join([one.label, f"{one.probability:.4f}", *told])


@sentiment.command("evaluate")
@model_option
@click.option("--corpus", required=True, metavar="NAME|PATH", help="Corpus by name, or a file or folder of yours.")
@click.option("--split", default="test", show_default=True, help="Split to score; all rows of a file: all.")
@click.option("--text", metavar="COLUMN", help="Column of the text; the model's own when absent.")
@click.option("--label", metavar="COLUMN", help="Column of the class; the model's own when absent.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", metavar="DIR", help="Folder of the report; MODEL/evaluate-CORPUS-SPLIT when absent.")
def evaluate_sentiment(
    model: str, corpus: str, split: str, *, text: str | None, label: str | None, **further: Any
) -> None:
    """Print the scores of a classifier, and write report.json and report.html."""
    from nlpseq.stages.sentiment import evaluate_sentiment

    columns = LabelConfig(text, label)
    report = evaluate_sentiment(model, corpus, split=split, columns=columns, watch=shown(say), **further)
    print_report(report)
