"""Make this checkout build one of the two distributions, then build as usual.

    python scripts/distribution.py segae-cpu
    python scripts/distribution.py segae --at https://host/owner/name v1.2.3

`segae-cpu` is the same package with ONNX Runtime for CPUs in its dependencies: name, dependencies and extras in
pyproject.toml are rewritten, and nothing else. With --at, links and pictures of the README lead to the repository at
that tag, so that they work on the package index too. ``git checkout pyproject.toml README.md`` undoes both.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What stands in pyproject.toml, and what takes its place.
_CPU = (
    (r'^name = "segae"$', 'name = "segae-cpu"'),
    (
        r"^  # Both wheels install the module `onnxruntime`.*\n"
        r'  "onnxruntime-gpu>=(?P<version>[\d.]+);.*\n'
        r'  "onnxruntime>=(?P=version);.*$',
        r'  "onnxruntime>=\g<version>",',
    ),
    (r"^# ONNX Runtime's own extras name .*\ncuda = \[\n.*\n\]\n", ""),
)
_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)")


def for_cpus(pyproject: str) -> str:
    """Return the text of pyproject.toml for segae-cpu.

    Raises
    ------
    ValueError
        When the text is not that of segae.
    """
    for pattern, replacement in _CPU:
        pyproject, count = re.subn(pattern, replacement, pyproject, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"pyproject.toml: expected one match of {pattern!r}, found {count}.")
    return pyproject


def with_links(readme: str, repository: str, tag: str) -> str:
    """Return the README with its relative links and pictures leading to the repository at a tag."""

    def absolute(match: re.Match[str]) -> str:
        picture, text, path = match.groups()
        return f"{picture}[{text}]({repository}/{'raw' if picture else 'blob'}/{tag}/{path})"

    return _RELATIVE.sub(absolute, readme)


def main() -> None:
    """Rewrite the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("segae", "segae-cpu"))
    parser.add_argument("--at", nargs=2, metavar=("REPOSITORY", "TAG"), help="where the README's links lead")
    given = parser.parse_args()
    if given.name == "segae-cpu":
        _rewrite(ROOT / "pyproject.toml", for_cpus)
    if given.at:
        _rewrite(ROOT / "README.md", lambda text: with_links(text, *given.at))


def _rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
