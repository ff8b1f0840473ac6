"""Arrays that hypothesis draws: any dtype, from one voxel up, in any axis order, direction and step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from layouts import DTYPES

Array = npt.NDArray[Any]

_LABELS = (0, 0, 1, 2, 3, 255, 65_535, 65_536, 2**31 - 1, 2**40, -1, -128, -70_000)


def _values(dtype: str) -> st.SearchStrategy[Any]:
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    if kind == "f":
        few = [float(label) for label in _LABELS if abs(label) < 2048]
        return st.sampled_from([*few, 0.25, -0.5, float("nan"), float("inf"), -float("inf"), -0.0])
    limits = np.iinfo(dtype)
    return st.sampled_from([label for label in _LABELS if limits.min <= label <= limits.max])


@st.composite
def labelmaps(draw: st.DrawFn, max_side: int = 7) -> Array:
    """A volume of few values, possibly empty of labels."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=2 * max_side))
    volume = draw(hnp.arrays(dtype, shape, elements=_values(dtype), fill=st.just(0)))
    steps = draw(st.tuples(*[st.sampled_from([1, -1, 2, -2])] * 3))
    view: Array = volume[tuple(slice(None, None, step) for step in steps)]
    return view.transpose(draw(st.permutations(range(3))))


@st.composite
def mask_pairs(draw: st.DrawFn, max_side: int = 6) -> tuple[Array, Array]:
    """Two masks of one shape, each possibly empty."""
    shape = draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=max_side))
    masks = hnp.arrays(np.bool_, shape, elements=st.booleans(), fill=st.booleans())
    return draw(masks), draw(masks)
