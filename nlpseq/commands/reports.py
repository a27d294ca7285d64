"""`nlpseq reports`: one page that links all reports."""

from __future__ import annotations

import click

from nlpseq.commands.shared import say

__all__ = ["reports"]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False))
def reports(folder: str) -> None:
    """Write FOLDER/index.html, a page that links the reports of all models below FOLDER."""
    from nlpseq.report_index import write_index

    say(f"All reports are linked on {write_index(folder)}.")
