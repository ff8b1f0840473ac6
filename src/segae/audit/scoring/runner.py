"""`run`: find the cases, score those that are not done, keep each as it comes, write the tables."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from segae.audit.results import Results
from segae.audit.scoring.fingerprint import fingerprint
from segae.audit.scoring.local import score_here
from segae.audit.scoring.progress import show_progress
from segae.audit.scoring.weighing import weighed
from segae.audit.scoring.worker import Outcome, Settings, sha256_of
from segae.audit.store import Store, load
from segae.audit.tables import write_tables
from segae.datasets import Found, find_cases
from segae.datasets.case import Case
from segae.datasets.references import add_references
from segae.errors import AuditError, ParameterError
from segae.session import model_path
from segae.threads import available_threads

_log = logging.getLogger("segae")

# Asking a network mount for the state of a file waits far more than it works.
_ASKING_THREADS = 16

Dataset = str | os.PathLike[str] | Iterable[Case]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    found : Found
        What the dataset holds.
    scored, unchanged, failed : int
        Cases that were scored now; that an earlier run had done; and of all, those with an error.
    gone : int
        Cases that an earlier run scored and the dataset does not hold any more.
    unnamed : dict
        Value of labelmaps that nobody named -> number of cases with it.
    seconds : float
    results : Results
    """

    found: Found
    scored: int
    unchanged: int
    failed: int
    gone: int
    unnamed: dict[int, int]
    seconds: float
    results: Results


