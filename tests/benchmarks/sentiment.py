"""The classifier of IMDB's recipe beside the same model in a tutorial's loop and in Keras, as ratios within one run.

.venv/bin/python tests/benchmarks/sentiment.py [--texts 1500] [--cell lstm]

Needs $NLPSEQ_CORPORA for IMDB, else it takes the embedded reviews. The tutorial's loop pads batches in random order to
their longest text; texts are cut alike. Keras 3 on its torch backend is in the `bench` extra, as in `pip install -e
.[bench]`; without it its lines are absent.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from nlpseq import load_corpus  # before torch, since it sets how OpenMP waits

# isort: split
import numpy as np
import torch
from run import DTYPES, matrix_rate, median_seconds, say
from torch import Tensor, nn
from torch.nn import functional as F

from nlpseq.batches import pad
from nlpseq.classifier import SentimentClassifier, build_classifier
from nlpseq.config import configure
from nlpseq.labelled import classes_of, encode_labelled, labelled_splits, readable
from nlpseq.nn.recurrent import Layer
from nlpseq.report import machine
from nlpseq.settings import SentimentConfig
from nlpseq.stages.sentiment import SentimentTask
from nlpseq.tokenizer import Tokenizer
from nlpseq.training import World, begin, fit, set_threads

CPU, ROWS, WARM = torch.device("cpu"), 32, 5


class Tutorial(nn.Module):
    """The same sizes as tutorials write them: torch.nn, padding as a token like any other."""

    def __init__(self, config: SentimentConfig, vocabulary: int) -> None:
        super().__init__()
        m = config.model
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[m.cell]
        self.embedding = nn.Embedding(vocabulary, m.embed_size, padding_idx=0)
        self.rnn = kind(m.embed_size, m.hidden_size, batch_first=True, bidirectional=m.bidirectional)
        self.dropout = nn.Dropout(m.output_dropout)
        self.output = nn.Linear(m.hidden_size * (1 + m.bidirectional), 2)

    def forward(self, tokens: Tensor) -> Tensor:
        outputs, _ = self.rnn(self.dropout(self.embedding(tokens)))
        return self.output(self.dropout(outputs.amax(1)))


def prepared(config: SentimentConfig, folder: Path, texts: int) -> tuple[SentimentTask, SentimentClassifier, list[str]]:
    """The untrained model, so many texts as ids, and as many raw ones of the test."""
    corpus = load_corpus(str(config.run.corpus))
    splits = labelled_splits(corpus, ("text", "label"))
    some = list(islice(splits["train"], 0, None, max(1, len(corpus.split("train")) // texts)))
    units = Tokenizer.train((readable(one.text, config.vocabulary) for one in some), config.vocabulary)
    data = encode_labelled(
        some, list(classes_of(some, "")), tokenizer=units, path=folder / "train", reading=config.reading,
        told=lambda done: None,
    )  # fmt: skip
    torch.manual_seed(1)
    model = build_classifier(config, len(units), 2)
    task = SentimentTask(model, data, config.training.batch_tokens, 1)
    live = SentimentClassifier(model, units, config=config, facts={"classes": ["a", "b"], "temperature": 1.0})
    return task, live, [one.text for one in islice(splits["test"], 0, None, max(1, 25_000 // texts))]


def flops_per_token(config: SentimentConfig) -> float:
    """Of a training step: three times the forward's."""
    m, gates = config.model, {"lstm": 4, "gru": 3, "rnn": 1}[config.model.cell]
    return 3.0 * 2 * gates * m.hidden_size * (m.embed_size + m.hidden_size) * (1 + m.bidirectional)


def timed(steps: Iterator[int]) -> float:
    """Texts a second; each item is how many texts were done, the first ones do not count."""
    for _ in range(WARM):
        next(steps)
    started = time.perf_counter()
    return sum(steps) / (time.perf_counter() - started)


def ours(config: SentimentConfig, task: SentimentTask, precision: str) -> Iterator[int]:
    training = replace(config.training, precision=precision, epochs=1.0)
    run = begin(task.model, training, seed=1, device=CPU, world=World(), batches=len(task.plan(0)))
    yield from (int(step.tokens) for step in fit(run, task))


def tutorials(config: SentimentConfig, task: SentimentTask, vocabulary: int) -> Iterator[int]:
    torch.manual_seed(1)
    model = Tutorial(config, vocabulary).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for rows in torch.split(torch.randperm(len(task.data.labels)), ROWS):
        tokens, _ = pad(task.data.tokens, rows.numpy())
        optimizer.zero_grad()
        F.cross_entropy(model(tokens), torch.from_numpy(task.data.labels[rows.numpy()])).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        yield len(rows)


