"""What made the first number that is not finite: the step, then the operation in it.

Steps are taken again from a state that was good. The state after each is looked at, and the first
step after which it is bad, or whose loss is, is taken once more in anomaly mode, which looks at
every operation. (Anomaly mode alone would not do: an infinity that comes and goes is no fault.)
"""

from collections.abc import Callable, Iterable, Sequence

from ..storage import Checkpoint
from ..tools.debug import detect_anomaly


def first_fault(
    batches: Iterable[Sequence],
    step: Callable[[Sequence], None],
    state: Callable[[], Checkpoint],
    restore: Callable[[Checkpoint], None],
) -> str | None:
    """A sentence on the first fault in these steps, None where they have none.

    `step` and `state` raise FloatingPointError.
    """
    before = state()
    for batch in batches:
        try:
            step(batch)
            after = state()
        except FloatingPointError as error:
            restore(before)
            number = before.notes["step"]
            return f"in step {number}, {_operation(step, batch, error)}"
        before = after
    return None


def _operation(step: Callable[[Sequence], None], batch: Sequence, error: FloatingPointError) -> str:
    """The operation of a step that gave the number; its update, where none did."""
    try:
        with detect_anomaly():
            step(batch)
    except FloatingPointError as found:
        return str(found)
    return f"the update by the optimiser gave {error}"
