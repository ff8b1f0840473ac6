"""Labelled scans -> training samples: what the engine would cut for a spoiled mask, and how good that mask is.

Slices are cut by the same functions as at run time (`segae.slices`, ``_core.sample``), so that training and use cannot
differ.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from segae import _core, structures
from segae.perturbation import perturb_many
from segae.recipe import ChannelSpec, MarginCrop, Recipe
from segae.slices import LabelScan, crop_boxes, sample_spec
from segae.train.data import LabelledScan
from segae.train.spoil import LOCAL_KINDS, Bool, Target, spoil, target_of

RECIPE = Recipe(
    size_px=(96, 96),
    slices=10,
    channels=(
        ChannelSpec("image", window_hu=(-160, 240)),
        ChannelSpec("image", window_hu=(-1000, 1000)),
        ChannelSpec("image", offset_mm=-5, window_hu=(-160, 240)),
        ChannelSpec("image", offset_mm=5, window_hu=(-160, 240)),
        ChannelSpec("mask"),
        ChannelSpec("mask", offset_mm=-5),
        ChannelSpec("mask", offset_mm=5),
    ),
    crop=MarginCrop(margin_mm=12, margin_fraction=0.2, min_side_mm=56),
    beyond_mm=(6.0, 20.0),
)
MASK_CHANNEL = 4
TRUTH_PX = 48
MIN_VOXELS = 30
_FLAT_ABOVE = 200_000
_BEYOND_SHARE = 0.15
STRUCTURES = tuple(structures.names())

# Shares of the samples. "beyond" are the slices past a mask's ends, where it is empty and the structure may go on.
KINDS = (*LOCAL_KINDS, "merge", "swap", "mirror", "astray", "beyond", "volume")
# "volume" are whole masks damaged by `segae.perturb`, five slices of each: ten times dearer, so few and small.
_SHARES = np.array([0.06, 0.11, 0.11, 0.06, 0.11, 0.09, 0.06, 0.07, 0.04, 0.04, 0.03, 0.07, 0.03, 0.03, 0.09, 0.02])
_SLICES_PER_VOLUME = 5


@dataclass(frozen=True)
class Samples:
    """Columns of n samples.

    Attributes
    ----------
    slices : uint8 [n, channels, h, w]
        Network input times 255.
    truth : uint8 [n, TRUTH_PX, TRUTH_PX]
        Share of each pixel that the structure covers, times 255.
    structure, kind : int16 [n]
        Index into `STRUCTURES` and `KINDS`.
    pixels : int32 [n, 3]
        Voxels of the whole slice shared by mask and truth, of the mask, of the truth.
    fraction : float32 [n]
        Share of the crop that the structure covers.
    """

    slices: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]
    structure: npt.NDArray[np.int16]
    kind: npt.NDArray[np.int16]
    pixels: npt.NDArray[np.int32]
    fraction: npt.NDArray[np.float32]

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
    """A scan from which samples are drawn."""

    def __init__(self, scan: LabelledScan, rng: np.random.Generator) -> None:
        self.scan = scan
        self.rng = rng
        self._targets: dict[str, Target] = {}
        self._boxes = structure_boxes(self.scan)
        self.names = sorted(self._boxes)

    def draw(self, count: int) -> Samples:
        """Draw samples, structures evenly."""
        rows: list[Samples] = []
        while len(rows) < count:
            name = self.names[self.rng.integers(len(self.names))]
            kind = KINDS[self.rng.choice(len(KINDS), p=_SHARES / _SHARES.sum())]
            if kind == "volume":
                target = self._target(name)
                rows += [] if target.flat else self._draw_volume(target)
            elif (sample := self._draw_one(name, kind)) is not None:
                rows.append(sample)
        return Samples.join(rows[:count])

    def _draw_volume(self, target: Target) -> list[Samples]:
        """Slices of a mask that the perturbation engine damaged as a whole, and of what lies beyond its ends."""
        low, shape = target.low, target.mask.shape
        box = tuple(slice(begin, begin + extent) for begin, extent in zip(low, shape, strict=True))
        made = perturb_many(
            target.mask.view(np.uint8),
            1,
            image=self.scan.image[box],
            labelmap=self.scan.labelmap[box],
            spacing=self.scan.spacing_mm,
            seed=self.rng,
            threads=1,
        )[0].mask.astype(bool)
        filled = np.flatnonzero(made.any(axis=(1, 2))) + low[0]
        if not len(filled):
            return []
        steps = context_steps(self.scan.spacing_mm)
        samples = []
        for _ in range(_SLICES_PER_VOLUME):
            z = end = int(self.rng.choice(filled))
            if self.rng.random() < _BEYOND_SHARE:
                z, end = self._past_end(filled)
            if 0 <= z < self.scan.image.shape[0]:
                given = paste(self.scan, target, _planes_of(made, z + steps - low[0]))
                around = paste(self.scan, target, made[end - low[0]][None])[0]
                samples.append(cut_sample(self.scan, target, given, z, bounds(around), "volume"))
        return samples

    def _past_end(self, filled: npt.NDArray[np.int64]) -> tuple[int, int]:
        """Slice beyond one of a mask's ends, where the recipe would look, and that end."""
        sign = int(self.rng.choice([-1, 1]))
        end = int(filled[-1 if sign > 0 else 0])
        return end + sign * max(1, round(float(self.rng.choice(RECIPE.beyond_mm)) / self.scan.spacing_mm[0])), end

    def _target(self, name: str) -> Target:
        if name not in self._targets:
            self._targets[name] = target_of(self.scan, name, self._boxes[name], flat_above=_FLAT_ABOVE)
        return self._targets[name]

    def _draw_one(self, name: str, kind: str) -> Samples | None:
        target, rng = self._target(name), self.rng
        steps = context_steps(self.scan.spacing_mm)
        filled = np.flatnonzero(target.mask.any(axis=(1, 2))) + target.low[0]
        z = int(rng.choice(filled))
        if kind == "beyond":
            return self._draw_beyond(target, filled, steps)
        planes = z + steps
        given = self._given(target, planes, kind)
        if given is None or not given[len(steps) // 2].any():
            return None
        return cut_sample(self.scan, target, given, z, bounds(given[len(steps) // 2]), kind)

    def _given(self, target: Target, planes: npt.NDArray[np.int64], kind: str) -> Bool | None:
        """Spoiled mask on planes of the scan [k, y, x]."""
        rng = self.rng
        if kind in LOCAL_KINDS:
            return paste(self.scan, target, spoil(target, planes - target.low[0], kind, rng.uniform(0.02, 1), rng))
        if kind == "merge":
            own, other = self._local(target, planes), self._other(target, planes)
            return None if other is None else own | other
        if kind == "swap":
            return self._other(target, planes)
        own = self._local(target, planes)
        if kind == "mirror":
            return np.ascontiguousarray(own[:, :, ::-1])
        step = rng.integers(-np.array(own.shape[1:]) // 2, np.array(own.shape[1:]) // 2 + 1)
        return np.roll(own, step, axis=(1, 2))

    def _local(self, target: Target, planes: npt.NDArray[np.int64]) -> Bool:
        kind = str(self.rng.choice(["untouched", "elastic", "erode", "dilate"]))
        wanted = self.rng.uniform(0.7, 1)
        return paste(self.scan, target, spoil(target, planes - target.low[0], kind, wanted, self.rng))

    def _other(self, target: Target, planes: npt.NDArray[np.int64]) -> Bool | None:
        """Another structure of the same slice; the kind that networks confuse, more often than not."""
        middle = int(planes[len(planes) // 2])
        near = np.unique(self.scan.labelmap[middle])
        here = [n for n in self.names if n != target.name and np.isin(self.scan.parts[n], near).any()]
        here = [n for n in here if not set(self.scan.parts[n]) & set(self.scan.parts[target.name])]
        alike = [n for n in here if structures.get(n).group == structures.get(target.name).group]
        pool = alike if alike and self.rng.random() < 0.6 else here
        if not pool:
            return None
        return self._local(self._target(pool[self.rng.integers(len(pool))]), planes)

    def _draw_beyond(
        self, target: Target, filled: npt.NDArray[np.int64], steps: npt.NDArray[np.int64]
    ) -> Samples | None:
        """Slice past an end of the mask, which is the structure's end or, more often, too early."""
        rng = self.rng
        sign = int(rng.choice([-1, 1]))
        end = int(filled[-1 if sign > 0 else 0]) if rng.random() < 0.4 else int(rng.choice(filled))
        step = max(1, round(float(rng.choice(RECIPE.beyond_mm)) / self.scan.spacing_mm[0]))
        z = end + sign * step
        if not 0 <= z < self.scan.image.shape[0]:
            return None
        planes = np.append(z + steps, end)
        given = self._local(target, planes)
        given[(planes - end) * sign > 0] = False
        if not given[-1].any():
            return None
        return cut_sample(self.scan, target, given[:-1], z, bounds(given[-1]), "beyond")


def structure_boxes(scan: LabelledScan, threads: int = 1) -> dict[str, npt.NDArray[np.int64]]:
    """Bounds [2, 3] of every structure that has at least `MIN_VOXELS` voxels."""
    found = {s.label: s for s in map(LabelScan.from_core, _core.scan(scan.labelmap, threads)["labels"])}
    boxes = {}
    for name, parts in scan.parts.items():
        here = [found[part] for part in parts if part in found]
        if sum(s.voxels for s in here) >= MIN_VOXELS:
            boxes[name] = np.array([np.min([s.box[0] for s in here], 0), np.max([s.box[1] for s in here], 0)])
    return boxes


def _planes_of(mask: Bool, planes: npt.NDArray[np.int64]) -> Bool:
    """Slices of a mask, empty where it has none."""
    known = (planes >= 0) & (planes < len(mask))
    return mask[np.clip(planes, 0, len(mask) - 1)] & known[:, None, None]


def context_steps(spacing_mm: tuple[float, float, float]) -> npt.NDArray[np.int64]:
    """Slices that the recipe's channels look at, as distances in slices, sorted; symmetric about 0."""
    spec = {round(c.offset_mm / spacing_mm[0]) or int(np.sign(c.offset_mm)) for c in RECIPE.channels}
    return np.array(sorted(spec), np.int64)


def paste(scan: LabelledScan, target: Target, planes: Bool) -> Bool:
    """Planes of a target's box, on the scan's whole planes."""
    whole = np.zeros((len(planes), *scan.image.shape[1:]), bool)
    (_, y, x), (_, h, w) = target.low, planes.shape
    whole[:, y : y + h, x : x + w] = planes
    return whole


def bounds(plane: Bool) -> npt.NDArray[np.float64]:
    """First row, end row, first column, end column of what is filled, [1, 4]."""
    rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
    return np.array([[rows[0], rows[-1] + 1, columns[0], columns[-1] + 1]], np.float64)


def cut_sample(
    scan: LabelledScan, target: Target, given: Bool, z: int, box: npt.NDArray[np.float64], kind: str
) -> Samples:
    """Cut one sample.

    Parameters
    ----------
    scan, target
        Where the truth is.
    given : bool [k, y, x]
        The mask on the slices that `context_steps` names.
    z : int
        The slice that is judged.
    box : float64 [1, 4]
        Bounds of the mask that the crop is placed around.
    kind : str
        Recorded.
    """
    steps = context_steps(scan.spacing_mm)
    low, high = max(z + int(steps[0]), 0), min(z + int(steps[-1]) + 1, scan.image.shape[0])
    mask = np.zeros((high - low, *scan.image.shape[1:]), np.uint8)
    for step, plane in zip(steps, given, strict=True):
        if low <= z + step < high:
            mask[z + step - low] = plane
    crop = crop_boxes(box, RECIPE.crop, scan.spacing_mm, scan.image.shape)
    slices = _core.sample(scan.image[low:high], mask, sample_spec(RECIPE, scan.spacing_mm), [z - low], crop, [1], 1)
    truth_plane = np.zeros((1, *scan.image.shape[1:]), bool)
    if 0 <= z - target.low[0] < len(target.mask):
        truth_plane = paste(scan, target, target.mask[z - target.low[0]][None])
    truth = _core.sample(scan.image[z : z + 1], truth_plane.view(np.uint8), _TRUTH_SPEC, [0], crop, [1], 1)[:, 0]
    middle = given[len(steps) // 2]
    shared = int(np.count_nonzero(middle & truth_plane[0]))
    return Samples(
        slices=np.rint(slices * 255).astype(np.uint8),
        truth=np.rint(truth * 255).astype(np.uint8),
        structure=np.array([STRUCTURES.index(target.name)], np.int16),
        kind=np.array([KINDS.index(kind)], np.int16),
        pixels=np.array([[shared, np.count_nonzero(middle), np.count_nonzero(truth_plane)]], np.int32),
        fraction=np.array([truth.mean()], np.float32),
    )


_TRUTH_SPEC = _core.SampleSpec(axis=0, height=TRUTH_PX, width=TRUTH_PX, channels=[_core.Channel(is_mask=True)])
