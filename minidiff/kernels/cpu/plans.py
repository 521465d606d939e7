"""Plans: what a wrapper works out for a kernel, by name.

A kernel's sizes and steps are a NamedTuple of whole numbers, each field with its comment. The
wrapper hands them over as one array, and the vector body gets the same NamedTuple back, of integers
known at run time: no number is known by its position.
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np

Plan = TypeVar("Plan", bound=NamedTuple)


def by_axis(**pairs: tuple[int, int]) -> dict[str, int]:
    """The fields `…_h` and `…_w` of a plan, from pairs (vertical, horizontal)."""
    fields = {}
    for name, (vertical, horizontal) in pairs.items():
        fields[f"{name}_h"] = vertical
        fields[f"{name}_w"] = horizontal
    return fields


def packed(plan: NamedTuple) -> np.ndarray:
    """The plan as a kernel takes it."""
    return np.array(plan, np.int64)


def unpacked(e: Any, kind: type[Plan], place: Any) -> Plan:
    """In a vector body: the plan of that kind which lies at `place`."""
    return kind(*(e.integer(place + k) for k in range(len(kind._fields))))
