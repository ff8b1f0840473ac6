"""What becomes of one case: read, scored, put into rows. Runs in worker processes, here or on other machines."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

from segae.assessment import Assessment, Flag
from segae.audit.results import CaseRow, MaskRow, slices_to_json
from segae.audit.scoring.fingerprint import fingerprint, path_below
from segae.audit.scoring.reading import Memories, read_masks
from segae.containers import is_layered, only_layer, read_layers
from segae.datasets.case import Case, MaskFile
from segae.datasets.references import read_reference
from segae.engine import Engine
from segae.errors import ModelFileError, SegaeError, VolumeError
from segae.masks import read_mask
from segae.parts import Part, assess_parts
from segae.reference.builtin import BuiltInReference
from segae.reference.given import GivenReference
from segae.volume import Volume, load

Reference = BuiltInReference | GivenReference | None

_memories = Memories()
_engines: dict[Settings, Engine] = {}
_opening = threading.Lock()


@dataclass(frozen=True)
class Settings:
    """What all cases of a run have in common.

    `root` is the dataset's folder, from which `MaskRow.source` tells paths; `threads` are those of one engine.
    `reference` is "none", "auto", "built-in" or "given" (the masks in `Case.reference`, of the given reliability).
    """

    model: str
    model_sha256: str
    device: str
    threads: int | None
    root: str
    reference: str = "none"
    reference_reliability: float | None = None
    resample_reference: bool = False


@dataclass(frozen=True)
class Outcome:
    """A case, ready to be kept. `unnamed` is value -> voxels of values of labelmaps that nobody named."""

    case: CaseRow
    masks: list[MaskRow]
    unnamed: dict[int, int] = field(default_factory=dict)


def open_engine(settings: Settings) -> Engine:
    """The process's engine: the model is loaded once, whatever the number of cases.

    Raises
    ------
    ModelFileError
        Also when the model is not the one that the run began with.
    DeviceError
    """
    with _opening:
        if settings not in _engines:
            engine = Engine(settings.model, settings.device, settings.threads)
            if sha256_of(Path(engine.model)) != settings.model_sha256:
                raise ModelFileError(
                    f"model: {engine.model} is another file here than where the audit was started. Install the same "
                    f"version of segae on all machines, or put the model where all see it."
                )
            _engines[settings] = engine
        return _engines[settings]


def sha256_of(path: Path) -> str:
    """Return the checksum of a file's contents, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def score_case(case: Case, settings: Settings) -> Outcome:
    """Score all masks of a case; what goes wrong with its files stands in the rows.

    Raises
    ------
    ModelFileError, DeviceError
        When there is no engine, which no case is to blame for.
    """
    begin = time.perf_counter()
    engine = open_engine(settings)
    seen = fingerprint(
        case, settings.model_sha256, Path(settings.root), settings.reference
    )  # before reading: a later change is noticed next time
    rows = _Rows(case, settings)
    try:
        _score(case, engine, rows, settings)
    except Exception as error:  # a case that breaks in a way that nobody thought of must not end the run
        rows.fail_rest(error)
    return rows.outcome(seen, time.perf_counter() - begin)


def failed_case(case: Case, settings: Settings, message: str) -> Outcome:
    """What is kept of a case that its worker did not survive."""
    rows = _Rows(case, settings)
    rows.fail_rest(SegaeError(message))
    seen = fingerprint(case, settings.model_sha256, Path(settings.root), settings.reference)
    return rows.outcome(seen, 0.0)


