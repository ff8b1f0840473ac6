"""A 2.5D U-Net: slices around one at 2 mm, 4 mm inside, class scores of the middle slice at 2 mm."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

# Slices at these distances go in with a soft-tissue window, those of `WIDE_MM` again with a wide one.
NARROW_MM = (-24.0, -9.0, -3.0, 0.0, 3.0, 9.0, 24.0)
WIDE_MM = (-9.0, 0.0, 9.0)
NARROW_HU, WIDE_HU = (-120.0, 240.0), (-1000.0, 1000.0)
WIDTHS = (32, 64, 112, 176)
MULTIPLE = 2 * 2 ** (len(WIDTHS) - 1)  # sides of the input are multiples of this


class ReferenceNet(nn.Module):
    """Slices [n, narrow + wide, h, w], windows mapped to [0, 1] -> scores [n, 1 + classes, h, w]."""

    def __init__(self, classes: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        inputs = 4 * (len(NARROW_MM) + len(WIDE_MM))
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((inputs, *widths[:-1]), widths, strict=True))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(widths))
        self.out = nn.Conv2d(widths[0], 4 * (1 + classes), 1)

    def forward(self, slices: Tensor) -> Tensor:
        """Class scores (logits) at the resolution of the input."""
        x = functional.pixel_unshuffle(slices * 2 - 1, 2)
        seen = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([seen[level], functional.interpolate(x, scale_factor=2.0)], dim=1))
        scores: Tensor = functional.pixel_shuffle(self.out(x), 2)
        return scores


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a in (inputs, outputs):
        layers += [nn.Conv2d(a, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)
