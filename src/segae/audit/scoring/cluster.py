"""The same cases on many machines: Dask distributed schedules, this process keeps the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from segae.audit.scoring.worker import Outcome, Settings, failed_case, score_case
from segae.datasets.case import Case
from segae.errors import AuditError, ParameterError, SegaeError

# Cases that a worker's thread has before it: enough that none waits, few enough that a lost scheduler loses little.
_AHEAD = 3


def score_on_cluster(cases: Iterable[Case], scheduler: str, settings: Settings) -> Iterator[Outcome]:
    """Score cases on the workers of a Dask scheduler, in the order in which they end.

    A case whose worker dies goes to another one; Dask gives it up after so many deaths as it is set to allow
    (``distributed.scheduler.allowed-failures``, 3), and it becomes a failed case.

    Parameters
    ----------
    cases : iterable of Case
        Their paths must lead to the same files on all machines.
    scheduler : str
        Address, such as ``tcp://node1:8786``, or the path of a scheduler file.
    settings : Settings

    Raises
    ------
    ParameterError
        When Dask is not installed.
    AuditError
        When the scheduler cannot be reached.
    ModelFileError, DeviceError
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ParameterError("scheduler: needs Dask: pip install 'segae[dask]'.") from error
    where: dict[str, Any] = {"scheduler_file": scheduler} if scheduler.endswith(".json") else {"address": scheduler}
    try:
        client = Client(**where, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise AuditError(f"scheduler: {scheduler} cannot be reached ({error}).") from error
    with client:
        waiting = iter(cases)
        submitted: dict[str, Case] = {}

        def submit(number: int) -> list[Any]:
            futures = []
            for case in islice(waiting, number):
                future = client.submit(score_case, case, settings, pure=False)
                submitted[future.key] = case
                futures.append(future)
            return futures

        threads = sum(client.nthreads().values())
        with client.as_current():
            going = as_completed(submit(_AHEAD * max(threads, 1)))
        for future in going:
            yield _outcome(future, submitted.pop(future.key), settings)
            future.release()
            going.update(submit(1))


def _outcome(future: Any, case: Case, settings: Settings) -> Outcome:
    from distributed.scheduler import KilledWorker

    try:
        outcome: Outcome = future.result()
    except KilledWorker as error:
        return failed_case(case, settings, f"worker: {error}")
    except SegaeError:
        raise
    except Exception as error:  # what a lost scheduler or a foreign version of segae raises has no common base
        raise AuditError(
            f"scheduler: {case.id} came back with {type(error).__name__}: {error}\n"
            f"All cases that were finished are kept; give the same command to go on."
        ) from error
    return outcome
