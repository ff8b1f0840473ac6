"""What public bug reports say of the command line and of containers; each test names the thread."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import audit_data
import numpy as np
import pytest

from segae import threads
from segae.cli import main
from segae.cli.words import in_command_words
from segae.errors import DeviceError
from segae.session import runtime_providers


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    audit_data.save(audit_data.mask("liver").astype(np.uint8), tmp_path / "m.nii.gz")
    return tmp_path / "m.nii.gz"


@pytest.mark.parametrize(
    "text",
    [
        '{"kind":', "[]", "null", "{}", '{"kind": 7}', '{"kind": "erode"}', '{"kind": "erode", "radius_mm": "two"}',
        '{"kind": "random"}', '{"kind": "random", "steps": 3}', '{"kind": "random", "steps": [1]}',
    ],
)  # fmt: skip
def test_wrong_parameters_are_wrong_usage(
    mask: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.json").write_text(text)
    arguments = ["perturb", str(mask), "--params", str(tmp_path / "p.json"), "-o", str(tmp_path / "x.nii.gz")]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("segae: --")


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_nobody_reads_on() -> None:
    """`segae structures | head -1`: the pipe is closed once all is loaded, since an editable install prints before."""
    code = (
        "import os, sys, segae._core; from segae.cli import main; reader, writer = os.pipe(); os.close(reader); "
        "os.dup2(writer, 1); sys.exit(main(['structures']))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 141
    assert "pipe" not in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("broken", [types.ModuleType("onnxruntime"), None], ids=["emptied", "missing"])
def test_doctor_tells_a_broken_runtime(
    broken: types.ModuleType | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both wheels were installed and one was removed (onnxruntime#10786): an empty package is left."""
    monkeypatch.setitem(sys.modules, "onnxruntime", broken)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "1.31")
    with pytest.raises(DeviceError, match="pip"):
        runtime_providers()
    assert main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "BAD  ONNX Runtime" in told
    assert "BAD  default model on cpu" in told


def test_messages_speak_the_command_lines_words(
    mask: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit_data.save(audit_data.image(), tmp_path / "ct.nii.gz")
    audit_data.save((audit_data.mask("liver") * 7 + audit_data.mask("spleen") * 9).astype(np.uint8), mask)
    assert main(["score", str(tmp_path / "ct.nii.gz"), str(mask), "-s", "liver", "--model", str(tiny_model)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("segae: MASK: ")
    assert "without --label only" in told
    assert "Pass --label 9 for one of them, or use `segae labels` for all" in told
    words = {"label": "--label", "target_dice": "--target-dice", "mask": "MASK", "threads": "--threads"}
    assert in_command_words("target_dice: got 2. Pass label=255.", words) == "--target-dice: got 2. Pass --label 255."
    assert in_command_words("mask: Was the right label= given?", words) == "MASK: Was the right --label given?"
    named = in_command_words("structure='livre' is not known", {"structure": "STRUCTURE"})
    assert named == "STRUCTURE 'livre' is not known"
    assert in_command_words("mask: m: 3; spacing=(1, 1)", words) == "MASK: m: 3; spacing=(1, 1)"


def test_the_structure_may_stand_third(
    mask: Path, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit_data.save(audit_data.image(), tmp_path / "ct.nii.gz")
    files = [str(tmp_path / "ct.nii.gz"), str(mask)]
    assert main(["score", *files, "liver", "--json", "--model", str(tiny_model)]) == 0
    assert json.loads(capsys.readouterr().out)["structure"] == "liver"
    assert main(["score", *files, "--model", str(tiny_model)]) == 2
    assert capsys.readouterr().err.startswith("segae: STRUCTURE: ")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "100000 100000"}, 1),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "max 100000"}, 64),
        ({"a/cpu.max": "max 100000", "cpu.max": "1600000 100000"}, 16),
        ({"a/b/cpu.max": "400000 100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu,cpuacct/a/b/cpu.cfs_quota_us": "50000", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({}, 64),
    ],
)
def test_quota_of_a_container(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """loky#111, #355; onnxruntime#10786. Simulated: no container is started."""
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (tmp_path / "self").write_text("0::/a/b\n3:cpu,cpuacct:/a/b\n7:memory:/x\n")
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(threads, "_OWN_CGROUPS", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert threads.available_threads() == expected
