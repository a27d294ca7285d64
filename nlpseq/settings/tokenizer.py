"""The settings of the tokenize stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from nlpseq.config import setting
from nlpseq.errors import sentence
from nlpseq.settings.common import PairConfig, RunConfig, TokenizerConfig

__all__ = ["TokenizeConfig"]


@dataclass(frozen=True)
class TokenizeConfig:
    """`nlpseq tokenize train`: a tokeniser from the training split of a corpus."""

    stage: ClassVar[str] = "tokenize"
    run: RunConfig = field(default_factory=RunConfig)
    text: str | None = setting(None, "Column of a corpus that is not one of pairs; the corpus' own when absent.")
    pair: PairConfig = field(default_factory=PairConfig)
    vocabulary: TokenizerConfig = field(default_factory=TokenizerConfig)

    def faults(self) -> Iterator[str]:
        """Yield what cannot be, as sentences."""
        yield from self.run.faults()
        if self.text and (self.pair.source or self.pair.target):
            yield sentence("text", "be absent where source or target is given", self.text)
