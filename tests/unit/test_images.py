"""A folder of images in, RGB batches and reasons out."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import images
from engine.exceptions import InvalidArgumentError
from engine.images import MAX_PIXELS, as_images, find_images, read_image, read_images

RED = (255, 0, 0)


def png(size: tuple[int, int] = (6, 4), color: Any = RED, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def saved(path: Path, array: Any, mode: str | None = None, **options: Any) -> Path:
    Image.fromarray(array, mode).save(path, **options) if mode else Image.fromarray(array).save(path, **options)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A small file that says it holds a huge image."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


# ---- finding


def test_paths_are_sorted_relative_and_complete(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(("b/2.png", "b/10.JPG", "a.webp", "a/z/deep.tiff", "B/1.gif"), b""))
    write(tmp_path, {"notes.txt": b"", "png": b"", "c/labels.csv": b""})
    paths, skipped = find_images(tmp_path)
    assert paths == ["B/1.gif", "a.webp", "a/z/deep.tiff", "b/10.JPG", "b/2.png"]
    assert skipped == []


def test_links_to_folders_are_reported_and_links_to_files_are_followed(tmp_path: Path) -> None:
    write(tmp_path, {"real/1.png": png()})
    (tmp_path / "again").symlink_to(tmp_path / "real")
    (tmp_path / "file.png").symlink_to(tmp_path / "real/1.png")
    paths, skipped = find_images(tmp_path)
    assert paths == ["file.png", "real/1.png"]
    assert skipped == [("again", "is a link to a folder, not followed")]


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a/1.png": png(), "b/2.png": png()})
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if os.fspath(path).endswith("b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert find_images(tmp_path) == (["a/1.png"], [("b", "the folder cannot be listed: Permission denied")])


@pytest.mark.parametrize("name", ["missing", "file.txt", "empty"])
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"file.txt": b"x", "empty/readme.md": b""})
    with pytest.raises(InvalidArgumentError, match=f"folder is .*{name}.*expected"):
        find_images(tmp_path / name)


@pytest.mark.parametrize("folder", [None, 5, "", "a\0b"])
def test_a_folder_that_is_no_path_is_refused(folder: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="folder is"):
        find_images(folder)


# ---- reading


def test_every_file_is_decoded_or_skipped_with_its_reason(tmp_path: Path) -> None:
    whole = png((40, 40), RED)
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    saved(tmp_path / "cut.jpg", noise)
    cut = (tmp_path / "cut.jpg").read_bytes()
    damaged = bytearray(whole)
    damaged[-20] ^= 0xFF
    write(
        tmp_path,
        {
            "good.png": whole,
            "cut.jpg": cut[: len(cut) // 2],
            "cut.png": whole[:60],
            "damaged.png": bytes(damaged),
            "empty.png": b"",
            "text.png": b"this is not an image at all\n" * 10,
            "page.jpg": b"<html></html>",
            "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
            "bomb.png": bomb(60_000, 60_000),
            "large.png": bomb(9_000, 9_000),
            "no_pixels.png": bomb(0, 7),
            "photo.heic": b"\0\0\0\x18ftypheic",
        },
    )
    (tmp_path / "dangling.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    paths, _ = find_images(tmp_path)
    batches = list(read_images(tmp_path, paths, batch_size=3))
    reasons = dict(entry for batch in batches for entry in batch.skipped)
    assert [path for batch in batches for path in batch.paths] == ["good.png"]
    assert sorted([*reasons, "good.png"]) == paths
    for name, words in {
        "cut.jpg": "cannot be read: image file is truncated",
        "cut.png": "cannot be",
        "damaged.png": "cannot be",
        "empty.png": "is empty",
        "text.png": "is not an image of a known format",
        "page.jpg": "is not an image of a known format",
        "script.png": "is not an image of a known format",
        "bomb.png": "is a decompression bomb",
        "large.png": "has 9000 x 9000 pixels",
        "no_pixels.png": "",
        "photo.heic": "is not an image of a known format",
        "dangling.png": "cannot be read: No such file",
        "pipe.png": "is not a regular file",
    }.items():
        assert words in reasons[name], (name, reasons[name])


def test_integers_of_32_bits_have_no_defined_white(tmp_path: Path) -> None:
    """Their values may end at 255, at 65,535 or anywhere: shifted like 16 bits they were black."""
    values = np.arange(0, 256, 16, dtype=np.int32).reshape(4, 4)
    saved(tmp_path / "int32.tif", values)
    saved(tmp_path / "uint16.tif", (values * 257).astype(np.uint16))
    with pytest.raises(InvalidArgumentError, match="32-bit integer pixels, which have no defined white"):
        read_image(tmp_path / "int32.tif")
    with pytest.raises(InvalidArgumentError, match="32-bit integer pixels"):
        as_images(Image.fromarray(values), "queries")
    np.testing.assert_array_equal(read_image(tmp_path / "uint16.tif")[:, :, 0], values)
    (tmp_path / "deep.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([256, 65535], ">u2").tobytes())
    assert read_image(tmp_path / "deep.pgm")[0, :, 0].tolist() == [1, 255]


def test_a_masked_image_is_refused() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(InvalidArgumentError, match=r"(?s)queries\[0\] is masked_array.*expected an RGB image"):
        as_images([np.ma.masked_array(image, image == 0)], "queries")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_whether_pillow_warns_or_raises(tmp_path: Path) -> None:
    path = write(tmp_path, {"bomb.png": bomb(10_000, 10_000)}) / "bomb.png"
    with pytest.raises(InvalidArgumentError, match="10000 x 10000 pixels"):
        read_image(path)


def test_the_content_decides_not_the_name(tmp_path: Path) -> None:
    write(tmp_path, {"really_a_png.jpg": png((3, 2))})
    assert read_image(tmp_path / "really_a_png.jpg").shape == (2, 3, 3)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("workers", [1, 4])
def test_order_and_content_do_not_depend_on_batches_or_workers(tmp_path: Path, batch_size: int, workers: int) -> None:
    write(tmp_path, {f"{i:02}.png": png((5, 5), (i, 0, 0)) for i in range(17)} | {"05x.png": b"no"})
    paths, _ = find_images(tmp_path)
    batches = list(read_images(tmp_path, paths, batch_size=batch_size, workers=workers))
    found = [int(image[0, 0, 0]) for batch in batches for image in batch.images]
    assert found == list(range(17))
    assert [len(batch.images) for batch in batches][:-1] == [batch_size] * (len(batches) - 1)
    assert sum(map(len, batches)) == 18


def test_a_batch_of_large_images_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BATCH_BYTES", 1000)
    write(tmp_path, {f"{i}.png": png((20, 10)) for i in range(5)})
    assert [len(batch) for batch in read_images(tmp_path, find_images(tmp_path)[0])] == [2, 2, 1]


def test_threads_end_when_the_reader_is_given_up(tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.png": png() for i in range(30)})
    before = threading.active_count()
    reader = read_images(tmp_path, find_images(tmp_path)[0], batch_size=2, workers=3)
    next(iter(reader))
    reader.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", 0), ("workers", 0), ("batch_size", 1.5), ("workers", 10**6)]
)
def test_options_of_the_reader_are_checked(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        list(read_images(tmp_path, ["a.png"], **{name: value}))


# ---- modes

RAMP = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (4, 1))


def test_grey_and_palette_and_bilevel(tmp_path: Path) -> None:
    grey = np.repeat(RAMP[:, :, None], 3, axis=2)
    assert (read_image(saved(tmp_path / "grey.png", RAMP)) == grey).all()
    Image.fromarray(RAMP).convert("P").save(tmp_path / "palette.png")
    assert (read_image(tmp_path / "palette.png") == grey).all()
    Image.fromarray(RAMP).convert("1", dither=Image.Dither.NONE).save(tmp_path / "bilevel.png")
    assert set(read_image(tmp_path / "bilevel.png").ravel().tolist()) == {0, 255}


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path: Path, suffix: str) -> None:
    deep = RAMP.astype(np.uint16) * 257
    image = read_image(saved(tmp_path / f"deep.{suffix}", deep))
    assert (image == np.repeat(RAMP[:, :, None], 3, axis=2)).all()


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="floating-point"):
        read_image(saved(tmp_path / "float.tif", RAMP.astype(np.float32)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_lie_on_white(tmp_path: Path, mode: str) -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (0, 0, 0, 255)
    rgba[1, 1] = (0, 0, 0, 128)
    image = Image.fromarray(rgba)
    if mode == "P":
        image = Image.fromarray(np.array([[0, 1], [1, 1]], np.uint8), "L").convert("P")
        image.putpalette([0, 0, 0, 9, 9, 9])
        image.save(tmp_path / "a.png", transparency=1)
    else:
        image.convert(mode).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png")
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[0, 1].tolist() == [255, 255, 255]
    if mode != "P":
        assert abs(int(found[1, 1, 0]) - 127) <= 1


def test_cmyk(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), RED).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert abs(read_image(tmp_path / "print.jpg").reshape(-1, 3).mean(0) - RED).max() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((32, 16, 3), np.uint8)
    upright[:8, :8] = RED
    turn = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # what the camera did
    stored = Image.fromarray(upright)
    stored = stored if turn is None else stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    assert (read_image(tmp_path / "turned.png") == upright).all()


def test_of_an_animation_the_first_frame_counts(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in (RED, (0, 0, 255))]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "two.gif")[0, 0].tolist() == [255, 0, 0]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write(tmp_path, {name: png()})
    paths, _ = find_images(tmp_path)
    assert paths == [name]
    assert next(iter(read_images(tmp_path, paths))).paths == [name]


# ---- images from the caller


def test_images_given_as_arrays_pillow_images_and_paths(tmp_path: Path) -> None:
    path = write(tmp_path, {"red.png": png()}) / "red.png"
    array = np.full((4, 6, 3), RED, np.uint8)
    for value in (array, Image.fromarray(array), path, str(path)):
        assert (as_images(value, "queries")[0] == array).all()
        assert len(as_images([value, value], "queries")) == 2
    assert len(as_images(np.stack([array, array]), "queries")) == 2
    assert as_images([], "queries") == []


@pytest.mark.parametrize(
    "value",
    [
        5,
        None,
        [None],
        [np.zeros((4, 4, 3), np.float32)],
        [np.zeros((4, 4, 4), np.uint8)],
        [np.zeros((4, 4), np.uint8)],
        [np.zeros((0, 4, 3), np.uint8)],
        [Image.new("F", (2, 2))],
        "missing.png",
    ],
)
def test_what_is_no_image_is_refused(value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"expected|RGB"):
        as_images(value, "queries")


@pytest.mark.parametrize("max_pixels", [0, -1, "many"])
def test_max_pixels_is_checked(max_pixels: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="max_pixels"):
        read_image("a.png", max_pixels=max_pixels)


def test_max_pixels_counts(tmp_path: Path) -> None:
    path = write(tmp_path, {"a.png": png((10, 10))}) / "a.png"
    assert read_image(path, max_pixels=100).size == 300
    with pytest.raises(InvalidArgumentError, match="10 x 10 pixels, more than 99"):
        read_image(path, max_pixels=99)
    assert (Image.MAX_IMAGE_PIXELS or 0) > MAX_PIXELS  # ours speaks before Pillow's warning does
