"""Semi-supervised training in torch: every pseudo-label counts as much as segae trusts it.

    python examples/weigh_pseudo_labels.py

Synthetic: copies of a CT, and pseudo-labels of the liver whose true Dice is known. In your loop, `images` are batches
in HU (score before you normalise) and `pseudo` is what the teacher predicts.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn

import segae
from segae import demo

SPACING_MM = demo.SPACING_MM
# Below this predicted Dice a pseudo-label is not used at all. Scores rank: choose it from the scores that you see.
FLOOR = 0.6


# Errors of the pseudo-labels, and the Dice that they leave.
ERRORS = (("truncate", 1.0), ("erode", 0.8), ("shift", 0.6), ("truncate", 0.4))


def unlabelled_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Images in HU and pseudo-labels, both [b, 1, z, y, x]."""
    image, masks = demo.phantom()
    pseudo = [
        segae.perturb(masks["liver"], kind, target_dice=dice, spacing=SPACING_MM, seed=1)
        if dice < 1
        else masks["liver"]
        for kind, dice in ERRORS
    ]
    return torch.from_numpy(np.stack([image] * len(pseudo)))[:, None], torch.from_numpy(np.stack(pseudo))[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()

    engine = segae.Engine(device=given.device)
    student = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 1, 1)).to(given.device)
    optimiser = torch.optim.Adam(student.parameters(), 1e-2)
    images, pseudo = (volumes.to(given.device) for volumes in unlabelled_batch())

    for step in range(given.steps):
        # One score a mask, a tensor on the masks' device. Nothing here is part of the graph.
        scores = engine.score_batch(images, pseudo, "liver", spacing=SPACING_MM)
        weights = ((scores.nan_to_num(0.0) - FLOOR) / (1 - FLOOR)).clamp(0, 1)

        logits = student(images.float().clamp(-160, 240) / 200)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, pseudo.float(), reduction="none")
        loss = (weights * loss.mean(dim=(1, 2, 3, 4))).sum() / weights.sum().clamp(min=1e-6)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        print(f"step {step}: loss {loss.item():.4f}")

    for i, (_, dice) in enumerate(ERRORS):
        print(f"mask {i}: true Dice {dice:.2f}, predicted {scores[i]:.2f}, weight {weights[i]:.2f}")


if __name__ == "__main__":
    main()
