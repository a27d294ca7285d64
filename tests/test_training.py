"""The training loop: schedules, accumulation, averaging, exact resume, several processes."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest
import torch
from conftest import state_folder

from nlpseq import TranslateConfig, WorkError, configure, train_translator
from nlpseq.batches import Plan
from nlpseq.config import to_plain
from nlpseq.errors import Interrupted
from nlpseq.loop import Log
from nlpseq.settings import TrainingConfig
from nlpseq.training import World, averaged, begin, choose_device, choose_dtype, fit, learning_rate

CPU = torch.device("cpu")


def write_pairs(path: Path, rows: int = 200, seed: int = 5) -> Path:
    """A TSV of random number words and their reversal: enough to train on."""
    draw = random.Random(seed)
    words = [f"w{n}" for n in range(20)]
    lines = ["a\tb"]
    for _ in range(rows):
        sentence = [draw.choice(words) for _ in range(draw.randint(1, 9))]
        lines.append(f"{' '.join(sentence)}\t{' '.join(reversed(sentence))}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


SMALL = {
    "units": "word", "embed_size": 16, "hidden_size": 16, "batch_tokens": 100, "epochs": 4, "warmup_steps": 5,
    "learning_rate": 0.01, "seed": 3, "ema": 0.9, "recurrent_dropout": 0.1, "accumulate": 2, "threads": 1,
    "patience": 50, "evaluate_steps": 7, "save_minutes": 0.0, "source": "a", "target": "b", "device": "cpu",
}  # fmt: skip


def small(tsv: Path, out: Path, **options: object) -> TranslateConfig:
    return configure(TranslateConfig, corpus=str(tsv), out=str(out), **(SMALL | options))


def result(folder: Path) -> tuple[str, list[dict[str, float]]]:
    """The hash of the final weights, and the log without times."""
    manifest = json.loads((folder / "manifest.json").read_text())
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("tokens_per_second", None)
    return manifest["files"]["weights.safetensors"]["sha256"], records


class Quadratic:
    """A task whose gradient is known: rows pull a weight towards their number."""

    def __init__(self, rows: int = 12, size: int = 3) -> None:
        self.model = torch.nn.Linear(1, 1, bias=False)
        self.rows, self.size = rows, size
        self.seen: list[list[int]] = []

    def plan(self, epoch: int) -> Plan:
        import numpy as np

        order = np.random.default_rng(epoch).permutation(self.rows)
        return Plan(order, np.arange(0, self.rows + 1, self.size))

    def batch(self, rows):
        self.seen.append(rows.tolist())
        return (torch.tensor(rows, dtype=torch.float32),)

    def loss(self, batch, done=0.0):
        error = ((self.model.weight[0, 0] - batch[0]) ** 2).sum()
        return error, error.detach(), len(batch[0])


def start(task: Quadratic, **settings: object):
    config = TrainingConfig(**({"precision": "fp32", "warmup_steps": 0, "decay": "constant", "clip": None} | settings))
    return begin(task.model, config, seed=1, device=CPU, world=World(), batches=len(task.plan(0)))


def test_accumulated_batches_give_the_gradient_of_one_large_batch():
    first, second = Quadratic(size=2), Quadratic(size=6)
    second.model.load_state_dict(first.model.state_dict())
    a, b = start(first, accumulate=3, epochs=1), start(second, epochs=1)
    losses = [[float(step.loss) for step in fit(run, task)] for run, task in ((a, first), (b, second))]
    assert len(losses[0]) == len(losses[1]) == 2
    assert losses[0] == pytest.approx(losses[1])
    assert first.model.weight.item() == pytest.approx(second.model.weight.item(), abs=1e-6)


def test_every_example_is_seen_once_an_epoch_and_the_end_is_marked():
    task = Quadratic()
    steps = list(fit(start(task, epochs=2), task))
    assert [step.epoch_ended for step in steps] == [False, False, False, True] * 2
    assert sorted(chain(*task.seen[:4])) == sorted(chain(*task.seen[4:])) == list(range(12))
    assert task.seen[:4] != task.seen[4:]


def test_clipping_bounds_the_update_and_reports_the_norm_before_it():
    task = Quadratic()
    free = next(iter(fit(start(task, epochs=1), task)))
    weight = task.model.weight.item()
    assert float(free.norm) > 1
    task = Quadratic()
    task.model.weight.data.fill_(weight)
    run = start(task, epochs=1, clip=0.001)
    captured = []
    original = run.optimizer.step
    run.optimizer.step = lambda: (captured.append(task.model.weight.grad.item()), original())  # type: ignore[method-assign]
    step = next(iter(fit(run, task)))
    assert float(step.norm) > 1
    assert abs(captured[0]) == pytest.approx(0.001, rel=1e-3)


def test_a_frozen_weight_neither_learns_nor_decays():
    task = Quadratic()
    task.model.bias = torch.nn.Parameter(torch.ones(1), requires_grad=False)
    before = task.model.weight.item()
    run = start(task, epochs=1, weight_decay=0.5, learning_rate=0.1, ema=0.5)
    for _ in fit(run, task):
        pass
    assert task.model.bias.item() == 1
    assert [a.item() for a in run.average][1] == 1
    assert task.model.weight.item() != before


def test_learning_rate_rises_to_its_peak_and_falls_to_zero():
    for decay, middle in (("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)):
        config = TrainingConfig(learning_rate=1.0, warmup_steps=10, decay=decay)
        rates = [learning_rate(config, step, 110) for step in range(111)]
        assert rates[0] == pytest.approx(0.1)
        assert rates[9] == rates[10] == pytest.approx(1.0)
        assert rates[60] == pytest.approx(middle)
        assert rates[110] == pytest.approx(0.0 if decay != "constant" else 1.0, abs=1e-9)


def test_averaged_weights_follow_slowly_and_the_trained_ones_come_back():
    task = Quadratic()
    run = start(task, epochs=8, ema=0.99, learning_rate=0.5)
    list(fit(run, task))
    trained = task.model.weight.item()
    with averaged(run):
        assert abs(task.model.weight.item() - trained) > 0.1
    assert task.model.weight.item() == trained


def test_max_steps_ends_a_run_early():
    task = Quadratic()
    assert len(list(fit(start(task, epochs=5, max_steps=7), task))) == 7


def test_a_caller_that_draws_random_numbers_between_steps_changes_nothing(tmp_path: Path):
    tsv = write_pairs(tmp_path / "p.tsv", 60)
    quiet = small(tsv, tmp_path / "m", max_steps=6)
    train_translator(quiet)
    noisy = small(tsv, tmp_path / "n", max_steps=6)
    train_translator(noisy, watch=lambda event: torch.rand(3))
    assert result(tmp_path / "m") == result(tmp_path / "n")


class Killed(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def kill(*arguments: object, **options: object) -> None:
    raise Killed


def run_with_kills(config: TranslateConfig, stops: list[tuple[str, int]]) -> None:
    """Train, dying at each of these events in turn, then to the end."""
    for kind, step in stops:

        def die(event, kind=kind, step=step):
            if event.kind == kind and event.step >= step:
                raise Killed

        with pytest.raises(Killed):
            train_translator(config, watch=die)
    train_translator(config)


def test_killed_and_resumed_run_ends_with_the_same_weights_bit_for_bit(tmp_path: Path):
    tsv = write_pairs(tmp_path / "p.tsv")
    whole, broken = small(tsv, tmp_path / "whole"), small(tsv, tmp_path / "broken")
    train_translator(whole)
    run_with_kills(broken, [("step", 10), ("validation", 14), ("saved", 20), ("step", 20), ("validation", 21)])
    assert result(tmp_path / "whole") == result(tmp_path / "broken")
    assert not (tmp_path / "broken" / "resume").exists()


def test_resume_restores_patience_and_the_best_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tsv = write_pairs(tmp_path / "p.tsv", 80)
    options = {"patience": 3, "learning_rate": 0.5, "epochs": 40, "clip": None, "warmup_steps": 0, "evaluate_steps": 2}
    train_translator(small(tsv, tmp_path / "whole", **options))
    weights, log = result(tmp_path / "whole")
    validations = [record for record in log if "validation_loss" in record]
    best = min(range(len(validations)), key=lambda n: validations[n]["validation_loss"])
    assert len(validations) == best + 1 + 3  # patience is counted in validations
    config = small(tsv, tmp_path / "broken", save_minutes=1000, **options)
    with monkeypatch.context() as patch:  # killed after the training, before its result is written
        patch.setattr("nlpseq.stages.translate._finish", kill)
        with pytest.raises(Killed):
            train_translator(config)
    events: list[str] = []
    train_translator(config, watch=lambda event: events.append(event.kind))
    assert "resumed" in events
    assert "step" not in events
    assert result(tmp_path / "broken") == (weights, log)
    config = small(tsv, tmp_path / "again", **options)
    run_with_kills(config, [("saved", validations[-1]["step"] // 2), ("validation", validations[-2]["step"])])
    assert result(tmp_path / "again") == (weights, log)


def test_no_resume_starts_anew(tmp_path: Path):
    tsv = write_pairs(tmp_path / "p.tsv", 60)
    config = small(tsv, tmp_path / "m")

    def die(event):
        if event.kind == "saved":
            raise Killed

    with pytest.raises(Killed):
        train_translator(config, watch=die)
    kinds = []
    train_translator(small(tsv, tmp_path / "m", resume=False), watch=lambda event: kinds.append(event.kind))
    assert "resumed" not in kinds


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import nlpseq.stages.translate as stage

    tsv = write_pairs(tmp_path / "p.tsv")
    config = small(tsv, tmp_path / "m")
    original = stage.linear_cross_entropy
    calls = []

    def broken(*arguments, **options):
        calls.append(1)
        loss, plain = original(*arguments, **options)
        return (loss * float("nan"), plain * float("nan")) if len(calls) > 45 else (loss, plain)

    monkeypatch.setattr(stage, "linear_cross_entropy", broken)
    with pytest.raises(WorkError, match=r"`loss` must stay finite .* but is nan at step \d+, learning rate .* norm"):
        train_translator(config)
    assert (state_folder(tmp_path / "m") / "state.pt").exists()
    assert not (tmp_path / "m" / "manifest.json").exists()


def test_ctrl_c_saves_the_state_and_says_how_to_go_on(tmp_path: Path):
    tsv = write_pairs(tmp_path / "p.tsv")
    config = small(tsv, tmp_path / "m", save_minutes=1000)
    before = signal.getsignal(signal.SIGINT)

    def interrupt(event):
        if event.kind == "step" and event.step >= 10:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"Stopped at step \d+ of \d+; the state is saved, the same command goes on"):
        train_translator(config, watch=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    train_translator(config)
    train_translator(small(tsv, tmp_path / "whole", save_minutes=1000))
    assert result(tmp_path / "m") == result(tmp_path / "whole")


def test_devices_and_precisions():
    from nlpseq.errors import UsageError

    assert choose_device("cpu") == CPU
    assert choose_dtype("fp32", CPU) is torch.float32
    assert choose_dtype("bf16", CPU) is torch.bfloat16
    with pytest.raises(UsageError, match='`device` must be auto, cpu, cuda or cuda:N, but is "tpu"'):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match=r"`device` must be .* but is cuda, and here is no CUDA device"):
            choose_device("cuda")


def command(tsv: Path, out: Path, **options: object) -> list[str]:
    settings = to_plain(small(tsv, out, **options))
    known = SMALL | options | {"corpus": tsv, "out": out}
    words = [
        word
        for name in known
        if settings[name] is not None
        for word in (f"--{name.replace('_', '-')}", str(settings[name]))
    ]
    return ["-m", "nlpseq", "translate", "train", *words]


def saved(folder: Path) -> int:
    """When the state of the run in this folder was saved; 0 where there is none."""
    state = state_folder(folder) / "state.pt"
    return state.stat().st_mtime_ns if state.exists() else 0


@pytest.mark.slow
def test_twenty_kills_at_random_moments_end_with_the_same_weights(tmp_path: Path):
    tsv = write_pairs(tmp_path / "p.tsv", 300)
    options = {"epochs": 30, "evaluate_steps": 15}
    train_translator(small(tsv, tmp_path / "whole", **options))
    seed = random.randrange(10**6)
    draw, environment = random.Random(seed), os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, *command(tsv, tmp_path / "broken", **options)]
    start_up = gap = math.inf  # seconds until training has gone on, and from a save to the next, at the quickest so far

    def gone_on(process: subprocess.Popen[bytes], before: int) -> float:
        since = time.monotonic()
        while saved(tmp_path / "broken") == before and time.monotonic() < since + 120:
            assert process.poll() is None, f"seed {seed}"
            time.sleep(0.002)
        return time.monotonic() - since

    for kill in range(20):
        before = saved(tmp_path / "broken")
        process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
        if kill < 2 or kill % 2:  # in training, soon after it has gone on, so that all kills are before its end
            start_up = min(start_up, gone_on(process, before))
            gap = min(gap, gone_on(process, saved(tmp_path / "broken")))
            time.sleep(draw.uniform(0, gap))
        else:
            time.sleep(draw.uniform(0, start_up))
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"seed {seed}"
    subprocess.run(words, env=environment, stderr=subprocess.DEVNULL, check=True)
    assert result(tmp_path / "whole") == result(tmp_path / "broken"), f"seed {seed}"


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path):
    import safetensors.torch

    tsv = write_pairs(tmp_path / "p.tsv", 41)  # small batches: shares are unequal, and often empty
    still = {"dropout": 0, "layer_dropout": 0, "recurrent_dropout": 0, "output_dropout": 0, "precision": "fp32"}
    options = still | {"max_steps": 30, "batch_tokens": 12, "accumulate": 1, "learning_rate": 1e-3}
    train_translator(small(tsv, tmp_path / "one", **options))
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        *command(tsv, tmp_path / "two", **options),
    ]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == 0, done.stderr
    one, two = (
        safetensors.torch.load_file(next((tmp_path / name).glob("weights-*.safetensors"))) for name in ("one", "two")
    )
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    logs = [result(tmp_path / name)[1] for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1])
    assert [r["loss"] for r in logs[0] if "loss" in r] == pytest.approx(
        [r["loss"] for r in logs[1] if "loss" in r], rel=1e-5
    )


DAMAGED = [
    b"{",
    b"[]",
    b"null",
    b"\xff",
    b"{}",
    b'{"step": "1"}',
    b'{"step": NaN}',
    b'{"stap": 1}',
    b'{"step": 1, "a": []}',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_damaged_lines_of_a_log_are_dropped(tmp_path, line):
    lines = [json.dumps({"step": step, "loss": 0.5}).encode() + b"\n" for step in (10, 20, 30, 40)]
    content = b"".join([lines[0], line + b"\n", *lines[2:]])
    (tmp_path / "metrics.jsonl").write_bytes(content)
    log = Log(tmp_path / "metrics.jsonl")
    log.cut(len(content) - len(lines[3]))
    assert log.path.read_bytes() == lines[0] + lines[2]
    log.write({"step": 40, "loss": 0.5})
    assert log.path.read_bytes() == lines[0] + lines[2] + lines[3]
    assert log.synced() == len(log.path.read_bytes())


def test_a_log_that_was_cut_within_a_line_goes_on_with_a_new_one(tmp_path):
    line = b'{"step": 10}\n'
    log = Log(tmp_path / "metrics.jsonl")
    log.path.write_bytes(line * 2)
    log.cut(2 * len(line) - 1)  # as of a state that was saved beside another log
    log.write({"step": 10})
    assert log.path.read_bytes() == line * 2
