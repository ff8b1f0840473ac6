"""Damage masks as people and networks do, with known quality.

>>> import segae
>>> segae.perturb(mask, "truncate", target_dice=0.7, spacing=(2.5, 0.8, 0.8), seed=1)  # doctest: +SKIP
"""

from __future__ import annotations

from segae.errors import UnreachableError
from segae.perturbation.api import Perturbed, perturb, perturb_many
from segae.perturbation.kind import Kind
from segae.perturbation.kinds import KINDS

__all__ = ["KINDS", "Kind", "Perturbed", "UnreachableError", "perturb", "perturb_many"]
