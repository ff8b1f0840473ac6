"""Checks across structures, on a body of boxes that the table of anatomy places."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import segae
from segae import _core, anatomy, structures
from segae.anatomy import Scene, Table
from segae.label_scan import LabelScan
from segae.volume import Geometry, Volume, load

SPACING_MM = 3.0
# A voxel of the common frame, so that the body starts at 0.
ORIGIN_MM = np.array([200.0, 80.0, 130.0])
SHAPE = (220, 90, 130)


def labelled(names: list[str], *, offset: dict[str, tuple[float, float, float]] | None = None) -> Volume:
    """Boxes, each where the table has the structure's middle, as large as the table says; values from 1, as named."""
    table = anatomy.load_table()
    array = np.zeros(SHAPE, np.uint8)
    for value, name in enumerate(names, 1):
        place, size = table.places[name].mean, table.sizes[name]
        half = size.mean / 0.9 / 2
        if name.startswith("vertebrae_"):  # whole boxes would hide each other
            half = np.full(3, 0.3 * (1000 * size.value) ** (1 / 3))
        if name.startswith("rib_"):  # the back is what counts
            vertebra, level = table.levels[name]
            place, half = table.places[vertebra].mean + level.mean, np.full(3, 6.0)
        middle = (place + np.array((offset or {}).get(name, (0, 0, 0))) - ORIGIN_MM) / SPACING_MM
        half = np.maximum(half / SPACING_MM, 0.5)
        low, high = np.round(middle - half).astype(int), np.round(middle + half).astype(int)
        array[tuple(slice(max(1, a), max(b, a + 1)) for a, b in zip(low, high, strict=True))] = value
    return Volume(array, (SPACING_MM,) * 3, 1.0, 0.0, None, (0, 1, 2), (False,) * 3)


def body(names: list[str], *, offset: dict[str, tuple[float, float, float]] | None = None) -> Scene:
    """What one pass over `labelled` tells."""
    return Scene.of_labelmap(labelled(names, offset=offset), dict(enumerate(names, 1)), 1)


def exchanged(scene: Scene, a: str, b: str) -> Scene:
    parts = dict(scene.parts)
    parts[a], parts[b] = replace(scene.parts[b], name=a), replace(scene.parts[a], name=b)
    return Scene(parts)


def kinds(scene: Scene) -> list[str]:
    return [finding.kind for finding in anatomy.check(scene)]


SPINE = [f"vertebrae_{level}" for level in ("T9", "T10", "T11", "T12", "L1", "L2", "L3")]
ORGANS = ["liver", "spleen", "pancreas", "kidney_left", "kidney_right", "stomach", "gallbladder"]


def test_a_body_as_it_should_be_has_no_flags() -> None:
    assert kinds(body([*SPINE, *ORGANS])) == []


def test_two_vertebrae_exchanged_are_named_and_certain() -> None:
    (found,) = anatomy.check(exchanged(body(SPINE), "vertebrae_T11", "vertebrae_T12"))
    assert found.kind == "out_of_order"
    assert found.really == {"vertebrae_T11": "vertebrae_T12", "vertebrae_T12": "vertebrae_T11"}
    assert found.certain
    assert found.detail == "T11 and T12 are exchanged: T12 lies above T11."


def test_kidneys_exchanged() -> None:
    (found,) = anatomy.check(exchanged(body(ORGANS), "kidney_left", "kidney_right"))
    assert found.kind == "side_swapped"
    assert set(found.structures) == {"kidney_left", "kidney_right"}


def test_a_missing_vertebra_is_told_between_its_neighbours() -> None:
    (found,) = anatomy.check(body([name for name in SPINE if name != "vertebrae_T12"]))
    assert found.kind == "missing_part"
    assert "T12 has no label between T11 and L1" in found.detail


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_structures_say_nothing_of_order(count: int) -> None:
    scene = exchanged(body(SPINE[:2]), *SPINE[:2]) if count == 2 else body(SPINE[:1])
    assert kinds(scene) == []


