"""The demo: what a new user sees first."""

from __future__ import annotations

import webbrowser
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import segae
from segae import audit, demo, picture
from segae.cli import main
from segae.demo import cohort


def test_patient_is_small_and_whole() -> None:
    assert (files("segae.demo") / "patient.npz").stat().st_size < 1_500_000
    image, masks = demo.phantom()
    assert image.dtype == np.int16
    assert list(masks) == list(demo.STRUCTURES)
    for name, mask in masks.items():
        low, high = segae.structures.get(name).volume_ml
        assert low < mask.sum() * np.prod(demo.SPACING_MM) / 1000 < high, name


def test_demo_shows_every_fault_and_is_seldom_wrong(tmp_path: Path) -> None:
    engine = segae.Engine(device="cpu")
    shown, message = demo.demo(engine, tmp_path / "demo.png")
    assert message.endswith("demo.png")
    assert [entry.fault for entry in shown] == list(demo.FAULTS)
    for entry in shown:
        assert entry.true_dice == pytest.approx(entry.fault.dice, abs=0.011)
    # Of six tiles, at least four are right within a quarter.
    assert sum(abs(entry.found.dice - entry.true_dice) < 0.25 for entry in shown) >= 4
    pixels = np.asarray(Image.open(tmp_path / "demo.png").convert("RGB"))
    for style in (picture.GIVEN, picture.EXPECTED, picture.TRUE):
        tiles = pixels[:340], pixels[340:-30], pixels[-25:]  # two rows of tiles, and the legend
        assert all((part == style.color).all(axis=-1).any() for part in tiles), style


@pytest.mark.slow
def test_report_of_a_cohort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(cohort.write_cohort, "__defaults__", (2, 1))
    assert main(["demo", "--report", str(tmp_path), "--device", "cpu"]) == 0
    assert opened == [(tmp_path / "report.html").as_uri()]
    found = audit.load(tmp_path)
    assert len(found.cases) == 2
    assert len(found.masks) == 2 * len(demo.STRUCTURES)
    for case in found.cases:
        told = (tmp_path / "dataset" / case.case_id / "faults.txt").read_text().splitlines()
        wrong = {line.partition(":")[0] for line in told}
        dice = {mask.structure: mask.dice for mask in found.masks if mask.case_id == case.case_id}
        right = [dice[name] for name in dice if name not in wrong]
        assert np.mean([dice[name] for name in wrong]) < np.mean(right) - 0.1


@pytest.mark.parametrize(
    ("precision", "recall", "dice", "words"),
    [(0.9, 0.9, 0.9, "good"), (0.5, 0.9, 0.64, "too large"), (0.9, 0.5, 0.64, "too small"),
     (0.4, 0.5, 0.44, "misplaced"), (0.8, 0.75, 0.77, "doubtful")],
)  # fmt: skip
def test_verdict(precision: float, recall: float, dice: float, words: str) -> None:
    found = segae.Assessment("liver", dice, precision, recall, dice, (), 1.0, None, ())
    assert demo.verdict(found) == words
