"""How often each compiled kernel ran: the proof, for tests, that it was not `generic`."""

from collections import Counter

ran: Counter[str] = Counter()
