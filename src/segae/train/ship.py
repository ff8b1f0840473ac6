"""Checkpoint -> calibrated model file: export, judge held-out scans, export again with the curve they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segae import Engine
from segae.recipe import Calibration, ModelCard
from segae.session import Session
from segae.threads import available_threads
from segae.train.data import Case
from segae.train.evaluate import chosen, judge_cases
from segae.train.export import export, monotone_curve
from segae.train.protocols import PROTOCOLS


def ship(checkpoint: Path, out: Path, name: str, held_out: list[Case], calibrated_by: Path | None = None) -> ModelCard:
    """Write the model file, calibrated on mixed errors (P1) of scans that no weight was fitted on.

    Parameters
    ----------
    checkpoint : Path
        As `fit` writes it.
    out : Path
    name : str
    held_out : list of Case
        Labelled; without any, the model stays uncalibrated, unless another lends its curves.
    calibrated_by : Path, optional
        Model file whose calibration is taken where `held_out` is empty: a model that differs little and did not learn
        from the cases that calibrated it.
    """
    if not held_out:
        curves = None if calibrated_by is None else Session(calibrated_by, "cpu", 1).card.calibration
        return export(checkpoint, out, name, curves)
    export(checkpoint, out, name)
    whole, _ = judge_cases(Engine(out, threads=1), held_out, seed=1, workers=available_threads())
    mixed = chosen(whole, PROTOCOLS["P1"])
    curve = monotone_curve(np.array([r.said for r in mixed]), np.array([r.true for r in mixed]))
    calibration: dict[str, Calibration] = {"default": curve}
    return export(checkpoint, out, name, calibration)