def run(
    dataset: Dataset,
    out: str | os.PathLike[str],
    *,
    names: Mapping[str, object] | Mapping[int, str] | str | Path | None = None,
    workers: int | None = None,
    model: str | os.PathLike[str] = "default",
    device: str = "auto",
    scheduler: str | None = None,
    reference: str | os.PathLike[str] | None = "auto",
    reference_names: Mapping[str, object] | Mapping[int, str] | str | Path | None = None,
    reference_reliability: float | None = None,
    resample_reference: bool = False,
    verified: Collection[str] = (),
    progress: bool = True,
    on_found: Callable[[Found], object] | None = None,
    on_case: Callable[[Outcome], object] | None = None,
) -> Summary:
    """Score every mask of a dataset; what is done already and has not changed is not done again.

    Parameters
    ----------
    dataset : path or iterable of Case
        A folder in one of the layouts of ``docs/audit.md``, a .csv table, or the cases themselves.
    out : path
        Folder for ``results.sqlite``, ``scores.csv``, ``matrix.csv``, ``summary.csv`` and ``dataset.csv``.
    names : dict, path or str, optional
        {dataset's name: structure}, {value of a labelmap: name}, a JSON file with either, or a label scheme.
    workers : int, optional
        Processes on this machine; default: one a CPU that the process may use. Each takes about 0.4 GB and twice
        the size of a CT: its voxels and those of two masks.
    model, device
        As for `segae.Engine`.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers then take the place of the processes.
    reference : path, "auto", "built-in" or None
        Masks of the same scans from elsewhere, to weigh beside the judge: a folder as in
        `segae.datasets.references.add_references`, or what the network in the package draws ("auto": where it can
        help). See ``docs/second_opinion.md``.
    reference_names : dict, path or str, optional
        What the reference's names and values mean.
    reference_reliability : float, optional
        Dice that the reference reaches as a rule, for structures that the dataset shows too rarely to tell.
    resample_reference : bool
        Bring references on other grids onto the scans', nearest neighbour.
    verified : collection of str
        Cases whose masks are known to be right: they decide how far the reference is trusted.
    progress : bool
        Show a bar with the rate and the time left, where stderr is a terminal.
    on_found : callable, optional
        Called with what the dataset holds, before any of it is read.
    on_case : callable, optional
        Called with every `Outcome`, once it is kept.

    Returns
    -------
    Summary

    Raises
    ------
    AuditError
        When the dataset is none that is known, `out` is in use or holds another one, the disk is full, or the dataset
        goes away meanwhile. All cases that were finished are kept; the same call goes on with the rest.
    ParameterError, ModelFileError, DeviceError
    """
    if workers is not None and workers < 1:
        raise ParameterError(f"workers: expected a positive number or None, got {workers!r}.")
    begin = time.perf_counter()
    path = model_path(model)
    digest = sha256_of(path)
    with Store(Path(out)) as store:
        found = find_cases(dataset, names)
        if on_found is not None:
            on_found(found)
        _check_found(found)
        root = _Root(found)
        cases, kind = found.cases, _kind(reference)
        if kind == "given":
            cases = add_references(cases, os.fspath(reference or ""), reference_names)
        unknown = sorted(set(verified) - {case.id for case in cases})
        if unknown:
            raise ParameterError(
                f"verified: the dataset has no case {unknown[0]!r}; see the column case of scores.csv."
            )
        waiting = _waiting(cases, store, digest, root.path, kind)
        _check_same(found, store, len(found.cases) - len(waiting))
        processes = max(1, min(workers or available_threads(), len(waiting)))
        threads = 1 if scheduler else max(1, available_threads() // processes)
        settings = Settings(
            "default" if model == "default" else str(path), digest, device, threads, str(root.path), kind,
            reference_reliability, resample_reference,
        )  # fmt: skip
        gone = store.mark_present({case.id for case in found.cases})
        _begin(store, found, settings, str(path))
        outcomes = _score(waiting, processes, scheduler, settings)
        unnamed: Counter[int] = Counter()
        with show_progress(len(found.cases), len(found.cases) - len(waiting), progress) as advance:
            for outcome in outcomes:
                if outcome.case.error is not None:
                    root.check()
                store.commit(outcome.case, outcome.masks)
                unnamed.update(outcome.unnamed.keys())
                advance(len(outcome.masks))
                if on_case is not None:
                    on_case(outcome)
        store.set_meta(finished=_now(), reference=os.fspath(reference) if reference is not None else "none")
        results = load(out)
        changed = weighed(results.masks, verified, reference_reliability)
        if changed:
            store.weigh(changed)
            results = load(out)
        write_tables(results)
    if unnamed:
        _log.warning("values of labelmaps without a name, and in how many cases: %s", dict(sorted(unnamed.items())))
    failed = sum(case.error is not None for case in results.cases)
    scored, unchanged = len(waiting), len(found.cases) - len(waiting)
    seconds = time.perf_counter() - begin
    return Summary(found, scored, unchanged, failed, gone, dict(unnamed), seconds, results)


def _check_found(found: Found) -> None:
    if any(case.masks for case in found.cases):
        return
    unknown = ", ".join(f"{name} ({advice})" for name, (_, advice) in list(found.unknown.items())[:5])
    raise AuditError(
        f"dataset: {found.root} ({found.layout}) holds no mask of a known structure."
        + (f" Names that it has: {unknown}. Map them with --names FILE." if unknown else "")
        + (f" {found.problems[0]}." if found.problems and not unknown else "")
    )


def _check_same(found: Found, store: Store, unchanged: int) -> None:
    """Refuse another dataset than the one that was begun with: one elsewhere, of which no case is as it was."""
    before = store.meta().get("dataset")
    if before is None or unchanged or not store.fingerprints() or _same_place(Path(before), found.root):
        return
    raise AuditError(f"out: {store.out} holds the audit of {before}. Pick another folder for {found.root} with -o.")


def _kind(reference: str | os.PathLike[str] | None) -> str:
    """What `Settings.reference` says of a reference."""
    if reference is None:
        return "none"
    return str(reference) if reference in ("auto", "built-in") else "given"


def _same_place(one: Path, other: Path) -> bool:
    try:
        return one == other or one.resolve() == other.resolve()
    except (OSError, RuntimeError):  # a link to itself
        return False


def _waiting(cases: list[Case], store: Store, digest: str, root: Path, reference: str) -> list[Case]:
    """Cases that are not done, or not as they are now."""
    known = store.fingerprints()
    with ThreadPoolExecutor(_ASKING_THREADS) as pool:
        done = [case for case in cases if case.id in known]
        now = pool.map(lambda case: fingerprint(case, digest, root, reference), done)
        unchanged = {case.id for case, seen in zip(done, now, strict=True) if known[case.id] == seen}
    return [case for case in cases if case.id not in unchanged]


def _begin(store: Store, found: Found, settings: Settings, model: str) -> None:
    from segae import __version__

    place = store.meta().get("root")
    if place is not None and place != settings.root:
        store.move(place, settings.root)
    before = store.meta().get("segae")
    if before not in (None, __version__):
        _log.warning("out: %s was begun by segae %s and goes on with %s", store.out, before, __version__)
    store.set_meta(
        segae=__version__,
        model=model,
        model_sha256=settings.model_sha256,
        dataset=str(found.root),
        root=settings.root,
        layout=found.layout,
        started=_now(),
        finished=None,
    )


def _score(cases: list[Case], workers: int, scheduler: str | None, settings: Settings) -> Iterator[Outcome]:
    if not cases:
        return iter(())
    if scheduler is None:
        return score_here(cases, workers, settings)
    from segae.audit.scoring.cluster import score_on_cluster

    return score_on_cluster(cases, scheduler, settings)


class _Root:
    """The folder that all of the dataset lies in: when it goes away, a mount is lost, and no case is to blame."""

    def __init__(self, found: Found) -> None:
        if found.root.is_dir() and found.root != Path():
            self.path = found.root
        else:
            images = [str(case.image.absolute().parent) for case in found.cases if case.image is not None]
            self.path = Path(os.path.commonpath(images)) if images else Path.cwd()
        self._identity = self._look()

    def check(self) -> None:
        """Raise AuditError when the folder is not what it was."""
        if self._look() != self._identity:
            raise AuditError(
                f"dataset: {self.path} is not there any more: was a mount lost? All cases that were finished are kept; "
                f"mount it again and give the same command to go on."
            )

    def _look(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
            with os.scandir(self.path):
                return status.st_dev, status.st_ino
        except OSError:
            return None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
