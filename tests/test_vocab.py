from collections import Counter

from nlpseq.vocab import EOS, GO, NUM, PAD, SPECIALS, UNK, URL, Vocabulary

WORDS = Counter({"tea": 5, "a": 2, "Zoo": 2, "é": 2, "rare": 1, "[NUM]": 9, "<eos>": 9})


def test_special_tokens_have_the_ids_of_every_stage():
    assert (PAD, UNK, GO, EOS, NUM, URL) == (0, 1, 2, 3, 4, 5)
    assert SPECIALS == ("<pad>", "[UNK]", "<go>", "<eos>", "[NUM]", "[URL]")
    assert Vocabulary.build(WORDS, max_size=100).words[:6] == SPECIALS


def test_the_commonest_words_first_and_equal_ones_by_code_point():
    assert Vocabulary.build(WORDS, max_size=100).words[6:] == ("tea", "Zoo", "a", "é", "rare")
    backwards = Counter(dict(reversed(WORDS.items())))
    assert Vocabulary.build(backwards, max_size=100).words == Vocabulary.build(WORDS, max_size=100).words


def test_size_counts_special_tokens_and_rare_words_are_left_out():
    assert Vocabulary.build(WORDS, max_size=8).words[6:] == ("tea", "Zoo")
    assert Vocabulary.build(WORDS, max_size=6).words == SPECIALS
    assert Vocabulary.build(WORDS, max_size=2).words == SPECIALS
    assert Vocabulary.build(WORDS, max_size=100, min_count=2).words[6:] == ("tea", "Zoo", "a", "é")


def test_ids_and_back():
    vocabulary = Vocabulary.build(WORDS, max_size=100)
    assert len(vocabulary) == 11
    assert vocabulary.encode(["tea", "zoo", "[NUM]", "a"]) == [6, UNK, NUM, 8]
    assert vocabulary.decode([6, 1, 4, 8]) == ["tea", "[UNK]", "[NUM]", "a"]
    assert vocabulary.encode(vocabulary.words) == list(range(11))
