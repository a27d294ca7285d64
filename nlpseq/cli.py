"""The command line: each command is a thin shell over the function of the same name.

Results go to standard output, everything else to standard error. Nothing heavy is imported before it is used, so
that --help is instant.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import click

import nlpseq
from nlpseq.config import Setting, configure, settings_of
from nlpseq.errors import CorpusError, Interrupted, NlpseqError, UsageError, sentence
from nlpseq.progress import shown
from nlpseq.settings import PairConfig, TokenizeConfig, TranslateConfig

__all__ = ["main"]

Command = Callable[..., None]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted."""
    try:
        cli.main(arguments, prog_name="nlpseq", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message(), 2)
    except NlpseqError as error:
        _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("Interrupted.", 130)
    except MemoryError:
        _fail(sentence("memory", "suffice", "exhausted", quote=False), 1)
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
        _fail(sentence("memory", "suffice (a smaller --batch-tokens needs less)", "exhausted", quote=False), 1)
    except UnicodeEncodeError as error:
        _fail(sentence("standard output", "take UTF-8 text", error.encoding), 1)
    except OSError as error:
        name = str(error.filename or "standard output or disk")
        _fail(sentence(name, "be usable", error.strerror or str(error), quote=False), 1)


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        _say(f"nlpseq: {line}")
    sys.exit(code)


def _out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch says that memory is at its end; on the CPU it has no class of error for it."""
    return type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)


@contextmanager
def _training() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C, and say how to go on after either where the training loop has not said it itself."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("Stopped; the same command goes on from what is saved.") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(nlpseq.__version__, prog_name="nlpseq", message="%(prog)s %(version)s")
def cli() -> None:
    """Recurrent-network NLP in stages, from raw text to raw text."""


@cli.group()
def corpora() -> None:
    """What there is to learn from."""


@cli.group()
def tokenize() -> None:
    """Text to ids and back."""


@cli.group()
def translate() -> None:
    """From one language to another: a GRU encoder-decoder."""


def _settings(cls: type) -> Callable[[Command], Command]:
    """Return a decorator that gives a command one option for each setting of a configuration, and --recipe."""

    def decorate(command: Command) -> Command:
        for item in reversed(list(settings_of(cls))):
            command = _option(item)(command)
        text = "TOML file of settings; the one that nlpseq has for the corpus when absent."
        return click.option("--recipe", metavar="FILE", help=text)(command)

    return decorate


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given; an empty text stands for the absence of a value."""
    return {name: None if value == "" else value for name, value in options.items() if value is not None}


def _option(item: Setting) -> Callable[[Command], Command]:
    name = item.name.replace("_", "-")
    flag = f"--{name}/--no-{name}" if item.kind is bool else f"--{name}"
    if item.name in ("corpus", "out"):
        return click.option(flag, item.name, default=None, help=f"{item.help}  [required]", metavar="TEXT")
    default = "absent" if item.default is None else str(item.default).lower() if item.kind is bool else item.default
    numeric = item.kind in (int, float)
    facts = f"{item.rule.removeprefix('be a ').removesuffix(', or absent')}; " if numeric else ""
    metavar = "|".join(item.choices) if item.choices else "TEXT" if item.kind is str else "N"
    kind: dict[str, Any] = {} if item.kind is bool else {"metavar": metavar}
    absence = "" if item.default is None or not item.optional else '; "" for none'
    return click.option(flag, item.name, default=None, help=f"{item.help}  [{facts}default {default}{absence}]", **kind)


def _model(command: Command) -> Command:
    return click.option("--model", required=True, metavar="DIR", help="Folder of a finished model.")(command)


