"""Settings of every test: warnings are errors, random numbers repeat, slow tests run on demand."""

from __future__ import annotations

import os
import zlib

# Before numpy: tests that run at once take 15 % longer where BLAS and OpenMP start threads in each.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("reference")

# `ci` draws the same examples every time; HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", parent=settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ON_DEMAND = {
    "slow": "takes more than a few seconds",
    "stress": "runs until something breaks",
    "peers": "needs the libraries we compare with",
    "gpu": "needs a GPU",
    "network": "needs the network",
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")
    for name, meaning in ON_DEMAND.items():
        config.addinivalue_line("markers", f"{name}: {meaning}; run with -m {name}")
    if not config.option.markexpr:
        config.option.markexpr = " and ".join(f"not {name}" for name in ON_DEMAND)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the test's name alone; NEARFIELD_SEED gives others."""
    seed = int(os.environ.get("NEARFIELD_SEED") or zlib.crc32(request.node.nodeid.encode()))
    print(f"rng seed: {seed}")  # pytest shows it when the test fails
    return np.random.default_rng(seed)
