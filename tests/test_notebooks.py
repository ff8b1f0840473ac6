"""The notebooks of the documentation run as they stand, and say what their texts promise."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "docs" / "notebooks"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not NOTEBOOKS.is_dir(), reason="not a checkout")]


def executed(name: str, folder: Path) -> str:
    """What the cells of a notebook print."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    shutil.copy(NOTEBOOKS / f"{name}.ipynb", folder)
    notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "stored without outputs: the site makes them"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")


def test_curate(tmp_path: Path) -> None:
    printed = executed("curate", tmp_path)
    found = re.search(r"(\d+) of (\d+) spoiled masks are among the first", printed)
    assert found is not None
    # Chance would find a quarter of them: 15 of 60 masks are spoiled.
    assert int(found[1]) > int(found[2]) / 2
    assert not list(tmp_path.glob("*.png"))


def test_training_loop(tmp_path: Path) -> None:
    printed = executed("training_loop", tmp_path)
    plain, weighted = (float(dice) for dice in re.findall(r"student's labels (\S+)", printed))
    assert weighted >= plain
