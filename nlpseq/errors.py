"""What can go wrong, and the exit code that the command line gives for it.

    NlpseqError              exit 1
    ├── UsageError           exit 2   a setting, name or argument that cannot be used
    │   ├── CorpusError      exit 2   text, tables or columns that cannot be read as a corpus
    │   └── ArtefactError    exit 2   a model folder that is damaged, foreign or in the way
    ├── WorkError            exit 1   the work itself failed: a loss that is not finite, a full disk
    └── Interrupted          exit 130 Ctrl-C or SIGTERM; the state is saved and the message says how to go on

Every message is one sentence of one form, made by `sentence`. Several faults found together are several lines.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtefactError",
    "CorpusError",
    "Interrupted",
    "NlpseqError",
    "UsageError",
    "WorkError",
    "did_you_mean",
    "refuse_other_than_texts",
    "sentence",
]


class NlpseqError(Exception):
    """Any fault that nlpseq reports as a sentence instead of a traceback."""

    exit_code = 1


class UsageError(NlpseqError):
    """A setting, a name or an argument that cannot be used."""

    exit_code = 2


class CorpusError(UsageError):
    """Text, tables or columns that cannot be read as a corpus; the message names file and line."""


class ArtefactError(UsageError):
    """A model folder that is damaged, made by something else, or in the way."""


class WorkError(NlpseqError):
    """The work itself failed; what had been saved before is still there."""


class Interrupted(NlpseqError):  # noqa: N818 - it is no error
    """Stopped by Ctrl-C or SIGTERM after the state was saved."""

    exit_code = 130


def sentence(name: str, must: str, found: object, where: str | None = None, *, quote: bool = True) -> str:
    """The one sentence form of this project: `` `name` must …, but is … (where) ``.

    name: the setting, option, column or file; must: the rule, without "must"; found: what was given, strings in
    quotes unless quote is false (a description such as: absent); where: file and line, recipe key or option it
    came from.
    """
    shown = f'"{found}"' if isinstance(found, str) and quote else str(found)
    end = "" if shown.endswith("?") else "."  # after a hint, which is a question
    return f"`{name}` must {must}, but is {shown}" + (f" ({where})." if where else end)


def refuse_other_than_texts(texts: Iterable[object]) -> None:
    """Raise UsageError for one string in place of many, and for what is no string among them."""
    if isinstance(texts, str):
        raise UsageError(sentence("texts", 'be a list of texts, as in ["…"]', texts))
    for number, one in enumerate(texts):
        if not isinstance(one, str):
            raise UsageError(sentence(f"texts[{number}]", "be text", repr(one), quote=False))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint like ``; did you mean `phrasebook`?``, or an empty string where nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""
