"""What to verify where a CUDA device is at hand: `pytest -m gpu`. Without one this is 'not run', never 'supported'."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import never_waits
from test_training import small, write_pairs

from nlpseq import SentimentClassifier, Translator, train_sentiment, train_translator
from nlpseq.losses import linear_cross_entropy
from nlpseq.nn.recurrent import Recurrent
from nlpseq.training import World, begin, choose_dtype, fit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_give_on_cuda_what_they_give_on_the_cpu(cell: str, bidirectional: bool):
    torch.manual_seed(0)
    layer = Recurrent(cell, 24, 32, layers=2, bidirectional=bidirectional).eval()
    inputs, lengths = torch.randn(9, 13, 24), torch.randint(1, 14, (9,))
    expected = layer(inputs, lengths)[1]
    found = layer.cuda()(inputs.cuda(), lengths.cuda())[1].cpu()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_loss_on_cuda_is_the_loss_on_the_cpu():
    torch.manual_seed(0)
    features, weight, bias = torch.randn(70, 16), torch.randn(50, 16), torch.randn(50)
    targets = torch.randint(0, 50, (70,))
    expected = linear_cross_entropy(features, weight, bias, targets, smoothing=0.1)
    found = linear_cross_entropy(features.cuda(), weight.cuda(), bias.cuda(), targets.cuda(), smoothing=0.1)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=1e-2, rtol=1e-4)


def test_training_step_never_waits_for_the_device(tmp_path: Path):
    """Copies go from pinned memory without waiting, and no tensor is read: CUDA's own check raises at any sync."""
    from nlpseq.pairs import encode_split, learn_tokenizer, open_pairs
    from nlpseq.settings import PairConfig
    from nlpseq.stages.translate import TranslationTask
    from nlpseq.translator import build_model

    config = small(write_pairs(tmp_path / "p.tsv"), tmp_path / "m", device="cuda", recurrent_dropout=0.0)
    corpus, columns = open_pairs(str(tmp_path / "p.tsv"), PairConfig("a", "b"))
    tokenizer = learn_tokenizer(corpus.split("train"), columns, config.vocabulary)
    data = encode_split(
        corpus.split("train"), columns, tokenizer=tokenizer, path=tmp_path / "train", max_length=None, backwards=True,
        told=lambda done: None,
    )  # fmt: skip
    model = build_model(config, len(tokenizer))
    task = TranslationTask(model, data, 200, 1, 0.1)
    device = torch.device("cuda", 0)
    run = begin(model, config.training, seed=1, device=device, world=World(), batches=len(task.plan(0)))
    steps = fit(run, task)
    never_waits(steps)


def test_training_and_translating_on_cuda(tmp_path: Path):
    config = small(write_pairs(tmp_path / "p.tsv", 400), tmp_path / "m", device="cuda", epochs=20)
    translator = train_translator(config)
    assert translator.device.type == "cuda"
    texts = ["w1 w2 w3", "w4", "w5 w6"]
    together = translator.translate_fully(texts)
    assert [translator.translate_fully([text])[0] for text in texts] == together
    assert Translator.load(tmp_path / "m", device="cpu").translate(texts) == [one.text for one in together]


def test_a_classifiers_training_step_never_waits_for_the_device(tmp_path: Path):
    from test_sentiment_stage import rows, write
    from test_sentiment_stage import small as small_sentiment

    from nlpseq.classifier import build_classifier
    from nlpseq.cuts import untold
    from nlpseq.labelled import classes_of, encode_labelled, labelled_splits, open_labelled, readable
    from nlpseq.settings import LabelConfig
    from nlpseq.stages.sentiment import SentimentTask
    from nlpseq.tokenizer import Tokenizer

    path = write(tmp_path / "r.csv", rows(300))
    drops = {
        "word_dropout": 0.2,
        "recurrent_dropout": 0.2,
        "conv": 8,
        "layers": 2,
        "label_smoothing": 0.1,
        "adversarial": 0.02,
    }
    config = small_sentiment(path, tmp_path / "m", device="cuda", **drops)
    train = labelled_splits(*open_labelled(str(path), LabelConfig()))["train"]
    tokenizer = Tokenizer.train((readable(one.text, config.vocabulary) for one in train), config.vocabulary)
    classes = list(classes_of(train, "r.csv"))
    data = encode_labelled(
        train, classes, tokenizer=tokenizer, path=tmp_path / "train", reading=config.reading, told=untold
    )
    model = build_classifier(config, len(tokenizer), len(classes))
    task = SentimentTask(model, data, 800, 1, config.label_smoothing, config.adversarial)
    device = torch.device("cuda", 0)
    run = begin(model, config.training, seed=1, device=device, world=World(), batches=len(task.plan(0)))
    steps = fit(run, task)
    never_waits(steps)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_classifying_on_cuda(tmp_path: Path, cell: str):
    """Labels do not depend on neighbours, nor probabilities but for rounding; both are the CPU's."""
    from test_sentiment_stage import rows, write
    from test_sentiment_stage import small as small_sentiment

    config = small_sentiment(write(tmp_path / "r.csv", rows(300)), tmp_path / "m", device="cuda", cell=cell)
    classifier = train_sentiment(config)
    texts = [text for text, _ in rows(60, 3)]
    together = classifier.predict_fully(texts)
    alone = [classifier.predict_fully([text])[0] for text in texts]
    assert [one.label for one in alone] == [one.label for one in together]
    assert [one.probability for one in alone] == pytest.approx([one.probability for one in together], abs=1e-6)
    assert classifier.predict_fully(texts[:2], explain=True)[0].words
    on_cpu = SentimentClassifier.load(tmp_path / "m", device="cpu").predict_fully(texts)
    assert [one.probability for one in on_cpu] == pytest.approx([one.probability for one in together], abs=1e-3)


def test_auto_precision_is_bf16_where_the_device_has_it():
    expected = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    assert choose_dtype("auto", torch.device("cuda")) is expected
