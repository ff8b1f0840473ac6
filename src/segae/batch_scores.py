"""The predicted Dice of every mask of a batch: slices of all of them share network calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from segae.assembly import warn_of
from segae.batch import Affines, Spacing, in_type_of, load_batch, name_masks
from segae.errors import ParameterError
from segae.judge import Judge
from segae.judging import Task, check_places
from segae.masks import label_of_mask, read_masks
from segae.named_values import named_values
from segae.structures import Structure
from segae.threads import run_all
from segae.volume import Volume


def score_batch(
    judge: Judge,
    images: object,
    masks: object,
    structures: str | Sequence[str] | Mapping[int, str],
    affine: Affines | None,
    spacing: Spacing | None,
    axes: str,
    label: int | None,
) -> Any:
    """Read a batch, predict the Dice of its masks, and return an array of the library that the masks came in.

    Parameters, result and errors are those of `Engine.score_batch`.
    """
    named = named_values(structures) if isinstance(structures, Mapping) else None
    if named is not None and label is not None:
        raise ParameterError("label: structures names the values already; drop label.")
    pairs = load_batch(images, masks, affine, spacing, axes)
    if named is None:
        wanted = [[what] for what in name_masks(cast("str | Sequence[str]", structures), len(pairs))]
    else:
        wanted = [list(named.values())] * len(pairs)
    check_places(pairs, judge.session.device)
    scores = score_pairs(judge, pairs, wanted, None if named is None else list(named), label)
    return in_type_of(scores[:, 0] if named is None else scores, masks)


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
