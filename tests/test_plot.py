"""Pictures: what is where in the file, and errors for what cannot be drawn."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minidiff import plot
from minidiff.diffusion import cosine_schedule

BLUE = (31, 119, 180)  # matplotlib's first colour
ORANGE = (255, 127, 14)  # and its second


def frames(path):
    """The frames (H, W, 3) of a GIF and their durations in milliseconds."""
    with Image.open(path) as gif:
        pictures = []
        durations = []
        for i in range(gif.n_frames):
            gif.seek(i)
            pictures.append(np.asarray(gif.convert("RGB")))
            durations.append(gif.info["duration"])
    return pictures, durations


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from([np.float32, np.float64]),
)
@settings(deadline=None, max_examples=50)
def test_montage_puts_each_image_in_its_place(rows, columns, height, width, channels, dtype):
    images = (
        np.random.default_rng(0)
        .uniform(-1.5, 1.5, (rows, columns, height, width, channels))
        .astype(dtype)
    )
    tiles = plot.montage(images)
    gap = plot.GAP
    assert tiles.dtype == np.uint8
    assert tiles.shape == (rows * (height + gap) + gap, columns * (width + gap) + gap, 3)
    for i in range(rows):
        for j in range(columns):
            top = gap + i * (height + gap)
            left = gap + j * (width + gap)
            tile = tiles[top : top + height, left : left + width]
            wanted = np.broadcast_to(np.clip((images[i, j] + 1) * 127.5, 0, 255), tile.shape)
            np.testing.assert_allclose(tile, wanted, atol=0.51)
    assert (tiles[:gap] == 255).all() and (tiles[:, -gap:] == 255).all()


@pytest.mark.parametrize(
    "images, message",
    [
        (np.zeros((2, 28, 28, 1)), r"images: given shape \(2, 28, 28, 1\), wanted \(rows, columns"),
        (np.zeros((1, 2, 28, 28, 2)), r"images: given shape \(1, 2, 28, 28, 2\)"),
        (np.full((1, 1, 2, 2, 1), np.nan), "images: given NaN or infinity in 4 of 4 values"),
    ],
)
def test_montage_refuses(images, message):
    with pytest.raises(ValueError, match=message):
        plot.montage(images)


def test_grid_shows_the_images(tmp_path):
    images = np.full((2, 3, 8, 8, 1), -1.0)
    images[1, 2] = 1
    plot.grid(
        images,
        tmp_path / "new" / "grid.png",
        row_labels=[1, 2],
        titles="abc",
        ylabel="guidance scale",
    )
    drawn = picture(tmp_path / "new" / "grid.png")
    black = (drawn == 0).all(axis=-1)
    assert 0.3 < black.mean() < 0.8
    assert black[: len(black) // 2].sum() > 1.3 * black[len(black) // 2 :].sum()


def test_grid_counts_its_labels(tmp_path):
    with pytest.raises(
        ValueError, match=r"row_labels: given 3, wanted 2 for images \(2, 3, 8, 8, 1\)"
    ):
        plot.grid(np.zeros((2, 3, 8, 8, 1)), tmp_path / "grid.png", row_labels=[1, 2, 3])


def test_denoising_video_has_x_above_and_x0_below(tmp_path):
    xs = [np.full((4, 5, 5, 1), value) for value in (-1.0, 0.0, 1.0)]
    x0s = [np.full((4, 5, 5, 1), -1.0)] * 3
    plot.denoising_video(xs, x0s, tmp_path / "video.gif", zoom=2)
    pictures, durations = frames(tmp_path / "video.gif")
    assert [frame.shape for frame in pictures] == [(2 * (2 * 7 + 2), 2 * (4 * 7 + 2), 3)] * 3
    assert durations == [80, 80, 2000]
    assert [int(frame[8, 8, 0]) for frame in pictures] == [0, 128, 255]
    assert [int(frame[22, 8, 0]) for frame in pictures] == [0, 0, 0]


def test_the_time_stands_above_each_frame(tmp_path):
    images = np.ones((3, 2, 8, 8, 1))
    plot.denoising_video(images, images, tmp_path / "bare.gif")
    plot.denoising_video(images, images, tmp_path / "video.gif", times=[99, 50.5, 0])
    (bare, *_), _ = frames(tmp_path / "bare.gif")
    pictures, _ = frames(tmp_path / "video.gif")
    lines = [picture[:20] for picture in pictures]
    for picture, line in zip(pictures, lines):
        np.testing.assert_array_equal(picture[20:], bare)
        assert line.max() == 255 and line.min() < 100  # black on white
    assert not np.array_equal(lines[0], lines[1]) and not np.array_equal(lines[1], lines[2])
    points = np.zeros((2, 5, 2))
    plot.points_video(points, tmp_path / "points.gif", times=[9, 0])
    (first, last), _ = frames(tmp_path / "points.gif")
    assert np.any(first != last)
    with pytest.raises(ValueError, match=r"times: given 2, wanted 3, one per step"):
        plot.denoising_video(images, images, times=[1, 0])
    with pytest.raises(ValueError, match=r"times: given 3, wanted 2, one per step"):
        plot.points_video(points, times=[2, 1, 0])


def test_denoising_video_wants_as_many_of_both(tmp_path):
    x = np.zeros((1, 4, 4, 1))
    with pytest.raises(ValueError, match="xs, x0s: given 2 and 1 steps, wanted as many"):
        plot.denoising_video([x, x], [x], tmp_path / "video.gif")


def test_points_video_moves_each_group_in_its_panel(tmp_path):
    """The first group comes together in its panel on the left, the second stays as it is."""
    labels = np.tile([1, 2], 200)
    start = np.random.default_rng(0).uniform(-1.4, 1.4, (400, 2)).astype(np.float32)
    end = np.where(labels[:, None] == 1, start / 20, start)
    plot.points_video([start, 0.9 * start, end], tmp_path / "points.gif", labels, ["left", "right"])
    pictures, durations = frames(tmp_path / "points.gif")
    assert len(durations) == 3 and durations[-1] == 2000
    middle = pictures[0].shape[1] / 2
    first, last = ([coloured(pictures[i], colour) for colour in (BLUE, ORANGE)] for i in (0, -1))
    for left, right in (first, last):
        assert left.max() < middle < right.min()
    assert np.ptp(first[0]) > 5 * np.ptp(last[0]), "the first group came together"
    assert np.ptp(first[1]) == np.ptp(last[1]), "the second group stayed"


def coloured(frame, colour):
    """The columns of the pixels that have a colour, or nearly."""
    return np.nonzero(np.abs(frame.astype(int) - colour).sum(axis=-1) < 60)[1]


@pytest.mark.parametrize("smooth", [True, False])
def test_a_video_uses_256_colours(tmp_path, smooth):
    """Grey is exact; colours are as near as Pillow's best palette of 256 brings them."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:24, 0:24] / 23
    waves = np.stack([np.sin(5 * x), np.cos(4 * y), np.sin(3 * (x + y))], axis=-1)
    grey = np.repeat(rng.uniform(-1, 1, (24, 24, 1)), 3, axis=-1)
    images = (waves if smooth else grey)[None].astype(np.float32)
    plot.denoising_video([images], [images], tmp_path / "video.gif", zoom=1)
    (frame,), _ = frames(tmp_path / "video.gif")
    error = np.abs(frame.astype(int) - plot.montage(np.stack([images, images])))
    assert error.max() <= (20 if smooth else 0)
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 200


