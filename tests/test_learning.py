"""Whether models learn: only this sees a target shifted wrongly, a mask at the wrong place, a state that is lost."""

import random

import pytest

from nlpseq import TranslateConfig, configure, train_translator
from nlpseq.translator import Translator

SYMBOLS = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"]


def sequences(number, seed):
    draw = random.Random(seed)
    found = set()
    while len(found) < number:
        found.add(tuple(draw.choices(SYMBOLS, k=draw.randint(1, 4))))
    return sorted(found, key=lambda _: draw.random())


def corpus(folder, target):
    rows = sequences(3300, seed=1)
    for name, part in (("train", rows[:3000]), ("validation", rows[3000:3100]), ("test", rows[3100:])):
        lines = [f"{' '.join(row)}\t{' '.join(target(row))}" for row in part]
        (folder / f"{name}.tsv").write_text("\n".join(["a\tb", *lines]) + "\n")
    return rows[3100:]


TASKS = {"copy": lambda row: row, "reverse": lambda row: row[::-1]}
CASES = [
    ("copy", {"cell": "gru"}),
    ("reverse", {"cell": "gru", "bidirectional": True, "recurrent_dropout": 0.1, "label_smoothing": 0.1}),
    ("copy", {"cell": "lstm", "context": "once", "layers": 2, "layer_dropout": 0.0}),
    ("reverse", {"cell": "lstm", "source_order": "forward", "tied": False}),
]


@pytest.mark.parametrize(("task", "settings"), CASES, ids=str)
def test_short_sequences_are_learnt(tmp_path, task, settings):
    held_out = corpus(tmp_path, TASKS[task])
    config = configure(
        TranslateConfig,
        corpus=str(tmp_path),
        source="a",
        target="b",
        out=str(tmp_path / "model"),
        device="cpu",
        threads=1,
        precision="fp32",
        units="word",
        embed_size=32,
        hidden_size=64,
        dropout=0.0,
        output_dropout=0.0,
        batch_tokens=400,
        learning_rate=5e-3,
        warmup_steps=30,
        max_steps=360,
        evaluate_steps=360,
        **{"label_smoothing": 0.0} | settings,
    )
    train_translator(config)
    translator = Translator.load(tmp_path / "model", device="cpu")
    outputs = translator.translate([" ".join(row) for row in held_out])
    expected = [" ".join(TASKS[task](row)) for row in held_out]
    assert sum(map(str.__eq__, outputs, expected)) > 180
