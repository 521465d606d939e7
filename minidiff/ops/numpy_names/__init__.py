"""NumPy's names that networks seldom need: mostly a line or two of what is in the other rooms.

Nothing here is needed to understand the engine. The few lines of the table of derivatives stand in
`pointwise`; the rest is composed, so that derivatives of every order come for nothing. Arguments
are named as in NumPy; the first array is `x` where NumPy calls it `a`, `m` or `arr`.
"""
