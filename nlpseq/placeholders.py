r"""Numbers and links behind `[NUM]` and `[URL]`: hidden from the model, and put back from the source.

A number or link is a token of `nlpseq.text` as a whole. What is behind the placeholder, between ``⟨⟩``:

    =============================================  =====================================================================
    ⟨12⟩ ⟨3.14⟩ ⟨1,000,000⟩ ⟨1e-3⟩ ⟨007⟩           numbers
    ⟨1 000 000⟩                                    only with no-break spaces (U+00A0, U+202F); else ⟨1⟩ ⟨000⟩ ⟨000⟩
    ⟨-5⟩ (⟨−5⟩) x-5 +⟨5⟩                           - or − is the number's own where no letter, digit or bracket ends
                                                   before it; + never is
    ⟨50⟩ % ⟨50⟩% $⟨5⟩ ⟨5⟩ € ⟨3⟩°                   the sign stays in the text, so that the model sets its space and side
    ⟨3⟩-⟨5⟩ ⟨1990⟩–⟨1995⟩                          a range is two numbers
    ⟨10:30⟩ ⟨1/2⟩ ⟨1.2.3⟩ ⟨192.168.0.1⟩            one value, always written as it was typed
    ⟨2014-01-05⟩ ⟨01/02/2014⟩ ⟨555-123-4567⟩       the same: two hyphens or more
    covid19 covid-19 B2B 3D 5km 10:30am 20th x²    letters touch, or hang on by a hyphen: not a number
    20-year-old 2014-01-05T10                      the same; but ⟨2014⟩-⟨01⟩-05T10, for a part on its own is a number
    ½ Ⅳ two                                        not digits
    ⟨http://a.org/b_(c)⟩. (⟨www.a.org⟩)            links without the stop or bracket that follows; balanced ones belong
    ⟨a.org/⟩ ⟨a.org:80/b⟩ ⟨me@a.org⟩               bare domains only with a path; e-mail addresses
    a.org and/or 1.5/2.5m                          not links
    =============================================  =====================================================================

What a user types that looks like a special token ([NUM], [URL], [UNK], <pad>, <go>, <eos>, in any case of letters) is
escaped: one backslash more behind its bracket, `[\NUM]`, and `restore` takes it away. So in normalised text a special
token is always nlpseq's own.

Characters that no model file can hold, NUL and lone surrogates, become U+FFFD. All other control characters, tabs and
line ends stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from nlpseq.text import nfc_origins, token_pattern

__all__ = ["Masked", "MaskedPair", "Restored", "Value", "escape", "mask_pair", "normalise", "restore", "unescape"]

Kind = Literal["[NUM]", "[URL]"]

_SPECIAL = re.compile(r"\[(?=\\*+(?:num|url|unk)\])|<(?=\\*+(?:pad|go|eos)>)", re.IGNORECASE)
_BACKSLASH = r"(?<=\[)\\(?=\\*+(?i:num|url|unk)\])|(?<=<)\\(?=\\*+(?i:pad|go|eos)>)"
_ESCAPED = re.compile(_BACKSLASH)
_OUTPUT = re.compile(rf"([ \u00a0\u202f]?)(\[NUM\]|\[URL\])|{_BACKSLASH}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_HINT = re.compile(r"[\d/@]|[wW]{3}")  # no number or link without one of these
_SEPARATORS = {"en": (",", "."), "fr": ("\u202f", ","), "de": (".", ",")}  # of thousands, of decimals
_PLAIN = re.compile(
    r"(?P<sign>[-−]?)"
    r"(?P<whole>[1-9][0-9]{0,2}(?:(?P<thousands>[.,\u00a0\u202f])[0-9]{3})(?:(?P=thousands)[0-9]{3})*+|0|[1-9][0-9]*+)"
    r"(?:(?P<decimal>[.,])(?P<fraction>[0-9]++))?(?P<exponent>[eE][-+−]?[0-9]++)?"
)


class Value(NamedTuple):
    """What stood behind a placeholder: its kind, its text (NFC), and its span in the text given, in characters."""

    kind: Kind
    text: str
    start: int
    end: int


class Masked(NamedTuple):
    """Normalised text, and the values of its placeholders in their order."""

    text: str
    values: tuple[Value, ...]


class MaskedPair(NamedTuple):
    """Both sides of a pair, and for each value of the target: does the source's of the same kind and rank equal it?"""

    source: Masked
    target: Masked
    aligned: tuple[bool, ...]


