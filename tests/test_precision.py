"""Which precision `auto` is, and that a run keeps the one that it began with."""

import pytest
import torch
from test_training import Quadratic, start

from nlpseq import training
from nlpseq.settings import TrainingConfig
from nlpseq.training import World, begin, choose_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has", "bf16", "expected"),
    [(True, 0.5, torch.bfloat16), (True, 1.4, torch.float32), (False, 0.5, torch.float32)],
)
def test_auto_is_bf16_where_the_cpu_has_it_and_is_quicker_in_it(monkeypatch, has, bf16, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has})
    monkeypatch.setattr(training, "_seconds", lambda dtype: bf16 if dtype is torch.bfloat16 else 1.0)
    assert choose_dtype("auto", CPU) is expected


def test_a_resumed_run_keeps_its_precision():
    first, second = Quadratic(), Quadratic()
    began, resumed = start(first, precision="bf16"), start(second, precision="fp32")
    resumed.restore(began.state())
    assert resumed.dtype is torch.bfloat16
    again = start(Quadratic(), precision="bf16")
    again.restore(start(Quadratic(), precision="fp32").state())
    assert again.dtype is torch.float32


def test_all_processes_take_the_choice_of_the_first(monkeypatch):
    monkeypatch.setattr(training, "choose_dtype", lambda precision, device: torch.bfloat16)
    sent = {0: torch.float32}
    monkeypatch.setattr(training.distributed, "broadcast_object_list", lambda held, src: held.__setitem__(0, sent[src]))
    model, config = Quadratic().model, TrainingConfig(precision="auto")
    assert begin(model, config, seed=1, device=CPU, world=World(1, 2), batches=4).dtype is torch.float32
