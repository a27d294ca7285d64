"""`nlpseq translate`: train, run and evaluate."""

from __future__ import annotations

import json
from typing import Any

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
from nlpseq.settings import PairConfig, TranslateConfig

__all__ = ["translate"]


@click.group()
def translate() -> None:
    """From one language to another: a GRU encoder-decoder."""


@translate.command("train")
@training_options(TranslateConfig)
def train_translator(recipe: str | None, *, check: bool, tensorboard: bool, **options: Any) -> None:
    """Learn to translate from a corpus of pairs; trains the tokeniser as well where none is given."""
    home = "nlpseq.stages.translate:train_translator"
    run_training(TranslateConfig, home, recipe, check=check, tensorboard=tensorboard, options=options)


@translate.command("run")
@model_option
@reading
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32, or bf16: faster, but a translation may then depend on the sentences beside it.",
)
def run_translator(
    model: str, texts: tuple[str, ...], batch_size: int, as_json: bool, *, device: str, precision: str
) -> None:
    """Translate texts, one result per line."""
    from nlpseq.training import World, set_threads
    from nlpseq.translator import LONGEST, Translator

    translator = Translator.load(model, device=device, precision=precision)
    set_threads(None, World())
    number = 0
    for block in blocks(texts, batch_size):
        for one in translator.translate_fully(block):
            number += 1
            if one.cut:
                say(f"line {number}: longer than {LONGEST:,} tokens, what follows them was not read")
            if one.unused:
                say(f"line {number}: {one.unused} of the source's numbers and links missing in the translation")
            if one.dropped:
                say(f"line {number}: {one.dropped} of the translation's numbers and links with no value in the source")
            if one.unknown:
                say(f"line {number}: {one.unknown} of the source's units unknown to the model")
            print_lines([json.dumps(one._asdict(), ensure_ascii=False) if as_json else one.text])


@translate.command("evaluate")
@model_option
@click.option("--corpus", required=True, metavar="NAME|PATH", help="Corpus by name, or a file or folder of yours.")
@click.option("--split", default="test", show_default=True, help="Split to score; all rows of a file: all.")
@click.option("--source", metavar="COLUMN", help="Column of the source; the model's own when absent.")
@click.option("--target", metavar="COLUMN", help="Column of the target; the model's own when absent.")
@click.option("--against", metavar="DIR", help="Another translator, compared by paired bootstrap.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", metavar="DIR", help="Folder of the report; MODEL/evaluate-CORPUS-SPLIT when absent.")
def evaluate_translator(
    model: str, corpus: str, split: str, *, source: str | None, target: str | None, **further: Any
) -> None:
    """Print the scores of a translator, and write report.json and report.html."""
    from nlpseq.stages.translate import evaluate_translator

    pair = PairConfig(source, target)
    report = evaluate_translator(model, corpus, split=split, pair=pair, watch=shown(say), **further)
    print_report(report)
    for metric, found in report.comparison.items():
        bounds = f"[{found['low']:.2f}, {found['high']:.2f}]  p {found['p_value']:.3f}  {found['signature']}"
        print_lines([f"against the other translator: {metric} difference {found['delta']:.2f}  {bounds}"])
