"""What a fingerprint of features covers: equal ones give equal vectors, and the other way round."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from nets import SMALL, Net, extractor, torch

from encoders import NoiseSpec, Preprocess
from engine.exceptions import InvalidArgumentError


def shifted(offset: float) -> Callable[[Any], Any]:
    def prepare(image: Any) -> Any:
        return SMALL(image) + offset

    return prepare


def test_fingerprints_follow_what_decides_the_vector(net: Any) -> None:
    def of(module: Any = net, layer: str = "norm", pool: str = "gap", **options: Any) -> str:
        return extractor(module, layer, pool, **options).fingerprint

    other = Net().eval()
    assert of() == of(other)
    with torch.no_grad():
        other.norm.running_mean[0] += 1
    strides = Net().eval()
    strides.conv.stride = (2, 2)
    noise = NoiseSpec(10)
    different = [
        of(),
        of(other),
        of(strides),
        of(layer="conv"),
        of(pool="grid:2"),
        of(preprocess=Preprocess(size=16, resize=20)),
        of(preprocess=shifted(0.0)),
        of(preprocess=shifted(1.0)),
        of(noise=noise),
        of(noise=NoiseSpec(11)),
        of(noise=NoiseSpec(10, seed=1)),
        of(noise=noise, n_noise=2),
        of(architecture="another forward"),
    ]
    assert len(set(different)) == len(different)
    assert of(preprocess=shifted(1.0)) == of(preprocess=shifted(1.0))
    assert of(batch_size=7) == of()
    assert of(n_noise=3) == of()


def compiled(code: str, **scope: Any) -> Any:
    """The function `prepare` that `code` defines, in a module of its own."""
    found = {"SMALL": SMALL, **scope}
    exec(code, found)
    return found["prepare"]


def with_default(scale: Any) -> Any:
    return lambda image, scale=scale: SMALL(image) + len(str(scale))


def with_keyword(scale: Any) -> Any:
    def prepare(image: Any, *, scale: Any = scale) -> Any:
        return SMALL(image) + len(str(scale))

    return prepare


def with_closure(scale: Any) -> Any:
    return lambda image: SMALL(image) + len(str(scale))


def with_global(scale: Any) -> Any:
    return compiled("def prepare(image): return SMALL(image) + len(str(scale))", scale=scale)


def with_helper(scale: Any) -> Any:
    helper = compiled("def prepare(image): return SMALL(image) + len(str(scale))", scale=scale)
    return compiled("def prepare(image): return [helper(image) for _ in range(2)][0]", helper=helper)


def with_partial(scale: Any) -> Any:
    return partial(with_keyword(0), scale=scale)


def with_attribute(scale: Any) -> Any:
    def prepare(image: Any) -> Any:
        return SMALL(image)

    prepare.scale = scale  # type: ignore[attr-defined]
    return prepare


def many(last: int) -> Any:
    """Numbers of which a repr shows the first and the last few only."""
    values = np.arange(5000)
    values[2500] = last
    return values


@pytest.mark.parametrize(
    "make", [with_default, with_keyword, with_closure, with_global, with_helper, with_partial, with_attribute]
)
@pytest.mark.parametrize(
    "scales",
    [
        (1, 2),
        (1, 1.0),
        (0.0, -0.0),
        (many(0), many(1)),
        ([many(0)], [many(1)]),
        (many(0), many(0).astype(np.int32)),
        (many(0), many(0).reshape(50, 100)),
        ((1, (2, 3)), ((1, 2), 3)),
    ],
    ids=["int", "type", "sign", "array", "list", "dtype", "shape", "nesting"],
)
def test_whatever_a_function_refers_to_is_covered(net: Any, make: Any, scales: tuple[Any, Any]) -> None:
    one, two = (extractor(net, "norm", preprocess=make(scale)).fingerprint for scale in scales)
    assert one != two
    assert one == extractor(net, "norm", preprocess=make(deepcopy(scales[0]))).fingerprint


def test_tensors_count_by_all_their_numbers(net: Any) -> None:
    def of(values: Any) -> str:
        return extractor(net, "norm", preprocess=lambda image: SMALL(image) + values[0]).fingerprint

    assert of(torch.from_numpy(many(0))) != of(torch.from_numpy(many(1)))
    assert of(torch.from_numpy(many(0))) == of(torch.from_numpy(many(0)))


def test_code_counts_and_not_the_line_it_stands_in(net: Any) -> None:
    def of(preprocess: Any) -> str:
        return extractor(net, "norm", preprocess=preprocess).fingerprint

    one, two = lambda image: SMALL(image) + 1, lambda image: SMALL(image) + 2
    inner = [compiled(f"def prepare(image): return (lambda: SMALL(image) + {n})()") for n in (1, 1, 2)]
    assert len({of(one), of(two), *map(of, inner)}) == 4
    moved = compiled("\n\n\ndef prepare(image): return (lambda: SMALL(image) + 1)()")
    assert of(moved) == of(inner[0]) == of(inner[1])


def test_functions_that_call_each_other_have_a_fingerprint(net: Any) -> None:
    code = """
