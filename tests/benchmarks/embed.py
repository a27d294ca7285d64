"""Word vectors beside gensim's, on the same tokens in the same run: speeds, and with --scores what they are worth.

.venv/bin/python tests/benchmarks/embed.py [--scores] [--epochs 5] [--seeds 1] [--gensim-seeds 1] [--tokens 3000000]

Words are counted raw, before subsampling, and effective, after it. gensim trains from a file of one line a document
(`corpus_file`, its fastest way), one epoch, vocabulary made before the clock starts. Needs $NLPSEQ_CORPORA.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import tempfile
import time
from array import array
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from nlpseq.batches import Ragged
from nlpseq.nn.nce import BAND
from nlpseq.settings import EmbeddingConfig
from nlpseq.vector_scores import WordTest, evaluate, load_tests
from nlpseq.vectors import Embeddings
from nlpseq.word_training import WordRun, begin_words, fit_words

TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+")
CORPORA = Path(os.environ.get("NLPSEQ_CORPORA", "corpora"))
ARCHITECTURES, OBJECTIVES, WORKERS = ("skipgram", "cbow"), ("nce", "negative"), (1, 2)
MIN_COUNT = 5


def documents() -> Iterator[list[str]]:
    """The Wikipedia sample as TARGETS.md has it: lowercase words, every number the same symbol."""
    file = pq.ParquetFile(CORPORA / "wikipedia_en_2014_sample" / "train.parquet")
    for batch in file.iter_batches(batch_size=1000, columns=["text"]):
        for text in batch.column(0).to_pylist():
            yield ["0" if token[0].isdigit() else token for token in TOKEN.findall(text.lower())]


class Text:
    """Words, counts and ids for us, and the same documents in a file for gensim."""

    def __init__(self, folder: Path, tokens: int | None) -> None:
        numbers: defaultdict[str, int] = defaultdict(lambda: len(numbers))
        ids, ends = array("i"), [0]
        self.file = folder / "text.txt"
        with open(self.file, "w", encoding="utf-8") as file:
            for document in documents():
                ids.extend([numbers[word] for word in document])
                ends.append(len(ids))
                file.write(" ".join(document) + "\n")
                if tokens and len(ids) >= tokens:
                    break
        seen = np.bincount(np.frombuffer(ids, np.int32))
        order = np.argsort(-seen, kind="stable")
        order = order[seen[order] >= MIN_COUNT]
        new = np.full(len(seen), -1, np.int32)
        new[order] = np.arange(len(order))
        stream = new[np.frombuffer(ids, np.int32)]
        offsets = np.concatenate([[0], np.cumsum(stream >= 0)])[ends]
        stream[stream >= 0].tofile(folder / "text.ids")
        names = list(numbers)
        self.words = [names[i] for i in order]
        self.counts = seen[order]
        self.ragged = Ragged(np.memmap(folder / "text.ids", np.int32, "r"), offsets)


def ours(text: Text, *, warm: int = 2, seed: int = 1, **settings: object) -> tuple[WordRun, float, float]:
    """Train; return the run, and raw and effective words a second, workers' start and the first records left out."""
    config = EmbeddingConfig(**settings)
    run = begin_words(text.counts, config, seed=seed, device=torch.device("cpu"), tokens=len(text.ragged.ids))
    began = (0.0, 0, 0)
    for number, _ in enumerate(fit_words(run, text.ragged), 1):
        if number == (warm if config.workers == 1 else 1):
            began = (time.perf_counter(), run.tokens, run.effective)
    seconds = time.perf_counter() - began[0]
    return run, (run.tokens - began[1]) / seconds, (run.effective - began[2]) / seconds


