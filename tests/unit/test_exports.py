"""What `import engine` gives: sorted public names, true docstrings, nothing heavy, quickly."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys

import pytest

import engine
from bench.exact import HEAVY
from engine import exceptions

CONTRACT = {
    "Attributes",
    "Bitmap",
    "Collection",
    "CorruptIndexError",
    "EncoderMismatchError",
    "EngineError",
    "Index",
    "InvalidArgumentError",
    "LockedError",
    "NotBuiltError",
    "RangeResult",
    "SearchResult",
    "SearchStats",
    "StorageError",
    "UnsupportedError",
    "col",
    "topk",
    "udf",
}


def test_all_is_sorted_and_complete() -> None:
    assert list(engine.__all__) == sorted(set(engine.__all__))
    assert set(engine.__all__) >= CONTRACT
    for name in engine.__all__:
        assert getattr(engine, name) is not None


def test_dir_shows_all() -> None:
    assert set(dir(engine)) >= set(engine.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        engine.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_every_public_thing_has_a_docstring(name: str) -> None:
    thing = getattr(engine, name)
    assert inspect.getdoc(thing)
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, (property, classmethod))):
                assert inspect.getdoc(getattr(thing, member)), f"{name}.{member} has no docstring"


def test_the_error_tree() -> None:
    for name in exceptions.__all__:
        error = getattr(exceptions, name)
        assert getattr(engine, name) is error
        assert issubclass(error, engine.EngineError)
    bases = {
        engine.InvalidArgumentError: ValueError,
        engine.NotBuiltError: RuntimeError,
        engine.CorruptIndexError: ValueError,
        engine.StorageError: OSError,
        engine.LockedError: engine.StorageError,
        engine.EncoderMismatchError: engine.InvalidArgumentError,
        engine.UnsupportedError: NotImplementedError,
    }
    assert all(issubclass(error, base) for error, base in bases.items())


def test_import_is_light() -> None:
    """One fresh process: no heavy package, and under 0.3 s more than numpy needs on its own."""
    code = (
        "import time, sys, numpy; start = time.perf_counter(); import engine; engine.Index, engine.topk; "
        "print(time.perf_counter() - start); print(*sys.modules)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    seconds, modules = zip(*(ran.stdout.splitlines() for ran in runs), strict=True)
    assert "engine._core" in modules[0].split()
    assert not {name.partition(".")[0] for name in modules[0].split()} & {*HEAVY, "encoders"}
    assert min(map(float, seconds)) < 0.3


def test_the_examples_of_the_core_run() -> None:
    """doctest does not look into extension modules by itself."""
    tests = doctest.DocTestFinder(exclude_empty=True).find(engine.Bitmap, "Bitmap", module=False)
    assert sum(len(test.examples) for test in tests) > 0
    assert sum(doctest.DocTestRunner().run(test).failed for test in tests) == 0


def test_there_is_a_version() -> None:
    assert engine.__version__.count(".") >= 2
