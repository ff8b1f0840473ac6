"""`Recipe`: how a model wants its slices cut and what it puts out. Read from the model file, written by training."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeVar

from segae.errors import ModelFileError

METADATA_KEY = "segae"
METADATA_VERSION = 1

# Files come from strangers: what is larger is no recipe for slices of a body.
_MOST_PX, _MOST_CHANNELS, _MOST = 2048, 64, 1e5

Spec = TypeVar("Spec", bound="MarginCrop | PaperCrop | WideField")


@dataclass(frozen=True)
class ChannelSpec:
    """One channel of the network's input.

    Attributes
    ----------
    source : "image" or "mask"
    offset_mm : float
        Distance from the slice along z, to the head positive; taken to the nearest slice, but never to the slice
        itself unless 0.
    window_hu : (float, float)
        HU range mapped to [0, 1] and clipped. Image only.
    gain, bias : float
        Applied after resampling: gain * value + bias.
    view : "crop", "axial" or "coronal"
        The crop of the slice itself, or the wider surroundings of its centre, in the slice or upright and facing the
        patient. Wide views have no offset.
    """

    source: Literal["image", "mask"]
    offset_mm: float = 0.0
    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    gain: float = 1.0
    bias: float = 0.0
    view: Literal["crop", "axial", "coronal"] = "crop"


@dataclass(frozen=True)
class MarginCrop:
    """A square in mm around the mask of the slice: its longer side, widened on either side.

    side = max(longer side * (1 + 2 * margin_fraction) + 2 * margin_mm, min_side_mm)
    """

    margin_mm: float = 10.0
    margin_fraction: float = 0.15
    min_side_mm: float = 48.0
    kind: Literal["margin"] = "margin"


@dataclass(frozen=True)
class WideField:
    """The square in mm that wide views show, around the centre of the crop: side = crop's side * factor, clipped."""

    factor: float = 2.5
    min_side_mm: float = 160.0
    max_side_mm: float = 400.0


@dataclass(frozen=True)
class PaperCrop:
    """The published crop: whole pixels, `margin_px` around the mask, squared once, cut at the image's edge."""

    margin_px: int = 20
    kind: Literal["paper"] = "paper"


@dataclass(frozen=True)
class Recipe:
    """How slices are chosen, cut and read.

    Attributes
    ----------
    size_px : (int, int)
        Height and width of the network's input.
    slices : int
        How many slices of the mask are looked at, at most.
    placement : "even" or "paper"
        "even": the middles of equal shares of the mask's non-empty slices; "paper": slice number int(n / 10 * i).
    beyond_mm : tuple of float
        Distances beyond the mask's two ends at which further slices are looked at for missed tissue.
    crop : MarginCrop or PaperCrop
    channels : tuple of ChannelSpec
    wide : WideField
        What the channels with a wide view show.
    """

    size_px: tuple[int, int]
    slices: int
    channels: tuple[ChannelSpec, ...]
    crop: MarginCrop | PaperCrop = field(default_factory=MarginCrop)
    placement: Literal["even", "paper"] = "even"
    beyond_mm: tuple[float, ...] = ()
    wide: WideField = field(default_factory=WideField)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, read back by `from_dict`."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Recipe:
        """Read what `to_dict` wrote; raises KeyError, TypeError or ValueError on anything else."""
        crop = dict(data["crop"])
        kinds: dict[str, type[MarginCrop] | type[PaperCrop]] = {"margin": MarginCrop, "paper": PaperCrop}
        if data["placement"] not in ("even", "paper"):
            raise ValueError(f"placement {data['placement']!r}")
        channels = tuple(_channel(channel) for channel in data["channels"])
        if not channels:
            raise ValueError("no channels")
        height, width = (int(extent) for extent in data["size_px"])
        slices = int(data["slices"])
        if min(height, width, slices) < 1 or max(height, width, slices) > _MOST_PX or len(channels) > _MOST_CHANNELS:
            raise ValueError(f"size_px {height} x {width}, slices {slices}, channels {len(channels)}")
        return Recipe(
            size_px=(height, width),
            slices=slices,
            channels=channels,
            crop=_numbers(kinds[crop["kind"]](**crop)),
            placement=data["placement"],
            beyond_mm=tuple(_finite(distance) for distance in data["beyond_mm"]),
            # Files of segae before 0.2 have no wide views.
            wide=_numbers(WideField(**data.get("wide", {}))),
        )


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number) or abs(number) > _MOST:
        raise ValueError(f"{value!r} is no length or factor")
    return number


def _numbers(spec: Spec) -> Spec:
    """The same, if all its lengths and factors are numbers of a size that a body has."""
    for name, value in vars(spec).items():
        if name != "kind" and _finite(value) < 0:
            raise ValueError(f"{name} {value!r}")
    return spec


