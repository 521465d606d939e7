"""Pictures and videos: losses, grids of images, denoising, points in the plane, schedules.

Each is written to `path`, if one is given, and given back: a notebook shows it. No window and no
global state: every picture is an object of its own, so all of this runs without a display and in
any thread. Images are (…, height, width, channels) in
[−1, 1] with 1 or 3 channels; values beyond are clipped. Folders are made as needed. Videos are
GIFs, which every browser shows. What cannot be drawn raises a ValueError.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from . import checks
from .diffusion import Schedule

if TYPE_CHECKING:
    from .pictures import Picture, Video

File = str | PathLike | None  # where a picture is written, if anywhere

GAP = 2  # pixels between the tiles of a montage
# The view of points in [−1, 1].
MOST_ZOOM = 64  # a pixel of a video as a square of so many
PLANE = {"xlim": (-1.5, 1.5), "ylim": (-1.5, 1.5), "aspect": "equal"}


def loss_curve(history: Mapping[str, Sequence[float]], path: File = None) -> "Picture":
    """The loss of each epoch, a line per entry of `history`.

    `history` is such as {"training": [...], "validation": [...]}.
    """
    from matplotlib.ticker import MaxNLocator

    picture, (axes,) = _picture(6, 4)
    for name, losses in history.items():
        axes.plot(range(1, len(losses) + 1), losses, marker=".", label=name)
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    axes.grid(alpha=0.3, which="both")
    return picture.written(path)


def grid(
    images: np.ndarray,
    path: File = None,
    row_labels: Sequence = (),
    titles: Sequence = (),
    ylabel: str = "",
) -> "Picture":
    """Images (rows, columns, height, width, channels) as a table; without rows they are one row.

    Rows have labels and columns titles, if there are any. With one row per guidance scale this is
    the picture of samples against guidance scale.
    """
    images = checks.on_host("images", images)
    images = images[None] if images.ndim == 4 else images
    tiles = montage(images)
    rows, columns, height, width = images.shape[:4]
    for name, labels, count in (("row_labels", row_labels, rows), ("titles", titles, columns)):
        if len(labels) not in (0, count):
            raise ValueError(
                f"{name}: given {len(labels)}, wanted {count} for images {images.shape}, or none"
            )
    picture, (axes,) = _picture(0.8 * columns + 0.8, 0.8 * rows * height / width + 0.4)
    axes.imshow(tiles, interpolation="nearest")
    column_centres = (np.arange(len(titles)) + 0.5) * (width + GAP) + GAP / 2
    row_centres = (np.arange(len(row_labels)) + 0.5) * (height + GAP) + GAP / 2
    axes.set_xticks(column_centres, map(str, titles))
    axes.set_yticks(row_centres, map(str, row_labels))
    axes.set_ylabel(ylabel)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    return picture.written(path)


def table(
    cells: Sequence[Sequence[np.ndarray]],
    path: File = None,
    row_labels: Sequence = (),
    titles: Sequence = (),
    captions: Sequence[Sequence[str]] = (),
) -> "Picture":
    """Rows and columns of panels; rows have labels, columns titles, and panels captions, if any.

    A cell is points (n, 2), seen in [−1.5, 1.5], or images (n, height, width, channels), of which
    as many are shown as fill a square.
    """
    if not len(cells):
        raise ValueError("cells: given no rows, wanted 1 or more")
    rows = len(cells)
    columns = len(cells[0])
    picture, panels = _picture(1.4 * columns + 1, 1.6 * rows + 0.3, columns, rows)
    for axes, (i, j) in zip(panels, np.ndindex(rows, columns)):
        cell = cells[i][j]
        if cell.ndim == 2:
            axes.scatter(cell[:, 0], cell[:, 1], s=0.3)
            axes.set(**PLANE)
        else:
            side = int(len(cell) ** 0.5)
            square = cell[: side * side].reshape(side, side, *cell.shape[1:])
            axes.imshow(montage(square))
        axes.set(xticks=[], yticks=[])
        axes.set_title(titles[j] if titles and i == 0 else "", fontsize=8)
        axes.set_ylabel(row_labels[i] if row_labels and j == 0 else "", fontsize=8)
        axes.set_xlabel(captions[i][j] if captions else "", fontsize=7)
    return picture.written(path)


def denoising_video(
    xs: Sequence[np.ndarray],
    x0s: Sequence[np.ndarray],
    path: File = None,
    zoom: int = 3,
    times: Sequence[float] = (),
) -> "Video":
    """A GIF of images while they are denoised: each frame shows x_t above and x̂₀ below.

    xs, x0s: one array (n, height, width, channels) per step, in the order of sampling; times, if
    they are given, stand above: those that `diffusion.all_steps` gives. The last frame stays for
    two seconds.
    """
    from .pictures import Video

    if len(xs) != len(x0s) or not len(xs):
        raise ValueError(
            f"xs, x0s: given {len(xs)} and {len(x0s)} steps, wanted as many of both, 1 or more"
        )
    captions = _captions(times, len(xs))
    checks.whole("zoom", zoom, 1, MOST_ZOOM)

    def frame(x: np.ndarray, x0: np.ndarray, caption: str) -> np.ndarray:
        tiles = montage(np.stack([x, x0])).repeat(zoom, axis=0).repeat(zoom, axis=1)
        return np.concatenate([_text(caption, tiles.shape[1]), tiles]) if caption else tiles

    return Video(map(frame, xs, x0s, captions)).written(path)


def points_video(
    xs: Sequence[np.ndarray],
    path: File = None,
    labels: np.ndarray | None = None,
    titles: Sequence[str] = (),
    times: Sequence[float] = (),
) -> "Video":
    """A GIF of points in the plane while they are denoised.

    xs: one array (n, 2) per step, in the order of sampling; times, if they are given, stand above.
    labels (n,), integers: a panel and a colour for each value, in ascending order, under its title;
    None: one panel. The view is [−1.5, 1.5], for data in [−1, 1]. The last frame stays for two
    seconds.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from .pictures import Video

    if not len(xs):
        raise ValueError("xs: given no steps, wanted 1 or more")
    groups = _groups(xs[-1], labels, titles)
    picture, panels = _picture(3 * len(groups), 3.2, len(groups))
    canvas = FigureCanvasAgg(picture)
    scatters = [axes.scatter([], [], s=3, color=f"C{i}") for i, axes in enumerate(panels)]
    for axes, (title, _) in zip(panels, groups):
        axes.set(**PLANE, title=title)
    canvas.draw()
    picture.set_layout_engine("none")  # the panels have their places: no frame need find them anew

    captions = _captions(times, len(xs))

    def frame(x: np.ndarray, caption: str) -> np.ndarray:
        for scatter, (_, rows) in zip(scatters, groups):
            scatter.set_offsets(x[rows])
        if caption:
            picture.suptitle(caption)
        canvas.draw()
        return np.array(canvas.buffer_rgba())[..., :3]

    return Video(map(frame, xs, captions)).written(path)


