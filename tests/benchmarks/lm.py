"""Language models: training beside a plain torch loop and the machine's own products, and writing one unit at a time.

.venv/bin/python tests/benchmarks/run.py lm
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from nlpseq import load_corpus
from nlpseq.config import configure
from nlpseq.language_model import LanguageModel, build_lm
from nlpseq.lm_task import StreamTask
from nlpseq.settings import LMConfig
from nlpseq.training import World, begin, fit
from nlpseq.units import Characters

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
STEPS, WARM = 12, 3
WRITTEN = 300  # characters

Say = Callable[..., None]


def text() -> tuple[str, str]:
    """The name and a million characters of the recipe's text, else of the standard library."""
    try:
        return "tiny_shakespeare", next(iter(load_corpus("tiny_shakespeare").split("train")))["text"]
    except Exception:
        rows = load_corpus("python-library").split("train")
        return "python-library", "".join(row["text"] for row in rows)[:1_000_000]


def operations(config: LMConfig, vocabulary: int) -> float:
    """Floating-point operations of a training step for each character: three times the forward's."""
    m = config.model
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[m.cell]
    layers = m.embed_size + m.hidden_size + (m.layers - 1) * 2 * m.hidden_size
    return 3.0 * 2 * (gates * m.hidden_size * layers + m.hidden_size * vocabulary)


class Plain(nn.Module):
    """What a tutorial writes: torch's own layers over the same sizes, dropout between them."""

    def __init__(self, config: LMConfig, vocabulary: int) -> None:
        super().__init__()
        m = config.model
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[m.cell]
        self.embedding = nn.Embedding(vocabulary, m.embed_size)
        self.rnn = kind(m.embed_size, m.hidden_size, m.layers, batch_first=True, dropout=m.layer_dropout)
        self.output = nn.Linear(m.hidden_size, vocabulary)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.output(self.rnn(self.embedding(tokens))[0])


def plain_rate(config: LMConfig, ids: np.ndarray, vocabulary: int, rows: int) -> float:
    """Characters per second of a tutorial's loop: windows from anywhere, cross-entropy, clipping, Adam, float32."""
    torch.manual_seed(1)
    model, steps = Plain(config, vocabulary).train(), config.batching.steps
    optimizer = torch.optim.Adam(model.parameters(), lr=config.training.learning_rate)
    stream = torch.from_numpy(ids.astype(np.int64))
    for number in range(STEPS):
        if number == WARM:
            started = time.perf_counter()
        starts = torch.randint(len(ids) - steps - 1, (rows, 1)) + torch.arange(steps)
        loss = nn.functional.cross_entropy(model(stream[starts]).flatten(0, 1), stream[starts + 1].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return (STEPS - WARM) * rows * steps / (time.perf_counter() - started)


def rate(config: LMConfig, task: StreamTask, precision: str) -> float:
    """Characters per second of our loop."""
    options = {**config.training.__dict__, "precision": precision, "max_steps": STEPS}
    settings = type(config.training)(**options)
    device = torch.device("cpu")
    run = begin(task.model, settings, seed=1, device=device, world=World(), batches=len(task.plan(0)))
    units = 0
    for number, step in enumerate(fit(run, task), 1):
        if number == WARM:
            started = time.perf_counter()
        units += int(step.tokens) if number > WARM else 0
    return units / (time.perf_counter() - started)


def measure(say: Say, matrix_rate: Callable[[torch.dtype], float]) -> None:
    """Print all figures; say, matrix_rate: those of run.py."""
    name, content = text()
    units = Characters.learn([content], min_count=1)
    ids = units.encode([content])[0]
    for cell in ("gru", "lstm"):
        config = configure(LMConfig, corpus=name, out="none", cell=cell, recipe=None)
        rows = config.training.batch_tokens // config.batching.steps
        model = build_lm(config, len(units))
        task = StreamTask(model, ids, rows, config.batching.steps, 1)
        size = f"{config.model.layers} x {config.model.hidden_size}, {rows} streams of {config.batching.steps}"
        plain = plain_rate(config, ids, len(units), rows)
        say(f"lm: a plain loop of torch's {cell}, fp32", plain, "characters/s", size)
        for precision, dtype in DTYPES.items():
            found, peak = rate(config, task, precision), matrix_rate(dtype)
            share = 100 * found * operations(config, len(units)) / 1e9 / peak
            note = f"{found / plain:.1f} times the loop, {share:.0f} % of {peak:,.0f} GFLOP/s"
            say(f"lm: training {cell} {precision}", found, "characters/s", note)
        writing(say, LanguageModel(model, units, config=config, facts={}), cell)


def writing(say: Say, live: LanguageModel, cell: str) -> None:
    """Writing by steps, beside passing over the whole prefix for every character."""
    started = time.perf_counter()
    live.sample("a", length=WRITTEN, past_end=True)
    ours = WRITTEN / (time.perf_counter() - started)
    ids = live.units.encode(["a" * WRITTEN])[0].astype(np.int64)
    started = time.perf_counter()
    with torch.inference_mode():
        for end in range(1, WRITTEN):
            live.model.output(live.model(torch.from_numpy(ids[None, :end]))[0][:, -1])
    prefix = WRITTEN / (time.perf_counter() - started)
    say(f"lm: writing, {cell}", ours, "characters/s", f"{ours / prefix:.0f} times a pass over the prefix ({WRITTEN})")
    started = time.perf_counter()
    live.sample("a", length=WRITTEN, past_end=True, count=32)
    say(f"lm: writing 32 texts at once, {cell}", 32 * WRITTEN / (time.perf_counter() - started), "characters/s")
