"""`profile`: what every operation and every layer costs."""

import math
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

from ..tape.primitive import Primitive
from ..tape.tape import Node
from .debug import Observer, Place, here

# What heavy kernels compute, by result and operands; of others, one operation for each element.
FLOPS: dict[str, Callable] = {
    "conv2d": lambda out, x, w, *b: 2 * out.size * math.prod(w.shape[:3]),
    "conv2d_bias": lambda out, x, w, b: 2 * out.size * math.prod(w.shape[:3]),
    "conv2d_dx": lambda out, y, w: 2 * y.size * math.prod(w.shape[:3]),
    "conv2d_dw": lambda out, y, x: 2 * y.size * math.prod(out.shape[:3]),
    "dense": lambda out, x, w, b: 2 * out.size * w.shape[0],
    "matmul": lambda out, x, y: 2 * out.size * x.shape[-1],
    "self_attention": lambda out, qkv: 4 * out.size * qkv.shape[1],
}


class Cost(NamedTuple):
    """A row of the table: seconds, bytes read and written, floating-point operations of `calls`."""

    operation: str
    layer: str
    calls: int
    seconds: float
    bytes: int
    flops: int


class profile(Observer):  # noqa: N801
    """Count and time every operation in a block, and its derivative as "… backward":

        with profile() as p:
            loss.backward()
        print(p)           # by operation; p.table("layer") and p.table("both") are the others

    Times are of kernels and rules alone, without the tape's own work. Bytes are those of operands
    and results; a derivative is reckoned to take as many floating-point operations, for each
    operand, as the operation itself.
    """

    def __init__(self) -> None:
        self.costs: list[Cost] = []
        # What made a node: its place, kept so that its identity stays its own, and the cost.
        self.made: dict[int, tuple[Place, Cost]] = {}
        self.thread = threading.local()

    def place(self) -> Place:
        place = super().place()
        self.made[id(place)] = place, self.thread.last
        return place

    def run(self, primitive: Primitive, kernel: Callable, arrays: list, statics: dict) -> Any:
        if getattr(self.thread, "inside", False):  # a rule's own operations are part of its cost
            return super().run(primitive, kernel, arrays, statics)
        start = perf_counter()
        result = super().run(primitive, kernel, arrays, statics)
        seconds = perf_counter() - start
        out = result[0] if primitive.has_aux else result
        flops = FLOPS[primitive.name](out, *arrays) if primitive.name in FLOPS else out.size
        moved = sum(getattr(array, "nbytes", 0) for array in [*arrays, out])
        self.thread.last = Cost(primitive.name, here().layer, 1, seconds, moved, flops)
        self.costs.append(self.thread.last)
        return result

    def vjp(self, node: Node, g: Any, needs: Any) -> Any:
        self.thread.inside = True
        start = perf_counter()
        try:
            gradients = super().vjp(node, g, needs)
        finally:
            self.thread.inside = False
        seconds = perf_counter() - start
        if id(node.where) in self.made:
            _, forward = self.made[id(node.where)]
            count = sum(gradient is not None for gradient in gradients[:2])
            backward = forward._replace(
                operation=f"{node.name} backward",
                seconds=seconds,
                bytes=forward.bytes * count,
                flops=forward.flops * count,
            )
            self.costs.append(backward)
        return gradients

    def rows(self, by: str = "operation") -> list[Cost]:
        """Summed by "operation", "layer" or "both", the slowest first.

        Raises ValueError for another `by`.
        """
        if by not in ("operation", "layer", "both"):
            raise ValueError(f'by: given {by!r}, wanted "operation", "layer" or "both"')
        groups: dict[tuple, list] = {}
        for cost in self.costs:
            operation = cost.operation if by != "layer" else ""
            layer = cost.layer if by != "operation" else ""
            groups.setdefault((operation, layer), []).append(cost[2:])
        sums = (Cost(*key, *map(sum, zip(*costs))) for key, costs in groups.items())
        return sorted(sums, key=lambda row: -row.seconds)

    def table(self, by: str = "operation") -> str:
        """The rows as text: calls, milliseconds and their share, megabytes, and GFLOP/s."""
        rows = self.rows(by)
        total = sum(row.seconds for row in rows) or 1.0
        names = [" ".join(filter(None, (row.layer, row.operation))) or "(no layer)" for row in rows]
        width = max(map(len, [*names, by]))
        lines = [f"{by:<{width}} {'calls':>7} {'ms':>10} {'%':>6} {'MB':>10} {'GFLOP/s':>8}"]
        for name, row in zip(names, rows):
            share = row.seconds / total
            rate = row.flops / row.seconds / 1e9 if row.seconds else 0.0
            lines.append(
                f"{name:<{width}} {row.calls:>7} {row.seconds * 1e3:>10.3f} {share:>6.1%} "
                f"{row.bytes / 1e6:>10.2f} {rate:>8.2f}"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.table()
