"""What the CPU can do that decides how a network is run."""

from __future__ import annotations

import functools
import platform
import sys
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# As Linux names them: VNNI of Intel and AMD, dot products of ARM.
_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "asimddp"})


@functools.cache
def has_int8() -> bool:
    """Whether the CPU adds up products of 8-bit integers at once: exactly, and faster than it multiplies floats.

    False where nobody can tell. CPUs that have to widen first may saturate on the way, and are no faster.
    """
    if sys.platform == "darwin":
        return platform.machine() == "arm64"  # all of Apple's
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    told = (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features")))
    return not _DOT_PRODUCTS.isdisjoint(next(told, ()))