def test_the_table_tells_where_its_facts_come_from() -> None:
    table = anatomy.load_table()
    assert isinstance(table, Table)
    assert [len(chain) for chain in table.chains] == [24, 12, 12]
    assert all(fact.n >= 1 for fact in table.places.values())


def test_a_mirrored_scan_is_told_once() -> None:
    scene = body([*SPINE, *ORGANS])
    volume = labelled([*SPINE, *ORGANS])
    mirrored = Scene.of_labelmap(replace(volume, array=volume.array[:, :, ::-1]), dict(enumerate(scene.parts, 1)), 1)
    (found,) = anatomy.check(mirrored)
    assert found.kind == "side_swapped"
    assert "mirrored from left to right" in found.detail
    assert len(found.structures) == 1
    assert not found.certain


def test_situs_inversus_is_a_variant() -> None:
    """All is mirrored, and sides are named as they are: no error, told once."""
    names = [*SPINE, *ORGANS]
    other = {"kidney_left": "kidney_right", "kidney_right": "kidney_left"}
    volume = labelled(names)
    scene = Scene.of_labelmap(
        replace(volume, array=volume.array[:, :, ::-1]),
        {i: other.get(name, name) for i, name in enumerate(names, 1)},
        1,
    )
    (found,) = anatomy.check(scene)
    assert found.kind == "situs_inversus"
    assert not found.certain


@pytest.mark.parametrize("gone", ["kidney_left", "kidney_right", "spleen", "gallbladder"])
def test_a_resected_organ_is_a_variant(gone: str) -> None:
    assert kinds(body([name for name in [*SPINE, *ORGANS] if name != gone])) == []


@pytest.mark.parametrize("side_mm", [-70.0, 70.0])
def test_a_transplanted_kidney_is_a_variant(side_mm: float) -> None:
    offset = {"kidney_left": (-190.0, -30.0, side_mm - 70.0)}
    assert kinds(body([*SPINE, *ORGANS], offset=offset)) == []


def test_a_kidney_in_the_chest_is_not() -> None:
    (found,) = anatomy.check(body([*SPINE, *ORGANS], offset={"kidney_left": (150.0, 0.0, 0.0)}))
    assert found.kind == "wrong_level"
    assert found.structures == ("kidney_left",)


def test_a_horseshoe_kidney_is_a_variant() -> None:
    offset = {"kidney_left": (-30.0, -20.0, -28.0), "kidney_right": (-30.0, -20.0, 28.0)}
    assert kinds(body([*SPINE, *ORGANS], offset=offset)) == []


@pytest.mark.parametrize(
    "levels", [("T9", "T10", "T11", "L1", "L2", "L3"), ("T10", "T11", "T12", "L1", "L2", "L3", "L4")]
)
def test_eleven_thoracic_or_four_lumbar_vertebrae_are_variants(levels: tuple[str, ...]) -> None:
    """The next vertebra follows without a gap."""
    whole = [f"vertebrae_{level}" for level in ("T9", "T10", "T11", "T12", "L1", "L2", "L3", "L4")]
    table = anatomy.load_table()
    names = [f"vertebrae_{level}" for level in levels]
    if "vertebrae_T12" in names:  # four lumbar ones: L5's place is empty, or the sacrum's
        assert kinds(body(names)) == []
        return
    # L1 lies where T12 would, and so on.
    offset = {
        name: tuple(table.places[whole[whole.index(name) - 1]].mean - table.places[name].mean)
        for name in names
        if name.startswith("vertebrae_L")
    }
    assert kinds(body(names, offset=offset)) == []


def test_six_lumbar_or_thirteen_thoracic_vertebrae_leave_a_gap_without_a_flag() -> None:
    """A vertebra without a name of its own lies between T12 and L1."""
    names = [f"vertebrae_{level}" for level in ("T9", "T10", "T11", "T12", "L1", "L2", "L3")]
    offset = {name: (-32.0, 0.0, 0.0) for name in names if name.startswith("vertebrae_L")}
    assert kinds(body(names, offset=offset)) == []


