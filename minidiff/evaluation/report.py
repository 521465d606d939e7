"""The report: one page of HTML that holds its pictures and asks for nothing else."""

import base64
import html
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from .. import plot
from ..data.scaling import from_pixels
from .results import agreement, caution, guidance_of, multiples, percent, sampler_of, times_floor

ROWS_OF_A_GRID = 5
MOST_COLUMNS = 20  # of a grid; with more classes it has ten
ZOOM = 2  # a pixel of an image is 2 × 2 in the page's pictures


def page(results: dict, first: Sequence[np.ndarray], training: np.ndarray, name: str) -> str:
    """The page of these results, with the first images of each row and training images."""
    template = Template(Path(__file__).with_name("report.html").read_text(encoding="utf-8"))
    rows = results["rows"]
    judges = list(results["accuracy"])
    names = results["names"]
    labelled = [row for row in rows if row["guidance"] is not None]
    free = [row for row in rows if row["guidance"] is None]
    return template.substitute(
        name=html.escape(name),
        count=f"{results['count']:,}",
        seed=results["seed"],
        judges=", ".join(
            f"{html.escape(judge)} (reads {percent(share)} % of the test images right)"
            for judge, share in results["accuracy"].items()
        ),
        caution=caution(results),
        curves=curves(labelled, judges),
        figures="".join(figures_table(results, judge) for judge in judges),
        by_class="".join(
            f"<h3>{judge}</h3>" + heat_table(labelled, names, judge, "by_class", red_below_all)
            for judge in judges
        ),
        shares="".join(
            f"<h3>{judge}</h3>" + heat_table(free, names, judge, "shares", red_off(1 / len(names)))
            for judge in judges
        ),
        nearest=nearest_table(rows),
        pairs="".join(nearest_pair(row, drawn, training) for row, drawn in zip(rows, first)),
        grids="".join(grid(row, names, drawn) for row, drawn in zip(rows, first)),
    )


# --- pictures ---


