"""What predictions are worth for the decisions of people who review masks.

Test masks are spoiled far more often than masks of a data set. So bad and good masks are weighted here to a stated
prevalence of bad ones, as a curator may meet it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from segae.train.figures import auroc
from segae.train.judged import Row

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

RECALL = 0.95
LIMITS = (0.8, 0.7)
PREVALENCES = (0.05, 0.1, 0.3)
# Two versions of a mask count as different from this difference of their true Dice on.
_APART = 0.05


def decisions(rows: Sequence[Row]) -> dict[str, float]:
    """Figures of whole masks for reviewers; nan where there is nothing to count.

    Returns
    -------
    dict
        - "WSS@95, Dice < 0.7, 10 %": `work_saved`, for each limit and prevalence.
        - "precision of the first 10 %, Dice < 0.7, 10 %": share of bad masks among as many of the worst as there are
          bad ones.
        - "pairs ranked": `pairs_ranked`.
        - "swap AUROC", "swap mean", "truncation AUROC", "untouched mean": predictions of these kinds of masks; the
          AUROC against untouched ones.
        - "truncated flag, KIND": share of the masks of a kind that carry it; "... precision" and "... recall" of the
          flag for truncated masks among truncated and untouched ones.
        - "interval coverage", "interval width": of the 90 % interval.
    """
    true, said = np.array([r.true for r in rows]), np.array([r.said for r in rows])
    kind = np.array([r.kind for r in rows])
    found: dict[str, float] = {}
    for limit in LIMITS:
        for prevalence in PREVALENCES:
            bad = true < limit
            about = f"Dice < {limit}, {prevalence:.0%}".replace("%", " %")
            found[f"WSS@95, {about}"] = work_saved(bad, said, prevalence)
            found[f"precision of the first {prevalence * 100:.0f} %, {about}"] = precision_of_first(
                bad, said, prevalence
            )
    found["pairs ranked"] = pairs_ranked(rows)
    for name, short in (("swap", "swap"), ("truncate", "truncation")):
        some = np.isin(kind, (name, "untouched"))
        found[f"{short} AUROC"] = auroc(true[some], said[some], kind[some] == name)
        found[f"{short} mean"] = _mean(said[kind == name])
    found["untouched mean"] = _mean(said[kind == "untouched"])
    flagged = np.array(["truncated" in r.flags.split(";") for r in rows])
    for name in sorted(set(kind.tolist())):
        found[f"truncated flag, {name}"] = _mean(flagged[kind == name])
    some = np.isin(kind, ("truncate", "untouched"))
    found["truncated flag, precision"] = _mean(kind[some & flagged] == "truncate")
    found["truncated flag, recall"] = _mean(flagged[kind == "truncate"])
    low, high = np.array([r.low for r in rows]), np.array([r.high for r in rows])
    given = ~np.isnan(low)
    found["interval coverage"] = _mean(((true >= low) & (true <= high))[given])
    found["interval width"] = _mean((high - low)[given])
    return found


def work_saved(bad: Bool, said: Float64, prevalence: float, recall: float = RECALL) -> float:
    """Work saved over sampling at a recall (WSS; Cohen et al. 2006, J Am Med Inform Assoc 13:206).

    Masks are reviewed from the lowest prediction up until `recall` of the bad ones are found. What need not be
    reviewed then, less the share that chance would save at this recall.

    Parameters
    ----------
    bad : bool [n]
    said : float [n]
        Predicted Dice.
    prevalence : float
        Share of bad masks that the n are weighted to, in (0, 1).
    recall : float
        In (0, 1].

    Returns
    -------
    float
        At most `recall`; nan without bad or without good masks.
    """
    share, seen = _reviewed(bad, said, prevalence)
    if share is None or seen is None:
        return float("nan")
    enough = int(np.searchsorted(seen, recall - 1e-9))
    return float(1 - share[enough] - (1 - recall))


def precision_of_first(bad: Bool, said: Float64, prevalence: float) -> float:
    """Share of bad masks among the `prevalence` of all that are predicted worst; nan as in `work_saved`."""
    share, seen = _reviewed(bad, said, prevalence)
    if share is None or seen is None:
        return float("nan")
    return float(np.interp(prevalence, np.append(0, share), np.append(0, seen)))


def _reviewed(bad: Bool, said: Float64, prevalence: float) -> tuple[Float64 | None, Float64 | None]:
    """Share of all masks, and of the bad ones, that lie at or below each mask's prediction, in its order."""
    if bad.all() or not bad.any():
        return None, None
    weight = np.where(bad, prevalence / bad.sum(), (1 - prevalence) / (~bad).sum())
    order = np.argsort(said, kind="stable")
    share, seen = np.cumsum(weight[order]), np.cumsum(bad[order]) / bad.sum()
    last = np.searchsorted(said[order], said[order], side="right") - 1  # masks with the same prediction come together
    return share[last], seen[last]


def pairs_ranked(rows: Sequence[Row]) -> float:
    """Share of the pairs of masks of one structure in one scan whose predictions stand in the order of the truth.

    Pairs count whose true Dice differ by more than 0.05; equal predictions count half.
    """
    versions: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        versions[row.case, row.structure].append(row)
    right = counted = 0.0
    for some in versions.values():
        true, said = np.array([r.true for r in some]), np.array([r.said for r in some])
        better = true[:, None] - true > _APART
        counted += np.count_nonzero(better)
        apart = (said[:, None] - said)[better]
        right += np.count_nonzero(apart > 0) + 0.5 * np.count_nonzero(apart == 0)
    return right / counted if counted else float("nan")


def _mean(values: npt.NDArray[np.bool_] | Float64) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
