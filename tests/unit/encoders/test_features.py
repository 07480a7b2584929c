"""Features of torch modules: a net built by hand, and EfficientNet-lite0 with its real weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import encoders
from encoders import NoiseSpec, Preprocess, TorchFeatureExtractor, scan_layers
from engine.exceptions import InvalidArgumentError

torch = pytest.importorskip("torch")
SMALL = Preprocess(size=16, resize=16)
DEEP = "features:efficientnet-lite0"


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Two convolutions, tokens, a class token and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.relu = torch.nn.ReLU(inplace=True)
        self.drop = torch.nn.Dropout(0.5)
        self.norm = torch.nn.BatchNorm2d(4)
        self.tokens = torch.nn.Flatten(2)
        self.attention = torch.nn.MultiheadAttention(4, 1, batch_first=True)
        self.head = torch.nn.Linear(4, 2)
        self.unused = torch.nn.Linear(4, 2)

    def forward(self, x: Any, t: Any = None) -> Any:
        maps = self.norm(self.drop(self.relu(self.conv(x))))
        tokens = self.tokens(maps).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens)
        moved = 0 if t is None else t[:, None].float()
        return self.head(mixed.mean(1) + moved)


@pytest.fixture
def net() -> Any:
    return Net().eval()


@pytest.fixture
def images(rng: np.random.Generator) -> list[Any]:
    return [rng.integers(0, 256, (rng.integers(10, 40), rng.integers(10, 40), 3), dtype=np.uint8) for _ in range(6)]


def prepared(images: list[Any]) -> Any:
    return torch.stack([SMALL(image) for image in images])


def extractor(net: Any, layer: str, pool: str = "gap", **options: Any) -> TorchFeatureExtractor:
    return TorchFeatureExtractor(net, layer, pool, **{"preprocess": SMALL, **options})


# ---- preprocessing


def test_preprocessing_is_resize_then_centre_crop(rng: np.random.Generator) -> None:
    from PIL import Image

    smooth = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize((90, 60), Image.Resampling.BICUBIC)
    found = Preprocess(size=28, resize=30, mean=(0, 0, 0), std=(1, 1, 1))(np.asarray(smooth))
    expected = smooth.resize((45, 30), Image.Resampling.BICUBIC).crop((8, 1, 36, 29))
    assert found.shape == (3, 28, 28)
    error = abs(found.numpy().transpose(1, 2, 0) - np.asarray(expected, np.float32))
    assert np.median(error) < 8  # the middle lies between two pixels here


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 1000), (333, 334)])
def test_preprocessing_takes_any_shape(shape: tuple[int, int]) -> None:
    pixels = Preprocess(size=24, resize=24, mean=(0, 0, 0), std=(1, 2, 1))(np.full((*shape, 3), 100, np.uint8))
    assert pixels.shape == (3, 24, 24)
    assert pixels.unique().tolist() == [50, 100]


def test_preprocessing_options_are_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="resize is 10, expected at least size, 20"):
        Preprocess(size=20, resize=10)


# ---- layers and pools


def test_pools_equal_direct_computation(net: Any, images: list[Any]) -> None:
    with torch.no_grad():
        maps = net.norm(net.relu(net.conv(prepared(images))))
        tokens = maps.flatten(2).transpose(1, 2)
        mixed = net.attention(tokens, tokens, tokens)[0]
        head = net.head(mixed.mean(1))
    quarters = maps.reshape(6, 4, 2, 7, 2, 7).mean((3, 5)).flatten(1)
    for layer, pool, expected in [
        ("norm", "gap", maps.mean((2, 3))),
        ("norm", "grid:1", maps.mean((2, 3))),
        ("norm", "grid:2", quarters),
        ("norm", "grid:14", maps.flatten(1)),
        ("tokens", "cls", maps.flatten(2)[:, 0]),
        ("tokens", "mean_tokens", maps.flatten(2).mean(1)),
        ("head", "none", head),
        ("", "none", head),
    ]:
        found = extractor(net, layer, pool)
        assert found.dim == expected.shape[1]
        np.testing.assert_allclose(found.encode_images(images), expected, atol=1e-6, err_msg=f"{layer} {pool}")


def test_a_layer_that_the_next_one_overwrites_is_read_in_time(net: Any, images: list[Any]) -> None:
    with torch.no_grad():
        expected = net.conv(prepared(images)).mean((2, 3))
    np.testing.assert_allclose(extractor(net, "conv").encode_images(images), expected, atol=1e-6)


def test_vectors_do_not_depend_on_the_batch(net: Any, images: list[Any]) -> None:
    reference = extractor(net, "norm").encode_images(images)
    for batch_size in (1, 4, 100):
        found = extractor(net, "norm", batch_size=batch_size).encode_images(images)
        np.testing.assert_allclose(found, reference, atol=1e-5)
    assert reference.dtype == np.float32
    assert extractor(net, "norm").encode_images([]).shape == (0, 4)


def test_the_module_is_left_as_it_was(net: Any, images: list[Any]) -> None:
    net.train()
    net.norm.eval()
    encoder = extractor(net, "drop")
    first, second = encoder.encode_images(images), encoder.encode_images(images)
    assert (first == second).all(), "dropout was active"
    assert net.training
    assert net.drop.training
    assert not net.norm.training
    assert int(net.norm.num_batches_tracked) == 0
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(RuntimeError):
        encoder.module(torch.zeros(1, 7, 16, 16))
    encoder.preprocess = lambda image: torch.zeros(7, 16, 16)
    with pytest.raises(RuntimeError):
        encoder.encode_images(images)
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())


def test_threads_may_share_an_extractor(net: Any, images: list[Any]) -> None:
    encoder = extractor(net, "norm")
    alone = [encoder.encode_images([image]) for image in images]
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        for _ in range(10):
            found[number] = encoder.encode_images([images[number]])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((found[number] == alone[number]).all() for number in range(len(images)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "convv"}, r"layer is 'convv', expected .*'conv'"),
        ({"layer": None}, "layer is None"),
        ({"layer": "unused"}, "gave nothing: the forward pass does not call it"),
        ({"layer": "attention", "pool": "mean_tokens"}, "gave a tuple"),
        ({"layer": "head"}, r"'gap' can pool, but it gave shape \(1, 2\)"),
        ({"pool": "max"}, "pool is 'max', expected 'gap'"),
        ({"pool": "grid:0"}, "pool is 'grid:0'"),
        ({"pool": "grid:k"}, "pool is 'grid:k'"),
        ({"pool": None}, "pool is None"),
        ({"noise": 5}, "noise is 5, expected a NoiseSpec"),
        ({"n_noise": 0}, "n_noise is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"preprocess": lambda image: torch.zeros(3)}, "preprocess gave shapes"),
        ({"preprocess": lambda image: None}, "preprocess gave shapes"),
    ],
)
def test_bad_arguments(net: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        extractor(net, **{"layer": "norm", **options})


# ---- fingerprints


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


def test_a_preprocess_that_cannot_be_told_apart_is_refused(net: Any) -> None:
    scope: dict[str, Any] = {"SMALL": SMALL}
    exec("prepare = lambda image: SMALL(image)", scope)  # has no source
    with pytest.raises(InvalidArgumentError, match="preprocess is <function"):
        extractor(net, "norm", preprocess=scope["prepare"])


# ---- noise


def test_noise_is_the_formula_and_the_same_for_every_image(net: Any, images: list[Any]) -> None:
    noise = NoiseSpec(90, seed=3)
    kept = np.prod(1 - np.linspace(1e-4, 0.02, 1000)[:90])
    x = prepared(images)
    rest = (noise.add(x, 0) - kept**0.5 * x) / (1 - kept) ** 0.5
    assert abs(rest - rest[0]).max() < 1e-5
    assert abs(float(rest[0].mean())) < 0.1
    assert float(rest[0].std()) == pytest.approx(1, abs=0.1)
    assert (noise.add(x, 0) != noise.add(x, 1)).any()
    reference = extractor(net, "norm", noise=noise).encode_images(images)
    assert (extractor(net, "norm", noise=noise).encode_images(images) == reference).all()
    single = extractor(net, "norm", noise=noise, batch_size=1).encode_images(images)
    np.testing.assert_allclose(single, reference, atol=1e-5)


def test_draws_are_averaged(net: Any, images: list[Any]) -> None:
    noise = NoiseSpec(200)
    found = extractor(net, "norm", noise=noise, n_noise=3).encode_images(images)
    with torch.no_grad():
        draws = [net.norm(net.relu(net.conv(noise.add(prepared(images), draw)))).mean((2, 3)) for draw in range(3)]
    np.testing.assert_allclose(found, torch.stack(draws).mean(0), atol=1e-5)


def test_without_a_step_the_image_is_clean(net: Any, images: list[Any]) -> None:
    clean = extractor(net, "norm").encode_images(images)
    assert (extractor(net, "norm", noise=NoiseSpec(0), n_noise=5).encode_images(images) == clean).all()


def test_the_step_is_passed_on_where_asked(net: Any, images: list[Any]) -> None:
    with torch.no_grad():
        expected = net(NoiseSpec(7).add(prepared(images), 0), torch.full((6,), 7))
    found = extractor(net, "head", "none", noise=NoiseSpec(7, pass_t=True)).encode_images(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("t", [-1, 1001, 1.5, None, True])
def test_a_step_outside_the_schedule_is_refused(t: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"t is .*expected an integer from 0 to 1000"):
        NoiseSpec(t)


def test_a_schedule_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="betas"):
        NoiseSpec(1, betas=(1.5,))


# ---- which layer is best


class Colors(torch.nn.Module):  # type: ignore[misc, name-defined]
    """`keep` keeps the colours, `lose` leaves nothing to tell classes apart."""

    def __init__(self) -> None:
        super().__init__()
        self.keep, self.lose = torch.nn.Identity(), torch.nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.lose(self.keep(x) * 0 + 1)


def test_scanning_finds_the_layer_that_classifies(rng: np.random.Generator) -> None:
    labels = np.array(["red", "green"] * 8)
    images = [np.zeros((16, 16, 3), np.uint8) for _ in labels]
    for image, label in zip(images, labels, strict=True):
        image[:, :, ("red", "green").index(label)] = rng.integers(150, 256)
    scores = scan_layers(
        Colors(), images, labels, preprocess=SMALL, layers=["lose", "keep"], pools=["gap", "grid:2", "cls"],
        noises=[None, NoiseSpec(1000)], batch_size=5,
    )  # fmt: skip
    assert [(score.layer, score.t, score.pool, score.dim) for score in scores[:2]] == [
        ("keep", 0, "gap", 3),
        ("keep", 0, "grid:2", 12),
    ]
    assert scores[0].accuracy == 1.0
    assert len(scores) == 8  # cls takes tokens, and these layers give maps
    assert max(score.accuracy for score in scores if score.layer == "lose") < 0.6


def test_scanning_all_layers_leaves_out_what_gives_no_vectors(net: Any, images: list[Any]) -> None:
    scores = scan_layers(net, images, [0, 1] * 3, preprocess=SMALL, pools=["gap", "none", "mean_tokens"])
    found = {score.layer for score in scores}
    assert {"", "conv", "relu", "drop", "norm", "tokens", "head"} == found


def test_bad_arguments_of_a_scan(net: Any, images: list[Any]) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"labels": [1]}, "labels has shape"),
        ({"layers": ["nothing"]}, "layer is 'nothing'"),
        ({"pools": ["max"]}, "pool is 'max'"),
        ({"layers": ["head"]}, "pools is"),
        ({"n_neighbors": 0}, "n_neighbors is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
    ]
    for changed, message in cases:
        options: dict[str, Any] = {"labels": [0, 1] * 3, "preprocess": SMALL, **changed}
        with pytest.raises(InvalidArgumentError, match=message):
            scan_layers(net, images, options.pop("labels"), **options)


# ---- the real network


@pytest.fixture(scope="module")
def photographs() -> list[Any]:
    datasets = pytest.importorskip("sklearn.datasets")
    return [datasets.load_sample_image(name) for name in ("china.jpg", "flower.jpg")]


@pytest.fixture(scope="module")
def efficientnet() -> Any:
    return encoders.get(DEEP)


def test_efficientnet_sees_a_palace_and_a_daisy(photographs: list[Any]) -> None:
    logits: Any = encoders.get(DEEP, layer="_fc", pool="none").encode_images(photographs)
    palace, daisy = 698, 985  # ImageNet's numbers
    assert logits.argmax(axis=1).tolist() == [palace, daisy]


def test_efficientnet_recognises_a_photograph_however_it_is_cut(efficientnet: Any, photographs: list[Any]) -> None:
    assert efficientnet.dim == 1280
    changed = [image[30:, 30:-30][:, ::-1] for image in photographs]
    one, two = efficientnet.encode_images(photographs), efficientnet.encode_images(changed)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, two)]
    cosines = unit[0] @ unit[1].T
    assert cosines.diagonal().min() > 0.7 > 0.4 > cosines[0, 1]


def test_efficientnet_does_not_depend_on_the_batch(efficientnet: Any, photographs: list[Any]) -> None:
    single = np.concatenate([efficientnet.encode_images([image]) for image in photographs])
    np.testing.assert_allclose(efficientnet.encode_images(photographs), single, atol=1e-5)


def test_efficientnet_has_one_fingerprint(efficientnet: Any) -> None:
    assert encoders.get(DEEP, batch_size=2).fingerprint == efficientnet.fingerprint
    assert efficientnet.fingerprint == "features:523ea019de99e4cd77ad3c521ba46a0c"
