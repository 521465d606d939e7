"""`graph`: what a function computed, as Graphviz text or as a picture, grouped by layer."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from textwrap import wrap
from typing import Any, NamedTuple

from ..autograd.transforms import leaves
from ..tape.tape import Node, origin, recording
from .debug import debug_mode


class Box(NamedTuple):
    """One operation, or all of a layer: its layer, what it says, and the boxes that it takes from."""

    layer: str
    text: str
    sources: list[int]


@dataclass
class Graph:
    """Boxes in the order of computation. `str(graph)` is Graphviz text, `draw` a picture."""

    boxes: list[Box]

    def __str__(self) -> str:
        """For `dot -Tsvg`; each layer is a frame around its operations."""
        lines = [
            "digraph {",
            '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=sans]',
        ]
        for number, (layer, group) in enumerate(
            groupby(enumerate(self.boxes), lambda each: each[1].layer)
        ):
            lines.append(
                f'  subgraph cluster_{number} {{ label="{layer}"; style=filled; fillcolor="#eef2f7"'
            )
            lines += [
                f'    {i} [label="{box.text.replace(chr(10), chr(92) + "n")}"]' for i, box in group
            ]
            lines.append("  }")
        lines += [
            f"  {source} -> {i}" for i, box in enumerate(self.boxes) for source in box.sources
        ]
        return "\n".join([*lines, "}"])

    def draw(self, path: Any = None) -> Any:
        """A matplotlib figure, from top to bottom, and saved if there is a path; long edges go around at the side."""
        from matplotlib.figure import Figure

        rank: list[int] = []
        for box in self.boxes:
            rank.append(1 + max((rank[source] for source in box.sources), default=-1))
        rows = Counter(rank)
        wide = max(rows.values(), default=1)
        figure = Figure(figsize=(3 + 2.6 * wide, 1 + 0.7 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.set(xlim=(-wide, wide), ylim=(-len(rows), 1))
        axes.axis("off")
        at = [(2 * rank[:i].count(level) - rows[level] + 1, -level) for i, level in enumerate(rank)]
        rooms = [box.layer.partition(".")[0] for box in self.boxes]
        shades = {room: f"C{i}" for i, room in enumerate(dict.fromkeys(rooms))}
        for i, box in enumerate(self.boxes):
            for source in box.sources:
                far = rank[i] - rank[source] > 1
                bend = {
                    "arrowstyle": "-|>",
                    "color": "0.5",
                    "connectionstyle": f"arc3,rad={0.35 if far else 0}",
                }
                axes.annotate("", at[i], at[source], arrowprops=bend | {"shrinkB": 16}, zorder=1)
            face = {"boxstyle": "round", "facecolor": "white", "edgecolor": shades[rooms[i]]}
            title = f"{box.layer}: {box.text}" if box.layer else box.text
            lines = "\n".join(line for text in title.split("\n") for line in wrap(text, 56))
            axes.text(*at[i], lines, ha="center", va="center", fontsize=7, bbox=face, zorder=2)
        if path is not None:
            figure.savefig(path)
        return figure


def graph(f: Callable, *args: Any, depth: int | None = None) -> Graph:
    """The operations between f's arguments and parameters and what it gives (a Tensor, or several).

    With `depth`, all that lies in a layer so deep is one box: 2 makes one of "down.0" and of all
    layers in it. Only operations that a gradient goes through are there: f must use parameters, or
    an argument that requires one.
    """
    with recording(True), debug_mode():
        outs = leaves(f(*args))
    stack, seen = [origin(out) for out in outs], set[Node]()
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in seen:
            seen.add(node)
            stack.extend(node.parents)

    def layer_of(node: Any) -> str:
        return ".".join(node.where.layer.split(".")[1:][:depth])  # without the model's own name

    # deep in a layer, what follows one another there is one box: no ring of boxes can be
    def room(node: Any) -> Any:
        layer = layer_of(node)
        return layer if depth is not None and layer.count(".") + 1 >= depth else node.order

    groups = [list(group) for _, group in groupby(sorted(seen, key=attrgetter("order")), room)]
    home = {node: i for i, group in enumerate(groups) for node in group}
    boxes = []
    for i, group in enumerate(groups):
        sources = {home[p] for node in group for p in node.parents if p in home} - {i}
        names = ", ".join(
            f"{n} {name}" if n > 1 else name
            for name, n in Counter(node.name for node in group).items()
        )
        result = " × ".join(map(str, group[-1].shape))
        boxes.append(Box(layer_of(group[0]), f"{names}\n{result}", sorted(sources)))
    return Graph(boxes)
