"""Noise as diffusion models see it."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from engine._validate import as_array, show
from engine.exceptions import InvalidArgumentError

from .base import as_flag, require

if TYPE_CHECKING:
    import torch

__all__ = ["NoiseSpec"]


@dataclass(frozen=True)
class NoiseSpec:
    """Noise of a diffusion model: ``x_t = sqrt(a_t) x + sqrt(1 - a_t) eps``, ``a_t`` the product of ``1 - beta``.

    Attributes
    ----------
    t : int
        How many steps of noise, 0 (the clean image) to ``len(betas)``: ``a_t`` is the product over ``betas[:t]``.
    betas : sequence of float
        The schedule. Default: 1,000 steps from 1e-4 to 0.02.
    seed : int
        Of the noise; every image gets the same, whatever batch it comes in.
    pass_t : bool
        Call ``module(x, step)``, as diffusion models want it, instead of ``module(x)``.

    Notes
    -----
    `t` counts as the papers do, so that 0 is the clean image. Code that keeps the products in an array, as
    guided-diffusion does, counts from 0: its step 90 has the noise of 91 betas and is ``NoiseSpec(91)`` here. What
    `pass_t` passes is that index, `step`.

    Examples
    --------
    >>> noise = NoiseSpec(91, pass_t=True)
    >>> noise.t, noise.step
    (91, 90)
    """

    t: int
    betas: tuple[float, ...] = field(default=tuple(np.linspace(1e-4, 0.02, 1000).tolist()), repr=False)
    seed: int = 0
    pass_t: bool = False

    def __post_init__(self) -> None:
        betas = as_array(self.betas, "betas")
        if betas.ndim != 1 or not ((betas >= 0) & (betas < 1)).all():
            raise InvalidArgumentError(f"betas is {show(self.betas)}, expected a sequence of numbers, 0 to below 1")
        checked = {
            "t": as_integer(self.t, "t", len(betas)),
            "betas": tuple(map(float, betas)),
            "seed": as_integer(self.seed, "seed", 2**32 - 1),
            "pass_t": as_flag(self.pass_t, "pass_t"),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def step(self) -> int:
        """Index of the noise level, from 0: what a diffusion model is told. The clean image gets the lowest, 0."""
        return max(self.t - 1, 0)

    def add(self, x: torch.Tensor, draw: int) -> torch.Tensor:
        """`x`, shape (n, channels, height, width), with the noise of one draw."""
        torch = require("torch", "noise")
        if self.t == 0:
            return x
        kept = float(np.prod(1 - np.array(self.betas[: self.t])))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + draw)
        noise = torch.randn(x.shape[1:], generator=generator, dtype=x.dtype).to(x.device)
        return kept**0.5 * x + (1 - kept) ** 0.5 * noise


def as_integer(value: object, name: str, most: int) -> int:
    """`value` as an int from 0 to `most`; bools and floats are refused."""
    try:
        number = -1 if isinstance(value, (bool, np.bool_)) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number <= most:
        raise InvalidArgumentError(f"{name} is {show(value)}, expected an integer from 0 to {most}")
    return number


def check_noise(noise: NoiseSpec | None) -> NoiseSpec | None:
    """`noise` if it is one, or None."""
    if noise is not None and not isinstance(noise, NoiseSpec):
        raise InvalidArgumentError(f"noise is {show(noise)}, expected a NoiseSpec or None")
    return noise
