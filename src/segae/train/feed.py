"""Keeps a ring of sample files on disk, written by processes of their own and read by the training loop.

Cutting slices costs about as much as learning from them. The ring lets both run at once at their own speed, lets the
loop see a sample a few times before it is replaced, and makes a killed run continue where it stood.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from multiprocessing.process import BaseProcess as Process
from pathlib import Path

import numpy as np

from segae.train.synthesis import Samples

# Files that a batch is mixed from.
FILES_AT_ONCE = 4

Source = Callable[[np.random.Generator], Iterator[Samples]]


@dataclass(frozen=True)
class Ring:
    """A folder of at most `size` sample files; the oldest is overwritten."""

    folder: Path
    size: int

    def files(self) -> list[Path]:
        """Complete files, in no particular order."""
        return sorted(self.folder.glob("shard_*.npz"))

    def put(self, samples: Samples, turn: int) -> None:
        """Write a file, visible only when complete."""
        goal = self.folder / f"shard_{turn % self.size:04d}.npz"
        part = goal.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, **{f.name: getattr(samples, f.name) for f in fields(Samples)})
        part.replace(goal)

    def get(self, file: Path) -> Samples:
        """Read a file."""
        with np.load(file, allow_pickle=False) as arrays:
            return Samples(**{f.name: arrays[f.name] for f in fields(Samples)})


def batches(
    ring: Ring, size: int, rng: np.random.Generator, watch: Callable[[], None] = lambda: None
) -> Iterator[Samples]:
    """Batches of `size` samples, mixed from a few files at a time, without end; `watch` is called for each such few."""
    while True:
        watch()
        files = ring.files()
        some = rng.choice(len(files), min(FILES_AT_ONCE, len(files)), replace=False)
        pool = Samples.join([ring.get(files[i]) for i in some])
        order = rng.permutation(len(pool))
        for first in range(0, len(order) - size + 1, size):
            yield pool.take(order[first : first + size])


def start(ring: Ring, source: Source, seed: int, niceness: int = 5, workers: int = 1) -> list[Process]:
    """Start the processes that write, each its own samples, in turns; they end with their parent."""
    ring.folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    first = len(ring.files())
    processes: list[Process] = [
        context.Process(
            target=_produce, args=(ring, source, seed, first + i, workers, os.getpid(), niceness), daemon=True
        )
        for i in range(workers)
    ]
    for process in processes:
        process.start()
    return processes


def wait_for(ring: Ring, count: int, processes: Sequence[Process]) -> None:
    """Block until the ring holds `count` files."""
    while len(ring.files()) < count:
        require_alive(processes)
        time.sleep(0.5)


def require_alive(processes: Sequence[Process]) -> None:
    """Raise RuntimeError when a process that writes has ended: the loop would go on with stale samples unnoticed."""
    for process in processes:
        if not process.is_alive():
            raise RuntimeError(
                f"a process that makes samples ended with exit code {process.exitcode}; its error stands above. "
                f"The checkpoint is kept: the same command goes on from there."
            )


def _produce(ring: Ring, source: Source, seed: int, turn: int, step: int, parent: int, niceness: int) -> None:
    os.nice(niceness)
    os.environ["OMP_NUM_THREADS"] = "1"
    for samples in source(np.random.default_rng([seed, turn])):
        ring.put(samples, turn)
        turn += step
        if os.getppid() != parent:
            return
