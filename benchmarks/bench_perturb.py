"""How fast segae.perturb is beside edt, scipy and TorchIO: benchmarks/results/perturb.md.

Both sides of a ratio run in turns in one process, on the same box and threads; the ratio is that of the medians.
Usage: python benchmarks/bench_perturb.py [--repeat N] [--threads N] [-o OUT.md]
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

import segae
from segae import _core

SHAPE, STRUCTURE, SPACING = (300, 512, 512), (150, 200, 200), (1.5, 0.8, 0.8)
OUT = Path(__file__).parent / "results" / "perturb.md"
TARGET_SEEDS = (3, 4, 5)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


class Stopwatch:
    """The clock that everything is timed by."""

    now = staticmethod(time.perf_counter)


def structure() -> np.ndarray:
    """A lobed body of 200 x 200 x 150 voxels in a volume of 512 x 512 x 300."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in STRUCTURE), indexing="ij")
    radius = 0.8 + 0.2 * np.cos(3 * np.arctan2(y, x)) * np.sqrt(np.clip(1 - z * z, 0, 1))
    mask = np.zeros(SHAPE, np.uint8)
    begin = [(s - n) // 2 for s, n in zip(SHAPE, STRUCTURE, strict=True)]
    mask[tuple(slice(b, b + n) for b, n in zip(begin, STRUCTURE, strict=True))] = x * x + y * y + z * z <= radius**2
    return mask


def compare(mine, theirs, repeat: int) -> tuple[float, float]:
    """Median seconds of both, run in turns, by the clock asked for."""
    times = ([], [])
    for _ in range(repeat):
        for run, taken in zip((mine, theirs), times, strict=True):
            start = Stopwatch.now()
            run()
            taken.append(Stopwatch.now() - start)
    return statistics.median(times[0]), statistics.median(times[1])


def boxed(mask: np.ndarray, margin: int) -> np.ndarray:
    box = ndimage.find_objects(mask)[0]
    return np.ascontiguousarray(mask[tuple(slice(s.start - margin, s.stop + margin) for s in box)])


def distance_rows(mask: np.ndarray, threads: int, repeat: int):
    """The transform alone against edt, then erode and dilate by 4 mm against the same with scipy's transform."""
    import edt

    tight, wide = boxed(mask, 1), boxed(mask, 6)
    for name, array, sides in (("inside", tight, _core.Sides.INSIDE), ("outside", wide, _core.Sides.OUTSIDE)):
        box = _core.Box((0, 0, 0), array.shape, SPACING)
        seeds = array if sides == _core.Sides.INSIDE else (array == 0).astype(np.uint8)
        yield (
            f"distance transform, {name}",
            "edt",
            "<= 1.3x its time",
            compare(
                lambda box=box, array=array, sides=sides: _core.signed_squared_distance(array, box, sides, threads),
                lambda seeds=seeds: edt.edtsq(seeds, anisotropy=SPACING, parallel=threads),
                repeat,
            ),
        )
    for kind, array, theirs in (
        ("erode", tight, lambda m: m.astype(bool) & (ndimage.distance_transform_edt(m, sampling=SPACING) > 4.0)),
        ("dilate", wide, lambda m: ndimage.distance_transform_edt(m == 0, sampling=SPACING) <= 4.0),
    ):
        params = {"kind": kind, "radius_mm": 4.0}
        yield (
            f"{kind} 4 mm, whole volume against scipy on the box",
            "scipy distance_transform_edt",
            ">= 5x faster",
            compare(
                lambda params=params: segae.perturb(mask, params=params, spacing=SPACING, threads=threads),
                lambda array=array, theirs=theirs: theirs(array),
                repeat,
            ),
        )


def elastic_rows(mask: np.ndarray, threads: int, repeat: int):
    params = {"kind": "elastic", "grid_mm": 40.0, "seed": 5, "amplitude_mm": 12.0}
    margin = int(np.ceil(12.0 / min(SPACING))) + 1
    array = boxed(mask, margin)
    rng = np.random.default_rng(0)
    coarse = [
        rng.uniform(-12, 12, [int(n * s / 40.0) + 4 for n, s in zip(array.shape, SPACING, strict=True)])
        for _ in SPACING
    ]

    def mine():
        return segae.perturb(mask, params=params, spacing=SPACING, threads=threads)

    def with_scipy():
        at = np.indices(array.shape, np.float32)
        for axis, step in enumerate(SPACING):
            zoom = [n / m for n, m in zip(array.shape, coarse[axis].shape, strict=True)]
            at[axis] += (
                ndimage.zoom(coarse[axis], zoom, order=3, output=np.float32, grid_mode=True, mode="nearest") / step
            )
        return ndimage.map_coordinates(array.astype(np.float32), at, order=1) >= 0.5

    yield (
        "elastic",
        "scipy map_coordinates (order 1, field included)",
        ">= 10x faster",
        compare(mine, with_scipy, repeat),
    )

    import torch
    import torchio

    torch.set_num_threads(threads)
    subject = torchio.Subject(
        mask=torchio.LabelMap(tensor=torch.from_numpy(array)[None], affine=np.diag([*SPACING, 1.0]))
    )
    transform = torchio.RandomElasticDeformation(num_control_points=7, max_displacement=12.0)
    yield (
        "elastic",
        "TorchIO RandomElasticDeformation",
        ">= 5x faster",
        compare(mine, lambda: transform(subject), repeat),
    )


def target_rows(mask: np.ndarray, threads: int, repeat: int):
    """The whole call with target_dice against the whole call that replays what it found, three seeds each."""
    kwargs = {"spacing": SPACING, "threads": threads}
    for kind in ("erode", "dilate", "jitter", "slicewise", "smooth", "truncate", "elastic", "open"):
        found = [
            segae.perturb_many(mask, 1, kinds=kind, target_dice=0.9, seed=seed, **kwargs)[0].params
            for seed in TARGET_SEEDS
        ]

        def meet(kind=kind):
            for seed in TARGET_SEEDS:
                # The generator that perturb_many hands to its first variant.
                segae.perturb(mask, kind, target_dice=0.9, seed=np.random.default_rng(seed).spawn(1)[0], **kwargs)

        def apply(found=found):
            for params in found:
                segae.perturb(mask, params=params, **kwargs)

        aim = "" if kind in ("elastic", "open") else "<= 2x its time (distance-based)"
        yield f"{kind} to Dice 0.9, 3 seeds", "one application each", aim, compare(meet, apply, repeat)


def plain_variant(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What one writes with scipy in an afternoon: eight steps of bisection on erosion, dilation, shift or elastic."""
    kind = ("erode", "dilate", "shift", "elastic")[int(rng.integers(4))]
    target, low, high = rng.uniform(0.1, 0.97), 0.0, 1.0
    wide = np.pad(mask, 30)
    inside, outside = (ndimage.distance_transform_edt(m, sampling=SPACING) for m in (wide, wide == 0))
    at = np.indices(wide.shape, np.float32)
    field = (
        [ndimage.gaussian_filter(rng.normal(size=wide.shape).astype(np.float32), 15) for _ in range(3)]
        if kind == "elastic"
        else []
    )
    result = wide
    for _ in range(8):
        strength = (low + high) / 2
        if kind == "erode":
            result = inside > strength * inside.max()
        elif kind == "dilate":
            result = outside <= strength * inside.max()
        elif kind == "shift":
            result = ndimage.shift(wide, strength * np.array(mask.shape) / 2, order=0)
        else:
            moved = [a + strength * 20 * f / f.std() for a, f in zip(at, field, strict=True)]
            result = ndimage.map_coordinates(wide, moved, order=0)
        dice = (
            2 * np.count_nonzero(result.astype(bool) & (wide > 0)) / (np.count_nonzero(result) + np.count_nonzero(wide))
        )
        low, high = (strength, high) if dice > target else (low, strength)
    segae.measure(result.astype(np.uint8), wide, spacing=SPACING)
    return result


def many_rows(mask: np.ndarray, threads: int, count: int):
    """Random variants of one mask, with their Dice and NSD."""
    small = boxed(mask, 30)[::2, ::2, ::2].copy()  # a structure of 75 x 100 x 100 voxels
    start = Stopwatch.now()
    segae.perturb_many(small, 100, spacing=SPACING, seed=1, threads=threads)
    mine = (Stopwatch.now() - start) / 100
    rng = np.random.default_rng(1)
    start = Stopwatch.now()
    for _ in range(count):
        plain_variant(small, rng)
    yield (
        "a random variant of a 75 x 100 x 100 structure",
        "plain scipy",
        ">= 10x faster",
        (mine, (Stopwatch.now() - start) / count),
    )


def rows(threads: int, repeat: int):
    mask = structure()
    yield from distance_rows(mask, threads, repeat)
    yield from elastic_rows(mask, threads, repeat)
    yield from target_rows(mask, threads, repeat)
    yield from many_rows(mask, threads, 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: seconds of all threads, for a busy machine"
    )
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    options = parser.parse_args()
    Stopwatch.now = staticmethod(CLOCKS[options.clock])
    lines = [
        f"segae.perturb, {datetime.date.today()}, {platform.machine()}, {os.cpu_count()} CPUs, load "
        f"{os.getloadavg()[0]:.1f}, {options.threads} threads, median of {options.repeat} runs in turns, "
        f"{options.clock} clock.",
        "",
        "| what | beside | aim | segae ms | other ms | other / segae |",
        "|---|---|---|--:|--:|--:|",
    ]
    print("\n".join(lines))
    for what, beside, aim, (mine, theirs) in rows(options.threads, options.repeat):
        lines.append(f"| {what} | {beside} | {aim} | {mine * 1e3:.0f} | {theirs * 1e3:.0f} | {theirs / mine:.2f} |")
        print(lines[-1], flush=True)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
