"""`Engine`: reads images and masks, runs a model over their slices, returns scores and assessments."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast, overload

import numpy as np
import numpy.typing as npt

from segae import flags, structures
from segae.assembly import Probes, empty, warn_of
from segae.assessment import Assessment, Assessments
from segae.batch import Affines, Spacing
from segae.batch_scores import score_batch
from segae.containers import pick
from segae.device import ArrayT
from segae.errors import ParameterError, SegaeError
from segae.judge import Judge
from segae.judging import check_places
from segae.mask_files import masks_of, names_in
from segae.named_values import named_values
from segae.reference import resolve
from segae.reference.builtin import BuiltInReference
from segae.reference.given import check_not_the_mask
from segae.reference.resolve import ReferenceRequest
from segae.threads import thread_count
from segae.together import MasksOfImage, labels_of_image, weighed
from segae.volume import Geometry, Volume, load, load_pair


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
        self._judge = Judge(model, device, thread_count(threads))

    @property
    def device(self) -> str:
        """Where the network really runs: "cpu" or "cuda:N"."""
        return self._judge.session.device

    @property
    def model(self) -> str:
        """Path of the model file."""
        return str(self._judge.session.path)

    @property
    def expects_masks(self) -> bool:
        """Whether the model can show the mask that it expects (``error_map=True``)."""
        return self._judge.expects_masks

    def __repr__(self) -> str:
        return f"Engine(model={self.model!r}, device={self.device!r}, threads={self._judge.threads})"

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
            CT in HU, three axes. Arrays on a GPU are judged where they lie, if it is the engine's.
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
        mask, label = pick(mask, what.name, label)
        ct, volume = load_pair(image, mask, Geometry(affine, spacing, axes))
        check_places([(ct, volume)], self.device)
        task = self._judge.task(ct, volume, what, label)
        if task is None:
            return float("nan")
        warn_of([("image", ct)], [volume])
        return self._judge.dices([task])[0]

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
        reference: object | None = None,
        reference_label: int | None = None,
        reference_reliability: float | None = None,
        resample_reference: bool = False,
    ) -> Assessment:
        """Predict the quality of a mask, slice by slice, and check its geometry.

        Parameters are those of `score`, and:

        Parameters
        ----------
        error_map : bool
            Add to every slice the mask that the model expects.
        reference : None, mask or labelmap, "auto" or "built-in"
            Masks of another origin, on the image's grid, to weigh beside the judge: see ``docs/second_opinion.md``.
            "built-in" is the network in the package, "auto" the same where it can help.
        reference_label : int, optional
            The structure's value in a reference that is a labelmap.
        reference_reliability : float, optional
            Dice that the reference reaches for the structure as a rule; default 0.85.
        resample_reference : bool
            Bring a reference on another grid onto the image's, nearest neighbour, instead of raising.

        Raises
        ------
        VolumeError, GridMismatchError, UnknownStructureError
        ParameterError
            For `error_map` with a model that expects no mask, or one file as mask and reference.
        """
        what = structures.get(structure)
        self._judge.check_error_map(error_map)
        check_not_the_mask(mask, reference)
        mask, label = pick(mask, what.name, label)
        ct, volume = load_pair(image, mask, Geometry(affine, spacing, axes))
        check_places([(ct, volume)], self.device)
        task = self._judge.task(ct, volume, what, label)
        if task is None:
            return empty(what, 1 if label is None else label)
        probes = Probes()
        request = ReferenceRequest(reference, reference_reliability, resample_reference)
        opinion = self._judge.built_in(request, ct, probes.of(ct))
        if request.given:
            opinion = resolve.of_structure(request, ct, what.name, reference_label, self._judge.threads)
        return weighed(opinion, [task], self._judge.assess([task], error_map, probes))[0]

    def assess_labels(
        self,
        image: object,
        labelmap: object,
        structures: Mapping[int, str] | str | None = None,  # hides the module on purpose: the name is the public one
        *,
        affine: npt.ArrayLike | None = None,
        spacing: Sequence[float] | None = None,
        axes: str = "zyx",
        error_map: bool = False,
        reference: object | None = "auto",
        reference_names: Mapping[int, str] | str | None = None,
        reference_reliability: float | Mapping[str, float] | None = None,
        resample_reference: bool = False,
    ) -> Assessments:
        """Assess every structure of a labelmap, each by itself and against the others (`segae.anatomy`).

        Parameters
        ----------
        image, affine, spacing, axes, error_map
            As in `assess`.
        labelmap : path, os.PathLike, nibabel image, numpy array or object with ``__dlpack__``
            One integer a structure, 0 for none. Or the path of a folder of masks named after structures, of a DICOM SEG
            or of an RTSTRUCT.
        structures : dict or str, optional
            Value -> name, or one of `segae.structures.schemes`, such as "totalsegmentator_v2". Default: the names that
            the file, the segments or the files of a folder have; those that are not known are left out, and logged.
        reference : "auto", "built-in", None, labelmap or dict of masks
            As in `assess`; also {structure: mask}. By default the built-in one, where it can help.
        reference_names : dict or str, optional
            What the values of a reference mean; default: `structures`.
        reference_reliability : float or dict, optional
            As in `assess`, for all structures or by name.
        resample_reference : bool
            As in `assess`.

        Returns
        -------
        Assessments
            Canonical name -> Assessment, for the names whose value occurs. Values without a name are in `.unnamed`.

        Raises
        ------
        VolumeError, GridMismatchError, UnknownStructureError, ParameterError
        """
        masks = masks_of(labelmap, structures)
        if masks is not None:
            entries = self.assess_masks(
                image, masks, affine=affine, spacing=spacing, axes=axes, error_map=error_map, reference=reference,
                reference_names=reference_names, reference_reliability=reference_reliability,
                resample_reference=resample_reference,
            )  # fmt: skip
            return Assessments.of(entry for entry in entries if isinstance(entry, Assessment))
        named = named_values(names_in(labelmap) if structures is None else structures)
        self._judge.check_error_map(error_map)
        check_not_the_mask(labelmap, reference)
        ct, volume = load_pair(image, labelmap, Geometry(affine, spacing, axes), mask_argument="labelmap")
        check_places([(ct, volume)], self.device)
        request = ReferenceRequest(reference, reference_reliability, resample_reference, masks_together=True)
        theirs = named if reference_names is None else named_values(reference_names)
        return labels_of_image(self._judge, ct, volume, named, request, theirs, error_map)

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
        reference: object | None = "auto",
        reference_names: Mapping[int, str] | str | None = None,
        reference_reliability: float | Mapping[str, float] | None = None,
        resample_reference: bool = False,
    ) -> list[Assessment | SegaeError]:
        """Assess many masks of one image, one file a structure: the image is read once, the network sees them together.

        Masks are compared with each other too (`segae.anatomy`); of several of one structure the first is.

        Parameters
        ----------
        image, affine, spacing, axes, error_map
            As in `assess`; a bare array needs affine or spacing of its own.
        masks : dict or iterable of (structure, mask)
            Each as in `assess`. An iterable is drawn from one by one, and a mask is not looked at any more once the
            next is drawn: memory stays that of one mask, and its array may be filled again.
        on_error : "raise" or "return"
            What becomes of a mask that cannot be assessed: its error is raised, or stands in the list in its place.
            Errors of the image and of the reference are always raised.
        reference, reference_names, reference_reliability, resample_reference
            As in `assess_labels`; a labelmap needs `reference_names`.

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
        self._judge.check_error_map(error_map)
        ct = load(image, "image", Geometry(affine, spacing, axes))
        # Bare masks lie on the image's grid; where it has none, they are told the same as the image.
        geometry = Geometry() if ct.affine is not None else Geometry(None, spacing, axes)
        request = ReferenceRequest(reference, reference_reliability, resample_reference, masks_together=True)
        together = MasksOfImage(self._judge, error_map)
        named = {} if reference_names is None else named_values(reference_names)
        together.opinion = self._judge.opinion(request, ct, together.probes, named)
        for name, mask in masks.items() if isinstance(masks, Mapping) else masks:
            try:
                together.add(name, *load_pair(ct, mask, geometry))
            except SegaeError as error:
                if on_error == "raise":
                    raise
                together.refuse(error)
        return together.conclude()

    @overload
    def score_batch(
        self,
        images: object,
        masks: npt.NDArray[Any] | Sequence[str | os.PathLike[str] | npt.NDArray[Any]],
        structures: str | Sequence[str] | Mapping[int, str],
        *,
        affine: Affines | None = ...,
        spacing: Spacing | None = ...,
        axes: str = ...,
        label: int | None = ...,
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def score_batch(  # type: ignore[overload-overlap]  # arrays are objects too: the first that fits counts
        self,
        images: object,
        masks: ArrayT | Sequence[ArrayT],
        structures: str | Sequence[str] | Mapping[int, str],
        *,
        affine: Affines | None = ...,
        spacing: Spacing | None = ...,
        axes: str = ...,
        label: int | None = ...,
    ) -> ArrayT: ...
    @overload
    def score_batch(
        self,
        images: object,
        masks: object,
        structures: str | Sequence[str] | Mapping[int, str],
        *,
        affine: Affines | None = ...,
        spacing: Spacing | None = ...,
        axes: str = ...,
        label: int | None = ...,
    ) -> npt.NDArray[np.float32]: ...
    def score_batch(
        self,
        images: object,
        masks: object,
        structures: str | Sequence[str] | Mapping[int, str],
        *,
        affine: Affines | None = None,
        spacing: Spacing | None = None,
        axes: str = "zyx",
        label: int | None = None,
    ) -> Any:
        """Predict the 3D Dice of many masks at once: for training loops. Slices of all masks share network calls.

        Parameters
        ----------
        images : array [b, z, y, x] or [b, 1, z, y, x], or list
            CT in HU, not normalised. A list may hold volumes of unequal shape, [1, z, y, x], and anything that `score`
            takes. A single volume (or a batch of 1) is the image of all masks.
        masks : array [b, z, y, x] or [b, 1, z, y, x], or list
            On the grids of their images; 0 and 1, or bool. Other values need `label`, or `structures` as a dict.
        structures : str, sequence of str, or dict
            The structure of all masks, or one a mask. A dict value -> name says that `masks` are labelmaps.
        affine : array [4, 4], or [b, 4, 4] one a mask; optional
            Says that bare arrays are [x, y, z] behind batch and channel, and maps their index to RAS mm. An ``affine``
            that an array carries itself (MONAI's MetaTensor) is used.
        spacing : three numbers, or three a mask; optional
            Voxel size in mm of bare arrays, in the order of their axes. They are then LPS.
        axes : "zyx" or "xyz"
            Order of the axes of bare arrays, behind those of batch and channel; they are LPS.
        label : int, optional
            Which value of integer masks to look at.

        Returns
        -------
        float32 [b], or [b, k] for k named values, in the order of the dict
            In [0, 1]; nan where a mask is empty or a labelmap lacks the value. A numpy array, or, when `masks` is or
            holds an array of another library (torch, cupy, jax), one of that library on the same device. Never part of
            a graph of gradients: inputs are detached.

        Raises
        ------
        VolumeError, GridMismatchError, ParameterError, UnknownStructureError, DeviceError
            That name the argument and the place in it.
        """
        return score_batch(self._judge, images, masks, structures, affine, spacing, axes, label)

    def built_in_reference(self, image: Volume, wanted: str = "auto") -> BuiltInReference | None:
        """What the network in the package makes of an image, for several calls to share as their `reference`.

        Parameters
        ----------
        image : Volume
            As `segae.volume.load` reads it, in host memory.
        wanted : "auto" or "built-in"
            As in `assess`; None comes back where "auto" finds that it cannot help.

        Raises
        ------
        ModelFileError, DeviceError
        """
        opinion = self._judge.built_in(ReferenceRequest(wanted), image, flags.probe_image(image))
        return None if opinion is None else cast("BuiltInReference", opinion.reference)
