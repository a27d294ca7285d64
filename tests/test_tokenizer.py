import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlpseq.artefact import save
from nlpseq.errors import ArtefactError, CorpusError, UsageError
from nlpseq.placeholders import Value
from nlpseq.settings import TokenizerConfig
from nlpseq.tokenizer import Tokenizer, normalised, normalised_pair
from nlpseq.vocab import SPECIALS

KINDS = ("word", "unigram", "bpe")
TEXTS = [
    "I drink milk, and you don't.",
    "L'eau est froide aujourd'hui !",
    "She pays 12 or 3.14 at http://a.org/b (½ price).",
    "Mail me@a.org: “yes”, it's $5 - or 50 %?",
    "Is it [NUM] or [URL]? <eos> is typed, so is [\\NUM] and [unk].",
] * 3


def trained(kind, texts=TEXTS, **settings):
    config = TokenizerConfig(units=kind, vocab_size=200, **settings)
    return Tokenizer.train((normalised(text, config).text for text in texts), config)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return trained(request.param)


@pytest.fixture(scope="module", params=KINDS[1:])
def subword_tokenizer(request):
    return trained(request.param)


def test_special_tokens_have_ids_0_to_5(tokenizer):
    assert tokenizer.units(range(6)) == list(SPECIALS)
    assert tokenizer.encode("[NUM]")[0] != 4  # typed, hence escaped
    assert 4 in tokenizer.encode("12")
    assert 5 in tokenizer.encode("http://a.org/b")


@pytest.mark.parametrize("text", TEXTS[:5])
def test_text_comes_back_with_its_values(tokenizer, text):
    encoded = tokenizer.encode_with_values(text)
    assert tokenizer.unknown(encoded.ids) == 0
    back = tokenizer.decode(encoded.ids, values=encoded.values, language="en", source_language="en")
    # A word tokeniser spaces text as it is usually typed in English: the rest must come back sign by sign.
    squeezed = tokenizer.config.units == "word"
    assert (back.replace(" ", "") == text.replace(" ", "")) if squeezed else (back == text)


def test_words_are_spaced_as_usual():
    tokenizer = trained("word")
    text = "I drink milk, and you don't."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.tokens(text) == ["I", "drink", "milk", ",", "and", "you", "do", "n't", "."]


@given(text=st.text(st.sampled_from("IdrinkmlkL'eau ½.,12[]NUM\\<eos>:/é\u0301 "), max_size=40))
@settings(max_examples=150, deadline=None)
def test_anything_in_known_characters_comes_back(subword_tokenizer, text):
    encoded = subword_tokenizer.encode_with_values(text)
    if subword_tokenizer.unknown(encoded.ids):
        return
    back = subword_tokenizer.decode(encoded.ids, values=encoded.values)
    nfc = "".join(normalised(text, TokenizerConfig(numbers=False, links=False)).text.split())
    shown = "".join(normalised(back, TokenizerConfig(numbers=False, links=False)).text.split())
    assert shown == nfc


def test_values_are_returned_in_order_and_put_back(tokenizer):
    text = "She pays 12 at http://a.org/b or 3.14."
    encoded = tokenizer.encode_with_values(text)
    assert encoded.values == (
        Value("[NUM]", "12", 9, 11),
        Value("[URL]", "http://a.org/b", 15, 29),
        Value("[NUM]", "3.14", 33, 37),
    )
    assert [i for i in encoded.ids if i in (4, 5)] == [4, 5, 4]
    assert encoded.ids == tokenizer.encode(text)
    french = tokenizer.decode(encoded.ids, values=encoded.values, language="fr", source_language="en")
    assert french == "She pays 12 at http://a.org/b or 3,14."
    assert tokenizer.decode(encoded.ids) == "She pays [NUM] at [URL] or [NUM]."
    restored = tokenizer.restore(encoded.ids, encoded.values[:1], language=None, source_language=None)
    assert (restored.restored, restored.dropped) == (1, 2)


def test_a_placeholder_is_one_unit(tokenizer):
    for text in ("12", "x 12 y", "(12)", "http://a.org/b, 12"):
        kinds = [value.kind for value in normalised(text, tokenizer.config).values]
        assert [u for u in tokenizer.tokens(text) if "NUM" in u or "URL" in u] == kinds
        assert tokenizer.units(tokenizer.encode(text)).count("[NUM]") == 1


