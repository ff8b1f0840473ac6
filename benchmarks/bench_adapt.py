"""A data set with wrong labels in it: what adaptation finds, beside the model as it is, outliers and a public network.

    python benchmarks/bench_adapt.py DATA WORK --model MODEL --source BTCV --spoiled 0.3 --minutes 15

takes all scans of a source in ``DATA/data/cases.csv`` for a user's data set, spoils a share of the masks (errors of
`segae.perturb`, another structure's mask, and what real networks drew, where ``DATA`` has it), adapts MODEL to them,
and adds the figures to ``WORK/figures.csv``. MODEL should never have seen the source. ``--report`` writes
``benchmarks/results/adapt.md`` from it. Killed, the same command goes on.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

import segae
from segae import Engine, structures
from segae.audit.review.outliers import robust_scale
from segae.train import adapt, data
from segae.train.adapting import ROUNDS
from segae.train.decisions import work_saved

BAD = 0.8
KINDS = ("erode", "dilate", "jitter", "shift", "elastic", "truncate", "islands", "holes")
FIGURES = ("average precision", "precision of the first k", "WSS@95", "LCC", "MAE")
OUT = Path(__file__).parent / "results" / "adapt.md"
ROWS = {
    "outliers": "outliers of the cohort's volumes",
    "default": "the model as it is",
    "round 1": "adapted, one round",
    "round 2": "adapted, two rounds",
    "ceiling": "adapted on the right labels",
    "public": "Dice with a public network's labels",
}

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Key = tuple[str, str]


@dataclass(frozen=True)
class Files:
    """A scan of the source, in the order of the axes in its file."""

    case: data.Case
    affine: Float64
    labels: npt.NDArray[np.int64]
    drawn: tuple[npt.NDArray[np.int64], ...]
    public: npt.NDArray[np.int64] | None

    @classmethod
    def read(cls, case: data.Case) -> Files:
        assert case.labelmap is not None
        folder, seg = case.image.parent, nib.load(case.labelmap)
        others = sorted(folder.glob(f"{case.name}_pred_*.nii.gz"))
        public = folder / f"{case.name}_pseudo.nii.gz"
        return cls(
            case, seg.affine, _labels(case.labelmap), tuple(map(_labels, others)),
            _labels(public) if public.exists() else None,
        )  # fmt: skip

    def truths(self) -> Iterator[tuple[str, Bool]]:
        """Structure and mask, of those with 200 voxels or more."""
        for name in structures.names():
            mask = self.labels == structures.get(name).id
            if mask.sum() >= 200:
                yield name, mask


def _labels(file: Path) -> npt.NDArray[np.int64]:
    return np.asarray(nib.load(file).dataobj).astype(np.int64)


def dice(one: Bool, other: Bool) -> float:
    return float(2 * (one & other).sum() / max(one.sum() + other.sum(), 1))


def spoil(scan: Files, name: str, truth: Bool, rng: np.random.Generator) -> Bool:
    """A mask with a true Dice below `BAD`: a fifth is another structure's, a fifth (where there is one) a network's."""
    drawn = [labels == structures.get(name).id for labels in scan.drawn]
    drawn = [mask for mask in drawn if mask.any() and dice(mask, truth) < BAD]
    others = [mask for other, mask in scan.truths() if other != name and dice(mask, truth) < BAD]
    choice = rng.random()
    if choice < 0.2 and others:
        return others[rng.integers(len(others))]
    if choice < 0.4 and drawn:
        return drawn[rng.integers(len(drawn))]
    while True:
        kind = KINDS[rng.integers(len(KINDS))]
        try:
            made = segae.perturb(
                truth.view(np.uint8), kind, target_dice=rng.uniform(0.1, 0.75), seed=rng, affine=scan.affine, axes="xyz"
            )
        except segae.SegaeError:  # a mask that cannot have this error
            continue
        if made.any() and dice(made > 0, truth) < BAD:
            return made > 0


def write_dataset(cases: Sequence[data.Case], folder: Path, share: float, seed: int) -> dict[Key, tuple[float, float]]:
    """Write masks in the layout of TotalSegmentator; returns (case, structure) -> true Dice, and the public network's.

    The very same masks are spoiled for a seed and a share, whatever else is run.
    """
    table = folder / "truth.csv"
    if not table.exists():
        rng = np.random.default_rng([seed, round(1000 * share)])
        found = []
        for case in cases:
            scan, place = Files.read(case), folder / case.name / "segmentations"
            place.mkdir(parents=True, exist_ok=True)
            image = place.parent / "ct.nii.gz"
            image.unlink(missing_ok=True)
            image.symlink_to(case.image.resolve())
            for name, truth in scan.truths():
                given = spoil(scan, name, truth, rng) if rng.random() < share else truth
                nib.save(nib.Nifti1Image(given.astype(np.uint8), scan.affine), place / f"{name}.nii.gz")
                shown = None if scan.public is None else scan.public == structures.get(name).id
                public = dice(given, shown) if shown is not None and shown.any() else float("nan")
                found.append((case.name, name, dice(given, truth), public))
        with table.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("case", "structure", "dice", "public"), *found])
    with table.open(newline="", encoding="utf-8") as stream:
        return {
            (row["case"], row["structure"]): (float(row["dice"]), float(row["public"]))
            for row in csv.DictReader(stream)
        }


def words(file: Path) -> dict[Key, float]:
    """What a model said, as `adapt` keeps it."""
    with file.open(newline="", encoding="utf-8") as stream:
        return {(row["case"], row["structure"]): float(row["dice"]) for row in csv.DictReader(stream)}


def words_of_ceiling(models: Path, folder: Path, fold_of: dict[str, int]) -> dict[Key, float]:
    """What models that learned from the right labels of the other folds say of the given masks."""
    kept = models / f"words_{folder.name}.csv"
    if not kept.exists():
        engines = {fold: Engine(models / f"fold{fold}.onnx", "cpu") for fold in set(fold_of.values())}
        rows: list[tuple[object, ...]] = [("case", "structure", "dice")]
        for case, fold in fold_of.items():
            for mask in sorted((folder / case / "segmentations").glob("*.nii.gz")):
                name = mask.name.removesuffix(".nii.gz")
                said = engines[fold].assess(folder / case / "ct.nii.gz", mask, name, reference=None).dice
                rows.append((case, name, said))
        with kept.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)
    return words(kept)


def volume_outliers(folder: Path, keys: Sequence[Key]) -> Float64:
    """Minus the robust z-score of the logarithm of the volume among the masks of the structure."""
    volume = {}
    for case, name in keys:
        image = nib.load(folder / case / "segmentations" / f"{name}.nii.gz")
        size = np.asarray(image.dataobj).sum() * abs(np.linalg.det(image.affine[:3, :3]))
        volume[case, name] = np.log(max(float(size), 1.0))
    cohort = defaultdict(list)
    for (_, name), value in volume.items():
        cohort[name].append(value)
    middle = {name: np.median(values) for name, values in cohort.items()}
    scale = {name: robust_scale(np.array(values)) for name, values in cohort.items()}
    return np.array([-abs(volume[key] - middle[key[1]]) / max(scale[key[1]], 0.1) for key in keys])


def figures(true: Float64, said: Float64) -> dict[str, float]:
    """How well the bad masks are found from the lowest prediction up; the predictions' errors where they are Dice."""
    bad = true < BAD
    order = np.argsort(said, kind="stable")
    hits = np.cumsum(bad[order])
    precision = hits / np.arange(1, len(bad) + 1)
    found = {
        "average precision": float(precision[bad[order]].mean()),
        "precision of the first k": float(precision[bad.sum() - 1]),
        "WSS@95": work_saved(bad, said, float(bad.mean())),
        "LCC": float(np.corrcoef(true, said)[0, 1]),
        "MAE": float(np.abs(true - said).mean()),
    }
    if said.min() < 0:  # no Dice
        found["LCC"] = found["MAE"] = float("nan")
    return found


