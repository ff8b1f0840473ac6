"""The paper's own recipe, retrained on our samples: the rival of the judge.

By default a reduced form of arXiv:2601.14406 for CPUs: ResNet-18 instead of -50, 128x128 pixels instead of 256x256;
the 384-d sentence embedding of the names stands for CLIP's 512-d one, weights are random at first. As published: CT in
[-200, 200] HU and the mask as the only channels, 20 pixels of margin, no slice beyond the mask's ends, the gated head,
squared error weighted by interval plus optimal-pair ranking, and only slices where mask and truth share 20 pixels or
more. Scans, errors, brightness jitter, optimiser, schedule and averaging of weights are those of the judge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segae.recipe import ChannelSpec, ModelCard, PaperCrop, Recipe
from segae.train import feed
from segae.train.export import write_onnx
from segae.train.losses import interval_mse, pair_ranking
from segae.train.paper import PaperJudge
from segae.train.run import Run, log_to, torch_device
from segae.train.sources import Mixture, MoreScans
from segae.train.synthesis import Samples, nameless, structure_names
from segae.train.text import embeddings

CHECKPOINT = "rival.pt"
LEAST_SHARED_PX = 20
# Samples are cut once, and each is seen so many times: the network takes far longer than the cutting.
_REPEATS, _SHARD = 2, 1024
_LOG_EVERY = 25

_GAIN, _BIAS = (4.0, 2.0), (-2.0, -1.0)


def sample_recipe(side_px: int) -> Recipe:
    """Recipe by which samples are stored: channels in [0, 1]."""
    return Recipe(
        size_px=(side_px, side_px),
        slices=10,
        placement="paper",
        crop=PaperCrop(margin_px=20),
        channels=(ChannelSpec("image", window_hu=(-200.0, 200.0)), ChannelSpec("mask")),
    )


def shipped_recipe(side_px: int) -> Recipe:
    """Recipe by which the engine cuts: channels normalised as published."""
    stored = sample_recipe(side_px)
    scaled = zip(stored.channels, _GAIN, _BIAS, strict=True)
    return replace(stored, channels=tuple(replace(channel, gain=g, bias=b) for channel, g, b in scaled))


@dataclass(frozen=True)
class Settings:
    """What `fit_rival` may be told; stored in the model card.

    Attributes
    ----------
    samples : int
        Samples to learn from in all, repeats counted, as the steps of the judge count them.
    batch, rate
        Samples in a step, and the peak learning rate.
    depth, side_px : int
        Of the ResNet (18, 34, 50, 101 or 152), and of its square input. As published: 50 and 256.
    seed : int
    average : float
        Decay of the running average of the weights, which is what is exported.
    leave_out : tuple of str
        Cases kept out of training, beside those of ``use=dev``.
    shares : dict
        Shares of the samples that come from scans other than the labelled ones, by their name in `more` of `fit_rival`.
    """

    samples: int = 40_000
    batch: int = 64
    rate: float = 5e-4
    depth: int = 18
    side_px: int = 128
    seed: int = 0
    average: float = 0.99
    leave_out: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return self.samples // self.batch

    @property
    def files(self) -> int:
        """Files of different samples."""
        return max(1, round(self.samples / _REPEATS / _SHARD))


@dataclass(frozen=True)
class PaperSource:
    """Samples as the paper took them: of a mixture, those where mask and truth meet, in `files` equal parts."""

    mixture: Mixture
    files: int

    def __call__(self, rng: np.random.Generator) -> Iterator[Samples]:
        """Yield samples, `_SHARD` at a time."""
        endless = self.mixture(rng)
        for _ in range(self.files):
            parts: list[Samples] = []
            while sum(map(len, parts)) < _SHARD:
                samples = next(endless)
                parts.append(samples.take(np.flatnonzero(samples.pixels[:, 0] >= LEAST_SHARED_PX)))
            yield Samples.join(parts).take(rng.permutation(sum(map(len, parts)))[:_SHARD])


def fit_rival(
    folder: Path,
    work: Path,
    settings: Settings,
    *,
    threads: int,
    more: Mapping[str, MoreScans] | None = None,
    predictions: Path | None = None,
    device: str = "auto",
) -> Path:
    """Train, or go on after a kill, and return the checkpoint.

    Parameters
    ----------
    folder, work, settings, threads, more, predictions, device
        As those of `segae.train.fit.fit`.
    """
    work.mkdir(parents=True, exist_ok=True)
    log_to(work / "rival.log")
    torch.manual_seed(settings.seed)
    recipe = sample_recipe(settings.side_px)
    scans = Mixture(folder, settings.leave_out, settings.shares, more or {}, predictions, recipe=recipe)
    trained, *_ = scans.survey()  # before the other process starts: both would build what is missing
    ring = feed.Ring(work / "ring", settings.files)
    source = PaperSource(scans, settings.files - len(ring.files()))
    producers = feed.start(ring, source, settings.seed, niceness=0)
    torch.set_num_threads(threads)
    run = RivalRun(new_rival(settings.depth), settings, trained, torch_device(device))
    feed.wait_for(ring, min(feed.FILES_AT_ONCE, settings.files), producers)
    run.resume(work / CHECKPOINT)
    run.train(ring, work / CHECKPOINT, _LOG_EVERY)
    for producer in producers:
        producer.terminate()
    return work / CHECKPOINT


def new_rival(depth: int) -> PaperJudge:
    """Untrained network for all structures of the registry, and a last row without meaning for nameless regions."""
    text = functional.pad(torch.from_numpy(embeddings(list(structure_names()))), (0, 0, 0, 1))
    return PaperJudge(text, depth)


class RivalRun(Run[PaperJudge]):
    """Fits the paper's network with the paper's losses."""

    warm_up = 50

    def __init__(
        self,
        network: PaperJudge,
        settings: Settings,
        trained: set[str],
        device: torch.device,
    ) -> None:
        super().__init__(network, settings, trained, sample_recipe(settings.side_px), device)
        self._unit_text = functional.normalize(self.network.text + 1e-9)

    def loss(self, samples: Samples) -> Tensor:
        """Squared error weighted by interval, and optimal-pair ranking."""
        slices, structure, dice = tensors(samples, self.device)
        said = self._said(self.network, slices, structure).float()
        return interval_mse(said, dice) + pair_ranking(said, dice, self._unit_text[structure])

    def show(self, network: PaperJudge, samples: Samples) -> None:
        """Have a network look at a batch."""
        slices, structure, _ = tensors(samples, self.device)
        self._said(network, slices, structure)

    def _said(self, network: PaperJudge, slices: Tensor, structure: Tensor) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            said: Tensor = network(normalised(self.jitter(slices)), structure)
        return said


def tensors(samples: Samples, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Slices [n, 2, h, w] in [0, 1], structure [n], Dice of the whole slice [n]."""
    slices = torch.from_numpy(samples.slices).to(device).permute(0, 3, 1, 2).float().div_(255)
    shared, given, truth = torch.from_numpy(samples.pixels).to(device).float().unbind(1)
    structure = torch.from_numpy(samples.structure.astype(np.int64)).to(device)
    return slices, structure, 2 * shared / (given + truth)


def normalised(slices: Tensor) -> Tensor:
    """Channels in [0, 1] -> what the network takes."""
    gain, bias = (torch.tensor(values, device=slices.device)[:, None, None] for values in (_GAIN, _BIAS))
    return slices * gain + bias


def export_rival(checkpoint: Path, out: Path) -> ModelCard:
    """Write the model file of a checkpoint (averaged weights) and return its card."""
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    settings = json.loads(state["settings"])
    judge = new_rival(settings["depth"])
    judge.load_state_dict(state["average"])
    judge.text = judge.text[: nameless()]
    full = settings["depth"] == 50 and settings["side_px"] == 256
    card = ModelCard(
        name=out.stem,
        recipe=shipped_recipe(settings["side_px"]),
        structures=structure_names(),
        trained=frozenset(state["trained"]) & set(structure_names()),
        outputs={"dice": "dice"},
        training={
            "method": "arXiv:2601.14406" + ("" if full else ", reduced"),
            "samples": state["step"] * settings["batch"],
            "settings": settings,
        },
    )
    write_onnx(judge.eval(), card, out)
    return card
