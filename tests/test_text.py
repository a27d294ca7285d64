import os
import re
import time
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nlpseq.text import detokenize, nfc_origins, tokenize, words

# Words, signs and marks that the rules treat specially, so that random strings meet the rules' borders.
PIECES = [
    *"ants l'’‘-‐.1\u00a0\u202f,:/e+−@()[]<>\\",
    *"\u0301\u0344\u0338é\u200d\u200c\ufe0f👩🏽🇫🇷✈\0\ud800\u200b\ufeff\u00adM_²½%$क\u093f٣ʼ*?!\n\t",
    *"\u1112\u1161\u11ab각\u212a\u226f",
    *["--", "..", "12", "000", "http://", "www.", "com", "NUM", "URL", "eos", "e\u0301", "qu", "Mr", "etc"],
    *["don't", "n't", "&", "+", "C++"],
]
tricky = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)
anything = st.one_of(st.text(st.characters()), st.text(st.characters(exclude_categories=())), tricky)
properties = settings(max_examples=300, deadline=None)

UNSEEN = re.compile(
    "[\\s\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)

DECIDED = {  # text: its tokens, parted by |
    "don't can't it's I'm": "do|n't|ca|n't|it|'s|I|'m",
    "I'd've we’ll DON’T isn＇t": "I|'d|'ve|we|’ll|DO|N’T|is|n＇t",
    "l'eau qu'il jusqu'à L’été": "l'|eau|qu'|il|jusqu'|à|L’|été",
    "'l'eau' d'« x » the C's": "'|l'|eau|'|d'|«|x|»|the|C|'s",
    "aujourd'hui O'Brien quelqu'un presqu'île o'clock": "aujourd'hui|O'Brien|quelqu'un|presqu'île|o'clock",
    "dogs' 'tis plan 'C'": "dogs|'|'|tis|plan|'|C|'",
    "м\u02bcякий l\u02bceau": "м\u02bcякий|l\u02bceau",
    "est-ce covid-19 20-year-old A‑t‐il word--word": "est-ce|covid-19|20-year-old|A‑t‐il|word|--|word",
    "U.S.A. e.g. (i.e., so) p.m. U.S.Army e.g": "U.S.A.|e.g.|(|i.e.|,|so|)|p.m.|U.S.|Army|e.g",
    "Mr. Smith vs. Mrs. Roe etc... St. M. X end.": "Mr.|Smith|vs.|Mrs.|Roe|etc|...|St.|M.|X|end|.",
    "good.The wait... !? a..b": "good|.|The|wait|...|!|?|a|..|b",
    "3.14 -5 1e-3 1,000,000 1 000": "3.14|-5|1e-3|1,000,000|1|000",
    "1\u00a0000 1\u202f000,5": "1\u00a0000|1\u202f000,5",
    "5km 1.5km 10:30am 3D B2B 20th x²": "5km|1.5km|10:30am|3D|B2B|20th|x²",
    "$5 50% 3-5 1990's x-5 (−5)": "$|5|50|%|3|-|5|1990|'s|x-5|(|−5|)",
    "https://a.org/b_(c). (www.a.org) a.org/b, me@a.org.": "https://a.org/b_(c)|.|(|www.a.org|)|a.org/b|,|me@a.org|.",
    "<http://b.de> http://x.fr/a[1]? «ftp://u.v/»": "<|http://b.de|>|http://x.fr/a[1]|?|«|ftp://u.v/|»",
    "AT&T (R&D), C++. C++'s x & y C+ a++b i+++": "AT&T|(|R&D|)|,|C++|.|C++|'s|x|&|y|C|+|a|+|+|b|i|+|+|+",
    "and/or a.org U.S.\u0301": "and|/|or|a|.|org|U.S|.\u0301",
    "[NUM] <eos> [\\NUM] [UNK][URL] <\\\\pad> <p> [num]": "[NUM]|<eos>|[\\NUM]|[UNK]|[URL]|<\\\\pad>|<|p|>|[num]",
    "👩‍👩‍👧👍🏽🇫🇷🇩🇪1️⃣ ❤️🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿": "👩‍👩‍👧|👍🏽|🇫🇷|🇩🇪|1️⃣|❤️|🏳️‍🌈|🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "हिन्दी e\u0301te\u0301 nghie\u0302\u0323m كَتَبَ": "हिन्दी|e\u0301te\u0301|nghie\u0302\u0323m|كَتَبَ",
    "co\u00adop می\u200cخواهم": "co\u00adop|می\u200cخواهم",
    "a\u200bb\0c\ufeff d\te": "a|b|c|d|e",
    "你好。Hi": "你好|。|Hi",
    "": "",
}


@pytest.mark.parametrize(("text", "expected"), DECIDED.items())
def test_decided_cases(text, expected):
    assert "|".join(words(text)) == expected


@given(anything)
@example("'l'eau don't 1.n't")
@properties
def test_spans_are_exact_and_nothing_that_shows_is_lost(text):
    tokens = tokenize(text)
    assert all(text[start:end] == token for token, start, end in tokens)
    assert [token.text for token in tokens] == words(text)
    assert all(before.end <= after.start for before, after in pairwise(tokens))
    assert UNSEEN.sub("", "".join(words(text))) == UNSEEN.sub("", text)


@given(anything)
@example("'l'eau' 'C' n't 2014-01-05T10 etc...")
@properties
def test_tokens_joined_by_spaces_are_the_same_tokens(text):
    once = words(text)
    assert words(" ".join(once)) == once


@given(anything)
@example(" \u0344'\u1161\u0344 \u1112\u1161\u11abe\u0301 \u212a")
@properties
def test_spans_count_the_characters_of_the_text_before_nfc(text):
    composed = unicodedata.normalize("NFC", text)
    assert nfc_origins(text)[0] == composed
    tokens = tokenize(text, nfc=True)
    assert [token.text for token in tokens] == words(composed)
    assert all(unicodedata.normalize("NFC", text[start:end]) == token for token, start, end in tokens)


def test_spans_where_nfc_shortens_the_text():
    assert tokenize("e\u0301te\u0301 là", nfc=True) == [("été", 0, 5), ("là", 6, 8)]
    assert tokenize("e\u0301te\u0301 là")[0] == ("e\u0301te\u0301", 0, 5)


ENGLISH = [
    "He said: \"I don't know (yet), it's 50% off at $5!\"",
    "The U.S. team won 3-1; Mr. O'Brien's dogs' toys weren't there...",
    "Is it and/or? See https://a.org/b_(c), or me@a.org.",
    "A 20-year-old man -- 'quite tall' -- paid 1,000.50 at 10:30.",
    "AT&T's R&D (in C++) is Q & A.",
    "“Curly quotes” and ‘single’, it’s fine.",
]
FRENCH = [
    "Aujourd'hui, l'eau qu'il boit n'est pas froide : pourquoi ?",
    "Est-ce « lui » ? Non ! C'est quelqu'un d'autre ; il a 50 % de 3,5.",
    "L’été, M. Dupont dit « j’arrive ».",
]


@pytest.mark.parametrize(
    ("text", "language"), [*((text, "en") for text in ENGLISH), *((text, "fr") for text in FRENCH)]
)
def test_detokenize_round_trips_ordinary_text(text, language):
    assert detokenize(words(text), language=language) == text


@pytest.mark.parametrize(
    ("typed", "back"),
    [("J.-P. Sartre", "J. - P. Sartre"), ("l'un(e)", "l'un (e)"), ("the '90s", "the' 90s"), ("😀😀", "😀 😀")],
)
def test_detokenize_has_the_limits_that_it_names(typed, back):
    assert detokenize(words(typed)) == back


def test_detokenize_closes_up_double_signs_outside_french():
    assert detokenize(["Non", "!", "«", "x", "»"]) == "Non! «x»"
    assert detokenize([]) == ""


@given(tricky)
@settings(max_examples=150, deadline=None)
def test_detokenize_keeps_every_character(text):
    for language in (None, "fr"):
        assert detokenize(words(text), language=language).replace(" ", "") == "".join(words(text)).replace(" ", "")


ADVERSARIAL = [
    *["a", "1", "(", "http://", "a.", "ab.", "a@", "1.", "1-", "n't", "'", "l'", "\u0301", "e\u0301", "👩\u200d", "["],
    *["[\\", "\\", "a-", "a'", "http://a(", "http://a[(", "www.", "a.b/", "@b.", "-", "."],
    *["1e", "ab.1.", "a@b.1", "1:1a", "1.n't", "1-1-a\u0301", "1\u00a0000\u00a0000", "1\u00a0000a", "\u00a0000"],
    *["\u1112\u1161", ".\u0301", "a+", "http://x/[(("],
]


@pytest.mark.parametrize("unit", ADVERSARIAL)
def test_time_is_linear_on_adversarial_text(unit):
    # At this length quadratic means seconds and linear a tenth of one, on any machine.
    for tail in ("", "a", "\u0301"):
        text = unit * (120_000 // len(unit)) + tail
        begin = time.process_time()
        words(text)
        assert time.process_time() - begin < 1, tail


@pytest.mark.real
@pytest.mark.parametrize("language", ["en", "fr"])
def test_on_multi30k_tokens_join_to_the_text_they_came_from(language):
    from pyarrow import parquet

    table = parquet.read_table(Path(os.environ["NLPSEQ_CORPORA"]) / "multi30k" / "train.parquet", columns=[language])
    lines = [line.strip() for line in table[language].to_pylist()]
    same = sum(detokenize(words(line), language=language) == line for line in lines)
    assert same / len(lines) > 0.995
