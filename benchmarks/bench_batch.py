"""What `Engine.score_batch` gains on the CPU.

    python benchmarks/bench_batch.py [--masks 64] [--turns 5] [--write]

What is compared runs in turns in one process; the ratio is that of the medians, so that a busy machine slows both
alike.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import segae
from segae import demo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", type=int, default=64)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--model", default="default")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/batch.md")
    given = parser.parse_args()

    image, masks, names = batch(given.masks)
    one, two = (segae.Engine(given.model, "cpu", threads=threads) for threads in (1, 2))
    half = given.masks // 2

    def batched(engine: segae.Engine) -> Callable[[], object]:
        return lambda: engine.score_batch(image, masks, names, spacing=demo.SPACING_MM)

    def single(engine: segae.Engine) -> Callable[[], object]:
        return lambda: [
            engine.score(image, mask, name, spacing=demo.SPACING_MM) for mask, name in zip(masks, names, strict=True)
        ]

    def two_callers() -> None:
        with ThreadPoolExecutor(2) as pool:
            parts = (slice(0, half), slice(half, None))
            jobs = [
                pool.submit(one.score_batch, image, masks[part], names[part], spacing=demo.SPACING_MM) for part in parts
            ]
            for job in jobs:
                job.result()

    jobs = [single(two), batched(two), batched(one), two_callers]
    singles, batch_two, batch_one, callers = medians(jobs, given.turns)
    n = given.masks
    lines = [
        "| what | before | now | gain | wanted |",
        "|---|---:|---:|---:|---:|",
        row(f"score_batch of {n} masks against {n} calls of score, 2 threads", singles, batch_two, n, "1.2x"),
        row("score_batch: 2 threads of an engine against 1", batch_one, batch_two, n, "1.7x"),
        row("score_batch: 2 callers of an engine with 1 thread against 1 caller", batch_one, callers, n, "1.7x"),
    ]
    print("\n".join(lines))
    if given.write:
        path = Path(__file__).parent / "results" / "batch.md"
        path.write_text("\n".join([*heading(given.turns), *lines, ""]))


def batch(n: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Shifted masks of three structures on the demo's CT, 64 x 130 x 176."""
    image, masks = demo.phantom()
    rng = np.random.default_rng(0)
    names = [demo.STRUCTURES[i % len(demo.STRUCTURES)] for i in range(n)]
    shifted = [np.roll(masks[name], tuple(rng.integers(-4, 5, 3)), (0, 1, 2)) for name in names]
    return image, np.stack(shifted), names


def medians(jobs: list[Callable[[], object]], turns: int) -> list[float]:
    """Median seconds of each; the first turn, which warms caches, does not count."""
    times: list[list[float]] = [[] for _ in jobs]
    for turn in range(turns + 1):
        for job, mine in zip(jobs, times, strict=True):
            begin = time.perf_counter()
            job()
            if turn > 0:
                mine.append(time.perf_counter() - begin)
    return [statistics.median(mine) for mine in times]


def row(what: str, before: float, now: float, n: int, wanted: str) -> str:
    return f"| {what} | {1e3 * before / n:.1f} ms a mask | {1e3 * now / n:.1f} ms | {before / now:.2f}x | {wanted} |"


def heading(turns: int) -> list[str]:
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return [
        "# score_batch on the CPU",
        "",
        f"{datetime.date.today()}, segae {segae.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {os.cpu_count()} cores; medians of {turns} turns taken in alternation. Load average "
        f"{load}: where it is above the number of cores, others used the machine, and only the ratios mean something.",
        "",
    ]


if __name__ == "__main__":
    main()
