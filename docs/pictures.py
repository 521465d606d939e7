"""Draws the house, a tape, and a tape both ways: `python docs/pictures.py` writes all three."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyBboxPatch

import minidiff as md
from minidiff import ops

FOLDER = Path(__file__).parent
INK = "#1f2933"
FAINT = "#7b8794"
FORWARD = "#2563a8"
BACKWARD = "#b4432f"

# (colour, rooms) of each floor, the roof first; a room is its name and what lives there.
FLOORS = [
    (
        "#f7e3d4",
        [
            ("examples/", "what a person runs"),
            ("lessons/", "what a person reads"),
            ("commands/", "the command minidiff"),
            ("benchmarks/", "what was measured"),
        ],
    ),
    (
        "#f6e3d0",
        [
            ("command_line", "options of scripts"),
            ("recipes", "what serves well on any images"),
            ("exercises/", "mark what a reader writes"),
        ],
    ),
    (
        "#f6e9cf",
        [
            ("training/", "the loop; a run's log"),
            ("evaluation/", "how good is it?"),
            ("export/", "to other tools"),
            ("testing/", "check your operation"),
        ],
    ),
    (
        "#f3eed0",
        [
            ("storage/", "checkpoints"),
            ("distributed", "several processes, by MPI"),
            ("plot", "pictures and videos"),
        ],
    ),
    ("#ebedd0", [("diffusion/", "schedules, denoisers, samplers, guidance, losses")]),
    (
        "#e4edd2",
        [
            ("models/", "UNet, MLP, judges"),
            ("optim/", "Adam, EMA"),
            ("metrics/", "distances"),
        ],
    ),
    ("#dcedd8", [("nn/", "Module, and the layers")]),
    ("#d3ebe3", [("autograd/", "Tensor, grad, threads"), ("tools/", "debug, profile, graph")]),
    ("#d4e7ef", [("ops/", "the table of derivatives: a line for each operation")]),
    ("#d6def3", [("tape/", "how operations are recorded, and how gradients go back")]),
    (
        "#e0d9f0",
        [
            ("kernels/generic", "all in NumPy"),
            ("kernels/loops", "plain Numba loops"),
            ("kernels/cpu", "on vector registers"),
            ("kernels/cuda", "on a GPU"),
        ],
    ),
    (
        "#e9dfea",
        [
            ("data/", "digits, clothes, your own images"),
            ("checks", "what is asked of arguments"),
            ("disk", "files that are written whole"),
        ],
    ),
]


def draw_house(path: Path) -> None:
    """Floors of rooms; each imports only from the floors below."""
    figure, axes = plt.subplots(figsize=(9, 8))
    for level, (colour, rooms) in enumerate(reversed(FLOORS)):
        width = 10 / len(rooms)
        for i, (name, content) in enumerate(rooms):
            box = FancyBboxPatch(
                (i * width + 0.06, level + 0.08),
                width - 0.12,
                0.84,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor=colour,
                edgecolor=INK,
                linewidth=0.8,
            )
            axes.add_patch(box)
            middle = (i + 0.5) * width
            axes.text(
                middle, level + 0.63, name, ha="center", va="center", weight="bold", color=INK
            )
            axes.text(
                middle, level + 0.3, content, ha="center", va="center", fontsize=8.5, color=INK
            )
    arrow = {"arrowstyle": "-|>", "color": FAINT, "linewidth": 1.5}
    axes.annotate("", (10.35, 0.2), (10.35, len(FLOORS) - 0.2), arrowprops=arrow)
    axes.text(
        10.55,
        len(FLOORS) / 2,
        "imports go down",
        rotation=270,
        ha="center",
        va="center",
        color=FAINT,
    )
    axes.set(xlim=(-0.1, 10.8), ylim=(-0.05, len(FLOORS) + 0.05))
    axes.axis("off")
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def gradients(x: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient that arrives at each node of sum(exp(x) * x), asked of the engine."""
    arrived: dict[str, np.ndarray] = {}

    def noted(name: str, value: md.Tensor) -> md.Tensor:
        return md.gradient_hook(value, lambda g: arrived.update({name: g}))

    leaf = md.Tensor(x, requires_grad=True)
    exponential = noted("exp", ops.exp(leaf))
    product = noted("multiply", exponential * leaf)
    ops.sum(product).backward()
    arrived["x"] = leaf.grad
    arrived["sum"] = np.ones(())
    return arrived


