"""The training loop: a generator of steps. One loop for the CPU, CUDA and several processes, with exact resume.

Nothing random is carried from step to step: the batches are a function of (seed, epoch), and torch's generator is
seeded anew at each step from (seed, step, rank). What a task does carry, such as the states of parallel streams, is in
the saved state. So a resumed run is, bit for bit on the CPU, the run that was never stopped, and whatever the caller
does between two steps changes nothing.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn

from nlpseq.batches import Plan
from nlpseq.errors import UsageError, sentence
from nlpseq.settings import TrainingConfig
from nlpseq.threads import usable_cores

__all__ = [
    "Carrying",
    "Run",
    "Step",
    "Task",
    "World",
    "averaged",
    "begin",
    "choose_device",
    "choose_dtype",
    "fit",
    "float32",
    "join_world",
    "set_threads",
    "together",
]


class World(NamedTuple):
    """This process among those of a run."""

    rank: int = 0
    size: int = 1


class Task(Protocol):
    """What `fit` has to know of the work: a stage has one."""

    def plan(self, epoch: int) -> Plan:
        """Return the epoch's batches, the same in every process."""

    def batch(self, rows: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        """Return a NamedTuple of CPU tensors and plain values for these examples."""

    def loss(self, batch: Any, done: float = 0.0) -> tuple[Tensor, Tensor, int]:
        """Return the loss to descend, summed, the loss to report, summed, and the number of tokens.

        It is asked for where gradients are on, once a batch; it may have put a part of the gradient in its place.

        done: how much of the training is behind, from 0 to 1, for what is scheduled.
        """


@runtime_checkable
class Carrying(Protocol):
    """A task whose rows go on where they were: `loss` starts from `carried` and leaves there what the next one needs.

    carried: (rows, …), None at the start of an epoch; a row stands at the same place in every batch of an epoch.
    """

    carried: Tensor | None


class Step(NamedTuple):
    """One update; the tensors are left on the device, since reading them waits for it."""

    step: int
    epoch: int
    epoch_ended: bool
    loss: Tensor  # () summed over the step's tokens in all processes, in nats
    norm: Tensor  # () norm of the mean gradient before clipping
    tokens: Tensor  # () their number, in all processes
    rate: float


@dataclass
class Run:
    """The state of a training: everything that a resumed run needs, and where it runs."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    config: TrainingConfig
    seed: int
    total: int
    device: torch.device
    dtype: torch.dtype
    world: World
    step: int = 0
    epoch: int = 0
    batch: int = 0
    waited: int = 0
    best: float | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    average: list[Tensor] = field(default_factory=list)
    carried: Tensor | None = None  # of this process' rows, see `Carrying`

    def state(self) -> dict[str, Any]:
        """Return plain numbers, strings and tensors only, so that it is read back with `weights_only=True`."""
        plain = {name: getattr(self, name) for name in _COUNTERS} | {"dtype": str(self.dtype).removeprefix("torch.")}
        tensors = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        carried = {} if self.carried is None else {"carried": self.carried}
        return plain | tensors | carried | {"best_weights": self.best_weights, "average": self.average}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        for name in (*_COUNTERS, "best_weights"):
            setattr(self, name, state[name])
        self.dtype = torch.float32 if state["dtype"] == "float32" else torch.bfloat16
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = [tensor.to(self.device) for tensor in state["average"]]
        if "carried" in state:
            self.carried = state["carried"][self.world.rank :: self.world.size].to(self.device)


_COUNTERS = ("step", "epoch", "batch", "waited", "best")


def choose_device(name: str) -> torch.device:
    """Return the device of a setting: auto, cpu, cuda or cuda:N; UsageError where there is none such."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        name = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    number = number or str(local)
    if name != "cpu" and (kind != "cuda" or not number.isdecimal()):
        raise UsageError(sentence("device", "be auto, cpu, cuda or cuda:N", name))
    if kind == "cuda" and not (torch.cuda.is_available() and int(number) < torch.cuda.device_count()):
        found = (
            f"{torch.cuda.device_count()} devices" if torch.cuda.is_available() else "no CUDA device (device cpu works)"
        )
        raise UsageError(sentence("device", "be a device that is here", f"{name}, and here is {found}", quote=False))
    return torch.device("cpu") if name == "cpu" else torch.device(kind, int(number))


@contextmanager
def float32() -> Iterator[None]:
    """Let cuDNN's layers compute in whole float32 for a while: TF32, its default, has 10 bits of the 23."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return what autocast shall use: auto is bfloat16 where the hardware has it, and a CPU is quicker in it.

    Some CPUs multiply in bfloat16 four times as fast as in float32 (AMD's, Intel's with AMX), others, or the same ones
    in a virtual machine without AMX, more slowly: so a CPU is asked, by a measurement of less than 0.1 s. Where it is
    nearly as quick in both, auto may therefore differ from run to run.
    """
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    asked: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    has = any(asked.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if has and _seconds(torch.bfloat16) < 0.8 * _seconds(torch.float32) else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """Return how long a product of two matrices takes, the best of ten."""
    a = torch.ones(512, 512, dtype=dtype)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(a, a)
        times.append(time.perf_counter() - started)
    return min(times)


def join_world(device: torch.device) -> World:
    """Return this process' place; under `torchrun` with several processes the group is set up on the first call."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    if not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        waiting = timedelta(days=1)  # the others wait while the first one reads a large corpus or scores
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=waiting)
    return World(distributed.get_rank(), size)


def set_threads(threads: int | None, world: World) -> None:
    """Set torch's CPU threads once: as asked, else the cores that this process may use, shared by the processes.

    OMP_NUM_THREADS, which torch follows by itself, is the user's word where one process runs (torchrun sets it too).
    """
    if threads is None and world.size == 1 and os.environ.get("OMP_NUM_THREADS"):
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world.size))
    torch.set_num_threads(threads or max(1, usable_cores() // here))


def keep_memory() -> None:
    """Let glibc keep what is freed: to fetch it anew for every step's tensors, page by page, costs a tenth of a step.

    Elsewhere (macOS, musl) nothing is done.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_MMAP_MAX, 0)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h


def begin(
    model: nn.Module, config: TrainingConfig, *, seed: int, device: torch.device, world: World, batches: int
) -> Run:
    """Return the state of a training that starts now; batches: in the first epoch, of which the schedule is made."""
    if device.type == "cpu":
        keep_memory()
    model.to(device)
    total = math.ceil(round(config.epochs * math.ceil(batches / config.accumulate), 6))
    if config.max_steps is not None:
        total = min(total, config.max_steps)
    parameters = list(model.parameters())
    dtype = choose_dtype(config.precision, device)
    if config.precision == "auto" and device.type == "cpu" and world.size > 1:  # each measured beside the others
        dtype = _of_the_first(dtype)
    run = Run(model, _optimizer(parameters, config), config, seed, total, device, dtype, world)
    if config.ema is not None:
        run.average = [p.detach().clone() for p in parameters]
    return run


def _of_the_first(dtype: torch.dtype) -> torch.dtype:
    """Return the first process' choice, in every process."""
    holder = [dtype]
    distributed.broadcast_object_list(holder, src=0)
    return holder[0]


def _optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    rate, decay, betas = config.learning_rate, config.weight_decay, (0.9, config.beta2)
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=config.momentum or 0.0, fused=True)
    return torch.optim.AdamW(parameters, lr=rate, betas=betas, weight_decay=decay, eps=1e-9, fused=True)