def scatter(
    points: np.ndarray,
    path: File = None,
    labels: np.ndarray | None = None,
    titles: Sequence[str] = (),
) -> "Picture":
    """Points (n, 2) in one panel.

    labels (n,), integers, colour them; titles name the labels in ascending order.
    """
    points = checks.on_host("points", points)
    picture, (axes,) = _picture(4, 4)
    for title, rows in _groups(points, labels, titles):
        axes.scatter(points[rows, 0], points[rows, 1], s=3, label=title or None)
    axes.set_aspect("equal")
    if titles:
        picture.legend(loc="outside lower center", ncols=len(titles), markerscale=4)
    return picture.written(path)


def label_counts(labels: np.ndarray, path: File = None, names: Sequence = ()) -> "Picture":
    """How often each label 1 … k occurs in `labels` (n,), as bars.

    names: what the labels 1 … k are called; their numbers, unless given.
    """
    labels = checks.on_host("labels", labels)
    names = names or range(1, labels.max(initial=0) + 1)
    if labels.size and not (labels.min() >= 1 and labels.max() <= len(names)):
        raise ValueError(
            f"labels: given values from {labels.min()} to {labels.max()}, wanted 1 to {len(names)}"
        )
    picture, (axes,) = _picture(6, 3.5)
    counts = np.bincount(labels, minlength=len(names) + 1)[1:]
    bars = axes.bar([str(name) for name in names], counts)
    axes.bar_label(bars, fontsize=8)
    axes.set(xlabel="label", ylabel="count")
    return picture.written(path)


