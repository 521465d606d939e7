"""Which files of the repository become pages of the site: a hook of MkDocs, see mkdocs.yml.

A page keeps its place in the repository, so links between pages are the same in both. A link to a
file of code leads to a page that shows it, a link to a folder to a list of its files. The reference
is made here too, from the docstrings of all public names.
"""

import ast
import html
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from posixpath import dirname, join, normpath

import griffe
import latex2mathml.converter
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

ROOT = Path(__file__).parents[1]
PAGES = (
    "*.md",
    "docs/*.md",
    "benchmarks/*.md",
    "lessons/README.md",
    "lessons/*.ipynb",
    "minidiff/weights/*.md",
    "tests/standins/gpu/README.md",
)
PICTURES = (".png", ".gif", ".svg")
# The rooms of minidiff.diffusion that have public names of their own.
DIFFUSION = (
    "guidance",
    "samplers",
    "losses",
    "mean_flow",
    "distillation",
    "exact",
    "editing",
    "likelihood",
)
# A page of the reference: its title, and the modules whose public names it has.
REFERENCE = {
    "minidiff": ("minidiff", ["minidiff"]),
    "ops": ("ops: the operations", ["minidiff.ops", "minidiff.ops.linalg"]),
    "nn": ("nn: the layers", ["minidiff.nn"]),
    "models": ("models: the networks", ["minidiff.models"]),
    "optim": ("optim: optimisers and averages", ["minidiff.optim"]),
    "diffusion": (
        "diffusion",
        ["minidiff.diffusion", *(f"minidiff.diffusion.{room}" for room in DIFFUSION)],
    ),
    "data": ("data", ["minidiff.data"]),
    "metrics": ("metrics", ["minidiff.metrics"]),
    "training": ("training and storage", ["minidiff.training", "minidiff.storage"]),
    "plot": ("plot: pictures", ["minidiff.plot"]),
    "evaluation": ("evaluation", ["minidiff.evaluation"]),
    "export": ("export", ["minidiff.export"]),
    "testing": ("testing", ["minidiff.testing"]),
    "kernels": ("kernels: where arrays live", ["minidiff.kernels"]),
}
# Of these the parts that they take from elsewhere are shown too.
WITH_INHERITED = ("minidiff.training.trainer.Trainer",)


class RepositoryPage(File):
    """A page made of a file that is no Markdown: a notebook, code, a folder.

    In its address code keeps its suffix, since a lesson is a text and a notebook of one name.
    """

    @property
    def name(self) -> str:
        return PurePosixPath(self.src_uri).name.removesuffix(".ipynb")

    def is_documentation_page(self) -> bool:
        return True


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and then whatever they link to, and so on."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout.splitlines()
    folders = {parent.as_posix() for path in tracked for parent in Path(path).parents}
    made = reference()
    waiting = [path for path in tracked if is_page(path)] + list(made)
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if path.endswith(PICTURES):
            files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
            continue
        text = made.get(path) or page_of(path, files, config, tracked)
        kind = File if path.endswith(".md") else RepositoryPage
        files.append(kind.generated(config, path, content=text))
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            linked = normpath(join(dirname(path), target))
            if linked not in seen and (linked in tracked or linked in folders):
                seen.add(linked)
                waiting.append(linked)
    return files


def is_page(path: str) -> bool:
    """Whether it is one of PAGES, at its own level: `*.md` means those of the root."""
    return any(Path(path).match(page) and path.count("/") == page.count("/") for page in PAGES)


def page_of(path: str, files: Files, config: MkDocsConfig, tracked: list[str]) -> str:
    """The Markdown of a page."""
    if (ROOT / path).is_dir():
        return folder_page(path, tracked)
    if path.endswith(".ipynb"):
        return lesson(path, files, config)
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
    language = {"py": "python", "sh": "bash", "html": "html"}.get(path.rpartition(".")[2], "text")
    return (
        f"---\nsearch:\n  exclude: true\nhide: [toc]\n---\n\n# {path}\n\n"
        f'~~~~~~~~ {{ .{language} linenums="1" }}\n{text}\n~~~~~~~~\n'
    )


def folder_page(folder: str, tracked: list[str]) -> str:
    """Its files, with the first sentence of each."""
    lines = ["---\nsearch:\n  exclude: true\nhide: [toc]\n---\n", f"# {folder}/\n"]
    for path in tracked:
        inside = path.removeprefix(f"{folder}/")
        if inside != path and path.endswith((".py", ".md", ".sh", ".ipynb")):
            # relative to the page, whose place is the folder's own name
            lines.append(f"- [{inside}]({Path(folder).name}/{inside}) {first_sentence(path)}")
    return "\n".join(lines)


def first_sentence(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(text)) if path.endswith(".py") else None
    return html.escape((docstring or "").split("\n")[0], quote=False)


def lesson(path: str, files: Files, config: MkDocsConfig) -> str:
    """A notebook as Markdown, with the outputs that it has; its pictures become files."""
    notebook = nbformat.read(ROOT / path, 4)
    exporter = MarkdownExporter(preprocessors=[CoalesceStreamsPreprocessor])
    text, resources = exporter.from_notebook_node(notebook)
    for name, content in resources["outputs"].items():
        place = f"{Path(path).stem}_{name}"
        text = text.replace(f"({name})", f"({place})")
        files.append(File.generated(config, join(dirname(path), place), content=content))
    return text


