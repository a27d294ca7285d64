"""What each choice of the Multi30k recipe is worth: the same training with one thing changed, a table and a plot.

    NLPSEQ_CORPORA=… .venv/bin/python tests/benchmarks/ablation.py [--epochs 6] [--threads N] [NAME …]

Trains what is not trained yet into build/ablation/<name> (a run that was stopped goes on), then prints the table of all
that are there and writes the plot of their validation BLEU to build/ablation/ablation.svg.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nlpseq import TranslateConfig, configure, train_translator
from nlpseq.charts import FRAME, lines
from nlpseq.progress import shown
from nlpseq.stages.translate import evaluate_translator

OUT = Path("build/ablation")
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "recipe": ("the recipe: reversed source, state at every step, 8,000 subwords", {}),
    "forward": ("forward source", {"source_order": "forward"}),
    "bidirectional": ("bidirectional encoder", {"bidirectional": True}),
    "once": ("state fed once", {"context": "once"}),
    "words": ("12,000 words", {"units": "word", "vocab_size": 12000}),
    "sampling": ("scheduled sampling up to .25", {"scheduled_sampling": 0.25}),
}
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")


def train(name: str, epochs: float, threads: int | None) -> None:
    options = {"corpus": "multi30k", "source": "en", "target": "fr", "epochs": epochs, "threads": threads}
    config = configure(TranslateConfig, **options, **RUNS[name][1], out=str(OUT / name))
    train_translator(config, watch=shown(lambda text: click.echo(text, err=True)))
    if not (OUT / name / "2017" / "report.json").exists():
        evaluate_translator(OUT / name, "multi30k", split="test_2017_flickr", out=OUT / name / "2017")


def scores(folder: Path) -> dict[str, float]:
    return {name: score["value"] for name, score in json.loads((folder / "report.json").read_text())["scores"].items()}


def curve(name: str) -> tuple[list[float], list[float]]:
    """Epochs and validation BLEU."""
    records = [json.loads(line) for line in (OUT / name / "metrics.jsonl").read_text().splitlines()]
    points = [record["validation_bleu"] for record in records if "validation_bleu" in record]
    return [float(epoch) for epoch in range(1, len(points) + 1)], points


def row(name: str) -> str:
    manifest = json.loads((OUT / name / "manifest.json").read_text())
    first, later = scores(OUT / name), scores(OUT / name / "2017")
    cells = [RUNS[name][0], f"{max(curve(name)[1]):.2f}", f"{first['bleu']:.2f}", f"{first.get('bleu_lc_tok', 0):.2f}"]
    return "| " + " | ".join([*cells, f"{later['bleu']:.2f}", f"{manifest['facts']['parameters']:,}"]) + " |"


def drawing(names: list[str]) -> str:
    """The curves as an SVG of its own."""
    series = [(RUNS[name][0], *curve(name)) for name in names]
    picture = lines(series)
    parts = [f'<line x1="{FRAME.left}" x2="{FRAME.right}" y1="{t.at:.1f}" y2="{t.at:.1f}" stroke="#d0d7de"/>'
             f'<text x="{FRAME.left - 6}" y="{t.at + 4:.1f}" text-anchor="end">{t.label}</text>'
             for t in picture.y_ticks]  # fmt: skip
    parts += [f'<text x="{t.at:.1f}" y="{FRAME.bottom + 16}" text-anchor="middle">{t.label}</text>'
              for t in picture.x_ticks]  # fmt: skip
    for place, (line, colour, (name, _, _)) in enumerate(zip(picture.lines, COLOURS, series, strict=False)):
        parts += [f'<polyline points="{run}" fill="none" stroke="{colour}" stroke-width="1.6"/>' for run in line.runs]
        parts.append(f'<text x="{FRAME.left}" y="{FRAME.bottom + 46 + 14 * place}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{FRAME.right}" y="{FRAME.bottom + 30}" text-anchor="end">epoch</text>')
    parts.append('<text x="0" y="12">validation BLEU</text>')
    size = f"0 0 {FRAME.width:.0f} {FRAME.bottom + 56 + 14 * len(series):.0f}"
    style = 'font-family="sans-serif" font-size="11" fill="#57606a"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" {style}>\n' + "\n".join(parts) + "\n</svg>\n"


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(RUNS)))
@click.option("--epochs", default=6.0, show_default=True)
@click.option("--threads", type=int)
def main(names: tuple[str, ...], epochs: float, threads: int | None) -> None:
    for name in names or RUNS:
        train(name, epochs, threads)
    there = [name for name in RUNS if (OUT / name / "2017" / "report.json").exists()]
    click.echo("| setting | validation BLEU | test_2016 cased | test_2016 lc, Moses | test_2017 cased | parameters |")
    click.echo("|---|---|---|---|---|---|")
    for name in there:
        click.echo(row(name))
    (OUT / "ablation.svg").write_text(drawing(there))


if __name__ == "__main__":
    main()
