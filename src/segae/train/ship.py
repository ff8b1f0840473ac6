"""Checkpoint -> calibrated model file: export, judge held-out scans, export again with the curve they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segae import Engine
from segae.recipe import Calibration, ModelCard
from segae.threads import available_threads
from segae.train.data import Case
from segae.train.evaluate import chosen, judge_cases
from segae.train.export import export, monotone_curve
from segae.train.protocols import PROTOCOLS


def ship(checkpoint: Path, out: Path, name: str, held_out: list[Case]) -> ModelCard:
    """Write the model file, calibrated on mixed errors (P1) of scans that no weight was fitted on.

    Parameters
    ----------
    checkpoint : Path
        As `fit` writes it.
    out : Path
    name : str
    held_out : list of Case
        Labelled; without any, the model stays uncalibrated.
    """
    card = export(checkpoint, out, name)
    if not held_out:
        return card
    whole, _ = judge_cases(Engine(out, threads=1), held_out, seed=1, workers=available_threads())
    mixed = chosen(whole, PROTOCOLS["P1"])
    curve = monotone_curve(np.array([r.said for r in mixed]), np.array([r.true for r in mixed]))
    calibration: dict[str, Calibration] = {"default": curve}
    return export(checkpoint, out, name, calibration)