def test_a_notebook_shows_pictures_without_a_path(tmp_path):
    pictures = [
        plot.grid(np.zeros((2, 4, 4, 1))),  # one row
        plot.table([[np.zeros((3, 2)), np.zeros((4, 5, 5, 1))]]),
        plot.loss_curve({"training": [1.0, 0.5]}),
        plot.scatter([[0.0, 1.0], [1.0, 2.0]]),
        plot.label_counts([1, 3]),
        plot.schedule_curves({"cosine": cosine_schedule(10)}),
    ]
    assert all(isinstance(picture, type(pictures[0])) for picture in pictures)
    for picture in pictures[:2]:  # drawing is slow
        assert picture._repr_png_()[:4] == b"\x89PNG"
    x = [np.zeros((2, 4, 4, 1))] * 2
    for video in (plot.denoising_video(x, x), plot.points_video([np.zeros((3, 2))] * 2)):
        assert "data:image/gif;base64,R0lGOD" in video._repr_html_()
        assert len(repr(video)) < 60


def test_what_is_written_is_what_the_name_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    picture = plot.scatter(np.zeros((3, 2)), "~/new/points")
    starts = {"new/points.png": b"\x89PNG", "a.pdf": b"%PDF", "b.svg": b"<?xml"}
    for name, start in starts.items():
        assert picture.written(f"~/{name}") is picture
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"path: given .*points\.txt, wanted a name that ends in"):
        picture.written("~/points.txt")
    with pytest.raises(TypeError, match="path: given int, wanted a path such as"):
        picture.written(3)
    with pytest.raises(ValueError, match=r"path: given .*, a folder, wanted the name of a file"):
        plot.points_video([np.zeros((3, 2))], tmp_path)


