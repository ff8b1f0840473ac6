"""Which files of a dataset are scans, which are masks, and what each mask shows: one function a layout."""

from segae.datasets.detect import find_cases
from segae.datasets.found import Found

__all__ = ["Found", "find_cases"]
