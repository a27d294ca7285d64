import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_text import anything

from nlpseq.placeholders import Masked, Value, escape, mask_pair, normalise, restore, unescape
from nlpseq.text import words

properties = settings(max_examples=300, deadline=None)
# Brackets, backslashes and names alone, so that escapes of escapes come up.
bracketed = st.lists(st.sampled_from(["[", "]", "<", ">", "\\", "NUM", "url", "UN\u212a", "eos", "Go", "\u0338", "5"]))
escapable = st.one_of(anything, bracketed.map("".join))
SPECIAL = re.compile(r"\[(?:NUM|URL|UNK)\]|<(?:pad|go|eos)>", re.IGNORECASE)

MASKED = [  # what stands in ⟨⟩ is one value
    "⟨12⟩ ⟨3.14⟩ ⟨1,000,000⟩ ⟨1e-3⟩ ⟨2.5E+7⟩ ⟨007⟩ ⟨٣⟩",
    "⟨1\u00a0000\u00a0000⟩ ⟨12\u202f345,6⟩ ⟨1⟩ ⟨000⟩ ⟨000⟩",
    "⟨-5⟩ (⟨−5⟩) x-5 +⟨5⟩ ⟨5⟩ ⟨-3⟩ ⟨5⟩ - ⟨3⟩",
    "⟨50⟩ % ⟨50⟩% $⟨5⟩ ⟨5⟩ € ⟨5⟩€ ⟨3⟩° #⟨1⟩ ⟨5⟩.",
    "⟨3⟩-⟨5⟩ ⟨1990⟩–⟨1995⟩ ⟨10:30⟩-⟨11:45⟩",
    "⟨10:30⟩ ⟨1/2⟩ ⟨1.2.3⟩ ⟨192.168.0.1⟩ ⟨2014-01-05⟩ ⟨01/02/2014⟩ ⟨555-123-4567⟩",
    "covid19 covid-19 B2B 3D 5km 10:30am 20th x² 20-year-old A4 ½ Ⅳ two 5\u0301 H_2",
    "⟨2014⟩-⟨01⟩-05T10",
    "⟨http://a.org/b_(c)⟩. (⟨www.a.org⟩) <⟨https://a.org/?q=1,2⟩>, ⟨ftp://a.org⟩!",
    "⟨a.org/⟩ ⟨a.org:80/b⟩ ⟨me.you+x@a-b.co.uk⟩. a.org and/or 1.5/2.5m end.The",
    "⟨http://a.org/[NUM]⟩ l'⟨5⟩ [⟨5⟩]",
    "⟨http://a.org/b⟩ alone",
    "⟨WWW.a.org⟩ alone",
    "",
]


@pytest.mark.parametrize("marked", MASKED)
def test_decided_cases(marked):
    masked = normalise(marked.replace("⟨", "").replace("⟩", ""))
    expected = re.findall("⟨(.*?)⟩", marked)
    assert [value.text for value in masked.values] == expected
    kinds = iter(value.kind for value in masked.values)
    assert masked.text == re.sub("⟨.*?⟩", lambda _: next(kinds), marked)
    assert all((value.kind == "[URL]") == bool(re.search("[a-z]{2}", value.text)) for value in masked.values)


def test_each_part_can_be_switched_off():
    text = "5 me@a.org e\u0301 [NUM]"
    assert normalise(text).text == "[NUM] [URL] é [\\NUM]"
    assert normalise(text, numbers=False).text == "5 [URL] é [\\NUM]"
    assert normalise(text, links=False).text == "[NUM] me@a.org é [\\NUM]"
    assert normalise(text, nfc=False).text == "[NUM] [URL] e\u0301 [\\NUM]"


def test_spans_count_the_characters_of_the_text_given():
    text = "e\u0301te\u0301 12 http://e\u0301.fr/."
    assert normalise(text).values == (Value("[NUM]", "12", 6, 8), Value("[URL]", "http://é.fr/", 9, 22))
    assert text[9:22] == "http://e\u0301.fr/"


def test_what_becomes_of_control_characters():
    assert normalise("a\0b\ud800\t\x07\r\n\u200b").text == "a\ufffdb\ufffd\t\x07\r\n\u200b"


