"""CLIP: a small architecture with random weights in local files, beside open_clip called directly."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import TINY, open_clip, torch, write_clip
from PIL import Image

import encoders
import engine
from encoders import devices
from engine import cli
from engine.exceptions import InvalidArgumentError, UnsupportedError

TAG = {"quick_gelu": True, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "hf_hub": "nobody/nothing/"}
TEXTS = ["a photo of a cat", "", "dog", "the quick brown fox jumps over the lazy dog " * 9, "Übung 猫", "a  dog\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two architectures that open_clip knows from now on, and weights of each."""
    folder: Path = tmp_path_factory.mktemp("clip")
    write_clip(folder, "tiny-clip")
    write_clip(folder, "tiny-custom", custom_text=True)
    return folder


@pytest.fixture
def tag(monkeypatch: pytest.MonkeyPatch) -> str:
    """Pretrained weights of `tiny-clip` that only a hub has."""
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", {"mine": TAG})
    return "mine"


@cache
def clip(folder: Path, name: str = "tiny-clip", **options: Any) -> Any:
    return encoders.get(f"clip:{name}", weights=folder / f"{name.partition('/')[0]}.pt", **options)


@cache
def direct(folder: Path, name: str = "tiny-clip", **options: Any) -> tuple[Any, Any, Any]:
    """Model, transform and tokenizer as open_clip's README has them."""
    model, _, transform = open_clip.create_model_and_transforms(name, str(folder / f"{name}.pt"), **options)
    return model.eval(), transform, open_clip.get_tokenizer(name)


def images_by(model: Any, transform: Any, images: list[Any], *, normalize: bool = True) -> Any:
    with torch.no_grad():
        return model.encode_image(
            torch.stack([transform(Image.fromarray(image)) for image in images]), normalize=normalize
        ).numpy()


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-custom"])
@pytest.mark.parametrize("normalize", [True, False])
def test_both_towers_are_those_of_open_clip(folder: Path, images: list[Any], name: str, normalize: bool) -> None:
    model, transform, tokenizer = direct(folder, name)
    encoder = clip(folder, name, normalize=normalize, batch_size=4, workers=2)
    expected = images_by(model, transform, images, normalize=normalize)
    np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-5)
    with torch.no_grad():
        expected = model.encode_text(tokenizer(TEXTS), normalize=normalize).numpy()
    np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS))
    assert encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))
    assert (encoder.dim, encoder.logit_bias) == (24, 0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            {"mean": (0.5, 0.4, 0.3), "resize_mode": "longest"},
            {"image_mean": (0.5, 0.4, 0.3), "image_resize_mode": "longest"},
        ),
        (
            {"std": (0.5, 0.4, 0.3), "resize_mode": "squash"},
            {"image_std": (0.5, 0.4, 0.3), "image_resize_mode": "squash"},
        ),
        ({"interpolation": "bilinear"}, {"image_interpolation": "bilinear"}),
    ],
)
def test_every_option_of_preprocessing(folder: Path, images: list[Any], ours: Any, theirs: Any) -> None:
    expected = images_by(*direct(folder, **theirs)[:2], images)
    encoder = clip(folder, **ours)
    np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-5)
    plain = clip(folder)
    assert abs(plain.encode_images(images) - expected).max() > 1e-5
    assert encoder.fingerprint != plain.fingerprint


def test_another_size(folder: Path, images: list[Any]) -> None:
    expected = images_by(*direct(folder, force_image_size=48)[:2], images)
    np.testing.assert_allclose(clip(folder, image_size=48).encode_images(images), expected, atol=1e-5)


def test_fewer_tokens(folder: Path) -> None:
    short = clip(folder, context_length=8)
    long = "one two three four five six seven eight nine ten"
    np.testing.assert_allclose(short.encode_queries([long]), short.encode_queries([long + " eleven"]), atol=1e-6)
    assert short.fingerprint != clip(folder).fingerprint


