"""segae-cpu is segae but for its name and its ONNX Runtime; two distributions at once are told."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from segae import doctor

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "scripts").is_dir(), reason="not a checkout")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("distribution", ROOT / "scripts" / "distribution.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_of_the_readme_work_elsewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    moved = script().with_links(readme, "https://example.org/o/n", "v1")
    assert "](https://example.org/o/n/raw/v1/docs/demo.png)" in moved
    assert "](https://example.org/o/n/blob/v1/docs/audit.md)" in moved
    for target in re.findall(r"\]\(([^)]+)\)", moved):
        assert target.startswith("https://"), target
    for target in re.findall(r"\]\(([^)]+)\)", readme):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 120


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib")
def test_only_name_runtime_and_the_extra_for_gpus_differ() -> None:
    import tomllib

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ours, theirs = tomllib.loads(text), tomllib.loads(script().for_cpus(text))
    assert theirs["project"].pop("name") == "segae-cpu"
    assert ours["project"].pop("name") == "segae"
    runtimes = [entry for entry in theirs["project"]["dependencies"] if "onnxruntime" in entry]
    assert len(runtimes) == 1
    assert ";" not in runtimes[0]
    assert "gpu" not in runtimes[0]
    for project in (ours, theirs):
        project["project"]["dependencies"] = [d for d in project["project"]["dependencies"] if "onnxruntime" not in d]
        project["project"]["optional-dependencies"].pop("cuda", None)
    assert not re.search(r"onnxruntime-gpu|segae\[", str(theirs["project"]))
    assert ours == theirs


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one match"):
        script().for_cpus('[project]\nname = "other"\n')


def test_doctor_tells_two_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    found = {finding.what: finding for finding in doctor.examine()}
    assert not found["distribution"].good
    assert "pip uninstall segae segae-cpu" in found["distribution"].detail
