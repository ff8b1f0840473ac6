"""Worker processes on this machine, each with an engine of its own, fed one case at a time through a pipe.

A process each, since much of a case's time goes into Python between calls that release the GIL. The pipe tells at once
which case killed a worker, and the worker that its parent is dead, however it died.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from segae.audit.scoring.worker import Outcome, Settings, failed_case, open_engine, score_case
from segae.datasets.case import Case
from segae.errors import AuditError, SegaeError

# A worker that dies may have been killed for the memory that others took; a case that kills two is to blame.
_ATTEMPTS = 2
# So many deaths before the first word of a worker, with no start that succeeds between them, and none ever will.
_STARTS = 3
_READY = "ready"


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    case: Case | None = None


def score_here(cases: Iterable[Case], workers: int, settings: Settings) -> Iterator[Outcome]:
    """Score cases in worker processes, in the order in which they end.

    Parameters
    ----------
    cases : iterable of Case
        Drawn from as workers become free.
    workers : int
        Number of processes; each holds a CT and two masks.
    settings : Settings

    Raises
    ------
    AuditError
        When workers cannot be started.
    ModelFileError, DeviceError
    """
    waiting = iter(cases)
    again: list[Case] = []
    attempts: dict[str, int] = {}
    running: list[_Worker] = []
    failed_starts = 0
    try:
        running += (_start(settings) for _ in range(workers))
        while running:
            for pipe in wait([worker.pipe for worker in running]):
                worker = next(entry for entry in running if entry.pipe is pipe)
                message = _receive(worker)
                if message is None:
                    running.remove(worker)
                    failed_starts += not worker.ready
                    outcome = _mourn(worker, again, attempts, settings)
                    if failed_starts >= _STARTS:
                        raise _cannot_start(worker)
                    running.append(_start(settings))
                elif message == _READY:
                    worker.ready = True
                    failed_starts = 0
                    outcome = None
                else:
                    outcome = message
                    worker.case = None
                if outcome is not None:
                    yield outcome
            for worker in [worker for worker in running if worker.ready and worker.case is None]:
                case = again.pop() if again else next(waiting, None)
                if case is not None:
                    _send(worker, case)
                elif not any(other.case for other in running):
                    _stop(running)
                    running.clear()
    finally:
        _stop(running)


def _start(settings: Settings) -> _Worker:
    # Not forked: threads and ONNX Runtime do not survive that.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, settings), daemon=True)
    process.start()
    theirs.close()  # so that only the worker holds it, and its death is seen
    return _Worker(process, ours)


def _send(worker: _Worker, case: Case) -> None:
    worker.case = case
    with contextlib.suppress(OSError):  # a dead worker is seen when it is heard
        worker.pipe.send(case)


def _receive(worker: _Worker) -> Any:
    """What a worker says; None when it died."""
    try:
        message = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    if isinstance(message, Exception):
        raise message
    return message


def _mourn(worker: _Worker, again: list[Case], attempts: dict[str, int], settings: Settings) -> Outcome | None:
    """A dead worker's case is tried once more, then given up."""
    worker.process.join()
    worker.pipe.close()
    case = worker.case
    if case is None:
        return None
    attempts[case.id] = attempts.get(case.id, 0) + 1
    if attempts[case.id] < _ATTEMPTS:
        again.append(case)
        return None
    how = _how_it_died(worker)
    return failed_case(case, settings, f"worker: the process died at this case ({how}). Too little memory?")


def _cannot_start(worker: _Worker) -> AuditError:
    return AuditError(
        f"workers: worker processes die at their start ({_how_it_died(worker)}). In a script, call "
        f'segae.audit.run under `if __name__ == "__main__":`; else there may be too little memory for so many workers.'
    )


def _how_it_died(worker: _Worker) -> str:
    code = worker.process.exitcode
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _stop(workers: Iterable[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join()
        worker.pipe.close()


def _work(pipe: Connection, settings: Settings) -> None:
    """Run a worker: say that it is ready, then take cases until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logging.getLogger("segae").setLevel(logging.ERROR)  # what was left out is told once, by the parent
    try:
        open_engine(settings)
    except SegaeError as error:
        pipe.send(error)
        return
    pipe.send(_READY)
    with contextlib.suppress(EOFError, OSError):
        while True:
            try:
                outcome: Outcome | Exception = score_case(pipe.recv(), settings)
            except SegaeError as error:
                outcome = error
            pipe.send(outcome)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child
    parent.join()
    os._exit(1)
