import hashlib
import os
import random
import re
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import sacrebleu

from nlpseq.baselines import nearest_baseline
from nlpseq.errors import CorpusError
from nlpseq.grammars.draws import Draw
from nlpseq.grammars.lexicon import read_lexicon
from nlpseq.grammars.phrasebook import Grammar, phrasebook
from nlpseq.grammars.realise import Clause, Phrase, finish, nominal, pronoun, question, statement
from nlpseq.share import share_path
from nlpseq.synthetic import generate, names, near_patterns, word_forms

LEXICON = share_path("corpora", "phrasebook", "lexicon.toml")
WORDS = read_lexicon(LEXICON)
ENTRIES = tomllib.loads(LEXICON.read_text(encoding="utf-8"))
VALUE = re.compile(r"\S*(?:://|@|www\.)\S*\w|\d[\d,.\u202f]*\d|\d")


@pytest.fixture(scope="module")
def splits():
    return generate("phrasebook", seed=1)


@pytest.fixture(scope="module")
def rows(splits):
    return [row for split in splits.values() for row in split]


def np(noun, determiner, adjective=None, plural=False):
    return nominal(
        WORDS.nouns[noun], determiner, adjective=WORDS.adjectives[adjective] if adjective else None, plural=plural
    )


def said(subject, verb, *rest, asked=None, **how):
    clause = Clause(pronoun(subject) if isinstance(subject, str) else subject, WORDS.verbs[verb], rest, **how)
    phrase = statement(clause) if asked is None else question(clause, word=Phrase(*asked))
    return finish(phrase, mark=".", capital=False)


ANNA = Phrase("Anna", "Anna", ("Anna",), gender="f", human=True)
HUNGRY = Phrase("hungry", "faim")
TO_SCHOOL = Phrase("to the school", "à la école")
TO_MARKET = Phrase("to the market", "à le marché")
TO_FRIENDS = Phrase("to my friends", "à les amis")
OFTEN = ("often", "souvent")