def test_ribs_of_eleven_pairs_are_a_variant() -> None:
    names = [f"rib_{side}_{i}" for side in ("left", "right") for i in range(6, 12)]
    assert kinds(body([*names, *(f"vertebrae_T{i}" for i in range(6, 12))])) == []


def test_one_label_on_both_kidneys() -> None:
    volume = labelled(ORGANS)
    left, right = ORGANS.index("kidney_left") + 1, ORGANS.index("kidney_right") + 1
    array = np.where(volume.array == right, left, volume.array).astype(np.uint8)
    (found,) = anatomy.check(Scene.of_labelmap(replace(volume, array=array), dict(enumerate(ORGANS, 1)), 1))
    assert found.kind == "merged"
    assert found.really == {"kidney_left": "kidney_right"}
    assert found.certain


def test_two_labels_on_one_kidney() -> None:
    volume = labelled(ORGANS)
    left, right = ORGANS.index("kidney_left") + 1, ORGANS.index("kidney_right") + 1
    array = volume.array.copy()
    places = np.argwhere(array == right)
    upper = places[places[:, 0] > np.quantile(places[:, 0], 0.6)]
    array[tuple(upper.T)] = left
    found = anatomy.check(Scene.of_labelmap(replace(volume, array=array), dict(enumerate(ORGANS, 1)), 1))
    assert any("two labels on one organ" in finding.detail for finding in found)
    assert {"kidney_left", "kidney_right"} <= {name for finding in found for name in finding.structures}


def test_one_label_on_two_vertebrae() -> None:
    volume = labelled(SPINE)
    array = np.where(volume.array == 4, 3, volume.array).astype(np.uint8)
    (found,) = anatomy.check(Scene.of_labelmap(replace(volume, array=array), dict(enumerate(SPINE, 1)), 1))
    assert (found.kind, found.really) == ("merged", {"vertebrae_T11": "vertebrae_T12"})


def test_liver_and_spleen_exchanged() -> None:
    (found,) = anatomy.check(exchanged(body([*SPINE, *ORGANS]), "liver", "spleen"))
    assert found.kind == "misplaced"
    assert found.really == {"liver": "spleen", "spleen": "liver"}


