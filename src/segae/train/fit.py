"""Fits the judge: samples from the ring, a checkpoint every few minutes, a log of figures on held-out scans."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from segae.errors import DeviceError
from segae.recipe import Recipe
from segae.train import data, feed
from segae.train.data import HELD_OUT
from segae.train.losses import Targets, dice_of, judge_loss
from segae.train.network import Judge, Judgement, Widths
from segae.train.restore import normalise, restore
from segae.train.sources import Mixture
from segae.train.synthesis import MASK_CHANNEL, RECIPE, STRUCTURES, Samples, Visit
from segae.train.text import embeddings, facts

log = logging.getLogger("segae.train")

CHECKPOINT = "checkpoint.pt"
_HOST = torch.device("cpu")
# Share of batches that are shrunk while the learning rate is above half its peak: they cost less than half, and a
# second scale does no harm.
_SMALL_SHARE, _SMALL_ABOVE = 0.65, 0.5


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
    synthetic, unlabelled : float
        Shares of the samples that come from synthetic scans and from regions of real scans without labels.
    paper_losses : bool
        Learn the slices' Dice by the paper's weighted error and ranking loss (benchmarks/ablation.py).
    """

    steps: int = 8000
    batch: int = 64
    rate: float = 1.5e-3
    seed: int = 0
    ring: int = 48
    average: float = 0.998
    leave_out: tuple[str, ...] = HELD_OUT
    synthetic: float = 0.4
    unlabelled: float = 0.08
    paper_losses: bool = False

    def rate_factor(self, step: int) -> float:
        """Warm-up, plateau, and a linear fall over the last quarter: a run can be prolonged before the fall begins."""
        fall = (self.steps - step) / (0.25 * self.steps)
        return float(np.clip(min((step + 1) / 200, fall), 0.01, 1.0))


