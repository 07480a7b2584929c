"""The command line `nearfield index | search | classify | info | bench`: for people, and with ``--json`` for programs.

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
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from .classify import KNNClassifier
from .collection import Collection
from .evaluation import class_report, top_k_accuracy
from .exceptions import EngineError, InvalidArgumentError, UnsupportedError
from .images import Skipped, find_images, read_image
from .texts import read_texts
from .types import Metric, VectorDtype

if TYPE_CHECKING:
    from .protocols import Encoder

# The commands' annotations name typer, but nothing reads them before `main` registers the commands.
try:
    import typer
except ImportError:
    HAVE_TYPER = False
else:
    HAVE_TYPER = True

__all__ = ["main"]

MISSING = "the command line needs typer and rich: pip install 'nearfield[cli]'"
BATCH = 64  # images encoded at once
WORST = 10  # how many confusions a report names


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
    if not HAVE_TYPER:
        print(MISSING, file=sys.stderr)
        return 1
    app = typer.Typer(
        help="Search and classify folders of images.", pretty_exceptions_enable=False, add_completion=False
    )
    for command in (index, search, classify, info):
        app.command()(command)
    everything = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command(context_settings=everything, add_help_option=False)(bench)
    try:
        return app(argv or ["--help"], prog_name="nearfield", standalone_mode=False) or 0
    except Exception as error:
        usage = getattr(error, "format_message", None)  # typer's own errors have it
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
    encoder: Annotated[str, typer.Option(help="Such as pixels, features:efficientnet-lite0, sbert:all-MiniLM-L6-v2.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    labels: Annotated[bool, typer.Option(help="Subfolders are classes.")] = True,
    metric: Annotated[Metric, typer.Option(help="What near means.")] = "cosine",
    dtype: Annotated[VectorDtype, typer.Option(help="How vectors are kept.")] = "float32",
    cache: Annotated[Path | None, typer.Option(help="Folder that remembers vectors between runs.")] = None,
    workers: Annotated[int, typer.Option(help="Threads that decode images.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode a folder of images, or the lines of a text file, into one searchable file."""
    began = perf_counter()
    model = load_encoder(encoder, cache=cache)
    shared: dict[str, Any] = {"progress": not as_json, "metric": metric, "dtype": dtype}
    if source.is_file():
        names, texts, unread = read_texts(source)
        collection = Collection.from_texts(texts, model, attributes={"path": names}, **shared)
        collection.skipped += unread
    else:
        shared["labels"] = "folder" if labels else None
        collection = Collection.from_images(source, model, workers=workers, **shared)
    collection.save(out)
    seconds = perf_counter() - began
    if as_json:
        print(json.dumps(description(collection, out) | {"seconds": round(seconds, 3)}))
        return
    tell(collection.skipped)
    print(f"{len(collection)} rows of dim {collection.index.dim} in {seconds:.1f} s, written to {out}")