def test_masks_that_claim_the_same_voxels() -> None:
    volume = labelled(ORGANS)
    together = anatomy.MaskCollector()
    for value, name in enumerate(ORGANS, 1):
        array = (volume.array == value).astype(np.uint8)
        if name == "spleen":
            array |= (volume.array == ORGANS.index("stomach") + 1).astype(np.uint8)
        together.add(replace(volume, array=array), name, LabelScan.from_core(_core.scan(array, 1)["labels"][0]), 1)
    found = [finding for finding in anatomy.check(together.scene(1)) if finding.kind == "overlaps"]
    assert len(found) == 1
    assert set(found[0].structures) == {"spleen", "stomach"}


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.7, 0.9), (5.0, 0.8, 0.8), (0.5, 3.0, 1.0)], ids=str)
@pytest.mark.parametrize("turn", [1, -1])
def test_masks_one_by_one_tell_what_their_labelmap_tells(spacing_mm: Any, turn: int, rng: np.random.Generator) -> None:
    """Of masks only the box is read, on every n-th row and slice."""
    labels = np.repeat(rng.integers(0, 5, (5, 6, 7)), 4, axis=1).astype(np.uint8)[:, :, ::turn]
    labels[2, 9, 3] = 5  # a voxel of its own, which thinned rows may miss
    names = ["liver", "spleen", "stomach", "pancreas", "gallbladder"]
    volume = replace(load(labels, "labelmap", Geometry(spacing=(1, 1, 1))), spacing_mm=spacing_mm)
    whole = Scene.of_labelmap(volume, dict(enumerate(names, 1)), 1)
    together = anatomy.MaskCollector()
    for value, name in enumerate(names, 1):
        array = (labels == value).astype(np.uint8)
        together.add(replace(volume, array=array), name, LabelScan.from_core(_core.scan(array, 1)["labels"][0]), 1)
    apart = together.scene(1)
    assert apart.parts.keys() == whole.parts.keys()
    for name, part in whole.parts.items():
        for ours, theirs in zip(apart.parts[name].moments, part.moments, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert (apart.overlap_ml, apart.contact_mm2) == (whole.overlap_ml, whole.contact_mm2)


def test_a_chest_whose_ribs_are_numbered_one_too_high() -> None:
    ribs = [f"rib_{side}_{i}" for side in ("left", "right") for i in range(3, 11)]
    scene = body([*ribs, *(f"vertebrae_T{i}" for i in range(2, 13)), "liver", "spleen"])
    assert anatomy.check(scene) == []
    up = {name: f"{name.rsplit('_', 1)[0]}_{int(name.rsplit('_', 1)[1]) + 1}" for name in ribs}
    parts = {up.get(name, name): replace(part, name=up.get(name, name)) for name, part in scene.parts.items()}
    (found,) = anatomy.check(Scene(parts))
    assert found.kind == "wrong_level"
    assert found.really == {new: old for old, new in up.items()}
    assert "numbered one too high" in found.detail


@pytest.fixture(scope="module")
def judge() -> segae.Engine:
    """The model in the package, which knows all structures."""
    return segae.Engine(device="cpu")


@pytest.fixture(scope="module")
def torso() -> tuple[np.ndarray, Volume]:
    labels = labelled([*SPINE, *ORGANS])
    return np.full(labels.array.shape, 40, np.int16), labels


def test_a_certain_finding_lowers_the_dice(judge: segae.Engine, torso: tuple[np.ndarray, Volume]) -> None:
    """What the network said stays in `raw`, and in the slices."""
    image, labels = torso
    names = dict(enumerate([*SPINE, *ORGANS], 1))
    wrong = names | {3: names[4], 4: names[3]}
    right_way = judge.assess_labels(image, labels.array, names, spacing=labels.spacing_mm)
    found = judge.assess_labels(image, labels.array, wrong, spacing=labels.spacing_mm)
    for name in ("vertebrae_T11", "vertebrae_T12"):
        assert "out_of_order" in [flag.name for flag in found[name].flags]
        assert found[name].dice <= 0.05
        assert found[name].raw > 0
        assert len(found[name].slices) > 0
    assert found["liver"].dice == right_way["liver"].dice
    assert not any("out_of_order" in [flag.name for flag in entry.flags] for entry in right_way.values())


def test_masks_one_by_one_are_compared_too(judge: segae.Engine, torso: tuple[np.ndarray, Volume]) -> None:
    image, labels = torso
    names = dict(enumerate([*SPINE, *ORGANS], 1))
    wrong = names | {3: names[4], 4: names[3]}
    masks = {name: (labels.array == value).astype(np.uint8) for value, name in wrong.items()}
    together = judge.assess_labels(image, labels.array, wrong, spacing=labels.spacing_mm)
    for entry in judge.assess_masks(image, masks, spacing=labels.spacing_mm):
        assert isinstance(entry, segae.Assessment)
        assert entry.flags == together[entry.structure].flags
        assert entry.dice == pytest.approx(together[entry.structure].dice, abs=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_any_labelmap_is_told_something_or_nothing(seed: int) -> None:
    """Crumbs, single slices, any names: findings concern masks that are there."""
    rng = np.random.default_rng(seed)
    for _ in range(10):
        n = int(rng.integers(1, 40))
        names = [str(name) for name in rng.choice(structures.names(), n, replace=False)]
        array = rng.integers(0, n + 1, tuple(rng.integers(1, 9, 3))).astype(np.uint8)
        z, y, x = rng.uniform(0.5, 60, 3)
        volume = Volume(array, (z, y, x), 1.0, 0.0, None, (0, 1, 2), (False,) * 3)
        scene = Scene.of_labelmap(volume, dict(enumerate(names, 1)), 1)
        for finding in anatomy.check(scene):
            assert set(finding.structures) <= scene.parts.keys()
            assert set(finding.really) <= set(finding.structures)
            assert finding.detail.endswith(".")
