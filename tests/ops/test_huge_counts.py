"""A count that is a slip, 10⁹ for 10, is refused at once: nothing runs for ever or fills memory."""

import numpy as np
import pytest

import minidiff as md
from minidiff import diffusion, ops
from minidiff.diffusion import editing, losses

HUGE = 10**9
x = np.ones((4, 3), np.float32)
image = np.ones((2, 6, 6, 2), np.float32)
pooled = np.ones((2, 3, 3, 2), np.float32)
ids = np.array([0, 2])
w = np.ones((3, 3, 2, 2), np.float32)
one = (1, 1)

# the argument that the error names, and the call
CALLS = {
    "repeats": lambda: ops.repeat(x, HUGE, axis=0),
    "repeats, one for each": lambda: ops.repeat(x, [HUGE, 1, 1, 1], axis=0),
    "reps": lambda: ops.tile(x, (1, HUGE)),
    "pad_width": lambda: ops.pad(x, HUGE),
    "pad_width, edge": lambda: ops.pad(x, HUGE, mode="edge"),
    "k": lambda: ops.diag(x[0], HUGE),
    "offset": lambda: ops.make_diagonal(x, HUGE),
    "indices_or_sections": lambda: ops.array_split(x, HUGE),
    "num": lambda: ops.linspace(0.0, 1.0, HUGE),
    "num_classes": lambda: ops.one_hot(ids, HUGE),
    "output_size": lambda: ops.adaptive_avg_pool2d(image, HUGE),
    "size, nearest": lambda: ops.interpolate(image, size=HUGE),
    "size, bilinear": lambda: ops.interpolate(image, size=HUGE, mode="bilinear"),
    "scale_factor": lambda: ops.interpolate(image, scale_factor=1e9),
    "scale": lambda: ops.upsample_nearest(image, HUGE),
    "padding": lambda: ops.conv2d(image, w, padding=HUGE),
    "stride": lambda: ops.conv_transpose2d(image, w, stride=HUGE),
    "size, of a gradient": lambda: ops.max_pool2d_dx(
        pooled, np.zeros(pooled.shape, int), x_size=(6, 6), size=HUGE, stride=2
    ),
    "size, of windows": lambda: ops.windows(image, size=(HUGE, 2), stride=one),
    "conv2d_dw": lambda: ops.conv2d_dw(
        image, image, kernel=(3, 3), stride=(1, -HUGE), padding=one, dilation=one, groups=1
    ),
    "timesteps": lambda: diffusion.linear_schedule(HUGE),
    "timesteps, history": lambda: losses.ImportanceSampler(20, HUGE),
    "bins": lambda: losses.LossByTime(20, HUGE),
    "rounds": lambda: editing.repaint_path(4, 2, HUGE),
    "n": lambda: md.data.moons(HUGE, 0),
    "zoom": lambda: md.plot.denoising_video([image[..., :1]], [image[..., :1]], zoom=HUGE),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_huge_count_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name.split(',')[0]}\b.*: given .* wanted ") as error:
        CALLS[name]()
    assert "allocate" not in str(error.value)


def test_more_differences_than_elements_leave_nothing():
    """Else this test has no end."""
    assert ops.diff(x, HUGE, axis=0).shape == np.diff(x, 9, axis=0).shape == (0, 3)


def test_large_arrays_may_grow_by_what_networks_need():
    """A factor of 4 of any size is no slip; only the shape is worked out here."""
    md.checks.growth("scale", 2, md.checks.MOST_NUMBERS, 4 * md.checks.MOST_NUMBERS)
