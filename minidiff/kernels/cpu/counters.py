"""How often each compiled kernel ran: the tests' proof that `generic` did not do its work."""

from collections import Counter

# Keys are kernels' names; for convolutions the way is added: "conv2d: winograd".
run_counts: Counter[str] = Counter()
