"""Segmentation networks that are good, bad and in between: their predictions are errors that no synthesis makes.

A small 2.5D U-Net with one sigmoid a structure learns from one half of the training cases, is kept at several stages,
and predicts the other half, and the other way round (the paper's own way, with checkpoints of STU-Net). A voxel of 0
means "not labelled": what a case does not label costs nothing there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from segae import readers, volume
from segae.train import data
from segae.train.augment import augmented
from segae.train.data import Case, LabelledScan

log = logging.getLogger("segae.train")

# The grid that the network sees: square slices of `_SIDE` pixels of `_PIXEL_MM`, in the middle of the scan.
_SIDE, _PIXEL_MM = 96, 5.0
_WINDOWS_HU = ((-160.0, 240.0), (-1000.0, 1000.0))
_CONTEXT_MM = 4.0
_COVERED_WEIGHT = 8.0


@dataclass(frozen=True)
class Plan:
    """How a network is trained, and when it is kept: `stages` are numbers of steps, the last is the end."""

    stages: tuple[int, ...] = (150, 400, 1200)
    batch: int = 8
    rate: float = 2e-3
    width: int = 12
    seed: int = 0


class Segmenter(nn.Module):
    """A U-Net with one output a structure."""

    def __init__(self, channels: int, structures: int, width: int) -> None:
        super().__init__()
        w = (width, 2 * width, 4 * width, 8 * width)
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((channels, *w[:-1]), w, strict=True))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(w))
        self.out = nn.Conv2d(width, structures, 1)
        assert self.out.bias is not None
        nn.init.constant_(self.out.bias, -3.0)  # most of a slice is none of it

    def forward(self, x: Tensor) -> Tensor:
        """Slices [n, c, h, w] -> logits [n, structures, h, w]."""
        seen = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            seen.append(x)
        for level in reversed(range(len(self.up))):
            x = self.up[level](torch.cat([seen[level], functional.interpolate(x, scale_factor=2.0)], dim=1))
        logits: Tensor = self.out(x).float()
        return logits


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a in (inputs, outputs):
        layers += [nn.Conv2d(a, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def folds(cases: list[Case]) -> tuple[list[Case], list[Case]]:
    """Every other case, so that both halves hold coarse and fine ones."""
    return cases[0::2], cases[1::2]


def run(folder: Path, out: Path, plan: Plan, leave_out: tuple[str, ...], uses: tuple[str, ...] = ("train",)) -> None:
    """Train both networks; write ``CASE_pred_<fold><steps>.nii.gz`` for every case that a network did not learn from.

    A run that was killed goes on: kept stages are loaded, and written predictions are not made again.

    Parameters
    ----------
    folder : Path
        With ``cases.csv``.
    out : Path
        For checkpoints and predictions.
    plan : Plan
    leave_out : tuple of str
        Training cases that no network learns from; both predict them.
    uses : tuple of str
        Cases to predict. Those of ``use=dev`` are never learned from.
    """
    out.mkdir(parents=True, exist_ok=True)
    known = [case for case in data.cases(folder, "train") if case.name not in leave_out]
    for name, mine in zip("ab", folds(known), strict=True):
        _train(mine, out, name, plan)
        learned = {case.name for case in mine}
        others = [case for case in data.cases(folder, *uses) if case.name not in learned]
        for case in tqdm(others, desc=f"predict {name}", unit="case"):
            _predict_all(case, out, name, plan)


def _stage_file(out: Path, fold: str, steps: int) -> Path:
    return out / f"segmenter_{fold}{steps}.pt"


def _train(cases: list[Case], out: Path, fold: str, plan: Plan) -> None:
    """Train one network up to its last stage, from the latest one that is kept."""
    if _stage_file(out, fold, plan.stages[-1]).exists():
        return
    scans = [data.load(case) for case in cases]
    names = sorted({name for scan in scans for name, parts in scan.parts.items() if len(parts) == 1})
    torch.manual_seed(plan.seed)
    network = Segmenter(3 * len(_WINDOWS_HU), len(names), plan.width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=0.01)
    done = [steps for steps in plan.stages if _stage_file(out, fold, steps).exists()]
    begun = max(done, default=0)
    if done:
        network.load_state_dict(torch.load(_stage_file(out, fold, begun), weights_only=True)["network"])
    batches = _batches(scans, names, plan, np.random.default_rng([plan.seed, ord(fold), begun]))
    network.train()
    for step in tqdm(range(begun + 1, plan.stages[-1] + 1), desc=f"segmenter {fold}", unit="step"):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * min(1.0, step / 50, 1.05 - step / plan.stages[-1])
        slices, truth, labelled = next(batches)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(slices)
        loss = masked_loss(logits, truth, labelled)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step in plan.stages:
            torch.save({"network": network.state_dict(), "names": names}, _stage_file(out, fold, step))
            log.info("segmenter %s: %d steps, loss %.4f", fold, step, loss.item())


def masked_loss(logits: Tensor, truth: Tensor, labelled: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice, per structure over the slices whose case labels it.

    What a structure covers weighs more than the rest, or a network that was hardly trained would draw nothing at all:
    so early stages draw too much.

    Parameters
    ----------
    logits, truth : tensor [n, structures, h, w]
    labelled : tensor [n, structures]
        1 where the case labels the structure, else 0.
    """
    known = labelled[:, :, None, None]
    weight = known * (1 + (_COVERED_WEIGHT - 1) * truth)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, weight, reduction="sum")
    said = torch.sigmoid(logits) * known
    shared = (said * truth).sum(dim=(0, 2, 3))
    total = (said + truth * known).sum(dim=(0, 2, 3))
    present = ((truth * known).amax(dim=(0, 2, 3)) > 0).float()
    dice = ((1 - (2 * shared + 1) / (total + 1)) * present).sum() / present.sum().clamp(min=1)
    return 4 * entropy / (known.sum() * logits[0, 0].numel()).clamp(min=1) + dice


