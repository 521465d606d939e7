"""3,000 pictures of coloured shapes, to try own_images.py on; and whether those drawn are right.

python examples/coloured_shapes.py shapes                   a folder for each of six classes
python examples/coloured_shapes.py --check CHECKPOINT       draw by a network that learned them
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from minidiff import command_line, diffusion, recipes, storage
from minidiff.diffusion.guidance import classifier_free

SIZE = 32
FINE = 4  # drawn so many times larger, and scaled down
JITTER = 12  # of each colour, in 256 levels
COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (40, 70, 200),
    "yellow": (240, 210, 60),
    "white": (240, 240, 240),
    "black": (20, 20, 20),
}
CLASSES = (
    "red circle on white",
    "blue circle on yellow",
    "green square on white",
    "red square on black",
    "yellow triangle on blue",
    "white triangle on green",
)
FIGURES = ("circle", "square", "triangle")
# How well a figure covers what is seen, of 1; of the pictures that are written all are above 0.86.
LIKE = 0.6  # below it is nothing
WELL_FORMED = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where the pictures are written")
    parser.add_argument(
        "--count",
        type=command_line.whole(1),
        default=500,
        help="of pictures of each class (default: %(default)s)",
    )
    command_line.add_seed(parser)
    parser.add_argument("--check", metavar="CHECKPOINT", help="a network of own_images.py")
    parser.add_argument(
        "--steps",
        type=command_line.whole(1),
        default=recipes.SAMPLER["steps"],
        help="in which those are drawn (default: %(default)s)",
    )
    args = parser.parse_args()
    if (args.folder is None) == (args.check is None):
        parser.error("give a folder to write, or --check CHECKPOINT")
    if args.folder is not None:
        write(args.folder, args.count, np.random.default_rng(args.seed))
    else:
        check(storage.load(args.check), args.count, args.seed, args.steps)


def write(folder: Path, count: int, rng: np.random.Generator) -> None:
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture(name, rng).save(folder / name / f"{i:04}.png")
    print(f"written: {folder}, {len(CLASSES)} classes of {count} pictures")


def picture(name: str, rng: np.random.Generator) -> Image.Image:
    """A picture of this class: the figure anywhere, of any size, its colours a little off."""
    colour, figure, _, ground = name.split()
    radius = rng.uniform(7, 12)
    x, y = rng.uniform(radius + 1, SIZE - radius - 1, 2)
    off = rng.integers(-JITTER, JITTER + 1, (2, 3))
    paper = tuple(map(int, COLOURS[ground] + off[0]))
    ink = tuple(map(int, COLOURS[colour] + off[1]))
    image = Image.new("RGB", (SIZE * FINE, SIZE * FINE), paper)
    draw_figure(ImageDraw.Draw(image), figure, x * FINE, y * FINE, radius * FINE, ink)
    return image.resize((SIZE, SIZE), Image.Resampling.BOX)


def draw_figure(draw, figure: str, x: float, y: float, radius: float, ink) -> None:
    if figure == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    elif figure == "square":
        side = 0.85 * radius
        draw.rectangle((x - side, y - side, x + side, y + side), fill=ink)
    else:
        corners = np.array([(0, -1), (0.95, 0.75), (-0.95, 0.75)]) * radius + (x, y)
        draw.polygon([tuple(corner) for corner in corners], fill=ink)


# --- what a drawn picture shows, by its pixels alone ---


def shown_in(image: np.ndarray) -> tuple[str, float]:
    """What a picture (32, 32, 3) in [−1, 1] shows, as a class is called, and how well it is formed.

    The ground is the colour nearest to most pixels of the border. The figure is what is nearer to
    another colour, and has the shape that covers it best when it is drawn once more; how well, from
    0 to 1, is the overlap.
    """
    pixels = (image + 1) * 127.5
    inks = np.array(list(COLOURS.values()))
    nearest = np.linalg.norm(pixels[..., None, :] - inks, axis=-1).argmin(axis=-1)
    border = np.concatenate([nearest[0], nearest[-1], nearest[1:-1, 0], nearest[1:-1, -1]])
    ground = np.bincount(border).argmax()
    others = np.bincount(nearest[nearest != ground], minlength=len(inks))
    colour = others.argmax()
    towards = inks[colour] - inks[ground]
    share = ((pixels - inks[ground]) @ towards) / (towards @ towards)
    figure, covered = best_figure(share > 0.5)
    names = list(COLOURS)
    return f"{names[colour]} {figure} on {names[ground]}", covered


def best_figure(mask: np.ndarray) -> tuple[str, float]:
    """The figure that overlaps a mask best, in the mask's own box, and by how much."""
    rows, columns = np.nonzero(mask)
    if len(rows) < 20:
        return "nothing", 0.0
    overlaps = {figure: overlap(mask, figure, rows, columns) for figure in FIGURES}
    best = max(overlaps, key=overlaps.get)
    return best if overlaps[best] > LIKE else "nothing", overlaps[best]


def overlap(mask: np.ndarray, figure: str, rows: np.ndarray, columns: np.ndarray) -> float:
    """Intersection over union with the figure that fills the same box."""
    top = rows.min()
    bottom = rows.max() + 1
    left = columns.min()
    right = columns.max() + 1
    image = Image.new("L", (1024, 1024))
    whole = {"circle": 511.5, "square": 511.5 / 0.85, "triangle": 538.0}[figure]
    middle = (511.5, 538.0) if figure == "triangle" else (511.5, 511.5)
    draw_figure(ImageDraw.Draw(image), figure, *middle, whole, 255)
    box = np.asarray(image)
    inner = Image.fromarray(box[:, box.any(axis=0)][box.any(axis=1)])
    drawn = np.zeros(mask.shape, bool)
    filled = np.asarray(inner.resize((right - left, bottom - top), Image.Resampling.BOX)) > 127
    drawn[top:bottom, left:right] = filled
    return (drawn & mask).sum() / (drawn | mask).sum()


def check(model, count: int, seed: int, steps: int) -> None:
    """Draw each class at guidance 2, and say how many pictures are what was asked for."""
    denoise = classifier_free(diffusion.denoiser(model), 2.0)
    labels = np.repeat(np.arange(1, len(CLASSES) + 1), count)
    names = sorted(CLASSES)
    images = diffusion.sample(denoise, labels, rng=seed, **recipes.SAMPLER | {"steps": steps})
    seen = [shown_in(image) for image in images]
    asked = [names[label - 1] for label in labels]
    wrong = [(wanted, what) for wanted, (what, _) in zip(asked, seen) if wanted != what]
    well = sum(covered > WELL_FORMED for _, covered in seen)
    right = len(images) - len(wrong)
    print(f"{right:,} of {len(images):,} have the class, the colour and the ground")
    print(f"{well:,} are well formed: the figure covers them by more than {WELL_FORMED:g}")
    for wanted, what in wrong[:10]:
        print(f"wanted a {wanted}, drew a {what}")


if __name__ == "__main__":
    main()