class Restored(NamedTuple):
    """Text with its values back; how many were, how many placeholders had none, how many values had no placeholder."""

    text: str
    restored: int
    dropped: int
    unused: int


def escape(text: str) -> str:
    r"""`text` with one backslash more in all that looks like a special token, escaped or not: `[NUM]` to `[\NUM]`."""
    return _SPECIAL.sub(r"\g<0>\\", text)


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    return _ESCAPED.sub("", text)


def normalise(text: str, *, numbers: bool = True, links: bool = True, nfc: bool = True) -> Masked:
    """`text` in NFC, with placeholders for its numbers and links, and typed special tokens escaped.

    numbers, links, nfc: each can be switched off; escaping cannot. Any string is accepted. Restoring gives the NFC form
    of `text` (NUL and lone surrogates aside), and normalising that gives the same text and values again.
    """
    return _masked(*_values(text, numbers=numbers, links=links, nfc=nfc))


def _values(text: str, *, numbers: bool, links: bool, nfc: bool) -> tuple[str, list[Value], list[tuple[int, int]]]:
    """The text to mask, the values in it with their spans in the original, and their spans in the text to mask."""
    text = _UNSTORABLE.sub("\ufffd", text)
    composed, origins = nfc_origins(text) if nfc else (text, None)
    kinds: dict[str, Kind] = {"number": "[NUM]"} if numbers else {}
    if links:
        kinds["link"] = "[URL]"
    values: list[Value] = []
    spans: list[tuple[int, int]] = []
    for match in token_pattern(named=True).finditer(composed) if _HINT.search(composed) else ():
        kind = kinds.get(match.lastgroup or "")
        if kind:
            start, end = match.span()
            spans.append((start, end))
            original = (start, end) if origins is None else (origins[start], origins[end])
            values.append(Value(kind, match[0], *original))
    return composed, values, spans


def _masked(text: str, values: Sequence[Value], spans: Iterable[tuple[int, int]]) -> Masked:
    pieces: list[str] = []
    done = 0
    for value, (start, end) in zip(values, spans, strict=True):
        pieces += [escape(text[done:start]), value.kind]
        done = end
    return Masked("".join([*pieces, escape(text[done:])]), tuple(values))


def mask_pair(
    source: str,
    target: str,
    *,
    source_language: str | None = None,
    target_language: str | None = None,
    numbers: bool = True,
    links: bool = True,
    nfc: bool = True,
) -> MaskedPair:
    """Both sides normalised, with a placeholder only for what stands on both: for training a translator.

    source_language, target_language: "en", "fr", "de", read 1,000 as a thousand or as one; any other or None reads as
    English does. Numbers are compared by value, whatever their format: 1,000.5 equals 1 000,5; 3.50 and 3.5, 5 and 05
    differ, as they do on a price list. Links are compared as typed. Of what stands twice on one side and once on the
    other, the first is masked. Where the order differs, placeholders stay and `aligned` says which are not in rank.
    """
    sides = [_values(text, numbers=numbers, links=links, nfc=nfc) for text in (source, target)]
    if not (sides[0][1] and sides[1][1]):  # as in most pairs
        plain = [_masked(composed, (), ()) for composed, _, _ in sides]
        return MaskedPair(plain[0], plain[1], ())
    keys = [
        [_key(value, language) for value in values]
        for (_, values, _), language in zip(sides, (source_language, target_language), strict=True)
    ]
    shared = Counter(keys[0]) & Counter(keys[1])
    kept = [_first(side, shared) for side in keys]
    masked = [
        _masked(text, [values[place] for place in places], [spans[place] for place in places])
        for (text, values, spans), places in zip(sides, kept, strict=True)
    ]
    ranks = [_by_kind([side[place] for place in places]) for side, places in zip(keys, kept, strict=True)]
    aligned = {kind: [a == b for a, b in zip(ranks[0][kind], side, strict=True)] for kind, side in ranks[1].items()}
    turns = {kind: iter(flags) for kind, flags in aligned.items()}
    return MaskedPair(masked[0], masked[1], tuple(next(turns[value.kind]) for value in masked[1].values))