def draw_tape(path: Path) -> None:
    """y = sum(exp(x) · x): the nodes as they are recorded, and the gradients on their way back."""
    x = np.array([1.0, 2.0])
    values = {"x": x, "exp": np.exp(x), "multiply": np.exp(x) * x, "sum": np.sum(np.exp(x) * x)}
    arrived = gradients(x)
    places = {"x": 0.0, "exp": 2.6, "multiply": 5.2, "sum": 7.8}
    titles = {"x": "x", "exp": "1  exp", "multiply": "2  multiply", "sum": "3  sum"}
    keeps = {
        "x": "a leaf",
        "exp": "keeps its output",
        "multiply": "keeps x and exp(x)",
        "sum": "keeps a shape",
    }
    rules = {
        "exp": "hands on g · out",
        "multiply": "hands on g · x, g · exp(x)",
        "sum": "hands on g, broadcast",
        "x": "the sum of both: x.grad",
    }

    figure, axes = plt.subplots(figsize=(9.5, 3.1))
    for name, left in places.items():
        box = FancyBboxPatch(
            (left, 0),
            1.9,
            0.9,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="#d6def3" if name != "x" else "#d5ebe0",
            edgecolor=INK,
            linewidth=0.8,
        )
        axes.add_patch(box)
        middle = left + 0.95
        axes.text(middle, 0.62, titles[name], ha="center", va="center", weight="bold", color=INK)
        axes.text(middle, 0.27, keeps[name], ha="center", va="center", fontsize=8.5, color=INK)
        axes.text(middle, 1.12, text_of(values[name]), ha="center", color=FORWARD, fontsize=9)
        axes.text(middle, -0.42, f"{text_of(arrived[name])} arrives", ha="center", color=BACKWARD)
        axes.text(
            middle, -0.8, rules[name], ha="center", color=BACKWARD, fontsize=8.5, style="italic"
        )
    for start, end in (("x", "exp"), ("exp", "multiply"), ("multiply", "sum")):
        right = places[start] + 1.9
        forward = {"arrowstyle": "-|>", "color": FORWARD, "linewidth": 1.4}
        backward = {"arrowstyle": "-|>", "color": BACKWARD, "linewidth": 1.4}
        axes.annotate("", (places[end], 0.6), (right, 0.6), arrowprops=forward)
        axes.annotate("", (right, 0.25), (places[end], 0.25), arrowprops=backward)
    bend = {"arrowstyle": "-|>", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    over = {**bend, "color": FORWARD, "connectionstyle": "arc3,rad=-0.32"}
    under = {**bend, "color": BACKWARD, "connectionstyle": "arc3,rad=-0.34"}
    axes.annotate("", (6.15, 1.42), (0.95, 1.42), arrowprops=over)
    axes.annotate("", (0.95, -0.98), (6.15, -0.98), arrowprops=under)
    axes.text(9.9, 0.75, "recorded", color=FORWARD, va="center")
    axes.text(9.9, 0.15, "walked back,\nnewest first", color=BACKWARD, va="center")
    axes.set(xlim=(-0.1, 11.4), ylim=(-2.0, 2.4))
    axes.axis("off")
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def tangents(x: np.ndarray, v: np.ndarray) -> dict[str, np.ndarray]:
    """The tangent of each step of sum(exp(x) * x) where x moves along v, asked of the engine."""
    steps = {
        "x": lambda x: x + 0.0,
        "exp": ops.exp,
        "multiply": lambda x: ops.exp(x) * x,
        "sum": lambda x: ops.sum(ops.exp(x) * x),
    }
    return {name: md.jvp(step, x, v)[1] for name, step in steps.items()}


def draw_both_ways(path: Path) -> None:
    """Tangents along the tape of y = sum(exp(x) · x), gradients back."""
    x = np.array([1.0, 2.0])
    moves = tangents(x, np.array([-1.0, 1.0]))
    arrived = gradients(x)
    along = {
        "x": "given: ẋ",
        "exp": "ẋ · out",
        "multiply": "ẋ · exp(x) + x · (its tangent)",
        "sum": "the sum of what comes",
    }
    back = {
        "x": "the sum of both",
        "exp": "g · x",
        "multiply": "g, broadcast",
        "sum": "given: g",
    }
    figure, axes = plt.subplots(figsize=(10.5, 3.2))
    for k, name in enumerate(moves):
        left = 3.0 * k
        box = FancyBboxPatch(
            (left, 0),
            1.9,
            0.9,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor="#d5ebe0" if name == "x" else "#d6def3",
            edgecolor=INK,
            linewidth=0.8,
        )
        axes.add_patch(box)
        middle = left + 0.95
        axes.text(middle, 0.45, name, ha="center", va="center", weight="bold", color=INK)
        axes.text(middle, 1.15, text_of(moves[name]), ha="center", color=FORWARD)
        axes.text(
            middle, 1.6, along[name], ha="center", color=FORWARD, fontsize=8.5, style="italic"
        )
        axes.text(middle, -0.45, text_of(arrived[name]), ha="center", color=BACKWARD)
        axes.text(
            middle, -0.85, back[name], ha="center", color=BACKWARD, fontsize=8.5, style="italic"
        )
        if left:
            forward = {"arrowstyle": "-|>", "color": FORWARD, "linewidth": 1.4}
            backward = {"arrowstyle": "-|>", "color": BACKWARD, "linewidth": 1.4}
            axes.annotate("", (left, 0.6), (left - 1.1, 0.6), arrowprops=forward)
            axes.annotate("", (left - 1.1, 0.25), (left, 0.25), arrowprops=backward)
    bend = {"arrowstyle": "-|>", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    over = {**bend, "color": FORWARD, "connectionstyle": "arc3,rad=-0.2"}
    under = {**bend, "color": BACKWARD, "connectionstyle": "arc3,rad=-0.2"}
    axes.annotate("", (6.95, 1.85), (0.95, 1.85), arrowprops=over)
    axes.annotate("", (0.95, -1.05), (6.95, -1.05), arrowprops=under)
    same = float(arrived["x"] @ moves["x"])
    meet = f"gradient · ẋ = {same:.2f}"
    axes.text(0.95, -2.05, meet, ha="center", color=INK, fontsize=9)
    axes.text(9.95, -2.05, f"g · ẏ = {float(moves['sum']):.2f}", ha="center", color=INK, fontsize=9)
    axes.text(11.2, 0.75, "forward:\ntangents", color=FORWARD, va="center")
    axes.text(11.2, 0.05, "reverse:\ngradients", color=BACKWARD, va="center")
    axes.set(xlim=(-0.4, 12.6), ylim=(-2.3, 2.7))
    axes.axis("off")
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def text_of(array: np.ndarray) -> str:
    """(2.72, 7.39), or 17.50."""
    numbers = ", ".join(f"{number:.2f}" for number in np.atleast_1d(array))
    return f"({numbers})" if np.ndim(array) else numbers


if __name__ == "__main__":
    draw_house(FOLDER / "house.png")
    draw_tape(FOLDER / "tape.png")
    draw_both_ways(FOLDER / "both_ways.png")
