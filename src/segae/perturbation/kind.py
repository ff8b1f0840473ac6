"""What a kind of error is: its name, what it imitates, its parameters, how they are drawn and applied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from segae.errors import ParameterError
from segae.perturbation.damage import Damage
from segae.perturbation.parameters import Parameter, check_params
from segae.perturbation.scene import Scene, Triple

Params = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of error.

    Attributes
    ----------
    name : str
        As in `segae.perturb(mask, kind)`.
    imitates : str
        Who makes this error.
    parameters : Mapping
        Name -> what it means and may be, of every parameter, the strength among them. Names carry the unit.
    strength : str
        The parameter that severity and target Dice set; 0 is the identity.
    draw : (scene, rng) -> (parameters without the strength, the strength of severity 1)
    build : (scene, parameters, most) -> Damage
        Prepares strengths up to `most`; what is prepared costs more the larger that is.
    needs : "image", "labelmap" or None
    enough : (scene, parameters, target Dice) -> strength, optional
        Hardly ever is a larger strength needed for that Dice. For kinds that cost more the stronger they are prepared;
        infinity where the cost is the same.
    finer : (scene, parameters, rng) -> parameters, optional
        For targets that fall between two steps of the Dice: nearly the same error without the steps.
    consistent : (parameters) -> str or None, optional
        What is wrong with parameters that are each what they may be, but do not go together.
    """

    name: str
    imitates: str
    parameters: Mapping[str, Parameter]
    strength: str
    draw: Callable[[Scene, np.random.Generator], tuple[Params, float]]
    build: Callable[[Scene, Params, float], Damage]
    needs: Literal["image", "labelmap"] | None = None
    enough: Callable[[Scene, Params, float], float] | None = None
    finer: Callable[[Scene, Params, np.random.Generator], Params] | None = None
    consistent: Callable[[Params], str | None] | None = None

    def check(self, params: Mapping[str, Any]) -> None:
        """Check given parameters.

        Raises
        ------
        ParameterError
            For one that is missing, unknown or outside what it may be, and for some that do not go together.
        """
        check_params(self.name, self.parameters, params)
        fault = self.consistent(dict(params)) if self.consistent else None
        if fault:
            raise ParameterError(f"params: {self.name!r}: {fault}")


def short(number: float) -> float:
    """Nine digits: a last bit that differs between two machines' math libraries never reaches the parameters."""
    return float(f"{number:.9g}")


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in [low, high)."""
    return short(low + (high - low) * rng.random())


def direction(rng: np.random.Generator) -> Triple:
    """Uniform on the sphere, by rejection: needs no function that machines round differently."""
    while True:
        z, y, x = (2.0 * rng.random() - 1.0 for _ in range(3))
        length = np.sqrt(z * z + y * y + x * x)
        if 0.1 < length <= 1.0:
            return short(z / length), short(y / length), short(x / length)


def noise_seed(rng: np.random.Generator) -> int:
    """A seed for a field of csrc/perturb/noise.h; exact in JSON."""
    return int(rng.integers(1 << 53))
