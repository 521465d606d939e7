"""What a cell ends in, as a real kernel of Jupyter shows it. Needs the extra `lessons`."""

import base64
import io

import jupytext
import pytest
from nbclient import NotebookClient
from PIL import Image

CELLS = """
# %%
import warnings
warnings.simplefilter("error")
import numpy as np, minidiff as md
x = md.Tensor(np.array([1.0, 2.0]), requires_grad=True)
f = lambda: md.ops.sum(md.ops.exp(x))

# %% graph
md.graph(f)

# %% grid
md.plot.grid(np.zeros((3, 8, 8, 1)))

# %% curves
md.plot.schedule_curves({"cosine": md.diffusion.cosine_schedule(10)})

# %% points
md.plot.scatter(np.zeros((5, 2)))

# %% images that move
images = np.linspace(-1, 1, 3)[:, None, None, None, None] * np.ones((2, 8, 8, 1))
md.plot.denoising_video(images, images)

# %% points that move
md.plot.points_video([np.zeros((5, 2)), np.ones((5, 2))])

# %% schedule
md.diffusion.cosine_schedule(100)

# %% costs
with md.profile() as costs:
    f()
costs

# %% history
model = md.nn.Dense(2, 1, 0)
run = md.training.Trainer(
    model, lambda x, rng: md.ops.mean(model(x) ** 2), md.optim.SGD(model.parameters(), 0.01)
)
run.fit(md.data.moons(20, 0), 2)
"""


@pytest.fixture(scope="module")
def shown():
    """The outputs of each cell, by its name."""
    notebook = jupytext.reads(CELLS, "py:percent")
    NotebookClient(notebook, timeout=300).execute()
    return {cell.metadata.get("title", ""): cell.outputs for cell in notebook.cells}


def result(outputs):
    (found,) = [out.data for out in outputs if out.output_type == "execute_result"]
    return found


@pytest.mark.parametrize("name", ["graph", "grid", "curves", "points"])
def test_pictures(shown, name):
    (output,) = shown[name]  # once, and nothing beside it
    picture = Image.open(io.BytesIO(base64.b64decode(result(shown[name])["image/png"])))
    assert output.output_type == "execute_result" and min(picture.size) > 50


@pytest.mark.parametrize("name, count", [("images that move", 3), ("points that move", 2)])
def test_videos_play_in_the_page(shown, name, count):
    page = result(shown[name])["text/html"]
    start = '<img src="data:image/gif;base64,'
    assert page.startswith(start)
    video = Image.open(io.BytesIO(base64.b64decode(page.removeprefix(start).removesuffix('">'))))
    assert video.n_frames == count and video.info["loop"] == 0


@pytest.mark.parametrize(
    "name, words",
    [
        ("schedule", ["Schedule(T = 100", "alpha_bar[50]"]),
        ("costs", ["calls", "GFLOP/s", "exp", "sum"]),
        ("history", ["epoch    training", "\n    2 "]),
    ],
)
def test_what_is_no_picture_is_said(shown, name, words):
    text = result(shown[name])["text/plain"]
    assert all(word in text for word in words)


def test_a_progress_bar_is_the_notebooks(shown):
    bars = [out for out in shown["history"] if out.output_type == "display_data"]
    assert len(bars) == 2  # of the two epochs
    assert all("application/vnd.jupyter.widget-view+json" in bar.data for bar in bars)
    assert not [out for out in shown["history"] if out.output_type == "stream"]