def search(
    file: Annotated[Path, typer.Argument(help="What `nearfield index` wrote.")],
    image: Annotated[Path | None, typer.Option(help="Search with an image.")] = None,
    text: Annotated[str | None, typer.Option(help="Search with a text.")] = None,
    row: Annotated[int | None, typer.Option("--id", help="Search with a row of the file.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many to find.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find what is nearest to an image, to a text, or to a row, which is not among its own hits."""
    if sum(option is not None for option in (image, text, row)) != 1:
        raise InvalidArgumentError("expected one of --image, --text and --id")
    collection = Collection.open(file)
    if row is None:
        collection.encoder = own_encoder(collection)
    query: Any = collection.get([row]) if row is not None else [image] if image is not None else [text]
    columns = list(collection.attributes)
    found = collection.search(query, k if row is None else k + 1, columns=columns)
    hits = [
        {"id": int(found.ids[0, i]), "distance": float(found.distances[0, i])}
        | {name: plain(values[0, i]) for name, values in found.attributes.items()}
        for i in np.flatnonzero((found.ids[0] >= 0) & (found.ids[0] != (-1 if row is None else row)))[:k]
    ]
    if as_json:
        print(json.dumps({"hits": hits, "n_scored": found.stats.n_scored, "seconds": found.stats.seconds}))
    else:
        print_table(["id", "distance", *columns], [hit.values() for hit in hits])


def classify(
    file: Annotated[Path, typer.Argument(help="What `nearfield index` wrote for a folder with a subfolder a class.")],
    images: Annotated[list[Path] | None, typer.Argument(help="New images or folders; none: leave one out.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many neighbours vote.")] = 20,
    temperature: Annotated[float, typer.Option(help="Small: the nearest decides.")] = 0.07,
    weights: Annotated[str, typer.Option(help="exp, uniform or distance.")] = "exp",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Label new images by their nearest neighbours, or say how well each row is labelled by the others."""
    collection = Collection.open(file)
    labels = collection.labels
    if labels is None:
        raise InvalidArgumentError(f"{file} has no labels, expected those of a folder with one subfolder a class")
    settings: dict[str, Any] = {"temperature": temperature, "weights": weights, "allow_fewer": True}
    knn = KNNClassifier(k, metric=collection.index.metric, index=collection.index, **settings).fit(None, labels)
    if images:
        label_images(collection, knn, images, as_json)
    else:
        judge(knn, labels, as_json)


def info(
    file: Annotated[Path, typer.Argument(help="What `nearfield index` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a file holds; every checksum is verified."""
    collection = Collection.open(file)
    facts = description(collection, file)
    if as_json:
        print(json.dumps(facts))
        return
    facts["encoder"] = collection.encoder_info.get("name") or "none"
    facts["columns"] = ", ".join(facts["columns"])
    facts["labels"] = ", ".join(f"{label}: {count}" for label, count in facts["labels"].items())
    facts["skipped"] = f"{len(collection.skipped)} files"
    print_table(["", ""], facts.items())


def bench(context: typer.Context) -> None:
    """Measure nearfield beside other libraries; all options go to the benchmark: try `nearfield bench --help`."""
    try:
        from bench.run import main as run
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"bench needs the package {error.name}: pip install 'nearfield[bench]'") from error
    raise typer.Exit(run(context.args))


def judge(knn: KNNClassifier, labels: NDArray[Any], as_json: bool) -> None:
    """Leave one out: each row is labelled by the others."""
    shares = knn.predict_proba(None)
    predicted = knn.classes_[shares.argmax(axis=1)]
    report = class_report(labels, predicted)
    top_5 = top_k_accuracy(labels, shares, 5, classes=knn.classes_)
    wrong = Counter(zip(labels.tolist(), predicted.tolist(), strict=True))
    confusions = [(true, other, n) for (true, other), n in wrong.most_common() if true != other][:WORST]
    if as_json:
        rows = [{"true": true, "predicted": other, "n": n} for true, other, n in confusions]
        print(json.dumps(report.to_dict() | {"k": knn.n_neighbors, "top_5": top_5, "confusions": rows}))
        return
    print(f"leave one out, {knn.n_neighbors} neighbours: accuracy {report.accuracy:.4f}, top-5 {top_5:.4f}\n\n{report}")
    if confusions:
        print("\nmost frequent mistakes: " + ", ".join(f"{t} taken for {p} ({n}x)" for t, p, n in confusions))


def label_images(collection: Collection, knn: KNNClassifier, images: Iterable[Path], as_json: bool) -> None:
    """The label of each image, its share of the vote, and the nearest neighbour."""
    encoder = own_encoder(collection)
    paths: list[str] = []
    rows: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for given in images:
        found, unread = find_images(given) if given.is_dir() else ([""], [])
        paths += [os.path.join(given, name) if name else str(given) for name in found]
        skipped += [(os.path.join(given, name), reason) for name, reason in unread]
    for start in range(0, len(paths), BATCH):
        read = {}
        for path in paths[start : start + BATCH]:
            try:
                read[path] = read_image(path)
            except InvalidArgumentError as error:
                skipped.append((path, str(error)))
        if read:
            vectors = encoder.encode_images(list(read.values()))
            predicted, neighbors = knn.predict(vectors, return_neighbors=True)
            shares = knn.predict_proba(vectors).max(axis=1)
            nearest = named(collection, neighbors.ids[:, 0])
            columns = zip(read, predicted.tolist(), shares.tolist(), nearest, strict=True)
            rows += [dict(zip(("path", "label", "share", "nearest"), values, strict=True)) for values in columns]
    if as_json:
        print(json.dumps({"images": rows, "skipped": as_objects(skipped)}))
        return
    tell(skipped)
    print_table(["path", "label", "share", "nearest"], [row.values() for row in rows])


def named(collection: Collection, ids: NDArray[np.int64]) -> list[Any]:
    """What rows are called: their path, or else their id."""
    names = collection.index.ids if collection.paths is None else collection.paths
    row_of = {key: row for row, key in enumerate(collection.index.ids.tolist())}
    return [plain(names[row_of[key]]) for key in ids.tolist()]


def load_encoder(name: str, **options: Any) -> Encoder:
    """The encoder of that name; `encoders` and its frameworks are imported now."""
    import encoders

    return encoders.get(name, **options)


def own_encoder(collection: Collection) -> Encoder:
    """The encoder that made the vectors of `collection`, checked by its fingerprint."""
    known = collection.encoder_info
    if not known.get("name"):
        raise InvalidArgumentError("the file does not name the encoder of its vectors: only --id can search it")
    encoder = load_encoder(known["name"], **known.get("options", {}))
    collection.encoder = encoder
    return encoder


def description(collection: Collection, file: Path) -> dict[str, Any]:
    """What a file holds, ready for JSON."""
    index = collection.index
    labels = [] if collection.labels is None else collection.labels.tolist()
    return {
        "file": str(file),
        "file_bytes": file.stat().st_size,
        "rows": len(index),
        "dim": index.dim,
        "metric": index.metric,
        "kind": index.kind,
        "dtype": index.dtype,
        "encoder": collection.encoder_info,
        "columns": list(collection.attributes),
        "labels": {str(label): count for label, count in sorted(Counter(labels).items())},
        "skipped": as_objects(collection.skipped),
    }


def as_objects(skipped: Iterable[Skipped]) -> list[dict[str, str]]:
    return [{"path": path, "reason": reason} for path, reason in skipped]


def tell(skipped: Iterable[Skipped]) -> None:
    """Say on the standard error what was left out."""
    for path, reason in skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)


def plain(value: Any) -> Any:
    """A numpy scalar as the Python value JSON takes."""
    return value.item() if isinstance(value, np.generic) else value


def print_table(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table that fits the terminal; long cells are folded, never cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # no markup: a path may hold brackets

    table = Table(box=None, show_header=any(head), pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{cell:.4f}" if isinstance(cell, float) else str(cell)) for cell in row))
    Console(highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
