"""Named entities beside spaCy's blank pipeline, on the same sentences in the same run: speeds, and what was learnt.

.venv/bin/python tests/benchmarks/ner.py [--corpus conll2003] [--epochs 1] [--threads 1]

Both train on the corpus' tokens for so many epochs and tag its test split. spaCy is a `bench` extra; without it our
figures stand alone. It may stand in a folder of its own: `pip install --target DIR spacy`, then PYTHONPATH=DIR.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from nlpseq import NerConfig, Tagger, configure, train_ner

# isort: split
import torch

from nlpseq.entity_scores import f1_value
from nlpseq.loop import Event
from nlpseq.settings import TagConfig
from nlpseq.tagged import Sentence, Tally, open_tagged, scheme_of, sentences
from nlpseq.tags import to_tags

ROUNDS = 3  # of tagging, of which the fastest counts


def say(name: str, value: float, unit: str, note: str = "") -> None:
    print(f"{name:52} {value:12,.2f} {unit:18} {note}", flush=True)


def fastest(work, rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def tags(held: Sequence[Sentence]) -> list[list[str]]:
    return [to_tags(one.entities, len(one.tokens), "iob2") for one in held]


def ours(corpus: str, train: Sequence[Sentence], held: Sequence[Sentence], epochs: float) -> tuple[float, float, float]:
    """Train and tag; return sentences/s of training, words/s of tagging, and seconds for one sentence alone."""
    clock: list[float] = []

    def watch(event: Event) -> None:
        if event.kind in ("step", "validation"):
            clock.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "m")
        config = configure(NerConfig, corpus=corpus, out=out, epochs=epochs, evaluate_steps=10**9, device="cpu")
        train_ner(config, watch=watch)
        tagger = Tagger.load(out, device="cpu")
    # From the first look at the loss, ten steps in, to the last one; the validation behind it is not training.
    done = 1 - 10 * config.training.batch_tokens / sum(len(one.tokens) for one in train) / epochs
    rate = done * epochs * len(train) / (clock[-2] - clock[0])
    words = sum(len(one.tokens) for one in held)
    seconds = fastest(lambda: tagger.tag_tokens([one.tokens for one in held]))
    alone = fastest(lambda: tagger.tag_tokens([held[0].tokens]), 20)
    found = tagger.tag_tokens([one.tokens for one in held])
    say("nlpseq: F1 on test", f1_value([one.tags for one in found], tags(held)), "%")
    return rate, words / seconds, alone


def spacys(train: Sequence[Sentence], held: Sequence[Sentence], epochs: float) -> tuple[float, float, float]:
    """The same of spaCy's blank English pipeline with its named entity recogniser, batches of 32 sentences."""
    import random

    import spacy
    from spacy.tokens import Doc
    from spacy.training import Example
    from spacy.util import minibatch

    nlp = spacy.blank("en")
    nlp.add_pipe("ner")

    def example(one: Sentence) -> Example:
        marked = to_tags(one.entities, len(one.tokens), "iob2")
        return Example(Doc(nlp.vocab, one.tokens), Doc(nlp.vocab, one.tokens, ents=marked))

    examples = [example(one) for one in train]
    optimizer = nlp.initialize(lambda: examples[:2000])
    number = round(epochs * len(examples))
    random.Random(1).shuffle(examples)
    stream = (examples * (1 + int(epochs)))[:number]
    started = time.perf_counter()
    for batch in minibatch(stream, 32):
        nlp.update(batch, sgd=optimizer, drop=0.1)
    rate = number / (time.perf_counter() - started)
    words = sum(len(one.tokens) for one in held)
    seconds = fastest(lambda: list(nlp.pipe([Doc(nlp.vocab, one.tokens) for one in held], batch_size=256)))
    alone = fastest(lambda: nlp(Doc(nlp.vocab, held[0].tokens)), 20)
    found = []
    for doc in nlp.pipe([Doc(nlp.vocab, one.tokens) for one in held]):
        found.append([f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type_ else "O" for t in doc])
    say(f"spaCy {spacy.__version__}: F1 on test", f1_value(found, tags(held)), "%")
    return rate, words / seconds, alone


def compare(corpus: str, epochs: float) -> None:
    """Print the figures of both, and ours as ratios."""
    source = open_tagged(corpus, TagConfig())
    splits = {}
    for name in ("train", "test"):
        split = source.corpus.split(name)
        splits[name] = list(sentences(source, split, scheme_of(source, "auto"), repair=True, tally=Tally()))
    units = ("training", "sentences/s", 1.0), ("tagging", "words/s", 1.0), ("one sentence alone", "ms", 1000.0)
    figures = ours(corpus, splits["train"], splits["test"], epochs)
    for (name, unit, scale), value in zip(units, figures, strict=True):
        say(f"nlpseq: {name}", scale * value, unit)
    try:
        others = spacys(splits["train"], splits["test"], epochs)
    except ImportError:
        print("spaCy is not there (this file says how to install it)")
        return
    for (name, unit, scale), value, own in zip(units, others, figures, strict=True):
        ratio = value / own if unit == "ms" else own / value
        say(f"spaCy: {name}", scale * value, unit, f"nlpseq is {ratio:.2f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", default="newswire")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{options.corpus}, {options.epochs} epochs, torch {torch.__version__}, {torch.get_num_threads()} threads")
    compare(options.corpus, options.epochs)


if __name__ == "__main__":
    main()
