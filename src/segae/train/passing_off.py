"""A mask passed off as a neighbouring structure: the same slices under a wrong name, made while learning.

Masks of neighbours among the samples (the kind "swap") are few, and the name is what a judge learns last: it would
rather believe any mask with sound borders. So a share of the samples whose mask is nearly all the structure's own is
given the name of a structure near to it. What is true then is known in part: the mask is wrong as a whole, and nothing
of the structure that is named lies where the other one does.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from segae.train.data import LabelledScan
from segae.train.losses import Targets
from segae.train.synthesis import nameless, structure_boxes, structure_names

# Usual share of the samples that can be passed off, and are.
USUAL_SHARE = 0.12
# Of the mask's voxels, so many must be the structure's own.
_LEAST_PRECISION = 0.9
# Distance of the middles at which a structure is named e times as seldom.
_NEAR_MM = 50.0


def nearness(scans: Iterable[LabelledScan]) -> npt.NDArray[np.float32]:
    """How often to name each structure for a mask of another, [structures + 1, structures + 1]; rows sum to 1 or to 0.

    Two structures count where one scan has both, in different voxels: then neither is part of the other. The last row
    and column, of nameless regions, are 0.
    """
    total = np.zeros((nameless() + 1, nameless() + 1), np.float32)
    index = {name: i for i, name in enumerate(structure_names())}
    for scan in scans:
        boxes = {name: box for name, box in structure_boxes(scan).items() if name in index}
        middles = {name: box.mean(axis=0) * scan.spacing_mm for name, box in boxes.items()}
        for one, middle in middles.items():
            for other, there in middles.items():
                if not set(scan.parts[one]) & set(scan.parts[other]):
                    total[index[one], index[other]] += np.exp(-np.linalg.norm(middle - there) / _NEAR_MM)
    sums = total.sum(axis=1, keepdims=True)
    total /= np.where(sums > 0, sums, 1)
    return total


def passed_off(structure: Tensor, targets: Targets, near: Tensor, share: float = USUAL_SHARE) -> tuple[Tensor, Targets]:
    """Give some samples of a batch another name.

    Parameters
    ----------
    structure : int64 [n]
    targets : Targets
    near : float [structures + 1, structures + 1]
        As `nearness` returns it.
    share : float
        Of the samples that can be passed off.
    """
    possible = (near[structure].sum(dim=1) > 0) & (targets.given > 0) & (targets.precision >= _LEAST_PRECISION)
    chosen = possible & (torch.rand(len(structure), device=structure.device) < share)
    if not chosen.any():
        return structure, targets
    renamed = structure.clone()
    renamed[chosen] = torch.multinomial(near[structure[chosen]], 1)[:, 0]
    kept = (~chosen).float()
    # The other structure's own voxels are known not to be those of the one that is named; of the rest nothing is known.
    known = torch.where(chosen[:, None, None, None], (targets.truth > 0.5).float(), targets.known)
    return renamed, targets._replace(
        truth=targets.truth * kept[:, None, None, None],
        precision=targets.precision * kept,
        recall=targets.recall * kept,
        dice=targets.dice * kept,
        whole=targets.whole * kept[:, None],
        known=known,
        fraction_known=targets.fraction_known * kept,
    )
