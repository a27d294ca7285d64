"""Makes `.venv`: the packages of constraints.txt, the torch that suits the machine, and nlpseq itself, editable.

    python3 pipelines/setup_venv.py [--dev]

Needs nothing but the standard library, and any Python from 3.8 on can read it, so that a wrong version gets a sentence.
`.venv/.runtime` (with --dev also `.dev`) is written last: without it the set-up is not finished and Make runs it again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UNFINISHED = VENV / ".unfinished"
CONSTRAINTS = ROOT / "constraints.txt"
VERSIONS = ((3, 11), (3, 12), (3, 13))  # as requires-python in pyproject.toml
OLDEST_TORCH = (2, 10)  # as dependencies in pyproject.toml
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PIP = (PYTHON, "-m", "pip", "install", "--no-input", "--disable-pip-version-check")
PROBE_TORCH = "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"
PROBE_INSTALLED = "from importlib.metadata import version; print(version('torch'))"


def say(text: str) -> None:
    """One line of news, at once also where the output is a pipe."""
    sys.stdout.write(f"setup: {text}\n")
    sys.stdout.flush()


def output(*command: object) -> str | None:
    """What the command prints, or None where it fails or does not exist."""
    try:
        done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def succeeds(*command: object) -> bool:
    """Runs the command in the open, in the repository's root."""
    return subprocess.run([str(c) for c in command], cwd=ROOT, check=False).returncode == 0


def pip(*arguments: object) -> None:
    """Installs, or stops with pip's own message and one sentence."""
    if not succeeds(*PIP, *arguments):
        sys.exit("setup: pip failed, see above; the set-up is not finished, and the next `make setup` starts it anew.")


def use_a_suitable_python() -> None:
    """Hands over to a Python of a suitable version where this one is not."""
    if sys.version_info[:2] in VERSIONS:
        return
    for major, minor in reversed(VERSIONS):
        found = output(f"python{major}.{minor}", "-c", "import sys, venv, ensurepip; print(sys.executable)")
        if found:
            os.execv(found, [found, *sys.argv])
    sys.exit(
        f"`PYTHON` must be Python 3.11, 3.12 or 3.13, but is {sys.version.split()[0]} ({sys.executable}); "
        "no other is on the path, and `make setup PYTHON=/path/to/python3.12` names one."
    )


def nvidia_gpu() -> bool:
    """Whether the machine has an NVIDIA GPU, asked without torch."""
    return Path("/dev/nvidia0").exists() or bool(output("nvidia-smi", "-L"))


def torch_to_keep() -> str | None:
    """The version of a torch with CUDA that this Python already has, or None."""
    if sys.prefix != sys.base_prefix:  # a venv made from inside a venv does not see that one's packages
        return None
    version, cuda, available = (output(sys.executable, "-c", PROBE_TORCH) or "none None False").split()
    if cuda == "None" or not (available == "True" or nvidia_gpu()):
        return None
    if tuple(int(n) for n in re.findall(r"\d+", version)[:2]) < OLDEST_TORCH:
        say(f"leaving aside torch {version} of {sys.executable}, which is too old for nlpseq")
        return None
    return version


def make_venv(*, system: bool) -> None:
    """A venv that is whole: a half-made or broken one is made anew, any other is kept and added to."""
    if VENV.exists() and not UNFINISHED.exists() and output(PYTHON, "-c", "import pip") is not None:
        UNFINISHED.touch()
        return
    shutil.rmtree(VENV, ignore_errors=True)
    VENV.mkdir()
    UNFINISHED.touch()
    say(f"making {VENV} with Python {sys.version.split()[0]}")
    if not succeeds(sys.executable, "-m", "venv", *(["--system-site-packages"] if system else []), VENV):
        sys.exit("setup: `python -m venv` failed, see above (Debian and Ubuntu have it in the package python3-venv).")


def offered(requirement: str) -> str:
    """The address of the file that pip would install, or an empty string where it finds none."""
    report = output(*PIP, "--quiet", "--dry-run", "--no-deps", "--ignore-installed", "--report", "-", requirement)
    return json.loads(report)["install"][0]["download_info"]["url"].replace("%2B", "+") if report else ""


def install_torch() -> None:
    """The pinned torch as pip offers it, unless that is several GB of CUDA packages for a machine without a GPU."""
    version = re.findall(r"^torch==(\S+)$", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)[0]
    requirement = f"torch=={version}"
    installed = output(PYTHON, "-c", PROBE_INSTALLED) or ""
    if installed.split("+")[0] == version:
        say(f"keeping torch {installed}, which is there already")
        return
    if not sys.platform.startswith("linux"):
        say(f"installing {requirement}, the usual build for {sys.platform}")
    elif nvidia_gpu():
        say(f"installing {requirement} with CUDA (several GB), because this machine has an NVIDIA GPU")
    elif (url := offered(requirement)).startswith("file:") or "+cpu" in url:
        say(f"installing {url.rsplit('/', 1)[-1]}, the build for CPUs, because no NVIDIA GPU was found")
    else:
        say(f"installing {requirement} from {CPU_INDEX}, because no NVIDIA GPU was found")
        if succeeds(*PIP, "--no-deps", "--index-url", CPU_INDEX, requirement):
            return
        say("that address cannot be reached, so pip's usual build it is: several GB")
    pip("--constraint", CONSTRAINTS, requirement)


def constraints_with(kept: str) -> Path:
    """constraints.txt for a machine that keeps its own torch."""
    say(f"keeping torch {kept} of {sys.executable}, which has CUDA")
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    path = VENV / "constraints.txt"
    path.write_text("\n".join([*(line for line in lines if not line.startswith("torch==")), f"torch=={kept}", ""]))
    return path


def main() -> None:
    """Everything, in order; the stamps last."""
    use_a_suitable_python()
    dev = "--dev" in sys.argv[1:]
    stamps = [VENV / ".runtime", *([VENV / ".dev"] if dev else [])]
    for stamp in stamps:
        stamp.unlink(missing_ok=True)
    kept = torch_to_keep()
    make_venv(system=kept is not None)
    if kept is None:
        install_torch()
    constraints = CONSTRAINTS if kept is None else constraints_with(kept)
    say("installing the other packages (a minute or two the first time)")
    # The build tools lie in the venv, so that a later set-up builds nlpseq without a network; seqeval, which the tests
    # need and which has no wheel, takes its version from setuptools-scm, and has none without it.
    pip("-qq", "--constraint", constraints, "hatchling", "editables", *(["setuptools-scm"] if dev else []))
    pip("-qq", "--constraint", constraints, "--no-build-isolation", "--editable", ".[dev]" if dev else ".[moses]")
    UNFINISHED.unlink()
    for stamp in stamps:
        stamp.touch()
    say("done")


if __name__ == "__main__":
    main()
