"""Draws inside the pieces of a batch, which threads compute in any order.

A Generator hands its numbers to whoever asks first. So each piece draws from a Generator of its
own, made of one draw from the shared one and of the piece's number: `piece_generator` gives it.
"""

from collections.abc import Iterable
from threading import Lock
from typing import Any

import numpy as np

from .tape import state


class Seeds:
    """One draw from each Generator that the pieces of one batch draw from, made when it is needed.

    `around` is the piece that the whole batch is inside of, if there is one.
    """

    def __init__(self, around: "Piece | None"):
        self.around = around
        self.drawn: dict[int, tuple[np.random.Generator, int]] = {}
        self.lock = Lock()

    def of(self, rng: np.random.Generator) -> int:
        """The draw from this Generator: the first piece to ask makes it, for all."""
        with self.lock:
            if id(rng) not in self.drawn:
                shared = self.around.generator(rng) if self.around else rng
                # the Generator is kept, so that no other one gets its id
                self.drawn[id(rng)] = rng, int(shared.integers(2**63))
            return self.drawn[id(rng)][1]

    def forget(self, generators: Iterable[np.random.Generator]) -> None:
        """Let these be drawn from anew."""
        for rng in generators:
            self.drawn.pop(id(rng), None)


class Piece:
    """A piece of a batch: its number, and the Generators that it draws from in place of others."""

    def __init__(self, number: int, seeds: Seeds):
        self.number = number
        self.seeds = seeds
        self.generators: dict[int, np.random.Generator] = {}

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        """The piece's own, in place of `rng`; one that is its own already, as it is."""
        own = self.generators.get(id(rng))
        if own is None:
            own = np.random.default_rng([self.seeds.of(rng), self.number])
            self.generators[id(rng)] = own
            self.generators[id(own)] = own
        return own


def piece_generator(rng: np.random.Generator) -> np.random.Generator:
    """What to draw from: `rng` itself, or inside a piece of a batch the piece's own in its place.

    Whatever draws inside a network goes through here (`ops.dropout` does), so that any number of
    threads draws the same.
    """
    piece: Any = state.piece
    return rng if piece is None else piece.generator(rng)
