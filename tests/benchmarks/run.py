"""`make bench`: speeds as ratios within one run, since machines are noisy. Nothing here is asserted.

.venv/bin/python tests/benchmarks/run.py [tokenizer] [start] [training] [decoding] [memory] [lm] [ner]
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from nlpseq import load_corpus  # before torch, since it sets how OpenMP waits

# isort: split
import joey
import lm as language_models
import ner
import torch
import tutorial

from nlpseq.config import configure
from nlpseq.pairs import encode_split, learn_tokenizer, texts
from nlpseq.report import machine
from nlpseq.settings import TranslateConfig
from nlpseq.stages.translate import TranslationTask
from nlpseq.text import words
from nlpseq.training import World, begin, fit, set_threads
from nlpseq.translator import Translator, build_model
from nlpseq.vocab import EOS

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def median_seconds(work: Callable[[], object], runs: int = 5) -> float:
    """The median time of a piece of work, after one run that is not counted."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def say(name: str, value: float, unit: str, note: str = "") -> None:
    print(f"{name:52} {value:12,.2f} {unit:18} {note}", flush=True)


def corpus_name() -> str:
    try:
        load_corpus("multi30k")
    except Exception:
        return "phrasebook"
    return "multi30k"


def tokenizer() -> None:
    """Our word tokeniser beside the plainest one there is, on the same text in the same run."""
    corpus = load_corpus(corpus_name())
    text = "\n".join(side for pair in texts(corpus.split("train"), ("en", "fr")) for side in pair)
    lines = text.split("\n")
    bare = re.compile(r"\w+|\S")
    ours = median_seconds(lambda: [words(line) for line in lines])
    plain = median_seconds(lambda: [bare.findall(line) for line in lines])
    size = len(text.encode()) / 1e6
    say("tokeniser: nlpseq.text.words", size / ours, "MB/s")
    say(r"tokeniser: re.findall(r'\w+|\S')", size / plain, "MB/s", f"ratio {plain / ours:.2f} (target >= 0.5)")


def start() -> None:
    """Start-up above that of a bare interpreter."""

    def launch(code: list[str]) -> float:
        return median_seconds(lambda: subprocess.run([sys.executable, *code], check=True, capture_output=True))

    bare = launch(["-c", "pass"])
    for name, code in (("import nlpseq", ["-c", "import nlpseq"]), ("nlpseq --help", ["-m", "nlpseq", "--help"])):
        say(f"start: {name}", launch(code) - bare, "s above bare", f"bare {bare:.3f} s (target <= 0.3)")


def matrix_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """The machine's own rate of matrix products, in GFLOP/s."""
    a = torch.randn(size, size).to(dtype)
    return 2 * size**3 / median_seconds(lambda: a @ a, 9) / 1e9


def prepared(folder: Path) -> tuple[TranslateConfig, TranslationTask, Translator, list[str]]:
    """The recipe's untrained translator and its data."""
    name = corpus_name()
    config = configure(TranslateConfig, corpus=name, source="en", target="fr", out=str(folder))
    corpus, columns = load_corpus(name), ("en", "fr")
    units = learn_tokenizer(corpus.split("train"), columns, config.vocabulary)
    data = encode_split(
        corpus.split("train"), columns, tokenizer=units, path=folder / "train", max_length=100, backwards=True,
        told=lambda done: None,
    )  # fmt: skip
    model = build_model(config, len(units))
    task = TranslationTask(model, data, config.training.batch_tokens, 1, config.label_smoothing)
    live = Translator(model, units, config=config, facts={"source": "en", "target": "fr"})
    return config, task, live, [source for source, _ in texts(corpus.split("test"), columns)]


def operations(config: TranslateConfig, vocabulary: int) -> tuple[float, float]:
    """Floating-point operations of a training step for each source and each target token: three times the forward's."""
    m = config.model
    seen = m.hidden_size if m.context == "every" else 0
    encoder = 2 * 3 * m.hidden_size * (m.embed_size + m.hidden_size)
    decoder = 2 * 3 * m.hidden_size * (m.embed_size + seen + m.hidden_size)
    readout = 2 * m.embed_size * (m.hidden_size + (m.embed_size + seen if seen else 0))
    return 3.0 * encoder, 3.0 * (decoder + readout + 2 * m.embed_size * vocabulary)