def run(options: argparse.Namespace, share: float, seed: int) -> None:
    """One data set: write it, adapt to it and to its right labels, and add the figures."""
    cases = [case for case in data.cases(options.data, "train", "dev") if case.source == options.source]
    name = f"{options.source}_{round(100 * share)}_{seed}"
    folder, clean = options.work / name, options.work / f"{options.source}_0_0"
    truth = write_dataset(cases, folder, share, seed)
    write_dataset(cases, clean, 0.0, 0)
    means = {"folds": options.folds, "minutes": options.minutes, "device": options.device}
    spoiled = adapt(folder, options.work / f"{name}_out", options.model, **means)
    adapt(clean, options.work / f"{clean.name}_out", options.model, **means)

    fold_of = {mask.case: mask.fold for mask in spoiled.masks}
    out = options.work / f"{name}_out" / "adapt"
    said = {"default": words(out / "default.csv")}
    for number in range(1, ROUNDS + 1):
        files = [out / f"round{number}" / f"fold{fold}" / "words.csv" for fold in range(1, options.folds + 1)]
        said[f"round {number}"] = {key: value for file in files for key, value in words(file).items()}
    said["ceiling"] = words_of_ceiling(options.work / f"{clean.name}_out" / "models", folder, fold_of)

    keys = [key for key in truth if all(np.isfinite(found.get(key, np.nan)) for found in said.values())]
    true = np.array([truth[key][0] for key in keys])
    rows = {row: figures(true, np.array([found[key] for key in keys])) for row, found in said.items()}
    rows["outliers"] = figures(true, volume_outliers(folder, keys))
    public = np.array([truth[key][1] for key in keys])
    if np.isfinite(public).mean() > 0.9:
        known = np.isfinite(public)
        rows["public"] = figures(true[known], public[known])
    about = (options.source, share, seed, len(cases), len(keys), int((true < BAD).sum()), options.minutes)
    _keep(options.work / "figures.csv", about, rows)


