"""Training: labelled scans in, a model file out. Needs ``pip install segae[train]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segae.train.adapting import Adapted, AdaptedMask, adapt

__all__ = ["Adapted", "AdaptedMask", "adapt"]


def __getattr__(name: str) -> Any:
    # The command line's options live in this package too, and must be there without torch.
    if name in __all__:
        from segae.train import adapting

        return getattr(adapting, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
