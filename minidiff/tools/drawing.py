"""`graph`: what a function computed, as Graphviz text or as a picture, grouped by layer."""

import inspect
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..autograd.blas import on_the_way_back
from ..autograd.contents import initial_gradient
from ..autograd.transforms import tree_leaves
from ..kernels import to_host
from ..tape.primitive import Primitive
from ..tape.tape import Node, Value, backpropagate, gradient_edge, recording
from .debug import Place, debug_mode

if TYPE_CHECKING:
    from ..pictures import Picture

FEW = 4  # numbers that are shown one by one
LINE = 0.115  # inches, of a picture's text


class Box(NamedTuple):
    """A leaf, an operation, or all of a layer.

    Its layer; its name and shape, a line each; the boxes that it takes from; and what numbers came
    out of it, and what their gradient is, as text that may be "".
    """

    layer: str
    text: str
    sources: list[int]
    value: str = ""
    gradient: str = ""
    is_leaf: bool = False

    @property
    def lines(self) -> list[str]:
        named = (("value", self.value), ("gradient", self.gradient))
        numbers = [f"{name} {text}" for name, text in named if text]
        return [line for line in self.text.split("\n") if line] + numbers


@dataclass(repr=False)
class Graph:
    """Boxes in the order of computation. `str(graph)` is Graphviz text, `draw` a picture.

    A notebook shows the picture.
    """

    boxes: list[Box]

    def __str__(self) -> str:
        """For `dot -Tsvg`; each layer is a frame around its operations, leaves are ellipses."""
        lines = [
            "digraph {",
            '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=sans]',
        ]
        by_layer = groupby(enumerate(self.boxes), lambda numbered: numbered[1].layer)
        for number, (layer, group) in enumerate(by_layer):
            lines.append(f"  subgraph cluster_{number} {{")
            lines.append(f'    label="{layer}"; style=filled; fillcolor="#eef2f7"')
            for i, box in group:
                text = r"\n".join(box.lines)
                shape = ", shape=ellipse" if box.is_leaf else ""
                lines.append(f'    {i} [label="{text}"{shape}]')
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

        Leaves are grey. Edges over several rows are bent.
        """
        from ..pictures import Picture

        row_of = self._rows()
        boxes_in = Counter(row_of)
        width = max(boxes_in.values(), default=1)
        height = len(boxes_in)
        points = [
            (2 * row_of[:i].count(row) - boxes_in[row] + 1, -row) for i, row in enumerate(row_of)
        ]
        lines = [self._lines(box) for box in self.boxes]
        row_height = 0.5 + LINE * max(map(len, lines), default=1)  # inches

        picture = Picture(1 + 2.6 * width, row_height * (height + 0.2))
        axes = picture.add_subplot()
        axes.set(xlim=(-width, width), ylim=(0.4 - height, 0.6))
        axes.axis("off")
        parts = [box.layer.partition(".")[0] for box in self.boxes]  # of the model: a colour each
        colours = {part: f"C{i}" for i, part in enumerate(dict.fromkeys(parts))}
        halves = [(LINE * len(text) / 2 + 0.06) / row_height for text in lines]  # of boxes' heights
        for i, box in enumerate(self.boxes):
            x, y = points[i]
            for source in box.sources:
                source_x, source_y = points[source]
                bend = 0.35 if row_of[i] - row_of[source] > 1 else 0
                arrow = {
                    "arrowstyle": "-|>",
                    "color": "0.5",
                    "connectionstyle": f"arc3,rad={bend}",
                    "shrinkA": 0,
                    "shrinkB": 0,
                }
                start = source_x, source_y - halves[source]
                axes.annotate("", (x, y + halves[i]), start, arrowprops=arrow, zorder=1)
            ground = "0.92" if box.is_leaf else "white"
            frame = {"boxstyle": "round", "facecolor": ground, "edgecolor": colours[parts[i]]}
            text = "\n".join(lines[i])
            axes.text(x, y, text, ha="center", va="center", fontsize=7, bbox=frame, zorder=2)
        return picture.written(path)

    def _lines(self, box: Box) -> list[str]:
        title, *others = box.lines
        return [*wrap(f"{box.layer}: {title}" if box.layer else title, 56), *others]

    def _rows(self) -> list[int]:
        """An operation stands one row below the lowest that it takes from, a leaf above its first.

        So the parameters of a late layer stand beside that layer, and not in the first row.
        """
        rows: list[int] = []
        for box in self.boxes:
            operations = [rows[source] for source in box.sources if not self.boxes[source].is_leaf]
            has_leaves = len(operations) < len(box.sources)
            rows.append(1 + max(operations, default=0 if has_leaves else -1))
        for i, box in reversed(list(enumerate(self.boxes))):
            for source in box.sources:
                if self.boxes[source].is_leaf:
                    rows[source] = rows[i] - 1  # the first user comes last here
        return rows


def graph(f: Callable, *args: Any, depth: int | None = None) -> Graph:
    """The leaves and operations between f's arguments and parameters and what it gives, Tensors.

    Each has its shape and its numbers: up to four one by one, of more the least and the greatest.
    Where f gives one element, each has its gradient, too; no Tensor's `grad` changes.

    With `depth`, all that lies in a layer so deep is one box: 2 makes one of "down.0" and of all
    layers in it, with their parameters. Only what a gradient goes through is there: f must use
    parameters, or an argument that requires one.
    """
    with recording(True), _Numbers() as seen:
        outs = tree_leaves(f(*args))
        edges = _behind(outs)
        parents = {edge: edge.parents for edge in edges if isinstance(edge, Node)}
        gradients = _gradients(outs, seen)
    values = {out.node: _text(out.data) for out in outs if getattr(out, "node", None)}
    names = _names(f, args)

    def layer_of(edge: Any) -> str:
        """Without the model's own name; "" for what several operations are hidden in."""
        if isinstance(edge, Value):
            return names.get(id(edge), ("", ""))[0]
        return ".".join(edge.where.layer.split(".")[1:][:depth]) if edge.where else ""

    def is_deep(edge: Any) -> bool:
        layer = layer_of(edge)
        return depth is not None and layer != "" and layer.count(".") + 1 >= depth

    def box_of(edge: Any) -> Any:
        """Neighbours in the order of computation with the same key share a box.

        So no ring of boxes can be: what a box takes was computed before it.
        """
        return layer_of(edge) if is_deep(edge) else id(edge)

    shown = [edge for edge in edges if not (isinstance(edge, Value) and is_deep(edge))]
    groups = [list(group) for _, group in groupby(shown, box_of)]
    number = {edge: i for i, group in enumerate(groups) for edge in group}
    boxes = []
    for i, group in enumerate(groups):
        last = group[-1]
        shape = " × ".join(map(str, last.shape))
        gradient = _text(gradients[last]) if last in gradients else ""
        if isinstance(last, Value):
            layer, name = names.get(id(last), ("", "leaf"))
            boxes.append(Box(layer, f"{name}\n{shape}", [], _text(last.data), gradient, True))
            continue
        above = chain.from_iterable(parents[node] for node in group)
        sources = {number[parent] for parent in above if parent in number} - {i}
        counts = Counter(node.name for node in group)
        operations = [f"{n} {name}" if n > 1 else name for name, n in counts.items()]
        text = f"{', '.join(operations)}\n{shape}"
        value = values.get(last) or seen.value_of(last)
        boxes.append(Box(layer_of(last), text, sorted(sources), value, gradient))
    return Graph(boxes)