def prepare(image, again=True):
    return other(image) + ADD if again else SMALL(image)
def other(image):
    return prepare(image, False)
"""

    def of(add: int) -> str:
        scope: dict[str, Any] = {"SMALL": SMALL, "ADD": add}
        exec(code, scope)
        return extractor(net, "norm", preprocess=scope["prepare"]).fingerprint

    assert of(1) == of(1) != of(2)


def test_fingerprints_are_the_same_in_the_next_process() -> None:
    code = """
import numpy as np, torch, encoders
from PIL import Image
from encoders import Preprocess
SMALL, WORDS, KIND = Preprocess(size=16, resize=16), {"b", "a", "c"}, Image.Resampling.BICUBIC
def prepare(image, dtype=torch.float32, stack=torch.stack, add=np.add):
    Image.fromarray(image).resize((8, 8), KIND)
    return stack([SMALL(image)])[0].to(dtype) + len(WORDS)
net = torch.nn.Sequential(torch.nn.Identity())
print(encoders.TorchFeatureExtractor(net, "0", preprocess=prepare).fingerprint)
"""
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        found.add(ran.stdout)
    assert len(found) == 1


class Scale:
    """Something whose repr says nothing."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, image: Any) -> Any:
        return SMALL(image) * self.scale

    def __repr__(self) -> str:
        return "Scale()"


OWN_SCALE, OBJECTS, LAYER = Scale(2), np.array([None]), torch.nn.ReLU()
own = ModuleType("own")
own.prepare = SMALL  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("preprocess", "reason"),
    [
        (Scale(2), r"it is Scale\(\)"),
        (Scale(2).__call__, "it is <bound method"),
        (lambda image, scale=OWN_SCALE: scale(image), r"a default of <lambda> is Scale\(\)"),
        (partial(lambda scale, image: scale(image), Scale(2)), r"it is Scale\(\)"),
        (lambda image: own.prepare(image), "the global 'own' of <lambda> is <module 'own'>"),
        (lambda image: SMALL(image) if image.size else Scale(1)(image), "the global 'Scale' of <lambda> is <class"),
        (
            compiled("prepare = lambda image: SMALL(image if 1 < 2 else later)"),
            "the global 'later' of <lambda> has no val",
        ),
        (lambda image, a=OBJECTS: SMALL(image), r"a default of <lambda> is array\(\[None\]"),
        (lambda image, a=LAYER: SMALL(image), r"a default of <lambda> is ReLU\(\)"),
        (compiled("def prepare(image):\n  if not image.size: import own\n  return SMALL(image)"), "it imports 'own'"),
    ],
)
def test_what_cannot_be_hashed_needs_a_name(net: Any, preprocess: Any, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"preprocess is .*but {reason}.*: pass preprocess_id="):
        extractor(net, "norm", preprocess=preprocess)
    named = [extractor(net, "norm", preprocess=preprocess, preprocess_id=name).fingerprint for name in ("a", "b", "a")]
    assert named[0] == named[2] != named[1]


def test_the_step_that_is_passed_counts(net: Any) -> None:
    noises = [NoiseSpec(1), NoiseSpec(1, pass_t=True), NoiseSpec(0), NoiseSpec(0, pass_t=True)]
    assert len({extractor(net, "head", "none", noise=noise).fingerprint for noise in noises}) == 4
