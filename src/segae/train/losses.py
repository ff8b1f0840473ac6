"""What training minimises."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from segae.train.network import EPS, Judgement

MASK_WEIGHT, SCORE_WEIGHT, WHOLE_WEIGHT = 1.0, 6.0, 3.0


class Targets(NamedTuple):
    """Truth of a batch of n slices.

    `precision` and `recall` are 0 where mask and truth do not meet; `given` tells where the mask is not empty and they
    mean anything.
    """

    truth: Tensor  # [n, 1, h / 2, w / 2] in [0, 1]
    precision: Tensor
    recall: Tensor
    dice: Tensor
    fraction: Tensor
    given: Tensor  # float, 0 or 1
    whole: Tensor  # [n, 2], precision and recall of the whole mask
    known: Tensor  # [n, 1, h / 2, w / 2], 1 where `truth` is known, else 0
    fraction_known: Tensor  # [n], 1 where `fraction` is known, else 0


def judge_loss(said: Judgement, true: Targets, embedding: Tensor | None = None) -> Tensor:
    """Cross-entropy and soft Dice of the expected mask; squared errors of what is said of the slice and of the whole.

    Shares of the crop are compared by their square roots (lengths), so that small structures count.

    Parameters
    ----------
    said : Judgement
    true : Targets
    embedding : tensor [n, d], optional
        Unit vectors of the structures' names. With them, the slice's Dice is learned by the paper's losses instead:
        weighted squared error plus ranking of optimal pairs.
    """
    given = true.given.sum().clamp(min=1)
    precision = ((said.precision - true.precision) ** 2 * true.given).sum() / given
    recall = ((said.recall - true.recall) ** 2 * true.given).sum() / given
    if embedding is None:
        dice = ((dice_of(said) - true.dice) ** 2 * true.given).sum() / given
    else:
        mine = true.given > 0
        dice = interval_mse(dice_of(said)[mine], true.dice[mine])
        dice = dice + pair_ranking(dice_of(said)[mine], true.dice[mine], embedding[mine])
    fraction = (torch.sqrt(said.truth_fraction + EPS) - torch.sqrt(true.fraction + EPS)).square()
    fraction = (fraction * true.fraction_known).mean()
    return (
        MASK_WEIGHT * mask_loss(said.expected_logits, true.truth, true.known)
        + SCORE_WEIGHT * (0.5 * precision + 0.5 * recall + dice + fraction)
        + WHOLE_WEIGHT * whole_loss(said, true)
    )


def whole_loss(said: Judgement, true: Targets) -> Tensor:
    """Squared errors of the whole mask's precision, recall and Dice, where the slice shows any of the mask."""
    precision, recall = true.whole.unbind(1)
    errors = 0.5 * (said.whole_precision - precision) ** 2 + 0.5 * (said.whole_recall - recall) ** 2
    errors = errors + (harmonic(said.whole_precision, said.whole_recall) - harmonic(precision, recall)) ** 2
    return (errors * true.given).sum() / true.given.sum().clamp(min=1)


def dice_of(said: Judgement) -> Tensor:
    """Dice of the slice."""
    return harmonic(said.precision, said.recall)


def harmonic(precision: Tensor, recall: Tensor) -> Tensor:
    """Dice that precision and recall imply."""
    return 2 * precision * recall / (precision + recall + EPS)


def mask_loss(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Binary cross-entropy where the truth is known, plus soft Dice where there is anything to find."""
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, known)
    expected = torch.sigmoid(logits)
    shared = (expected * truth).sum(dim=(1, 2, 3))
    total = expected.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
    present = (truth.amax(dim=(1, 2, 3)) > 0.5).float()
    soft_dice = ((1 - (2 * shared + 1) / (total + 1)) * present).sum() / present.sum().clamp(min=1)
    return entropy + 0.5 * soft_dice


def interval_mse(said: Tensor, true: Tensor) -> Tensor:
    """The paper's regression loss: squared error, weighted 7, 5, 3, 2, 1 for a Dice up to .3, .5, .7, .9, 1."""
    edges = torch.tensor([0.3, 0.5, 0.7, 0.9], device=true.device)
    weight = torch.tensor([7.0, 5.0, 3.0, 2.0, 1.0], device=true.device)[torch.bucketize(true, edges)]
    return (weight * (said - true) ** 2).mean()


def pair_ranking(said: Tensor, true: Tensor, embedding: Tensor) -> Tensor:
    """The paper's ranking loss: pairs of most similar structures must be ordered by Dice as the truth is.

    Pairs are the assignment of largest summed cosine of the name embeddings (Hungarian algorithm), no sample with
    itself.

    Parameters
    ----------
    said, true : tensor [n]
    embedding : tensor [n, d], unit vectors
    """
    from scipy.optimize import linear_sum_assignment

    cosine = (embedding @ embedding.T).detach().cpu()
    cosine.fill_diagonal_(-10.0)
    rows, partners = linear_sum_assignment(cosine.numpy(), maximize=True)
    first, second = torch.as_tensor(rows, device=true.device), torch.as_tensor(partners, device=true.device)
    order = torch.sign(true[first] - true[second])
    return functional.relu(-order * (said[first] - said[second])).mean()
