"""The command `segae labels`."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segae.anatomy.findings import KINDS
from segae.cli.engine import add_engine_options, open_engine
from segae.cli.printing import print_table
from segae.cli.reference import add_reference_options, reference_of
from segae.errors import ParameterError

if TYPE_CHECKING:
    from segae.assessment import Assessment
    from segae.datasets.case import MaskFile
    from segae.datasets.names import Names
    from segae.frame import Volume

_COLUMNS = ("structure", "dice", "judge", "reference", "precision", "recall", "volume_ml", "flags")


def add_parser(commands: Any) -> None:
    """Add `segae labels` to argparse's subparsers; its `run` takes the parsed options and returns the exit code."""
    command = commands.add_parser(
        "labels", help="predict the Dice of every structure of a labelmap, or of a folder of masks"
    )
    command.add_argument("image", metavar="CT", help="CT in HU, any format that segae reads")
    command.add_argument("labelmap", metavar="LABELMAP", help="labelmap, or folder of masks named after structures")
    command.add_argument(
        "--names",
        help="what the values mean: a label set (totalsegmentator_v2, dap, btcv, amos22, flare22, verse, ...), or a "
        "JSON file: {value: name}, or nnU-Net's dataset.json; default: the names that LABELMAP carries",
    )
    command.add_argument("--csv", type=Path, help="write the table there instead of printing it")
    command.add_argument("--json", action="store_true", help="print the assessments as JSON")
    add_reference_options(command, "labelmap, or folder of masks named after structures,")
    add_engine_options(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Assess what is known, and tell what was left out."""
    from segae.datasets.names import Names

    names = Names(options.names)
    engine = open_engine(options)
    labelmap = Path(options.labelmap)
    found = _of_folder(engine, options, names) if _is_mask_folder(labelmap) else _of_file(engine, options, names)
    assessed = {name: entry for name, entry in found.items() if not isinstance(entry, Exception)}
    errors = {name: entry for name, entry in found.items() if isinstance(entry, Exception)}
    _print(options, assessed)
    for problem in names.problems:
        print(f"segae: --names: {problem}", file=sys.stderr)
    for name, (_, advice) in names.unknown.items():
        print(f"segae: {name}: left out, no known structure; {advice}", file=sys.stderr)
    for name, error in errors.items():
        print(f"segae: {name}: {error}", file=sys.stderr)
    return 1 if errors else 0


def _is_mask_folder(path: Path) -> bool:
    from segae.datasets.scan import list_folder, stem

    return path.is_dir() and any(stem(name) for name in list_folder(path, []).files)


def _of_file(engine: Any, options: argparse.Namespace, names: Names) -> dict[str, Assessment | Exception]:
    from segae.containers import is_layered
    from segae.parts import Part, assess_parts
    from segae.volume import load_pair

    masks = names.parts_of_file(Path(options.labelmap))
    if not masks:
        raise ParameterError(_nothing_named(options, names))
    if is_layered(options.labelmap):
        return _of_segments(engine, options, masks)
    image, labelmap = load_pair(options.image, options.labelmap, mask_argument="labelmap")
    parts = {Part(mask.structure, mask.labels): mask for mask in masks}
    found = assess_parts(engine, image, labelmap, list(parts), _reference(options, image))
    _tell_unnamed(options.labelmap, found.unnamed, names)
    entries = {part: entry for part, entry in found.entries.items() if entry is not None}
    twice = {part.structure for part in entries if sum(part.structure == other.structure for other in entries) > 1}
    return {
        f"{part.structure} ({parts[part].name})" if part.structure in twice else part.structure: entry
        for part, entry in entries.items()
    }


def _reference(options: argparse.Namespace, image: Volume) -> object | None:
    """What the masks are compared with."""
    from segae.datasets.names import Names
    from segae.datasets.references import files_of_reference, read_reference
    from segae.reference.given import check_not_the_mask
    from segae.reference.resolve import ReferenceRequest

    reference = reference_of(options)
    if not ReferenceRequest(reference).given:
        return reference
    assert reference is not None  # it was given
    check_not_the_mask(options.labelmap, reference)
    names = Names(options.reference_names or options.names)
    files = files_of_reference(reference, names)
    if not files:
        raise ParameterError(
            f"reference: nobody says what the values of {reference} mean. Give --reference-names: a label set or a "
            f"JSON file."
        )
    return read_reference(
        image, files, options.reference_reliability, resample=options.resample_reference, threads=options.threads or 1
    )


def _of_segments(engine: Any, options: argparse.Namespace, masks: list[MaskFile]) -> dict[str, Assessment | Exception]:
    """Segments of a DICOM SEG or an RTSTRUCT, each a mask of its own: they may overlap."""
    from segae.containers import Layer
    from segae.volume import load

    image = load(options.image, "image")
    layers = [(mask, Layer(mask.path, value)) for mask in masks for value in mask.labels]
    given = [(mask.structure, layer) for mask, layer in layers]
    found = engine.assess_masks(image, given, on_error="return", reference=_reference(options, image))
    twice = {mask.structure for mask in masks if sum(mask.structure == other.structure for other, _ in layers) > 1}
    return {
        f"{mask.structure} ({mask.name}, {layer.value})" if mask.structure in twice else mask.structure: entry
        for (mask, layer), entry in zip(layers, found, strict=True)
    }


def _tell_unnamed(labelmap: str, unnamed: Mapping[int, int], names: Names) -> None:
    """Values that occur, and that neither mean a structure nor belong to a name that was told of already."""
    told = names.silent.union(*(names.labels.get(name, ()) for name in names.unknown))
    values = ", ".join(str(value) for value in sorted(unnamed) if value not in told)
    if values:
        print(f"segae: {labelmap}: values without a name were left out: {values}", file=sys.stderr)


def _nothing_named(options: argparse.Namespace, names: Names) -> str:
    if names.unknown:
        told = "; ".join(f"{name}: {advice}" for name, (_, advice) in list(names.unknown.items())[:5])
        return f"names: no name of {options.labelmap} means a known structure ({told}). Map them with --names FILE."
    return (
        f"names: {options.labelmap} carries no label names in its header. Say which numbers it uses: "
        f"totalsegmentator_v1 (104 classes, 7 is the aorta), totalsegmentator_v2 (117 classes, 7 is the pancreas), "
        f'another label set (btcv, amos22, flare22, ...), or a JSON file such as {{"1": "liver"}}.'
    )


def _of_folder(engine: Any, options: argparse.Namespace, names: Names) -> dict[str, Assessment | Exception]:
    from segae.datasets.folders import masks_in
    from segae.volume import load

    problems: list[str] = []
    masks = masks_in(Path(options.labelmap), names, problems)
    for problem in problems:
        print(f"segae: {problem}", file=sys.stderr)
    if not masks:
        raise ParameterError(_nothing_named(options, names))
    image = load(options.image, "image")
    reference = _reference(options, image)
    found = engine.assess_masks(
        image, [(mask.structure, mask.path) for mask in masks], on_error="return", reference=reference
    )
    twice = {mask.structure for mask in masks if sum(mask.structure == other.structure for other in masks) > 1}
    return {
        f"{mask.structure} ({mask.name})" if mask.structure in twice else mask.structure: entry
        for mask, entry in zip(masks, found, strict=True)
    }


def _print(options: argparse.Namespace, found: Mapping[str, Assessment]) -> None:
    if options.json:
        print(json.dumps({name: entry.to_dict() for name, entry in found.items()}, indent=2, allow_nan=False))
        return
    rows = [
        (
            name,
            f"{a.dice:.4f}",
            f"{a.judge_dice:.4f}",
            "" if math.isnan(a.reference_dice) else f"{a.reference_dice:.4f}",
            f"{a.precision:.4f}",
            f"{a.recall:.4f}",
            f"{a.volume_ml:.2f}",
            " ".join(flag.name for flag in a.flags),
        )
        for name, a in sorted(found.items(), key=lambda item: item[1].dice)
    ]
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_COLUMNS, *rows])
        print(f"{len(rows)} structures written to {options.csv}, worst first")
    else:
        print_table(_COLUMNS, rows)
    across = dict.fromkeys(
        flag.detail for entry in found.values() for flag in entry.flags if flag.name in (*KINDS, "situs_inversus")
    )
    if across:
        print("\nAcross structures:", *across, sep="\n  ")
