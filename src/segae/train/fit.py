"""Fits the judge: what it starts from, what a batch costs, and its figures on held-out scans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from segae.arguments import whole_number
from segae.errors import ParameterError
from segae.session import card_of, find_model
from segae.train import data, feed
from segae.train.losses import Targets, dice_of, judge_loss
from segae.train.network import Judge, Judgement, Widths
from segae.train.passing_off import USUAL_SHARE, nearness, passed_off
from segae.train.restore import normalise, restore
from segae.train.run import Run, log_to, torch_device
from segae.train.sources import Mixture, MoreScans
from segae.train.synthesis import MASK_CHANNEL, RECIPE, SHARES, TRUTH_PX, Samples, Visit, structure_names
from segae.train.text import embeddings, facts

CHECKPOINT = "checkpoint.pt"
_HOST = torch.device("cpu")
# Share of batches that are shrunk while the learning rate is above a quarter of its peak: they cost less than half, and
# a second scale does no harm.
_SMALL_SHARE, _SMALL_ABOVE = 0.65, 0.25
_LOG_EVERY = 400
# Of runs that last minutes.
_SAVE_EVERY = 50


@dataclass(frozen=True)
class Settings:
    """What `fit` may be told; stored in the model card.

    Attributes
    ----------
    steps, batch, rate
        Optimiser steps, samples in each, and the peak learning rate.
    seed : int
    ring : int
        Sample files kept on disk, 1024 samples each.
    average : float
        Decay of the running average of the weights, which is what is exported.
    leave_out : tuple of str
        Cases kept out of training, beside those of ``use=dev``.
    shares : dict
        Shares of the samples that come from scans other than the labelled ones, by their name in `more` of `fit`.
    swaps : float
        Share of the masks that are a neighbour's.
    passed_off : float
        Share of the sound masks that are given a neighbour's name while learning (`segae.train.passing_off`).
    paper_losses : bool
        Learn the slices' Dice by the paper's weighted error and ranking loss (benchmarks/ablation.py).
    seconds : float, optional
        Time that learning may take, over all interruptions; default: what the steps need.
    pull : float
        How strongly weights are drawn to those of `initial` (`segae.train.run.Run.pull`).
    """

    steps: int = 8000
    batch: int = 64
    rate: float = 1.5e-3
    seed: int = 0
    ring: int = 48
    average: float = 0.998
    leave_out: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    swaps: float = SHARES["swap"]
    passed_off: float = USUAL_SHARE
    paper_losses: bool = False
    seconds: float | None = None
    pull: float = 0.0


def new_judge(widths: Widths | None = None) -> Judge:
    """Untrained network for the recipe and all structures of the registry."""
    names = list(structure_names())
    # The last row is that of nameless regions: no meaning, no facts.
    text, plain = (
        functional.pad(torch.from_numpy(columns), (0, 0, 0, 1)) for columns in (embeddings(names), facts(names))
    )
    wide = sum(channel.view != "crop" for channel in RECIPE.channels)
    return Judge(text, plain, len(RECIPE.channels) - wide, wide, MASK_CHANNEL, widths or Widths())


def fit(
    folder: Path,
    work: Path,
    settings: Settings,
    *,
    threads: int,
    initial: Path | None = None,
    more: Mapping[str, MoreScans] | None = None,
    predictions: Path | None = None,
    device: str = "auto",
    workers: int = 1,
    worth: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Train, or go on after a kill, and return the checkpoint.

    Parameters
    ----------
    folder : Path
        With ``cases.csv``.
    work : Path
        Samples, checkpoint and log; a run that is found there is continued.
    settings : Settings
    threads : int
        For the network, beside the processes that cut the samples.
    initial : Path, optional
        Checkpoint whose averaged weights to start from, or a model file made by `segae.train.export`; the path
        ``default`` is the one in the package.
    more : mapping
        Scans to learn from beside the labelled ones of `folder`, by name; ``settings.shares`` says how much of each.
    predictions : Path, optional
        Folder of ``CASE_pred_*.nii.gz``: masks that networks made, whose errors are learned beside the made ones.
    device : str
        As torch names it; "auto" takes a GPU where there is one.
    workers : int
        Processes that cut samples, each with the scans in its memory. One keeps up with a core that learns; a GPU
        learns from as many as there are cores.
    worth : mapping, optional
        How much single masks teach (`segae.train.sources.Mixture`): for masks that nobody vouches for. The log then
        gives no figures of the cases left out.

    Raises
    ------
    ParameterError, DeviceError, ModelFileError
    """
    if whole_number(workers, "workers") < 1:
        raise ParameterError(f"workers: expected a positive number, got {workers!r}.")
    begin = None if initial is None else _file_to_begin_with(initial)
    work.mkdir(parents=True, exist_ok=True)
    log_to(work / "fit.log")
    torch.manual_seed(settings.seed)
    # Read first: the structures that it brings have a place in all that follows.
    known = card_of(begin) if begin is not None and begin.suffix == ".onnx" else None
    source = Mixture(
        folder, settings.leave_out, settings.shares, more or {}, predictions, swaps=settings.swaps, worth=worth or {}
    )
    checks = held_out_samples(folder, settings.leave_out) if worth is None else {}
    trained, synthetic, near = source.survey()  # before the other process starts: both would build what is missing
    if settings.pull and known is not None:
        # What is held near the old weights is still known.
        synthetic = (synthetic | known.synthetic) - (trained - synthetic) - (known.trained - known.synthetic)
        trained |= known.trained
    ring = feed.Ring(work / "ring", settings.ring)
    producers = feed.start(ring, source, settings.seed, workers=workers)
    try:
        torch.set_num_threads(threads)
        watch = partial(feed.require_alive, producers)
        run = JudgeRun(settings, trained, torch_device(device), watch, checks, synthetic, near)
        feed.wait_for(ring, min(feed.FILES_AT_ONCE, settings.ring), producers)
        if not (work / CHECKPOINT).exists() and begin is not None:
            run.begin_with_file(begin, ring)
        run.resume(work / CHECKPOINT)
        run.train(ring, work / CHECKPOINT, _LOG_EVERY if settings.seconds is None else _SAVE_EVERY)
    finally:
        for producer in producers:
            producer.terminate()
    return work / CHECKPOINT


