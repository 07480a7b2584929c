"""The command line: `nearfield index | search | classify | info | bench`, for people and, with ``--json``, for programs.

It is the one place where an encoder's name becomes an encoder. Errors are one line on the standard error, or one JSON
object ``{"error": ...}`` on the standard output; exit code 2 means that the call was wrong, 1 that something else was.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .classify import KNNClassifier
from .collection import Collection
from .evaluation import class_report, top_k_accuracy
from .exceptions import EngineError, InvalidArgumentError, UnsupportedError
from .images import find_images, read_image
from .texts import read_texts

if TYPE_CHECKING:
    import typer

    from .protocols import Encoder
else:
    try:
        import typer  # the commands' annotations name it, and are read when `main` registers them
    except ImportError:
        typer = None

__all__ = ["main"]

MISSING = "the command line needs typer and rich: pip install 'nearfield[cli]'"
BATCH = 64  # images encoded at once
WORST = 10  # how many mistakes a report names

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")] if typer else bool
File = Annotated[Path, typer.Argument(metavar="FILE", help="What `nearfield index` wrote.")] if typer else Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        For example ``["info", "digits.nrf", "--json"]``. Default: the arguments of the process.

    Returns
    -------
    int
        0, or what went wrong: 2 the call, 1 anything else, 130 Ctrl-C.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if typer is None:
        print(MISSING, file=sys.stderr)
        return 1
    app = typer.Typer(help="Vector search and classification over folders of images.", pretty_exceptions_enable=False)
    for command in (index, search, classify, info):
        app.command()(command)
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)(bench)
    try:
        return app(argv or ["--help"], prog_name="nearfield", standalone_mode=False) or 0
    except Exception as error:
        usage = getattr(error, "format_message", None)  # typer's own errors
        if usage is None and not isinstance(error, EngineError):
            raise
        message = " ".join((usage() if usage else str(error)).split())
        if "--json" in argv:
            print(json.dumps({"error": message, "kind": type(error).__name__}))
        else:
            print(f"nearfield: {message}", file=sys.stderr)
        return 2 if usage or isinstance(error, InvalidArgumentError) else 1


def index(
    source: Annotated[Path, typer.Argument(help="Folder of images, or text file with one text a line.")],
    encoder: Annotated[str, typer.Option(help="For example pixels, features:efficientnet-lite0.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    labels: Annotated[bool, typer.Option(help="Subfolders are classes.")] = True,
    metric: Annotated[Literal["cosine", "ip", "l2"], typer.Option(help="What near means.")] = "cosine",
    dtype: Annotated[Literal["float32", "float16", "bfloat16"], typer.Option(help="How vectors are kept.")] = "float32",
    cache: Annotated[Path | None, typer.Option(help="Folder that remembers vectors between runs.")] = None,
    workers: Annotated[int, typer.Option(help="Threads that decode images.")] = 2,
    as_json: Json = False,
) -> None:
    """Encode a folder of images, or the lines of a text file, into one searchable file."""
    began = perf_counter()
    model = load_encoder(encoder, cache=cache)
    if source.is_file():
        names, texts, skipped = read_texts(source)
        collection = Collection.from_texts(
            texts, model, attributes={"path": names}, progress=not as_json, metric=metric, dtype=dtype
        )
        collection.skipped += skipped
    else:
        collection = Collection.from_images(
            source,
            model,
            labels="folder" if labels else None,
            workers=workers,
            progress=not as_json,
            metric=metric,
            dtype=dtype,
        )
    collection.save(out)
    result = described(collection, out) | {"seconds": round(perf_counter() - began, 3)}
    result["skipped"] = [{"path": path, "reason": reason} for path, reason in collection.skipped]
    if as_json:
        print(json.dumps(result))
        return
    for path, reason in collection.skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    show(f"{len(collection)} rows of dim {collection.index.dim} in {result['seconds']:.1f} s, written to {out}")


def search(
    file: File,
    image: Annotated[Path | None, typer.Option(help="Search with an image.")] = None,
    text: Annotated[str | None, typer.Option(help="Search with a text.")] = None,
    row: Annotated[int | None, typer.Option("--id", help="Search with a row of the file; it is not among the hits.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many to find.")] = 10,
    as_json: Json = False,
) -> None:
    """Find what is most similar to an image, a text or a row."""
    given = [option for option in (image, text, row) if option is not None]
    if len(given) != 1:
        raise InvalidArgumentError(f"{len(given)} of --image, --text and --id are given, expected one")
    collection = Collection.open(file)
    columns = list(collection.attributes)
    if row is not None:
        result = collection.search(collection.get([row]), k + 1, columns=columns)
    else:
        collection.encoder = encoder_of(collection)
        result = collection.search([str(image) if image else text], k, columns=columns)
    ...


def show(*lines: object) -> None: ...
