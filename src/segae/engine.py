"""`Engine`: volume -> slices -> network -> assessment."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from segae import flags, structures
from segae.assessment import (
    Assessment,
    Assessments,
    ExpectedMask,
    SlicePredictions,
    SliceScore,
    aggregate,
    calibrate,
)
from segae.errors import ParameterError, SegaeError
from segae.session import BATCH, Session
from segae.slices import LabelScan, SlicePlan, cut, label_of_mask, plan_slices, scan_labels
from segae.structures import Structure
from segae.volume import Volume, load, load_pair

_log = logging.getLogger("segae")

# Slices that are cut before the network sees them; bounds memory whatever the number of labels.
_CUT_AT_ONCE = 4 * BATCH


@dataclass(frozen=True)
class _Task:
    """One structure of one mask or labelmap, ready to be looked at."""

    structure: Structure
    index: int
    scan: LabelScan
    plan: SlicePlan


@dataclass(frozen=True)
class _Waiting:
    """A mask whose slices are cut and wait for the network; `place` is its place among the results."""

    place: int
    task: _Task
    mask: Volume
    slices: npt.NDArray[np.float32]


class Engine:
    """A loaded model on a device. Build one, use it for every mask; threads may share it.

    Parameters
    ----------
    model : "default" or path
        The model in the package, or an ONNX file with segae's metadata.
    device : str
        "auto" (a GPU if one can be had, else the CPU), "cpu", "cuda" or "cuda:N".
    threads : int, optional
        CPU threads for cutting slices and for the network; default: all that the process may use.

    Raises
    ------
    ModelFileError, DeviceError, ParameterError
    """

    def __init__(
        self, model: str | os.PathLike[str] = "default", device: str = "auto", threads: int | None = None
    ) -> None:
        if threads is not None and threads < 1:
            raise ParameterError(f"threads: expected a positive number or None, got {threads!r}.")
        self._session = Session(model, device, threads)

    @property
    def device(self) -> str:
        """Where the network really runs: "cpu" or "cuda:N"."""
        return self._session.device

    @property
    def model(self) -> str:
        """Path of the model file."""
        return str(self._session.path)

    @property
    def expects_masks(self) -> bool:
        """Whether the model can show the mask that it expects (``error_map=True``)."""
        return "expected" in self._session.card.outputs

    def __repr__(self) -> str:
        return f"Engine(model={self.model!r}, device={self.device!r}, threads={self._session.threads})"

    def score(
        self,
        image: object,
        mask: object,
        structure: str,
        *,
        affine: npt.ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        axes: str = "zyx",
        label: int | None = None,
    ) -> float:
        """Predict the 3D Dice of a mask.

        Parameters
        ----------
        image : path, os.PathLike, nibabel image, numpy array or object with ``__dlpack__``
            CT in HU, three axes.
        mask : same kinds
            On the image's grid; 0 and 1, or bool. Other values need `label`.
        structure : str
            What the mask shows: any name or alias in `segae.structures`.
        affine : array [4, 4], optional
            Says that bare arrays are [x, y, z], and maps their index to RAS mm.
        spacing : three numbers, optional
            Voxel size in mm of bare arrays, in the order of their axes.
        axes : "zyx" or "xyz"
            Order of the axes of bare arrays without affine; they are LPS.
        label : int, optional
            Which value of an integer mask to look at.

        Returns
        -------
        float
            In [0, 1]; nan when the mask is empty.

        Raises
        ------
        VolumeError, GridMismatchError, UnknownStructureError
        """
        what = structures.get(structure)
        ct, volume = load_pair(image, mask, affine=affine, spacing=spacing, axes=axes)
        task = self._task(volume, what, label)
        if task is None:
            return float("nan")
        (slices, _, _), *_ = self._look(ct, volume, [task], error_map=False)
        return calibrate(aggregate(slices)[0], what.name, self._session.card.calibration)

    def assess(
        self,
        image: object,
        mask: object,
        structure: str,
        *,
        affine: npt.ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        axes: str = "zyx",
        label: int | None = None,
        error_map: bool = False,
    ) -> Assessment:
        """Predict the quality of a mask, slice by slice, and check its geometry.

        Parameters are those of `score`; `error_map` adds to every slice the mask that the model expects.

        Raises
        ------
        VolumeError, GridMismatchError, UnknownStructureError
        ParameterError
            For `error_map` with a model that expects no mask.
        """
        what = structures.get(structure)
        self._check_error_map(error_map)
        ct, volume = load_pair(image, mask, affine=affine, spacing=spacing, axes=axes)
        task = self._task(volume, what, label)
        if task is None:
            return _empty(what, 1 if label is None else label)
        return self._assess(ct, volume, [task], error_map)[0]

    def assess_labels(
        self,
        image: object,
        labelmap: object,
        structures: Mapping[int, str] | str,  # the argument's name hides the module on purpose: it is the public one
        *,
        affine: npt.ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        axes: str = "zyx",
        error_map: bool = False,
    ) -> Assessments:
        """Assess every structure of a labelmap, in one pass over it.

        Parameters
        ----------
        image, affine, spacing, axes, error_map
            As in `assess`.
        labelmap : path, os.PathLike, nibabel image, numpy array or object with ``__dlpack__``
            One integer a structure, 0 for none.
        structures : dict or str
            Value -> name, or "totalsegmentator_v1", "totalsegmentator_v2" or "dap".

        Returns
        -------
        Assessments
            Canonical name -> Assessment, for the names whose value occurs. Values without a name are in `.unnamed`.

        Raises
        ------
        VolumeError, GridMismatchError, UnknownStructureError, ParameterError
        """
        named = _named_values(structures)
        self._check_error_map(error_map)
        ct, volume = load_pair(image, labelmap, affine=affine, spacing=spacing, axes=axes, mask_argument="labelmap")
        scans = scan_labels(volume.array, "labelmap", self._session.threads)
        tasks = [self._plan(volume, named[label], scan) for label, scan in scans.items() if label in named]
        result = Assessments()
        result.unnamed = {label: scan.voxels for label, scan in scans.items() if label not in named}
        if result.unnamed:
            _log.warning("labelmap: values without a name were left out: %s", sorted(result.unnamed))
        for assessment in self._assess(ct, volume, tasks, error_map):
            result[assessment.structure] = assessment
        return result

    def assess_masks(
        self,
        image: object,
        masks: Mapping[str, object] | Iterable[tuple[str, object]],
        *,
        affine: npt.ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        axes: str = "zyx",
        error_map: bool = False,
        on_error: Literal["raise", "return"] = "raise",
    ) -> list[Assessment | SegaeError]:
        """Assess many masks of one image, one file a structure: the image is read once, the network sees them together.

        Parameters
        ----------
        image, affine, spacing, axes, error_map
            As in `assess`; a bare array needs affine or spacing of its own.
        masks : dict or iterable of (structure, mask)
            Each as in `assess`. An iterable is drawn from one by one, and a mask is not looked at any more once the
            next is drawn: memory stays that of one mask, and its array may be filled again.
        on_error : "raise" or "return"
            What becomes of a mask that cannot be assessed: its error is raised, or stands in the list in its place.
            Errors of the image are always raised.

        Returns
        -------
        list of Assessment, or of the errors
            In the order of `masks`.

        Raises
        ------
        VolumeError, GridMismatchError, UnknownStructureError, ParameterError
        """
        if on_error not in ("raise", "return"):
            raise ParameterError(f'on_error: expected "raise" or "return", got {on_error!r}.')
        self._check_error_map(error_map)
        ct = load(image, "image", affine=affine, spacing=spacing, axes=axes)
        probe = flags.probe_image(ct)
        # The image's own grid is what bare masks lie on; without one they are told the same as the image.
        geometry: dict[str, Any] = {} if ct.affine is not None else {"spacing": spacing, "axes": axes}
        results: list[Assessment | SegaeError] = []
        waiting: list[_Waiting] = []
        for name, mask in masks.items() if isinstance(masks, Mapping) else masks:
            try:
                what = structures.get(name)
                _, volume = load_pair(ct, mask, **geometry)
                task = self._task(volume, what, None)
            except SegaeError as error:
                if on_error == "raise":
                    raise
                results.append(error)
                continue
            results.append(_empty(what, 1))
            if task is not None:
                cut_slices = self._cut(ct, volume, [task], slice(None))
                waiting.append(_Waiting(len(results) - 1, task, _only_box(volume, task.scan), cut_slices))
            if sum(len(entry.slices) for entry in waiting) >= _CUT_AT_ONCE:
                self._assess_waiting(ct, waiting, probe, error_map, results)
                waiting.clear()
        self._assess_waiting(ct, waiting, probe, error_map, results)
        return results

    def _assess_waiting(
        self,
        image: Volume,
        waiting: Sequence[_Waiting],
        probe: flags.ImageProbe,
        error_map: bool,
        results: list[Assessment | SegaeError],
    ) -> None:
        """Run the network over slices of several masks, and put what it says in their places."""
        if not waiting:
            return
        outputs = self._session.run(
            np.concatenate([entry.slices for entry in waiting]),
            np.concatenate([np.full(len(entry.slices), entry.task.index) for entry in waiting]),
        )
        if not error_map:
            outputs.pop("expected", None)
        for entry, mine in zip(waiting, _split(outputs, [entry.task for entry in waiting]), strict=True):
            pixel_mm2 = image.spacing_mm[1] * image.spacing_mm[2]
            looked = _predictions(entry.task.plan, mine, pixel_mm2)
            results[entry.place] = self._assessment(image, entry.mask, entry.task, looked, probe)

    def _check_error_map(self, error_map: bool) -> None:
        if error_map and not self.expects_masks:
            raise ParameterError("error_map: this model puts out no expected mask; use error_map=False.")

    def _task(self, mask: Volume, structure: Structure, label: int | None) -> _Task | None:
        """The one structure of a mask; None when it is empty."""
        scans = scan_labels(mask.array, "mask", self._session.threads)
        scan = scans.get(label_of_mask(scans, label, "mask"))
        return None if scan is None else self._plan(mask, structure, scan)

    def _plan(self, mask: Volume, structure: Structure, scan: LabelScan) -> _Task:
        index = self._session.structure_index(structure.name)
        plan = plan_slices(mask.array, scan, self._session.card.recipe, mask.spacing_mm, self._session.threads)
        return _Task(structure, index, scan, plan)

    def _look(
        self, image: Volume, mask: Volume, tasks: Sequence[_Task], error_map: bool
    ) -> list[tuple[SlicePredictions, npt.NDArray[np.float64], npt.NDArray[np.float32] | None]]:
        """Run the network over the slices of all tasks; per task its predictions, raw values and expected masks."""
        if not tasks:
            return []
        n = sum(len(task.plan.index) for task in tasks)
        structure = np.concatenate([np.full(len(task.plan.index), task.index) for task in tasks])
        parts: list[dict[str, npt.NDArray[Any]]] = []
        for begin in range(0, n, _CUT_AT_ONCE):
            chunk = slice(begin, begin + _CUT_AT_ONCE)
            out = self._session.run(self._cut(image, mask, tasks, chunk), structure[chunk])
            if not error_map:
                out.pop("expected", None)
            parts.append(out)
        outputs = {role: np.concatenate([part[role] for part in parts]) for role in parts[0]}
        pixel_mm2 = image.spacing_mm[1] * image.spacing_mm[2]
        return [
            _predictions(task.plan, mine, pixel_mm2) for task, mine in zip(tasks, _split(outputs, tasks), strict=True)
        ]

    def _cut(self, image: Volume, mask: Volume, tasks: Sequence[_Task], chunk: slice) -> npt.NDArray[np.float32]:
        """Cut some of the slices of tasks on one mask or labelmap, which follow each other in their order."""
        index = np.concatenate([task.plan.index for task in tasks])
        crop = np.concatenate([task.plan.crop for task in tasks])
        label = np.concatenate([np.full(len(task.plan.index), task.scan.label) for task in tasks])
        return cut(
            image.array, mask.array, self._session.card.recipe, image.spacing_mm, index[chunk], crop[chunk],
            label[chunk], self._session.threads, slope=image.slope, intercept=image.intercept,
        )  # fmt: skip

    def _assess(self, image: Volume, mask: Volume, tasks: Sequence[_Task], error_map: bool) -> list[Assessment]:
        probe = flags.probe_image(image)
        return [
            self._assessment(image, mask, task, looked, probe)
            for task, looked in zip(tasks, self._look(image, mask, tasks, error_map), strict=True)
        ]

    def _assessment(
        self,
        image: Volume,
        mask: Volume,
        task: _Task,
        looked: tuple[SlicePredictions, npt.NDArray[np.float64], npt.NDArray[np.float32] | None],
        probe: flags.ImageProbe,
    ) -> Assessment:
        """Put together what the network said of a mask and what its geometry says."""
        card = self._session.card
        slices, raw, expected = looked
        dice, precision, recall = aggregate(slices)
        dice_only = "dice" in card.outputs
        name = task.structure.name
        return Assessment(
            structure=name,
            dice=calibrate(dice, name, card.calibration),
            precision=float("nan") if dice_only else precision,
            recall=float("nan") if dice_only else recall,
            raw=float(raw[task.plan.area > 0].mean()),
            slices=_slice_scores(mask, task.plan, slices, raw, expected, dice_only=dice_only),
            volume_ml=task.scan.voxels * mask.voxel_ml,
            bbox=mask.source_box(task.scan.box),
            flags=flags.check(image, mask, task.scan, task.plan, slices, task.structure, probe, name in card.trained),
            centroid_mm=_from_centre_mm(mask, task.scan),
        )


def _split(outputs: dict[str, npt.NDArray[Any]], tasks: Sequence[_Task]) -> list[dict[str, npt.NDArray[Any]]]:
    """Rows of the network's outputs -> those of each task."""
    ends = np.cumsum([len(task.plan.index) for task in tasks])
    return [
        {role: values[end - len(task.plan.index) : end] for role, values in outputs.items()}
        for task, end in zip(tasks, ends, strict=True)
    ]


