"""`nlpseq lm`: train, sample and evaluate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from nlpseq.commands.shared import (
    blocks,
    given,
    model_option,
    plain_options,
    print_lines,
    run_training,
    say,
    training_options,
)
from nlpseq.errors import UsageError, sentence
from nlpseq.progress import shown
from nlpseq.settings import LMConfig, WritingConfig

if TYPE_CHECKING:
    from nlpseq.language_model import LanguageModel

__all__ = ["lm"]

_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


@click.group()
def lm() -> None:
    """Language models: text that goes on as it began, by character, word or subword."""


@lm.command("train")
@training_options(LMConfig)
def train_lm(recipe: str | None, *, check: bool, tensorboard: bool, **options: Any) -> None:
    """Learn to write from a file, a folder of files, or a corpus."""
    home = "nlpseq.stages.lm:train_lm"
    run_training(LMConfig, home, recipe, check=check, tensorboard=tensorboard, options=options)


@lm.command("sample")
@model_option
@plain_options(WritingConfig)
@click.option("--prompt", default="", help="What the text begins with; from the start of a document when absent.")
@click.option("--count", default=1, type=click.IntRange(1, 10_000), show_default=True, help="Texts to write.")
@_as_json
@_device
def sample_text(model: str, prompt: str, count: int, *, as_json: bool, device: str, **options: Any) -> None:
    """Write text; a single one is shown as it is written."""
    how = given(options)
    ((prompt,),) = blocks((prompt,), 1)  # which refuses what is not UTF-8
    live = _loaded(model, device)
    if unknown := live.unknown(prompt):
        say(f"warning: {_unseen(live, unknown, ' of the prompt')}, read as [UNK]")
    if count == 1 and not as_json:
        _show(live, prompt, how)
        return
    for number, text in enumerate(live.sample(prompt, count=count, **how), 1):
        heading = [f"--- {number} ---"] if not as_json and count > 1 else []
        print_lines([*heading, json.dumps({"prompt": prompt, "text": text}, ensure_ascii=False) if as_json else text])


def _unseen(live: LanguageModel, count: int, where: str = "") -> str:
    return f"{count} {live.units.noun}{'s' * (count > 1)}{where} never seen in training"


def _show(live: LanguageModel, prompt: str, how: dict[str, Any]) -> None:
    pieces = live.stream(prompt, **how)
    first = next(pieces, "")  # a fault in the settings is said before the prompt is shown
    try:
        click.echo(prompt + first, nl=False)
        for piece in pieces:
            click.echo(piece, nl=False)
    except BrokenPipeError:
        print_lines([""])
    print_lines([""])


def _loaded(model: str, device: str) -> LanguageModel:
    from nlpseq.language_model import LanguageModel
    from nlpseq.training import World, set_threads

    live = LanguageModel.load(model, device=device)
    set_threads(None, World())
    return live


@lm.command("evaluate")
@model_option
@click.option("--corpus", metavar="NAME|PATH", help="A file, a folder of files, or a corpus by name.")
@click.option(
    "--split", default="test", show_default=True, help="Splits, as in validation,test; all of a file: all; held-out."
)
@click.option("--column", "column", metavar="COLUMN", help="Column of the text; that of the training when absent.")
@click.option(
    "--text",
    "texts",
    multiple=True,
    metavar="TEXT",
    help="How likely is this text? May be given again; --json: by units.",
)
@click.option(
    "--dynamic",
    type=float,
    metavar="RATE",
    help="Also score a copy that goes on learning at this rate (as 0.1, chosen on validation) from what it has just "
    "predicted; several times as slow.",
)
@click.option("--out", metavar="DIR", help="Folder of the report; MODEL/evaluate-CORPUS-SPLIT when absent.")
@_as_json
@_device
def evaluate_lm(model: str, corpus: str | None, *, texts: tuple[str, ...], as_json: bool, **further: Any) -> None:
    """Print the scores of a language model on a text, or the probability of each --text, for ranking."""
    if corpus is None and not texts:
        raise UsageError(sentence("corpus", "be given, or else text", "absent", "option --corpus", quote=False))
    if corpus is not None and texts:
        raise UsageError(sentence("corpus", "be left out with --text", corpus, "option --corpus"))
    if texts and further["dynamic"] is not None:
        raise UsageError(sentence("dynamic", "be left out with --text", further["dynamic"], "option --dynamic"))
    if texts:
        _rank(_loaded(model, further["device"]), texts, as_json=as_json)
        return
    from nlpseq.stages.lm import evaluate_language_model

    column = further.pop("column")
    report = evaluate_language_model(model, str(corpus), text=column, watch=shown(say), **further)
    if as_json:
        print_lines([json.dumps(report.to_plain()["scores"])])
        return
    for name, score in report.scores.items():
        print_lines([f"{name:26} {score.value:9.4f}  n={score.n}  {score.signature}"])
    print_lines([f"{name}: {value}" for name, value in report.counts.items()])


def _rank(live: LanguageModel, texts: tuple[str, ...], *, as_json: bool) -> None:
    """Print for each text its log-probability, that per unit, and how many units it has."""
    for found in live.score([text for block in blocks(texts, len(texts)) for text in block]):
        if found.unknown:
            say(f"warning: {_unseen(live, found.unknown)}, read as [UNK]: {found.text}")
        count = len(found.units)
        mean = found.nats / max(1, count)
        noun = live.units.noun
        line = f"{found.nats:.4f} nats  {mean:.4f} per {noun}  {count} {noun}{'s' * (count != 1)}  {found.text}"
        print_lines([json.dumps(found._asdict(), ensure_ascii=False) if as_json else line])
