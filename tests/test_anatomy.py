"""Checks across structures, on a body of boxes that the table of anatomy places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segae import anatomy
from segae.anatomy import Scene, Table
from segae.volume import Volume

SPACING_MM = 3.0
# A voxel of the common frame, so that the body starts at 0.
ORIGIN_MM = np.array([300.0, 80.0, 150.0])
SHAPE = (190, 90, 120)


def body(names: list[str], *, offset: dict[str, tuple[float, float, float]] | None = None) -> Scene:
    """A scene of boxes, each where the table has the structure's middle, as large as the table says."""
    table = anatomy.load_table()
    labels = np.zeros(SHAPE, np.uint8)
    named = dict(enumerate(names, 1))
    for value, name in named.items():
        fact = table.places[name]
        middle = (fact.mean + np.array((offset or {}).get(name, (0, 0, 0))) - ORIGIN_MM) / SPACING_MM
        half = max(1.0, (1000 * fact.value) ** (1 / 3) / SPACING_MM / 2)
        low, high = np.round(middle - half).astype(int), np.round(middle + half).astype(int)
        labels[tuple(slice(max(1, a), max(b, a + 1)) for a, b in zip(low, high, strict=True))] = value
    volume = Volume(labels, (SPACING_MM,) * 3, 1.0, 0.0, None, (0, 1, 2), (False,) * 3)
    return Scene.of_labelmap(volume, named, 1)


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
