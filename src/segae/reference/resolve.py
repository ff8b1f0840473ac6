"""What a caller passed as `reference` -> the second opinion that it asks for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from segae.frame import Volume
from segae.reference import given
from segae.reference.builtin import BuiltInReference, knows_scan
from segae.reference.given import GivenReference
from segae.reference.network import built_in_network
from segae.reference.opinion import SecondOpinion

AUTO, BUILT_IN = "auto", "built-in"
# So many masks of a scan must show whether the built-in reference fits it, unless it was asked for by name.
AUTO_MASKS = 3


@dataclass(frozen=True)
class ReferenceRequest:
    """What a caller said of references.

    Attributes
    ----------
    reference : None, "auto", "built-in", or masks
        "auto" is the built-in one where it can help: with the judge in the package, for whose words the fusion was
        fitted, and a CT that shows enough of a body. "built-in" asks for it with any judge.
    reliability : float, mapping or None
    resample : bool
    masks_together : bool
        Whether masks of several structures are asked about at once; "auto" then waits for three that it can tell of.
    """

    reference: object
    reliability: float | Mapping[str, float] | None = None
    resample: bool = False
    masks_together: bool = False

    @property
    def given(self) -> bool:
        """Whether the caller brought masks."""
        own = self.reference is None or isinstance(self.reference, BuiltInReference)
        return not own and not _is_word(self.reference)


def built_in(
    request: ReferenceRequest, image: Volume, device: str, threads: int, *, packaged_judge: bool, is_ct: bool
) -> SecondOpinion | None:
    """The built-in reference where the request asks for it; None where it does not, or the scan is none for it.

    Raises
    ------
    ModelFileError, DeviceError
    """
    if request.reference is None or request.given:
        return None
    if isinstance(request.reference, BuiltInReference):
        return SecondOpinion(request.reference)
    if request.reference == AUTO and not (packaged_judge and is_ct and knows_scan(image)):
        return None
    least = AUTO_MASKS if request.reference == AUTO and request.masks_together else 1
    return SecondOpinion(BuiltInReference(image, built_in_network(device), threads), least)


def of_structure(
    request: ReferenceRequest, image: Volume, structure: str, label: int | None, threads: int
) -> SecondOpinion:
    """The given reference of one structure."""
    found = given.of_mask(
        image, request.reference, structure, label, request.reliability, resample=request.resample, threads=threads
    )
    return SecondOpinion(found)


def of_labelmap(
    request: ReferenceRequest, image: Volume, names: Mapping[int, str] | None, threads: int
) -> SecondOpinion:
    """The given reference of many structures: a labelmap whose values have names, or a mask a structure."""
    reference = request.reference
    if isinstance(reference, GivenReference):
        return SecondOpinion(reference)
    if isinstance(reference, Mapping):
        found = given.of_masks(image, reference, request.reliability, resample=request.resample, threads=threads)
    else:
        found = given.of_labelmap(
            image, reference, names or {}, request.reliability, resample=request.resample, threads=threads
        )
    return SecondOpinion(found)


def _is_word(reference: object) -> bool:
    return isinstance(reference, str) and reference in (AUTO, BUILT_IN) and not os.path.exists(reference)  # noqa: PTH110
