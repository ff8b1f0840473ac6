"""Anatomy across structures: false alarms and planted mix-ups, on label maps that the table was not made from; cost.

python benchmarks/bench_anatomy.py DATA [-o FILE] [--cache ATLAS.npz]

Every label map of ``DATA/labelmaps`` and every training case is checked with a table made without it; dev cases with
the table of all others. Mix-ups are planted into what the pass over a label map yields (names are permuted, parts are
put together or dropped), so that one pass serves thousands of them. Run with ``PYTHONPATH=.:lab`` from the repository.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import platform
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from scripts.make_anatomy import Body, make_rows, read_atlas, read_bodies

from segae import Engine, structures
from segae.anatomy import Finding, Part, Scene, Table, check, load_table
from segae.anatomy.findings import spoken
from segae.anatomy.parts import measure_parts
from segae.threads import available_threads
from segae.volume import load

#: Sources whose vertebrae are a network's and known to hold mistakes: counted apart.
KNOWN_MISTAKES = ("bdmap",)
SMALL = (3, 9)


@dataclass(frozen=True)
class Planted:
    """A scene with a known mistake: `really` is name -> what that mask shows; `missing` what lost its label."""

    kind: str
    scene: Scene
    really: dict[str, str]
    missing: str = ""


def renamed(scene: Scene, names: dict[str, str], drop: tuple[str, ...] = ()) -> Scene:
    """The scene with other names; names that nobody has any more are gone."""
    parts = {}
    for name, part in scene.parts.items():
        if name not in drop:
            new = names.get(name, name)
            parts[new] = replace(part, name=new)
    return Scene(parts)


def exchanged(scene: Scene, pairs: list[tuple[str, str]]) -> Scene:
    """The scene with names of pairs exchanged."""
    return renamed(scene, {**dict(pairs), **{b: a for a, b in pairs}})


def put_together(scene: Scene, name: str, other: str) -> Scene:
    """The scene with both under one name."""
    a, b = scene.parts[name], scene.parts[other]
    z, y, x = ((mine + its)[None] for mine, its in zip(a.moments, b.moments, strict=True))
    parts = {n: p for n, p in scene.parts.items() if n != other}
    return Scene(parts | measure_parts([name], a.grid, (z, y, x)))


def subset(scene: Scene, keep: set[str], size: int, rng: np.random.Generator) -> Scene:
    """`size` structures: those to keep, and others of which the nearest are the likeliest."""
    centre = np.mean([scene.parts[name].middle for name in keep], axis=0)
    rest = [name for name in scene.parts if name not in keep]
    away = np.array([np.linalg.norm(scene.parts[name].middle - centre) for name in rest])
    order = np.argsort(away * rng.uniform(0.5, 1.5, len(rest)))
    chosen = keep | {rest[i] for i in order[: max(0, size - len(keep))]}
    return Scene({name: part for name, part in scene.parts.items() if name in chosen})


def whole(part: Part) -> bool:
    """Whether the scan's upper and lower border leave it alone."""
    return not part.cut[:, 0].any()