def _file_to_begin_with(initial: Path) -> Path:
    """The checkpoint or model file; "default" is the model in the package, unless a file has that name."""
    if not initial.is_file() and str(initial) == "default":
        return find_model("default")
    if not initial.is_file():
        raise ParameterError(
            f'initial: no such file: {initial}. Pass a checkpoint, a model file (.onnx), or "default".'
        )
    return initial


def held_out_samples(folder: Path, leave_out: tuple[str, ...], each: int = 600) -> dict[str, Samples]:
    """Samples of unchanged left-out scans by source, about `each` of every source, the same in every run."""
    chosen = [case for case in data.cases(folder, "train") if case.name in leave_out]
    sources: dict[str, list[data.Case]] = {}
    for case in chosen:
        sources.setdefault(case.source or "held out", []).append(case)
    return {
        name: Samples.join([_samples(case, -(-each // len(mine))) for case in mine]) for name, mine in sources.items()
    }


def _samples(case: data.Case, count: int) -> Samples:
    return Visit(data.load(case), np.random.default_rng([7, *case.name.encode()])).draw(count)


class JudgeRun(Run[Judge]):
    """Fits the judge; `checks` are samples of held-out scans that the log tells of.

    `near` is as `segae.train.passing_off.nearness` returns it; without it no mask is passed off as another's.
    """

    def __init__(
        self,
        settings: Settings,
        trained: set[str],
        device: torch.device,
        watch: Callable[[], None] = lambda: None,
        checks: dict[str, Samples] | None = None,
        synthetic: Set[str] = frozenset(),
        near: npt.NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(new_judge(), settings, trained, RECIPE, device, watch, synthetic)
        self.paper_losses, self.passed_off = settings.paper_losses, settings.passed_off
        self.seconds, self.pull = settings.seconds, settings.pull
        self.checks = checks or {}
        self.near = torch.from_numpy(near if near is not None else nearness([])).to(device)

    def begin_with_file(self, initial: Path, ring: feed.Ring) -> None:
        """Start from a checkpoint's averaged weights, or from a model file."""
        if initial.suffix == ".onnx":
            folded = restore(self.network, initial)
            some = (tensors(samples, self.device)[:2] for samples in islice(self.batches(ring), 24))
            normalise(self.network, some, folded)
            weights = self.network.state_dict()
        else:
            weights = torch.load(initial, weights_only=True, map_location=self.device)["average"]
        self.begin_with(weights)

    def loss(self, samples: Samples) -> Tensor:
        """Loss of a batch; while the rate is high, of most batches at two thirds of their size."""
        slices, structure, targets = tensors(samples, self.device)
        if self.rate_factor(self.step) > _SMALL_ABOVE and self.rng.random() < _SMALL_SHARE:
            slices, targets = shrunk(slices, targets)
        structure, targets = passed_off(structure, targets, self.near, self.passed_off)
        # Half the bits suffice for the convolutions, and are 1.6 times as fast on CPUs that have them.
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            said = self.network(self.jitter(slices), structure)
        names = self.network.code.meaning(structure) if self.paper_losses else None
        return judge_loss(Judgement(*(part.float() for part in said)), targets, names)

    def show(self, network: Judge, samples: Samples) -> None:
        """Have a judge look at a batch."""
        slices, structure, _ = tensors(samples, self.device)
        network(self.jitter(slices), structure)

    def figures(self) -> str:
        """Pearson's r on held-out scans."""
        average: Judge = self.average.module  # type: ignore[assignment]
        told = {name: round(correlation(average, held), 4) for name, held in self.checks.items()}
        return f", held-out LCC {told}"


def shrunk(slices: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    """Reduce slices and their truth to two thirds of their size."""
    small = functional.interpolate(slices, scale_factor=2 / 3, mode="bilinear", antialias=True)
    truth = functional.interpolate(targets.truth, scale_factor=2 / 3, mode="bilinear", antialias=True)
    return small, targets._replace(truth=truth.clamp(0, 1), known=torch.ones_like(truth))


def tensors(samples: Samples, device: torch.device = _HOST) -> tuple[Tensor, Tensor, Targets]:
    """Samples as the network and the loss take them."""

    def there(column: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(column).to(device, non_blocking=True)

    slices = there(samples.slices).permute(0, 3, 1, 2).float().div_(255)
    shared, given, truth = there(samples.pixels).float().unbind(1)
    targets = Targets(
        truth=there(samples.truth).float().div_(255)[:, None],
        precision=shared / given.clamp(min=1),
        recall=shared / truth.clamp(min=1),
        dice=2 * shared / (given + truth).clamp(min=1),
        fraction=there(samples.fraction),
        given=(given > 0).float(),
        whole=there(samples.whole),
        known=torch.ones(len(samples), 1, TRUTH_PX, TRUTH_PX, device=device),
        fraction_known=torch.ones(len(samples), device=device),
    )
    return slices, there(samples.structure).long(), targets


@torch.no_grad()
def judged(judge: nn.Module, samples: Samples, batch: int = 64) -> Judgement:
    """Judgement of many samples."""
    judge.eval()
    device = next(judge.parameters()).device
    parts = []
    for start in range(0, len(samples), batch):
        slices, structure, _ = tensors(samples.take(np.arange(start, min(start + batch, len(samples)))), device)
        parts.append(judge(slices, structure))
    return Judgement(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))


def correlation(judge: nn.Module, samples: Samples) -> float:
    """Pearson's r of predicted and true Dice, on slices that the mask reaches."""
    said = dice_of(judged(judge, samples)).numpy()
    true = tensors(samples)[2].dice.numpy()
    counted = samples.pixels[:, 1] > 0
    return float(np.corrcoef(said[counted], true[counted])[0, 1])
