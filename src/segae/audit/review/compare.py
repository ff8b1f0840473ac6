"""Which of several versions of a dataset's labels is better, by predicted Dice of one structure in one scan.

Masks are paired by case and structure. A pair counts where both have a Dice; everything else is listed, not guessed: a
mask that one version lacks or leaves empty may be right or wrong. The difference of a structure gets a percentile
bootstrap interval and an exact two-sided sign test, corrected for the number of structures (Holm). For all structures
together, whole cases are drawn, since the masks of one scan err together.
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from segae.anatomy.findings import KINDS
from segae.audit.results import MaskRow, Results
from segae.audit.store import load
from segae.errors import AuditError, ParameterError

Float64 = npt.NDArray[np.float64]
Pair = tuple[str, str]

CONFIDENCE = 0.95
ALPHA = 0.05
_RESAMPLES = 4000
_AT_ONCE = 200  # resamples drawn together; bounds memory
# Closer Dice than this count as equal in the sign test: below it, rounding in the results decides.
_EQUAL = 1e-4


@dataclass(frozen=True)
class Difference:
    """Paired comparison of two versions, B - A.

    Attributes
    ----------
    structure : str
        "" for all structures together.
    n : int
        Pairs.
    mean_a, mean_b, mean : float
        Mean Dice of A and of B, and of the difference.
    low, high : float
        Bootstrap interval of the mean difference, 95 %.
    better, worse : int
        Pairs in which B has the higher, the lower Dice.
    p : float
        Of the sign test; Holm-corrected for structures. nan for all together, whose masks are not independent.
    verdict : "A", "B" or ""
        Which is better: the interval leaves out 0 and, for structures, p is below 0.05.
    """

    structure: str
    n: int
    mean_a: float
    mean_b: float
    mean: float
    low: float
    high: float
    better: int
    worse: int
    p: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Two versions of the masks of one structure, compared.

    Attributes
    ----------
    structures : list of Difference
        Largest absolute mean difference first.
    all : Difference or None
        All structures together; None without pairs.
    only_a, only_b : list of (case, structure)
        Masks with a Dice in one version only.
    ambiguous : list of (case, structure)
        Left out, since a version has several masks of the structure in that case.
    contradicted : dict of kind -> (int, int)
        Masks of A and of B that the other structures of their scan contradict, by kind of flag (`segae.anatomy`);
        kinds that occur.
    """

    structures: list[Difference]
    all: Difference | None
    only_a: list[Pair]
    only_b: list[Pair]
    ambiguous: list[Pair]
    contradicted: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Best:
    """The candidate with the highest predicted Dice for a mask.

    Attributes
    ----------
    case_id, structure : str
    candidate : int
        Index into the versions compared.
    mask : MaskRow
    margin : float
        Dice above the second best; nan where there is no other.
    candidates : int
        How many had a Dice.
    """

    case_id: str
    structure: str
    candidate: int
    mask: MaskRow
    margin: float
    candidates: int


def compare(out_a: str | os.PathLike[str], out_b: str | os.PathLike[str], seed: int = 0) -> Comparison:
    """Compare two audits of the same scans with different labels.

    Parameters
    ----------
    out_a, out_b : path
        Folders of audits.
    seed : int
        Of the bootstrap.

    Raises
    ------
    AuditError
        When either holds no audit, or they were made with different models.
    """
    results = load_versions([out_a, out_b])
    (a, many_a), (b, many_b) = (_by_pair(version) for version in results)
    ambiguous = many_a | many_b
    pairs = sorted((a.keys() & b.keys()) - ambiguous)
    structure = np.array([pair[1] for pair in pairs], dtype=object)
    case = np.unique(np.array([pair[0] for pair in pairs], dtype=str), return_inverse=True)[1]
    dice_a = np.array([a[pair].dice for pair in pairs], np.float64)
    dice_b = np.array([b[pair].dice for pair in pairs], np.float64)
    rng = np.random.default_rng(seed)
    found = []
    for name in sorted(set(structure)):
        chosen = structure == name
        found.append(_difference(name, dice_a[chosen], dice_b[chosen], case[chosen], rng))
    corrected = holm([entry.p for entry in found])
    found = [_judged(entry, p) for entry, p in zip(found, corrected, strict=True)]
    together = _difference("", dice_a, dice_b, case, rng) if pairs else None
    return Comparison(
        sorted(found, key=lambda entry: (-abs(entry.mean), entry.structure)),
        None if together is None else _judged(together, math.nan),
        sorted(a.keys() - b.keys() - ambiguous),
        sorted(b.keys() - a.keys() - ambiguous),
        sorted(ambiguous),
        _contradicted(*results),
    )


def _contradicted(a: Results, b: Results) -> dict[str, tuple[int, int]]:
    counts = [Counter(flag.name for mask in version.masks for flag in set(mask.flags)) for version in (a, b)]
    return {kind: (counts[0][kind], counts[1][kind]) for kind in KINDS if counts[0][kind] or counts[1][kind]}


