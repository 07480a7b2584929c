"""A folder of images -> sorted relative paths -> decoded RGB batches. What cannot be decoded is reported, not lost.

Pillow is imported on first use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._ahead import ahead, one_ahead
from ._validate import as_count, as_path, show
from .exceptions import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "ImageBatch",
    "Skipped",
    "as_image",
    "as_images",
    "as_list",
    "find_images",
    "is_image",
    "read_image",
    "read_images",
]

RGB = NDArray[np.uint8]
Skipped = tuple[str, str]  # (path, reason)

# From .avif on they cannot be decoded: whoever has such files hears of it.
SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp", ".avif", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".psd", ".svg", ".tga",
)  # fmt: skip
# The content decides, whatever the name says. Nothing here starts another program, as Pillow's EPS reader does.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ORIENTATION, UPRIGHT = 0x0112, 1  # of EXIF
MAX_PIXELS = 2**26  # 8192 x 8192: 192 MiB decoded
BATCH_BYTES = 2**28  # a batch of large photographs ends here


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """Decoded images and what could not be decoded on the way to them.

    Attributes
    ----------
    paths : list of str
        Relative to the folder, with ``/`` between the parts.
    images : list of ndarray
        uint8 RGB, each (height, width, 3); parallel to `paths`.
    skipped : list of (path, reason)
        Files that gave no image.
    """

    paths: list[str] = field(default_factory=list)
    images: list[RGB] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def __len__(self) -> int:
        """Files dealt with."""
        return len(self.paths) + len(self.skipped)


class Unreadable(Exception):
    """A file that gives no image; the message is the reason."""


def is_image_name(name: str) -> bool:
    """True if `name` ends as the name of an image file does.

    Examples
    --------
    >>> is_image_name("Cat.JPG"), is_image_name("a cat.")
    (True, False)
    """
    return name.lower().endswith(SUFFIXES)


def find_images(folder: str | os.PathLike[str]) -> tuple[list[str], list[Skipped]]:
    """Paths of the files below `folder` that are named as images.

    Parameters
    ----------
    folder : path_like
        Walked completely; links to folders are not followed.

    Returns
    -------
    paths : list of str
        Relative to `folder`, sorted, with ``/`` between the parts.
    skipped : list of (path, reason)
        Folders that could not be listed, links to folders.

    Raises
    ------
    InvalidArgumentError
        `folder` is not a folder or holds no file named as an image.
    """
    folder = as_path(folder, "folder")
    if not os.path.isdir(folder):
        raise InvalidArgumentError(f"folder is {folder!r}, expected an existing folder")

    def relative(path: str) -> str:
        return os.path.relpath(path, folder).replace(os.sep, "/")

    skipped: list[Skipped] = []

    def unlisted(error: OSError) -> None:
        skipped.append((relative(os.fsdecode(error.filename)), f"the folder cannot be listed: {error.strerror}"))

    paths: list[str] = []
    for place, subfolders, files in os.walk(folder, onerror=unlisted):
        prefix = "" if place == folder else relative(place) + "/"
        paths += [prefix + name for name in files if is_image_name(name)]
        links = [name for name in subfolders if os.path.islink(os.path.join(place, name))]
        skipped += [(prefix + name, "is a link to a folder, not followed") for name in links]
    if not paths:
        raise InvalidArgumentError(f"folder is {folder!r}, expected a folder with .png, .jpg, ... files below it")
    return sorted(paths), sorted(skipped)


def read_images(
    folder: str | os.PathLike[str], paths: Iterable[str], *, batch_size: int = 64, workers: int = 2
) -> Iterator[ImageBatch]:
    """Decode the files `paths` below `folder`, in their order.

    Parameters
    ----------
    folder : path_like
        What `paths` are relative to.
    paths : iterable of str
        As `find_images` returns them.
    batch_size : int, default 64
        Images a batch; fewer where they are large, so that a batch stays near 256 MiB.
    workers : int, default 2
        Threads that decode the next batch while the one before is in use.

    Yields
    ------
    ImageBatch
        Together they hold every path once, either decoded or skipped.
    """
    folder = as_path(folder, "folder")
    batch_size, workers = as_count(batch_size, "batch_size"), as_count(workers, "workers", most=256)
    yield from one_ahead(batches(decoded(folder, paths, workers), batch_size))


def batches(images: Iterable[tuple[str, RGB | Unreadable]], batch_size: int) -> Iterator[ImageBatch]:
    """Images and the reasons why there is none, some at a time."""
    batch, n_bytes = ImageBatch(), 0
    for path, image in images:
        if isinstance(image, Unreadable):
            batch.skipped.append((path, str(image)))
            continue
        batch.paths.append(path)
        batch.images.append(image)
        n_bytes += image.nbytes
        if len(batch.images) == batch_size or n_bytes >= BATCH_BYTES:
            yield batch
            batch, n_bytes = ImageBatch(), 0
    if len(batch):
        yield batch


def read_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> RGB:
    """Decode one file to RGB.

    Parameters
    ----------
    path : path_like
        BMP, GIF (first frame), JPEG, PNG, PPM, TIFF (first page) or WebP; the content decides, not the name.
    max_pixels : int, default 2**26
        Larger images are refused before they are decoded.

    Returns
    -------
    ndarray, shape (height, width, 3), uint8
        Turned upright as EXIF says. Transparent pixels lie on white, 16-bit grey keeps its upper 8 bits. Pixels of 32
        bits, integer or floating-point, are refused: they have no defined white.

    Raises
    ------
    InvalidArgumentError
        The file gives no image; the message says why.
    """
    path = as_path(path)
    try:
        return decode(path, as_count(max_pixels, "max_pixels"))
    except Unreadable as reason:
        raise InvalidArgumentError(f"path is {path!r}, expected an image file, but it {reason}") from reason


def as_images(value: Any, name: str) -> list[RGB]:
    """`value` as RGB images: arrays (height, width, 3) of uint8, Pillow images, or paths of image files.

    One image counts as a sequence of one.
    """
    return [as_image(item, f"{name}[{i}]") for i, item in enumerate(as_list(value, name))]


def as_list(value: Any, name: str) -> Sequence[Any]:
    """`value` as a sequence of what may be images; one image counts as a sequence of one."""
    items: Sequence[Any] = [value] if is_image(value) else value
    if not isinstance(items, (Sequence, np.ndarray)) or isinstance(items, (str, bytes, bytearray)):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected a sequence of images")
    return items


def as_image(value: Any, name: str) -> RGB:
    """`value` as an RGB array."""
    if isinstance(value, (str, os.PathLike)):
        return read_image(value)
    if is_pillow(value):
        try:
            return to_rgb(value)
        except (Unreadable, OSError, ValueError) as reason:
            raise InvalidArgumentError(f"{name} is an image that cannot be turned into RGB: {reason}") from reason
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise InvalidArgumentError(f"{name} is {show(value)}, expected an RGB image: uint8 of shape (height, width, 3)")
    if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
        given = f"{value.dtype} of shape {value.shape}"
        raise InvalidArgumentError(f"{name} is {given}, expected an RGB image: uint8 of shape (height, width, 3)")
    return np.ascontiguousarray(value)


def is_image(value: Any) -> bool:
    """True for one image: a path with an image's name, a Pillow image, an array of rank 3.

    >>> is_image("cat.png"), is_image("a cat"), is_image(np.zeros((2, 2, 3), np.uint8))
    (True, False, True)
    """
    if isinstance(value, str):
        return is_image_name(value)
    return isinstance(value, os.PathLike) or is_pillow(value) or getattr(value, "ndim", 0) == 3


def is_pillow(value: Any) -> bool:
    """True for an image of Pillow, without importing it."""
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(value).__mro__)


def decoded(folder: str, paths: Iterable[str], workers: int) -> Iterator[tuple[str, RGB | Unreadable]]:
    """Each path and its image or why there is none; `workers` threads stay a few files ahead."""

    def work(path: str) -> tuple[str, RGB | Unreadable]:
        try:
            return path, decode(os.path.join(folder, path), MAX_PIXELS)
        except Unreadable as reason:
            return path, reason

    return ahead(work, paths, workers=workers, most=4 * workers)


def decode(path: str, max_pixels: int) -> RGB:
    """The image in `path`, or `Unreadable` with the reason."""
    Image = pillow()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever
            raise Unreadable("is not a regular file")
        if not status.st_size:
            raise Unreadable("is empty")
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise Unreadable(f"has {width} x {height} pixels, more than {max_pixels}")
            return to_rgb(image)
    except Image.UnidentifiedImageError:
        raise Unreadable("is not an image of a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Unreadable(f"is a decompression bomb: {error}") from None
    except (Unreadable, MemoryError):
        raise
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    except Exception as error:  # damaged files make the decoders raise whatever they stumble over
        raise Unreadable(f"cannot be decoded: {type(error).__name__}: {error}") from None


def to_rgb(image: Image.Image) -> RGB:
    """Upright RGB pixels of a Pillow image, whatever its mode."""
    from PIL import Image, ImageOps

    source = image.format  # a turned image has none
    if image.getexif().get(ORIENTATION, UPRIGHT) != UPRIGHT:  # else it would be copied
        image = ImageOps.exif_transpose(image)
    if image.mode == "I" and source not in ("PNG", "PPM"):  # in those it stands for 16 bits
        raise Unreadable("has 32-bit integer pixels, which have no defined white")
    if image.mode.startswith("I"):  # 16 bits a pixel; convert() would clip at 255
        grey = np.clip(np.asarray(image, np.int64), 0, 65535) >> 8
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise Unreadable("has floating-point pixels, which have no defined white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def pillow() -> Any:
    """The module `PIL.Image`, imported now."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UnsupportedError(f"images need Pillow ({error}): pip install Pillow") from error
    return Image
