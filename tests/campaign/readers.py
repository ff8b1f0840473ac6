"""Files with flipped bits, cut and spliced, given to everything that reads: only errors of segae's own may come out.

    python tests/campaign/readers.py --files 20000 [--seed 0]

Each file is one that segae wrote or takes (NIfTI plain and gzip, NRRD, MetaImage, DICOM where `segae[io]` is there,
names, tables, decisions, results), changed at random. No read may last longer than 5 s, or take more than 1 GB beyond
what the process had. Prints a table, and keeps what broke in the folder of ``--keep``.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import json
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

import segae
from segae import audit
from segae.audit.review import decisions
from segae.datasets import find_cases

HANG_S = 5.0
MEMORY = 1 << 30


class Seeds:
    """Folder with one good file of each kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        image = rng.integers(-200, 300, (24, 20, 12)).astype(np.int16)
        mask = np.zeros(image.shape, np.uint8)
        mask[6:18, 5:15, 3:9] = 5
        affine = np.diag([-2.0, -2.0, 3.0, 1.0])
        self.image = folder / "ct.nii"
        nib.save(nib.Nifti1Image(image, affine), self.image)
        nib.save(nib.Nifti1Image(image, affine), folder / "ct.nii.gz")
        nib.save(nib.Nifti2Image(mask, affine), folder / "labels.nii")
        nib.save(nib.Nifti1Image(mask, affine), folder / "labels.nii.gz")
        nib.save(nib.Nifti1Image((mask > 0).astype(np.float32), affine), folder / "mask.nii.gz")
        (folder / "names.json").write_text(json.dumps({"5": "liver", "6": "spleen", "labels": {"liver": [1, 5]}}))
        (folder / "table.csv").write_text("case,image,mask,structure\na,ct.nii.gz,mask.nii.gz,liver\n")
        case = folder / "set" / "s1"
        (case / "segmentations").mkdir(parents=True)
        shutil.copy(folder / "ct.nii.gz", case)
        shutil.copy(folder / "mask.nii.gz", case / "segmentations" / "liver.nii.gz")
        self.out = folder / "out"
        audit.run(folder / "set", self.out, workers=1, progress=False, reference=None)
        (folder / "decisions.csv").write_text(
            "case,structure,source,decision\ns1,liver,s1/segmentations/liver.nii.gz,reject\n"
        )
        if find_spec("SimpleITK"):
            import SimpleITK

            for suffix in ("nrrd", "mha"):
                SimpleITK.WriteImage(SimpleITK.ReadImage(str(folder / "ct.nii.gz")), str(folder / f"ct.{suffix}"))


def targets(seeds: Seeds) -> dict[str, Callable[[Path], Any]]:
    """File name of `seeds` -> what is done with a changed copy of it."""

    def results(path: Path) -> None:
        audit.load(path.parent)

    def labels(path: Path) -> None:
        segae.assess_labels(seeds.image, path, {5: "liver"}, reference=None)

    found: dict[str, Callable[[Path], Any]] = {
        "ct.nii": lambda path: segae.score(path, seeds.folder / "mask.nii.gz", "liver"),
        "ct.nii.gz": lambda path: segae.score(path, seeds.folder / "mask.nii.gz", "liver"),
        "mask.nii.gz": lambda path: segae.score(seeds.image, path, "liver"),
        "labels.nii": labels,
        "labels.nii.gz": labels,
        "names.json": lambda path: find_cases(seeds.folder / "set", path),
        "table.csv": find_cases,
        "decisions.csv": lambda path: decisions.merge(seeds.out, path),
        "out/results.sqlite": results,
    }  # fmt: skip
    for suffix in ("nrrd", "mha"):
        if (seeds.folder / f"ct.{suffix}").exists():
            found[f"ct.{suffix}"] = lambda path: segae.score(path, seeds.folder / "mask.nii.gz", "liver")
    return found


def changed(data: bytes, name: str, rng: np.random.Generator) -> bytes:
    """Flipped bits, odd numbers, cut, spliced or swollen; of gzip, at times what is inside."""
    if name.endswith(".gz") and rng.random() < 0.6:
        return gzip.compress(changed(gzip.decompress(data), "", rng), 1)
    made = bytearray(data)
    head = min(len(made), 600) if rng.random() < 0.7 else len(made)
    way = rng.integers(6)
    if way == 0:
        for _ in range(int(rng.integers(1, 9))):
            made[rng.integers(head)] ^= 1 << int(rng.integers(8))
    elif way == 1:
        at = int(rng.integers(head))
        odd = rng.choice(
            [b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f", b"\0\0\0\x80", b"\xff" * 8, b"\0" * 8, b'"', b",,", b"{"]
        )
        made[at : at + len(odd)] = odd
    elif way == 2:
        del made[int(rng.integers(len(made))) :]
    elif way == 3:
        at, other = (int(rng.integers(len(made))) for _ in range(2))
        made[at:at] = made[other : other + int(rng.integers(1, 400))]
    elif way == 4:
        at = int(rng.integers(head))
        del made[at : at + int(rng.integers(1, 64))]
    else:
        made += rng.bytes(int(rng.integers(1, 999)))
    return bytes(made)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("broken"), help="folder for files that break something")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        seeds = Seeds(Path(place))
        read: Counter[str] = Counter()
        refused: Counter[str] = Counter()
        broken: Counter[str] = Counter()
        grown = 0
        for name, use in targets(seeds).items():
            data = (seeds.folder / name).read_bytes()
            use(_copy(seeds, name, data))  # opens what is opened once
            for i in range(options.files):
                rng = np.random.default_rng([options.seed, i])
                path = _copy(seeds, name, changed(data, name, rng))
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                faulthandler.dump_traceback_later(HANG_S, exit=True)
                try:
                    use(path)
                    read[name] += 1
                except segae.SegaeError:
                    refused[name] += 1
                except Exception:
                    broken[name] += 1
                    options.keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, options.keep / f"{i}_{path.name}")
                    print(f"{name}, file {i}:\n{traceback.format_exc()}", file=sys.stderr)
                finally:
                    faulthandler.cancel_dump_traceback_later()
                swollen = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
                grown = max(grown, swollen)
                if swollen > MEMORY:
                    broken[name] += 1
                    print(f"{name}, file {i}: took {swollen >> 20} MB", file=sys.stderr)
        print("| file | read | refused | broke |\n|---|---|---|---|")
        for name in targets(seeds):
            print(f"| {name} | {read[name]} | {refused[name]} | {broken[name]} |")
        print(f"\nMost memory that one file took: {grown >> 20} MB")
    return int(bool(broken))


def _copy(seeds: Seeds, name: str, data: bytes) -> Path:
    folder = seeds.folder / "changed"
    folder.mkdir(exist_ok=True)
    path = folder / Path(name).name
    path.write_bytes(data)
    if name.endswith(".csv"):
        for other in ("ct.nii.gz", "mask.nii.gz"):
            shutil.copy(seeds.folder / other, folder)
    return path


if __name__ == "__main__":
    sys.exit(main())
