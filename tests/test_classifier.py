import json
import random

import pytest
import safetensors.torch
import torch

from nlpseq import SentimentConfig, configure
from nlpseq.artefact import save
from nlpseq.batches import alike
from nlpseq.classifier import STAGE, SentimentClassifier, build_classifier
from nlpseq.config import to_plain
from nlpseq.errors import ArtefactError, UsageError
from nlpseq.settings import TokenizerConfig
from nlpseq.tokenizer import Tokenizer

WORDS = [a + b + c for a in "bdfgklmn" for b in "aeiou" for c in ("", "p", "st", "rla")]
KINDS = [
    {},
    {"cell": "gru", "pooling": "mean"},
    {"cell": "rnn", "pooling": "last", "bidirectional": False},
    {"pooling": "last", "layers": 2},
    {"conv": 24, "conv_pool": 3},
]
every = pytest.mark.parametrize("settings", KINDS, ids=str)


def made(units="word", classes=("bad", "good", "so-so"), **settings):
    """A classifier with random weights: its margins are tiny, so that a changed rounding changes an answer."""
    sizes = {"embed_size": 20, "hidden_size": 24, "max_tokens": 50}
    config = configure(SentimentConfig, corpus="mine", out="out", units=units, vocab_size=200, **sizes | settings)
    text = " ".join([*WORDS, "4/10 . ,"])
    tokenizer = Tokenizer.train([text] * 2, TokenizerConfig(units=units, vocab_size=200, numbers=False, lowercase=True))
    torch.manual_seed(4)
    model = build_classifier(config, len(tokenizer), len(classes))
    model.embedding.weight.data *= 3
    counts = {"rows": 9, "kept": 9, "empty": 0, "unlabelled": 0, "cut": 0, "tokens": 90, "unknown_percent": 0.0}
    facts = {"classes": list(classes), "temperature": 1.5, "corpus": "mine", "columns": ["text", "label"],
             "fingerprint": {"cell": config.model.cell}, "train": counts, "validation": counts}  # fmt: skip
    return SentimentClassifier(model, tokenizer, config=config, facts=facts)


def texts(number, longest=80):
    draw = random.Random(7)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, longest))) for _ in range(number)]


@pytest.fixture(scope="module")
def classifier():
    return made()


@every
def test_neighbours_never_change_an_answer(settings):
    classifier, some = made(**settings), texts(90)
    whole = dict(zip(some, classifier.predict_fully(some), strict=True))
    assert len({one.probability for one in whole.values()}) > 80
    mixed = random.Random(8).sample(some, len(some))
    for size, chosen in ((1, mixed[:12]), (7, mixed[:35]), (90, mixed)):
        for start in range(0, len(chosen), size):
            group = chosen[start : start + size]
            for text, found in zip(group, classifier.predict_fully(group), strict=True):
                assert found.probabilities == pytest.approx(whole[text].probabilities, abs=1e-6, rel=0)
                assert found.label == whole[text].label


@every
def test_neighbours_never_decide_a_tie(settings):
    classifier, some = made(classes=("bad", "good"), **settings), texts(60)
    flipped = 0
    for text in some[:30]:
        with torch.no_grad():
            (alone,) = classifier.answer([classifier.tokenizer.encode(text)[-50:]])
            classifier.model.output.bias[0] += alone.logits[1] - alone.logits[0]
        answers = {classifier.predict([text])[0], classifier.predict(some)[some.index(text)]}
        assert len(answers) == 1
        ids = [classifier.tokenizer.encode(one)[-50:] for one in some]
        flipped += plainly(classifier, ids, some.index(text)) != answers.pop()
    assert flipped or settings  # that rounding does flip such labels is sure of the first network alone


