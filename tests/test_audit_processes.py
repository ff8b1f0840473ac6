"""Real worker processes: what happens when they, or the run itself, are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import audit_data
import pytest

from segae import audit
from segae.audit.results import MaskRow
from segae.errors import AuditError, ModelFileError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc"),
]

# An audit that says which cases it has done, and stops after one until it is killed.
RUN = """
import sys, time
from segae import audit

def done(outcome):
    print(outcome.case.case_id, flush=True)
    if {hang}:
        time.sleep(600)

if __name__ == "__main__":
    audit.run({dataset!r}, {out!r}, workers=2, model={model!r}, device="cpu", on_case=done)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for seed in range(5):
        audit_data.write_case(root / f"s{seed}", ("liver", "spleen"), seed)
    return root


def script(tmp_path: Path, dataset: Path, out: Path, model: Path, hang: bool) -> list[str]:
    path = tmp_path / f"run{hang}.py"
    path.write_text(RUN.format(dataset=str(dataset), out=str(out), model=str(model), hang=hang))
    return [sys.executable, str(path)]


def without_times(out: Path) -> list[MaskRow]:
    return [replace(mask, seconds=0.0) for mask in audit.load(out).masks]


def children(pid: int) -> list[int]:
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for entry in lists for child in entry.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.05)


def test_killed_and_started_again(dataset: Path, tmp_path: Path, tiny_model: Path) -> None:
    """kill -9 of the run: its workers die, its lock is gone, and the next run ends with the same table."""
    out = tmp_path / "out"
    process = subprocess.Popen(script(tmp_path, dataset, out, tiny_model, True), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("s"):
        assert process.poll() is None
    workers = children(process.pid)
    assert len(workers) >= 2
    with pytest.raises(AuditError, match="another audit is writing"):
        audit.run(dataset, out, workers=1, model=tiny_model, device="cpu")
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until(lambda: not any(map(alive, workers)))
    assert len(audit.load(out).cases) == 1

    again = subprocess.run(
        script(tmp_path, dataset, out, tiny_model, False), capture_output=True, text=True, check=True
    )
    assert sum(line.startswith("s") for line in again.stdout.splitlines()) == 4
    whole = tmp_path / "whole"
    subprocess.run(script(tmp_path, dataset, whole, tiny_model, False), capture_output=True, check=True)
    assert without_times(out) == without_times(whole)


def test_a_worker_is_killed(dataset: Path, tmp_path: Path, tiny_model: Path) -> None:
    """Its case is done by another one."""
    killed = []

    def kill_one(outcome: object) -> None:
        if not killed:
            # multiprocessing's resource tracker is a child too, and takes no cases
            workers = [
                pid for pid in children(os.getpid()) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            os.kill(workers[-1], signal.SIGKILL)
            killed.append(workers[-1])

    summary = audit.run(dataset, tmp_path / "out", workers=2, model=tiny_model, device="cpu", on_case=kill_one)
    assert killed
    assert (summary.scored, summary.failed) == (5, 0)
    assert len(summary.results.masks) == 10


def test_a_case_that_kills_its_workers(
    dataset: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a failed case, the others are scored."""
    # Workers import this module to unpickle the case, and die of it.
    (tmp_path / "poison.py").write_text(
        "import multiprocessing, os, signal\n"
        "class Poison(str):\n"
        "    def __reduce__(self):\n"
        "        return strike, (str(self),)\n"
        "def strike(text):\n"
        "    if multiprocessing.parent_process() is not None:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return Poison(text)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    poison = __import__("poison").Poison
    cases = []
    for number in range(3):
        folder = dataset / f"s{number}"
        mask = audit.MaskFile("liver", folder / "segmentations/liver.nii.gz")
        cases.append(audit.Case(poison(folder.name) if number == 1 else folder.name, folder / "ct.nii.gz", (mask,)))
    summary = audit.run(cases, tmp_path / "out", workers=1, model=tiny_model, device="cpu")
    assert summary.failed == 1
    errors = {mask.case_id: mask.error for mask in summary.results.masks}
    assert errors == {
        "s0": None,
        "s1": "worker: the process died at this case (SIGKILL). Too little memory?",
        "s2": None,
    }


def test_workers_that_cannot_start(dataset: Path, tmp_path: Path) -> None:
    """No case is to blame for a broken model: nothing is scored, and no process stays."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    before = set(children(os.getpid()))
    with pytest.raises(ModelFileError, match="cannot be opened as an ONNX file"):
        audit.run(dataset, tmp_path / "out", workers=2, model=broken, device="cpu")
    assert audit.load(tmp_path / "out").cases == []
    left = [pid for pid in set(children(os.getpid())) - before if alive(pid)]
    assert all(b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in left)


def test_a_script_without_a_guard(dataset: Path, tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "unguarded.py"
    path.write_text(
        f"from segae import audit\naudit.run({str(dataset)!r}, {str(tmp_path / 'out')!r}, workers=1, "
        f"model={str(tiny_model)!r}, device='cpu')\n"
    )
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'if __name__ == "__main__"' in done.stderr.splitlines()[-1]
