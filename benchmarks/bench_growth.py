"""How what a labelmap costs grows with threads, structures, slices and voxel size: seconds, and memory beside inputs.

    python benchmarks/bench_growth.py                  # all
    python benchmarks/bench_growth.py slices           # one of threads, structures, slices, spacing
    python benchmarks/bench_growth.py --write          # ... and keep the table in benchmarks/results/growth.md

Each row is a process of its own: it makes its inputs, imports segae, scores once ("first": the model is opened), then
`TURNS` times more (median), by the judge alone. Memory is the peak beyond what the process held before it scored.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
TURNS = 3


@dataclass(frozen=True)
class Work:
    """A labelmap of boxes side by side in a noisy body of 400 x 400 x `height_mm` mm."""

    threads: int = 2
    structures: int = 20
    height_mm: float = 450.0
    spacing_mm: tuple[float, float, float] = (1.5, 0.8, 0.8)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        extent = (self.height_mm, 400.0, 400.0)
        z, y, x = (max(1, round(mm / step)) for mm, step in zip(extent, self.spacing_mm, strict=True))
        return z, y, x


USUAL = Work()
SERIES: dict[str, list[Work]] = {
    "threads": [replace(USUAL, threads=n) for n in (1, 2)],
    "structures": [replace(USUAL, structures=n) for n in (1, 5, 20, 60, 117)],
    "slices": [replace(USUAL, height_mm=1.5 * n) for n in (20, 75, 300, 1200)],
    "spacing": [replace(USUAL, spacing_mm=steps) for steps in ((5.0, 0.8, 0.8), (1.5, 0.8, 0.8), (0.75, 0.5, 0.5))],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="*", metavar="series", help=f"of {', '.join(SERIES)}; default: all")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/growth.md")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(measure(Work(**json.loads(given.row)))))
        return
    unknown = set(given.series) - SERIES.keys()
    if unknown:
        parser.error(f"no such series: {', '.join(sorted(unknown))}; there are {', '.join(SERIES)}")
    lines = [
        "| series | threads | structures | volume | first | later | for each structure | memory more |",
        "|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    print("\n".join(lines))
    for name in given.series or SERIES:
        for work in SERIES[name]:
            command = [sys.executable, __file__, "--row", json.dumps(asdict(work))]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            shape = " x ".join(map(str, work.shape))
            lines.append(
                f"| {name} | {work.threads} | {work.structures} | {shape} | {found['first']:.2f} s "
                f"| {found['later']:.2f} s | {1e3 * found['later'] / work.structures:.0f} ms | {found['mib']:.0f} MB |"
            )
            print(lines[-1], flush=True)
    if given.write:
        (HERE / "results" / "growth.md").write_text("\n".join([*heading(), *lines, ""]))


def measure(work: Work) -> dict[str, float]:
    """Score a labelmap; seconds of the first and of a later call, and MiB beyond the inputs."""
    ct, labelmap = volumes(work)
    before = _peak_mib()
    import segae

    names = dict(enumerate(list(segae.structures.labels("totalsegmentator_v2").values())[: work.structures], 1))
    seconds = []
    for _ in range(TURNS + 1):
        begin = time.perf_counter()
        if not seconds:
            engine = segae.Engine(device="cpu", threads=work.threads)
        engine.assess_labels(ct, labelmap, names, spacing=work.spacing_mm, reference=None)
        seconds.append(time.perf_counter() - begin)
    return {"first": seconds[0], "later": statistics.median(seconds[1:]), "mib": _peak_mib() - before}


def volumes(work: Work) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Noise in an elliptical body, and as many boxes as structures, in columns through the whole height."""
    rng = np.random.default_rng(0)
    _, height, width = work.shape
    y, x = np.ogrid[:height, :width]
    body = ((y / height - 0.5) / 0.45) ** 2 + ((x / width - 0.5) / 0.48) ** 2 < 1
    side = int(np.ceil(np.sqrt(work.structures)))
    cell = (y * side // height) * side + x * side // width + 1
    plane = np.where(body & (cell <= work.structures), cell, 0).astype(np.uint8)
    labelmap = np.repeat(plane[None], work.shape[0], axis=0)
    labelmap[[0, -1]] = 0
    ct = np.empty(work.shape, np.int16)
    for tissue in ct:
        tissue[:] = np.where(body, rng.integers(-60, 120, body.shape, np.int16), -1000)
    return ct, labelmap


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def heading() -> list[str]:
    """What was run, where and when."""
    import onnxruntime

    import segae

    return [
        "# How cost grows",
        "",
        f"`python benchmarks/bench_growth.py`, {datetime.date.today()}. {platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end. Python {platform.python_version()}, segae {segae.__version__}, "
        f"ONNX Runtime {onnxruntime.__version__}. `assess_labels` by the judge alone.",
        "",
    ]


if __name__ == "__main__":
    main()
