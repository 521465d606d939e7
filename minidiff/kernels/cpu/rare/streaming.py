"""Large results of direct convolutions are written past the caches, a row at a time.

An ordinary store first reads the line of memory that it changes. A result of some megabytes would
so be read once for nothing, and push all else out of the caches, only to leave them itself.
"""

from ..correlate import Plan

LARGE = 1 << 20  # numbers of a result


def past_caches(e, plan: Plan, memory, place, compute):
    """A row of y is made in the scratch, and copied from there."""
    line = memory + plan.line
    compute(line)
    e.call(_copy, line, place, plan.pixels * plan.y_channels)


def _copy(e, source, target, count):
    """Past the caches go vectors at aligned places; the first and the last numbers fill none."""
    head = e.min(e.to_aligned(target), count)
    e.store(e.load(source), target, e.mask_first(head))
    vectors = (count - head) // e.lanes

    @e.loop(vectors)
    def vector(k):
        at = head + k * e.lanes
        e.stream(e.load(source + at), target + at)

    done = head + vectors * e.lanes
    e.store(e.load(source + done), target + done, e.mask_first(count - done))