def fit(run: Run, task: Task) -> Iterator[Step]:
    """Yield a record for each step until the run is at its end; `run` is whole, and may be saved, at every yield."""
    while run.step < run.total:
        plan = task.plan(run.epoch)
        while run.batch < len(plan) and run.step < run.total:
            yield _step(run, task, plan)
        if run.batch >= len(plan):
            run.epoch, run.batch = run.epoch + 1, 0


def _step(run: Run, task: Task, plan: Plan) -> Step:
    numbers = [run.seed, run.step, run.world.rank]
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))
    run.model.train()
    stop = min(run.batch + run.config.accumulate, len(plan))
    if isinstance(task, Carrying):
        task.carried = run.carried if run.batch else None
    reported, count = torch.zeros((), device=run.device), 0
    for number in range(run.batch, stop):
        rows = plan.batch(number)[run.world.rank :: run.world.size]
        if len(rows):
            batch = to_device(task.batch(rows), run.device)
            with torch.autocast(run.device.type, run.dtype, enabled=run.dtype != torch.float32):
                loss, plain, tokens = task.loss(batch, run.step / run.total)
            loss.backward()  # type: ignore[no-untyped-call]
            reported += plain.detach()
            count += tokens
    totals = torch.stack([reported, torch.full((), float(count), device=run.device)])
    gradients = _gradients(run.model)
    if run.world.size > 1:
        _sum_over_processes([totals, *gradients])
    norm = _normalise(gradients, totals[1], run.config.clip)
    rate = learning_rate(run.config, run.step, run.total)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.step, run.batch = run.step + 1, stop
    run.carried = task.carried if isinstance(task, Carrying) else None
    _average(run)
    return Step(run.step, run.epoch, stop == len(plan), totals[0], norm, totals[1], rate)