def plant(scene: Scene, table: Table, rng: np.random.Generator, most: int) -> Iterator[tuple[set[str], Planted]]:
    """Mix-ups, each with the structures that take part; at most so many of a kind."""
    parts = scene.parts
    in_chains = {name for chain in table.chains for name in chain}
    for what, chains in (("vertebrae", table.chains[:1]), ("ribs", table.chains[1:])):
        neighbours = [
            (a, b) for chain in chains for a, b in itertools.pairwise(chain)
            if a in parts and b in parts and whole(parts[a]) and whole(parts[b])
        ]  # fmt: skip
        for a, b in some(neighbours, rng, most):
            yield {a, b}, Planted(f"two {what} exchanged", exchanged(scene, [(a, b)]), {a: b, b: a})
            yield {a, b}, Planted(f"two {what} merged", put_together(scene, a, b), {a: b})
        for chain in chains:
            here = [name for name in chain if name in parts and whole(parts[name])]
            inner = [b for a, b, c in zip(here, here[1:], here[2:], strict=False)]
            for name in some(inner, rng, most):
                around = {chain[chain.index(name) + i] for i in (-1, 1)} & parts.keys()
                yield around | {name}, Planted(f"one of {what} missing", renamed(scene, {}, (name,)), {}, name)
            for by in (1, -1):
                for length in (3, 4, 5):
                    # As many must be right: else nothing tells which of them are shifted.
                    runs = [
                        here[i : i + length] for i in range(1, len(here) - length - 1) if len(here) > 2 * length + 1
                    ]
                    for run in some(runs, rng, 1):
                        to = {
                            name: chain[chain.index(name) + by]
                            for name in run
                            if 0 <= chain.index(name) + by < len(chain)
                        }
                        if len(to) == len(run):
                            lost = tuple(set(to.values()) - set(run))
                            really = {new: old for old, new in to.items()}
                            yield set(here), Planted(f"run of {what} shifted", renamed(scene, to, lost), really)
    chest = [name for chain in table.chains[1:] for name in chain if name in parts]
    spine = [name for name in table.chains[0] if name in parts]
    if len(chest) >= 6 and len(spine) >= 4:
        to = {name: up(name) for name in chest if up(name)}
        lost = tuple(name for name in chest if not up(name))
        yield (
            set(chest) | set(spine),
            Planted("all ribs numbered one too high", renamed(scene, to, lost), {new: old for old, new in to.items()}),
        )
    pairs = [pair for pair, fact in table.pairs.items() if pair[0] in parts and pair[1] in parts and fact.tells_sides]
    for pair in some(pairs, rng, most):
        left, right = pair
        yield {left, right}, Planted("left and right of one pair", exchanged(scene, [pair]), {left: right, right: left})
        organ = structures.get(left).group == "organ" and table.pairs[pair].mean[2] > 60
        if organ:
            yield {left, right}, Planted("both of a pair in one label", put_together(scene, left, right), {left: right})
    if pairs:
        names = dict(pairs) | {b: a for a, b in pairs}
        yield set(names), Planted("left and right of all pairs", exchanged(scene, pairs), names)
    organs = [name for name in parts if name in table.places and name not in in_chains and whole(parts[name])]
    near = [
        (a, b) for a, b in itertools.permutations(organs, 2)
        if structures.get(a).group == structures.get(b).group and not table.may_overlap(a, b)
        and structures.get(a).partner != b and np.linalg.norm(parts[a].middle - parts[b].middle) < 120
    ]  # fmt: skip
    for a, b in some(near, rng, most):
        yield {a, b}, Planted("organ under a neighbour's name", renamed(scene, {a: b}, (b,)), {b: a})
        yield {a, b}, Planted("two organs exchanged", exchanged(scene, [(a, b)]), {a: b, b: a})


def up(rib: str) -> str:
    """The next rib's name, "" behind the last."""
    stem, number = rib.rsplit("_", 1)
    return f"{stem}_{int(number) + 1}" if int(number) < 12 else ""


def some(items: list, rng: np.random.Generator, most: int) -> list:  # type: ignore[type-arg]
    """Draw at most so many of them."""
    return [items[i] for i in rng.permutation(len(items))[:most]]


def found_and_named(planted: Planted, findings: list[Finding]) -> tuple[bool, bool]:
    """Whether a flag was raised on a mask concerned, and whether it says what the mask shows."""
    concerned = set(planted.really)
    if planted.missing:
        named = any(
            spoken(planted.missing) in finding.detail
            for finding in findings
            if finding.kind in ("missing_part", "merged")
        )
        return named, named
    hits = [finding for finding in findings if concerned & set(finding.structures)]
    told: dict[str, str] = {}
    for finding in hits:
        told |= finding.really
    mirrored = any("mirrored" in finding.detail for finding in findings)
    if mirrored and planted.kind == "left and right of all pairs":
        return True, True
    return bool(hits), all(told.get(name) == other for name, other in planted.really.items())


