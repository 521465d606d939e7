"""Every network by every setting: drawn, judged, and written down."""

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from .. import distributed
from ..disk import write_whole
from . import report, results
from .cells import Cell, make_all
from .drawing import Network, Setting, chunks, first_pixels
from .judging import ASKED, Court


def sweep(
    networks: Sequence[Network],
    settings: Sequence[Setting],
    court: Court,
    folder: Path,
    count: int,
    seed: int,
) -> dict:
    """Draw `count` images by each network and setting, judge them, and print a table.

    The folder gets results.json, of which the content is given back, and the page report.html.
    What is drawn and judged stays there in small files: when it is stopped, by KeyboardInterrupt,
    the same call goes on, and several processes that call it share the work; of ranks, the first
    one writes down what was found.
    """
    floor = court.floor_cell(folder / "training_images", count)
    work = [
        (network, setting, *_cells_of(network, setting, court, folder, count, seed))
        for network, setting in product(networks, settings)
    ]
    make_all([floor, *(cell for *_, drawn, figures in work for cell in (*drawn, figures))])
    found = {
        "count": count,
        "seed": seed,
        "names": list(court.names),
        "accuracy": court.accuracy,
        "floor": floor.read(),
        "rows": [
            results.with_floor(results.row(network, setting, drawn, figures.read()), floor.read())
            for network, setting, drawn, figures in work
        ],
    }
    if distributed.rank():
        return found
    print(results.terminal_table(found), results.caution(found), sep="\n")
    write_whole(folder / "results.json", json.dumps(found, indent=1).encode())
    first = [first_pixels(drawn, ASKED) for _, _, drawn, _ in work]
    page = report.page(found, first, court.training[0], folder.name)
    write_whole(folder / "report.html", page.encode())
    print(f"written: {folder / 'results.json'}, {folder / 'report.html'}")
    return found


def _cells_of(
    network: Network, setting: Setting, court: Court, folder: Path, count: int, seed: int
) -> tuple[list[Cell], Cell]:
    """The cells in which images are drawn, and the one in which they are judged."""
    stem = f"{Path(network.name).name}-{network.fingerprint}"
    place = folder / stem / setting.folder / f"seed-{seed}"
    drawn = chunks(place, network.model, setting, count, seed)
    has_labels = setting.guidance is not None
    return drawn, court.cell(place, drawn, count, has_labels)
