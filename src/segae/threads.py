"""Threads: how many to use when the caller does not say, and a list of jobs spread over them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from segae.arguments import whole_number
from segae.errors import ParameterError

T = TypeVar("T")


def available_threads() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(threads: object) -> int:
    """Return the number of threads that a caller asked for, or all that the process may use for None.

    Raises
    ------
    ParameterError
        When it is no whole number, or below 1.
    """
    if threads is None:
        return available_threads()
    count = whole_number(threads, "threads")
    if count < 1:
        raise ParameterError(f"threads: expected a positive number or None, got {threads!r}.")
    return count


def run_all(jobs: Sequence[Callable[[], T]], threads: int) -> list[T]:
    """Call every job, on at most `threads` threads, of which the caller's is one; results in the jobs' order.

    Threads live for the call only (about 0.1 ms each): there is no pool to fork, pickle or leak. When a job raises, no
    further one is begun, and the exception of the first in order is raised here.
    """
    results: list[T | None] = [None] * len(jobs)
    failures: dict[int, BaseException] = {}
    waiting = iter(range(len(jobs)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                i = None if failures else next(waiting, None)
            if i is None:
                return
            try:
                results[i] = jobs[i]()
            except BaseException as error:
                failures[i] = error

    helpers = [threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(jobs)) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[min(failures)]
    return results  # type: ignore[return-value]  # every job put its result
