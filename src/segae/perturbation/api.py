"""`perturb` and `perturb_many`: arguments in, damaged masks out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt

from segae import _core
from segae.arguments import number, whole_number
from segae.device import ArrayT
from segae.errors import ParameterError, SegaeError
from segae.perturbation.damage import Outcome
from segae.perturbation.draw import with_dice, with_severity
from segae.perturbation.kind import Params
from segae.perturbation.kinds import KINDS
from segae.perturbation.mixture import draw_mixture, replay_steps
from segae.perturbation.opened import Opened, open_scene
from segae.perturbation.scene import Scene

RANDOM = "random"
NSD_TOLERANCE_MM = 2.0


@dataclass(frozen=True)
class Perturbed:
    """A damaged mask whose quality is known.

    Attributes
    ----------
    mask : uint8 array
        0 and 1, in the axes of the mask as given; of the mask's own library, as `perturb` returns it.
    kind : str
        What was asked for.
    params : dict
        What was done: JSON-able, and `segae.perturb(mask, params=...)` does it again.
    dice, precision, recall : float
        Of `mask` against the mask as given; nan where the denominator is 0.
    nsd : float
        Normalised surface distance at 2 mm.
    """

    mask: Any
    kind: str
    params: Params
    dice: float
    precision: float
    recall: float
    nsd: float


@overload
def perturb(
    mask: str | os.PathLike[str] | npt.NDArray[Any],
    kind: str = ...,
    *,
    severity: float | None = ...,
    target_dice: float | None = ...,
    seed: int | np.random.Generator = ...,
    params: Mapping[str, Any] | None = ...,
    image: object | None = ...,
    labelmap: object | None = ...,
    structure: str | None = ...,
    affine: npt.ArrayLike | None = ...,
    spacing: Sequence[float] | None = ...,
    axes: str = ...,
    label: int | None = ...,
    threads: int | None = ...,
    device: str = ...,
) -> npt.NDArray[np.uint8]: ...
@overload
def perturb(  # type: ignore[overload-overlap]  # arrays are objects too: the first that fits counts
    mask: ArrayT,
    kind: str = ...,
    *,
    severity: float | None = ...,
    target_dice: float | None = ...,
    seed: int | np.random.Generator = ...,
    params: Mapping[str, Any] | None = ...,
    image: object | None = ...,
    labelmap: object | None = ...,
    structure: str | None = ...,
    affine: npt.ArrayLike | None = ...,
    spacing: Sequence[float] | None = ...,
    axes: str = ...,
    label: int | None = ...,
    threads: int | None = ...,
    device: str = ...,
) -> ArrayT: ...
@overload
def perturb(
    mask: object,
    kind: str = ...,
    *,
    severity: float | None = ...,
    target_dice: float | None = ...,
    seed: int | np.random.Generator = ...,
    params: Mapping[str, Any] | None = ...,
    image: object | None = ...,
    labelmap: object | None = ...,
    structure: str | None = ...,
    affine: npt.ArrayLike | None = ...,
    spacing: Sequence[float] | None = ...,
    axes: str = ...,
    label: int | None = ...,
    threads: int | None = ...,
    device: str = ...,
) -> npt.NDArray[np.uint8]: ...
def perturb(
    mask: object,
    kind: str = RANDOM,
    *,
    severity: float | None = None,
    target_dice: float | None = None,
    seed: int | np.random.Generator = 0,
    params: Mapping[str, Any] | None = None,
    image: object | None = None,
    labelmap: object | None = None,
    structure: str | None = None,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    label: int | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> Any:
    """Damage a mask as people and networks do.

    Parameters
    ----------
    mask : path, os.PathLike, image or array, as in `segae.score`
        0 and 1, or bool. Other values need `label`.
    kind : str
        One of the kinds (docs/perturb.md), or "random": kind, combination and quality are drawn as
        `segae.perturbation.mixture` says.
    severity : float in [0, 1], optional
        0 leaves the mask as it is, 1 is the strongest that the kind documents.
    target_dice : float in (0, 1), optional
        Instead of `severity`: the Dice that the result shall have against `mask`, met within 0.01.
    seed : int or numpy Generator
        Same seed, same result, on any machine and any number of threads.
    params : dict, optional
        Parameters of an earlier result: replays it, byte for byte. Instead of all of the above.
    image : like `mask`, optional
        The CT in HU; needed by `leak`.
    labelmap : like `mask`, optional
        The neighbouring structures; needed by `swap`, `merge` and `split`. Values 0 to 4095.
    structure : str, optional
        Its name: `rater` then draws what experts make of that structure, where it was measured.
    affine, spacing, axes
        Geometry of bare arrays, as in `segae.score`.
    label : int, optional
        The structure's value in `mask`; without it only 0 and 1, or bool, are masks.
    threads : int, optional
        Default: all CPUs that the process may use.
    device : "auto", "cpu" or "cuda"
        "auto": where the mask lies. On CUDA, mask, image and labelmap are torch or cupy arrays on one device; the work
        goes to the current stream of the mask's library, and no volume is copied to the host.

    Returns
    -------
    uint8 array
        0 and 1, in the axes of the mask as given; a new array of the mask's own library on its device (torch, cupy,
        jax), numpy for all else.

    Raises
    ------
    ParameterError
        For an unknown kind, a target out of the kind's reach (says the range), a missing image or labelmap.
    UnknownStructureError
    VolumeError, GridMismatchError
    DeviceError
        When the arrays lie elsewhere than `device` says or apart, or segae was built without CUDA.
    """
    opened = open_scene(
        mask,
        image=image,
        labelmap=labelmap,
        structure=structure,
        affine=affine,
        spacing=spacing,
        axes=axes,
        label=label,
        threads=threads,
        device=device,
    )
    if params is not None:
        if severity is not None or target_dice is not None:
            raise ParameterError("params: they say all; leave severity and target_dice out.")
        return opened.whole(_replayed(opened.scene, params))
    outcome, _ = _draw(opened.scene, _checked(kind), severity, target_dice, _generator(seed))
    return opened.whole(outcome)


def perturb_many(
    mask: object,
    n: int,
    *,
    kinds: str | Sequence[str] = RANDOM,
    severity: float | None = None,
    target_dice: float | Sequence[float] | None = None,
    seed: int | np.random.Generator = 0,
    image: object | None = None,
    labelmap: object | None = None,
    structure: str | None = None,
    affine: npt.ArrayLike | None = None,
    spacing: Sequence[float] | None = None,
    axes: str = "zyx",
    label: int | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> list[Perturbed]:
    """Make variants of one mask, each with its true quality; what they share is computed once.

    Parameters
    ----------
    mask, severity, image, labelmap, structure, affine, spacing, axes, label, threads, device
        As in `perturb`.
    n : int
        How many.
    kinds : str or sequence of str
        "random", one kind, or several that take turns.
    target_dice : float or n floats, optional
        As in `perturb`; with "random" what comes nearest is taken where no kind meets it.
    seed : int or numpy Generator
        Variant i of a seed is the same whatever n is.

    Returns
    -------
    list of Perturbed
        Masks are allocated sparsely: pages that a structure does not touch take no memory on most systems.

    Raises
    ------
    ParameterError, UnknownStructureError, VolumeError, GridMismatchError, DeviceError
    """
    if whole_number(n, "n") < 0:
        raise ParameterError(f"n: expected a number of variants, got {n!r}.")
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if not names:
        raise ParameterError('kinds: expected at least one; "random" draws them.')
    for name in names:
        _checked(name)
    several = isinstance(target_dice, (Sequence, np.ndarray)) and not isinstance(target_dice, str)
    targets = list(cast("Sequence[float]", target_dice)) if several else [cast("float | None", target_dice)] * n
    if len(targets) != n:
        raise ParameterError(f"target_dice: expected one number or {n}, got {len(targets)}.")
    opened = open_scene(
        mask,
        image=image,
        labelmap=labelmap,
        structure=structure,
        affine=affine,
        spacing=spacing,
        axes=axes,
        label=label,
        threads=threads,
        device=device,
    )
    made = []
    for i, rng in enumerate(_generator(seed).spawn(n)):
        name = names[i % len(names)]
        outcome, params = _draw(opened.scene, name, severity, targets[i], rng)
        made.append(_perturbed(opened, outcome, name, params))
    return made


def perturb_again(mask: object, params: Mapping[str, Any], **volumes: Any) -> Perturbed:
    """Replay parameters as `perturb(mask, params=params, ...)` does, and measure the result."""
    opened = open_scene(mask, **volumes)
    return _perturbed(opened, _replayed(opened.scene, params), str(params.get("kind")), dict(params))


def _draw(
    scene: Scene, kind: str, severity: float | None, target_dice: float | None, rng: np.random.Generator
) -> tuple[Outcome, Params]:
    if severity is not None and target_dice is not None:
        raise ParameterError("severity, target_dice: give one of the two.")
    if severity is not None and not 0 <= number(severity, "severity") <= 1:
        raise ParameterError(f"severity: expected a number in [0, 1], got {severity!r}.")
    if target_dice is not None and not 0 < number(target_dice, "target_dice") < 1:
        raise ParameterError(f"target_dice: expected a number in (0, 1), got {target_dice!r}.")
    if scene.voxels == 0:
        raise ParameterError("mask: it is empty, so there is nothing to perturb. Was the right label= given?")
    if kind == RANDOM:
        return draw_mixture(scene, rng, target_dice=target_dice, severity=severity)
    if severity is not None:
        return with_severity(scene, KINDS[kind], severity, rng)
    if target_dice is not None:
        return with_dice(scene, KINDS[kind], target_dice, rng)
    raise ParameterError(f'severity, target_dice: {kind!r} needs one of the two; only "random" draws its own.')


def _replayed(scene: Scene, params: Mapping[str, Any]) -> Outcome:
    steps = _steps(params)
    try:
        return replay_steps(scene, steps)
    except SegaeError:
        raise
    except ValueError as error:  # the core's: a control grid too fine for this volume, say
        raise ParameterError(f"params: {error}") from error


def _steps(params: object) -> list[Params]:
    """The errors of given parameters, each with the name of its kind, in the order in which they are applied."""
    if not isinstance(params, Mapping):
        raise ParameterError(f"params: expected a dict as `Perturbed.params` is, got {params!r}.")
    steps = params.get("steps") if params.get("kind") == RANDOM else [params]
    if not isinstance(steps, (list, tuple)) or not steps or not all(isinstance(step, Mapping) for step in steps):
        raise ParameterError(f"params: 'steps' must be a list of at least one dict, got {steps!r}.")
    for step in steps:
        if not isinstance(step.get("kind"), str) or step["kind"] not in KINDS:
            raise ParameterError(f"params: 'kind': expected one of {', '.join(KINDS)}, got {step.get('kind')!r}.")
    return [dict(step) for step in steps]


def _generator(seed: object) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ParameterError(f"seed: expected a whole number >= 0 or a numpy Generator, got {seed!r}.") from error


def _checked(kind: object) -> str:
    if isinstance(kind, str) and (kind == RANDOM or kind in KINDS):
        return kind
    raise ParameterError(f"kind: expected one of {', '.join(KINDS)} or {RANDOM}, got {kind!r}.")


def _perturbed(opened: Opened, outcome: Outcome, kind: str, params: Params) -> Perturbed:
    both, result, truth = outcome.counts
    return Perturbed(
        mask=opened.whole(outcome),
        kind=kind,
        params=params,
        dice=outcome.dice,
        precision=both / result if result else float("nan"),
        recall=both / truth if truth else float("nan"),
        nsd=_nsd(opened.scene, outcome),
    )


def _nsd(scene: Scene, outcome: Outcome) -> float:
    """Within the box that holds both masks."""
    own, box = scene.box(), outcome.patch.box
    begin = np.minimum(own.origin, box.origin)
    end = np.maximum(np.add(own.origin, own.shape), np.add(box.origin, box.shape))
    union = scene.clip(begin, end)
    result = scene.cut(outcome.patch, union)
    mask = scene.mask_in(union)
    if isinstance(result, _core.DeviceArray) and isinstance(mask, _core.DeviceArray):
        counts = _core.box_surface_counts(union, result, mask, NSD_TOLERANCE_MM)
    else:
        counts = _core.surface_counts(
            np.asarray(result), np.asarray(mask), 1, 1, scene.spacing_mm, NSD_TOLERANCE_MM, None, scene.threads
        )[0]
    return float((counts[2] + counts[3]) / (counts[0] + counts[1])) if counts[0] + counts[1] else float("nan")
