"""The Makefile with a fake nlpseq in a copy of the repository: what runs again, and what counts as finished."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = ROOT / "pipelines" / "setup_venv.py"
FAKE = """#!/bin/sh
# Writes down its arguments; `train` makes DIR/manifest.json at its end, unless the file `fail` names its stage.
# With --check it does nothing, and fails where a setting is called nonsense.
case " $* " in *" --check "*) case " $* " in *nonsense*) exit 2;; esac; exit 0;; esac
echo "$*" >> calls
[ "$2" = train ] || exit 0
if [ -e running ]; then echo "two at once" >> calls; fi
touch running
trap 'rm -f running' EXIT
stage=$1
while [ $# -gt 0 ]; do [ "$1" = --out ] && out=$2; shift; done
mkdir -p "$out"
[ -e slow ] && sleep 0.3
grep -qs "^$stage\\$" fail && kill -9 $$
echo finished > "$out/manifest.json.new" && mv "$out/manifest.json.new" "$out/manifest.json"
[ ! -e linger ] || sleep 5
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def without_make():
    """The environment, without what a `make test` around it hands down."""
    return {k: v for k, v in os.environ.items() if k not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"}}


class Project:
    """A copy of the Makefile and the rules, without a venv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        for rules in sorted(ROOT.glob("pipelines/*/rules.mk")):
            copy = folder / rules.relative_to(ROOT)
            copy.parent.mkdir(parents=True)
            shutil.copy(rules, copy)
            (copy.parent / "recipe.toml").touch()
        fake = folder / "fake"
        fake.write_text(FAKE)
        fake.chmod(0o755)

    def make(self, *arguments: str, fails: bool = False) -> list[str]:
        """What the fake was called with, one string for each call: stage and command."""
        calls = self.folder / "calls"
        for left in (calls, self.folder / "running"):
            left.unlink(missing_ok=True)
        command = ["make", "NLPSEQ=./fake", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=without_make(), capture_output=True, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        self.printed = done.stdout
        self.lines = calls.read_text().splitlines() if calls.exists() else []
        return [" ".join(line.split()[:2]) for line in self.lines]

    def age(self) -> None:
        """Makes every file a minute older, as coarse file times would otherwise hide what is newer."""
        for path in self.folder.rglob("*"):
            times = path.stat()
            os.utime(path, (times.st_atime - 60, times.st_mtime - 60))


TOKENIZE, TRAIN, RUN = "tokenize train", "translate train", "translate run"
EVERYTHING = [TOKENIZE, TRAIN, RUN]
EMBED, NEAREST, ANALOGY = "embed train", "embed nearest", "embed analogy"
EMBEDDED = [EMBED, NEAREST, ANALOGY]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture
def finished(project):
    """A project in which `make translate` has been run."""
    assert project.make("translate") == EVERYTHING
    project.age()
    return project


def test_the_first_call_passes_the_settings_on(project):
    project.make("translate", "DEVICE=cpu", "SEED=3", "OPTIONS=--epochs 2", "THREADS=1", "TOKENIZE_OPTIONS=--units bpe")
    tokenize, train, run = project.lines
    assert tokenize == (
        "tokenize train --corpus phrasebook --source en --target fr --units bpe "
        "--out build/phrasebook/tokenize --replace"
    )
    assert train == (
        "translate train --corpus phrasebook --source en --target fr --tokenizer build/phrasebook/tokenize "
        "--out build/phrasebook/translate --replace --device cpu --threads 1 --seed 3 --epochs 2"
    )
    assert run.startswith("translate run --model build/phrasebook/translate I drink milk")


def test_the_second_call_does_nothing(finished):
    assert finished.make("translate") == []
    assert "Nothing to be done" in finished.printed
    assert finished.make("all") == EMBEDDED
    finished.age()
    assert finished.make("all") == []


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("OPTIONS=--epochs 2", [TRAIN, RUN]),
        ("SEED=2", [TRAIN, RUN]),
        ("TOKENIZE_OPTIONS=--units bpe", EVERYTHING),
        ("DEVICE=cuda", []),
        ("THREADS=1", []),
        ("PYTHON=python3.12", []),
    ],
)
def test_a_setting_makes_stale_what_depends_on_it_and_nothing_else(finished, change, again):
    assert finished.make("-n", "translate", change) == []
    assert finished.make("translate", change) == again
    finished.age()
    assert finished.make("translate", change) == []
    finished.age()
    assert finished.make("translate") == again, "the setting was taken back"


@pytest.mark.parametrize("setting", ["OPTIONS=--nonsense", "TOKENIZE_OPTIONS=--nonsense"])
def test_a_slip_in_the_options_is_told_before_anything_is_made(project, setting):
    assert project.make("translate", setting, fails=True) == []
    assert list(project.folder.rglob("manifest.json")) == []
    assert project.make("translate") == EVERYTHING
    project.age()
    assert project.make("translate", setting, fails=True) == []
    assert project.make("translate") == []


def test_quotes_and_commas_in_options_survive(finished):
    options = "OPTIONS=--note 'a, \"b\" c'"
    assert finished.make("translate", options) == [TRAIN, RUN]
    assert finished.lines[0].endswith('--note a, "b" c')
    finished.age()
    assert finished.make("translate", options) == []


@pytest.mark.parametrize(("stage", "again"), [("tokenize", EVERYTHING), ("translate", [TRAIN, RUN])])
def test_a_recipe_makes_its_stage_stale(finished, stage, again):
    (finished.folder / "pipelines" / stage / "recipe.toml").write_text("epochs = 3\n")
    assert finished.make("translate") == again


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "nlpseq/training.py"])
def test_code_and_packages_make_no_model_stale(finished, name):
    (finished.folder / name).parent.mkdir(exist_ok=True)
    (finished.folder / name).touch()
    assert finished.make("translate") == []


def test_a_stage_killed_the_first_time_is_not_finished(project):
    (project.folder / "fail").write_text("translate\n")
    assert project.make("translate", fails=True) == [TOKENIZE, TRAIN]
    project.age()
    (project.folder / "fail").unlink()
    assert project.make("translate") == [TRAIN, RUN]


def test_a_stage_killed_over_a_finished_one_keeps_that_and_runs_again(finished):
    (finished.folder / "fail").write_text("translate\n")
    assert finished.make("translate", "SEED=2", fails=True) == [TRAIN]
    assert (finished.folder / "build/phrasebook/translate/manifest.json").exists()
    finished.age()
    (finished.folder / "fail").unlink()
    assert finished.make("translate", "SEED=2") == [TRAIN, RUN]


def test_what_is_finished_survives_ctrl_c_after_it(project):
    """Make removes the target of a recipe that it interrupts; a manifest, however, is only there when it is whole."""
    (project.folder / "linger").touch()
    manifest = project.folder / "build/phrasebook/tokenize/manifest.json"
    command = ["make", "NLPSEQ=./fake", "tokenize"]
    with subprocess.Popen(command, cwd=project.folder, env=without_make(), start_new_session=True) as process:
        deadline = time.monotonic() + 10
        while not manifest.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
    assert process.returncode != 0
    assert manifest.exists()
    (project.folder / "linger").unlink()
    assert project.make("tokenize") == []


def test_corpora_and_pairs_do_not_overwrite_each_other(finished):
    assert finished.make("translate", "CORPUS=multi30k", "TARGET=de") == EVERYTHING
    assert "--out build/multi30k-en-de/translate" in finished.lines[1]
    assert finished.make("translate", "SOURCE=fr", "TARGET=en") == [TOKENIZE, TRAIN]  # no English examples for French
    assert "--out build/phrasebook-fr-en/translate" in finished.lines[1]
    finished.age()
    assert finished.make("translate") == []


def test_a_file_of_ones_own_is_a_prerequisite(project):
    mine = project.folder / "mine.v2.tsv.gz"
    mine.touch()
    assert project.make("translate", f"CORPUS={mine}") == EVERYTHING
    assert f"--corpus {mine} " in project.lines[1]
    assert "--out build/mine.v2-en-fr/translate" in project.lines[1]
    project.age()
    assert project.make("translate", f"CORPUS={mine}") == []
    mine.write_text("changed")
    assert project.make("translate", f"CORPUS={mine}") == EVERYTHING


def test_parallel_files_of_ones_own_are_prerequisites(project):
    for language in ("en", "fr"):
        (project.folder / f"mine.{language}").touch()
    assert project.make("translate", "CORPUS=./mine") == EVERYTHING
    project.age()
    assert project.make("translate", "CORPUS=./mine") == []
    (project.folder / "mine.fr").write_text("changed")
    assert project.make("translate", "CORPUS=./mine") == EVERYTHING


def test_an_embedded_corpus_is_a_prerequisite(finished):
    card = finished.folder / "corpora" / "phrasebook" / "card.toml"
    card.parent.mkdir(parents=True)
    card.touch()
    assert finished.make("translate") == EVERYTHING


def test_every_stage_has_a_corpus_of_its_own_and_one_that_is_named_is_everyones(project):
    assert project.make("all", "SEED=3", "DEVICE=cpu", "EMBED_OPTIONS=--epochs 2") == [*EMBEDDED, *EVERYTHING]
    assert project.lines[0] == (
        "embed train --corpus almanac --seed 3 --epochs 2 --out build/almanac/embed --replace --device cpu"
    )
    assert project.lines[1].startswith("embed nearest --model build/almanac/embed ")
    project.age()
    assert project.make("embed", "SEED=3", "DEVICE=cuda", "EMBED_OPTIONS=--epochs 2") == []
    assert project.make("embed", "CORPUS=wikipedia_en_2014_sample") == EMBEDDED
    assert "--corpus wikipedia_en_2014_sample --out build/wikipedia_en_2014_sample/embed " in project.lines[0]
    assert project.make("all", "CORPUS=multi30k") == [EMBED, *EVERYTHING]  # no examples for words that may be unknown
    assert "--out build/multi30k/embed " in project.lines[0]


def test_a_file_a_recipe_or_a_setting_makes_embeddings_stale(project):
    mine = project.folder / "mine.txt"
    mine.touch()
    assert project.make("embed", f"CORPUS={mine}") == [EMBED]
    for change in (mine, project.folder / "pipelines" / "embed" / "recipe.toml"):
        project.age()
        assert project.make("embed", f"CORPUS={mine}") == []
        change.write_text("changed")
        assert project.make("embed", f"CORPUS={mine}") == [EMBED]
    project.age()
    assert project.make("embed", f"CORPUS={mine}", "EMBED_OPTIONS=--nonsense", fails=True) == []
    assert project.make("embed", f"CORPUS={mine}") == []
    assert project.make("embed", f"CORPUS={mine}", "EMBED_OPTIONS=--epochs 2") == [EMBED]


def test_trainings_do_not_run_at_the_same_time(project):
    (project.folder / "slow").touch()
    rules = project.folder / "pipelines" / "other" / "rules.mk"
    rules.parent.mkdir()
    rules.write_text("all: other\nother:\n\t$(NLPSEQ) other train --out build/other\n.PHONY: other\n")
    assert sorted(project.make("-j4", "all")) == sorted([*EVERYTHING, *EMBEDDED, "other train"])


def test_help_is_the_default_and_shows_the_values(project):
    assert project.make("CORPUS=multi30k", "OPTIONS=--epochs 3") == []
    for text in ("make translate", "CORPUS=multi30k", "TARGET=fr", "OPTIONS=--epochs 3", "TOKENIZE_OPTIONS="):
        assert text in project.printed


def test_settings_in_the_environment_change_nothing(project, monkeypatch):
    monkeypatch.setenv("TARGET", "x86_64-linux")
    monkeypatch.setenv("SEED", "9")
    project.make("translate")
    assert "--target fr " in project.lines[1]
    assert "--seed" not in project.lines[1]


def test_clean_removes_the_models(finished):
    finished.make("clean")
    assert not (finished.folder / "build").exists()
    assert ".venv stays" in finished.printed


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


def test_setup_does_not_take_an_unfinished_venv_for_a_finished_one(finished):
    """Without its stamp the venv's rule runs again, and it runs the Python that was named."""
    (finished.folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "pipelines/setup_venv.py"):
        (finished.folder / name).touch()
    python = finished.folder / "python"
    python.write_text('#!/bin/sh\necho "python $*" >> calls\n')
    python.chmod(0o755)
    setup = ["python pipelines/setup_venv.py"]
    assert finished.make("setup", "PYTHON=./python") == setup
    assert finished.make("translate", "PYTHON=./python") == []  # with an nlpseq of one's own there is no need
    assert finished.make("translate", "NLPSEQ=.venv/bin/nlpseq", "PYTHON=./python") == setup


def test_constraints_name_no_build_and_no_address():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    assert all(line.count("==") == 1 and not set(line) & set("+/@: ") for line in lines), lines
