import random

from nlpseq.word_bag import word_bag_baseline

WORDS = [f"w{n}" for n in range(200)]


def drawn(number, rule, seed):
    dice = random.Random(seed)
    found = []
    for _ in range(number):
        text = " ".join(dice.choices(WORDS, k=12) + dice.sample(["good", "bad", "Fine"], 1))
        found.append((text, rule(text)))
    return found


def share(rule, classes):
    train, test = drawn(600, rule, 1), drawn(200, rule, 2)
    answers = word_bag_baseline(train, [text for text, _ in test], classes)
    return sum(answer == label for answer, (_, label) in zip(answers, test, strict=True)) / 200


def test_it_learns_what_words_alone_tell_and_nothing_else():
    assert share(lambda text: ["good", "bad", "fine"].index(text.split()[-1].lower()), 3) > 0.9
    assert share(lambda text: int(text.split()[0] < text.split()[1]), 2) < 0.65


def test_order_and_number_of_words_are_not_seen():
    train = drawn(100, lambda text: int("bad" in text), 1)
    assert len(set(word_bag_baseline(train, ["w1 w2 bad", "bad w2 W1", "bad bad w1 w1 w2"], 2))) == 1


def test_the_same_input_gives_the_same_answers_and_unknown_words_do_no_harm():
    train = drawn(100, lambda text: int("bad" in text), 1)
    texts = [text for text, _ in drawn(50, lambda text: 0, 3)]
    assert word_bag_baseline(train, texts, 2) == word_bag_baseline(train, texts, 2)
    assert len(word_bag_baseline(train, ["", "never seen"], 2)) == 2
    assert word_bag_baseline(train, [], 2) == []
