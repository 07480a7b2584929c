"""Public names of classification, discovery and evaluation: sorted, documented, and light to import."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

from engine import classify, discovery, evaluation


@pytest.mark.parametrize("module", [classify, discovery, evaluation], ids=lambda module: module.__name__)
def test_every_public_thing_has_a_docstring(module: Any) -> None:
    assert module.__doc__
    for name in module.__all__:
        thing = getattr(module, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        assert inspect.getdoc(thing), name
        for member, value in vars(thing).items() if inspect.isclass(thing) else ():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                assert inspect.getdoc(getattr(thing, member)), f"{name}.{member} has no docstring"


def test_the_heavy_packages_come_on_first_use() -> None:
    code = "import sys, engine.classify, engine.discovery, engine.evaluation; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sklearn", "scipy", "torch", "pandas", "PIL", "encoders"} & {name.partition(".")[0] for name in modules}