@given(escapable)
@example("[[\\NUM]] <\\\\eos><pad>")
@properties
def test_escaping_is_reversible_and_leaves_no_special_token(text):
    assert unescape(escape(text)) == text
    assert not SPECIAL.search(escape(text))


def test_escapes_in_lower_case_come_back():
    # A model that lower-cases sees [\num]; a typed [num] must not become a placeholder when specials are put back.
    assert escape("[num]") == "[\\num]"
    assert unescape(escape("[NUM]").lower()) == "[num]"


@given(escapable)
@example("[UN\u212a] e\u0301 5 [NUM] http://a.org/[\\NUM]")
@properties
def test_restoring_undoes_normalising_and_normalising_again_changes_nothing(text):
    masked = normalise(text)
    clean = unicodedata.normalize("NFC", re.sub("[\0\ud800-\udfff]", "\ufffd", text))
    assert restore(masked.text, masked.values) == (clean, len(masked.values), 0, 0)
    again = normalise(clean)
    assert again.text == masked.text
    assert [value[:2] for value in again.values] == [value[:2] for value in masked.values]


@given(escapable)
@properties
def test_every_value_is_one_token_before_and_behind_its_placeholder(text):
    masked = normalise(text)
    kinds = [value.kind for value in masked.values]
    assert [word for word in words(masked.text) if word in ("[NUM]", "[URL]")] == kinds
    assert all(words(value.text) == [value.text] for value in masked.values)
    storable = re.sub("[\0\ud800-\udfff]", "\ufffd", text)
    for _, found, start, end in masked.values:
        assert unicodedata.normalize("NFC", storable[start:end]) == found


PAIRS = [  # source, target, both masked, aligned
    ("I have 2 dogs", "J'ai deux chiens", "I have 2 dogs", "J'ai deux chiens", ()),
    ("It costs 1,000.5 now", "Ça coûte 1\u202f000,5", "It costs [NUM] now", "Ça coûte [NUM]", (True,)),
    ("1,000 or 1.000", "1\u00a0000 ou 1,000", "[NUM] or [NUM]", "[NUM] ou [NUM]", (True, True)),
    ("7 and 8", "8 et 7", "[NUM] and [NUM]", "[NUM] et [NUM]", (False, False)),
    ("5 and 5", "cinq et 5", "[NUM] and 5", "cinq et [NUM]", (True,)),
    ("5", "5 et 5", "[NUM]", "[NUM] et 5", (True,)),
    ("-5 at 10:30, 007", "−5 à 10:30, 007", "[NUM] at [NUM], [NUM]", "[NUM] à [NUM], [NUM]", (True, True, True)),
    ("3.50 05", "3,5 5", "3.50 05", "3,5 5", ()),
    ("a.org/b 4", "4 a.org/b c.org/d", "[URL] [NUM]", "[NUM] [URL] c.org/d", (True, True)),
    ("1e-3 1,000,000", "1E−3 1 000 000", "[NUM] 1,000,000", "[NUM] 1 000 000", (True,)),
    ("[NUM] 5", "[NUM] 6", "[\\NUM] 5", "[\\NUM] 6", ()),
]


@pytest.mark.parametrize(("source", "target", "masked_source", "masked_target", "aligned"), PAIRS)
def test_a_pair_masks_what_stands_on_both_sides(source, target, masked_source, masked_target, aligned):
    pair = mask_pair(source, target, source_language="en", target_language="fr")
    assert (pair.source.text, pair.target.text, pair.aligned) == (masked_source, masked_target, aligned)
    for text, side in ((source, pair.source), (target, pair.target)):
        assert restore(side.text, side.values).text == text
        assert all(text[value.start : value.end] == value.text for value in side.values)


def test_a_pair_reads_numbers_as_its_languages_do():
    def masks(source, target, **languages):
        return bool(mask_pair(source, target, **languages).aligned)

    assert masks("1,000", "1.000", source_language="en", target_language="de")
    assert not masks("1,000", "1.000", source_language="en", target_language="en")
    assert masks("1,000", "1000", source_language=None, target_language="cs")
    assert not masks("1,000", "1000", source_language="fr", target_language="fr")


