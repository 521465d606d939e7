"""Floor 4: the Tensor that users hold, and what is made of gradients.

Read `tensor`, then `transforms`.
"""