def run(data: Path, cache: Path, *, most: int, seed: int) -> str:
    """All of it, as Markdown."""
    people = read_bodies(data)
    atlas = read_atlas(data, cache)
    dev = read_bodies(data, use=("dev",), cases=True)
    names = {body.name for body in people}
    dev = [body for body in dev if body.name not in names]
    everyone = [*people, atlas]
    full = Table.of(make_rows(everyone))
    rng = np.random.default_rng(seed)
    alarms: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    seen: dict[tuple[str, bool], list[int]] = defaultdict(lambda: [0, 0, 0])
    told = []
    for body in [*people, *dev]:
        left_out = body.name in names
        table = Table.of(make_rows([b for b in everyone if b is not body])) if left_out else full
        own_file = any((data / "labelmaps").glob(f"{body.name}*.nii.gz"))
        group = "dev cases" if not left_out else "label maps" if own_file else "training cases"
        if body.source in KNOWN_MISTAKES:
            group = "label maps whose vertebrae hold known mistakes"
        findings = check(body.scene, table)
        flagged = {name for finding in findings for name in finding.structures}
        alarms[group][0] += 1
        alarms[group][1] += len(body.scene.parts)
        alarms[group][2] += len(flagged)
        alarms[group][3] += len({name for finding in findings if finding.certain for name in finding.structures})
        told += [f"- {body.name}: {finding.kind}, {'certain' if finding.certain else 'not certain'}: {finding.detail}"
                 for finding in findings]  # fmt: skip
        for concerned, planted in plant(body.scene, table, rng, most):
            if body.source in KNOWN_MISTAKES and "vertebrae" in planted.kind:
                continue
            if len(body.scene.parts) >= 10:
                score(seen[planted.kind, True], planted, table)
            size = int(rng.integers(SMALL[0], SMALL[1] + 1))
            if len(concerned) <= size and len(body.scene.parts) >= 3:
                score(seen[planted.kind, False], small(body, concerned, planted, size, rng), table)
    return report(data, alarms, seen, told, full, everyone)


def small(body: Body, concerned: set[str], planted: Planted, size: int, rng: np.random.Generator) -> Planted:
    """The same mistake among three to nine structures."""
    kept = subset(body.scene, concerned, size, rng).parts.keys()
    # Names in the planted scene stand for others' masks: keep those whose voxels are of the structures that stay.
    really = planted.really
    keep = {name for name in planted.scene.parts if really.get(name, name) in kept}
    return replace(planted, scene=Scene({name: part for name, part in planted.scene.parts.items() if name in keep}))


def score(counts: list[int], planted: Planted, table: Table) -> None:
    """Add one to tried, found, named."""
    found, named = found_and_named(planted, check(planted.scene, table))
    for i, yes in enumerate((True, found, found and named)):
        counts[i] += yes


def judge(data: Path, most: int, seed: int) -> str:
    """AUROC of the predicted Dice for telling masks under exchanged names from untouched ones.

    Per scan: the untouched label map, and up to `most` label maps in which two structures have exchanged names. On dev
    scans any two; neighbours of a chain on the training scans that have vertebrae and ribs, which no dev scan has.
    """
    engine = Engine(device="cpu")
    ids = {structures.get(name).id: name for name in structures.names()}
    rng = np.random.default_rng(seed)
    table = load_table()
    seen: dict[str, list[tuple[bool, float, float]]] = defaultdict(list)
    with (data / "data" / "cases.csv").open(encoding="utf-8") as file:
        cases = [row for row in csv.DictReader(file) if row["use"] in ("dev", "train")]
    for row in cases:
        path = f"{data / 'data' / row['case']}_seg.nii.gz"
        here = list(Scene.of_labelmap(load(path, "labelmap"), ids, 2).parts)
        neighbours = [pair for chain in table.chains for pair in itertools.pairwise(chain) if set(pair) <= set(here)]
        if row["use"] == "train" and len(neighbours) < 10:
            continue
        if row["use"] == "train":
            here = sorted({name for pair in neighbours for name in pair})
            pairs = neighbours
        else:
            pairs = [pair for pair in itertools.combinations(here, 2) if not table.may_overlap(*pair)]
        if len(here) < 3:
            continue
        ct = load(f"{data / 'data' / row['case']}_ct.nii.gz", "image")
        known = {value: name for value, name in ids.items() if name in here}
        untouched = [(False, e.judge_dice, e.dice) for e in engine.assess_labels(ct, path, known).values()]
        for a, b in some(pairs, rng, most):
            names = {value: {a: b, b: a}.get(name, name) for value, name in known.items()}
            wrong = engine.assess_labels(ct, path, names)
            kind = "dev scans: left for right" if structures.get(a).partner == b else "dev scans: any other two"
            if row["use"] == "train":
                kind = "training scans: neighbouring vertebrae or ribs"
            seen[kind] += [*untouched, *((True, wrong[name].judge_dice, wrong[name].dice) for name in (a, b))]
    lines = ["", "## Names exchanged: AUROC of the predicted Dice", ""]
    lines += ["| exchanged | wrong masks | the judge alone | with the checks |", "| --- | --- | --- | --- |"]
    for kind, rows in sorted(seen.items()):
        wrong_ones = sum(bad for bad, _, _ in rows)
        alone, checked = (auroc([(entry[0], entry[i]) for entry in rows]) for i in (1, 2))
        lines.append(f"| {kind} | {wrong_ones} | {alone:.3f} | {checked:.3f} |")
    return "\n".join(lines) + "\n"


