"""Ways of convolutions that no network in this package has: readers may skip them.

`nn.Conv2d` reaches all of them, with `groups`, `dilation`, or channels that fill no whole vectors.
The layers that they serve are rows of `benchmarks/run.py`, where each is at least as fast as
PyTorch's.

    small_groups    groups of few channels: a vector holds several of them
    depthwise       groups of one channel: without neighbours, and strided gradients
    half_vectors    outputs that fill half a vector at the end
    dilated         a dilated convolution as plain ones, by Winograd
    streaming       large results written past the caches
"""
