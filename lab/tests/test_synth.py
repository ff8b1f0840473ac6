"""Synthetic CT: a stand-in atlas of boxes and cylinders for speed, the real one where the data are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")

from segae import structures
from segae.errors import ParameterError
from segae_lab.synthetic.anatomy import MATERIALS, UNIONS, Atlas, build_atlas, union_ids
from segae_lab.synthetic.body import REGIONS
from segae_lab.synthetic.ct import generate
from segae_lab.synthetic.voxelise import voxelise


def _cube(low: float, high: float) -> np.ndarray:
    """Twelve triangles of an axis-aligned cube, wound outwards."""
    v = np.array([[z, y, x] for z in (low, high) for y in (low, high) for x in (low, high)], float)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return np.array([v[list(t)] for a, b, c, d in faces for t in ((a, b, c), (a, c, d))])


@pytest.mark.parametrize("missing", [0, 1])
def test_voxelise_fills_a_cube_even_when_a_triangle_is_missing(missing: int) -> None:
    mask, place = voxelise(_cube(2.5, 8.5)[missing:], (12, 12, 12))
    full = np.zeros((12, 12, 12), bool)
    full[place] = mask
    expected = np.zeros_like(full)
    expected[3:9, 3:9, 3:9] = True
    np.testing.assert_array_equal(full, expected)


def test_voxelise_leaves_a_cavity_open() -> None:
    shell = np.concatenate([_cube(1.5, 9.5), _cube(4.5, 6.5)[:, ::-1]])
    mask, _ = voxelise(shell, (12, 12, 12))
    assert mask.sum() == 8**3 - 2**3


@pytest.fixture(scope="module")
def box_atlas() -> Atlas:
    """A cylinder of fat with muscle, a spine, a liver, two lungs and a brain, at 6 mm."""
    names = {n: structures.get(n).id for n in structures.names()} | MATERIALS
    spacing, origin, shape = 6.0, (690.0, -306.0, -330.0), (185, 66, 110)
    z, y, x = np.ix_(*[o + spacing * np.arange(n) for o, n in zip(origin, shape, strict=True)])
    away = np.hypot((y + 95) / 110, x / 170) * 140 + 0 * z
    labels = np.where(away < 140, names["fat"], 0).astype(np.uint8)
    labels[away < 115] = names["muscle"]
    labels[(away < 90) & (z > 840)] = names["abdominal_tissue"]
    for name, where in {
        "lung_lower_lobe_right": (z > 1240) & (z < 1460) & (x < -20),
        "lung_lower_lobe_left": (z > 1240) & (z < 1460) & (x > 20),
        "liver": (z > 1110) & (z < 1240) & (x < 40), "colon": (z > 900) & (z < 1090) & (x > 40),
        "kidney_left": (z > 1080) & (z < 1180) & (x > 50), "brain": (z > 1620) & (z < 1770),
        "vertebrae_L3": (z > 1000) & (z < 1060) & (np.abs(x) < 30) & (y > -60),
        "mandible": (z > 1540) & (z < 1570) & (np.abs(x) < 60),
    }.items():  # fmt: skip
        labels[(away < 85) & where] = names[name]
    depth = np.full(shape, 80, np.uint8)
    skin = np.clip(128 + 2 * (away - 140), 0, 255).astype(np.uint8)
    return Atlas(labels, depth, skin, np.zeros(shape, np.uint8), np.zeros(shape, bool), names, spacing, origin)


def test_a_seed_gives_the_same_scan(box_atlas: Atlas) -> None:
    one, again, other = (generate(seed, box_atlas, region="abdomen", max_voxels=200_000) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.ct, again.ct)
    np.testing.assert_array_equal(one.labels, again.labels)
    assert one.meta == again.meta
    assert one.ct.shape != other.ct.shape or (one.ct != other.ct).any()


@pytest.mark.parametrize("region", REGIONS)
def test_scans_look_like_ct(box_atlas: Atlas, region: str) -> None:
    scan = generate(1, box_atlas, region=region, coarse=False, max_voxels=200_000)
    json.dumps(scan.meta)
    assert scan.ct.dtype == np.int16
    assert scan.labels.dtype == np.uint8
    assert scan.ct.shape == scan.labels.shape
    assert all(0.5 < s < 12 for s in scan.spacing_mm)
    known = {structures.get(n).id for n in structures.names()} | {0}
    assert set(np.unique(scan.labels)) <= known
    flesh = scan.ct[np.isin(scan.labels, [box_atlas.names["muscle"], box_atlas.names["liver"]])]
    assert -20 < np.median(flesh) < 200
    assert np.median(scan.ct[scan.labels == box_atlas.names["fat"]]) < -40


def test_coarse_scans_are_air_outside_the_treated_region(box_atlas: Atlas) -> None:
    scan = generate(5, box_atlas, coarse=True)
    assert 2.5 < scan.spacing_mm[1] < 5.0
    assert (scan.ct == -1024).mean() > 0.2
    assert not scan.labels[scan.ct == -1024].any()
    assert scan.labels.any()


def test_max_voxels_is_kept(box_atlas: Atlas) -> None:
    for seed in range(2):
        scan = generate(seed, box_atlas, coarse=False, max_voxels=600_000)
        assert scan.ct.size * scan.meta["subslices"] <= 660_000  # rounding to whole slices and pixels


def test_wrong_arguments_are_named(box_atlas: Atlas) -> None:
    with pytest.raises(ParameterError, match="region"):
        generate(1, box_atlas, region="tail")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="coarse"):
        generate(1, box_atlas, region="chest", coarse=True)
    with pytest.raises(ParameterError, match="max_voxels"):
        generate(1, box_atlas, max_voxels=10)


def test_unions_name_known_structures() -> None:
    for whole, parts in UNIONS.items():
        for name in (whole, *parts):
            assert structures.get(name).name == name
    assert union_ids("lung_left", {"lung_upper_lobe_left": 121, "lung_left": 201}) == [201, 121]


@pytest.mark.data
def test_the_meshes_become_plausible_organs(data: Path) -> None:
    atlas = build_atlas(data / "anatomy", 6.0)
    millilitres = np.bincount(atlas.labels.ravel(), minlength=256) * atlas.spacing_mm**3 / 1000
    expected = {
        "liver": (1000, 2400), "brain": (1100, 2200), "lung_upper_lobe_right": (300, 1500), "kidney_left": (80, 250),
        "spinal_cord": (15, 80), "vertebrae_L3": (30, 90), "parotid_left": (8, 45),
    }  # fmt: skip
    for name, (low, high) in expected.items():
        assert low < millilitres[atlas.names[name]] < high, name
