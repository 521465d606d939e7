"""What was found, as rows: one for each network and setting, and the lines of a table."""

from collections.abc import Sequence

import numpy as np

from .cells import Cell
from .drawing import Network, Setting
from .judging import KEPT


def row(network: Network, setting: Setting, chunks: Sequence[Cell], figures: dict) -> dict:
    """One row of the results. Seconds are those of a typical chunk: the first one compiles."""
    seconds = [drawn.seconds / len(drawn.pixels) for drawn in (chunk.read() for chunk in chunks)]
    return {
        "network": network.name,
        "fingerprint": network.fingerprint,
        "guidance": setting.guidance,
        "sampler": setting.sampler,
        "steps": setting.steps,
        "spacing": setting.spacing,
        "rule": setting.rule,
        "seconds_per_1000": 1000 * float(np.median(seconds)),
        **figures,
    }


def with_floor(row: dict, floor: dict) -> dict:
    """The row with each Fréchet distance in multiples of that of training images, too."""
    judges = {
        name: said | multiples(said, floor["judges"][name]["frechet"])
        for name, said in row["judges"].items()
    }
    return row | {"judges": judges}


def multiples(said: dict, floor: float) -> dict:
    return {
        "times_floor": said["frechet"] / floor,
        "times_floor_error": said["frechet_error"] / floor,
        "times_floor_at_infinity": said["frechet_at_infinity"] / floor,
    }


def guidance_of(row: dict) -> str:
    if row["guidance"] is None:
        return "null label"
    rule = "" if row["rule"] == "plain" else f", {row['rule']}"
    return f"{row['guidance']:g}{rule}"


def sampler_of(row: dict) -> str:
    spacing = "" if row["spacing"] == "trailing" else f" {row['spacing']}"
    return f"{row['sampler']} {row['steps']}{spacing}"


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def agreement(said: dict) -> str:
    if "agreement" not in said:
        return "–"
    return f"{100 * said['agreement']:.2f} ± {100 * said['agreement_error']:.2f}"


def times_floor(said: dict) -> str:
    return f"{said['times_floor']:.2f} ± {said['times_floor_error']:.2f}"


def caution(results: dict) -> str:
    """What must be said of small counts; nothing where as many are drawn as there is real data."""
    if results["count"] >= KEPT:
        return ""
    return (
        f"With fewer than {KEPT:,} images the distances, the floor's too, are largely those of "
        "small counts: multiples of the floor come out too well, and coverage too low."
    )


def terminal_table(results: dict) -> str:
    """What matters most; the rest is in the report."""
    judges = list(results["accuracy"])
    head = ["network", "guidance", "sampler"]
    head += [f"{what}, {name}" for what in ("agreement %", "FLD × floor") for name in judges]
    head += [f"at ∞, {judges[0]}", "coverage", "very near %", "s/1000"]
    lines = [head]
    for row in results["rows"]:
        judged = _judged([row["judges"][name] for name in judges])
        very_near = percent(row["nearest"]["very_near"])
        seconds = f"{row['seconds_per_1000']:.1f}"
        lines.append(
            [row["network"], guidance_of(row), sampler_of(row), *judged, very_near, seconds]
        )
    floor = [results["floor"]["judges"][name] for name in judges]
    judged = _judged([said | multiples(said, said["frechet"]) for said in floor])
    lines.append(["training images", "–", "–", *judged, "–", "–"])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _judged(said: Sequence[dict]) -> list[str]:
    """The cells in which judges say something; the last two are the first judge's alone."""
    first = said[0]
    return [
        *map(agreement, said),
        *map(times_floor, said),
        f"{first['times_floor_at_infinity']:.2f}",
        f"{first['coverage']:.3f}",
    ]