def _only_box(mask: Volume, scan: LabelScan) -> Volume:
    """A mask on the same grid that holds the label's box only: memory is taken by the pages that are written to."""
    box = tuple(slice(low, high) for low, high in scan.box.T)
    array = np.zeros(mask.array.shape, mask.array.dtype)
    array[box] = mask.array[box]
    return replace(mask, array=array)


def _from_centre_mm(mask: Volume, scan: LabelScan) -> tuple[float, float, float]:
    z, y, x = (scan.centroid - (np.array(mask.array.shape) - 1) / 2) * mask.spacing_mm
    return float(x), float(y), float(z)


def _predictions(
    plan: SlicePlan, outputs: dict[str, npt.NDArray[Any]], pixel_mm2: float
) -> tuple[SlicePredictions, npt.NDArray[np.float64], npt.NDArray[np.float32] | None]:
    n = len(plan.index)
    columns = {role: values.reshape(n, -1)[:, 0].astype(np.float64) for role, values in outputs.items()}
    if "dice" in columns:
        # A model that puts out Dice alone: equal precision and recall make the same Dice.
        precision = recall = raw = columns["dice"]
    else:
        precision, recall = columns["precision"], columns["recall"]
        total = precision + recall
        raw = np.divide(2 * precision * recall, total, out=np.zeros(n), where=total != 0)
    slices = SlicePredictions(
        area_mm2=plan.area.astype(np.float64) * pixel_mm2,
        share_mm=plan.share_mm,
        crop_mm2=(plan.crop[:, 1] - plan.crop[:, 0]) * (plan.crop[:, 3] - plan.crop[:, 2]) * pixel_mm2,
        precision=np.clip(precision, 0, 1),
        recall=np.clip(recall, 0, 1),
        truth_fraction=columns.get("truth_fraction", np.full(n, np.nan)),
        whole_precision=columns.get("whole_precision"),
        whole_recall=columns.get("whole_recall"),
    )
    return slices, raw, outputs.get("expected")


