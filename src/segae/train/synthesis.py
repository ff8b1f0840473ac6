"""Labelled scans -> training samples: what the engine would cut for a spoiled mask, and how good that mask is.

Slices are chosen and cut by the same functions as at run time (`segae.slices`), so that training and use cannot differ.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from segae import _core, structures
from segae.label_scan import LabelScan
from segae.perturbation import perturb_many
from segae.recipe import ChannelSpec, MarginCrop, Recipe, WideField
from segae.slices import cut, plan_slices
from segae.train.data import LabelledScan
from segae.train.spoil import LOCAL_KINDS, Bool, Target, spoil, target_of

_SOFT_HU, _ALL_HU, _WIDE_HU = (-160.0, 240.0), (-1000.0, 1000.0), (-400.0, 600.0)

RECIPE = Recipe(
    size_px=(96, 96),
    slices=10,
    channels=(
        ChannelSpec("image", window_hu=_SOFT_HU),
        ChannelSpec("image", window_hu=_ALL_HU),
        ChannelSpec("image", offset_mm=-5, window_hu=_SOFT_HU),
        ChannelSpec("image", offset_mm=5, window_hu=_SOFT_HU),
        ChannelSpec("mask"),
        ChannelSpec("mask", offset_mm=-5),
        ChannelSpec("mask", offset_mm=5),
        ChannelSpec("image", view="axial", window_hu=_WIDE_HU),
        ChannelSpec("mask", view="axial"),
        ChannelSpec("image", view="coronal", window_hu=_WIDE_HU),
        ChannelSpec("mask", view="coronal"),
    ),
    crop=MarginCrop(margin_mm=12, margin_fraction=0.2, min_side_mm=56),
    beyond_mm=(6.0, 20.0),
    wide=WideField(factor=2.5, min_side_mm=160, max_side_mm=400),
)
MASK_CHANNEL = 4
TRUTH_PX = 48
MIN_VOXELS = 30

# Kinds of spoiled masks and their usual shares. "engine" is one of the many errors of `segae.perturb`, for masks that
# are small enough to be spoiled in passing; "network" is what a segmentation network made of the scan, where there is
# any.
SHARES = {
    "untouched": 0.13, "erode": 0.06, "dilate": 0.06, "jitter": 0.05, "elastic": 0.05, "shift": 0.05, "scale": 0.02,
    "cut": 0.03, "truncate": 0.12, "islands": 0.03, "holes": 0.03, "merge": 0.03, "swap": 0.14, "mirror": 0.02,
    "astray": 0.02, "engine": 0.17, "network": 0.10,
}  # fmt: skip
KINDS = tuple(SHARES)
_ENGINE_VOXELS = 500_000
# Of structures that a network labelled, against 1 of those that people labelled.
_TAUGHT_SHARE = 0.5
# Slices that are taken of one spoiled mask: inside, and beyond its ends.
_INSIDE, _BEYOND = 6, 2


@dataclass(frozen=True)
class Samples:
    """Columns of n samples.

    Attributes
    ----------
    slices : uint8 [n, h, w, channels]
        Network input times 255, channels last as convolutions like them.
    truth : uint8 [n, TRUTH_PX, TRUTH_PX]
        Share of each pixel that the structure covers, times 255.
    structure, kind : int16 [n]
        Index into `structure_names` (or `nameless`) and `KINDS`.
    pixels : int32 [n, 3]
        Voxels of the whole slice shared by mask and truth, of the mask, of the truth.
    fraction : float32 [n]
        Share of the crop that the structure covers.
    whole : float32 [n, 2]
        Precision and recall of the whole mask.
    """

    slices: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    structure: npt.NDArray[np.int16]
    kind: npt.NDArray[np.int16]
    pixels: npt.NDArray[np.int32]
    fraction: npt.NDArray[np.float32]
    whole: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.structure)

    def take(self, rows: npt.NDArray[np.int64]) -> Samples:
        """Pick samples."""
        return Samples(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @staticmethod
    def join(parts: list[Samples]) -> Samples:
        """Put samples one after another."""
        return Samples(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Samples)})


class Visit:
    """A scan from which samples are drawn, cut as a recipe says; a share `swaps` of the masks is a neighbour's."""

    def __init__(
        self, scan: LabelledScan, rng: np.random.Generator, recipe: Recipe = RECIPE, swaps: float = SHARES["swap"]
    ) -> None:
        self.scan = scan
        self.rng = rng
        self.recipe = recipe
        self._kinds = kind_shares(swaps)
        self._targets: dict[str, Target] = {}
        self._boxes = structure_boxes(self.scan)
        self.names = sorted(self._boxes)
        worth = np.array([scan.worth.get(name, _TAUGHT_SHARE if name in scan.taught else 1.0) for name in self.names])
        self._shares = worth / worth.sum() if len(worth) else worth
        # Mask and truth on the scan's grid, empty between two draws.
        self._given = np.zeros(scan.image.shape, np.uint8)
        self._truth = np.zeros(scan.image.shape, np.uint8)

    def draw(self, count: int) -> Samples:
        """Draw samples, structures evenly but for those that a network labelled."""
        rows: list[Samples] = []
        while sum(map(len, rows)) < count:
            name = self.names[self.rng.choice(len(self.names), p=self._shares)]
            kind = KINDS[self.rng.choice(len(KINDS), p=self._kinds)]
            rows += self._draw_mask(self._target(name), kind)
        return Samples.join(rows).take(np.arange(count))

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            self._targets[name] = target_of(self.scan, name, self._boxes[name])
        return self._targets[name]

    def _draw_mask(self, target: Target, kind: str) -> list[Samples]:
        """Some slices of one spoiled mask; none where the structure cannot be spoiled so."""
        self._truth[target.box] = target.mask
        try:
            if self._paint(target, kind):
                return [cut_samples(self.scan, target, self._given, self._truth, kind, self.rng, self.recipe)]
            return []
        finally:
            self._truth[target.box] = 0
            self._given[:] = 0

    def _paint(self, target: Target, kind: str) -> bool:
        """Put the spoiled mask into `_given`; False where there is none."""
        if kind in LOCAL_KINDS:
            self._given[target.box] = spoil(target, kind, self.rng.uniform(0.02, 1), self.rng)
        elif kind == "engine":
            return self._paint_engine(target)
        elif kind == "network":
            return self._paint_network(target)
        elif kind in ("merge", "swap"):
            return self._paint_other(target, keep=kind == "merge")
        else:
            self._given[target.box] = self._slightly_spoiled(target)
            if kind == "mirror":
                self._given[:] = self._given[:, :, ::-1].copy()
            else:
                step = self.rng.integers(-np.array(self._given.shape) // 3, np.array(self._given.shape) // 3 + 1)
                self._given[:] = np.roll(self._given, step // [5, 1, 1], axis=(0, 1, 2))
        return bool(self._given.any())

    def _slightly_spoiled(self, target: Target) -> Bool:
        kind = str(self.rng.choice(["untouched", "elastic", "erode", "dilate"]))
        return spoil(target, kind, self.rng.uniform(0.7, 1), self.rng)

    def _paint_engine(self, target: Target) -> bool:
        """One of the errors of `segae.perturb`."""
        if target.mask.size > _ENGINE_VOXELS:
            return False
        made = perturb_many(
            target.mask.view(np.uint8),
            1,
            image=self.scan.image[target.box],
            labelmap=self.scan.labelmap[target.box],
            spacing=self.scan.spacing_mm,
            seed=self.rng,
            threads=1,
        )[0].mask
        self._given[target.box] = made
        return bool(made.any())

    def _paint_network(self, target: Target) -> bool:
        """What a network took for the structure; nothing where networks drew the truth, too."""
        if not self.scan.predictions or target.name in self.scan.taught:
            return False
        predicted = self.scan.predictions[self.rng.integers(len(self.scan.predictions))]
        # A prediction far away from the structure counts too, but not the whole scan need be searched.
        margin = tuple(slice(max(0, s.start - 20), s.stop + 20) for s in target.box)
        made = np.isin(predicted[margin], self.scan.parts[target.name])
        self._given[margin] = made
        return int(np.count_nonzero(made)) >= MIN_VOXELS

    def _paint_other(self, target: Target, *, keep: bool) -> bool:
        """Another structure, more often than not one that is easily confused; with the own one, if that is kept."""
        other = self._other(target)
        if other is None:
            return False
        self._given[other.box] = self._slightly_spoiled(other)
        if keep:
            self._given[target.box] |= self._slightly_spoiled(target)
        return bool(self._given.any())

    def _other(self, target: Target) -> Target | None:
        own = set(self.scan.parts[target.name])
        known = [n for n in self.names if n != target.name and not own & set(self.scan.parts[n])]
        alike = [n for n in known if _group(n) == _group(target.name)]
        pool = alike if alike and self.rng.random() < 0.7 else known
        if not pool:
            return None
        middle = self._boxes[target.name].sum(axis=0)
        away = [float(np.linalg.norm((self._boxes[n].sum(axis=0) - middle) * self.scan.spacing_mm)) for n in pool]
        near = [pool[i] for i in np.argsort(away)[:4]]
        return self._target(near[self.rng.integers(len(near))])


def kind_shares(swaps: float) -> npt.NDArray[np.float64]:
    """Shares of `KINDS`, with swaps as often as told and the others in their usual proportions."""
    shares = np.array([0.0 if kind == "swap" else share for kind, share in SHARES.items()])
    shares *= (1 - swaps) / shares.sum()
    shares[KINDS.index("swap")] = swaps
    return shares


def structure_names() -> tuple[str, ...]:
    """Structures in the order of their codes: the registry's, with those that a dataset brought at its end."""
    return tuple(structures.names())


def nameless() -> int:
    """The code of regions that have no name, behind those of the structures."""
    return len(structure_names())


def _group(name: str) -> str:
    return structures.get(name).group if name in structure_names() else "region"


def structure_boxes(scan: LabelledScan, threads: int = 1) -> dict[str, npt.NDArray[np.int64]]:
    """Bounds [2, 3] of every structure that has at least `MIN_VOXELS` voxels."""
    found = {s.label: s for s in map(LabelScan.from_core, _core.scan(scan.labelmap, threads)["labels"])}
    boxes = {}
    for name, parts in scan.parts.items():
        here = [found[part] for part in parts if part in found]
        if sum(s.voxels for s in here) >= MIN_VOXELS:
            boxes[name] = np.array([np.min([s.box[0] for s in here], 0), np.max([s.box[1] for s in here], 0)])
    return boxes


def cut_samples(
    scan: LabelledScan,
    target: Target,
    given: npt.NDArray[np.uint8],
    truth: npt.NDArray[np.uint8],
    kind: str,
    rng: np.random.Generator,
    recipe: Recipe = RECIPE,
) -> Samples:
    """Cut some of the slices that the engine would look at.

    Parameters
    ----------
    scan, target
        Where `truth` comes from.
    given, truth : uint8 [z, y, x]
        0 and 1, on the scan's grid; `given` is not empty.
    kind : str
        Recorded.
    rng : Generator
        Chooses the slices.
    recipe : Recipe
        Its channels must lie in [0, 1].
    """
    found = LabelScan.from_core(_core.scan(given, 1)["labels"][0])
    plan = plan_slices(given, found, recipe, scan.spacing_mm, 1)
    inside, beyond = np.flatnonzero(plan.area > 0), np.flatnonzero(plan.area == 0)
    some = np.concatenate([rng.permutation(inside)[:_INSIDE], rng.permutation(beyond)[:_BEYOND]])
    index, crop, ones = plan.index[some], plan.crop[some], np.ones(len(some), np.int64)
    slices = cut(scan.image, given, recipe, scan.spacing_mm, index, crop, ones, 1)
    seen = _core.sample(scan.image, truth, _TRUTH_SPEC, index, crop, ones, 1)[:, 0]
    pixels = [
        (np.count_nonzero(given[z] & truth[z]), np.count_nonzero(given[z]), np.count_nonzero(truth[z])) for z in index
    ]
    shared, wanted = int(np.count_nonzero(given[target.box] & target.mask)), int(np.count_nonzero(target.mask))
    whole = np.array([shared / found.voxels, shared / max(wanted, 1)], np.float32)
    names = structure_names()
    structure = names.index(target.name) if target.name in names else nameless()
    return Samples(
        slices=np.ascontiguousarray(np.rint(slices * 255).astype(np.uint8).transpose(0, 2, 3, 1)),
        truth=np.rint(seen * 255).astype(np.uint8),
        structure=np.full(len(some), structure, np.int16),
        kind=np.full(len(some), KINDS.index(kind), np.int16),
        pixels=np.array(pixels, np.int32),
        fraction=seen.mean(axis=(1, 2)).astype(np.float32),
        whole=np.tile(whole, (len(some), 1)),
    )


_TRUTH_SPEC = _core.SampleSpec(axis=0, height=TRUTH_PX, width=TRUTH_PX, channels=[_core.Channel(is_mask=True)])
