"""The page: its tabs, their controls, and which view each control changes. By Gradio."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Before Gradio is imported: it reads this once.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from ..diffusion.samplers import SAMPLERS
from .drawing import RULES, Settings
from .views import ANY, Images, Plane, told

HERE = Path(__file__).parent
MOST_STEPS = 100
MOST_SEED = 999
FRAME = 0.15  # seconds that a step is seen
VIEWS = ["Result", "Step by step", "Two settings"]
WAYS = ["Finish", "Restyle"]
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
PAD = """<div class="pad">
<canvas class="{ground}" width="280" height="280" aria-label="canvas to draw on"></canvas>
<div class="tools"><button>Clear</button>{colour}</div></div>"""


def page(images: Images, plane: Plane, first: str = "draw") -> gr.Blocks:
    """The page of two networks; `first` is the tab that is open, "draw" or "plane"."""
    with gr.Blocks(title="minidiff", analytics_enabled=False) as blocks:
        gr.Markdown("## Draw by taking noise away")
        with gr.Tabs(selected=first):
            with gr.Tab("Draw", id="draw"):
                draw_tab(images)
            with gr.Tab("Strokes", id="strokes"):
                strokes_tab(images)
            with gr.Tab("Walk", id="walk"):
                walk_tab(images)
            with gr.Tab("Plane", id="plane"):
                plane_tab(plane)
    return blocks


def draw_tab(images: Images) -> None:
    what = "Digits" if images.painter.draws_digits else "Names, with commas between"
    with gr.Row():
        with gr.Column(scale=3):
            text = gr.Textbox(images.example, label=what, visible=bool(images.names))
            view = gr.Radio(VIEWS, value=VIEWS[0], show_label=False, container=False)
            with gr.Column(visible=False) as walking:
                step, play = step_controls(images.beginning.steps)
            output = gr.HTML()
        with gr.Column(scale=2, min_width=320):
            settings = controls(images.beginning, images.timesteps, images.samplers)
            with gr.Column(visible=False) as others:
                gr.Markdown("**The other settings**")
                plain = Settings(guidance=1.0)
                other = controls(plain, images.timesteps, images.samplers, hidden="seed")

    def show(view: str, text: str, step: int, *values: Any) -> str:
        one = Settings(*values[:5])
        if view == VIEWS[0]:
            return images.result(text, one)
        if view == VIEWS[1]:
            return images.step(text, one, step)
        other = Settings(*values[5:])._replace(seed=one.seed)
        return images.side_by_side(text, one, other)

    follow(show, [view, text, step, *settings, *other], output)
    follow_steps(step, play, settings.steps)
    view.change(
        lambda view: (gr.Column(visible=view == VIEWS[1]), gr.Column(visible=view == VIEWS[2])),
        view,
        [walking, others],
        queue=False,
        **QUIET,
    )


def strokes_tab(images: Images) -> None:
    beginning = Settings(images.beginning.guidance, steps=20)
    in_colour = images.shape[-1] == 3
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            canvas = gr.HTML(
                "",
                html_template=PAD.format(
                    ground="light" if in_colour else "dark",
                    colour='<input type="color" aria-label="colour of the pen">' * in_colour,
                ),
                js_on_load=(HERE / "pad.js").read_text(encoding="utf-8"),
            )
        with gr.Column(scale=3):
            label = classes(images, ANY, "It is to be")
            way = gr.Radio(WAYS, value=WAYS[0], show_label=False, container=False)
            output = gr.HTML()
            noise = gr.Slider(0.05, 1, 0.7, step=0.05, label="Share of noise", visible=False)
            settings = controls(beginning, images.timesteps, hidden="sampler")

    def show(way: str, canvas: str, label: str, noise: float, *values: Any) -> str:
        if way == WAYS[0]:
            return images.finished(canvas, label, Settings(*values))
        return images.restyled(canvas, label, Settings(*values), noise)

    follow(show, [way, canvas, label, noise, *settings], output)
    way.change(  # what has no effect on a finish is not seen there
        lambda way: (gr.Slider(visible=way == WAYS[1]), gr.Dropdown(visible=way == WAYS[1])),
        way,
        [noise, settings.sampler],
        queue=False,
        **QUIET,
    )


def walk_tab(images: Images) -> None:
    beginning = Settings(images.beginning.guidance)
    with gr.Row():
        with gr.Column(scale=3):
            output = gr.HTML()
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                first = classes(images, images.choices[0], "From")
                last = classes(images, images.choices[len(images.names) - 1], "To")
            first_seed = gr.Slider(0, MOST_SEED, 0, step=1, label="Seed at the start")
            last_seed = gr.Slider(0, MOST_SEED, 1, step=1, label="Seed at the end")
            settings = controls(beginning, images.timesteps, hidden="seed")

    def show(first: str, last: str, first_seed: int, last_seed: int, *values: Any) -> str:
        settings = Settings(*values)._replace(seed=first_seed)
        return images.between(first, last, settings, last_seed)

    follow(show, [first, last, first_seed, last_seed, *settings], output)


def plane_tab(plane: Plane) -> None:
    beginning = Settings(guidance=1.0, steps=min(40, plane.timesteps))
    with gr.Row():
        with gr.Column(scale=3):
            label = gr.Radio(plane.choices, value=plane.choices[0], label="Pattern")
            step, play = step_controls(beginning.steps)
            output = gr.HTML()
        with gr.Column(scale=2, min_width=320):
            settings = controls(beginning, plane.timesteps)

    def show(label: str, step: int, *values: Any) -> str:
        return plane.step(label, Settings(*values), step)

    follow(show, [label, step, *settings], output)
    follow_steps(step, play, settings.steps)


# --- what the tabs share ---


def classes(images: Images, name: str, label: str) -> gr.Dropdown:
    """One of the classes, or any of them; not seen where the network has none."""
    return gr.Dropdown(images.choices, value=name, label=label, visible=bool(images.names))


class Controls(NamedTuple):
    """A control for each of the `Settings`, in their order."""

    guidance: gr.Slider
    seed: gr.Slider
    steps: gr.Slider
    sampler: gr.Dropdown
    rule: gr.Dropdown


def controls(
    settings: Settings, timesteps: int, samplers: Iterable[str] = SAMPLERS, hidden: str = ""
) -> Controls:
    """Controls that begin with these settings; the one of the name `hidden` is not seen."""
    most = min(MOST_STEPS, timesteps)
    names = list(samplers)
    return Controls(
        gr.Slider(0, 10, settings.guidance, step=0.1, label="Guidance"),
        gr.Slider(0, MOST_SEED, settings.seed, step=1, label="Seed", visible=hidden != "seed"),
        gr.Slider(1, most, min(settings.steps, most), step=1, label="Steps"),
        gr.Dropdown(names, value=settings.sampler, label="Sampler", visible=hidden != "sampler"),
        gr.Dropdown(list(RULES), value=settings.rule, label="Rule of guidance"),
    )


def step_controls(last: int) -> tuple[gr.Slider, gr.Button]:
    """Which step is seen, and a button that shows one after the other."""
    with gr.Row():
        step = gr.Slider(0, last, last, step=1, label="Step", scale=4)
        play = gr.Button("Play", scale=1, min_width=80)
    return step, play


def follow_steps(step: gr.Slider, play: gr.Button, steps: gr.Slider) -> None:
    """The slider `step` goes up to the value of `steps`, and the button moves it there."""

    def played(last: int) -> Iterator[int]:
        for k in range(last + 1):
            yield k
            time.sleep(FRAME)

    steps.change(
        lambda last: gr.Slider(maximum=last, value=last), steps, step, **QUIET, queue=False
    )
    play.click(played, steps, step, **QUIET)


def follow(view: Callable[..., str], inputs: list[Any], output: gr.HTML) -> None:
    """The output shows the view of the inputs, now and whenever one of them changes.

    Of the changes that come while a view is computed, only the last one counts.
    """
    output.value = told(view)(*(component.value for component in inputs))
    changes = [component.change for component in inputs]
    gr.on(changes, told(view), inputs, output, trigger_mode="always_last", queue=False, **QUIET)


def serve(blocks: gr.Blocks, host: str, port: int | None) -> str:
    """Serve the page from now on, beside what else this process does; its address is given back."""
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css_paths=HERE / "page.css",
        # Nothing but this page, and nothing that leaves this machine.
        share=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        footer_links=[],
        max_file_size="1mb",
        show_error=True,
        quiet=True,
        prevent_thread_lock=True,
    )
    return address
