"""`nlpseq ner`: train, tag and evaluate."""

from __future__ import annotations

from typing import Any

import click

from nlpseq.commands.shared import given, training, training_options, watching
from nlpseq.config import configure
from nlpseq.settings import NerConfig

__all__ = ["ner"]


@click.group()
def ner() -> None:
    """Named entities: a Bi-LSTM with characters and a CRF."""


@ner.command("train")
@training_options(NerConfig)
def train_ner(recipe: str | None, *, check: bool, tensorboard: bool, **options: Any) -> None:
    """Learn to find named entities from a corpus of tagged sentences."""
    config = configure(NerConfig, recipe=recipe, **given(options))
    if check:
        return
    with training():
        from nlpseq.stages.ner import train_ner

        train_ner(config, watch=watching(config.run.out, tensorboard=tensorboard))
