"""Random Unicode and mutated bytes through normalising, tokenising, encoding, decoding and translating.

.venv/bin/python tests/campaign/fuzz.py [--short] [--seed N]

No text may raise, none may get lost, and what a text is taken apart into must give it back as the docstrings promise.
"""

from __future__ import annotations

import json
import random
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from common import Faults, import_all, part, run, say, small_corpus, training

AT_ONCE = 2000  # texts that are translated in one call
PLANES = (
    (0x20, 0x7F), (0x00, 0x20), (0x80, 0x250), (0x300, 0x370), (0x590, 0x780), (0x900, 0xE80), (0x1100, 0x1200),
    (0x2000, 0x2070), (0x2190, 0x2C00), (0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xD800, 0xE000),
    (0xFE00, 0x10000), (0x1D400, 0x1D800), (0x1F1E6, 0x1FB00), (0xE0000, 0xE01F0), (0x10FFF0, 0x110000),
)  # fmt: skip
PIECES = (
    "[NUM]", "[num]", "[\\NUM]", "[\\\\URL]", "[UNK]", "<pad>", "<\\eos>", "<GO>", "[NUM", "\0", "\ufffd", "\ufeff",
    "\u2581", "http://", "https://a.org/b_(c)", "www.", "a.org/", "me@a.org", "@", "//", "1,000.5", "1\u202f000,5",
    "-5", "−5", "1e-3", "٣٫١٤", "१२३", "１２", "½", "10:30", "1/2", "…", "...", "--", "'", "’", "don't", "l'eau",
    "\r", "\t", "\n", "\x85", "\u2028", "\u200d", "\u200f", "\u202e", "👩\u200d👩\u200d👧", "🇫🇷", "e\u0301",
    "\u0301", "Ω", "ﬁ", "İ", "ß", "ǅ", "가", "ᄀ\u1161", "the cat", "le chat", "sees", " ", "  ", "3 cars", "\ud800",
    "\udfff",
)  # fmt: skip
BYTES = (b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\r\n", b"\n")
INVISIBLE = re.compile(
    r"[\s\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)  # by the docstring of nlpseq.text


def draw(rng: random.Random) -> str:
    """A text of one of many kinds, now and then a very long one."""
    kind = rng.random()
    length = int(rng.expovariate(1 / 12)) if kind > 0.0005 else rng.randrange(5_000, 50_000)
    if rng.random() < 0.25:
        low, high = rng.choice(PLANES)
        return "".join(chr(rng.randrange(low, high)) for _ in range(length))
    if rng.random() < 0.15:
        return rng.choice(PIECES) * min(length, 20_000)
    pieces = (
        rng.choice(PIECES) if rng.random() < 0.6 else chr(rng.randrange(*rng.choice(PLANES))) for _ in range(length)
    )
    return rng.choice(("", "", " ")).join(pieces)


def mutated(rng: random.Random, content: bytes) -> bytes:
    """The bytes with a few changed, dropped, doubled or put in; what is half of a character stays half."""
    found = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(found) + 1)
        match rng.randrange(4):
            case 0:
                found[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                del found[place : place + rng.randrange(1, 5)]
            case 2:
                found[place:place] = found[place : place + rng.randrange(1, 30)]
            case _:
                found[place:place] = rng.choice(BYTES)
    return bytes(found)


def storable(text: str) -> str:
    """The text as it can be given back: NFC, NUL and lone surrogates as U+FFFD."""
    return unicodedata.normalize("NFC", re.sub("[\x00\ud800-\udfff]", "\ufffd", text))


def guarded(faults: Faults, what: str, text: str, check: Callable[[], bool]) -> None:
    """One check of one text; what it raises is a fault."""
    try:
        good, detail = check(), text
    except Exception as error:  # whatever it is
        good, detail = False, f"{type(error).__name__}: {error} in {text!r}"
    faults.check(good, what, repr(detail)[:500] if not good else "")


class Checks:
    """What holds for every text."""

    def __init__(self, folder: Path) -> None:
        from nlpseq import Tokenizer

        self.tokenizers = {units: Tokenizer.load(folder / units) for units in ("word", "bpe", "unigram")}

    def __call__(self, faults: Faults, text: str) -> None:
        guarded(faults, "tokens and gaps are the text", text, lambda: self.spans(text))
        guarded(faults, "what is masked comes back", text, lambda: self.restored(text))
        for units, tokenizer in self.tokenizers.items():
            guarded(faults, f"{units}: ids are in the vocabulary", text,
                    lambda t=tokenizer: all(0 <= i < len(t) for i in t.encode(text)))  # fmt: skip
            guarded(faults, f"{units}: known text comes back", text, lambda u=units: self.decoded(u, text))

    def spans(self, text: str) -> bool:
        from nlpseq.text import tokenize, words

        tokens = tokenize(text)
        gaps, end = [], 0
        for token in tokens:
            gaps.append(text[end : token.start])
            if text[token.start : token.end] != token.text or not token.text:
                return False
            end = token.end
        composed = tokenize(text, nfc=True)
        same = all(unicodedata.normalize("NFC", text[t.start : t.end]) == t.text for t in composed)
        return same and not INVISIBLE.sub("", "".join([*gaps, text[end:]])) and words(text) == [t.text for t in tokens]

    def restored(self, text: str) -> bool:
        from nlpseq.placeholders import normalise, restore

        masked = normalise(text)
        found = restore(masked.text, masked.values)
        again = normalise(found.text)
        counts = found.restored == len(masked.values) and not found.dropped + found.unused
        return counts and found.text == storable(text) and again.text == masked.text

    def decoded(self, units: str, text: str) -> bool:
        tokenizer = self.tokenizers[units]
        encoded = tokenizer.encode_with_values(text)
        found = tokenizer.decode(encoded.ids, values=encoded.values)
        if units == "word" or tokenizer.unknown(encoded.ids):
            return isinstance(found, str)
        plain = re.sub("[\t-\r\x1c-\x1f\x85\u2028\u2029]", " ", storable(text)).replace("\u2581", "_")
        found = found.replace("\u2581", "_")  # which a link keeps
        return re.sub(" +", " ", found).strip(" ") == re.sub(" +", " ", plain).strip(" ")


def translate(folder: Path, faults: Faults, texts: list[str]) -> None:
    """As many translations as texts, each on one line, and the same when they come one by one."""
    from nlpseq import Translator

    translator = Translator.load(folder / "model", device="cpu")
    for start in range(0, len(texts), AT_ONCE):
        block = texts[start : start + AT_ONCE]
        try:
            found = translator.translate(block)
        except Exception as error:
            faults.check(False, "translating", f"{type(error).__name__}: {error}, texts {start} and on")
            continue
        faults.check(len(found) == len(block), "as many translations as texts", (len(found), len(block)))
        alone = block[0]
        faults.check(
            translator.translate([alone]) == found[:1], "a text alone is translated as among others", repr(alone)
        )
        faults.check(all("\n" not in text for text in found), "a translation is one line", start)


def commands(folder: Path, faults: Faults, rng: random.Random, files: int) -> Counter[str]:
    """Mutated files on standard input: the commands answer every line, or one sentence says which they cannot."""
    seen: Counter[str] = Counter()
    sizes = ("--batch-size", rng.choice((1, 7, 64)))
    uses = [
        ("translate", "run", "--model", folder / "model", "--device", "cpu"),
        ("tokenize", "encode", "--model", folder / "bpe"),
        ("tokenize", "encode", "--pieces", "--model", folder / "word"),
        ("tokenize", "decode", "--model", folder / "unigram"),
    ]
    for number in range(files):
        lines = [draw(rng).replace("\n", " ").encode("utf-8", "surrogatepass" if rng.random() < 0.02 else "replace")
                 for _ in range(rng.randrange(1, 30))]  # fmt: skip
        if number % 4 == 3:
            lines = [" ".join(str(rng.randrange(150)) for _ in range(9)).encode() for _ in lines]
        content = b"\n".join(lines) + rng.choice((b"", b"\n"))
        content = mutated(rng, content) if rng.random() < 0.5 else content
        expected = content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
        json_lines = rng.random() < 0.3
        ended = run(*uses[number % 4], *sizes, *(["--json"] if json_lines else []), stdin=content)
        if ended.refused and ended.code == 2:
            seen["refused"] += 1
            answered = ended.out.count("\n") < expected
            faults.check(answered, "a command that refuses a line", (uses[number % 4], ended.err, content[:300]))
            continue
        seen["answered"] += 1
        said = (uses[number % 4], ended.code, ended.err[-1500:], content[:300])
        if (
            faults.check(ended.code == 0 and ended.out.count("\n") == expected, "every line is answered", said)
            and json_lines
        ):
            faults.check(all(isinstance(json.loads(line), dict) for line in ended.out.split("\n")[:-1]), "JSON", said)
    return seen


def models(folder: Path) -> None:
    corpus = small_corpus(folder / "pairs.tsv")
    pair = ["--corpus", corpus, "--source", "en", "--target", "fr"]
    for units in ("word", "bpe", "unigram"):
        ended = run("tokenize", "train", *pair, "--units", units, "--vocab-size", 150, "--out", folder / units)
        assert ended.code == 0, ended.err
    ended = run(*training(corpus, folder / "model"))
    assert ended.code == 0, ended.err


def texts(rng: random.Random, number: int, corpus: bytes) -> Iterator[str]:
    for place in range(number):
        if place % 10 == 9:  # bytes that once were UTF-8, as a careless reader hands them on
            start = rng.randrange(len(corpus) - 200)
            yield mutated(rng, corpus[start : start + rng.randrange(1, 200)]).decode("utf-8", "surrogateescape")
        else:
            yield draw(rng)


def work(folder: Path, faults: Faults, rng: random.Random, short: bool) -> str:
    import_all()
    models(folder)
    of_commands = commands(folder, faults, rng, 12 if short else 400)  # before torch computes in this process
    checks, number, started = Checks(folder), 3_000 if short else 100_000, time.monotonic()
    drawn = list(texts(rng, number, (folder / "pairs.tsv").read_bytes()))
    for place, text in enumerate(drawn):
        checks(faults, text)
        if time.monotonic() - started > 30:
            started = time.monotonic()
            say(f"fuzz: {place:,} of {number:,} texts taken apart")
    translate(folder, faults, drawn)
    longest = max(map(len, drawn))
    files = ", ".join(f"{n} {what}" for what, n in of_commands.items())
    return f"{number:,} texts of up to {longest:,} characters, all translated; files to the commands: {files}"


if __name__ == "__main__":
    part("fuzz", work)