def _channel(data: dict[str, Any]) -> ChannelSpec:
    low, high = (float(edge) for edge in data["window_hu"])
    spec = ChannelSpec(**{**data, "window_hu": (low, high)})
    for number in (low, high, spec.offset_mm, spec.gain, spec.bias):
        _finite(number)
    known = spec.source in ("image", "mask") and spec.view in ("crop", "axial", "coronal")
    if not known or not low < high or (spec.view != "crop" and spec.offset_mm != 0):
        raise ValueError(f"channel {data}")
    return spec


@dataclass(frozen=True)
class Calibration:
    """Monotone piecewise-linear map from the aggregated Dice to the calibrated one, both in [0, 1]."""

    raw: tuple[float, ...] = (0.0, 1.0)
    dice: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if not self.raw or len(self.raw) != len(self.dice) or list(self.raw) != sorted(self.raw):
            raise ValueError(f"calibration {self.raw} -> {self.dice}")


@dataclass(frozen=True)
class IntervalCurve:
    """How far the true Dice of nine in ten masks lies from the predicted one, at most: piecewise linear.

    Attributes
    ----------
    dice : tuple of float
        Predicted Dice of the knots, rising, in [0, 1].
    below, above : tuple of float
        Distances from there to the ends of the interval, at least 0.
    """

    dice: tuple[float, ...]
    below: tuple[float, ...]
    above: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.dice), len(self.below), len(self.above)}
        if not self.dice or len(lengths) != 1 or list(self.dice) != sorted(self.dice):
            raise ValueError(f"interval {self.dice}: {self.below} below, {self.above} above")


@dataclass(frozen=True)
class ModelCard:
    """All that a model file says of itself (``metadata_props["segae"]``).

    Attributes
    ----------
    name : str
    recipe : Recipe
    structures : tuple of str
        Names in the order of the graph's `structure` input.
    trained : frozenset of str
        Those of them that training saw.
    outputs : dict
        Role -> name of the graph's output. Either "dice" [n], or "precision" [n] and "recall" [n] with, optionally,
        "truth_fraction" [n] (share of the crop that the structure should cover) and "expected" [n, 1, h, w] (the mask
        that the model expects, as probabilities on the crop). "whole_precision" and "whole_recall" [n] are what a
        slice and its surroundings tell of the mask as a whole.
    calibration : dict
        Structure name, or "default" -> Calibration.
    synthetic : frozenset of str
        Those of `trained` that training saw in synthetic scans only.
    intervals : dict
        Group of structures (`Structure.group`), or "default" -> IntervalCurve.
    training : dict
        Provenance, free form.
    """

    name: str
    recipe: Recipe
    structures: tuple[str, ...]
    trained: frozenset[str]
    outputs: dict[str, str]
    calibration: dict[str, Calibration] = field(default_factory=dict)
    synthetic: frozenset[str] = frozenset()
    intervals: dict[str, IntervalCurve] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Text for the model file."""
        return json.dumps(
            {
                "version": METADATA_VERSION,
                "name": self.name,
                "recipe": self.recipe.to_dict(),
                "structures": list(self.structures),
                "trained": sorted(self.trained),
                "outputs": self.outputs,
                "calibration": {key: asdict(value) for key, value in self.calibration.items()},
                "synthetic": sorted(self.synthetic),
                "intervals": {key: asdict(value) for key, value in self.intervals.items()},
                "training": self.training,
            }
        )

    @staticmethod
    def from_json(text: str, path: str) -> ModelCard:
        """Read the text of a model file; `path` is named in errors.

        Raises
        ------
        ModelFileError
            When the text is not what this version of segae understands.
        """
        try:
            data = json.loads(text)
            version = data["version"]
            if version != METADATA_VERSION:
                raise ModelFileError(
                    f"model: {path} has metadata version {version}, this segae reads {METADATA_VERSION}. "
                    f"Upgrade segae, or export the model again."
                )
            outputs = {str(role): str(name) for role, name in data["outputs"].items()}
            if "dice" not in outputs and not {"precision", "recall"} <= outputs.keys():
                raise ValueError("outputs name neither dice nor precision and recall")
            return ModelCard(
                name=str(data["name"]),
                recipe=Recipe.from_dict(data["recipe"]),
                structures=tuple(data["structures"]),
                trained=frozenset(data["trained"]),
                outputs=outputs,
                calibration={
                    key: Calibration(tuple(value["raw"]), tuple(value["dice"]))
                    for key, value in data["calibration"].items()
                },
                # Older files tell neither.
                synthetic=frozenset(data.get("synthetic", ())),
                intervals={
                    key: IntervalCurve(tuple(value["dice"]), tuple(value["below"]), tuple(value["above"]))
                    for key, value in data.get("intervals", {}).items()
                },
                training=data["training"],
            )
        except ModelFileError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelFileError(
                f"model: the segae metadata of {path} is damaged ({type(error).__name__}: {error}). "
                f"Export the model again with `python -m segae.train export`."
            ) from error