@pytest.mark.parametrize(
    ("made", "en", "fr"),
    [
        (said("I", "drink", np("milk", "a")), "I drink milk", "je bois du lait"),
        (said("I", "drink", np("water", "a")), "I drink water", "je bois de l'eau"),
        (said("she", "eat", np("soup", "a")), "she eats soup", "elle mange de la soupe"),
        (said("I", "drink", np("milk", "a"), polarity="not"), "I do not drink milk", "je ne bois pas de lait"),
        (said("he", "drink", np("water", "a"), polarity="not"), "he does not drink water", "il ne boit pas d'eau"),
        (
            said("we", "eat", np("soup", "the"), polarity="not"),
            "we do not eat the soup",
            "nous ne mangeons pas la soupe",
        ),
        (said("I", "like", np("water", "any")), "I like water", "j'aime l'eau"),
        (
            said("I", "like", np("dog", "any", plural=True), polarity="never"),
            "I never like dogs",
            "je n'aime jamais les chiens",
        ),
        (said("they", "have", np("egg", "a", plural=True)), "they have eggs", "ils ont des œufs"),
        (said("I", "have", np("car", "a"), polarity="not", short=True), "I don't have a car", "je n'ai pas de voiture"),
        (said("you", "buy", np("apple", "two/deux")), "you buy two apples", "vous achetez deux pommes"),
        (said("you", "see", np("horse", "1,500/1\u202f500")), "you see 1,500 horses", "vous voyez 1\u202f500 chevaux"),
        (
            said("we", "read", np("newspaper", "this", plural=True)),
            "we read these newspapers",
            "nous lisons ces journaux",
        ),
        (said("he", "see", np("man", "this")), "he sees this man", "il voit cet homme"),
        (said("he", "see", np("man", "a", "old")), "he sees an old man", "il voit un vieil homme"),
        (said("he", "see", np("man", "this", "old")), "he sees this old man", "il voit ce vieil homme"),
        (said("he", "see", np("man", "the", "old", True)), "he sees the old men", "il voit les vieux hommes"),
        (said("he", "see", np("bird", "a", "beautiful")), "he sees a beautiful bird", "il voit un bel oiseau"),
        (said("he", "see", np("bird", "a", "beautiful", True)), "he sees beautiful birds", "il voit de beaux oiseaux"),
        (said("he", "see", np("school", "the", "new")), "he sees the new school", "il voit la nouvelle école"),
        (said("she", "wear", np("dress", "a", "white")), "she wears a white dress", "elle porte une robe blanche"),
        (said("she", "wear", np("hat", "my", "red", True)), "she wears my red hats", "elle porte mes chapeaux rouges"),
        (said("she", "eat", np("orange", "my")), "she eats my orange", "elle mange mon orange"),
        (said("she", "eat", np("orange", "her", "big")), "she eats her big orange", "elle mange sa grande orange"),
        (said("I", "go", TO_SCHOOL, tense="past"), "I went to the school", "je suis allé à l'école"),
        (said(ANNA, "go", TO_MARKET, tense="past"), "Anna went to the market", "Anna est allée au marché"),
        (said("we", "come", tense="past", polarity="not"), "we did not come", "nous ne sommes pas venus"),
        (said("she", "walk", tense="past"), "she walked", "elle s'est promenée"),
        (said("they", "walk", tense="near"), "they are going to walk", "ils vont se promener"),
        (said("I", "rest", polarity="not"), "I do not rest", "je ne me repose pas"),
        (said("I", "eat", tense="past", adverb=OFTEN), "I often ate", "j'ai souvent mangé"),
        (said("she", "see", ANNA, tense="future"), "she will see Anna", "elle verra Anna"),
        (
            said("I", "open", np("box", "the"), tense="can", polarity="not"),
            "I cannot open the box",
            "je ne peux pas ouvrir la boîte",
        ),
        (
            said("he", "give", np("book", "a"), TO_FRIENDS, tense="want"),
            "he wants to give a book to my friends",
            "il veut donner un livre aux amis",
        ),
        (said("I", "be", HUNGRY, fr_verb=WORDS.verbs["have"]), "I am hungry", "j'ai faim"),
        (
            said("she", "be", HUNGRY, fr_verb=WORDS.verbs["have"], polarity="not", short=True),
            "she isn't hungry",
            "elle n'a pas faim",
        ),
        (
            said("you", "like", np("coffee", "any"), asked=("", "")),
            "do you like coffee",
            "est-ce que vous aimez le café",
        ),
        (said("he", "live", asked=("where", "où")), "where does he live", "où est-ce qu'il habite"),
        (
            said(ANNA, "leave", asked=("when", "quand"), tense="future"),
            "when will Anna leave",
            "quand est-ce qu'Anna partira",
        ),
        (
            said("I", "be", Phrase("old", "vieux"), asked=("", ""), polarity="not"),
            "aren't I old",
            "est-ce que je ne suis pas vieux",
        ),
        (said(np("girl", "the", plural=True), "arrive", tense="past"), "the girls arrived", "les filles sont arrivées"),
        (said("who", "buy", np("bread", "the")), "who buys the bread", "qui achète le pain"),
    ],
)
def test_english_and_french_agree(made, en, fr):
    assert made == (en, fr)


def test_a_sentence_has_capital_and_mark_and_a_bare_phrase_neither():
    asked = question(Clause(pronoun("he"), WORDS.verbs["eat"]))
    assert finish(asked, mark="?", capital=True) == ("Does he eat?", "Est-ce qu'il mange\u202f?")
    assert finish(asked, mark="?", capital=False) == ("does he eat", "est-ce qu'il mange")


def test_if_elides_before_il_only():
    assert finish(Phrase("x", "si il pleut , je reste"), mark=".", capital=False)[1] == "s'il pleut, je reste"
    assert finish(Phrase("x", "si elle reste"), mark=".", capital=False)[1] == "si elle reste"


def test_sizes_and_no_english_sentence_twice(splits, rows):
    assert {name: len(split) for name, split in splits.items()} == {"train": 18000, "validation": 1000, "test": 1000}
    assert len({row["en"] for row in rows}) == 20000
    # A sentence and its bare phrase are one: a translation is a function of the English.
    assert len({row["en"].lower().rstrip(".?") for row in rows}) == 20000


def digest(splits):
    return hashlib.sha256(repr(splits).encode()).hexdigest()