def test_a_pair_switches_off_as_normalise_does():
    assert mask_pair("5 a.org/b", "5 a.org/b", numbers=False).source.text == "5 [URL]"
    assert mask_pair("5 a.org/b", "5 a.org/b", links=False).target.text == "[NUM] a.org/b"
    assert mask_pair("e\u0301", "e\u0301", nfc=False).source.text == "e\u0301"


@given(anything, anything)
@properties
def test_a_pair_has_as_many_placeholders_on_both_sides(source, target):
    pair = mask_pair(source, target, source_language="en", target_language="fr")
    kinds = [sorted(value.kind for value in side.values) for side in pair[:2]]
    assert kinds[0] == kinds[1]
    assert len(pair.aligned) == len(pair.target.values)


FORMATS = [  # as typed, language of the source, of the target, as written
    ("1,000.5", "en", "fr", "1\u202f000,5"),
    ("1,000.5", "en", "de", "1.000,5"),
    ("1,000.5", None, "fr", "1\u202f000,5"),
    ("1,000", "en", "fr", "1\u202f000"),
    ("1,000", "fr", "en", "1.000"),
    ("1.000", "de", "en", "1,000"),
    ("1\u00a0234\u00a0567,8", "fr", "en", "1,234,567.8"),
    ("12,345,678", "en", "de", "12.345.678"),
    ("3.14", "en", "fr", "3,14"),
    ("-3.14", "en", "fr", "-3,14"),
    ("−1,000", "en", "fr", "−1\u202f000"),
    ("2014", "en", "fr", "2014"),
    ("1.5e-3", "en", "fr", "1,5e-3"),
    ("0.050", "en", "fr", "0,050"),
    ("1,000.5", "en", "cs", "1,000.5"),
    ("1,000.5", "en", None, "1,000.5"),
    ("1,00", "en", "en", "1,00"),
    ("007", "en", "fr", "007"),
    ("10:30", "en", "fr", "10:30"),
    ("1.2.3", "en", "fr", "1.2.3"),
    ("Python 3.11", "en", "fr", "Python 3,11"),  # a version that looks like a decimal, as the docstring warns
    ("1,000,5", "en", "fr", "1,000,5"),
    ("2014-01-05", "en", "de", "2014-01-05"),
    ("a.org/1,000.5", "en", "fr", "a.org/1,000.5"),
]


@pytest.mark.parametrize(("typed", "source", "target", "written"), FORMATS)
def test_numbers_take_the_format_of_the_target_language(typed, source, target, written):
    masked = normalise(typed)
    assert len(masked.values) == 1
    assert restore(masked.text, masked.values, language=target, source_language=source).text == written


def test_the_kth_placeholder_takes_the_kth_value_of_its_kind():
    values = normalise("1 a.org/b 2 c.org/d 3").values
    assert restore("[URL] [NUM], [URL] [NUM]", values) == ("a.org/b 1, c.org/d 2", 4, 0, 1)


def test_a_surplus_placeholder_goes_with_its_space():
    values = normalise("5").values
    assert restore("a [NUM] b [NUM]\u202f[URL].", values) == ("a 5 b.", 1, 2, 0)
    assert restore("[URL] b", values) == ("b", 0, 1, 1)
    assert restore("[NUM][NUM][NUM]", ()) == ("", 0, 3, 0)


def test_restoring_unescapes_the_text_but_not_the_values():
    values = (Value("[URL]", "a.org/[\\NUM]", 0, 13),)
    assert restore("[\\NUM] [URL] <\\\\eos>", values).text == "[NUM] a.org/[\\NUM] <\\eos>"


@pytest.mark.parametrize("unit", ["1", "1,000,", "1\u00a0000 ", "[", "[\\", "[NUM] ", "http://", "a@b.1", "5 "])
def test_time_is_linear_on_adversarial_text(unit):
    text = unit * (60_000 // len(unit))
    begin = time.process_time()
    masked = normalise(text)
    restore(masked.text, masked.values, language="fr", source_language="en")
    mask_pair(text, text)
    restore(text, (), language="fr")
    assert time.process_time() - begin < 4


def test_ordinary_text_is_left_alone():
    text = "Two young men are outside, near many bushes."
    assert normalise(text) == Masked(text, ())
