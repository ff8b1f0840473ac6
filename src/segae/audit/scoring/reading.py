"""Masks of a case, read by a second thread while the first looks at the one before, into memory that is used again."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segae.volume import Volume, load


class Memory:
    """Bytes that are given again and again: what was put there before is lost."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def __call__(self, size: int) -> npt.NDArray[np.uint8]:
        """Give `size` bytes."""
        if size > len(self._bytes):
            self._bytes = np.empty(0, np.uint8)  # before the larger one is made
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size]


class Memories(threading.local):
    """One thread's memory: for a CT, and for a mask that is looked at while the next is read."""

    def __init__(self) -> None:
        self.image = Memory()
        self.masks = (Memory(), Memory())


def read_masks(paths: Sequence[Path], memories: Memories) -> Iterator[tuple[Path, Volume | Exception]]:
    """Read masks or labelmaps, one ahead.

    Yields
    ------
    path : Path
    volume : Volume, or the error that came in its place
        Valid until the next is drawn.
    """
    slots = memories.masks  # here, because another thread sees memories of its own

    def read(index: int) -> Volume | Exception:
        try:
            return load(paths[index], "mask", scaled=True, allocate=slots[index % len(slots)])
        except Exception as error:  # of one mask, which must not take the others with it
            return error

    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, 0) if paths else None
        for index, path in enumerate(paths):
            assert ahead is not None  # there are paths
            volume = ahead.result()
            ahead = reader.submit(read, index + 1) if index + 1 < len(paths) else None
            yield path, volume