def _first(keys: Sequence[tuple[Kind, str]], shared: Counter[tuple[Kind, str]]) -> list[int]:
    """The places of the first keys, as many of each as are shared."""
    left = shared.copy()
    places = []
    for place, key in enumerate(keys):
        if left[key] > 0:
            left[key] -= 1
            places.append(place)
    return places


def _by_kind(keys: Iterable[tuple[Kind, str]]) -> dict[Kind, list[str]]:
    ranked: dict[Kind, list[str]] = {}
    for kind, key in keys:
        ranked.setdefault(kind, []).append(key)
    return ranked


def restore(
    text: str, values: Sequence[Value], *, language: str | None = None, source_language: str | None = None
) -> Restored:
    """A translator's output with values for its placeholders, and typed special tokens as they were typed.

    The k-th placeholder of a kind takes the k-th value of that kind; one too many is dropped with the space before it.
    language: "en" writes 1,000.5, "fr" 1 000,5 (U+202F), "de" 1.000,5, with thousands parted only where they were
    in the source; any other or None leaves numbers as typed, and so does the source's own. source_language: as in
    `mask_pair`. Signs, links and what cannot be a plain number are always as typed: 10:30, 1/2, 2014-01-05, 1.2.3, 007.
    What has the form of one decimal is taken for a number whatever it means, as its sentence is not read: from English
    to French the version in "Python 3.11" becomes 3,11, and so does the time in "at 10.30".
    """
    queues = {kind: iter([value.text for value in values if value.kind == kind]) for kind in ("[NUM]", "[URL]")}
    counts = Counter[bool]()

    def fill(match: re.Match[str]) -> str:
        kind = match[2]
        if kind is None:
            return ""
        value = next(queues[kind], None)
        counts[value is not None] += 1
        if value is None:
            return ""
        return match[1] + (_rewritten(value, source_language, language) if kind == "[NUM]" else value)

    result = _OUTPUT.sub(fill, text)
    if counts[False]:
        result = result.removeprefix(" ")
    return Restored(result, counts[True], counts[False], len(values) - counts[True])


class _Number(NamedTuple):
    sign: str
    whole: str  # digits alone
    fraction: str
    exponent: str
    grouped: bool


def _parsed(text: str, language: str | None) -> _Number | None:
    """A number read as `language` writes it, or None for what is no plain number: 10:30, 007, 1.2.3."""
    match = _PLAIN.fullmatch(text)
    if not match:
        return None
    sign, whole, thousands, decimal, fraction, exponent = match.groups(default="")
    if thousands and thousands == decimal:
        return None
    own = _SEPARATORS.get(language or "en", _SEPARATORS["en"])[1]
    if thousands == own and whole.count(thousands) == 1 and not decimal:
        whole, fraction = whole.split(thousands)
        thousands = ""
    digits = whole.replace(thousands, "") if thousands else whole
    return _Number(sign, digits, fraction, exponent, bool(thousands))


def _key(value: Value, language: str | None) -> tuple[Kind, str]:
    """What two values have in common exactly if they are the same."""
    number = _parsed(value.text, language) if value.kind == "[NUM]" else None
    if number is None:
        return value.kind, value.text
    plain = f"{number.sign}{number.whole}.{number.fraction}{number.exponent.lower()}"
    return value.kind, plain.replace("−", "-")


def _rewritten(text: str, source_language: str | None, language: str | None) -> str:
    """A number in the format of `language`."""
    number = _parsed(text, source_language)
    if number is None or language not in _SEPARATORS or language == source_language:
        return text
    thousands, decimal = _SEPARATORS[language]
    whole = number.whole
    if number.grouped:
        head = len(whole) % 3
        whole = thousands.join([whole[:head]] * bool(head) + [whole[n : n + 3] for n in range(head, len(whole), 3)])
    return number.sign + whole + (decimal + number.fraction if number.fraction else "") + number.exponent