@pytest.mark.parametrize("labels, titles", [(None, ()), (np.array([1, 2, 3] * 5), ["a", "b", "c"])])
def test_scatter(tmp_path, labels, titles):
    points = np.random.default_rng(0).uniform(-1, 1, (15, 2)).astype(np.float32)
    plot.scatter(points, tmp_path / "scatter.png", labels, titles)
    assert len(coloured(picture(tmp_path / "scatter.png"), BLUE)) > 20


def test_bad_points(tmp_path):
    with pytest.raises(ValueError, match="xs: given no steps, wanted 1 or more"):
        plot.points_video([])
    with pytest.raises(ValueError, match="cells: given no rows, wanted 1 or more"):
        plot.table([])
    with pytest.raises(ValueError, match=r"points: given shape \(5, 3\), wanted \(n, 2\)"):
        plot.scatter(np.zeros((5, 3)), tmp_path / "scatter.png")
    with pytest.raises(ValueError, match="titles: given 3, wanted 2, one per label"):
        plot.scatter(np.zeros((2, 2)), tmp_path / "scatter.png", np.array([1, 2]), ["a", "b", "c"])


def test_label_counts_draws_a_bar_as_high_as_its_count(tmp_path):
    plot.label_counts(np.repeat([1, 2, 3], [10, 20, 40]), tmp_path / "counts.png", "abc")
    columns = coloured(picture(tmp_path / "counts.png"), BLUE)
    heights = np.bincount(columns)[np.unique(columns)]
    values, times = np.unique(heights, return_counts=True)
    low, middle, high = np.sort(values[np.argsort(times)[-3:]])
    assert middle / low == pytest.approx(2, abs=0.1) and high / low == pytest.approx(4, abs=0.2)


def test_label_counts_refuses_labels_without_a_name(tmp_path):
    with pytest.raises(ValueError, match="labels: given values from 0 to 3, wanted 1 to 3"):
        plot.label_counts(np.array([0, 3]), tmp_path / "counts.png", "abc")


def test_curves(tmp_path):
    plot.loss_curve({"training": [1.0, 0.1], "validation": [0.9]}, tmp_path / "loss.png")
    beta = np.linspace(0, 0.2, 11)
    schedule = SimpleNamespace(beta=beta, alpha_bar=np.cumprod(1 - beta))
    dark = SimpleNamespace(beta=beta, alpha_bar=np.linspace(1, 0, 11))  # alpha_bar ends in 0
    plot.schedule_curves({"one": schedule, "two": dark}, tmp_path / "schedule.png")
    for name in ("loss", "schedule"):
        drawn = picture(tmp_path / f"{name}.png")
        for colour in (BLUE, ORANGE):
            assert len(coloured(drawn, colour)) > 50


def test_matplotlib_is_imported_late_and_pyplot_never(tmp_path):
    code = (
        "import sys, minidiff.plot as plot\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"plot.loss_curve({{'training': [1.0]}}, {str(tmp_path / 'loss.png')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
