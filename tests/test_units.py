"""What a language model writes in: ids and back, unknown characters, files, pieces as they are certain."""

import json

import numpy as np
import pytest

from nlpseq.errors import ArtefactError, CorpusError
from nlpseq.settings import TokenizerConfig
from nlpseq.tokenizer import Tokenizer
from nlpseq.units import Characters, TokenUnits, continued, pieces, units_from_files
from nlpseq.vocab import EOS, SPECIALS, UNK

TEXTS = ["naïve €5\n", "", "a\tb\r\n", "🙂 e\u0301"]


def words() -> TokenUnits:
    config = TokenizerConfig(units="word")
    return TokenUnits(Tokenizer.train(["the cat sees 5 birds .", "do you ?"], config))


@pytest.mark.parametrize("text", TEXTS)
def test_characters_and_bytes_come_back_as_they_were(text):
    for units in (Characters.learn(TEXTS, min_count=1), Characters(None)):
        (ids,) = units.encode([text])
        assert ids.dtype == np.int32
        assert units.decode(ids.tolist()) == text
        assert all(len(SPECIALS) <= number < len(units) for number in ids)


def test_long_texts_are_turned_into_numbers_in_parts(monkeypatch):
    whole = Characters.learn(["abc \u2603"], min_count=1).encode(["abc \u2603cab"])[0]
    monkeypatch.setattr("nlpseq.units._ROOM", 2)
    units = Characters.learn(["abc \u2603"], min_count=1)
    assert units.encode(["abc \u2603cab"])[0].tolist() == whole.tolist()
    assert Characters(None).encode(["a\u2603b"])[0].tolist() == [6 + byte for byte in "a\u2603b".encode()]


def test_ids_are_places_in_the_order_of_code_points():
    units = Characters.learn(["cab"], min_count=1)
    assert units.encode(["abc"])[0].tolist() == [6, 7, 8]
    assert len(units) == 9
    assert units.names([6, EOS]) == ["a", "<eos>"]


def test_what_the_training_text_has_too_seldom_is_unknown():
    units = Characters.learn(["aab", "ab\u2603"], min_count=2)
    assert units.encode(["a\u2603b?"])[0].tolist() == [6, UNK, 7, UNK]
    assert units.decode([6, UNK, EOS]) == "a\ufffd\n"
    assert Characters(None).encode(["\u2603"])[0].tolist() == [6 + byte for byte in "\u2603".encode()]


def test_bytes_that_are_no_text_come_through():
    units = Characters(None)
    text = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert units.encode([text])[0].tolist() == [6 + byte for byte in b"caf\xe9"]
    assert units.decode([6 + 0xE9]) == "\ufffd"
    assert units.names([6 + 10]) == ["0x0a"]


def test_a_text_without_characters_is_refused():
    with pytest.raises(CorpusError, match="`train` must have text to learn characters from, but is empty"):
        Characters.learn(["", ""], min_count=1)


@pytest.mark.parametrize("units", [Characters.learn(["abc"], min_count=1), Characters(None), words()], ids=type)
def test_units_come_back_from_their_files(units):
    again = units_from_files(units.files(), "here")
    assert (type(again), len(again), again.noun) == (type(units), len(units), units.noun)
    assert [ids.tolist() for ids in again.encode(["cab"])] == [ids.tolist() for ids in units.encode(["cab"])]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"alphabet": 3}', b'{"alphabet": ""}', b"\xff"])
def test_damaged_units_are_refused(content):
    with pytest.raises(ArtefactError, match=r"`here` must hold units as nlpseq wrote them \(units\.json\)"):
        units_from_files({"units.json": content}, "here")


def test_words_are_lines_of_text():
    units = words()
    ids = [n for line in units.encode(["the cat", "do you?"]) for n in [*line.tolist(), EOS]]
    assert units.decode(ids) == "the cat\ndo you?\n"
    assert not units.whole
    assert units.noun == "word"
    assert json.loads(units.files()["tokenizer.json"])["settings"]["units"] == "word"


def test_pieces_are_the_text_however_they_are_cut():
    characters, octets, tokens = Characters.learn(TEXTS, min_count=1), Characters(None), words()
    for units in (characters, octets):
        ids = units.encode(["🙂 e\u0301\n€"])[0].tolist()
        found = list(pieces(units, [], [*ids, EOS]))
        assert "".join(found) == "🙂 e\u0301\n€\n"
        assert "\ufffd" not in "".join(found)
    ids = tokens.encode(["the cat sees 5 birds."])[0].tolist()
    found = list(pieces(tokens, ids[:2], [*ids[2:], EOS, *ids[:2]]))
    assert "".join(found) == " sees [NUM] birds.\nthe cat"
    assert len(found) > 4


def test_bytes_that_never_become_a_character_are_not_held_back_for_ever():
    found = list(pieces(Characters(None), [], [6 + 0xFF] * 9))
    assert "".join(found[:-1]) == "\ufffd" * 9


QUOTED = [
    """he said " the cat " and ' the dog ' , do n't you ? the dogs ' birds - 5 - 5 """,
    """" the " ' cat ' ' the " the cat's bird " """,
]


@pytest.mark.parametrize("text", QUOTED)
@pytest.mark.parametrize("times", [1, 20])
def test_what_is_streamed_is_what_is_written_at_once_wherever_it_begins(text, times):
    tokens = text.split() * times
    config = TokenizerConfig(units="word", numbers=False)
    units = TokenUnits(Tokenizer.train([" ".join(tokens)], config))
    ids = [units.tokenizer._units.encode([token])[0] for token in tokens] + [EOS]
    whole = units.decode(ids)
    for cut in (0, 1, 3, 7, len(ids) // 2):
        found = "".join(pieces(units, ids[:cut], ids[cut:]))
        assert found == continued(units, ids[:cut], ids[cut:])
        assert whole.endswith(found)
        assert "".join((units.decode(ids[:cut]) + found).split()) == "".join(whole.split())


def test_words_are_streamed_before_their_line_ends():
    units = words()
    ids = units.encode(["the cat sees birds"])[0].tolist() * 50
    found = list(pieces(units, [], ids))
    assert sum(map(bool, found)) > 190
    assert len("".join(found[:100])) > 400
