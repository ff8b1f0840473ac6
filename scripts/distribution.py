"""Make this checkout build another distribution: ``python scripts/distribution.py segae-cpu``, then build as usual.

`segae-cpu` is the same package with ONNX Runtime for CPUs in its dependencies: name, dependencies and extras in
pyproject.toml are rewritten, and nothing else. ``git checkout pyproject.toml`` undoes it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

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


if __name__ == "__main__":
    if sys.argv[1:] != ["segae-cpu"]:
        sys.exit(f"usage: {sys.argv[0]} segae-cpu")
    path = Path(__file__).parent.parent / "pyproject.toml"
    path.write_text(for_cpus(path.read_text(encoding="utf-8")), encoding="utf-8")
