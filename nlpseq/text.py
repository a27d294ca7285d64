r"""Words and their spans for scripts that put spaces between words, and the way back to running text.

`tokenize` and `words` follow these decisions, each of them a test (``·`` parts tokens):

    ========================  ==========================================================================================
    don't, can't, it's, I'm   do·n't  ca·n't  it·'s  I·'m: English contractions as in the Penn Treebank, with ' ’ or ＇
    l'eau, qu'il, jusqu'à     l'·eau  qu'·il  jusqu'·à: French elision
    aujourd'hui, O'Brien      whole: any other apostrophe between letters; so are quelqu'un, presqu'île and o'clock
    dogs', 'tis               dogs·'  '·tis
    ʼ (U+02BC)                a letter, as Unicode says: мʼякий whole, and lʼeau whole as well
    est-ce, covid-19          whole, with - (U+002D), ‐ and ‑; 20-year-old, word--word: whole, word·--·word
    AT&T, R&D, C++            whole; x & y, C+, a++b: in parts
    U.S.A., e.g., p.m.        whole with the last full stop, even where it ends the sentence; U.S.Army: U.S.·Army
    Mr., Mrs., etc., vs.      whole: a short list of English and French abbreviations
    wait..., !?               wait·...  !·?: runs of full stops and of hyphens are one token, other signs stand alone
    3.14, -5, 1e-3, 1 000     one token; 1 000 only with no-break spaces; what a number is says `nlpseq.placeholders`
    5km, 1.5km, 10:30am, 3D   whole, and not numbers
    $5, 50%, 3-5              $·5  50·%  3·-·5
    https://a.org/b_(c).      one token, without the full stop; also www.a.org, a.org/b and me@a.org
    and/or, a.org             and·/·or  a·.·org
    [NUM], <eos>, [\NUM]      one token: the special tokens, and their escaped forms
    👩‍👩‍👧, 👍🏽, 🇫🇷, 1️⃣            whole: joined emoji, skin tones, flags, keycaps
    हिन्दी, é (e + U+0301)      whole: combining marks, joiners and soft hyphens belong to what they follow
    ========================  ==========================================================================================

White space parts tokens and is dropped, and so are characters that neither show nor join: control characters,
zero-width space, word joiner, byte order mark, direction marks. Every other character of the text is in exactly one
token, also lone surrogates. Text in scripts without spaces (Chinese, Thai) becomes one token a run.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

__all__ = ["SPECIALS", "Token", "detokenize", "marks", "nfc_origins", "token_pattern", "tokenize", "words"]

SPECIALS = ("<pad>", "[UNK]", "<go>", "<eos>", "[NUM]", "[URL]")

_INVISIBLE = r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_APOSTROPHE = "['’＇]"
_HYPHEN = "[-‐‑]"
_ABBREVIATIONS = (
    "Mr|Ms|Dr|St|Jr|Sr|vs|cf|Co|Lt|Mt|pp|ca|Mrs|Rev|Gen|Col|Sgt|Hon|Gov|Sen|Rep|Inc|Ltd|Vol|Fig|etc|Prof|Capt|Corp|M"
)


class Token(NamedTuple):
    """A word, number, link or sign, and where in the text it stands: `text[start:end]`, in characters."""

    text: str
    start: int
    end: int


@cache
def marks() -> str:
    """The inside of a regular expression's class for what belongs to the character before it.

    Combining marks, which `\\w` misses, variation selectors, joiners, soft hyphen and tag characters.
    """
    # No mark lies between U+1F000 and the tags of plane 14; asking for each code point up to there takes 10 ms.
    found = [c for c in range(0x300, 0x1F000) if unicodedata.category(chr(c))[0] == "M"]
    starts = [c for before, c in zip([0, *found], found, strict=False) if c != before + 1]
    ends = [c for c, after in zip(found, [*found[1:], 0], strict=True) if after != c + 1]
    ranges = (f"{chr(a)}-{chr(b)}" for a, b in zip(starts, ends, strict=True))
    return "".join(ranges) + "\u00ad\u200c\u200d\U000e0020-\U000e007f\U000e0100-\U000e01ef"


def _link_pattern(mark: str) -> str:
    """Links: they never end with a closing sign, and hold brackets only where these are balanced."""
    punctuation = ".,;:!?'’*…。，、！？"
    plain = rf"[^\s{_INVISIBLE}()\[\]<>\"«»“”{punctuation}]"
    balanced = rf"\([^\s{_INVISIBLE}()<>\"]*+\)|\[[^\s{_INVISIBLE}\[\]<>\"]*+\]"
    body = rf"(?:[{punctuation}]*+(?:{plain}++|{balanced}))"
    mail = rf"[\w.+-]*+@(?:[\w-]++\.)+[^\W\d_]{{2,}}+(?![\w{mark}])"
    site = rf"[\w-]*+\.(?:[\w-]++\.)*[a-z]{{2,}}+(?::\d+)?/{body}*+"
    # Never in the middle of a chain such as a.a.a.a: reading the rest of it at each link would be quadratic.
    start = r"\w(?<![\w.+@/-]\w)(?=\w*+[-.+@])"
    return rf"(?i:https?|ftp)://{body}++|[wW]{{3}}\.{body}++|{start}(?:{mail}|{site})"


def _number_pattern(mark: str) -> str:
    """Numbers that no letter touches; the bounds on counts of groups keep adversarial input linear."""
    end = rf"(?![\w{mark}]|{_HYPHEN}[^\W\d_])"
    science = r"\d++(?:[.,]\d++)?[eE][-+−]?\d++"
    grouped = r"\d{1,3}(?:[\u00a0\u202f]\d{3}(?!\d)){1,9}+(?:[.,]\d++)?"
    dashed = r"\d++(?:-\d++){2,4}+"
    chain = r"\d++(?:[.,:/]\d++)*+"
    forms = rf"(?:{science}{end}|{grouped}{end}|{dashed}{end}|{chain}{end})"
    return rf"(?=\d){forms}|[-−](?<![\w)\]}}%−{mark}-].){forms}"


def _word_pattern(mark: str) -> str:
    """Words, their contractions and elisions, and abbreviations."""
    end = rf"(?![\w{mark}])"
    part = rf"\w++(?:[{mark}]\w*+)*+"
    figures = r"(?:\d++[.,:/](?=\d))*+"  # 1.5km
    suffix = rf"{_APOSTROPHE}(?i:s|m|d|re|ve|ll){end}"
    negation = rf"[nN]{_APOSTROPHE}[tT]{end}"
    letter = "[ljdmtsncLJDMTSNC]"
    elided = rf"(?:{letter}|(?i:qu|jusqu|lorsqu|puisqu|quoiqu))(?!{suffix}){_APOSTROPHE}"
    # l' alone is elided as well, so that tokens joined by spaces give the same tokens; the C of 'C' is not.
    elision = rf"{elided}(?:(?=\w)|(?<!['’＇‘]{letter}.){end})"
    initials = rf"[^\W\d_](?:\.[^\W\d_]{end})++(?:\.(?![.{mark}]))?"
    known = "|".join(rf"(?<=\b{word}\.)" for word in _ABBREVIATIONS.split("|"))
    compound = rf"(?:(?:{_HYPHEN}|&){part}|(?!{suffix}){_APOSTROPHE}{part})*+"
    compound += rf"(?:\.(?:{known})(?![.{mark}])|\+\+(?![+\w{mark}]))?"
    whole = rf"{figures}{part}(?!(?<=[nN]){_APOSTROPHE}[tT]{end}){compound}"
    # Whether a word ends in n't is known only when its n has been read; this form gives the n back.
    negated = rf"{figures}\w[\w{mark}]*(?={negation})"
    return "|".join((negation, elision, initials, whole, negated, suffix))


def _sign_pattern(mark: str) -> str:
    """Special tokens, runs of stops and hyphens, emoji, and any other character with its marks."""
    special = rf"(?:\[\\*+(?i:num|url|unk)\]|<\\*+(?i:pad|go|eos)>)(?![{mark}])"
    runs = rf"(?:\.\.+|--+)(?![{mark}])"
    flag = rf"[\U0001f1e6-\U0001f1ff]{{2}}[{mark}]*+"
    pictures = "©®‼⁉™ℹ\u2190-\u2bff〰〽㊗㊙\U0001f000-\U0001faff"
    tones = "\U0001f3fb-\U0001f3ff"
    emoji = rf"[{pictures}][{mark}{tones}]*+(?:(?<=\u200d)[{pictures}][{mark}{tones}]*+)*+"
    return rf"{special}|{runs}|{flag}|{emoji}|[^\s{_INVISIBLE}][{mark}]*+"


@cache
def token_pattern(*, named: bool) -> re.Pattern[str]:
    """The regular expression that matches each token in turn; `named`: with the groups `link` and `number`."""
    mark = marks()
    link, number = _link_pattern(mark), _number_pattern(mark)
    # Nine tokens in ten are plain: what follows them rules out every question that the later forms ask. Five letters
    # are longer than any abbreviation. And a look at \S first spares all the questions at each space.
    plain = r"[^\W\d]\w*+(?:(?![^\s,)!?;\"])|(?<=\w{5})(?=\.(?!\S)))"
    plain += r"|[,.;:!?)\"](?!\S)|[,!?;\"()>/](?=[\w\s<>])|<(?=[^\W\dpgePGE])"
    if named:
        link, number = f"(?P<link>{link})", f"(?P<number>{number})"
    return re.compile(rf"(?=\S)(?:{plain}|{link}|{number}|{_word_pattern(mark)}|{_sign_pattern(mark)})")


def words(text: str) -> list[str]:
    """The tokens of `text` without their spans, as the table at the top of this module says; any string is accepted."""
    return token_pattern(named=False).findall(text)


def tokenize(text: str, *, nfc: bool = False) -> list[Token]:
    """The tokens of `text` with their spans in it, so that `text[start:end]` is the token.

    nfc: give the tokens of the NFC form instead; spans still count characters of `text` as given, and
    `unicodedata.normalize("NFC", text[start:end])` is the token. Any string is accepted.
    """
    composed, origins = nfc_origins(text) if nfc else (text, None)
    found = token_pattern(named=False).finditer(composed)
    if origins is None:
        return [Token(match[0], match.start(), match.end()) for match in found]
    return [Token(match[0], origins[match.start()], origins[match.end()]) for match in found]


def nfc_origins(text: str) -> tuple[str, Sequence[int] | None]:
    """The NFC form of `text`, and for each of its positions (the end too) the position in `text` that it came from.

    The second is None where the text is in NFC already. Inside a group of characters that changes its length, all
    positions point at the start of the group.
    """
    if unicodedata.is_normalized("NFC", text):
        return text, None
    pieces: list[str] = []
    origins: list[int] = []
    for match in _cluster_pattern().finditer(text):
        piece = unicodedata.normalize("NFC", match[0])
        same = len(piece) == match.end() - match.start()
        pieces.append(piece)
        origins.extend(range(match.start(), match.end()) if same else [match.start()] * len(piece))
    return "".join(pieces), [*origins, len(text)]


@cache
def _cluster_pattern() -> re.Pattern[str]:
    """Pieces of text that NFC never joins: a character and its marks, or the jamo of a Hangul syllable."""
    hangul = "[\u1100-\u1112\uac00-\ud7a3][\u1161-\u1175\u11a8-\u11c2]+"
    return re.compile(rf"{hangul}|[\s{_INVISIBLE}]|[^\s{_INVISIBLE}][{marks()}]*+")


_CLOSING = frozenset(".,;:!?…)]}”’»°%‰™®")
_OPENING = frozenset("([{“‘«¿¡#@")
_FRENCH = frozenset(";:!?»%")
_LEANING = re.compile(rf"\.\.+|{_APOSTROPHE}(?i:s|m|d|re|ve|ll)|[nN]{_APOSTROPHE}[tT]")
_ELIDED = re.compile(rf"(?i:[ljdmtsnc]|qu|jusqu|lorsqu|puisqu|quoiqu){_APOSTROPHE}")


def detokenize(tokens: Sequence[str], *, language: str | None = None) -> str:
    """Running text from tokens, spaced as it is usually typed.

    language: "fr" puts a space before ; : ! ? % and inside « », any other or None does not. Straight quotes open and
    close in turn; hyphens and / are closed up between numbers, / between words too. Where the spacing of one text
    matters, keep the spans that `tokenize` gives: they bring it back exactly. Known to come back otherwise than they
    are typed, as their tokens do not say where the spaces were: J.-P. Sartre, l'un(e), C#, 1 / 2, 50 % in English,
    emoji without a space between them, and a ' that opens a word but no quotation, as in the '90s.
    """
    quoting = _quotes(tokens)
    pieces = list(tokens[:1])
    for place in range(1, len(tokens)):
        if _parted(tokens, place, quoting, french=language == "fr"):
            pieces.append(" ")
        pieces.append(tokens[place])
    return "".join(pieces)


def _quotes(tokens: Sequence[str]) -> dict[int, bool]:
    """For the place of each straight quote: whether it opens. A ' that nothing closes is an apostrophe."""
    opens: dict[int, bool] = {}
    for quote in ('"', "'"):
        places = [place for place, token in enumerate(tokens) if token == quote]
        opens.update((place, n % 2 == 0) for n, place in enumerate(places))
        if len(places) % 2 and quote == "'":
            opens[places[-1]] = False
    return opens


def _parted(tokens: Sequence[str], place: int, quoting: dict[int, bool], *, french: bool) -> bool:
    """Whether a space stands between the token at `place` and the one before it."""
    before, token = tokens[place - 1], tokens[place]
    if french and (token in _FRENCH or before == "«"):
        return True
    joined = (
        quoting.get(place) is False
        or quoting.get(place - 1) is True
        or token in _CLOSING
        or before in _OPENING
        or "/" in (token, before)
        or (before in {"$", "£", "€"} and _is_number(token))
        or _LEANING.fullmatch(token)
        or _ELIDED.fullmatch(before)
        or (token in {"-", "–"} and _is_range(tokens, place))
        or (before in {"-", "–"} and _is_range(tokens, place - 1))
    )
    return not joined


def _is_range(tokens: Sequence[str], dash: int) -> bool:
    return 0 < dash < len(tokens) - 1 and _is_number(tokens[dash - 1]) and _is_number(tokens[dash + 1])


def _is_number(token: str) -> bool:
    return token == "[NUM]" or token[:1].isdigit()
