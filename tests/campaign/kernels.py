"""Random and wrong arguments for every binding of the C++ core: a call may refuse them, never crash, hang or misread.

    scripts/sanitized.sh address python tests/campaign/kernels.py --calls 100000
    scripts/sanitized.sh thread python tests/campaign/kernels.py --calls 2000

Volumes have all dtypes, any strides (negative, zero, overlapping, unaligned) and extents from 0; one argument in eight
is something else altogether. Prints a table: calls that returned and calls that were refused, by binding.
"""

from __future__ import annotations

import argparse
import faulthandler
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from segae import _core

HANG_S = 5.0
REFUSALS = (TypeError, ValueError, IndexError, OverflowError, MemoryError)
DTYPES = ("?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">f4", "c8", "O", "U3")
ODD: tuple[Any, ...] = (
    None, "x", -1, 0, 2**31, 2**63, -(2**63), float("nan"), float("inf"), -float("inf"), 1e300, [], [[]], {}, object(),
    (1, 2), (1, 2, 3, 4), [float("nan")] * 3, np.zeros(0), np.zeros((2, 2)), np.zeros((1, 1, 1, 1)), b"abc",
)  # fmt: skip


class Fuzz:
    """Draws arguments."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def one_of(self, values: Any) -> Any:
        return values[self.rng.integers(len(values))]

    def odd(self, usual: Any) -> Any:
        return self.one_of(ODD) if self.rng.random() < 0.125 else usual

    def shape(self) -> tuple[int, ...]:
        kind = self.rng.random()
        if kind < 0.05:
            long = [1, 1, 1]
            long[self.rng.integers(3)] = int(self.rng.integers(1, 200_000))
            return tuple(long)
        low = 0 if kind < 0.15 else 1
        return tuple(int(v) for v in self.rng.integers(low, 14, 3))

    def volume(self, shape: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
        """An array [z, y, x] that may lie in memory in any way that numpy knows."""
        shape = self.shape() if shape is None else shape
        dtype = np.dtype(self.one_of(DTYPES[:12] if self.rng.random() < 0.9 else DTYPES))
        values = self.rng.integers(-3, 6, shape)
        if dtype.kind in "OU":
            return values.astype(dtype)
        made = np.abs(values).astype(dtype) if dtype.kind in "ub" else values.astype(dtype)
        if dtype.kind == "f" and made.size and self.rng.random() < 0.3:
            made.reshape(-1)[self.rng.integers(made.size)] = self.one_of((np.nan, np.inf, -np.inf, 0.5, 1e30))
        if dtype.itemsize == 8 and made.size and self.rng.random() < 0.1:
            made.reshape(-1)[self.rng.integers(made.size)] = 2**62
        return self.laid_out(made)

    def laid_out(self, made: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array in another order, mirrored, thinned, repeated without memory of its own, or off its alignment."""
        way = self.rng.integers(7)
        if way == 1:
            order = self.rng.permutation(3)
            return np.ascontiguousarray(made.transpose(order)).transpose(np.argsort(order))
        if way == 2:
            return made[:: self.one_of((1, -1)), :: self.one_of((1, -1)), :: self.one_of((1, -1))]
        if way == 3:
            return np.repeat(made, 2, axis=2)[:, :, ::2]
        if way == 4 and made.size:
            return np.broadcast_to(made[:1], made.shape)
        if way == 5 and made.size:
            raw = np.frombuffer(b"\0" + made.tobytes(), np.uint8)[1:]
            return raw.view(made.dtype).reshape(made.shape)
        if way == 6 and made.size and min(made.shape) > 1:
            step = made.strides[-1]
            shape = tuple(max(1, side // 2) for side in made.shape)
            return np.lib.stride_tricks.as_strided(made, shape, (step, step, step))
        return made

    def bytes(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return self.rng.integers(0, 2, shape).astype(np.uint8)

    def floats(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        made = self.rng.normal(0, 30, shape).astype(np.float32)
        if made.size and self.rng.random() < 0.2:
            made.reshape(-1)[self.rng.integers(made.size)] = self.one_of((np.nan, np.inf, -np.inf))
        return made

    def integer(self, low: int = -2, high: int = 6) -> int:
        return int(self.rng.integers(low, high))

    def integers(self, n: int, low: int = -3, high: int = 16) -> Any:
        return self.rng.integers(low, high, n).tolist()

    def table(self, columns: int) -> Any:
        rows = int(self.rng.integers(0, 5))
        made = self.rng.integers(-4, 18, (rows, columns))
        return made if self.rng.random() < 0.9 else made.astype(self.one_of(("f8", "u1", "i2")))

    def spacing(self) -> Any:
        return [self.odd(float(self.one_of((0.5, 1.0, 3.0, 1e-9, 1e9, 0.0, -1.0)))) for _ in range(3)]

    def box(self, shape: tuple[int, ...]) -> Any:
        origin = self.integers(3, -3, 5) if self.rng.random() < 0.5 else [0, 0, 0]
        return _core.Box(origin, list(shape), [float(self.one_of((0.5, 1.0, 2.5)))] * 3)

    def noise(self) -> Any:
        return _core.Noise(self.integer(0, 99), self.spacing(), float(self.odd(3.0)))

    def spec(self) -> Any:
        channels = [
            _core.Channel(is_mask=bool(self.integer(0, 2)), offset=self.odd(self.integer(-2, 3)), low=self.odd(-100.0))
            for _ in range(self.integer(0, 4))
        ]
        height, width = (self.odd(self.integer(0, 20)) for _ in range(2))
        stop = bool(self.integer(0, 2))
        return _core.SampleSpec(
            axis=self.odd(self.integer(0, 3)), height=height, width=width, stop_at_crop=stop, channels=channels
        )

    def rule(self) -> Any:
        n = self.integer(0, 4)
        return _core.LevelRule(
            self.one_of([getattr(_core.Measure, m) for m in ("DISTANCE", "FIELD", "PLANE", "BALLS", "SLICES")]),
            add=bool(self.integer(0, 2)), remove=bool(self.integer(0, 2)), most=self.odd(8.0), axis=self.odd(0),
            balls=[(self.spacing(), self.odd(2.0)) for _ in range(n)], slices=[1.0] * self.integer(0, 16),
            noise=[self.noise() for _ in range(n)], normal=self.spacing(),
        )  # fmt: skip


def calls(f: Fuzz) -> dict[str, Callable[[], Any]]:
    """Binding -> a call of it with arguments drawn now."""
    shape = f.shape()
    threads = f.odd(f.integer(1, 5))
    box = lambda: f.odd(f.box(shape))  # noqa: E731
    data = lambda: f.odd(f.bytes(shape if f.rng.random() < 0.9 else f.shape()))  # noqa: E731
    floats = lambda: f.odd(f.floats(shape if f.rng.random() < 0.9 else f.shape()))  # noqa: E731
    volume = lambda: f.odd(f.volume(shape if f.rng.random() < 0.8 else None))  # noqa: E731
    kept = lambda: f.odd(sorted(set(f.integers(4, -2, 14))))  # noqa: E731
    axis = lambda: f.odd(f.integer(-1, 4))  # noqa: E731
    sides = [_core.Sides.OUTSIDE, _core.Sides.INSIDE, _core.Sides.BOTH]

    def relations() -> Any:
        labels = [1, 2, 3]
        found = [_core.runs(f.volume(shape), labels[: f.integer(1, 4)], 1) for _ in range(f.integer(0, 3))]
        return _core.relations(f.odd(found), f.odd(list(shape)), f.odd(f.integer(0, 4)), threads)

    def warp() -> Any:
        mapping = _core.Map(
            cell_mm=f.spacing(), cell_from_mm=f.spacing(), matrix=f.odd([1.0, 0, 0, 0, 1, 0, 0, 0, 1]),
            bend=f.noise() if f.rng.random() < 0.5 else None,
        )  # fmt: skip
        return _core.warp(box(), data(), box(), mapping, data(), f.odd(f.integer(0, 4)), threads)

    def arrival() -> Any:
        rule = _core.GrowRule(
            start_mm=f.spacing(), start_radius_mm=f.odd(3.0), centre_hu=f.odd(0.0), width_hu=f.odd(50.0),
            most_mm=f.odd(9.0),
        )  # fmt: skip
        return _core.arrival(box(), data(), floats(), rule)

    def spoiled_runs() -> Any:
        run = _core.runs(f.volume(shape), [1], 1)
        if run.size:
            run.reshape(-1)[f.rng.integers(run.size)] = f.one_of((-1, 10**9, 2**62))
        return _core.relations([run], list(shape), 2, threads)

    return {
        "scan": lambda: _core.scan(volume(), threads),
        "runs": lambda: _core.runs(volume(), f.odd(f.integers(3)), threads),
        "relations": relations,
        "relations of other runs": spoiled_runs,
        "plane_boxes": lambda: _core.plane_boxes(
            volume(), axis(), f.odd(f.integers(3)), f.odd(f.integers(3)), f.odd(f.table(4)), threads
        ),
        "sample_into": lambda: _core.sample_into(
            np.zeros((2, 2, 5, 6), np.float32)[: f.rng.integers(1, 3)],
            f.rng.integers(-1, 3, f.rng.integers(3)).tolist(),
            volume(),
            volume(),
            f.spec(),
            f.odd(f.integers(2)),
            f.odd(f.rng.normal(4, 6, (2, 4))),
            f.odd(f.integers(2)),
            threads,
        ),
        "sample": lambda: _core.sample(
            volume(),
            volume() if f.rng.random() < 0.7 else None,
            f.spec(),
            f.odd(f.integers(2)),
            f.odd(f.rng.normal(4, 6, (2, 4))),
            f.odd(f.integers(2)),
            threads,
        ),
        "overlap": lambda: _core.overlap(volume(), volume(), f.odd(1), f.odd(1), axis(), threads),
        "surface_counts": lambda: _core.surface_counts(
            volume(), volume(), 1, 1, f.spacing(), f.odd(1.0), f.odd(f.one_of((None, 0, 1, 2))), threads
        ),
        "squared_distance": lambda: _core.squared_distance(data(), f.spacing(), threads),
        "component_sizes": lambda: _core.component_sizes(volume(), f.odd(1)),
        "component_labels": lambda: _core.component_labels(volume(), f.odd(1)),
        "extract_mask": lambda: _core.extract_mask(volume(), f.odd(1), box(), threads),
        "extract_image": lambda: _core.extract_image(volume(), f.odd(1.0), f.odd(0.0), box(), threads),
        "recut": lambda: _core.recut(box(), data(), f.box(f.shape()), threads),
        "subsample": lambda: _core.subsample(box(), data(), f.odd(f.integers(3, 0, 4)), threads),
        "summarise": lambda: _core.summarise(volume(), f.odd(1), threads),
        "signed_squared_distance": lambda: _core.signed_squared_distance(data(), box(), f.one_of(sides), threads),
        "levels": lambda: _core.levels(
            box(),
            data(),
            f.rule(),
            other=f.one_of((None, data())),
            squared=f.one_of((None, floats())),
            field=f.one_of((None, floats())),
            threads=threads,
        ),
        "flip": lambda: _core.flip(box(), data(), floats(), f.odd(2.0), data(), threads),
        "level_histogram": lambda: _core.level_histogram(
            box(), data(), floats(), data(), f.odd(9.0), f.odd(f.integer(0, 99)), threads
        ),
        "warp": warp,
        "interpolate_slices": lambda: _core.interpolate_slices(box(), data(), axis(), kept(), threads),
        "arrival": arrival,
        "blur": lambda: _core.blur(box(), floats(), f.odd(float(f.one_of((0.0, 1.0, 40.0)))), threads),
        "roughness": lambda: _core.roughness(box(), floats(), f.odd(1.0), threads),
        "compare": lambda: _core.compare(box(), data(), data(), threads),
        "count_in_rows": lambda: _core.count_in_rows(box(), floats(), f.odd(-9.0), f.odd(9.0), threads),
        "find_in_row": lambda: _core.find_in_row(
            box(), floats(), f.odd(f.integer()), f.odd(-9.0), f.odd(9.0), f.odd(f.integer())
        ),
        "extremes": lambda: _core.extremes(box(), floats(), threads),
        "image_moments": lambda: _core.image_moments(box(), floats(), data(), threads),
        "label_counts": lambda: _core.label_counts(volume(), box(), data(), threads),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="of each binding")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(calls(Fuzz(0))), help="bindings (default: all)")
    options = parser.parse_args()
    returned: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    with np.errstate(all="ignore"):
        for i in range(options.calls):
            for name in options.only or calls(Fuzz(0)):
                # Each call has a seed of its own: one that fails can be repeated alone.
                fuzz = Fuzz(hash((options.seed, i)) & 0x7FFFFFFF)
                faulthandler.dump_traceback_later(HANG_S, exit=True)
                try:
                    calls(fuzz)[name]()
                    returned[name] += 1
                except REFUSALS:
                    refused[name] += 1
                except BaseException:
                    print(f"{name}, seed {options.seed}, call {i}", flush=True)
                    raise
                finally:
                    faulthandler.cancel_dump_traceback_later()
    print("| binding | returned | refused |\n|---|---|---|")
    for name in sorted(returned | refused):
        print(f"| {name} | {returned[name]} | {refused[name]} |")


if __name__ == "__main__":
    main()
