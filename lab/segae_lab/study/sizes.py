"""How large a study is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Scans, network and training of a study.

    Attributes
    ----------
    side : int
        Pixels of the square slices.
    pixel_mm : float
    synthetic, tests : int
        Synthetic scans beside the real ones of the pool, and real scans to test on.
    width : int
        Channels of the network's first level.
    steps, batch : int
        Of every training.
    rate : float
        Peak learning rate.
    passes : int
        Of Monte-Carlo dropout.
    budgets : tuple of int
        Labelled scans.
    seeds : tuple of int
    """

    side: int
    pixel_mm: float
    synthetic: int
    tests: int
    width: int
    steps: int
    batch: int
    rate: float
    passes: int
    budgets: tuple[int, ...]
    seeds: tuple[int, ...] = (0, 1, 2)


SIZES = {
    "small": Size(
        side=64, pixel_mm=4.0, synthetic=12, tests=8, width=8, steps=180, batch=8, rate=4e-3, passes=5,
        budgets=(3, 6, 9),
    ),
    "large": Size(
        side=128, pixel_mm=2.0, synthetic=80, tests=48, width=32, steps=4000, batch=32, rate=2e-3, passes=20,
        budgets=(8, 20, 40),
    ),
}  # fmt: skip
