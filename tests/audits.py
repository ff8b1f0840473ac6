"""Made-up audits: rows of masks, and an OUT folder that holds them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

import segae._core  # noqa: F401  an editable install rebuilds here, and not while a test captures what is printed
from segae.assessment import Flag, SliceScore
from segae.audit.results import CaseRow, MaskRow, slices_to_json
from segae.audit.store import Store


def mask_row(case: str = "case", structure: str = "liver", dice: float = 0.9, **changes: object) -> MaskRow:
    row = MaskRow(
        case_id=case,
        structure=structure,
        source=f"{case}/segmentations/{structure}.nii.gz",
        name=structure,
        dice=dice,
        precision=dice,
        recall=dice,
        raw=dice,
        volume_ml=1500.0,
        flags=(),
        image="",
        mask="",
        labels=(),
        bbox=((10, 20), (10, 20), (0, 10)),
        centroid_mm=(0.0, 0.0, 0.0),
        slices_json="[]",
        seconds=0.1,
        model_sha256="0" * 64,
        error=None,
    )
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def failed_row(case: str, structure: str = "liver", error: str = "No such file.") -> MaskRow:
    nan = float("nan")
    return mask_row(
        case,
        structure,
        nan,
        precision=nan,
        recall=nan,
        raw=nan,
        volume_ml=nan,
        error=error,
        centroid_mm=None,
        bbox=None,
    )


def flags(*names: str) -> tuple[Flag, ...]:
    return tuple(Flag(name, f"What {name} saw.") for name in names)


def curve(n: int = 10, dice: float = 0.8) -> str:
    area = 1000 * np.sin(np.linspace(0.3, 2.8, n))
    return slices_to_json(
        tuple(SliceScore(4 * i, float(a), dice, dice, dice, float(a) * 1.1) for i, a in enumerate(area))
    )


def cohort(structures: Sequence[str], cases: int, seed: int = 0, bad_share: float = 0.05) -> list[MaskRow]:
    """Masks of several structures in many cases, a share of them bad, all of usual size and place."""
    rng = np.random.default_rng(seed)
    rows = []
    slices = curve()
    for c in range(cases):
        scan_mm = rng.normal(0, 60, 3)
        for s, structure in enumerate(structures):
            usual = 0.95 - 0.25 * (s / max(1, len(structures) - 1))
            bad = rng.random() < bad_share
            dice = float(np.clip(usual - abs(rng.normal(0, 0.02)) - bad * rng.uniform(0.2, 0.6), 0.02, 0.99))
            lean = rng.normal(0, 0.1) if bad else 0.0
            place = scan_mm + np.array([20 * s, -10 * s, 30 * s]) + rng.normal(0, 4, 3)
            rows.append(
                mask_row(
                    f"case_{c:05d}",
                    structure,
                    dice,
                    precision=float(np.clip(dice + lean, 0.01, 1)),
                    recall=float(np.clip(dice - lean, 0.01, 1)),
                    volume_ml=float(100 * (s + 1) * np.exp(rng.normal(0, 0.2))),
                    centroid_mm=tuple(float(v) for v in place),
                    slices_json=slices,
                )
            )
    return rows


def write_audit(out: Path, masks: Iterable[MaskRow], dataset: str = "", **meta: str) -> Path:
    by_case: dict[str, list[MaskRow]] = {}
    for mask in masks:
        by_case.setdefault(mask.case_id, []).append(mask)
    with Store(out) as store:
        store.set_meta(
            **{"segae": "0.1.0", "model": "model.onnx", "model_sha256": "0" * 64, "dataset": dataset or str(out.parent)}
            | {"layout": "totalsegmentator", "started": "2026-01-01T00:00:00Z", "finished": "2026-01-01T01:00:00Z"}
            | meta
        )
        for case, rows in by_case.items():
            store.commit(CaseRow(case, "done", f"print of {case}", None, 1.0), rows)
    return out