def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def picture_of(images: np.ndarray, caption: str, alt: str) -> str:
    """Images (rows, columns, height, width, channels) as a figure with its caption."""
    tiles = plot.montage(images).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    content = io.BytesIO()
    Image.fromarray(tiles).save(content, "PNG", optimize=True)
    return (
        f'<figure><img class="pixels" alt="{html.escape(alt)}" '
        f'src="{data_uri(content.getvalue())}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def described(row: dict) -> str:
    way = guidance_of(row) if row["guidance"] is None else f"guidance {guidance_of(row)}"
    return f"{row['network']}, {way}, {sampler_of(row)}"


def grid(row: dict, names: Sequence[str], drawn: np.ndarray) -> str:
    """The first images of a seed, as they come: a column for each class, or ten in a row."""
    columns = min(len(drawn), len(names) if len(names) <= MOST_COLUMNS else 10)
    rows = min(ROWS_OF_A_GRID, len(drawn) // columns)
    images = from_pixels(drawn[: columns * rows])
    table = images.reshape(rows, columns, *images.shape[1:])
    called = f"; from left to right: {', '.join(names)}"
    caption = described(row) + called * (row["guidance"] is not None and columns == len(names))
    return picture_of(table, caption, f"{len(images)} images drawn by {described(row)}")


def nearest_pair(row: dict, drawn: np.ndarray, training: np.ndarray) -> str:
    closest = row["nearest"]["closest"]
    above = from_pixels(drawn[[pair["drawn"] for pair in closest]])
    below = training[[pair["training"] for pair in closest]]
    distances = f"at distances {closest[0]['distance']:.2f} to {closest[-1]['distance']:.2f}"
    return picture_of(
        np.stack([above, below]),
        f"{described(row)}: {distances}",
        f"The drawn images nearest to training images, and these images, {distances}",
    )


def curves(rows: Sequence[dict], judges: Sequence[str]) -> str:
    """Agreement and FLD against guidance: a panel for each judge, a line for each way to draw."""
    lines: dict[str, list[dict]] = {}
    for row in rows:
        rule = "" if row["rule"] == "plain" else f", {row['rule']}"
        lines.setdefault(f"{row['network']}, {sampler_of(row)}{rule}", []).append(row)
    figure = Figure(figsize=(5.5, 5.5 + 0.2 * len(lines)), layout="constrained", dpi=160)
    panels = figure.subplots(2, len(judges), sharex=True, sharey="row", squeeze=False)
    for column, judge in zip(panels.T, judges):
        for name, points in lines.items():
            points = sorted(points, key=lambda row: row["guidance"])
            scales = [row["guidance"] for row in points]
            for axes, key, unit in zip(column, ("agreement", "times_floor"), (100, 1)):
                values = [unit * row["judges"][judge][key] for row in points]
                errors = [unit * row["judges"][judge][f"{key}_error"] for row in points]
                axes.errorbar(scales, values, errors, marker=".", capsize=2, label=name)
        column[0].set(title=judge, ylabel="agreement, %" if judge == judges[0] else "")
        column[1].axhline(1, color="grey", linewidth=1, linestyle=":")
        ylabel = "FLD, times the floor" if judge == judges[0] else ""
        column[1].set(xlabel="guidance", ylabel=ylabel, yscale="log")
        column[1].yaxis.set_major_formatter("{x:g}")
        column[1].yaxis.set_minor_formatter(two_and_five)
        for axes in column:
            axes.grid(alpha=0.3, which="both")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    alt = "Agreement and Fréchet LeNet distance against the guidance scale"
    return f'<figure><img class="curves" alt="{alt}" src="{data_uri(content.getvalue())}"></figure>'


def two_and_five(value: float, position: int) -> str:
    """How the ticks between powers of ten are called: 2 and 5, and the others not at all."""
    return f"{value:g}" if f"{value:e}"[0] in "25" else ""


# --- tables ---


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Cells that begin with "<td" stand as they are; the first of each line is its heading."""
    heads = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    body = "".join(
        f"<tr><th>{html.escape(first)}</th>" + "".join(map(_cell, rest)) + "</tr>"
        for first, *rest in lines
    )
    return f'<div class="wide"><table><tr>{heads}</tr>{body}</table></div>'


def _cell(content: str) -> str:
    return content if content.startswith("<td") else f"<td>{html.escape(content)}</td>"


def figures_table(results: dict, judge: str) -> str:
    head = ["", "agreement, %", "FLD", "times the floor", "at ∞ images", "kernel distance"]
    head += ["precision", "recall", "density", "coverage", "s per 1,000"]
    lines = []
    for row in results["rows"]:
        seconds = f"{row['seconds_per_1000']:.1f}"
        lines.append([described(row), *_figures(row["judges"][judge]), seconds])
    floor = results["floor"]["judges"][judge]
    said = floor | multiples(floor, floor["frechet"])
    lines.append(["training images: the floor", *_figures(said), "–"])
    return f"<h3>{judge}</h3>" + table(head, lines)


def _figures(said: dict) -> list[str]:
    return [
        agreement(said),
        with_error(said["frechet"], said["frechet_error"]),
        times_floor(said),
        f"{said['times_floor_at_infinity']:.2f}",
        with_error(said["kernel"], said["kernel_error"]),
        *(f"{said[name]:.3f}" for name in ("precision", "recall", "density", "coverage")),
    ]


def with_error(value: float, error: float) -> str:
    """Both with as many decimals as give the error two digits."""
    decimals = max(0, 1 - math.floor(math.log10(error))) if error else 3
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def heat_table(
    rows: Sequence[dict],
    names: Sequence[str],
    judge: str,
    key: str,
    red: Callable[[float], float],
) -> str:
    """A share for each class, in percent; `red` says how red its cell is, 0 to 1."""
    lines = []
    for row in rows:
        cells = [
            f'<td style="background:rgb(220 60 30 / {red(share):.2f})">{percent(share)}</td>'
            for share in row["judges"][judge][key]
        ]
        lines.append([described(row), *cells])
    return table(["", *names], lines)


def red_below_all(share: float) -> float:
    """None at 100 %, full at 90 % and below."""
    return min(1.0, 10 * (1 - share))


def red_off(even: float) -> Callable[[float], float]:
    """None at the even share, full where it is missed by as much as it is, and more."""
    return lambda share: min(1.0, abs(share - even) / even)


def nearest_table(rows: Sequence[dict]) -> str:
    head = ["", "distance to the nearest training image", "the same of test images"]
    head += ["nearer than half of the test images, %", "nearer than 99 % of them, %"]
    lines = []
    for row in rows:
        near = row["nearest"]
        distances = [f"{near['distance']:.2f}", f"{near['distance_of_test_images']:.2f}"]
        shares = [percent(near["nearer"]), percent(near["very_near"])]
        lines.append([described(row), *distances, *shares])
    return table(head, lines)
