"""What importing nlpseq and asking for help cost: nothing heavy is imported, and every public name is there."""

import json
import subprocess
import sys

import pytest

HEAVY = [
    *("torch", "safetensors", "gensim", "datasets", "sacrebleu"),
    *("sentencepiece", "pyarrow", "matplotlib", "sacremoses"),
]
COMMANDS = [
    *("tokenize train", "tokenize encode", "tokenize decode"),
    *("embed train", "embed nearest", "embed analogy", "embed evaluate", "embed join", "embed export"),
    *("sentiment train", "sentiment predict", "sentiment evaluate"),
    *("ner train", "ner tag", "ner evaluate"),
    *("translate train", "translate run", "translate evaluate"),
    *("lm train", "lm sample", "lm evaluate"),
    *("corpora list", "corpora show", "corpora fetch"),
]
SHOW_HEAVY = f"""
def heavy():
    import sys
    return sorted(sys.modules.keys() & set({HEAVY}))
"""
# Walks the groups and commands of the command line and asks each for its help, as `nlpseq … --help` does.
ASK_EVERY_COMMAND = """
import json
import click
from click.testing import CliRunner
from nlpseq.cli import cli as group

answers = {}

def ask(command, path):
    result = CliRunner().invoke(group, [*path, "--help"], prog_name="nlpseq")
    answers[" ".join(["nlpseq", *path])] = [result.exit_code, result.output, heavy()]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            ask(command.get_command(context, name), [*path, name])

ask(group, [])
print(json.dumps(answers))
"""


def python(*arguments):
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def answers():
    return json.loads(python("-c", SHOW_HEAVY + ASK_EVERY_COMMAND))


def test_the_import_brings_nothing_heavy_and_no_name_before_its_first_use():
    program = SHOW_HEAVY + (
        "import nlpseq, json\n"
        "print(json.dumps([heavy(), sorted(vars(nlpseq).keys() & set(nlpseq.__all__)), dir(nlpseq), nlpseq.__all__]))"
    )
    imported, early, listed, public = json.loads(python("-c", program))
    assert imported == []
    assert early == ["__version__"]
    assert set(public) <= set(listed)


def test_the_check_for_heavy_packages_sees_them():
    assert python("-c", SHOW_HEAVY + "import safetensors\nprint(*heavy())").split() == ["safetensors"]


def test_every_public_name_is_there():
    import nlpseq

    missing = [name for name in nlpseq.__all__ if getattr(nlpseq, name, None) is None]
    assert missing == []
    assert sorted(nlpseq.__all__) == list(nlpseq.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    import nlpseq

    with pytest.raises(AttributeError, match="no attribute 'Translater'"):
        nlpseq.Translater  # noqa: B018


def test_help_of_every_command_answers_without_anything_heavy(answers):
    assert [command for command, (code, _, _) in answers.items() if code != 0] == []
    assert {command: heavy for command, (_, _, heavy) in answers.items() if heavy} == {}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_has_the_command_and_its_help_says_something(answers, command):
    _, text, _ = answers[f"nlpseq {command}"]
    assert text.startswith(f"Usage: nlpseq {command}")
    assert len(text.splitlines()) > 4


def test_the_module_runs_like_the_command():
    assert python("-m", "nlpseq", "--help").startswith("Usage: nlpseq")
