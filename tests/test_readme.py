"""The README's commands, options and names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import nlpseq
from nlpseq.cli import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("pipelines/*/README.md"))]

GROUPS = "corpora|tokenize|embed|sentiment|ner|translate|lm"


def commands(page: Path) -> list[tuple[str, str, list[str]]]:
    """Every `nlpseq GROUP COMMAND … --option` that a page shows."""
    found = []
    for line in page.read_text("utf-8").replace("\\\n", " ").splitlines():
        for match in re.finditer(
            r"\bnlpseq (corpora|tokenize|embed|sentiment|ner|translate|lm) ([a-z]+)\b([^|#`]*)", line
        ):
            found.append((match[1], match[2], re.findall(r"(?<=\s)--([a-z0-9-]+)", match[3])))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_and_option_that_a_page_shows_is_there(page: Path):
    shown = commands(page)
    assert shown, f"{page} shows no command"
    for group, name, options in shown:
        command = cli.commands[group].commands.get(name)  # type: ignore[attr-defined]
        assert command is not None, f"nlpseq {group} {name}"
        known = {option.lstrip("-") for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"help"}
        assert set(options) <= known, f"nlpseq {group} {name}: {set(options) - known}"


def test_the_python_that_the_readme_shows_uses_names_that_are_there():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "nlpseq":
                assert {name.name for name in node.names} <= set(nlpseq.__all__)


def test_make_targets_that_the_readme_shows_are_there():
    rules = "".join(path.read_text() for path in (ROOT / "Makefile", *ROOT.glob("pipelines/*/rules.mk")))
    for target in set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / "README.md").read_text("utf-8"))) - {"and"}:
        assert re.search(rf"^(?:\.PHONY:.*\b{target}\b|{target}:)", rules, re.MULTILINE), target
