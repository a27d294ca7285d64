"""The command line: each command is a thin shell over the function of the same name.

Results go to standard output, everything else to standard error. Nothing heavy is imported before it is used, so
that --help is instant.
"""

from __future__ import annotations

import sys

import click

import nlpseq
from nlpseq.commands.corpora import corpora
from nlpseq.commands.embed import embed
from nlpseq.commands.lm import lm
from nlpseq.commands.ner import ner
from nlpseq.commands.reports import reports
from nlpseq.commands.sentiment import sentiment
from nlpseq.commands.shared import say
from nlpseq.commands.tokenize import tokenize
from nlpseq.commands.translate import translate
from nlpseq.errors import NlpseqError, sentence

__all__ = ["main"]


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
        say(f"nlpseq: {line}")
    sys.exit(code)


def _out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch says that memory is at its end; on the CPU it has no class of error for it."""
    return type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(nlpseq.__version__, prog_name="nlpseq", message="%(prog)s %(version)s")
def cli() -> None:
    """Recurrent-network NLP in stages, from raw text to raw text."""


for group in (corpora, tokenize, embed, sentiment, ner, translate, lm):
    cli.add_command(group)
cli.add_command(reports)
