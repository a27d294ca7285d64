"""`nlpseq tokenize`: train, encode and decode."""

from __future__ import annotations

import json
from itertools import chain
from typing import Any

import click

from nlpseq.commands.shared import (
    blocks,
    given,
    model_option,
    print_lines,
    reading,
    say,
    settings_hold,
    settings_options,
    training,
)
from nlpseq.config import configure
from nlpseq.errors import UsageError, sentence
from nlpseq.progress import shown
from nlpseq.settings import TokenizeConfig

__all__ = ["tokenize"]


@click.group()
def tokenize() -> None:
    """Text to ids and back."""


@tokenize.command("train")
@settings_options(TokenizeConfig)
@click.option("--check", is_flag=True, help="Only check the settings.")
def train_tokenizer(recipe: str | None, *, check: bool, **options: Any) -> None:
    """Learn a tokeniser from the training split of a corpus."""
    config = configure(TokenizeConfig, recipe=recipe, **given(options))
    if check:
        settings_hold()
        return
    with training():
        from nlpseq.stages.tokenize import train_tokenizer

        train_tokenizer(config, watch=shown(say))


@tokenize.command("encode")
@model_option
@reading
@click.option("--pieces", is_flag=True, help="Print the units as they are written instead of their ids.")
def encode_texts(model: str, texts: tuple[str, ...], batch_size: int, *, as_json: bool, pieces: bool) -> None:
    """Print the ids of texts, separated by spaces, one text per line."""
    from nlpseq.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(model)
    for text in chain.from_iterable(blocks(texts, batch_size)):
        encoded = tokenizer.encode_with_values(text)
        if as_json:
            values = [{"kind": v.kind, "text": v.text, "start": v.start, "end": v.end} for v in encoded.values]
            record = {"ids": encoded.ids, "tokens": tokenizer.tokens(text), "values": values}
            print_lines([json.dumps(record, ensure_ascii=False)])
        else:
            print_lines([" ".join(tokenizer.tokens(text) if pieces else map(str, encoded.ids))])


@tokenize.command("decode")
@model_option
@reading
def decode_ids(model: str, texts: tuple[str, ...], batch_size: int, as_json: bool) -> None:
    """Print the text of ids, which are numbers separated by spaces."""
    from nlpseq.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(model)
    for line in chain.from_iterable(blocks(texts, batch_size)):
        try:
            ids = [int(word) for word in line.split()]
        except ValueError:
            raise UsageError(sentence("ids", "be whole numbers separated by spaces", line[:80])) from None
        if any(not 0 <= number < len(tokenizer) for number in ids):
            raise UsageError(sentence("ids", f"be below the size of the vocabulary, {len(tokenizer)}", line[:80]))
        text = tokenizer.decode(ids)
        print_lines([json.dumps({"text": text}, ensure_ascii=False) if as_json else text])
