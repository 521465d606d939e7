"""Floor 2: the tape, and the primitives that are recorded on it.

Read `tape` first, then `primitive`.
"""
