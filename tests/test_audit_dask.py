"""The audit on a Dask cluster of processes: the same rows, whatever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import audit_data
import pytest

from segae import audit
from segae.errors import AuditError

distributed = pytest.importorskip("distributed", exc_type=ImportError)

# Dask's own event loops and sockets are closed by its collector, late.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for seed in range(6):
        audit_data.write_case(root / f"s{seed}", ("liver", "spleen"), seed)
    return root


@pytest.fixture(scope="module")
def alone(dataset: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the processes of this machine say."""
    out = tmp_path_factory.mktemp("alone")
    return told(audit.run(dataset, out, workers=1, model=tiny_model, device="cpu").results)


def told(results: audit.Results) -> list[Any]:
    return [(mask.case_id, mask.structure, mask.dice, mask.error) for mask in results.masks]


def test_same_rows(cluster: Any, dataset: Path, alone: list[Any], tiny_model: Path, tmp_path: Path) -> None:
    summary = audit.run(dataset, tmp_path, scheduler=cluster.scheduler_address, model=tiny_model, device="cpu")
    assert told(summary.results) == alone
    again = audit.run(dataset, tmp_path, scheduler=cluster.scheduler_address, model=tiny_model, device="cpu")
    assert again.unchanged == 6


def test_one_engine_a_worker(cluster: Any, dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    def engines() -> int:
        from segae.audit.scoring import worker

        return len(worker._engines)

    for name in ("a", "b"):
        audit.run(dataset, tmp_path / name, scheduler=cluster.scheduler_address, model=tiny_model, device="cpu")
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        assert all(number <= 1 for number in client.run(engines).values())


def test_a_worker_is_killed(cluster: Any, dataset: Path, alone: list[Any], tiny_model: Path, tmp_path: Path) -> None:
    """Dask gives its cases to others, and its nanny starts another worker."""
    killed: list[int] = []
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        workers = list(client.run(os.getpid).values())

    def kill_one(outcome: object) -> None:
        if not killed:
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])

    summary = audit.run(
        dataset, tmp_path, scheduler=cluster.scheduler_address, model=tiny_model, device="cpu", on_case=kill_one
    )
    assert killed
    assert told(summary.results) == alone


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_scheduler_is_killed(dataset: Path, alone: list[Any], tiny_model: Path, tmp_path: Path) -> None:
    """The run stops with a message, and goes on elsewhere."""
    address = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen([*command, "--scheduler-file", str(address)], stderr=subprocess.DEVNULL)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"]
    worker = subprocess.Popen([*command, "--scheduler-file", str(address)], stderr=subprocess.DEVNULL)
    try:
        while not address.exists():
            assert scheduler.poll() is None
            time.sleep(0.1)
        with pytest.raises(AuditError, match="All cases that were finished are kept"):
            audit.run(
                dataset, tmp_path / "out", scheduler=str(address), model=tiny_model, device="cpu",
                on_case=lambda outcome: scheduler.kill(),
            )  # fmt: skip
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    summary = audit.run(dataset, tmp_path / "out", workers=1, model=tiny_model, device="cpu")
    assert 1 <= summary.unchanged < 6
    assert told(summary.results) == alone


def test_no_scheduler(dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(AuditError, match="cannot be reached"),
    ):
        audit.run(dataset, tmp_path, scheduler="tcp://127.0.0.1:9", model=tiny_model, device="cpu")