def _score(case: Case, engine: Engine, rows: _Rows, settings: Settings) -> None:
    if not case.masks:
        raise SegaeError("masks: the case has none that is known.")
    if case.image is None:
        raise SegaeError("image: the case has no CT.")
    image = load(case.image, "image", allocate=_memories.image)
    files: dict[Path, list[MaskFile]] = defaultdict(list)
    for mask in case.masks:
        files[mask.path].append(mask)
    layered = {path: files.pop(path) for path in list(files) if is_layered(path)}
    singles = {path: masks[0] for path, masks in files.items() if len(masks) == 1 and not masks[0].labels}
    drawn: list[MaskFile] = []
    reference = _reference(case, image, engine, rows, settings)
    found = engine.assess_masks(
        image,
        chain(_draw(singles, rows, drawn), _draw_layers(image, layered, rows, drawn)),
        on_error="return",
        reference=reference,
    )
    for mask, entry in zip(drawn, found, strict=True):
        other = _other_value(image, mask, engine, reference) if isinstance(entry, VolumeError) else None
        rows.add(mask, entry if other is None else other)
    for path, labelmap in read_masks([path for path in files if path not in singles], _memories):
        if isinstance(labelmap, Exception):
            for mask in files[path]:
                rows.add(mask, labelmap)
        else:
            _score_labelmap(image, labelmap, files[path], engine, rows, reference)
            for value in {value for mask in files[path] for value in mask.labels}:
                rows.unnamed.pop(value, None)


def _draw_layers(
    image: Volume, files: dict[Path, list[MaskFile]], rows: _Rows, drawn: list[MaskFile]
) -> Iterator[tuple[str, Volume]]:
    """Give the engine segments of DICOM SEG, RTSTRUCT and the like, which may overlap, one by one."""
    for path, masks in files.items():
        for mask in masks:
            try:
                values = mask.labels or (only_layer(path).value,)
                volumes = [volume for _, volume in read_layers(path, image, values)]
            except Exception as error:  # of one segment, which must not take the others with it
                rows.add(mask, error)
                continue
            union = np.maximum.reduce([volume.array for volume in volumes])
            drawn.append(mask)
            yield mask.structure, replace(volumes[0], array=union)


def _reference(case: Case, image: Volume, engine: Engine, rows: _Rows, settings: Settings) -> Reference:
    """What all masks of the case are compared with; a reference that cannot be used is told once."""
    if settings.reference == "none":
        return None
    if settings.reference != "given":
        return engine.built_in_reference(image, settings.reference)
    if not case.reference:
        return None
    try:
        return read_reference(
            image,
            case.reference,
            settings.reference_reliability,
            resample=settings.resample_reference,
            threads=settings.threads or 1,
        )
    except SegaeError as error:
        rows.problem = Flag("reference_unusable", _in_words(error))
        return None


def _draw(files: dict[Path, MaskFile], rows: _Rows, drawn: list[MaskFile]) -> Iterator[tuple[str, Volume]]:
    """Give the engine what could be read, and say which it was."""
    for path, volume in read_masks(list(files), _memories):
        if isinstance(volume, Exception):
            rows.add(files[path], volume)
        else:
            drawn.append(files[path])
            yield files[path].structure, volume


def _score_labelmap(
    image: Volume,
    labelmap: Volume,
    masks: Sequence[MaskFile],
    engine: Engine,
    rows: _Rows,
    reference: Reference,
) -> None:
    """One pass over the labelmap; a structure that it lacks is left out, or an empty mask."""
    parts = {mask: Part(mask.structure, mask.labels or (1,)) for mask in masks}
    found = assess_parts(engine, image, labelmap, list(parts.values()), reference)
    rows.unnamed.update(found.unnamed)
    for mask, part in parts.items():
        entry = found.entries[part]
        if entry is None and mask.may_be_absent:
            rows.leave_out(mask)
        elif entry is None:
            empty = replace(labelmap, array=np.zeros(labelmap.array.shape, np.uint8))
            rows.add(mask, engine.assess_masks(image, [(mask.structure, empty)], on_error="return")[0])
        else:
            rows.add(mask, entry)


def _other_value(image: Volume, mask: MaskFile, engine: Engine, reference: Reference) -> Assessment | SegaeError | None:
    """Assess a mask of 0 and one other value, such as 255, of which a folder cannot tell; None when it is no such."""
    try:
        volume, labels = read_mask(load(mask.path, "mask", scaled=True), "mask", 1)
    except SegaeError:
        return None
    if len(labels) != 1 or 1 in labels:
        return None
    part = Part(mask.structure, tuple(labels))
    return assess_parts(engine, image, volume, [part], reference).entries[part]


