"""What `segae audit` costs, against plain loops over the same files and against reading them.

    python benchmarks/bench_audit.py                       # 2 cases of 512 x 512 x 300 with 60 masks
    python benchmarks/bench_audit.py --masks 20 --turns 3
    python benchmarks/bench_audit.py --flat 1000           # memory over many small cases
    python benchmarks/bench_audit.py --write               # ... and keep the tables in benchmarks/results/audit.md

The dataset is synthetic and laid out as TotalSegmentator's, written by nibabel as it writes .nii.gz. Jobs run in turns,
each in a process of its own on the same CPUs; "wall" is the clock, "CPU" what all its processes used, which tells
more where others use the machine too. Jobs: "read" decompresses every file by isal in two threads and does nothing
else; "audit" is the command without its report, "alone" the same without the built-in reference; "loop" reads each file
by SimpleITK, makes it float32 and scores it by `segae.Engine`; "paper" is that loop with the paper's pipeline
(benchmarks/baseline.py). Both loops read a CT once for all its masks.
One case is written; the others are links to it.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

HERE = Path(__file__).parent
SPACING_MM = (1.5, 0.8, 0.8)
CORES = 2


def structures(number: int) -> list[str]:
    from segae import structures

    return list(structures.labels("totalsegmentator_v2").values())[:number]


def write_dataset(root: Path, cases: int, shape: tuple[int, int, int], masks: int) -> None:
    """Write a noisy body with ellipsoids of 5 to 900 ml as masks; further cases link to the first."""
    import nibabel as nib

    affine = np.diag([-SPACING_MM[2], -SPACING_MM[1], SPACING_MM[0], 1])
    extent_mm = np.array(shape) * SPACING_MM
    rng = np.random.default_rng(1)
    folder = root / "s0000" / "segmentations"
    folder.mkdir(parents=True)
    _, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    body = ((y / shape[1] - 0.5) / 0.35) ** 2 + ((x / shape[2] - 0.5) / 0.45) ** 2 <= 1
    ct = np.where(body, 40, -1000).astype(np.int16) + rng.normal(0, 12, shape).astype(np.int16)
    nib.save(nib.Nifti1Image(ct.T, affine), folder.parent / "ct.nii.gz")
    for name in structures(masks):
        radii_mm = rng.uniform(0.6, 1.6, 3) * rng.uniform(12, 55) * min(1.0, extent_mm.min() / 400)
        centre_mm = extent_mm * rng.uniform(0.3, 0.7, 3)
        mask = np.zeros(shape, np.uint8)
        box = tuple(
            slice(max(int((c - r) / s), 0), int((c + r) / s) + 2)
            for c, r, s in zip(centre_mm, radii_mm, SPACING_MM, strict=True)
        )
        grid = np.ogrid[box]
        inside = sum(((g * s - c) / r) ** 2 for g, s, c, r in zip(grid, SPACING_MM, centre_mm, radii_mm, strict=True))
        part = mask[box]
        part[(inside <= 1)[tuple(slice(n) for n in part.shape)]] = 1
        nib.save(nib.Nifti1Image(mask.T, affine), folder / f"{name}.nii.gz")
    for number in range(1, cases):
        copy = root / f"s{number:04d}" / "segmentations"
        copy.mkdir(parents=True)
        (copy.parent / "ct.nii.gz").hardlink_to(folder.parent / "ct.nii.gz")
        for path in folder.iterdir():
            (copy / path.name).hardlink_to(path)


def files(root: Path) -> list[tuple[Path, list[Path]]]:
    return [(case / "ct.nii.gz", sorted((case / "segmentations").iterdir())) for case in sorted(root.iterdir())]


# The jobs


def read(root: Path, _out: Path) -> None:
    from isal import igzip

    own = threading.local()

    def decompress(path: Path) -> None:
        if not hasattr(own, "memory"):
            own.memory = bytearray(1 << 20)
        with igzip.open(path) as file:
            while file.readinto(own.memory):
                pass

    with ThreadPoolExecutor(CORES) as pool:
        every = [path for ct, masks in files(root) for path in (ct, *masks)]
        list(pool.map(decompress, every))


def audit(root: Path, out: Path) -> None:
    import segae.audit

    summary = segae.audit.run(root, out, workers=CORES, progress=False)
    assert summary.failed == 0


def alone(root: Path, out: Path) -> None:
    import segae.audit

    summary = segae.audit.run(root, out, workers=CORES, progress=False, reference=None)
    assert summary.failed == 0


def loop(root: Path, _out: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    import segae

    engine = segae.Engine(device="cpu", threads=CORES)
    _loop(root, sitk, lambda ct, mask, name: engine.score(ct, mask, name, spacing=SPACING_MM))


def paper(root: Path, _out: Path) -> None:
    import SimpleITK as sitk  # noqa: N813
    from baseline import Baseline

    model = Baseline(CORES)
    _loop(root, sitk, lambda ct, mask, _name: model.score(ct, mask))


def _loop(root: Path, sitk: object, score: Callable[[Array, Array, str], float]) -> None:
    def load(path: Path) -> Array:
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)  # type: ignore[attr-defined]

    for ct_path, masks in files(root):
        ct = load(ct_path)
        for path in masks:
            score(ct, load(path), path.name.removesuffix(".nii.gz"))


JOBS = {"read": read, "audit": audit, "alone": alone, "loop": loop, "paper": paper}


# Measuring


def measure(job: str, root: Path) -> tuple[float, float, float]:
    """Seconds on the clock, CPU seconds, and the most MB that its processes held at one moment."""
    out = Path(tempfile.mkdtemp(prefix="segae-bench-"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, "--job", job, str(root), str(out)])
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, held_mb(process.pid))
        time.sleep(0.05)
    wall = time.perf_counter() - begin
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(out)
    if process.returncode:
        raise SystemExit(f"{job} failed")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def held_mb(pid: int) -> float:
    """Resident memory of a process and its children."""
    total = 0.0
    for one in (pid, *children(pid)):
        try:
            status = Path(f"/proc/{one}/status").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
    return total


def children(pid: int) -> list[int]:
    try:
        lists = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for entry in lists for child in entry.read_text().split()]
    except OSError:
        return []


def compare(options: argparse.Namespace) -> list[str]:
    root = options.dataset or Path(tempfile.mkdtemp(prefix="segae-bench-"))
    try:
        shape = tuple(options.shape)
        if not root.is_dir() or not any(root.iterdir()):
            write_dataset(root, options.cases, shape, options.masks)
        size_mb = sum(path.stat().st_size for path in root.rglob("*.nii.gz")) / 1e6
        results: dict[str, list[tuple[float, float, float]]] = {job: [] for job in options.jobs}
        for turn in range(options.turns):
            for job in options.jobs:
                if job != "paper" or turn == 0:  # minutes, and the steadiest of all
                    results[job].append(measure(job, root))
                    print(job, *(f"{value:.1f}" for value in results[job][-1]), flush=True)
    finally:
        if not options.dataset:
            shutil.rmtree(root)
    middle = {job: [statistics.median(column) for column in zip(*runs, strict=True)] for job, runs in results.items()}
    lines = [
        f"{options.cases} cases of {' x '.join(map(str, reversed(shape)))}, {options.masks} masks each "
        f"({size_mb:.0f} MB of .nii.gz), {CORES} workers, medians of {options.turns} turns (paper: one).",
        "",
        "| job | wall, s | CPU, s | memory, MB | wall / audit's | CPU / audit's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for job, (wall, cpu, peak) in middle.items():
        ratios = f"{wall / middle['audit'][0]:.2f} | {cpu / middle['audit'][1]:.2f}"
        lines.append(f"| {job} | {wall:.1f} | {cpu:.1f} | {peak:.0f} | {ratios} |")
    return lines


def flat(options: argparse.Namespace) -> list[str]:
    """Memory of a long run, over its course."""
    root = Path(tempfile.mkdtemp(prefix="segae-bench-"))
    out = Path(tempfile.mkdtemp(prefix="segae-bench-"))
    try:
        write_dataset(root, options.flat, (40, 64, 64), 3)
        process = subprocess.Popen([sys.executable, __file__, "--job", "audit", str(root), str(out)])
        seen = []
        begin = time.perf_counter()
        while process.poll() is None:
            seen.append(held_mb(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - begin
    finally:
        shutil.rmtree(root)
        shutil.rmtree(out)
    quarters = [max(seen[len(seen) * k // 4 : len(seen) * (k + 1) // 4]) for k in range(4)]
    return [
        f"Memory over {options.flat} cases of 64 x 64 x 40 with 3 masks, {CORES} workers, {seconds:.0f} s; the most in "
        f"each quarter of the run: {', '.join(f'{value:.0f}' for value in quarters)} MB (all processes together).",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--masks", type=int, default=60)
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--flat", type=int, metavar="CASES", help="only memory, over so many small cases")
    parser.add_argument("--dataset", type=Path, help="a dataset kept from an earlier run; written when it is not there")
    parser.add_argument("--write", action="store_true", help="append to benchmarks/results/audit.md")
    parser.add_argument("--job", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        name, root, out = options.job
        JOBS[name](Path(root), Path(out))
        return
    lines = flat(options) if options.flat else compare(options)
    print("\n".join(lines))
    if options.write:
        load = os.getloadavg()[1]
        with (HERE / "results" / "audit.md").open("a") as file:
            print(*lines, f"\nLoad of the machine beside it: {load:.1f}.\n", sep="\n", file=file)


if __name__ == "__main__":
    main()
