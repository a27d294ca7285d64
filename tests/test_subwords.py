import io

import pytest
import sentencepiece

from nlpseq.errors import ArtefactError, CorpusError, UsageError
from nlpseq.subwords import Subwords, train_subwords
from nlpseq.vocab import SPECIALS

LINES = ["the old cat drinks milk", "the young cats drank ½ a cup", "he has [NUM] cats at [URL] now", "ﬁve ² cups"] * 8
KINDS = ("unigram", "bpe")


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    return train_subwords(LINES, kind=request.param, size=60)


def test_special_tokens_come_first(model):
    assert model.units(range(6)) == list(SPECIALS)
    assert len(model.units(range(len(model)))) == len(model) <= 60


def test_text_comes_back_as_it_was(model):
    for line in LINES[:4]:  # ½, the ligature and the square would not survive the default NFKC
        assert model.decode(model.encode([line])[0]) == line
        assert "".join(model.pieces(line)).replace("▁", " ")[1:] == line


def test_placeholders_are_never_split_or_joined(model):
    for text in ("[NUM]", "a[NUM]he", "a [URL][NUM] he", "[NUM]cats"):
        pieces = model.pieces(text)
        assert [p for p in pieces if "[" in p or "]" in p] == [w for w in ("[URL]", "[NUM]") if w in text]
        assert model.encode([text])[0].count(4) == 1
        assert model.decode(model.encode([text])[0]) == text


def test_pieces_and_ids_are_of_the_same_units(model):
    text = "the cats drink [NUM]"
    assert model.units(model.encode([text])[0]) == model.pieces(text)


def test_an_unknown_stretch_is_one_unk(model):
    ids = model.encode(["the 猫犬 cat"])[0]
    assert ids.count(1) == 1
    assert model.decode(ids) == "the [UNK] cat"


def test_what_escapes_are_made_of_is_always_known(model):
    for text in ("[\\NUM]", "[\\URL] <\\eos>", "[\\UNK]"):
        assert 1 not in model.encode([text])[0]
        assert model.decode(model.encode([text])[0]) == text


def test_control_tokens_in_text_are_no_control_tokens(model):
    ids = model.encode(["<go> the <eos> <pad>"])[0]
    assert not {0, 2, 3} & set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_model(kind):
    first, second = (train_subwords(iter(LINES), kind=kind, size=60).model for _ in range(2))
    assert first == second
    assert Subwords(first).encode(LINES[:2]) == Subwords(second).encode(LINES[:2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_vocabulary_too_small_is_said(kind):
    with pytest.raises(UsageError, match=r"`vocab_size` must be at least the number of .* but is 20\."):
        train_subwords(LINES, kind=kind, size=20)


@pytest.mark.parametrize("lines", [[], [""], ["", "  ", "\n"]])
def test_no_text_is_said(lines):
    with pytest.raises(CorpusError, match=r"`train` must have text to learn subwords from, but is empty\."):
        train_subwords(lines, kind="unigram", size=60)


def test_a_size_beyond_the_text_gives_what_there_is():
    model = train_subwords(LINES, kind="unigram", size=8000)
    assert 40 < len(model) < 300


def test_tabs_and_line_ends_are_spaces(model):
    ids = model.encode(["the cats drink"])[0]
    assert model.encode(["the\tcats\r\n \u2028drink\n", "\n\t"]) == [ids, []]
    assert model.pieces("the\ncats drink") == model.pieces("the cats drink")
    broken = train_subwords([line.replace(" ", "\t") for line in LINES], kind="bpe", size=60)
    assert broken.model == train_subwords(LINES, kind="bpe", size=60).model


@pytest.mark.parametrize("content", [b"", b"no model", b"\x80\x04K\x01."])
def test_something_else_is_no_model(content):
    with pytest.raises(ArtefactError, match=r"`subwords\.model` must be(gin with| a SentencePiece model)"):
        Subwords(content)


def test_a_foreign_model_is_refused():
    foreign = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=foreign, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    with pytest.raises(ArtefactError, match=r"must begin with the special tokens <pad> .* but is another model\."):
        Subwords(foreign.getvalue())


@pytest.mark.parametrize("error", [KeyboardInterrupt, CorpusError])
@pytest.mark.parametrize("lines", [1, 20])
def test_what_stops_the_reading_of_text_is_what_is_raised(error, lines):
    """SIGTERM comes as a KeyboardInterrupt; SentencePiece would make a RuntimeError of it, which nobody expects."""

    def text():
        yield from LINES[:lines]
        raise error("stop")

    with pytest.raises(error, match="stop"):
        train_subwords(text(), kind="bpe", size=60)