def test_the_same_seed_gives_the_same_rows_whatever_the_hash_seed(splits):
    code = "from nlpseq.synthetic import generate; import test_synthetic as t; print(t.digest(generate('phrasebook')))"
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}", "PYTHONHASHSEED": "7"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(splits)


def test_another_seed_gives_other_sentences():
    first, second = (phrasebook(random.Random(seed)) for seed in (1, 2))
    assert [first() for _ in range(20)] != [second() for _ in range(20)]


def test_unknown_name():
    assert names() == ("almanac", "newswire", "phrasebook", "reviews")
    with pytest.raises(
        CorpusError, match=r'an embedded one \(almanac, .*reviews\), but is "frasebook"; did you mean `phrasebook`\?'
    ):
        generate("frasebook")


def english_lemmas():
    """Word form -> lemma for every content word, from the lexicon's file and not from the code that reads it."""
    forms = {}
    for words in ENTRIES["nouns"].values():
        for en in words:
            forms[en] = forms[ENTRIES["plurals"].get(en, en + "s")] = en
    for base, entry in ENTRIES["verbs"].items():
        third, past = entry.get("en", f"{base}s {base.removesuffix('e')}ed").split()
        if base != "be":
            forms |= {base: base, third: base, past: base}
    for group in ("before", "after"):
        forms |= {en: en for en in ENTRIES["adjectives"][group]}
    for name in [*ENTRIES["names"]["m"], *ENTRIES["names"]["f"], *ENTRIES["cities"]]:
        forms[name.lower()] = name
    for section in ("countries", "sensations", "adverbs", "counts", "months", "times"):
        forms |= {en.split()[-1].lower(): en.split()[-1] for en in ENTRIES[section]}
    return forms | {
        "rains": "rain",
        "years": "year",
        "euros": "euro",
        "o'clock": "o'clock",
        "address": "address",
        "send": "send",
    }


def bag(en, forms):
    words = [word for word in en.split() if word.lower() != "i"]
    found = []
    for word in words:
        plain = word.rstrip(".,?")
        lemma = plain if VALUE.fullmatch(plain) else forms.get(plain.lower())
        found += [lemma] if lemma else []
    return Counter(found)


def numbered(words):
    """The words of a bag, each with its turn, so that sets of them meet as often as the bags do."""
    return [(word, turn) for word, count in words.items() for turn in range(count)]


def test_held_out_pairs_differ_from_train_in_two_content_words(splits):
    forms = english_lemmas()
    train = [numbered(bag(row["en"], forms)) for row in splits["train"]]
    rows_with = defaultdict(list)
    for place, words in enumerate(train):
        for word in words:
            rows_with[word].append(place)
    for row in splits["test"] + splits["validation"]:
        mine = numbered(bag(row["en"], forms))
        assert len(mine) >= 2, row  # so those that share no word differ in two
        shared = Counter(place for word in mine for place in rows_with[word])
        near = [place for place, count in shared.items() if max(len(mine), len(train[place])) - count < 2]
        assert not near, (row, [splits["train"][place] for place in near])


def test_near_patterns_meet_where_one_word_differs():
    def near(one, other):
        return not set(near_patterns(one)).isdisjoint(near_patterns(other))

    assert near(("girl", "eat", "apple"), ("eat", "apple"))
    assert near(("girl", "eat", "apple"), ("apple", "boy", "eat"))
    assert near(("Paul", "buy", "3", "apple", "2"), ("Paul", "buy", "7", "apple", "9"))  # numbers alone
    assert not near(("girl", "eat", "apple"), ("girl", "buy", "bread"))
    assert not near(("eat",), ("girl", "eat", "apple"))


def test_milk_is_never_drunk_but_its_parts_are_learnt(splits, rows):
    drinking = re.compile(r"\b(drinks?|drank)\b")
    assert not [row for row in rows if drinking.search(row["en"]) and "milk" in row["en"]]
    assert not [row for row in rows if "lait" in row["fr"] and re.search(r"\b(bu|b[ou]i\w*|buv\w+)\b", row["fr"])]
    train = [row["en"].lower() for row in splits["train"]]
    assert sum(bool(drinking.search(en)) for en in train) >= 300
    assert sum("milk" in en for en in train) >= 50
    assert sum("du lait" in row["fr"] for row in splits["train"]) >= 10
    assert sum(en.startswith("i drink ") for en in train) >= 5


