"""Threads: how many to use when the caller does not say, and a list of jobs spread over them."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from segae.errors import ParameterError

T = TypeVar("T")


def checked_threads(threads: int | None) -> int | None:
    """The number that the caller asked for, or None.

    Raises
    ------
    ParameterError
        When it is no positive integer.
    """
    if threads is None:
        return None
    try:
        number = operator.index(threads)
    except TypeError as error:
        raise ParameterError(f"threads: expected a positive integer or None, got {threads!r}.") from error
    if number < 1:
        raise ParameterError(f"threads: expected a positive number or None, got {threads!r}.")
    return number


def available_threads() -> int:
    """Number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