class _Numbers(debug_mode):
    """Keeps what operations gave, as text, and what gradients their nodes were given."""

    def __init__(self) -> None:
        # by what a node keeps as its place, which is kept here so that its identity stays its own
        self.values: dict[int, tuple[Place, str]] = {}
        self.gradients: dict[Node, Any] = {}
        self.thread = threading.local()

    def run(self, primitive: Primitive, kernel: Callable, arrays: list, statics: dict) -> Any:
        result = super().run(primitive, kernel, arrays, statics)
        self.thread.last = result[0] if primitive.has_aux else result
        return result

    def place(self) -> Place:
        place = super().place()
        self.values[id(place)] = place, _text(self.thread.last)
        return place

    def vjp(self, node: Node, g: Any, needs: Any) -> Any:
        self.gradients[node] = g
        return super().vjp(node, g, needs)

    def value_of(self, node: Node) -> str:
        _, text = self.values.get(id(node.where), (None, ""))
        return text


def _gradients(outs: list, seen: _Numbers) -> dict[Any, Any]:
    """Of all nodes and leaves behind an out of one element; none otherwise."""
    if len(outs) != 1 or gradient_edge(outs[0]) is None or outs[0].size != 1:
        return {}
    with on_the_way_back():
        leaves = backpropagate(outs[0], initial_gradient(outs[0], None))
    return leaves | seen.gradients


def _behind(outs: list) -> list[Any]:
    """The nodes that lead to these values, in the order of computation.

    Each leaf stands before the first node that takes from it.
    """
    stack = [gradient_edge(out) for out in outs]
    nodes = set[Node]()
    while stack:
        edge = stack.pop()
        if isinstance(edge, Node) and edge not in nodes:
            nodes.add(edge)
            stack.extend(edge.parents)
    edges: dict[Any, None] = {}
    for node in sorted(nodes, key=attrgetter("order")):
        edges |= dict.fromkeys(parent for parent in node.parents if isinstance(parent, Value))
        edges[node] = None
    return list(edges)


def _names(f: Callable, args: tuple) -> dict[int, tuple[str, str]]:
    """(layer, name) of the Tensors that f is given, has as parameters, or knows by a name."""
    names: dict[int, tuple[str, str]] = {}
    for name, thing in _known(f, args):
        if hasattr(thing, "named_parameters"):
            for path, parameter in thing.named_parameters():
                layer, _, last = path.rpartition(".")
                names.setdefault(id(parameter), (layer, last))
        for leaf in tree_leaves(thing):
            if isinstance(leaf, Value):
                names.setdefault(id(leaf), ("", name))
    return names


def _known(f: Any, args: tuple) -> Iterator[tuple[str, Any]]:
    yield "", f
    try:
        yield from inspect.signature(f).bind(*args).arguments.items()
    except (TypeError, ValueError):  # of a function that does not tell its arguments
        yield from ((f"argument {i}", value) for i, value in enumerate(args))
    if inspect.isfunction(f):
        variables = inspect.getclosurevars(f)
        yield from variables.nonlocals.items()
        yield from variables.globals.items()


def _text(array: Any) -> str:
    """Its numbers, if they are few; else "least … greatest"."""
    array = to_host(array)
    if array.size <= FEW:
        return ", ".join(f"{number:.3g}" for number in np.ravel(array))
    least = array.min()
    greatest = array.max()
    if least == greatest:
        return f"all {least:.3g}"
    return f"{least:.3g} … {greatest:.3g}"