def training() -> None:
    """Steps of the recipe on real batches: target tokens per second, the share of the matrix-product rate, and the
    same model in a tutorial's loop."""
    with tempfile.TemporaryDirectory() as folder:
        config, task, live, _ = prepared(Path(folder))
        per_source, per_target = operations(config, len(live.tokenizer))
        rates = {}
        for precision, dtype in DTYPES.items():
            options = {**config.training.__dict__, "precision": precision, "epochs": 1.0, "max_steps": 45}
            settings = type(config.training)(**options)
            run = begin(task.model, settings, seed=1, device=CPU, world=World(), batches=len(task.plan(0)))
            order, steps, tokens, flops = task.plan(0), fit(run, task), 0, 0.0
            for _ in range(5):
                next(steps)
            started = time.perf_counter()
            for number, step in enumerate(steps, 5):
                rows = order.batch(number)
                tokens += int(step.tokens)
                flops += per_source * int(task.data.source.lengths[rows].sum()) + per_target * int(step.tokens)
            seconds = time.perf_counter() - started
            rate = matrix_rate(dtype)
            rates[precision] = tokens / seconds
            say(f"training {precision}", rates[precision], "target tokens/s")
            share = 100 * flops / seconds / 1e9 / rate
            say(f"training {precision}: of {rate:,.0f} GFLOP/s", share, "%", "(target in bf16 >= 40)")
        rows = len(task.data.source) // len(task.plan(0))  # as our batches have on average
        plain = tutorial_training(config, task, len(live.tokenizer), rows)
        beside("training: the same model in a plain loop, fp32", plain, rates)
        try:
            joeys = joey.tokens_per_second(config, task, len(live.tokenizer), rows)
            beside("training: JoeyNMT's GRU (has attention), fp32", joeys, rates)
        except ImportError:
            print("training: JoeyNMT is not there (tests/benchmarks/joey.py says how to install it)")


def beside(name: str, other: float, rates: dict[str, float]) -> None:
    ratios = ", ".join(f"{rate / other:.1f} times in {precision}" for precision, rate in rates.items())
    say(name, other, "target tokens/s", f"nlpseq: {ratios}")


def tutorial_training(config: TranslateConfig, task: TranslationTask, vocabulary: int, rows: int) -> float:
    """Target tokens per second of the tutorial's loop."""
    torch.manual_seed(1)
    model = tutorial.Tutorial(vocabulary, config.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.training.learning_rate)
    tokens = 0
    for number, (source, target) in enumerate(islice(tutorial.batches(task.data, rows, 1), 15)):
        if number == 3:
            tokens, started = 0, time.perf_counter()
        tokens += tutorial.step(model, optimizer, source, target)
    return tokens / (time.perf_counter() - started)


def decoding() -> None:
    """Raw text to raw text, and one sentence alone; untrained weights, lengths held to those of the source."""
    with tempfile.TemporaryDirectory() as folder:
        config, task, live, sources = prepared(Path(folder))
        decoding_config = type(config.decoding)(length_ratio=1.0, length_extra=3)
        config = type(config)(**{**config.__dict__, "decoding": decoding_config})
        plain = tutorial_decoding(config, live, sources[:30])
        say("decoding: the same model in a plain loop, fp32", plain, "sentences/s", "one after the other")
        for precision, dtype in DTYPES.items():
            translator = Translator(task.model.to(dtype), live.tokenizer, config=config, facts=live.facts)
            target = 500 if precision == "fp32" else 1500
            batch = median_seconds(lambda t=translator: t.translate(sources), 3)
            rate = len(sources) / batch
            say(
                f"decoding {precision}", rate, "sentences/s", f"(target >= {target}); {rate / plain:.1f} times the loop"
            )
            alone = median_seconds(lambda t=translator: t.translate(sources[:1]), 9)
            say(f"decoding {precision}: one sentence alone", 1000 * alone, "ms")


def tutorial_decoding(config: TranslateConfig, live: Translator, sources: list[str]) -> float:
    """Sentences per second of the tutorial's loop, raw text to raw text."""
    torch.manual_seed(1)
    model = tutorial.Tutorial(len(live.tokenizer), config.model).eval()
    model.output.bias.data[EOS] = -100.0  # every sentence to its limit, as ours

    def translate() -> None:
        for text in sources:
            ids = live.tokenizer.encode(text)
            live.tokenizer.decode(tutorial.greedy(model, [*ids[::-1], EOS], len(ids) + 3))

    return len(sources) / median_seconds(translate, 3)


def memory() -> None:
    """Peak memory of a training and of a prediction, each in a process of its own, from start to end."""
    with tempfile.TemporaryDirectory() as folder:
        name = corpus_name()
        train = ["translate", "train", "--corpus", name, "--source", "en", "--target", "fr", "--out", f"{folder}/m"]
        say("peak memory: training, 60 steps", peak([*train, "--max-steps", "60"]), "MB")
        say("peak memory: one sentence translated", peak(["translate", "run", "--model", f"{folder}/m", "Hello"]), "MB")


def peak(arguments: list[str]) -> float:
    """The largest resident size of one command, in MB."""
    code = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, '-m', 'nlpseq', *sys.argv[1:]], check=True,"
    )
    code += " capture_output=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return float(done.stdout)


def lm() -> None:
    """Language models by character: training and writing."""
    language_models.measure(say, matrix_rate)


def sentiment() -> None:
    """Classifiers beside a tutorial's loop and Keras, in a process of their own: they import this file."""
    sys.stdout.flush()
    subprocess.run([sys.executable, str(Path(__file__).with_name("sentiment.py"))], check=True)


PARTS = {
    "tokenizer": tokenizer,
    "start": start,
    "training": training,
    "decoding": decoding,
    "memory": memory,
    "lm": lm,
    "sentiment": sentiment,
    "ner": lambda: ner.compare("newswire", 2.0),
}


def main() -> None:
    set_threads(None, World())
    facts = machine()
    torch_facts = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    print(f"{facts['cpu']}, {facts['cores']} cores, {torch_facts}, corpus {corpus_name()}")
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
