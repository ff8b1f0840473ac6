"""A small U-Net with dropout: trained on some scans and pseudo-labels, asked for probabilities of all slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from segae_lab.segmenter import Segmenter, masked_loss
from segae_lab.study.scans import NAMES, Bool, StudyScan
from segae_lab.study.sizes import Size

_WINDOWS_HU = ((-160.0, 240.0), (-1000.0, 1000.0))
_NEIGHBOURS = (-1, 0, 1)
_DROPOUT = 0.2
_PREDICTED_AT_ONCE = 64


@dataclass(frozen=True)
class Labels:
    """A scan with labels to learn from: bool [structures, z, side, side], and which structures they tell of."""

    scan: StudyScan
    mask: Bool
    known: Bool


class StudyNet(Segmenter):
    """The U-Net of `segae_lab.segmenter` with dropout of whole channels behind every level but the first."""

    def __init__(self, width: int) -> None:
        super().__init__(len(_WINDOWS_HU) * len(_NEIGHBOURS), len(NAMES), width)
        for block in list(self.down)[1:]:
            assert isinstance(block, nn.Sequential)
            block.append(nn.Dropout2d(_DROPOUT))


def fit_net(labels: list[Labels], size: Size, seed: int, device: str) -> StudyNet:
    """Train from scratch on the slices of some scans, those that show a structure more often."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net: StudyNet = StudyNet(size.width).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(net.parameters(), lr=size.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, size.rate, total_steps=size.steps, pct_start=0.2)
    inputs = [inputs_of(entry.scan) for entry in labels]
    filled = [np.flatnonzero(entry.mask[entry.known].any(axis=(0, 2, 3))) for entry in labels]
    net.train()
    for _ in range(size.steps):
        rows = []
        for i in rng.integers(len(labels), size=size.batch):
            z = int(rng.choice(filled[i]) if len(filled[i]) and rng.random() < 0.8 else rng.integers(len(inputs[i])))
            rows.append(_augmented(inputs[i][z], torch.from_numpy(labels[i].mask[:, z]), labels[i].known, rng))
        slices, truth, known = (torch.stack(column).to(device) for column in zip(*rows, strict=True))
        with torch.autocast(slices.device.type, dtype=torch.bfloat16):
            logits = net(slices.contiguous(memory_format=torch.channels_last))
        loss = masked_loss(logits, truth.float(), known)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return net


def _augmented(slices: Tensor, mask: Tensor, known: Bool, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Shift by a few pixels and change the brightness."""
    step = tuple(int(s) for s in rng.integers(-4, 5, size=2))
    moved = torch.roll(slices, step, (1, 2)) * float(rng.uniform(0.9, 1.1)) + float(rng.normal(0, 0.03))
    return moved, torch.roll(mask, step, (1, 2)), torch.from_numpy(known.astype(np.float32))


def inputs_of(scan: StudyScan) -> Tensor:
    """Windowed slices with their neighbours: [z, windows * neighbours, side, side]."""
    hu = torch.from_numpy(scan.image).float()
    last = len(hu) - 1
    planes = [hu[(torch.arange(len(hu)) + step).clamp(0, last)] for step in _NEIGHBOURS]
    return torch.stack(
        [((plane - low) / (high - low)).clamp(0, 1) for plane in planes for low, high in _WINDOWS_HU], dim=1
    )


@torch.no_grad()
def probabilities(net: StudyNet, scan: StudyScan, passes: int = 0) -> npt.NDArray[np.float32]:
    """Say where the structures are.

    Parameters
    ----------
    net : StudyNet
    scan : StudyScan
    passes : int
        0: once, without dropout. Else so many times with it.

    Returns
    -------
    float32 [max(passes, 1), structures, z, side, side]
    """
    net.eval()
    for layer in net.modules():
        if isinstance(layer, nn.Dropout2d):
            layer.train(passes > 0)
    device = next(net.parameters()).device
    inputs = inputs_of(scan)
    said = [
        torch.cat([torch.sigmoid(net(part.to(device))).cpu() for part in torch.split(inputs, _PREDICTED_AT_ONCE)])
        for _ in range(max(passes, 1))
    ]
    return torch.stack(said).permute(0, 2, 1, 3, 4).numpy()