def gensims(text: Text, architecture: str, *, workers: int, epochs: int, seed: int = 1) -> tuple[object, float]:
    """Train gensim's with its defaults; return the vectors and raw words a second of its vocabulary."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        vector_size=100, window=5, min_count=MIN_COUNT, sg=int(architecture == "skipgram"), negative=5, sample=1e-3,
        workers=workers, seed=seed,
    )  # fmt: skip
    model.build_vocab(corpus_file=str(text.file))
    started = time.perf_counter()
    model.train(
        corpus_file=str(text.file), total_words=model.corpus_total_words, total_examples=model.corpus_count,
        epochs=epochs,
    )  # fmt: skip
    return model.wv, len(text.ragged.ids) * epochs / (time.perf_counter() - started)


def products() -> float:
    """The machine's own rate of matrix products on one thread in float32, in FLOP/s."""
    a = torch.randn(1024, 1024)
    best = 1e9
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - started)
    return 2 * 1024**3 / best


def flops(run: WordRun) -> float:
    """What a step's products and sums cost for each token: logits of a band (skip-gram), the sum of what is around a
    token and of what goes there, three products with the noise."""
    shape = run.shape
    logits = 0 if shape.cbow else BAND + 2 * shape.window
    return 2 * shape.width * (logits + 2 * (2 * shape.window + 1) + 3 * shape.shared)


def speeds(text: Text) -> None:
    peak = products()
    print(f"{len(text.ragged.ids):,} words, {len(text.words):,} different; products {peak / 1e9:.0f} GFLOP/s a thread")
    print(f"{'':30}{'raw words/s':>14}{'effective':>12}{'gensim':>12}{'ratio':>8}{'of products':>13}")
    for workers in WORKERS:
        for architecture in ARCHITECTURES:
            settings = {"architecture": architecture, "workers": workers, "epochs": 1.0 * workers}
            rounds = {objective: [] for objective in OBJECTIVES}
            theirs = []
            for _ in range(2):  # turn and turn about: the best of both, since machines are noisy
                theirs.append(gensims(text, architecture, workers=workers, epochs=1)[1])
                for objective in OBJECTIVES:
                    rounds[objective].append(ours(text, objective=objective, **settings))
            for objective, runs in rounds.items():
                run, raw, effective = max(runs, key=lambda found: found[1])
                share = effective * flops(run) / workers / peak
                name = f"{architecture} {objective}, {workers} worker{'s' * (workers > 1)}"
                print(
                    f"{name:30}{raw:14,.0f}{effective:12,.0f}{max(theirs):12,.0f}{raw / max(theirs):8.2f}{share:13.0%}",
                    flush=True,
                )
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def show_scores(name: str, words: list[str], vectors: np.ndarray, tests: list[WordTest]) -> None:
    """By gensim's protocols, which tests/test_vector_scores.py compares with gensim's own answers."""
    found = evaluate(Embeddings(words, vectors), tests).scores
    values = [found[key].value for key in ("ws353", "simlex999", "analogies_30k", "analogies_300k")]
    print(f"{name:48}" + "".join(f"{value:9.3f}" for value in values), flush=True)


def scores(text: Text, *, epochs: int, seeds: int, gensim_seeds: int) -> None:
    tests = load_tests()
    print(f"{'':48}{'WS-353':>9}{'SimLex':>9}{'30k %':>9}{'300k %':>9}", flush=True)
    for seed, architecture in product(range(1, gensim_seeds + 1), ARCHITECTURES):
        vectors, speed = gensims(text, architecture, workers=1, epochs=epochs, seed=seed)
        name = f"gensim {architecture}, seed {seed}, {speed / 1e3:,.0f} k/s"
        show_scores(name, list(vectors.index_to_key), vectors.vectors, tests)
    for seed, architecture, objective in product(range(1, seeds + 1), ARCHITECTURES, OBJECTIVES):
        settings = {"architecture": architecture, "objective": objective, "epochs": float(epochs)}
        run, raw, _ = ours(text, seed=seed, **settings)
        name = f"nlpseq {architecture} {objective}, seed {seed}, {raw / 1e3:,.0f} k/s"
        show_scores(name, text.words, run.inputs.numpy().copy(), tests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", action="store_true")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--gensim-seeds", type=int, default=1)
    parser.add_argument("--tokens", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = Text(folder, options.tokens or (None if options.scores else 3_000_000))
        if options.scores:
            scores(text, epochs=options.epochs, seeds=options.seeds, gensim_seeds=options.gensim_seeds)
        else:
            speeds(text)


if __name__ == "__main__":
    main()