def auroc(rows: list[tuple[bool, float]]) -> float:
    """Share of (wrong, right) pairs of which the wrong one has the lower Dice; ties count half."""
    bad, good = (np.array([dice for wrong, dice in rows if wrong is which]) for which in (True, False))
    low, equal = (bad[:, None] < good[None]).mean(), (bad[:, None] == good[None]).mean()
    return float(low + equal / 2)


def report(
    data: Path,
    alarms: dict[str, list[int]],
    seen: dict[tuple[str, bool], list[int]],
    told: list[str],
    table: Table,
    bodies: list[Body],
) -> str:
    """Tables."""
    lines = [f"Measured {date.today().isoformat()} on {machine()}.", "", "## Untouched label maps", ""]
    lines += ["| | scans | masks | flagged | share | of them certain |", "| --- | --- | --- | --- | --- | --- |"]
    for group, (scans, masks, flagged, sure) in alarms.items():
        lines.append(f"| {group} | {scans} | {masks} | {flagged} | {100 * flagged / max(masks, 1):.2f} % | {sure} |")
    lines += ["", *told]
    for large in (True, False):
        title = "ten structures or more" if large else "three to nine structures"
        lines += ["", f"## Planted mix-ups, {title}", "", "| kind | planted | found | rightly named, of the found |",
                  "| --- | --- | --- | --- |"]  # fmt: skip
        total = [0, 0, 0]
        for (kind, size), (tried, found, named) in sorted(seen.items()):
            if size == large and tried:
                lines.append(
                    f"| {kind} | {tried} | {100 * found / tried:.1f} % | {100 * named / max(found, 1):.1f} % |"
                )
                total = [a + b for a, b in zip(total, (tried, found, named), strict=True)]
        tried, found, named = total
        lines.append(f"| all | {tried} | {100 * found / max(tried, 1):.1f} % | {100 * named / max(found, 1):.1f} % |")
    lines += ["", "## Cost", "", *cost(data, table, bodies)]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What it ran on."""
    return f"{platform.machine()}, {available_threads()} CPUs, Python {platform.python_version()}"


def cost(data: Path, table: Table, bodies: list[Body]) -> list[str]:
    """CPU time of the checks on the fullest scan, and of the pass over it at the size of a clinical scan."""
    fullest = max(bodies, key=lambda body: len(body.scene.parts) if body.source != "atlas" else 0)
    volume = load(str(data / "labelmaps" / f"{fullest.name}_seg.nii.gz"), "labelmap")
    fine = volume.array.repeat(2, 0).repeat(3, 1).repeat(2, 2)
    large = replace(volume, array=np.ascontiguousarray(fine), spacing_mm=(0.75, 0.5, 0.75))
    names = {structures.get(name).id: name for name in fullest.scene.parts}
    checks, passes = [], []
    for _ in range(21):
        fresh = Scene({name: replace(part) for name, part in fullest.scene.parts.items()})  # nothing is remembered
        begin = time.thread_time()
        check(fresh, table)
        middle = time.thread_time()
        Scene.of_labelmap(large, names, 1)
        checks.append(middle - begin)
        passes.append(time.thread_time() - middle)
    count, shape = len(fullest.scene.parts), " x ".join(map(str, fine.shape))
    return [
        f"CPU time of one thread on {fullest.name} ({count} structures), median of 21, since the machine was shared: "
        f"checks {1e3 * np.median(checks):.1f} ms; pass over its label map, magnified to {shape} voxels, "
        f"{1e3 * np.median(passes):.1f} ms."
    ]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("atlas_3mm.npz"))
    parser.add_argument("--most", type=int, default=8, help="mix-ups of a kind and scan")
    parser.add_argument("--judge", type=int, default=0, metavar="N", help="and N exchanges a dev scan for the judge")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    text = run(args.data, args.cache, most=args.most, seed=args.seed)
    if args.judge:
        text += judge(args.data, args.judge, args.seed)
    print(text)
    if args.out:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