def test_every_held_out_word_form_is_in_train_five_times(splits):
    for side in ("en", "fr"):
        seen = Counter(form for row in splits["train"] for form in word_forms(row[side]))
        held_out = {form for name in ("validation", "test") for row in splits[name] for form in word_forms(row[side])}
        assert {form for form in held_out if seen[form] < 5} == set()
        assert len(seen) > 300


def test_spaces_numbers_and_links_are_sound(rows):
    for row in rows:
        assert not re.search(r"\s\s|^\s|\s$|\s[.,]", row["en"] + "\n" + row["fr"]), row
        values = VALUE.findall(row["en"])
        # Either side writes numbers its own way: 1,500 and 3.50 in English, 1 500 and 3,50 in French.
        english = [v if "/" in v or "@" in v else v.replace(",", "").replace(".", ",") for v in values]
        french = [v.replace("\u202f", "") for v in VALUE.findall(row["fr"])]
        assert english == french, row
    with_value = sum(bool(VALUE.search(row["en"])) for row in rows)
    assert with_value > 1000
    assert any("\u202f" in row["fr"].rstrip("?").rstrip() for row in rows)


def test_lengths_have_a_tail(splits):
    lengths = [len(row["en"].split()) for row in splits["train"]]
    assert 5.5 < sum(lengths) / len(lengths) < 8
    assert min(lengths) == 2
    assert 16 <= max(lengths) <= 25
    bare = sum(not row["en"].endswith((".", "?")) for row in splits["train"])
    assert 0.2 < bare / len(lengths) < 0.3


def test_nearest_training_pair_fails(splits):
    train = [(row["en"], row["fr"]) for row in splits["train"]]
    answers = nearest_baseline(train, [row["en"] for row in splits["test"]])
    assert sacrebleu.corpus_bleu(answers, [[row["fr"] for row in splits["test"]]]).score <= 60


def test_nearest_baseline_takes_the_nearest():
    train = [("the dog eats", "a"), ("the dog sleeps", "b"), ("a cat sleeps now", "c")]
    assert nearest_baseline(train, ["a cat sleeps", "the dog sleeps.", "xyz"]) == ["c", "b", "a"]
    assert nearest_baseline(train, []) == []
    with pytest.raises(ValueError, match="at least one pair"):
        nearest_baseline([], ["x"])


def test_adverbs_and_modals_move_the_negation():
    clause = Clause(pronoun("she"), WORDS.verbs["drink"], (np("wine", "a"),), polarity="never")
    assert finish(statement(clause), mark=".", capital=True)[1] == "Elle ne boit jamais de vin."
    wanted = clause._replace(polarity="not", tense="want", short=True)
    assert finish(statement(wanted), mark=".", capital=True) == (
        "She doesn't want to drink wine.",
        "Elle ne veut pas boire de vin.",
    )


def test_no_sentence_has_a_word_twice():
    draw = phrasebook(random.Random(3))
    drawn = [draw() for _ in range(3000)]
    assert [one for one in drawn if len(set(one.content)) < len(one.content)] == []


def test_nobody_is_never_an_age(rows):
    assert any(re.search(r"(not|n't) \d+ years old", row["en"]) for row in rows)
    assert not [row for row in rows if re.search(r"never \d+ years", row["en"])]


@pytest.mark.parametrize(
    ("first", "allowed"),
    [
        (np("car", "my"), set()),
        (np("shirt", "my", plural=True), set()),
        (np("sister", "my", plural=True), set()),
        (np("sister", "my"), {"she"}),
        (np("boy", "the"), {"he"}),
        (ANNA, {"she"}),
        (pronoun("we"), set()),
        (pronoun("they"), {"they"}),
    ],
)
def test_he_she_and_they_refer_back_to_one_person(first, allowed):
    grammar = Grammar(Draw(WORDS, random.Random(4)))
    drawn = Counter(grammar.next_subject(first).en for _ in range(600))
    assert set(drawn) & {"he", "she", "they"} == allowed