def learning_rate(config: TrainingConfig, step: int, total: int) -> float:
    """Return the rate of a step (counted from 0): a linear rise to the peak, then the fall that was chosen."""
    warm = min(config.warmup_steps, total)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, total - warm)
    fall = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[config.decay]
    return config.learning_rate * fall


def to_device(batch: tuple[Any, ...], device: torch.device) -> Any:
    """Return a NamedTuple with its tensors on the device, copied from pinned memory without waiting."""
    if device.type == "cpu":
        return batch
    moved = (t.pin_memory().to(device, non_blocking=True) if isinstance(t, Tensor) else t for t in batch)
    return type(batch)(*moved)


def _gradients(model: nn.Module) -> list[Tensor]:
    """Return every parameter's gradient, zeros where this process had no row that reached it."""
    for parameter in model.parameters():
        if parameter.grad is None and parameter.requires_grad:  # a frozen one would decay, had it a gradient
            parameter.grad = torch.zeros_like(parameter)
    return [p.grad for p in model.parameters() if p.grad is not None]


def _sum_over_processes(tensors: list[Tensor]) -> None:
    """Replace each tensor by its sum over all processes; one message for all of them."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def _normalise(gradients: list[Tensor], count: Tensor, clip: float | None) -> Tensor:
    """Divide summed gradients by the number of tokens, clip their norm, and return what it was; no host sync."""
    norm = torch.nn.utils.get_total_norm(gradients) / count
    scale = 1 / count
    if clip is not None:
        scale = scale * (clip / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients, scale)
    return norm


def _average(run: Run) -> None:
    if run.config.ema is not None:
        decay = min(run.config.ema, (1 + run.step) / (10 + run.step))  # short at first, or the start would linger
        torch._foreach_lerp_(run.average, [p.detach() for p in run.model.parameters()], 1 - decay)


@contextmanager
def together(run: Run) -> Iterator[None]:
    """Let the run hold what the rows of all processes carry for a while: all of them must call this together."""
    own = run.carried
    if run.world.size > 1:
        parts: list[Tensor | None] = [None] * run.world.size  # None of a process without rows, of which all must know
        distributed.all_gather_object(parts, None if own is None else own.cpu())
        held = {rank: part.to(run.device) for rank, part in enumerate(parts) if part is not None}
        if held:
            one = next(iter(held.values()))
            run.carried = one.new_empty(sum(map(len, held.values())), *one.shape[1:])
            for rank, part in held.items():
                run.carried[rank :: run.world.size] = part
    try:
        yield
    finally:
        run.carried = own


@contextmanager
def averaged(run: Run) -> Iterator[None]:
    """Let the model hold its averaged weights for a while, where averaging is on."""
    if not run.average:
        yield
        return
    parameters = [p.detach() for p in run.model.parameters()]
    kept = [p.clone() for p in parameters]
    torch._foreach_copy_(parameters, run.average)
    try:
        yield
    finally:
        torch._foreach_copy_(parameters, kept)
