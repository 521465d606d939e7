"""Half a vector for the output channels that are left when whole vectors are full: 24 = 16 + 8.

It takes half the time of a whole one where registers go through their units in halves (Zen 4), and
hardly more elsewhere.
"""

from .. import tiles


def fit(channels: int, lanes: int) -> bool:
    """Whether half a vector holds what is left of the channels."""
    return 0 < channels % lanes <= lanes // 2


def by_vectors_and_half(e, channels, run):
    """`tiles.by_vectors` for as many as fill whole vectors, then half a vector."""
    whole = channels // e.lanes * e.lanes
    tiles.by_vectors(e, whole, run)
    run(e.half(), 1, whole, 1)