ABOUT = ("source", "spoiled", "seed", "cases", "masks", "bad", "minutes")


def _keep(file: Path, about: tuple[object, ...], rows: dict[str, dict[str, float]]) -> None:
    new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        if new:
            table.writerow([*ABOUT, "row", *FIGURES])
        for row, found in rows.items():
            table.writerow([*about, row, *(f"{found[figure]:.4f}" for figure in FIGURES)])


def report(file: Path, model: str) -> None:
    """Write the tables, means over the seeds with their least and greatest."""
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    runs = sorted({tuple(row[name] for name in ("source", "spoiled", "minutes")) for row in rows})
    lines = [
        "# Adaptation to a data set with wrong labels in it", "",
        f"{date.today()}, {os.cpu_count()} CPU cores, no GPU, model {model}. "
        "`benchmarks/bench_adapt.py` says how the data sets are made.", "The model learned from neither source.", "",
    ]  # fmt: skip
    for source, spoiled, minutes in runs:
        mine = [r for r in rows if (r["source"], r["spoiled"], r["minutes"]) == (source, spoiled, minutes)]
        seeds = sorted({row["seed"] for row in mine})
        lines += [
            f"## {source}, {float(spoiled):.0%} of the masks spoiled".replace("%", " %"), "",
            f"{mine[0]['cases']} cases, {mine[0]['masks']} masks, {mine[0]['bad']} with a true Dice below {BAD}; "
            f"{minutes} minutes of learning; seeds {', '.join(seeds)}.", "",
            f"| | {' | '.join(FIGURES)} |", "|---" * (1 + len(FIGURES)) + "|",
        ]  # fmt: skip
        for row, title in ROWS.items():
            some = [r for r in mine if r["row"] == row]
            if some:
                lines.append(f"| {title} | {' | '.join(_cell([float(r[f]) for r in some]) for f in FIGURES)} |")
        lines.append("")
    OUT.write_text("\n".join(lines), encoding="utf-8")


def _cell(values: Sequence[float]) -> str:
    if np.isnan(values).all():
        return "-"
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--source", default="BTCV")
    parser.add_argument("--spoiled", type=float, nargs="+", default=[0.3])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--report", action="store_true", help="write the tables only")
    options = parser.parse_args()
    if not options.report:
        options.work.mkdir(parents=True, exist_ok=True)
        for seed in options.seeds:
            for share in options.spoiled:
                run(options, share, seed)
    report(options.work / "figures.csv", Path(options.model).name)


if __name__ == "__main__":  # the process that cuts samples imports this file
    main()
