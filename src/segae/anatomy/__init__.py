"""Checks across the structures of one scan: what no single mask shows.

`check` looks at a `Scene`; `segae.Engine.assess_labels` and `assess_masks` do so by themselves. What is known of
anatomy lies in ``anatomy.csv`` (`segae.anatomy.table`); here is only how it is compared with a scan.
"""

from __future__ import annotations

from segae.anatomy.chains import check_chain, read_chain
from segae.anatomy.claims import check_claims
from segae.anatomy.findings import Finding
from segae.anatomy.levels import check_levels
from segae.anatomy.misfits import check_places
from segae.anatomy.parts import MaskCollector, Part, Scene
from segae.anatomy.places import Consensus, Float64, size_of
from segae.anatomy.sides import check_halves, check_sides
from segae.anatomy.table import Table, load_table
from segae.anatomy.verdicts import add_findings

__all__ = ["Finding", "MaskCollector", "Part", "Scene", "Table", "add_findings", "check", "load_table"]

# A mask alone says nothing of others; with fewer than three, nothing tells which of them is wrong.
_LEAST_FOR_ANY, _LEAST = 2, 3


def check(scene: Scene, table: Table | None = None) -> list[Finding]:
    """Compare the structures of a scan with each other.

    Parameters
    ----------
    scene : Scene
    table : Table, optional
        Default: the one in the package.

    Returns
    -------
    list of Finding
        None with a single structure; only what needs no third with two.
    """
    table = table or load_table()
    parts = scene.parts
    if len(parts) < _LEAST_FOR_ANY:
        return []
    found = [*check_claims(scene, table), *check_halves(scene, table)]
    if len(parts) < _LEAST:
        return found
    # What has a rank lies in a chain of its own; it tells places of organs too, if its numbers hold.
    chains = [read_chain(names, parts, table) for names in table.chains]
    for chain in chains:
        found += check_chain(chain, parts)
    in_chains = {name for names in table.chains for name in names}
    points = {name: part.middle for name, part in parts.items() if not part.cut[:, 0].any()}
    size = size_of(points, table.places)
    organs = _consensus(points, table, in_chains, size)
    spine, sides = chains[0], chains[1:]
    levels = check_levels(spine, sides, parts, organs, table)
    found += levels
    explained = {name for finding in found for name in finding.structures}
    everything = _consensus(points, table, in_chains & explained, size)
    lateral = check_sides(scene, everything, table)
    found += lateral
    explained |= {name for finding in lateral for name in finding.structures} | in_chains
    mirrored = any(finding.kind == "situs_inversus" or "mirrored" in finding.detail for finding in lateral)
    found += check_places(parts, everything, table, explained, sides_known=not mirrored)
    return found


def _consensus(points: dict[str, Float64], table: Table, without: set[str], size: float) -> Consensus:
    return Consensus({name: place for name, place in points.items() if name not in without}, table, size)