@pytest.mark.parametrize("name", ["tiny-clip", "tiny-custom"])
def test_padding_is_not_computed(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short texts take a few of the 16 places, alone or beside each other; those that threads encode at once, too."""
    encoder, seen = clip(folder, name, batch_size=2), []
    encode = encoder.model.encode_text
    monkeypatch.setattr(encoder.model, "encode_text", lambda tokens: seen.append(tokens.shape[1]) or encode(tokens))
    vectors = encoder.encode_queries(["cat", "a dog", "one two three four", "a b c " * 20])
    assert seen == [16, 4]  # with the tokens for start and end
    monkeypatch.setattr(encoder.model, "encode_text", lambda tokens: time.sleep(0.02) or encode(tokens))
    with ThreadPoolExecutor(4) as pool:
        texts, expected = [["cat", "a dog"], ["a b c " * 20]] * 4, [vectors[:2], vectors[3:]] * 4
        for again, first in zip(pool.map(encoder.encode_queries, texts), expected, strict=True):
            np.testing.assert_allclose(again, first, atol=1e-6)
    places = "positional_embedding" if name == "tiny-clip" else "text.positional_embedding"
    assert len(encoder.model.state_dict()[places]) == 16


def test_where_padding_counts_all_of_it_is_read(tmp_path: Path) -> None:
    """Pooled from the last place, or with tokens that see those behind them."""
    for name, text in (("tiny-last", {"pool_type": "last"}), ("tiny-bidirectional", {"no_causal_mask": True})):
        weights = write_clip(tmp_path, name, text_cfg={**TINY["text_cfg"], **text})
        model, _, tokenizer = direct(tmp_path, name)
        with torch.no_grad():
            expected = model.encode_text(tokenizer(TEXTS), normalize=True).numpy()
        encoder = encoders.get(f"clip:{name}", weights=weights)
        np.testing.assert_allclose(encoder.encode_queries(TEXTS), expected, atol=1e-5)


def test_vectors_do_not_depend_on_the_batch(folder: Path, images: list[Any]) -> None:
    encoders_ = [clip(folder), clip(folder, batch_size=1, workers=1), clip(folder, batch_size=4, workers=3)]
    for encode, items in (("encode_images", images), ("encode_queries", TEXTS)):
        first, *others = [getattr(encoder, encode)(items) for encoder in encoders_]
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-5)
    assert len({encoder.fingerprint for encoder in encoders_}) == 1


def test_images_come_as_arrays_pillow_images_and_paths(folder: Path, images: list[Any], tmp_path: Path) -> None:
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    encoder = clip(folder)
    mixed = encoder.encode_images([images[0], Image.fromarray(images[0]), str(tmp_path / "a.png")])
    np.testing.assert_array_equal(mixed, np.repeat(mixed[:1], 3, axis=0))
    assert encoder.encode_images([]).shape == encoder.encode_queries([]).shape == (0, 24)


def test_a_folder_is_the_same_encoder_as_its_weights(folder: Path, images: list[Any], tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}}))
    with pytest.raises(InvalidArgumentError, match=r"expected a checkpoint that fits"):
        encoders.get(f"clip:{tmp_path}")
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes((folder / "tiny-clip.pt").read_bytes())
    encoder = encoders.get(f"clip:{tmp_path}")
    assert encoder.fingerprint == clip(folder).fingerprint
    np.testing.assert_array_equal(encoder.encode_images(images), clip(folder).encode_images(images))
    with pytest.raises(InvalidArgumentError, match=r"weights is .*holds its own"):
        encoders.get(f"clip:{tmp_path}", weights=folder / "tiny-clip.pt")


def test_a_tag_says_how_its_weights_want_images_and_activations(folder: Path, images: list[Any], tag: str) -> None:
    """open_clip forgets both for weights in a file, and only warns of the wrong activation."""
    theirs = {"force_quick_gelu": True, "image_mean": TAG["mean"], "image_std": TAG["std"]}
    expected = images_by(*direct(folder, **theirs)[:2], images)
    np.testing.assert_allclose(clip(folder, f"tiny-clip/{tag}").encode_images(images), expected, atol=1e-5)
    assert abs(clip(folder).encode_images(images) - expected).max() > 1e-3


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: Any, **__: Any) -> Any:
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    monkeypatch.setattr("encoders.hub.getproxies", dict)


@pytest.mark.usefixtures("offline")
def test_a_tokenizer_that_is_nowhere(tmp_path: Path) -> None:
    weights = write_clip(tmp_path, "tiny-hub", text_cfg={**TINY["text_cfg"], "hf_tokenizer_name": "nobody/words"})
    with pytest.raises(UnsupportedError, match=r"tokenizer of 'clip:tiny-hub' is not (?s:.*)load 'nobody/words' once"):
        encoders.get("clip:tiny-hub", weights=weights)


@pytest.mark.usefixtures("offline")
def test_weights_that_are_nowhere(tag: str, folder: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"'clip:tiny-clip/mine' are not .*download nobody/nothing.*weights="):
        encoders.get(f"clip:tiny-clip/{tag}")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("tiny-clop", {}, r"model is 'tiny-clop', expected .*did you mean 'tiny-clip'"),
        (
            "ViT-B-32/laion2b",
            {},
            r"model is 'ViT-B-32/laion2b', expected a tag of ViT-B-32.*did you mean 'laion2b_e16'",
        ),
        ("ViT-B-32", {}, r"model is 'ViT-B-32', expected 'ViT-B-32/<tag>' .*openai.*or weights="),
        ("tiny-clip", {"weights": "missing.pt"}, "weights is 'missing.pt', expected an existing file"),
        ("tiny-clip", {"weights": 5}, "weights is 5"),
        ("tiny-clip", {"mean": (0, 0)}, r"mean is \(0, 0\), expected three finite numbers"),
        ("tiny-clip", {"std": (1, 1, 0)}, r"std is \(1, 1, 0\), expected three finite numbers above 0"),
        ("tiny-clip", {"interpolation": "nearest"}, "interpolation is 'nearest', expected one of 'bicubic'"),
        ("tiny-clip", {"resize_mode": "crop"}, "resize_mode is 'crop', expected one of 'shortest'"),
        ("tiny-clip", {"image_size": 0}, "image_size is 0"),
        ("tiny-clip", {"context_length": 0.5}, "context_length is 0.5"),
        ("tiny-clip", {"normalize": 1}, "normalize is 1, expected True or False"),
        ("tiny-clip", {"dtype": "half"}, "dtype is 'half', expected one of 'auto'"),
        ("tiny-clip", {"device": "gpu"}, "device is 'gpu', expected 'auto', 'cpu'"),
        ("tiny-clip", {"device": 7}, "device is 7, expected 'auto', 'cpu'"),
        ("tiny-clip", {"batch_size": 0}, "batch_size is 0"),
        ("tiny-clip", {"workers": 0}, "workers is 0"),
        ("tiny-clip", {"colour": 1}, "does not take these options: .*'colour'"),
    ],
)
def test_bad_arguments(folder: Path, name: str, options: dict[str, Any], message: str) -> None:
    weights = {"weights": folder / "tiny-clip.pt"} if name == "tiny-clip" else {}
    with pytest.raises(InvalidArgumentError, match=message):
        encoders.get(f"clip:{name}", **{**weights, **options})


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected a folder that holds open_clip_config\.json"):
        encoders.get(f"clip:{tmp_path}")


@pytest.mark.parametrize("damage", ["empty", "text", "other"])
def test_weights_that_are_none(folder: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.pt"
    if damage == "other":
        torch.save({"a": torch.zeros(1)}, path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"not weights")
    with pytest.raises(InvalidArgumentError, match=r"weights is .*, expected a checkpoint that fits the architecture"):
        encoders.get("clip:tiny-clip", weights=path)


def test_what_is_no_image_and_no_text(folder: Path, images: list[Any]) -> None:
    encoder = clip(folder)
    for bad, message in (
        ([images[0], None], r"images\[1\] is None"),
        ([images[0][:, :, :2]], r"images\[0\] is uint8 of shape .*2\), expected an RGB image"),
        ([images[0][:0]], r"images\[0\] is uint8 of shape \(0,"),
        ([images[0], "a text"], "a text"),
        (5, "images is 5"),
        ("a text", "images is 'a text'"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            encoder.encode_images(bad)
    for bad, message in (
        ([None], r"texts\[0\] is None"),
        (["a", images[0]], r"texts\[1\] is"),
        (b"a", "texts is b'a'"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            encoder.encode_queries(bad)
    assert encoder.encode_images(images).shape == (6, 24)


@pytest.mark.parametrize("text", ["word " * 200_000, "x" * 1_000_000, " " * 1_000_000])
def test_a_megabyte_of_text_is_cut(folder: Path, text: str) -> None:
    encoder = clip(folder)
    np.testing.assert_allclose(encoder.encode_queries([text]), encoder.encode_queries([text[:1600]]), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 5000, 3), (5000, 1, 3), (1, 1, 3)])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_strips_and_specks(folder: Path, shape: tuple[int, ...], resize_mode: str) -> None:
    vectors = clip(folder, resize_mode=resize_mode).encode_images([np.zeros(shape, np.uint8)])
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_and_another_encoder(folder: Path, images: list[Any], dtype: str) -> None:
    if not devices.computes(dtype):
        pytest.skip(f"this processor has no {dtype}")
    half, full = clip(folder, dtype=dtype, device="cpu"), clip(folder, device="cpu")
    for encode, items in (("encode_images", images), ("encode_queries", TEXTS)):
        one, two = getattr(half, encode)(items), getattr(full, encode)(items)
        assert one.dtype == np.float32
        assert (one * two).sum(1).min() > 0.999
    assert half.fingerprint != full.fingerprint
    assert half.options["dtype"] == dtype


def test_precision_that_the_processor_lacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "computes", lambda dtype: False)
    with pytest.raises(UnsupportedError, match=r"dtype is 'float16', which this processor .*expected 'float32'"):
        clip.__wrapped__(folder, dtype="float16", device="cpu")
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: False)
    automatic = clip.__wrapped__(folder, dtype="auto", device="cpu")
    assert (automatic.options["dtype"], automatic.fingerprint) == ("float32", clip(folder).fingerprint)


def test_a_gpu_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UnsupportedError, match=r"device is 'cuda', which torch .* does not find here"):
        clip(folder, device="cuda")
    assert clip(folder, device="auto").device.type == "cpu"


def test_options_load_it_again_elsewhere(folder: Path) -> None:
    encoder = clip(folder, device="cpu", batch_size=3, workers=1, mean=(0.5, 0.5, 0.5))
    assert encoder.options == {"weights": str(folder / "tiny-clip.pt"), "mean": (0.5, 0.5, 0.5)}
    assert encoders.get(encoder.name, **encoder.options).fingerprint == encoder.fingerprint


def test_a_folder_of_images_is_searched_by_image_and_by_text(
    folder: Path, images: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "torn.png").write_bytes(b"torn")
    encoder = clip(folder)
    photos = engine.Collection.from_images(tmp_path, encoder, batch_size=4)
    assert photos.search([str(tmp_path / "3.png")], k=1, columns=["path"]).attributes["path"] == [["3.png"]]
    assert [path for path, _ in photos.skipped] == ["torn.png"]
    found = photos.search(["a red square"], k=6)
    cosines = encoder.encode_images(images) @ encoder.encode_queries(["a red square"])[0]
    assert found.ids[0].tolist() == np.argsort(-cosines).tolist()
    photos.save(tmp_path / "photos.nrf")
    pytest.importorskip("typer")
    for query in (["--text", "a red square"], ["--image", str(tmp_path / "3.png")]):  # loads the encoder by its name
        assert cli.main(["search", str(tmp_path / "photos.nrf"), *query, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["hits"][0]["path"] == "3.png"


def test_the_command_takes_weights(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("typer")
    (tmp_path / "texts.txt").write_text("a cat\na dog\n")
    out, weights = tmp_path / "texts.nrf", folder / "tiny-clip.pt"
    made = ["index", str(tmp_path / "texts.txt"), "--encoder", "clip:tiny-clip", "--out", str(out)]
    assert cli.main([*made, "--weights", str(weights)]) == 0
    assert cli.main(["search", str(out), "--text", "a dog", "--json"]) == 0  # with the same weights
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["hits"][0]["id"] == 1
    assert cli.main([*made, "--weights", str(tmp_path / "none.pt")]) == 2
    assert "none.pt" in capsys.readouterr().err


def test_a_cache_under_changed_weights_is_not_believed(folder: Path, images: list[Any], tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes((folder / "tiny-clip.pt").read_bytes())
    first: Any = encoders.get("clip:tiny-clip", weights=weights, cache=tmp_path / "cache")
    vectors = first.encode_images(images)
    changed = {name: 1.5 * tensor for name, tensor in torch.load(weights, weights_only=True).items()}
    torch.save(changed, weights)
    second: Any = encoders.get("clip:tiny-clip", weights=weights, cache=tmp_path / "cache")
    assert abs(second.encode_images(images) - vectors).max() > 1e-3
    assert (second.n_hits, second.n_misses) == (0, 6)


def test_what_weights_are_is_in_the_fingerprint(folder: Path, tmp_path: Path) -> None:
    changed = torch.load(folder / "tiny-clip.pt", weights_only=True)
    changed["visual.proj"][0, 0] += 1e-3
    torch.save(changed, tmp_path / "tiny-clip.pt")
    assert clip(tmp_path).fingerprint != clip(folder).fingerprint
    assert clip(folder, normalize=False).fingerprint != clip(folder).fingerprint


def test_names_of_what_could_be_fetched() -> None:
    names = encoders.available(downloads=True)
    assert "clip:ViT-B-32/laion2b_s34b_b79k" in names
    assert set(encoders.available()) < set(names)