def test_what_is_typed_like_a_placeholder_is_none(tokenizer):
    for text in ("[NUM]", "[URL]", "<eos>", "[\\NUM]"):
        encoded = tokenizer.encode_with_values(text)
        assert encoded.values == ()
        assert not set(encoded.ids) & {0, 2, 3, 4, 5}
        assert tokenizer.decode(encoded.ids) == text


def test_a_half_stays_a_half(tokenizer):
    ids = tokenizer.encode("½")
    assert tokenizer.unknown(ids) == 0
    assert tokenizer.decode(ids) == "½"


def test_unknown_units_are_counted_and_seen(tokenizer):
    ids = tokenizer.encode("I drink 猫 milk.")
    assert tokenizer.unknown(ids) == 1
    assert tokenizer.decode(ids) == "I drink [UNK] milk."
    assert "猫" in tokenizer.tokens("I drink 猫 milk.")
    assert tokenizer.coverage("I drink 猫 milk.") == (len(ids), 1)


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_no_text_has_no_ids(tokenizer, text):
    assert tokenizer.encode(text) == []
    assert tokenizer.decode([]) == ""


def test_lowercase_leaves_placeholders_and_values():
    for kind in KINDS:
        tokenizer = trained(kind, lowercase=True)
        encoded = tokenizer.encode_with_values("I Drink 12 http://A.org/B [NUM]")
        assert [i for i in encoded.ids if i in (4, 5)] == [4, 5]
        back = tokenizer.decode(encoded.ids, values=encoded.values)
        assert back == "i drink 12 http://A.org/B [num]"
        assert tokenizer.encode("MILK") == tokenizer.encode("milk")


def test_numbers_and_links_can_be_left_alone():
    tokenizer = trained("unigram", numbers=False, links=False)
    encoded = tokenizer.encode_with_values("She pays 12 at http://a.org/b")
    assert encoded.values == ()
    assert not {4, 5} & set(encoded.ids)
    assert tokenizer.decode(encoded.ids) == "She pays 12 at http://a.org/b"


def test_pairs_hide_only_what_stands_on_both_sides():
    config = TokenizerConfig(lowercase=True)
    pair = normalised_pair("Buy 2 or 7", "Achète deux ou 7", config)
    assert pair.source.text == "buy 2 or [NUM]"
    assert pair.target.text == "achète deux ou [NUM]"


def test_files_hold_all_of_it(tokenizer, tmp_path):
    files = tokenizer.files()
    assert set(files) == {"tokenizer.json"} | ({"subwords.model"} if tokenizer.config.units != "word" else set())
    again = Tokenizer.from_files(files, "here")
    save(tmp_path, "tokenize", settings={}, files=files, facts={})
    for other in (again, Tokenizer.load(tmp_path), Tokenizer.load(str(tmp_path))):
        assert other.config == tokenizer.config
        assert len(other) == len(tokenizer)
        assert [other.encode(t) for t in TEXTS] == [tokenizer.encode(t) for t in TEXTS]
        assert other.files() == files


def test_training_is_deterministic(tokenizer):
    assert trained(tokenizer.config.units).files() == tokenizer.files()


def test_sizes_and_counts_bound_the_vocabulary():
    config = TokenizerConfig(units="word", vocab_size=16, min_count=3)
    tokenizer = Tokenizer.train(["a b c d"] * 3 + ["e f"], config)
    assert tokenizer.units(range(6, len(tokenizer))) == ["a", "b", "c", "d"]
    assert len(Tokenizer.train(["a b c d e f g h i j k l"], TokenizerConfig(units="word", vocab_size=16))) == 16


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_corpus_is_said(kind):
    with pytest.raises(CorpusError, match=r"`train` must have text to learn (words|subwords) from, but is empty\."):
        Tokenizer.train(["", "  "], TokenizerConfig(units=kind))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_vocabulary_too_small_is_said(kind):
    with pytest.raises(UsageError, match=r"`vocab_size` must be at least .* special tokens, but is 16\."):
        Tokenizer.train(TEXTS, TokenizerConfig(units=kind, vocab_size=16))


SETTINGS = {"units": "word"}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"\xff\xfe", json.dumps({"settings": SETTINGS}).encode(), json.dumps({"settings": 3}).encode()],
)
def test_files_that_are_no_tokenizer_are_said(content):
    with pytest.raises(ArtefactError, match=r"`folder` must hold a tokeniser, but is without one\."):
        Tokenizer.from_files({"tokenizer.json": content}, "folder")
    with pytest.raises(ArtefactError, match="must hold a tokeniser"):
        Tokenizer.from_files({}, "folder")
