"""Corpus cards: what `corpora/<name>/card.toml` says of a corpus, read into one frozen object."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nlpseq.errors import CorpusError, did_you_mean
from nlpseq.readers import fault
from nlpseq.share import share_path

__all__ = ["Artefact", "Card", "Source", "SplitFacts", "catalogue", "read_card"]


@dataclass(frozen=True)
class SplitFacts:
    """What is known of a split: its rows, and the SHA-256 of their content in the card's columns.

    The hash is taken over the rows (`fetch.content_hash`) and not over a file, because the bytes of a Parquet file
    depend on the program that wrote it.
    """

    rows: int
    sha256: str | None = None


@dataclass(frozen=True)
class Artefact:
    """A file that is no table: its address, how many words of vectors to keep, SHA-256 (of the unpacked content)."""

    url: str
    words: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from.

    kind: "generated" (by `nlpseq.synthetic`), "library" (`nlpseq.library`: Python's own source), "hub" (read through
    `datasets`) or "raw" (files at web addresses);
    id, config, revision: the hub's; url: what the addresses in files begin with; files: split -> column -> address;
    format: which parser of `nlpseq.fetch` reads raw files; cut: characters after which a single text is cut into
    train, validation and test; limit: rows taken of a larger hub data set; verified: someone has looked the revision
    and the addresses up; same_text: False where the source holds other text than the figures of this project used.
    """

    kind: str
    id: str = ""
    config: str | None = None
    revision: str = "unverified"
    url: str = ""
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    format: str = ""
    cut: tuple[int, ...] = ()
    limit: int | None = None
    seed: int = 1
    verified: bool = False
    same_text: bool = True


@dataclass(frozen=True)
class Card:
    """One corpus: its task, columns (role -> name in the rows), languages, label names, splits, source and terms."""

    name: str
    task: str
    title: str
    columns: Mapping[str, str]
    languages: tuple[str, ...]
    source: Source
    licence: str
    citation: str
    splits: Mapping[str, SplitFacts] = field(default_factory=dict)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pairs: tuple[tuple[str, str], ...] = ()
    notes: str = ""
    artefacts: Mapping[str, Artefact] = field(default_factory=dict)

    @property
    def embedded(self) -> bool:
        """Whether its rows are on every machine: nothing is fetched or mirrored."""
        return self.source.kind in ("generated", "library")


def catalogue() -> list[Card]:
    """Return the cards of all corpora that nlpseq knows, embedded ones first, then by name."""
    names = (path.parent.name for path in share_path("corpora").glob("*/card.toml"))
    return sorted((read_card(name) for name in names), key=lambda card: (not card.embedded, card.name))


def read_card(name: str) -> Card:
    """Return the card of one corpus; raises CorpusError, with the known names, where there is none."""
    folder = share_path("corpora")
    path = folder / name / "card.toml"
    if not path.is_file():
        known = sorted(card.parent.name for card in folder.glob("*/card.toml"))
        must = f"be a known corpus ({', '.join(known)}), a file or a folder"
        raise fault(name, must, "is none of them", "see `nlpseq corpora list`", hint=did_you_mean(name, known))
    try:
        return _card(name, tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise CorpusError(f"`{path}` must be a corpus card, but is not: {error}.") from error


def _card(name: str, table: dict[str, Any]) -> Card:
    source = table.pop("source")
    return Card(
        name=name,
        source=Source(**{**source, "cut": tuple(source.get("cut", ()))}),
        splits={split: SplitFacts(**facts) for split, facts in table.pop("splits", {}).items()},
        labels={column: tuple(names) for column, names in table.pop("labels", {}).items()},
        artefacts={file: Artefact(**facts) for file, facts in table.pop("artefacts", {}).items()},
        pairs=tuple((pair[0], pair[1]) for pair in table.pop("pairs", [])),
        languages=tuple(table.pop("languages")),
        **table,
    )
