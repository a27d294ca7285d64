"""All parts of the campaign, whatever one of them finds; what failed is said again at the end.

.venv/bin/python tests/campaign/run.py [--short] [--seed N]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = ("kill", "disk", "damage", "fuzz", "load")


def run(name: str) -> tuple[int, list[str]]:
    """Run a part and show its lines as they come; return its exit code and the lines that matter where it failed."""
    command = [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *sys.argv[1:]]
    lines: list[str] = []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, errors="backslashreplace", **pipes) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    return process.returncode, [line for line in lines if line.startswith("FAULT")] or lines[-15:]


def main() -> None:
    ended = {name: run(name) for name in PARTS}
    failed = [name for name, (code, _) in ended.items() if code]
    for name in failed:
        sys.stdout.write(f"campaign: {name} ended with {ended[name][0]}:\n{''.join(ended[name][1])}")
    sys.stdout.write(f"campaign: faults in {', '.join(failed) or 'no part'}\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