def new_judge(widths: Widths | None = None) -> Judge:
    """Untrained network for the recipe and all structures of the registry."""
    names = list(STRUCTURES)
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
    atlas: Path | None = None,
    predictions: Path | None = None,
    device: str = "auto",
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
        For the network; one more process cuts the samples.
    initial : Path, optional
        Checkpoint whose averaged weights to start from, or a model file made by `segae.train.export`.
    atlas : Path, optional
        Voxelised anatomy for synthetic scans; default: in `work`, built where it is missing.
    predictions : Path, optional
        Folder of ``python -m segae.train segment``: errors of networks, learned beside the made ones.
    device : str
        As torch names it; "auto" takes a GPU where there is one.
    """
    work.mkdir(parents=True, exist_ok=True)
    log_to(work / "fit.log")
    torch.manual_seed(settings.seed)
    source = Mixture(
        folder,
        settings.leave_out,
        settings.synthetic,
        atlas or work / "atlas.npz",
        regions=work / "regions",
        unlabelled=settings.unlabelled,
        predictions=predictions,
    )
    checks = held_out_samples(folder, settings.leave_out)
    trained = source.structures()  # before the other process starts: both would build what is missing
    ring = feed.Ring(work / "ring", settings.ring)
    producer = feed.start(ring, source, settings.seed)
    torch.set_num_threads(threads)
    run = Run(settings, trained, torch_device(device), partial(feed.require_alive, producer))
    feed.wait_for(ring, min(feed.FILES_AT_ONCE, settings.ring), producer)
    if not (work / CHECKPOINT).exists() and initial is not None:
        run.begin_with(initial, ring)
    run.resume(work / CHECKPOINT)
    run.train(ring, work / CHECKPOINT, checks)
    producer.terminate()
    return work / CHECKPOINT


def log_to(file: Path) -> None:
    """Write the figures of a run to a file and to the terminal, whatever the program's own logging."""
    for handler in (logging.FileHandler(file), logging.StreamHandler()):
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def torch_device(wanted: str) -> torch.device:
    """Device of a name; "auto" is the GPU where torch finds one.

    Raises
    ------
    DeviceError
        When torch cannot have it.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f'device: torch cannot use {wanted!r} ({reason}). Use "cpu" or "auto".') from error
    return device


def held_out_samples(folder: Path, leave_out: tuple[str, ...], each: int = 100) -> dict[str, Samples]:
    """Samples of unchanged left-out scans, head-neck and body apart, the same in every run."""
    chosen = [case for case in data.cases(folder, "train") if case.name in leave_out]
    groups: dict[str, list[Samples]] = {}
    for case in chosen:
        rng = np.random.default_rng([7, *case.name.encode()])
        many = each if case.name.startswith("kbp") else 6 * each
        samples = Visit(data.load(case), rng).draw(many)
        groups.setdefault("head-neck" if case.name.startswith("kbp") else case.name, []).append(samples)
    return {name: Samples.join(parts) for name, parts in groups.items()}


class Run:
    """Network, running average, optimiser and place in the schedule."""

    def __init__(
        self,
        settings: Settings,
        trained: set[str],
        device: torch.device,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.watch = watch  # called now and then; raises when samples are no longer made
        self.trained = trained
        self.device = device
        self.judge = new_judge().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(self.judge, avg_fn=self._averaged, use_buffers=True)
        decayed = [p for p in self.judge.parameters() if p.ndim > 1]
        free = [p for p in self.judge.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": free, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, settings.rate_factor)
        self.step = 0
        self.rng = np.random.default_rng(settings.seed)
        self.jitter = Jitter(settings.batch, device)

    def _averaged(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        """Exponential average that forgets its beginning: the first weights are random."""
        if not average.is_floating_point():
            return current
        decay = min(self.settings.average, (1 + float(count)) / (10 + float(count)))
        return torch.lerp(current, average, decay)

    def begin_with(self, initial: Path, ring: feed.Ring) -> None:
        """Start from a checkpoint's averaged weights, or from a model file."""
        if initial.suffix == ".onnx":
            folded = restore(self.judge, initial)
            some = (tensors(samples, self.device)[:2] for samples in islice(self._batches(ring), 24))
            normalise(self.judge, some, folded)
        else:
            self.judge.load_state_dict(torch.load(initial, weights_only=True, map_location=self.device)["average"])
        self.average.module.load_state_dict(self.judge.state_dict())
        # The average is as good as its beginning: it need not forget it.
        self.average.n_averaged.fill_(round(1 / (1 - self.settings.average)))

    def resume(self, file: Path) -> None:
        """Continue from a checkpoint, if there is one."""
        if not file.exists():
            return
        state = torch.load(file, weights_only=True, map_location=self.device)
        self.judge.load_state_dict(state["judge"])
        self.average.module.load_state_dict(state["average"])
        self.average.n_averaged.fill_(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.last_epoch = state["step"]
        self.step = state["step"]
        torch.set_rng_state(state["torch_rng"].cpu())
        self.rng.bit_generator.state = json.loads(state["numpy_rng"])
        log.info("continued at step %d", self.step)

    def save(self, file: Path) -> None:
        """Write all that `resume` and `export` need; the file is replaced at once."""
        state: dict[str, Any] = {
            "judge": self.judge.state_dict(),
            "average": self.average.module.state_dict(),
            "averaged": int(self.average.n_averaged),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "torch_rng": torch.get_rng_state(),
            "numpy_rng": json.dumps(self.rng.bit_generator.state),
            "settings": json.dumps(asdict(self.settings)),
            "trained": sorted(self.trained),
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    def train(self, ring: feed.Ring, file: Path, checks: dict[str, Samples], every: int = 400) -> None:
        """Run to the last step, checking and saving on the way."""
        self.judge.train()
        started, losses = time.monotonic(), []
        bar = tqdm(total=self.settings.steps, initial=self.step, desc="fit", unit="step", mininterval=5)
        for samples in self._batches(ring):
            losses.append(self._learn(samples))
            bar.update()
            if self.step % every == 0 or self.step == self.settings.steps:
                rate = every * self.settings.batch / (time.monotonic() - started)
                figures = {name: correlation(self.average.module, held) for name, held in checks.items()}
                log.info(
                    "step %d loss %.4f, %.0f samples/s, held-out LCC %s",
                    self.step, np.mean(losses), rate, {k: round(v, 4) for k, v in figures.items()},
                )  # fmt: skip
                self.save(file)
                started, losses = time.monotonic(), []
            if self.step >= self.settings.steps:
                break
        bar.close()
        settle(self.average.module, self._batches(ring), self.jitter, self.device)
        self.save(file)

    def _batches(self, ring: feed.Ring) -> Iterator[Samples]:
        return feed.batches(ring, self.settings.batch, self.rng, self.watch)

    def _learn(self, samples: Samples) -> float:
        slices, structure, targets = tensors(samples, self.device)
        if self.settings.rate_factor(self.step) > _SMALL_ABOVE and self.rng.random() < _SMALL_SHARE:
            slices, targets = shrunk(slices, targets)
        # Half the bits suffice for the convolutions, and are 1.6 times as fast on CPUs that have them.
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            said = self.judge(self.jitter(slices), structure)
        names = self.judge.code.meaning(structure) if self.settings.paper_losses else None
        loss = judge_loss(Judgement(*(part.float() for part in said)), targets, names)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.judge.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.judge)
        self.step += 1
        return loss.item()


@torch.no_grad()
def settle(judge: nn.Module, batches: Iterator[Samples], jitter: Jitter, device: torch.device, count: int = 48) -> None:
    """Measure the normalisation of averaged weights anew: averages of the layers' statistics do not belong to them."""
    layers = [layer for layer in judge.modules() if isinstance(layer, nn.BatchNorm2d)]
    usual = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over what follows
    judge.train()
    for samples in islice(batches, count):
        slices, structure, _ = tensors(samples, device)
        judge(jitter(slices), structure)
    judge.eval()
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum


def shrunk(slices: Tensor, targets: Targets) -> tuple[Tensor, Targets]:
    """Reduce slices and their truth to two thirds of their size."""
    small = functional.interpolate(slices, scale_factor=2 / 3, mode="bilinear", antialias=True)
    truth = functional.interpolate(targets.truth, scale_factor=2 / 3, mode="bilinear", antialias=True)
    return small, targets._replace(truth=truth.clamp(0, 1))


class Jitter:
    """Brightness, contrast and grain of each sample's image channels anew, so that a sample seen twice differs.

    Normal numbers are dear: one field of grain is drawn once, and turned and shared out anew for every batch.
    """

    def __init__(self, batch: int, device: torch.device, recipe: Recipe = RECIPE) -> None:
        image = torch.tensor([float(channel.source == "image") for channel in recipe.channels])[:, None, None]
        grain = torch.randn(batch, len(recipe.channels), *recipe.size_px) * image
        self._image = image.to(device)
        self._grain = grain.to(device, memory_format=torch.channels_last)

    def __call__(self, slices: Tensor) -> Tensor:
        """Changed copy of slices [n, c, h, w], n at most the batch."""
        n, _, height, width = slices.shape
        device = slices.device
        gain = 1 + 0.08 * torch.randn(n, 1, 1, 1, device=device) * self._image
        bias = 0.03 * torch.randn(n, len(self._image), 1, 1, device=device) * self._image + 0.5 * (1 - gain)
        top, left = (
            int(torch.randint(self._grain.shape[2 + i] - side + 1, ())) for i, side in enumerate((height, width))
        )
        grain = self._grain[torch.randperm(len(self._grain))[:n], :, top : top + height, left : left + width]
        # The mask's channels are left alone: gain 1, bias and grain 0, and they are within [0, 1] already.
        strength = 0.02 * torch.rand(n, 1, 1, 1, device=device)
        return torch.addcmul(slices * gain + bias, grain, strength).clamp_(0, 1)


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
    """Pearson's r of predicted and true Dice, on slices where mask and truth share 20 pixels or more."""
    said = dice_of(judged(judge, samples)).numpy()
    true = tensors(samples)[2].dice.numpy()
    counted = samples.pixels[:, 0] >= 20
    return float(np.corrcoef(said[counted], true[counted])[0, 1])
