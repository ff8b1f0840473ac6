"""Does an image hold CT in HU? What its values alone can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Scanners and tools fill what was not measured with one value below all HU (-1024 is the least that is stored).
_PADDING_HU, _PADDING_SHARE = -1200.0, 0.002
_BELOW_SHARE = 0.02
# Every CT of a body shows fat (-100 HU) or air; an image whose first percentile lies above is none.
_LOW_HU = -20.0
# Normalised images span a few units, windowed ones less than 256.
_SPAN_HU = 300.0
# 12 bits end at 3071; metal, in 16 bits, is rare.
_HIGH_HU = 3500.0
# Compact bone and brighter: a tenth of a head at most.
_BRIGHT_HU, _BRIGHT_SHARE, _BRIGHT_WITHOUT_FAT_SHARE = 700.0, 0.3, 0.1
_FAT_HU, _FAT_SHARE = (-300.0, -20.0), 0.003
_SOFT_HU, _SOFT_SHARE = (-200.0, 300.0), 0.01
# The darkest thing in or around a body is air.
_AIR_HU, _DARK_HU, _DARK_SHARE, _AIR_SHARE = -900.0, -300.0, 0.1, 0.0005
# Windows are cut at -300 and above; a floor below is air that was scaled.
_FLOOR_HU, _FLOOR_SHARE = -400.0, 0.05


def why_no_ct(values: npt.NDArray[Any]) -> str:
    """Say what of an image's values cannot be CT in HU.

    Parameters
    ----------
    values : array of any shape
        A sample of the image, in what should be HU.

    Returns
    -------
    str
        One sentence; empty when the values may be CT.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return "The image holds no finite value."
    # What was not measured says nothing of what was.
    low_values, counts = np.unique(finite[finite < _PADDING_HU], return_counts=True)
    padding = low_values[counts >= _PADDING_SHARE * finite.size]
    measured = finite[~np.isin(finite, padding)] if padding.size else finite
    if measured.size == 0:
        return f"The image holds {padding[0]:.4g} and nothing else."
    seen = _impossible(measured)
    return f"{seen} Is it normalised, windowed, offset by 1024, inverted, or an MR or PET?" if seen else ""


def _impossible(hu: npt.NDArray[Any]) -> str:
    low, high = np.percentile(hu, [1, 99])
    if low > _LOW_HU or high - low < _SPAN_HU or high > _HIGH_HU:
        return (
            f"98 % of the image lies between {low:.4g} and {high:.4g}; CT in HU reaches from about -1000 (air) to 1000 "
            f"(bone)."
        )
    share = _share(hu, -np.inf, _PADDING_HU)
    if share > _BELOW_SHARE:
        return f"{100 * share:.0f} % of the image lie below {_PADDING_HU:g}; in HU, air has -1000."
    bright, fat = _share(hu, _BRIGHT_HU, np.inf), _share(hu, *_FAT_HU)
    if bright > _BRIGHT_SHARE or (bright > _BRIGHT_WITHOUT_FAT_SHARE and fat < _FAT_SHARE):
        return f"{100 * bright:.0f} % of the image lie above {_BRIGHT_HU:g}; in HU, only bone and metal do."
    if _share(hu, *_SOFT_HU) < _SOFT_SHARE:
        return f"Hardly any of the image lies between {_SOFT_HU[0]:g} and {_SOFT_HU[1]:g}, where soft tissue is in HU."
    if _share(hu, _AIR_HU, _DARK_HU) > _DARK_SHARE and _share(hu, -np.inf, _AIR_HU) < _AIR_SHARE:
        return f"The darkest parts of the image lie about {low:.4g}; in HU, air has -1000."
    least = hu.min()
    floor = _share(hu, -np.inf, float(least))
    if _AIR_HU < least < _FLOOR_HU and floor > _FLOOR_SHARE:
        return f"{100 * floor:.0f} % of the image have its least value, {least:.4g}; in HU, air has -1000."
    return ""


def _share(hu: npt.NDArray[Any], low: float, high: float) -> float:
    return float(np.count_nonzero((hu >= low) & (hu <= high))) / hu.size
