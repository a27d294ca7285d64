"""What `make setup` installs: pipelines/setup_venv.py with stand-ins for the machine and for pip."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = ROOT / "pipelines" / "setup_venv.py"


class Machine:
    """Stands for what setup_venv asks and does: answers to `output` by a word of the command, and the commands run."""

    def __init__(self, module, monkeypatch, *, gpu=False, offer="", installed="", torch="", reachable=True):
        self.ran, self.said = [], []
        report = json.dumps({"install": [{"download_info": {"url": offer}}]}) if offer else None
        answers = {"--report": report, module.PROBE_INSTALLED: installed or None, module.PROBE_TORCH: torch or None}
        monkeypatch.setattr(module, "output", lambda *c: next((answers[w] for w in c if w in answers), None))
        monkeypatch.setattr(module, "nvidia_gpu", lambda: gpu)
        monkeypatch.setattr(module, "say", self.said.append)
        monkeypatch.setattr(module, "succeeds", lambda *c: self.ran.append(c) or reachable or module.CPU_INDEX not in c)
        monkeypatch.setattr(module.sys, "platform", "linux")

    def indexes(self):
        """For each command that was run, whether it went to the index of the CPU builds."""
        return ["cpu" if any("/whl/cpu" in str(word) for word in command) else "pip" for command in self.ran]


@pytest.fixture
def setup_venv(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # the wheel takes everything below pipelines/
    spec = importlib.util.spec_from_file_location("setup_venv", SETUP)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CUDA_WHEEL = "https://example.org/torch-2.13.0-cp311-cp311-manylinux_2_28_x86_64.whl"


@pytest.mark.parametrize(
    ("machine", "indexes", "news"),
    [
        ({"offer": "file:///wheels/torch-2.13.0%2Bcpu-cp311.whl"}, ["pip"], "installing torch-2.13.0+cpu-cp311.whl"),
        ({"offer": "https://example.org/torch-2.13.0%2Bcpu-cp311.whl"}, ["pip"], "build for CPUs"),
        ({"offer": CUDA_WHEEL}, ["cpu"], "because no NVIDIA GPU was found"),
        ({"offer": CUDA_WHEEL, "reachable": False}, ["cpu", "pip"], "cannot be reached"),
        ({"offer": CUDA_WHEEL, "gpu": True}, ["pip"], "because this machine has an NVIDIA GPU"),
        ({"installed": "2.13.0+cpu"}, [], "keeping torch 2.13.0+cpu"),
        ({"installed": "2.11.0", "gpu": True}, ["pip"], "with CUDA"),
    ],
)
def test_setup_takes_the_torch_that_suits_the_machine(setup_venv, monkeypatch, machine, indexes, news):
    stand_in = Machine(setup_venv, monkeypatch, **machine)
    setup_venv.install_torch()
    assert stand_in.indexes() == indexes
    assert news in stand_in.said[-1]


@pytest.mark.parametrize(
    ("torch", "gpu", "kept"),
    [
        ("2.11.0+cu128 12.8 True", True, "2.11.0+cu128"),
        ("2.11.0+cu128 12.8 False", True, "2.11.0+cu128"),  # CUDA hidden for now
        ("2.11.0+cu128 12.8 False", False, None),
        ("2.13.0+cpu None False", True, None),
        ("2.4.1+cu121 12.1 True", True, None),
        ("", True, None),
    ],
)
def test_setup_keeps_the_machines_own_torch_with_cuda(setup_venv, monkeypatch, torch, gpu, kept):
    Machine(setup_venv, monkeypatch, torch=torch, gpu=gpu)
    monkeypatch.setattr(setup_venv.sys, "prefix", setup_venv.sys.base_prefix)
    assert setup_venv.torch_to_keep() == kept


def test_setup_says_what_failed_in_one_sentence(setup_venv, monkeypatch):
    monkeypatch.setattr(setup_venv, "succeeds", lambda *_: False)
    with pytest.raises(SystemExit, match=r"^setup: pip failed, see above; the set-up is not finished"):
        setup_venv.pip("torch")


def test_setup_refuses_a_python_that_is_too_old(setup_venv, monkeypatch):
    monkeypatch.setattr(setup_venv.sys, "version_info", (3, 10, 4))
    monkeypatch.setattr(setup_venv.sys, "version", "3.10.4 (main)")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SystemExit, match=r"^`PYTHON` must be Python 3.11, 3.12 or 3.13, but is 3.10.4 \("):
        setup_venv.use_a_suitable_python()


def test_constraints_name_no_build_and_no_address():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    assert all(line.count("==") == 1 and not set(line) & set("+/@: ") for line in lines), lines
