"""Checks across structures on label maps of people (`SEGAE_DATA`, not in the repository)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segae import anatomy, structures
from segae.anatomy import Scene
from segae.volume import load

pytestmark = pytest.mark.data

IDS = {structures.get(name).id: name for name in structures.names()}
CHEST = "totalseg_s0327"


def check(data: Path, name: str, swap: dict[str, str] | None = None) -> list[anatomy.Finding]:
    """Findings on a label map, some of whose names are others."""
    named = {value: (swap or {}).get(structure, structure) for value, structure in IDS.items()}
    return anatomy.check(Scene.of_labelmap(load(str(data / "labelmaps" / f"{name}_seg.nii.gz"), "labelmap"), named, 1))


@pytest.mark.parametrize("name", [CHEST, "totalseg_s0328", "pants_035", "word_0014", "btcv01", "bdmap_31"])
def test_untouched_label_maps_have_no_flag(data: Path, name: str) -> None:
    assert check(data, name) == []


def test_a_chest_whose_ribs_are_all_numbered_one_too_high(data: Path) -> None:
    """What users of a well-known data set complain of: the twelfth ribs lose their label, the first are the second."""
    up = {f"rib_{side}_{i}": f"rib_{side}_{i + 1}" for side in ("left", "right") for i in range(1, 12)}
    down = {f"rib_{side}_12": f"rib_{side}_1" for side in ("left", "right")}  # names stay distinct; dropped below
    volume = load(str(data / "labelmaps" / f"{CHEST}_seg.nii.gz"), "labelmap")
    named = {value: (up | down).get(structure, structure) for value, structure in IDS.items()}
    scene = Scene.of_labelmap(volume, named, 1)
    parts = {name: part for name, part in scene.parts.items() if name not in down.values()}
    (found,) = anatomy.check(Scene(parts))
    assert found.kind == "wrong_level"
    assert found.detail.startswith("All ribs are numbered one too high")
    assert found.certain
    assert len(found.structures) == 22
    assert found.really["rib_left_8"] == "rib_left_7"


@pytest.mark.parametrize(("a", "b"), [("vertebrae_T8", "vertebrae_T9"), ("rib_left_5", "rib_left_6")])
def test_two_neighbours_exchanged(data: Path, a: str, b: str) -> None:
    (found,) = check(data, CHEST, {a: b, b: a})
    assert found.kind == "out_of_order"
    assert found.really == {a: b, b: a}
    assert found.certain


def test_all_sides_exchanged_but_not_the_scan(data: Path) -> None:
    pairs = {
        name: structures.get(name).partner for name in structures.names() if structures.get(name).partner is not None
    }
    found = check(data, CHEST, {name: str(other) for name, other in pairs.items()})
    assert {finding.kind for finding in found} == {"side_swapped"}
    assert all(finding.certain for finding in found)
    assert {"lung_upper_lobe_left", "rib_left_5", "hip_left"} <= {n for f in found for n in f.structures}


def test_a_mirrored_scan_is_told_once(data: Path) -> None:
    volume = load(str(data / "labelmaps" / "totalseg_s0328_seg.nii.gz"), "labelmap")
    mirrored = np.ascontiguousarray(volume.array[:, :, ::-1])
    (found,) = anatomy.check(Scene.of_labelmap(replace(volume, array=mirrored), IDS, 1))
    assert found.kind == "side_swapped"
    assert "mirrored" in found.detail


def test_ribs_whose_backs_lie_above_the_scan(data: Path) -> None:
    """An abdomen shows the front ends of ribs 7 to 10 only: the border cuts them in their order from front to back."""
    (found,) = check(data, "totalseg_s0328", {"rib_left_8": "rib_left_9", "rib_left_9": "rib_left_8"})
    assert found.kind == "out_of_order"
    assert found.really == {"rib_left_8": "rib_left_9", "rib_left_9": "rib_left_8"}