def schedule_curves(schedules: Mapping[str, Schedule], path: File = None) -> "Picture":
    """β, ᾱ and the signal-to-noise ratio ᾱ / (1 − ᾱ) against t, a line per schedule."""
    picture, panels = _picture(12, 3.5, 3)
    for name, schedule in schedules.items():
        beta = schedule.beta[1:]
        alpha_bar = schedule.alpha_bar[1:]
        t = range(1, len(schedule.alpha_bar))
        for axes, values in zip(panels, (beta, alpha_bar, alpha_bar / (1 - alpha_bar))):
            axes.plot(t, values, label=name)
    for axes, title in zip(panels, ("beta", "alpha_bar", "signal to noise")):
        axes.set(xlabel="t", title=title)
        axes.grid(alpha=0.3)
    panels[2].set_yscale("log")
    panels[0].legend()
    return picture.written(path)


def montage(images: np.ndarray) -> np.ndarray:
    """Images (rows, columns, height, width, channels) as one picture (H, W, 3), RGB, uint8."""
    if images.ndim != 5 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images: given shape {images.shape}, wanted (rows, columns, height, width, 1 or 3)"
        )
    checks.data_set("images", images)
    rows, columns, height, width, _ = images.shape
    colours = np.rint((images.clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    tiles = np.full((rows, height + GAP, columns, width + GAP, 3), 255, np.uint8)
    tiles[:, GAP:, :, GAP:] = colours.swapaxes(1, 2)
    picture = tiles.reshape(rows * (height + GAP), columns * (width + GAP), 3)
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def _captions(times: Sequence[float], steps: int) -> list[str]:
    """What stands above each frame: its time, or nothing."""
    if len(times) not in (0, steps):
        raise ValueError(f"times: given {len(times)}, wanted {steps}, one per step, or none")
    return [f"t = {time:.4g}" for time in times] or [""] * steps


def _text(text: str, width: int) -> np.ndarray:
    """A line of text on white, (20, width, 3)."""
    from PIL import Image, ImageDraw

    line = Image.new("RGB", (width, 20), "white")
    ImageDraw.Draw(line).text((6, 2), text, fill="black", font_size=14)
    return np.asarray(line)


def _groups(
    points: np.ndarray, labels: np.ndarray | None, titles: Sequence[str]
) -> list[tuple[str, Any]]:
    """(title, rows) of each label's points, or of all points where there are no labels."""
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"points: given shape {points.shape}, wanted (n, 2)")
    if labels is None:
        return [(titles[0] if titles else "", slice(None))]
    values = np.unique(labels)
    if len(titles) not in (0, len(values)):
        raise ValueError(f"titles: given {len(titles)}, wanted {len(values)}, one per label")
    return [(title, labels == value) for title, value in zip(titles or map(str, values), values)]


def _picture(
    width: float, height: float, columns: int = 1, rows: int = 1
) -> tuple["Picture", list[Any]]:
    """A picture of this size in inches, and its panels row by row."""
    from .pictures import Picture

    picture = Picture(width, height)
    return picture, list(picture.subplots(rows, columns, squeeze=False).flat)
