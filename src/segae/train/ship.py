"""Checkpoint -> calibrated model file: export, judge held-out scans, export again with the curve they show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from segae import Engine
from segae.assessment import calibrate
from segae.recipe import ModelCard
from segae.session import card_of
from segae.threads import available_threads
from segae.train.calibration import interval_curves, monotone_curve
from segae.train.data import Case
from segae.train.evaluate import judge_cases
from segae.train.export import export
from segae.train.protocols import PROTOCOLS
from segae.train.tables import chosen


def ship(checkpoint: Path, out: Path, name: str, held_out: list[Case], calibrated_by: Path | None = None) -> ModelCard:
    """Write the model file, calibrated on scans that no weight was fitted on: mixed errors (P1) and networks' (P6).

    Parameters
    ----------
    checkpoint : Path
        As `fit` writes it.
    out : Path
    name : str
    held_out : list of Case
        Labelled; without any, the model stays uncalibrated, unless another lends its curves.
    calibrated_by : Path, optional
        Model file whose calibration and intervals are taken where `held_out` is empty: a model that differs little and
        did not learn from the cases that calibrated it.
    """
    if not held_out:
        if calibrated_by is None:
            return export(checkpoint, out, name)
        lender = card_of(calibrated_by)
        return export(checkpoint, out, name, lender.calibration, lender.intervals)
    export(checkpoint, out, name)
    whole, _ = judge_cases(Engine(out, threads=1), held_out, seed=1, workers=available_threads())
    usable = chosen(whole, PROTOCOLS["P1"]) + chosen(whole, PROTOCOLS["P6"])
    curve = monotone_curve(np.array([r.said for r in usable]), np.array([r.true for r in usable]))
    calibrated = [replace(r, said=calibrate(r.said, r.structure, {"default": curve})) for r in usable]
    return export(checkpoint, out, name, {"default": curve}, interval_curves(calibrated))