def _batches(
    scans: list[LabelledScan], names: list[str], plan: Plan, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Slices of augmented scans, those with many structures more often."""
    weight = np.array([len(scan.parts) ** 0.5 for scan in scans])
    open_scans: list[tuple[Tensor, LabelledScan, npt.NDArray[np.int64]]] = []
    while True:
        if len(open_scans) < 16 or rng.random() < 0.15:
            scan = augmented(scans[rng.choice(len(scans), p=weight / weight.sum())], rng)
            filled = np.flatnonzero(scan.labelmap.any(axis=(1, 2)))
            if len(filled):
                open_scans = [*open_scans[-15:], (_input(scan.image, scan.spacing_mm), scan, filled)]
            continue
        rows = []
        for _ in range(plan.batch):
            seen, scan, filled = open_scans[rng.integers(len(open_scans))]
            z = int(rng.choice(filled))
            rows.append((_stacked(seen, z, scan.spacing_mm), *_truth(scan, z, names)))
        slices, truth, labelled = (torch.stack(column) for column in zip(*rows, strict=True))
        yield slices.contiguous(memory_format=torch.channels_last), truth, labelled


def _input(image: npt.NDArray[np.int16], spacing_mm: tuple[float, float, float]) -> Tensor:
    """All slices on the network's grid, windowed: [z, windows, side, side]."""
    hu = torch.from_numpy(np.ascontiguousarray(image)).float()[:, None]
    seen = functional.grid_sample(
        hu + 1024, _grid(image.shape, spacing_mm).expand(len(hu), -1, -1, -1), align_corners=False
    )
    seen -= 1024
    return torch.cat([((seen - low) / (high - low)).clamp(0, 1) for low, high in _WINDOWS_HU], dim=1)


def _grid(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> Tensor:
    """Where the network's pixels lie in a slice, in grid_sample's units: [1, side, side, 2], x first."""
    at = (torch.arange(_SIDE) + 0.5 - _SIDE / 2) * _PIXEL_MM
    y, x = torch.meshgrid(2 * at / (shape[1] * spacing_mm[1]), 2 * at / (shape[2] * spacing_mm[2]), indexing="ij")
    return torch.stack([x, y], dim=-1).float()[None]


def _stacked(seen: Tensor, z: int, spacing_mm: tuple[float, float, float]) -> Tensor:
    """A slice with its neighbours: [3 * windows, side, side]."""
    step = max(1, round(_CONTEXT_MM / spacing_mm[0]))
    return torch.cat([seen[min(max(z + k, 0), len(seen) - 1)] for k in (-step, 0, step)])


def _truth(scan: LabelledScan, z: int, names: list[str]) -> tuple[Tensor, Tensor]:
    """Truth of a slice [structures, side, side], and which of them the case labels [structures]."""
    labels = torch.from_numpy(np.ascontiguousarray(scan.labelmap[z])).float()[None, None]
    grid = _grid(scan.image.shape, scan.spacing_mm)
    values = functional.grid_sample(labels, grid, mode="nearest", align_corners=False)[0, 0].to(torch.int64)
    table = torch.zeros(len(names), 256)
    labelled = torch.zeros(len(names))
    for row, name in enumerate(names):
        if name in scan.parts:
            labelled[row] = 1
            table[row, list(scan.parts[name])] = 1
    return table[:, values.flatten()].reshape(len(names), _SIDE, _SIDE), labelled


def _predict_all(case: Case, out: Path, fold: str, plan: Plan) -> None:
    """Predictions of all stages for one case."""
    goals = {steps: out / f"{case.name}_pred_{fold}{steps}.nii.gz" for steps in plan.stages}
    missing = {steps: goal for steps, goal in goals.items() if not goal.exists()}
    if not missing:
        return
    scan = data.load(case)
    seen = _input(scan.image, scan.spacing_mm)
    for steps, goal in missing.items():
        kept = torch.load(_stage_file(out, fold, steps), weights_only=True)
        network = Segmenter(seen.shape[1] * 3, len(kept["names"]), plan.width)
        network.load_state_dict(kept["network"])
        labels = _predict(network.eval(), kept["names"], scan, seen)
        save_prediction(labels, case, goal)


@torch.no_grad()
def _predict(network: Segmenter, names: list[str], scan: LabelledScan, seen: Tensor) -> npt.NDArray[np.uint8]:
    """Labelmap [z, y, x] of the structures that the case labels: the most probable one above one half."""
    wanted = [row for row, name in enumerate(names) if name in scan.parts]
    ids = torch.tensor([0, *(scan.parts[names[row]][0] for row in wanted)], dtype=torch.uint8)
    labels = np.zeros(scan.image.shape, np.uint8)
    grid = _grid_back(scan.image.shape, scan.spacing_mm)
    for z in range(len(seen)):
        logits = network(_stacked(seen, z, scan.spacing_mm)[None])[:, wanted]
        found = torch.nonzero(logits.amax(dim=(0, 2, 3)) > 0)[:, 0]
        if not len(found):
            continue
        # Outside the network's grid there is nothing: logits are read relative to a low one.
        fine = functional.grid_sample(logits[:, found] + 10, grid, align_corners=False)[0] - 10
        best, which = fine.max(dim=0)
        labels[z] = torch.where(best > 0, ids[1 + found[which]], 0).numpy()
    return labels


def _grid_back(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> Tensor:
    """Where the scan's pixels lie on the network's grid."""
    rows, columns = (
        (torch.arange(n) + 0.5 - n / 2) * s * 2 / (_SIDE * _PIXEL_MM)
        for n, s in zip(shape[1:], spacing_mm[1:], strict=True)
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y], dim=-1).float()[None]


def save_prediction(labels: npt.NDArray[np.uint8], case: Case, goal: Path) -> None:
    """Write a labelmap [z, y, x] on the grid of the case's image; the file is visible only when complete."""
    part = goal.with_name(f".{goal.name}")
    readers.save_on_grid(volume.load(case.image, "image").in_source_order(labels), case.image, part)
    part.replace(goal)