def _slice_scores(
    mask: Volume,
    plan: SlicePlan,
    slices: SlicePredictions,
    raw: npt.NDArray[np.float64],
    expected: npt.NDArray[np.float32] | None,
    *,
    dice_only: bool,
) -> tuple[SliceScore, ...]:
    nan = float("nan")
    truth = slices.truth_mm2
    scores = []
    for i, z in enumerate(plan.index):
        inside = plan.area[i] > 0
        scores.append(
            SliceScore(
                index=mask.source_index(0, int(z)),
                area_mm2=float(slices.area_mm2[i]),
                dice=float(np.clip(raw[i], 0, 1)) if inside else nan,
                precision=float(slices.precision[i]) if inside and not dice_only else nan,
                recall=float(slices.recall[i]) if inside and not dice_only else nan,
                expected_area_mm2=nan if dice_only else float(truth[i]),
                expected=None if expected is None else _expected_mask(mask, plan.crop[i], expected[i, 0]),
            )
        )
    return tuple(sorted(scores, key=lambda score: score.index))


def _expected_mask(mask: Volume, crop: npt.NDArray[np.float64], probability: npt.NDArray[np.float32]) -> ExpectedMask:
    """Bring a map on rows y and columns x into the axes of the array as given."""
    sides = [(float(crop[0]), float(crop[1])), (float(crop[2]), float(crop[3]))]
    for axis in (1, 2):
        if mask.flipped[axis]:
            extent, (begin, end) = mask.array.shape[axis], sides[axis - 1]
            sides[axis - 1] = (extent - end, extent - begin)
            probability = np.flip(probability, axis - 1)
    if mask.source_axes[1] > mask.source_axes[2]:
        sides.reverse()
        probability = probability.T
    return ExpectedMask(np.ascontiguousarray(probability), (sides[0], sides[1]))


def _empty(structure: Structure, label: int) -> Assessment:
    nan = float("nan")
    return Assessment(structure.name, nan, nan, nan, nan, (), 0.0, None, (flags.empty_flag(label),))


def _named_values(named: Mapping[int, str] | str) -> dict[int, Structure]:
    if not isinstance(named, (str, Mapping)):
        raise ParameterError(f"structures: expected a dict value -> name or a label scheme, got {named!r}.")
    table = structures.labels(named) if isinstance(named, str) else named
    found: dict[int, Structure] = {}
    for value, name in table.items():
        try:
            label = operator.index(value)
        except TypeError as error:
            raise ParameterError(f"structures: expected integer values as keys, got {value!r}.") from error
        if label == 0:
            raise ParameterError(f"structures: 0 is the background; drop its name {name!r}.")
        structure = structures.get(name)
        if structure in found.values():
            raise ParameterError(f"structures: {structure.name} is named by more than one value.")
        found[label] = structure
    return found
