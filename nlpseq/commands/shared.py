"""What the commands have in common: options out of settings, texts in, lines out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nlpseq.config import Setting, configure, settings_of
from nlpseq.errors import CorpusError, Interrupted, UsageError, sentence
from nlpseq.progress import recorded, shown

if TYPE_CHECKING:
    from nlpseq.loop import Watch
    from nlpseq.report import Report

__all__ = [
    "Command",
    "blocks",
    "given",
    "model_option",
    "plain_options",
    "print_lines",
    "print_report",
    "reading",
    "run_training",
    "say",
    "settings_hold",
    "settings_options",
    "training",
    "training_options",
    "watching",
]

Command = Callable[..., None]


@contextmanager
def training() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, and say how to go on after either where the training loop has not said it itself."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        then = "the same command goes on from the last saved state, or begins anew where there is none"
        raise Interrupted(f"Stopped; {then}.") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def say(text: str) -> None:
    """Show a message to the user, on standard error."""
    click.echo(text, err=True)


def plain_options(cls: type) -> Callable[[Command], Command]:
    """Return a decorator that gives a command one option for each setting of a configuration."""

    def decorate(command: Command) -> Command:
        for item in reversed(list(settings_of(cls))):
            command = _option(item)(command)
        return command

    return decorate


def settings_options(cls: type) -> Callable[[Command], Command]:
    """Return a decorator that gives a command one option for each setting of a configuration, and --recipe."""
    text = "TOML file of settings; the one that nlpseq has for the corpus when absent."
    recipe = click.option("--recipe", metavar="FILE", help=text)
    return lambda command: recipe(plain_options(cls)(command))


def training_options(cls: type) -> Callable[[Command], Command]:
    """Return a decorator for the `train` of a network: its settings, --check and --tensorboard."""
    check = click.option("--check", is_flag=True, help="Only check the settings: no text is read.")
    curves = click.option("--tensorboard", is_flag=True, help="Write the curves to OUT/tensorboard too.")
    return lambda command: settings_options(cls)(check(curves(command)))


def run_training(
    cls: type, home: str, recipe: str | None, *, check: bool, tensorboard: bool, options: dict[str, Any]
) -> None:
    """Do what the `train` of a network does with the options of `training_options`.

    home: the stage's function, as in `nlpseq.stages.translate:train_translator`, which is imported when it is needed.
    """
    config: Any = configure(cls, recipe=recipe, **given(options))
    if check:
        settings_hold()
        return
    module, _, name = home.partition(":")
    try:
        with training():
            train = getattr(import_module(module), name)
            train(config, watch=watching(config.run.out, tensorboard=tensorboard))
    except Interrupted as stopped:
        if config.compute.resume:
            raise
        said = str(stopped).replace("the same command goes on", "the command with --resume goes on")
        raise Interrupted(said) from None


def settings_hold() -> None:
    """Print what --check has found where it found nothing."""
    print_lines(["The settings hold; nothing was read or trained."])


def watching(out: str | None, *, tensorboard: bool) -> Watch:
    """Return what shows a training on standard error and, where it is wanted, writes its curves to OUT/tensorboard."""
    watch = shown(say)
    return recorded(watch, Path(str(out)) / "tensorboard") if tensorboard else watch


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given; an empty text stands for the absence of a value."""
    return {name: None if value == "" else value for name, value in options.items() if value is not None}


def _option(item: Setting) -> Callable[[Command], Command]:
    name = item.name.replace("_", "-")
    flag = f"--{name}/--{item.opposite or f'no-{name}'}" if item.kind is bool else f"--{name}"
    if item.name in ("corpus", "out"):
        return click.option(flag, item.name, default=None, help=f"{item.help}  [required]", metavar="TEXT")
    default = "absent" if item.default is None else str(item.default).lower() if item.kind is bool else item.default
    numeric = item.kind in (int, float)
    facts = f"{item.rule.removeprefix('be a ').removesuffix(', or absent')}; " if numeric else ""
    metavar = "|".join(item.choices) if item.choices else "TEXT" if item.kind is str else "N"
    kind: dict[str, Any] = {} if item.kind is bool else {"metavar": metavar}
    absence = "" if item.default is None or not item.optional else '; "" for none'
    return click.option(flag, item.name, default=None, help=f"{item.help}  [{facts}default {default}{absence}]", **kind)


def model_option(command: Command) -> Command:
    """Give a command --model."""
    return click.option("--model", required=True, metavar="DIR", help="Folder of a finished model.")(command)


def reading(command: Command, at_once: int = 64) -> Command:
    """Give a command texts as arguments or, without any, one per line on standard input, so many at once."""
    size = click.option(
        "--batch-size", default=at_once, type=click.IntRange(1), show_default=True, help="Lines read at a time."
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
    return click.argument("texts", nargs=-1)(size(as_json(command)))


def blocks(texts: tuple[str, ...], size: int) -> Iterator[list[str]]:
    """Yield the texts in groups, read as they are needed."""
    for text in texts:
        if os.path.isfile(text):  # Path.is_file raises where a text is too long to be a name
            say(f"{text} is a file, but is taken for a text: `< {text}` would read its lines.")
    lines = map(_utf8, texts) if texts else _lines()
    while block := list(islice(lines, size)):
        yield block


def _utf8(text: str) -> str:
    if any("\ud800" <= sign <= "\udfff" for sign in text):  # how Python shows bytes that are not UTF-8
        raise UsageError(sentence("text", "be UTF-8 text", text.encode("utf-8", "backslashreplace").decode()))
    return text


def _lines() -> Iterator[str]:
    if sys.stdin is None:
        raise UsageError(sentence("standard input", "be open where no text is given", "closed", quote=False))
    if sys.stdin.isatty():
        say("One text per line; Ctrl-D ends.")
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            found = f"not (byte 0x{line[error.start]:02x})"
            where = "standard input"
            raise CorpusError(sentence(f"line {number}", "be UTF-8 text", found, where, quote=False)) from None


def print_report(report: Report) -> None:
    """Print the scores of an evaluation, each with its interval and signature, and the counts."""
    from nlpseq.report import label

    for name, score in report.scores.items():
        digits = 4 if label(name)[1] == 1 else 2  # of shares and of percent
        interval = "" if score.low is None else f"  [{score.low:.{digits}f}, {score.high:.{digits}f}]"
        print_lines([f"{name:24} {score.value:7.{digits}f}{interval}  n={score.n}  {score.signature}"])
    print_lines(f"{name}: {value}" for name, value in report.counts.items())


def print_lines(lines: Iterable[str]) -> None:
    """Print results; a reader who has had enough, as in `| head`, ends the program in peace."""
    try:
        for line in lines:
            click.echo(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would fail to flush
        sys.exit(0)
