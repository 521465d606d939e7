"""`graph`: what a function computed, as Graphviz text or as a picture, grouped by layer."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

from ..autograd.transforms import tree_leaves
from ..tape.tape import Node, gradient_edge, recording
from .debug import debug_mode

if TYPE_CHECKING:
    from ..pictures import Picture


class Box(NamedTuple):
    """One operation, or all of a layer: its layer, its text, and the boxes that it takes from."""

    layer: str
    text: str
    sources: list[int]


@dataclass(repr=False)
class Graph:
    """Boxes in the order of computation. `str(graph)` is Graphviz text, `draw` a picture.

    A notebook shows the picture.
    """

    boxes: list[Box]

    def __str__(self) -> str:
        """For `dot -Tsvg`; each layer is a frame around its operations."""
        lines = [
            "digraph {",
            '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=sans]',
        ]
        by_layer = groupby(enumerate(self.boxes), lambda numbered: numbered[1].layer)
        for number, (layer, group) in enumerate(by_layer):
            lines.append(f"  subgraph cluster_{number} {{")
            lines.append(f'    label="{layer}"; style=filled; fillcolor="#eef2f7"')
            for i, box in group:
                text = box.text.replace("\n", r"\n")
                lines.append(f'    {i} [label="{text}"]')
            lines.append("  }")
        for i, box in enumerate(self.boxes):
            lines += [f"  {source} -> {i}" for source in box.sources]
        return "\n".join([*lines, "}"])

    def __repr__(self) -> str:
        return f"Graph({len(self.boxes)} boxes)"

    def _repr_png_(self) -> bytes:
        return self.draw()._repr_png_()

    def draw(self, path: Any = None) -> "Picture":
        """A matplotlib figure, from top to bottom, and saved if there is a path.

        A box stands one row below the lowest of its sources; edges over several rows are bent.
        """
        from ..pictures import Picture

        row_of: list[int] = []
        for box in self.boxes:
            row_of.append(1 + max((row_of[source] for source in box.sources), default=-1))
        boxes_in = Counter(row_of)
        width = max(boxes_in.values(), default=1)
        height = len(boxes_in)
        points = [
            (2 * row_of[:i].count(row) - boxes_in[row] + 1, -row) for i, row in enumerate(row_of)
        ]

        picture = Picture(3 + 2.6 * width, 1 + 0.7 * height)
        axes = picture.add_subplot()
        axes.set(xlim=(-width, width), ylim=(-height, 1))
        axes.axis("off")
        parts = [box.layer.partition(".")[0] for box in self.boxes]  # of the model: a colour each
        colours = {part: f"C{i}" for i, part in enumerate(dict.fromkeys(parts))}
        for i, box in enumerate(self.boxes):
            for source in box.sources:
                bend = 0.35 if row_of[i] - row_of[source] > 1 else 0
                arrow = {
                    "arrowstyle": "-|>",
                    "color": "0.5",
                    "connectionstyle": f"arc3,rad={bend}",
                    "shrinkB": 16,
                }
                axes.annotate("", points[i], points[source], arrowprops=arrow, zorder=1)
            title = f"{box.layer}: {box.text}" if box.layer else box.text
            text = "\n".join(line for text in title.split("\n") for line in wrap(text, 56))
            frame = {"boxstyle": "round", "facecolor": "white", "edgecolor": colours[parts[i]]}
            axes.text(*points[i], text, ha="center", va="center", fontsize=7, bbox=frame, zorder=2)
        return picture.written(path)


def graph(f: Callable, *args: Any, depth: int | None = None) -> Graph:
    """The operations between f's arguments and parameters and what it gives, Tensors.

    With `depth`, all that lies in a layer so deep is one box: 2 makes one of "down.0" and of all
    layers in it. Only operations that a gradient goes through are there: f must use parameters, or
    an argument that requires one.
    """
    with recording(True), debug_mode():
        outs = tree_leaves(f(*args))
    nodes = _nodes_behind(outs)

    def layer_of(node: Any) -> str:
        return ".".join(node.where.layer.split(".")[1:][:depth])  # without the model's own name

    def box_of(node: Any) -> Any:
        """Neighbours in the order of computation with the same key share a box.

        So no ring of boxes can be: what a box takes was computed before it.
        """
        layer = layer_of(node)
        is_deep = depth is not None and layer.count(".") + 1 >= depth
        return layer if is_deep else node.order

    groups = [list(group) for _, group in groupby(nodes, box_of)]
    number = {node: i for i, group in enumerate(groups) for node in group}
    boxes = []
    for i, group in enumerate(groups):
        parents = [parent for node in group for parent in node.parents]
        sources = {number[parent] for parent in parents if parent in number} - {i}
        counts = Counter(node.name for node in group)
        names = [f"{n} {name}" if n > 1 else name for name, n in counts.items()]
        shape = " × ".join(map(str, group[-1].shape))
        boxes.append(Box(layer_of(group[0]), f"{', '.join(names)}\n{shape}", sorted(sources)))
    return Graph(boxes)


def _nodes_behind(outs: list) -> list[Node]:
    """All nodes that lead to these values, in the order of computation."""
    stack = [gradient_edge(out) for out in outs]
    nodes = set[Node]()
    while stack:
        node = stack.pop()
        if isinstance(node, Node) and node not in nodes:
            nodes.add(node)
            stack.extend(node.parents)
    return sorted(nodes, key=attrgetter("order"))
