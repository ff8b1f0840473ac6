"""The predicted Dice of every mask of a batch: slices of all of them share network calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from segae.assembly import warn_of
from segae.judge import Judge
from segae.judging import Task
from segae.masks import label_of_mask, read_masks
from segae.structures import Structure
from segae.threads import run_all
from segae.volume import Volume


def score_pairs(
    judge: Judge,
    pairs: Sequence[tuple[Volume, Volume]],
    wanted: Sequence[Sequence[Structure]],
    values: Sequence[int] | None,
    label: int | None,
) -> npt.NDArray[np.float32]:
    """Predict the 3D Dice of masks, or of several values of labelmaps.

    Parameters
    ----------
    judge : Judge
    pairs : sequence of (image, mask)
    wanted : sequence of k structures a pair
    values : sequence of k int, optional
        Of labelmaps; without it every mask holds one structure, k = 1.
    label : int, optional
        Which value of integer masks to look at.

    Returns
    -------
    float32 [b, k]
        nan where a mask is empty or a labelmap lacks the value.
    """
    names = [f"masks[{i}]" for i in range(len(pairs))]
    read = read_masks([mask for _, mask in pairs], names, judge.threads, binary=values is None)
    warn_of([(f"images[{i}]", image) for i, (image, _) in enumerate(pairs)], [mask for _, mask in pairs])

    def tasks_of(i: int) -> list[Task | None]:
        image, (mask, scans) = pairs[i][0], read[i]
        labels = [label_of_mask(scans, label, names[i])] if values is None else values
        return [
            judge.plan(image, mask, what, scans[value], threads=1) if value in scans else None
            for value, what in zip(labels, wanted[i], strict=True)
        ]

    planned = run_all([partial(tasks_of, i) for i in range(len(pairs))], judge.session.workers)
    flat = [task for tasks in planned for task in tasks]
    scores = np.full(len(flat), np.nan, np.float32)
    scores[[i for i, task in enumerate(flat) if task is not None]] = judge.dices([task for task in flat if task])
    return scores.reshape(len(pairs), 1 if values is None else len(values))
