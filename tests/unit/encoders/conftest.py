"""What the tests of torch modules share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def net() -> Any:
    from nets import Net

    return Net().eval()


@pytest.fixture
def images(rng: np.random.Generator) -> list[Any]:
    return [rng.integers(0, 256, (rng.integers(10, 40), rng.integers(10, 40), 3), dtype=np.uint8) for _ in range(6)]