def best(outs: Sequence[str | os.PathLike[str]]) -> tuple[list[Best], list[Pair]]:
    """Choose the best of several candidate labels for every mask; of equal ones the first given.

    Returns
    -------
    best : list of Best
        In order of case and structure; masks without a Dice in any version are left out.
    ambiguous : list of (case, structure)
        Left out, since a version has several masks of the structure in that case.

    Raises
    ------
    AuditError
        As for `compare`.
    """
    versions = [_by_pair(version) for version in load_versions(outs)]
    ambiguous = set().union(*(many for _, many in versions))
    pairs = set().union(*(masks.keys() for masks, _ in versions)) - ambiguous
    found = []
    for pair in sorted(pairs):
        candidates = [(i, masks[pair]) for i, (masks, _) in enumerate(versions) if pair in masks]
        candidates.sort(key=lambda entry: (-entry[1].dice, entry[0]))
        first, mask = candidates[0]
        margin = mask.dice - candidates[1][1].dice if len(candidates) > 1 else math.nan
        found.append(Best(*pair, first, mask, margin, len(candidates)))
    return found, sorted(ambiguous)


def write_best(path: Path, found: Sequence[Best], names: Sequence[str]) -> None:
    """Write the best candidates as CSV, one row a mask.

    Raises
    ------
    AuditError
        When it cannot be written.
    """
    from segae.audit.tables import spreadsheet_cell

    columns = ("case", "structure", "best", "dice", "margin", "candidates", "mask", "labels", "image")
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            for entry in found:
                mask = entry.mask
                row: tuple[object, ...] = (
                    entry.case_id, entry.structure, names[entry.candidate], mask.dice, entry.margin, entry.candidates,
                    mask.mask, " ".join(map(str, mask.labels)), mask.image,
                )  # fmt: skip
                writer.writerow([spreadsheet_cell(value) for value in row])
    except OSError as error:
        raise AuditError(f"best: {path} cannot be written ({error.strerror}).") from error


def load_versions(outs: Sequence[str | os.PathLike[str]]) -> list[Results]:
    """Read audits that are to be compared; all must be of one model: scores of different models do not compare."""
    if len(outs) < 2:
        raise ParameterError(f"outs: expected at least two folders of audits, got {len(outs)}.")
    versions = [load(out) for out in outs]
    models = [version.meta.get("model_sha256", "") for version in versions]
    for version, model in zip(versions, models, strict=True):
        if model != models[0]:
            raise AuditError(
                f"out: {versions[0].out} was audited with the model {models[0][:12]}, {version.out} with {model[:12]}. "
                f"Scores of different models do not compare: audit again with one --model."
            )
    return versions


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p-values for their number."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected = [0.0] * len(p)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected


def sign_test(better: int, worse: int) -> float:
    """Exact two-sided p-value that so uneven a split comes from a fair coin; 1 when there is nothing to split."""
    n = better + worse
    if n == 0:
        return 1.0
    logs = np.cumsum(np.log(np.arange(1, n + 1)))
    factorial = np.concatenate([[0.0], logs])
    k = np.arange(min(better, worse) + 1)
    tail = np.exp(factorial[n] - factorial[k] - factorial[n - k] - n * math.log(2)).sum()
    return float(min(1.0, 2 * tail))


def _by_pair(version: Results) -> tuple[dict[Pair, MaskRow], set[Pair]]:
    """Masks with a Dice by (case, structure), and those pairs that occur more than once."""
    found: dict[Pair, MaskRow] = {}
    many: set[Pair] = set()
    for mask in version.masks:
        if math.isnan(mask.dice):
            continue
        pair = (mask.case_id, mask.structure)
        if pair in found:
            many.add(pair)
        found[pair] = mask
    return found, many


def _difference(
    structure: str, a: Float64, b: Float64, case: npt.NDArray[np.intp], rng: np.random.Generator
) -> Difference:
    difference = b - a
    low, high = _interval(difference, case, rng)
    better, worse = int((difference > _EQUAL).sum()), int((difference < -_EQUAL).sum())
    return Difference(
        structure, len(a), float(a.mean()), float(b.mean()), float(difference.mean()), low, high, better, worse,
        sign_test(better, worse), "",
    )  # fmt: skip


def _interval(difference: Float64, case: npt.NDArray[np.intp], rng: np.random.Generator) -> tuple[float, float]:
    """Percentile bootstrap of the mean over masks, drawing whole cases."""
    cases = np.unique(case, return_inverse=True)[1]
    sums = np.bincount(cases, weights=difference)
    counts = np.bincount(cases).astype(np.float64)
    means = []
    for _ in range(0, _RESAMPLES, _AT_ONCE):
        drawn = rng.integers(0, len(sums), (_AT_ONCE, len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)


def _judged(entry: Difference, p: float) -> Difference:
    clear = (entry.low > 0 or entry.high < 0) and not p >= ALPHA
    return Difference(
        entry.structure, entry.n, entry.mean_a, entry.mean_b, entry.mean, entry.low, entry.high, entry.better,
        entry.worse, p, ("B" if entry.mean > 0 else "A") if clear else "",
    )  # fmt: skip
