"""Scans beside the labelled ones that the shipped model learned from: synthetic ones, and regions without a label."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segae import structures
from segae.train import data
from segae.train.augment import augmented
from segae.train.data import LabelledScan
from segae.train.sources import Draw, MoreScans, augmenting
from segae_lab.synthetic.anatomy import load_atlas, union_ids
from segae_lab.synthetic.ct import generate
from segae_lab.unlabelled import unlabelled_scans

# Synthetic scans are drawn with at most so many voxels: 3 s each on one core.
_SYNTHETIC_VOXELS = 6_000_000


@dataclass(frozen=True)
class SyntheticScans:
    """Scans drawn from an anatomical atlas.

    Attributes
    ----------
    atlas : Path
        Voxelised atlas; built where it is missing (minutes).
    anatomy : Path
        Folder of the meshes.
    """

    atlas: Path
    anatomy: Path

    def open(self) -> Draw:
        """Return a function that draws synthetic scans."""
        body = load_atlas(self.atlas, self.anatomy)
        parts = synthetic_parts(self.atlas, self.anatomy)

        def draw(rng: np.random.Generator) -> LabelledScan:
            made = generate(int(rng.integers(2**31)), body, max_voxels=_SYNTHETIC_VOXELS)
            scan = LabelledScan("synthetic", made.ct, made.labels, parts, made.spacing_mm)
            return augmented(scan, rng, shape_changes=False)

        return draw

    @property
    def synthetic(self) -> bool:
        """True: the scans are computed."""
        return True

    def structures(self) -> set[str]:
        """Structures that the atlas holds."""
        return set(synthetic_parts(self.atlas, self.anatomy))


@dataclass(frozen=True)
class UnlabelledRegions:
    """Regions of scans without labels, augmented anew for every visit.

    Attributes
    ----------
    folder : Path
        With ``cases.csv``.
    regions : Path
        Folder for what was outlined; made where it is missing (minutes).
    """

    folder: Path
    regions: Path

    def open(self) -> Draw:
        """Return a function that draws one of the scans."""
        return augmenting(unlabelled_scans(self.folder, self.regions))

    @property
    def synthetic(self) -> bool:
        """False: the scans are of patients."""
        return False

    def structures(self) -> set[str]:
        """Structures that were outlined; nameless regions have names that no registry knows."""
        return {name for scan in unlabelled_scans(self.folder, self.regions) for name in scan.parts}


def more_scans(folder: Path, work: Path, atlas: Path | None = None) -> dict[str, MoreScans]:
    """Both kinds of further scans of a data folder; what has to be made for them goes to `work`."""
    return {
        "synthetic": SyntheticScans(atlas or work / "atlas.npz", folder / "anatomy"),
        "unlabelled": UnlabelledRegions(folder, work / "regions"),
    }


def usual_shares(folder: Path) -> dict[str, float]:
    """Shares of synthetic scans and of scans without labels, 0 where `folder` has no meshes or no such scans."""
    return {
        "synthetic": 0.4 if (folder / "anatomy").is_dir() else 0.0,
        "unlabelled": 0.08 if data.cases(folder, "train-unlabelled") else 0.0,
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how much of the further scans is used, and where the atlas lies."""
    parser.add_argument("--synthetic", type=float, help="share of synthetic scans (default: 0.4 with meshes)")
    parser.add_argument("--unlabelled", type=float, help="share of scans without labels (default: 0.08)")
    parser.add_argument("--atlas", type=Path, help="voxelised anatomy (default: in --work, built where missing)")


def chosen_shares(options: argparse.Namespace) -> dict[str, float]:
    """Shares as the options give them, the usual ones where they do not."""
    given: Mapping[str, float | None] = {"synthetic": options.synthetic, "unlabelled": options.unlabelled}
    usual = usual_shares(options.data)
    return {name: usual[name] if share is None else share for name, share in given.items()}


def synthetic_parts(atlas: Path, anatomy: Path) -> dict[str, tuple[int, ...]]:
    """Structures of the atlas -> label values that make them up."""
    names = load_atlas(atlas, anatomy).names
    parts = {name: tuple(int(i) for i in union_ids(name, names)) for name in structures.names()}
    return {name: values for name, values in parts.items() if values}