# --- the reference ---


def reference() -> dict[str, str]:
    """The Markdown of each of its pages, by its place."""
    package = griffe.load("minidiff", search_paths=[str(ROOT)], resolve_aliases=True)
    pages = {
        "reference/README.md": "# Reference\n\nWhat is public, by room, from the docstrings.\n\n"
    }
    for name, (title, modules) in REFERENCE.items():
        text = [f"# {title}\n"]
        for path in modules:
            text += module_text(package, path, with_heading=len(modules) > 1)
        pages[f"reference/{name}.md"] = "\n".join(text)
        pages["reference/README.md"] += f"- [{title}]({name}.md)\n"
    return pages


def module_text(package: griffe.Module, path: str, with_heading: bool) -> list[str]:
    """Its docstring and its public names, grouped by the file that each stands in."""
    module = package[path.removeprefix("minidiff").removeprefix(".")] if "." in path else package
    lines = [f"## {path}\n"] if with_heading else []
    if module.docstring:
        lines.append(module.docstring.value + "\n")
    by_file: dict[str, list[griffe.Object]] = {}
    for name in public_names(module):
        member = module.members[name]
        member = member.final_target if member.is_alias else member
        if not member.is_module:
            by_file.setdefault(member.module.filepath.relative_to(ROOT).as_posix(), []).append(
                member
            )
    level = 3 if with_heading else 2
    for file, members in by_file.items():
        name = f"{Path(file).parent.name}/{Path(file).name}"
        lines.append(f"{'#' * level} [`{name}`]({join('..', file)})\n")
        lines += [identifier(member, level + 1) for member in members]
    return lines


def public_names(module: griffe.Module) -> list[str]:
    """Those of `__all__`; where there is none, all that a module defines or a room gathers."""
    if module.exports is not None:
        return sorted(map(str, module.exports), key=lambda name: (name.lower(), name))
    gathers = module.is_init_module
    return [
        name
        for name, member in module.members.items()
        if not name.startswith("_")
        and (
            member.target_path.startswith(f"{module.path}.")
            if member.is_alias and gathers
            else not member.is_alias and (member.is_function or member.is_class)
        )
    ]


def identifier(member: griffe.Object, level: int) -> str:
    options = [
        f"heading_level: {level}",
        "show_root_heading: true",
        "show_root_full_path: false",
        "show_root_toc_entry: true",
        f"show_if_no_docstring: {str(member.is_attribute).lower()}",
        f"inherited_members: {str(member.path in WITH_INHERITED).lower()}",
    ]
    return "\n".join(
        [f"::: {member.path}", "    options:", *(f"      {line}" for line in options), ""]
    )


# --- mathematics ---


def on_page_content(content: str, page: object, **_: object) -> str:
    """Equations as MathML, which browsers draw themselves: no script, no fonts to load."""

    def drawn(found: re.Match) -> str:
        tex = html.unescape(found[2]).strip()
        try:
            return latex2mathml.converter.convert(tex[2:-2], display="block")
        except Exception as error:
            raise PluginError(f"{page}: {tex}: {error}") from error

    return re.sub(r'<(div|span) class="arithmatex">(.*?)</\1>', drawn, content, flags=re.S)


# --- what a reader's browser loads ---


class Loaded(HTMLParser):
    """The addresses that a page makes a browser load; those of links that one follows are none."""

    def __init__(self, page: str):
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        if tag == "link" and found.get("rel") not in ("canonical", "prev", "next", "edit"):
            self.addresses.append(found.get("href", ""))
        if tag != "a":
            self.addresses += [found[name] for name in ("src", "data", "poster") if name in found]
        self.addresses += [each.split()[0] for each in found.get("srcset", "").split(",") if each]
        self.addresses += in_styles(found.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.addresses += in_styles(data)


def in_styles(text: str) -> list[str]:
    quoted = r"""@import\s+["']([^"']+)|url\(\s*["']?([^"')]+)"""
    return [first or second for first, second in re.findall(quoted, text)]


def from_elsewhere(path: Path) -> list[str]:
    """What a page or a style sheet loads from another machine."""
    text = path.read_text(encoding="utf-8")
    addresses = in_styles(text) if path.suffix == ".css" else Loaded(text).addresses
    return [address for address in addresses if re.match(r"\w*:?//", address.strip())]


def on_post_build(config: MkDocsConfig) -> None:
    """Fail where a page would load something from elsewhere.

    What scripts might load, the pages' Content-Security-Policy forbids; it must be there.
    """
    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css"):
            found = from_elsewhere(path)
            if found:
                raise PluginError(f"{path}: loads {found[0]} from elsewhere, wanted it in the site")
        if path.suffix == ".html" and "Content-Security-Policy" not in path.read_text(
            encoding="utf-8"
        ):
            raise PluginError(f"{path}: has no Content-Security-Policy")
