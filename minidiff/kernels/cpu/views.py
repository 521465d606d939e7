"""Views: arrays with axes, inside vector bodies.

A view is a place and the steps of its axes, counted in numbers, like an array's strides in NumPy.
So is its indexing, but for the ends: a body knows itself how far it goes.

    x = View.of(x, images, height, width, channels)
    x.steps                 height · width · channels, width · channels, channels, 1
    x.at(n, i, j)           the place of x[n, i, j, 0]
    x[n]                    one image: axes (height, width, channels)
    x[n, top::2, left:]     from row `top` every second one, from column `left` on
    x[..., c:]              the last axis from c on

Sizes and indices are integers of the body, or Python's, which are constants of the compiled code.
"""

from typing import Any


class View:
    """A part of an array: the place where it begins, and the step of each axis."""

    def __init__(self, place: Any, *steps: Any):
        self.place = place
        self.steps = steps

    @classmethod
    def of(cls, place: Any, *shape: Any) -> "View":
        """All of a C-contiguous array of that shape."""
        steps: list[Any] = [1]
        for size in reversed(shape[1:]):
            steps.insert(0, steps[0] * size)
        return cls(place, *steps)

    def at(self, *index: Any) -> Any:
        """The place of an element; axes that are not named are at 0."""
        place = self.place
        for i, step in zip(index, self.steps, strict=False):
            place = place + i * step
        return place

    def __getitem__(self, index: Any) -> "View":
        """A number takes that element of its axis, `start::step` every step-th from `start` on.

        An ellipsis may come first: then the others are for the last axes.
        """
        index = index if isinstance(index, tuple) else (index,)
        if index[0] is ...:
            left_alone = len(self.steps) - len(index) + 1
            index = (slice(None),) * left_alone + index[1:]
        place = self.place
        steps = []
        for part, step in zip(index, self.steps, strict=False):
            if isinstance(part, slice):
                start = 0 if part.start is None else part.start
                steps.append(step if part.step is None else step * part.step)
            else:
                start = part
            place = place + start * step
        return View(place, *steps, *self.steps[len(index) :])

    def transpose(self, *axes: int) -> "View":
        """The axes in another order."""
        return View(self.place, *(self.steps[axis] for axis in axes))


def ceil_divide(a: Any, b: Any) -> Any:
    """⌈a / b⌉ of integers, a ≥ 0."""
    return (a + (b - 1)) // b
