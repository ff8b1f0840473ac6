"""Numbers as JSON knows them: it has no nan and no infinity, and null says as much to every reader."""

from __future__ import annotations

import math
from typing import Any


def json_value(value: Any) -> Any:
    """Copy nested dicts, lists and tuples with None in place of every float that is not finite; tuples become lists."""
    if isinstance(value, dict):
        return {key: json_value(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