def _reading(command: Command) -> Command:
    """Give a command texts as arguments or, without any, one per line on standard input."""
    size = click.option(
        "--batch-size", default=64, type=click.IntRange(1), show_default=True, help="Lines read at a time."
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
    return click.argument("texts", nargs=-1)(size(as_json(command)))


def _blocks(texts: tuple[str, ...], size: int) -> Iterator[list[str]]:
    """Yield the texts in groups, read as they are needed."""
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
        _say("One text per line; Ctrl-D ends.")
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            must = "be UTF-8 text"
            raise CorpusError(sentence(f"line {number}", must, error.reason, "standard input", quote=False)) from None


def _print(lines: Iterable[str]) -> None:
    try:
        for line in lines:
            click.echo(line)
    except BrokenPipeError:  # the reader has had enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would fail to flush
        sys.exit(0)


@corpora.command("list")
def list_corpora() -> None:
    """Print the corpora that nlpseq knows by name."""
    from nlpseq.cards import catalogue

    cards = catalogue()
    width = max(len(card.name) for card in cards)
    _print(f"{card.name:{width}}  {card.task:12}  {card.title}" for card in cards)


@corpora.command("show")
@click.argument("corpus")
@click.option("--source", metavar="COLUMN", help="Column of the source.")
@click.option("--target", metavar="COLUMN", help="Column of the target.")
@click.option("--tokenizer", metavar="DIR", help="Folder of a trained tokeniser, to print the share of [UNK].")
def show_corpus(corpus: str, source: str | None, target: str | None, tokenizer: str | None) -> None:
    """Print what a corpus holds and all that is wrong with it; exit code 2 where something must be mended."""
    from nlpseq.corpora import load_corpus
    from nlpseq.preflight import preflight, render
    from nlpseq.tokenizer import Tokenizer

    columns = [column for column in (source, target) if column] or None
    if source and target:
        from nlpseq.pairs import open_pairs

        opened, _ = open_pairs(corpus, PairConfig(source, target))  # which refuses what training would refuse
    else:
        opened = load_corpus(corpus, columns=columns)
    coverage = Tokenizer.load(tokenizer).coverage if tokenizer else None
    found = preflight(opened, columns, coverage=coverage)
    _print([render(found)])
    if found.errors:
        sys.exit(2)


@corpora.command("fetch")
@click.argument("corpus")
@click.option("--out", metavar="DIR", help="Folder of the local copies; nlpseq's cache when absent.")
def fetch_corpus(corpus: str, out: str | None) -> None:
    """Fetch a corpus from its source and keep it, verified, for offline use."""
    from nlpseq.fetch import cache_folder, fetch

    _print([str(fetch(corpus, Path(out) if out else cache_folder()))])


@tokenize.command("train")
@_settings(TokenizeConfig)
def train_tokenizer(recipe: str | None, **options: Any) -> None:
    """Learn a tokeniser from the training split of a corpus."""
    config = configure(TokenizeConfig, recipe=recipe, **_given(options))
    with _training():
        from nlpseq.stages.tokenize import train_tokenizer

        train_tokenizer(config, watch=shown(_say))


@tokenize.command("encode")
@_model
@_reading
@click.option("--pieces", is_flag=True, help="Print the units as they are written instead of their ids.")
def encode_texts(model: str, texts: tuple[str, ...], batch_size: int, *, as_json: bool, pieces: bool) -> None:
    """Print the ids of texts, separated by spaces, one text per line."""
    from nlpseq.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(model)
    for text in chain.from_iterable(_blocks(texts, batch_size)):
        encoded = tokenizer.encode_with_values(text)
        if as_json:
            values = [{"kind": v.kind, "text": v.text, "start": v.start, "end": v.end} for v in encoded.values]
            record = {"ids": encoded.ids, "tokens": tokenizer.tokens(text), "values": values}
            _print([json.dumps(record, ensure_ascii=False)])
        else:
            _print([" ".join(tokenizer.tokens(text) if pieces else map(str, encoded.ids))])


@tokenize.command("decode")
@_model
@_reading
def decode_ids(model: str, texts: tuple[str, ...], batch_size: int, as_json: bool) -> None:
    """Print the text of ids, which are numbers separated by spaces."""
    from nlpseq.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(model)
    for line in chain.from_iterable(_blocks(texts, batch_size)):
        try:
            ids = [int(word) for word in line.split()]
        except ValueError:
            raise UsageError(sentence("ids", "be whole numbers separated by spaces", line[:80])) from None
        if any(not 0 <= number < len(tokenizer) for number in ids):
            raise UsageError(sentence("ids", f"be below the size of the vocabulary, {len(tokenizer)}", line[:80]))
        text = tokenizer.decode(ids)
        _print([json.dumps({"text": text}, ensure_ascii=False) if as_json else text])


@translate.command("train")
@_settings(TranslateConfig)
def train_translator(recipe: str | None, **options: Any) -> None:
    """Learn to translate from a corpus of pairs; trains the tokeniser as well where none is given."""
    config = configure(TranslateConfig, recipe=recipe, **_given(options))
    with _training():
        from nlpseq.stages.translate import train_translator

        train_translator(config, watch=shown(_say))


@translate.command("run")
@_model
@_reading
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    help="fp32, or bf16: faster, but a translation may then depend on the sentences beside it.",
)
def run_translator(
    model: str, texts: tuple[str, ...], batch_size: int, as_json: bool, *, device: str, precision: str
) -> None:
    """Translate texts, one result per line."""
    from nlpseq.training import World, set_threads
    from nlpseq.translator import LONGEST, Translator

    translator = Translator.load(model, device=device, precision=precision)
    set_threads(None, World())
    number = 0
    for block in _blocks(texts, batch_size):
        for one in translator.translate_fully(block):
            number += 1
            if one.cut:
                _say(f"line {number}: longer than {LONGEST:,} tokens, what follows them was not read")
            if one.unused:
                _say(f"line {number}: {one.unused} numbers or links of the source are not in the translation")
            _print([json.dumps(one._asdict(), ensure_ascii=False) if as_json else one.text])


@translate.command("evaluate")
@_model
@click.option("--corpus", required=True, metavar="NAME|PATH", help="Corpus by name, or a file or folder of yours.")
@click.option("--split", default="test", show_default=True, help="Split to score; all rows of a file: all.")
@click.option("--source", metavar="COLUMN", help="Column of the source; the model's own when absent.")
@click.option("--target", metavar="COLUMN", help="Column of the target; the model's own when absent.")
@click.option("--against", metavar="DIR", help="Another translator, compared by paired bootstrap.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", metavar="DIR", help="Folder of the report; the model's own when absent.")
def evaluate_translator(
    model: str, corpus: str, split: str, *, source: str | None, target: str | None, **further: Any
) -> None:
    """Print the scores of a translator, and write report.json and report.html."""
    from nlpseq.stages.translate import evaluate_translator

    pair = PairConfig(source, target)
    report = evaluate_translator(model, corpus, split=split, pair=pair, watch=shown(_say), **further)
    for name, score in report.scores.items():
        interval = "" if score.low is None else f"  [{score.low:.2f}, {score.high:.2f}]"
        _print([f"{name:18} {score.value:7.2f}{interval}  n={score.n}  {score.signature}"])
    _print([f"{name}: {value}" for name, value in report.counts.items()])
    for metric, found in report.comparison.items():
        bounds = f"[{found['low']:.2f}, {found['high']:.2f}]  p {found['p_value']:.3f}  {found['signature']}"
        _print([f"against the other translator: {metric} difference {found['delta']:.2f}  {bounds}"])