def plainly(classifier, ids, place):
    """The label of a text in a step with all others of its padded length."""
    group = [n for n in range(len(ids)) if -(-len(ids[n]) // 16) == -(-len(ids[place]) // 16)]
    tokens, lengths = classifier._padded([ids[n] for n in group])
    with torch.inference_mode():
        return classifier.classes[int(classifier.model(tokens, lengths)[group.index(place)].argmax())]


def test_many_texts_are_answered_by_several_threads_and_in_any_mode(threads):
    classifier, some = made(), texts(150)
    torch.set_num_threads(1)
    by_one = classifier.predict_fully(some, explain=True)
    torch.set_num_threads(threads)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        others = classifier.predict_fully(some, explain=True) + classifier.predict_fully(some[:1], explain=True)
    for one, other in zip([*by_one, by_one[0]], others, strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6, rel=0)
        assert [word for word, _ in one.words] == [word for word, _ in other.words]
        weights = [weight for _, weight in one.words]
        assert weights == pytest.approx([weight for _, weight in other.words], abs=1e-4)


@every
def test_an_answer_is_what_the_network_says_of_the_text_alone_and_unpadded(settings):
    classifier = made(**settings)
    for text, found in zip(texts(8), classifier.predict_fully(texts(8)), strict=True):
        ids = classifier.tokenizer.encode(text)
        read = torch.tensor([ids[-50:]])
        with torch.inference_mode():
            logits = classifier.model(read, torch.tensor([read.shape[1]]))[0]
        shares = torch.softmax(logits / 1.5, 0)
        assert found.label == ("bad", "good", "so-so")[int(shares.argmax())]
        assert list(found.probabilities.values()) == pytest.approx(shares.tolist(), abs=1e-6)
        assert found.probability == max(found.probabilities.values())
        assert (found.tokens, found.read) == (len(ids), min(50, len(ids)))


def test_an_answer_for_each_text_in_order_and_none_for_one_without_a_token(classifier):
    found = classifier.predict_fully(["ba", "", " \t", "👍", "ba " * 400_000, "ba"])
    assert [one.label is None for one in found] == [False, True, True, False, False, False]
    assert found[1] == (None, None, {}, 0, 0, 0, [])
    assert found[0] == found[5]
    assert (found[4].tokens, found[4].read) == (400_000, 50)
    assert classifier.predict(["", "ba"]) == [None, found[0].label]
    assert classifier.predict([]) == []
    with pytest.raises(UsageError, match=r"`texts` must be a list of texts, as in \[\"…\"\], but is \"ba\"\."):
        classifier.predict("ba")


@pytest.mark.parametrize("keep", ["end", "start", "both"])
def test_only_what_is_read_counts(keep):
    classifier = made(keep=keep, max_tokens=10)
    words = (WORDS * 2)[:30]
    (whole,) = classifier.predict_fully([" ".join(words)])
    kept = {"end": words[20:], "start": words[:10], "both": [*words[:5], *words[25:]]}[keep]
    (read,) = classifier.predict_fully([" ".join(kept)])
    assert whole.probabilities == read.probabilities
    assert (whole.tokens, whole.read) == (30, 10)
    (told,) = classifier.predict_fully([" ".join(words)], explain=True)
    assert [word for word, _ in told.words] == kept


@every
def test_an_explanation_is_gradient_times_input(settings):
    classifier = made(**settings)
    classifier.model.double()
    text = " ".join(WORDS[:12])
    (found,) = classifier.predict_fully([text, "ba"], explain=True)[:1]
    assert found.probabilities == pytest.approx(classifier.predict_fully([text])[0].probabilities, abs=1e-12)
    ids = torch.tensor([classifier.tokenizer.encode(text)])
    vectors, best = classifier.model.embedding(ids).detach(), classifier.classes.index(found.label)

    @torch.no_grad()
    def margin(scaled):
        logits = classifier.model.read(scaled, torch.tensor([12]))[0]
        return float(logits[best] - (logits.sum() - logits[best]) / 2)

    for place, (word, weight) in enumerate(found.words):
        assert word == WORDS[place]
        more, less = vectors.clone(), vectors.clone()
        more[0, place] *= 1 + 1e-6
        less[0, place] *= 1 - 1e-6
        assert weight == pytest.approx((margin(more) - margin(less)) / 2e-6, rel=1e-3, abs=1e-6)


def test_an_explanation_is_of_the_plain_answer_however_gradients_are_rounded(classifier, monkeypatch):
    some, read = texts(9), classifier.model.read
    monkeypatch.setattr(classifier.model, "read", lambda e, n: read(e, n) * (-1 if e.requires_grad else 1))
    plain, told = classifier.predict_fully(some), classifier.predict_fully(some, explain=True)
    assert [one._replace(words=[]) for one in told] == plain


def test_answers_are_whole_float32(classifier, monkeypatch):
    seen, read = [], classifier.model.read
    monkeypatch.setattr(
        classifier.model, "read", lambda e, n: seen.append(torch.backends.cudnn.allow_tf32) or read(e, n)
    )
    before = torch.backends.cudnn.allow_tf32
    classifier.predict(texts(2))
    assert seen
    assert not any(seen)
    assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.parametrize("units", ["word", "bpe"])
def test_a_folder_holds_all_of_it(tmp_path, units):
    classifier = made(units)
    files = {"weights.safetensors": safetensors.torch.save(classifier.model.state_dict()),
             **classifier.tokenizer.files()}  # fmt: skip
    save(tmp_path, STAGE, settings=to_plain(classifier.config), files=files, facts=classifier.facts)
    loaded = SentimentClassifier.load(tmp_path, device="cpu")
    some = texts(9)
    assert loaded.predict_fully(some) == classifier.predict_fully(some)
    assert loaded.predict_fully(some[:2], explain=True)[0].words[0][1] != 0
    near = SentimentClassifier.load(tmp_path, device="cpu", precision="bf16").predict_fully(some[:1])[0]
    assert near.probability == pytest.approx(classifier.predict_fully(some[:1])[0].probability, rel=0.1)
    with pytest.raises(UsageError, match=r"`precision` must be fp32 or bf16, but is \"fp16\"\."):
        SentimentClassifier.load(tmp_path, precision="fp16")
    json.dumps(classifier.predict_fully(some)[0]._asdict())


def test_weights_of_another_model_are_said(tmp_path):
    classifier = made()
    weights = classifier.model.state_dict() | {"output.bias": torch.zeros(7)}
    files = {"weights.safetensors": safetensors.torch.save(weights), **classifier.tokenizer.files()}
    save(tmp_path, STAGE, settings=to_plain(classifier.config), files=files, facts=classifier.facts)
    with pytest.raises(ArtefactError, match="must hold weights of the shapes that its settings give, but is others"):
        SentimentClassifier.load(tmp_path, device="cpu")


def test_groups_are_of_one_width_and_hold_every_place_once():
    widths = [16 * random.Random(n).randint(1, 5) for n in range(300)]
    groups = alike(widths, 7)
    assert sorted(place for group in groups for place in group) == list(range(300))
    assert max(map(len, groups)) == 7
    assert all(len({widths[place] for place in group}) == 1 for group in groups)
    assert alike([], 7) == []
