"""Hooks of MkDocs: pages that lie outside docs/ or are made by commands, and links between files of the repository.

A page made here: the README as the first page, the model card, the tables of benchmarks, the notebooks (executed while
the site is built), the command line (from its parser) and the structures (from the registry). Pages are written so that
their links work where the files lie; a link to a file that is no page of the site becomes its bare text.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from nbclient import NotebookClient

from segae import structures
from segae.cli import build_parser

ROOT = Path(__file__).parent.parent
# Where a file of the repository stands in the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "src/segae/models/CARD.md": "reference/card.md",
}
NOTEBOOKS = ("curate", "training_loop")
# All tables of benchmarks/results stand on one page.
TABLES = "reference/benchmarks.md"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_LIST = re.compile(r"(?m)^(?!\s*(?:[-*]|\d+\.) )(?=\S)(.+)\n(?=(?:[-*]|1\.) )")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    made = {site: (ROOT / source).read_text(encoding="utf-8") for source, site in PAGES.items()}
    made[TABLES] = _benchmarks()
    made["reference/cli.md"] = _command_line()
    made["reference/structures.md"] = _structures()
    made |= {f"notebooks/{name}.md": _notebook(ROOT / "docs" / "notebooks" / f"{name}.ipynb") for name in NOTEBOOKS}
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        notebook.inclusion = InclusionLevel.EXCLUDED
    for path in sorted((ROOT / "examples").glob("*.py")):
        made[f"examples/{path.stem}.md"] = f"# {path.name}\n\n```python\n{path.read_text(encoding='utf-8')}```\n"
    for uri, text in made.items():
        file = File.generated(config, uri, content=text)
        if uri.startswith("examples/"):
            file.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(file)
    return files


def on_page_markdown(markdown: str, *, page: Page, files: Files, **_: Any) -> str:
    """Make links between files of the repository links between pages; lists need no empty line before them."""
    sites = PAGES | {f"benchmarks/results/{path.name}": TABLES for path in _tables()}
    sites |= {f"examples/{path.name}": f"examples/{path.stem}.md" for path in (ROOT / "examples").glob("*.py")}
    sites |= {f"docs/notebooks/{name}.ipynb": f"notebooks/{name}.md" for name in NOTEBOOKS}
    here = page.file.src_uri
    source = next((path for path, site in sites.items() if site == here), f"docs/{here}")
    folder = PurePosixPath(source).parent

    def relink(match: re.Match[str]) -> str:
        picture, text, target, anchor = match.groups(default="")
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = os.path.normpath(folder / target)
        if not (ROOT / path).exists() and files.get_file_from_path(target) is None and path not in sites:
            return match[0]  # broken, or between pages made here: MkDocs checks it
        uri = sites.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(uri) is None:
            return str(text)
        relative = os.path.relpath(uri, PurePosixPath(here).parent)
        return f"{picture}[{text}]({relative}{anchor})"

    parts = re.split(r"(?ms)(^```.*?^```\s*?$)", markdown)
    parts[::2] = [_LIST.sub(r"\1\n\n", _LINK.sub(relink, part)) for part in parts[::2]]
    return "".join(parts)


def _tables() -> list[Path]:
    return sorted((ROOT / "benchmarks" / "results").glob("*.md"))


def _benchmarks() -> str:
    """All tables of benchmarks/results on one page, their headings one level lower."""
    text = ["# Benchmarks", "What `benchmarks/` measured, and where; each table names its command."]
    text += [re.sub(r"(?m)^(#+) ", r"#\1 ", path.read_text(encoding="utf-8")) for path in _tables()]
    return "\n\n".join(text)


def _structures() -> str:
    rows = ["# Structures", "", "Any spelling below names the structure, in any case and with any separator.", "",
            "| name | group | also | plausible volume, ml |", "| --- | --- | --- | --- |"]  # fmt: skip
    for name in structures.names():
        entry = structures.get(name)
        volume = "" if entry.volume_ml is None else f"{entry.volume_ml[0]:g} to {entry.volume_ml[1]:g}"
        rows.append(f"| `{name}` | {entry.group} | {', '.join(entry.spellings[1:])} | {volume} |")
    return "\n".join(rows)


def _command_line() -> str:
    parser = build_parser()
    parser.formatter_class = _Wide
    codes = "Exit codes: 0 done, 1 the run failed, 2 wrong usage, 3 a gate (`--fail-below`) was not passed."
    text = ["# Command line", codes, _fence(parser.format_help())]
    for name, command in _commands(parser):
        command.formatter_class = _Wide
        text += [f"## segae {name}", _fence(command.format_help())]
    return "\n\n".join(text)


class _Wide(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100, max_help_position=28)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command, and the commands of commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield name, command
                yield from ((f"{name} {inner}", parser) for inner, parser in _commands(command))


def _notebook(path: Path) -> str:
    """Run a notebook and write it as Markdown, with what its cells printed and drew."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    text: list[str] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text.append(cell.source)
            continue
        text.append(f"```python\n{cell.source}\n```")
        text += [shown for output in cell.outputs if (shown := _output(output, cell.metadata.get("alt", "")))]
    return "\n\n".join(text)


def _output(output: Any, alt: str) -> str:
    if output.output_type == "stream":
        return _fence(output.text) if output.name == "stdout" else ""
    data = output.get("data", {})
    if "image/png" in data:
        png = base64.b64encode(base64.b64decode(data["image/png"])).decode()
        return f'<img alt="{alt}" src="data:image/png;base64,{png}">'
    return _fence(data["text/plain"]) if "text/plain" in data else ""


def _fence(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
