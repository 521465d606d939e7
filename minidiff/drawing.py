"""`graph`: what a function computed, as Graphviz text or as a picture, grouped by layer."""

import threading
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from textwrap import wrap
from typing import Any, NamedTuple

from .autograd.debug import Observer, Place, here
from .autograd.primitive import Primitive
from .autograd.tape import Node, origin, recording
from .autograd.transforms import leaves


class Made(NamedTuple):
    """What a node keeps as its place while its graph is taken."""

    place: Place
    result: str

    def __str__(self) -> str:
        return str(self.place)


class _Trace(Observer):
    def __init__(self) -> None:
        self.thread = threading.local()

    def run(self, primitive: Primitive, kernel: Any, arrays: list, statics: dict) -> Any:
        result = super().run(primitive, kernel, arrays, statics)
        self.thread.last = " × ".join(map(str, (result[0] if primitive.has_aux else result).shape))
        return result

    def place(self) -> Any:
        return Made(here(), self.thread.last)


class Box(NamedTuple):
    """One operation, or all of a layer: its layer, what it says, and the boxes that it takes from."""

    layer: str
    text: str
    sources: list[int]


class Graph:
    """Boxes in the order of computation. `str(graph)` is Graphviz text, `draw` a picture."""

    def __init__(self, boxes: list[Box]) -> None:
        self.boxes = boxes

    def __str__(self) -> str:
        """For `dot -Tsvg`; each layer is a frame around its operations."""
        lines = ["digraph {", '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=sans]']
        for number, (layer, group) in enumerate(groupby(enumerate(self.boxes), lambda each: each[1].layer)):
            lines.append(f'  subgraph cluster_{number} {{ label="{layer}"; style=filled; fillcolor="#eef2f7"')
            lines += [f'    {i} [label="{box.text.replace(chr(10), chr(92) + "n")}"]' for i, box in group]
            lines.append("  }")
        lines += [f"  {source} -> {i}" for i, box in enumerate(self.boxes) for source in box.sources]
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
        placed: Counter = Counter()
        at = []
        for level in rank:
            at.append(((placed[level] - (rows[level] - 1) / 2) * 2, -level))
            placed[level] += 1
        rooms = dict.fromkeys(box.layer.partition(".")[0] for box in self.boxes)
        shades = {room: f"C{i % 10}" for i, room in enumerate(rooms)}
        for i, box in enumerate(self.boxes):
            for source in box.sources:
                far = rank[i] - rank[source] > 1
                bend = {"arrowstyle": "-|>", "color": "0.5", "connectionstyle": f"arc3,rad={0.35 if far else 0}"}
                axes.annotate("", at[i], at[source], arrowprops=bend | {"shrinkB": 16}, zorder=1)
            face = {"boxstyle": "round", "facecolor": "white", "edgecolor": shades[box.layer.partition(".")[0]]}
            title = f"{box.layer}: {box.text}" if box.layer else box.text
            lines = "\n".join(line for text in title.split("\n") for line in wrap(text, 56))
            axes.text(*at[i], lines, ha="center", va="center", fontsize=7, bbox=face, zorder=2)
        if path is not None:
            figure.savefig(path)
        return figure


def graph(f: Callable, *args: Any, depth: int | None = None) -> Graph:
    """The operations between f's arguments and parameters and what it gives (a Tensor, or several).

    With `depth`, all that lies in a layer so deep is one box: 2 makes one of "down.0" and of all layers in it.
    Only operations that a gradient goes through are there: f must use parameters, or an argument that requires one.
    """
    with recording(True), _Trace():
        outs = leaves(f(*args))
    stack, seen = [origin(out) for out in outs], dict[int, Any]()
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node.order not in seen:
            seen[node.order] = node
            stack.extend(node.parents)
    nodes = [seen[order] for order in sorted(seen)]

    def layer_of(node: Any) -> str:
        path = node.where.place.layer.split(".")[1:]  # without the model's own name
        return ".".join(path[:depth])

    groups: list[list] = []
    for node in nodes:  # what follows one another in one layer is one box, so boxes never wait for each other in a ring
        deep = depth is not None and layer_of(node).count(".") + 1 >= depth
        if deep and groups and layer_of(groups[-1][-1]) == layer_of(node):
            groups[-1].append(node)
        else:
            groups.append([node])
    home = {id(node): i for i, group in enumerate(groups) for node in group}
    boxes = []
    for i, group in enumerate(groups):
        sources = {home[id(p)] for node in group for p in node.parents if id(p) in home} - {i}
        names = ", ".join(f"{n} {name}" if n > 1 else name for name, n in Counter(node.name for node in group).items())
        boxes.append(Box(layer_of(group[0]), f"{names}\n{group[-1].where.result}", sorted(sources)))
    return Graph(boxes)