class _Rows:
    """The rows of a case as they come."""

    def __init__(self, case: Case, settings: Settings) -> None:
        self.unnamed: dict[int, int] = {}
        self.problem: Flag | None = None
        self._case = case
        self._settings = settings
        self._missing = dict.fromkeys(case.masks)
        self._rows: dict[tuple[str, str], MaskRow] = {}

    def add(self, mask: MaskFile, found: Assessment | Exception) -> None:
        """Keep what was found of a mask."""
        self._missing.pop(mask, None)
        error = None if isinstance(found, Assessment) else _in_words(found)
        row = self._row(mask, error)
        if isinstance(found, Assessment):
            row = replace(
                row, dice=found.dice, precision=found.precision, recall=found.recall, raw=found.raw,
                volume_ml=found.volume_ml, flags=found.flags, bbox=found.bbox, centroid_mm=found.centroid_mm,
                slices_json=slices_to_json(found.slices), judge_dice=found.judge_dice,
            )  # fmt: skip
            if found.dice_interval is not None:
                row = replace(row, dice_low=found.dice_interval[0], dice_high=found.dice_interval[1])
            row = _with_reference(row, found, self._case.reference)
        self._rows[row.structure, row.source] = row

    def leave_out(self, mask: MaskFile) -> None:
        """Say that the scan does not show a structure."""
        self._missing.pop(mask, None)

    def fail_rest(self, error: Exception) -> None:
        """All masks that nothing was said of fail for one reason; so does a case without masks."""
        for mask in list(self._missing):
            self.add(mask, error)
        if not self._case.masks:
            self.add(MaskFile("", Path()), error)

    def outcome(self, seen: str, seconds: float) -> Outcome:
        """All rows, with the time that the case took."""
        each = seconds / max(len(self._rows), 1)
        rows = [replace(row, seconds=each) for row in self._rows.values()]
        if self.problem is not None and rows:
            rows[0] = replace(rows[0], flags=(*rows[0].flags, self.problem))
        errors = [row.error for row in rows if row.error is not None]
        state = "failed" if rows and len(errors) == len(rows) else "done"
        error = f"{len(errors)} of {len(rows)} masks: {errors[0]}" if errors else None
        return Outcome(CaseRow(self._case.id, state, seen, error, seconds), rows, self.unnamed)

    def _row(self, mask: MaskFile, error: str | None) -> MaskRow:
        nan = float("nan")
        image, path = self._case.image, mask.path
        return MaskRow(
            case_id=self._case.id, structure=mask.structure, source=self._source(mask), name=mask.name,
            dice=nan, precision=nan, recall=nan, raw=nan, volume_ml=nan, flags=(),
            image="" if image is None else str(image.absolute()), mask=str(path.absolute()) if path.name else "",
            labels=mask.labels, bbox=None, centroid_mm=None, slices_json="[]", seconds=0.0,
            model_sha256=self._settings.model_sha256, error=error,
        )  # fmt: skip

    def _source(self, mask: MaskFile) -> str:
        if not mask.path.name:
            return ""
        told = path_below(Path(self._settings.root), mask.path)
        return told + ("#" + "+".join(map(str, mask.labels)) if mask.labels else "")


def _with_reference(row: MaskRow, found: Assessment, files: Sequence[MaskFile]) -> MaskRow:
    seen = found.reference
    if seen is None:
        return row
    file = next((file for file in files if file.structure == row.structure), None)
    if seen.source == "given" and file is not None:
        row = replace(row, reference_mask=str(file.path.absolute()), reference_labels=file.labels)
    return replace(
        row, reference_source=seen.source, reference_dice=seen.dice, reference_precision=seen.precision,
        reference_recall=seen.recall, reference_nsd=seen.nsd, reference_ml=seen.volume_ml,
        reference_reliability=seen.reliability,
    )  # fmt: skip


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, SegaeError) else f"{type(error).__name__}: {text}"
