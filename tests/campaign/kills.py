"""Audits killed at random moments: nothing that was reported is lost, and in the end the table is the undisturbed one.

    python tests/campaign/kills.py --kills 500 [--seed 0]

A run is begun in a process group of its own; after a random time the parent, one of its workers, or all of them get
SIGKILL. Then the database must pass SQLite's integrity check and hold every case that a reader saw before. After a few
kills the run is let through: its table must be that of a run that nobody disturbed, every mask once.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np

CASES, STRUCTURES = 10, ("liver", "spleen", "kidney_left", "kidney_right")
# Kills until a run is let through.
PER_RUN = 5
DRIFTING = ("seconds",)
TIMEOUT_S = 120


def write_dataset(folder: Path) -> None:
    rng = np.random.default_rng(0)
    affine = np.diag([-2.0, -2.0, 3.0, 1.0])
    for i in range(CASES):
        place = folder / f"case{i}" / "segmentations"
        place.mkdir(parents=True)
        image = rng.normal(40, 30, (120, 110, 60)).astype(np.int16)
        image[:8] = -1000
        nib.save(nib.Nifti1Image(image, affine), place.parent / "ct.nii.gz")
        for k, name in enumerate(STRUCTURES):
            mask = np.zeros(image.shape, np.uint8)
            x = 20 + 18 * k
            mask[x : x + 16, 30:70, 10 : 40 + i] = 1
            nib.save(nib.Nifti1Image(mask, affine), place / f"{name}.nii.gz")


def begin(dataset: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "segae", "audit", str(dataset), "-o", str(out), "--workers", "2", "--no-report"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def members(group: int) -> list[int]:
    """Processes of the group, the parent first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == group:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return sorted(found, key=lambda pid: pid != group)


def kept(out: Path) -> set[str]:
    """Cases that the database holds as done; it must be sound."""
    file = out / "results.sqlite"
    if not file.exists():
        return set()
    database = sqlite3.connect(file)
    try:
        if database.execute("PRAGMA user_version").fetchone()[0] == 0:
            return set()  # killed before the tables were made
        (sound,) = database.execute("PRAGMA integrity_check").fetchone()
        assert sound == "ok", sound
        return {case for (case,) in database.execute("SELECT case_id FROM cases WHERE error IS NULL")}
    finally:
        database.close()


def table(out: Path) -> list[dict[str, str]]:
    with (out / "scores.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    keys = [(row["case"], row["structure"]) for row in rows]
    assert len(set(keys)) == len(keys) == CASES * len(STRUCTURES)
    return [{name: value for name, value in row.items() if name not in DRIFTING} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    told: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        dataset = Path(place) / "set"
        write_dataset(dataset)
        begun = time.monotonic()
        assert begin(dataset, Path(place) / "calm").wait(TIMEOUT_S) == 0
        usual = time.monotonic() - begun
        expected = table(Path(place) / "calm")
        while sum(told.values()) < options.kills:
            out = Path(place) / f"out{sum(told.values())}"
            before: set[str] = set()
            for _ in range(PER_RUN):
                process = begin(dataset, out)
                time.sleep(float(rng.uniform(0, usual)))
                whom = str(rng.choice(["parent", "worker", "all"]))
                group = members(process.pid)
                chosen = {"parent": group[:1], "worker": group[1:], "all": group}[whom]
                if whom == "worker" and chosen:
                    chosen = [chosen[int(rng.integers(len(chosen)))]]
                for pid in chosen:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                process.wait(TIMEOUT_S)
                while len(members(process.pid)) > 0:  # workers notice that their parent is gone
                    time.sleep(0.05)
                    assert time.monotonic() - begun < 1e6
                now = kept(out)
                assert before <= now, f"lost: {before - now}"
                before = now
                told[whom] += 1
            assert begin(dataset, out).wait(TIMEOUT_S) == 0
            assert table(out) == [{**row} for row in expected], "the table differs from the undisturbed one"
    print(f"killed: {dict(told)}; every run ended with the undisturbed table; {usual:.1f} s a run")


if __name__ == "__main__":
    main()