def keras_model(config: SentimentConfig, vocabulary: int) -> Any:
    """The same sizes by Keras; ImportError where it is not there."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from keras import Sequential, layers

    m = config.model
    kind = {"lstm": layers.LSTM, "gru": layers.GRU, "rnn": layers.SimpleRNN}[m.cell]
    recurrent = kind(m.hidden_size, return_sequences=True)
    parts = [
        layers.Embedding(vocabulary, m.embed_size),
        layers.Dropout(m.output_dropout),
        layers.Bidirectional(recurrent) if m.bidirectional else recurrent,
        layers.GlobalMaxPooling1D(),
        layers.Dropout(m.output_dropout),
        layers.Dense(2, activation="softmax"),
    ]
    model = Sequential(parts)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def kerases(config: SentimentConfig, task: SentimentTask, vocabulary: int) -> Iterator[int]:
    """Keras pads all texts alike, to the longest that is read, as its tutorials do."""
    model = keras_model(config, vocabulary)
    width = min(config.reading.max_tokens, int(task.data.tokens.lengths.max()))
    for rows in torch.split(torch.randperm(len(task.data.labels)), ROWS)[:20]:
        tokens, _ = pad(task.data.tokens, rows.numpy())
        padded = np.zeros((len(rows), width), np.int64)
        padded[:, : tokens.shape[1]] = tokens.numpy()
        model.train_on_batch(padded, task.data.labels[rows.numpy()])
        yield len(rows)


def beside(name: str, other: float, rates: dict[str, float]) -> None:
    ratios = ", ".join(f"{rate / other:.1f} times in {precision}" for precision, rate in rates.items())
    say(name, other, "texts/s", f"nlpseq: {ratios}")


def training(config: SentimentConfig, task: SentimentTask, vocabulary: int) -> None:
    rates, tokens = {}, float(task.data.tokens.lengths.mean())
    for precision, dtype in DTYPES.items():
        rates[precision] = timed(ours(config, task, precision))
        say(f"training {precision}", rates[precision], "texts/s")
        rate = matrix_rate(dtype)
        share = 100 * rates[precision] * tokens * flops_per_token(config) / 1e9 / rate
        say(f"training {precision}: of {rate:,.0f} GFLOP/s", share, "%")
    beside("training: a tutorial's loop, fp32", timed(tutorials(config, task, vocabulary)), rates)
    try:
        beside("training: Keras on torch, fp32", timed(kerases(config, task, vocabulary)), rates)
    except ImportError:
        print("training: Keras is not there (see the top of tests/benchmarks/sentiment.py)")


@torch.inference_mode()
def prediction(config: SentimentConfig, live: SentimentClassifier, texts: list[str]) -> None:
    """Raw text to label."""
    model, units = Tutorial(config, len(live.tokenizer)).eval(), live.tokenizer
    longest = config.reading.max_tokens

    def plain(some: list[str], rows: int) -> None:
        for start in range(0, len(some), rows):
            ids = [torch.tensor(units.encode(text)[-longest:]) for text in some[start : start + rows]]
            model(nn.utils.rnn.pad_sequence(ids, batch_first=True)).argmax(1).tolist()

    def each(work: Callable[[list[str]], object], some: list[str]) -> float:
        return len(some) / median_seconds(lambda: work(some), 3)

    few = texts[:60]
    others = {"batch": each(lambda some: plain(some, ROWS), texts), "alone": each(lambda some: plain(some, 1), few)}
    for precision, dtype in DTYPES.items():
        classifier = SentimentClassifier(live.model.to(dtype), units, config=config, facts=live.facts)
        batch = each(classifier.predict, texts)
        alone = each(lambda some, c=classifier: [c.predict([text]) for text in some], few)
        note = f"{batch / others['batch']:.1f} times the loop ({others['batch']:,.0f})"
        say(f"prediction {precision}: all at once", batch, "texts/s", note)
        note = f"{alone / others['alone']:.1f} times the loop ({others['alone']:,.0f})"
        say(f"prediction {precision}: one at a time", alone, "texts/s", note)


def dropout(config: SentimentConfig) -> None:
    """What the default recurrent dropout costs, forwards and backwards, and one mask for each row."""
    m, inputs, times = config.model, torch.randn(ROWS, 240, config.model.embed_size), {}
    for name, p, rows in (("none", 0.0, False), ("a mask a batch", 0.3, False), ("a mask a row", 0.3, True)):
        torch.manual_seed(1)
        layer = Layer(m.cell, m.embed_size, m.hidden_size, recurrent_dropout=p).train()
        layer.mask_per_row = rows
        times[name] = median_seconds(lambda layer=layer: layer(inputs)[0].sum().backward(), 3)
        say(f"recurrent dropout: {name}", 1000 * times[name], "ms", f"{times[name] / times['none']:.2f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1500)
    parser.add_argument("--cell", default="lstm")
    asked = parser.parse_args()
    set_threads(None, World())
    try:
        name = load_corpus("imdb").name
    except Exception:
        name = "reviews"
    config = configure(SentimentConfig, corpus=name, out="out", cell=asked.cell)
    facts = machine()
    print(f"{facts['cpu']}, torch {torch.__version__}, {torch.get_num_threads()} threads, {name}, {asked.texts} texts")
    with tempfile.TemporaryDirectory() as folder:
        task, live, texts = prepared(config, Path(folder), asked.texts)
        training(config, task, len(live.tokenizer))
        live.model.eval()
        prediction(config, live, texts)
        dropout(config)


if __name__ == "__main__":
    main()
