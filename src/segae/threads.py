"""Threads: how many to use when the caller does not say, and a list of jobs spread over them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from segae.arguments import whole_number
from segae.errors import ParameterError

T = TypeVar("T")

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def available_threads() -> int:
    """Number of CPUs that this process may use: by its affinity, and by the quota of its container.

    ``docker run --cpus 2`` or a Kubernetes limit sets a quota of CPU time, which neither the affinity nor the number of
    CPUs shows. A quota of part of a CPU counts as a whole one.
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([mine, *(math.ceil(quota) for quota in _cpu_quotas())]))


def _cpu_quotas() -> Iterator[float]:
    """CPUs that each control group above this process allows, in version 2 (cpu.max) and version 1 (cpu.cfs_*)."""
    for folder in _cgroup_folders():
        quota, period = [*_text(folder / "cpu.max").split(), "", ""][:2]
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
        try:
            if float(quota) > 0 and float(period) > 0:
                yield float(quota) / float(period)
        except ValueError:  # "max", or no such group
            continue


def _cgroup_folders() -> Iterator[Path]:
    """Folders of the process's groups and of all above them, as mounted on the host or inside a container."""
    for line in _text(_OWN_CGROUPS).splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers == "" or "cpu" in controllers.split(","):
            for path in [Path(group), *Path(group).parents]:
                if path.is_absolute():
                    yield _CGROUPS / controllers / path.relative_to("/")
    yield from (_CGROUPS, _CGROUPS / "cpu", _CGROUPS / "cpu,cpuacct")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


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
