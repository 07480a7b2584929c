"""The command line `nearfield index | search | classify | info | verify | limit | bench`; `--json` for programs.

It is the one place where an encoder's name becomes an encoder. Errors are one line on the standard error, or one JSON
object ``{"error": ...}`` on the standard output; exit code 2 means that the call was wrong, 1 that something else was.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ._collection_file import FORMAT as COLLECTION
from ._validate import as_count
from .classify import KNNClassifier
from .collection import Collection
from .evaluation import class_report, top_k_accuracy
from .exceptions import EngineError, InvalidArgumentError, StorageError, UnsupportedError
from .images import Skipped, find_images, read_image, read_images
from .index import Index
from .texts import as_texts, read_texts
from .types import IndexKind, Metric, VectorDtype

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
    for command in (index, search, classify, info, verify, limit):
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
    encoder: Annotated[str, typer.Option(help="Such as features:efficientnet-lite0, clip:ViT-B-32/openai.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    weights: Annotated[Path | None, typer.Option(help="File of the model's weights, for clip: and dino:.")] = None,
    labels: Annotated[bool | None, typer.Option(help="Subfolders are classes; default: they are.")] = None,
    metric: Annotated[Metric, typer.Option(help="What near means.")] = "cosine",
    kind: Annotated[IndexKind, typer.Option(help="exact, or graph: faster on many rows, finds 95 %.")] = "exact",
    dtype: Annotated[VectorDtype, typer.Option(help="How vectors are kept.")] = "float32",
    cache: Annotated[Path | None, typer.Option(help="Folder that remembers vectors between runs.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that decode images; default: 2.")] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object; a line a second on the standard error says how far it is."),
    ] = False,
) -> None:
    """Encode a folder of images, or the lines of a text file, into one searchable file."""
    began = perf_counter()
    of_images: dict[str, Any] = {"labels": labels, "workers": workers}
    given = {name: value for name, value in of_images.items() if value is not None}
    if given and source.is_file():
        name, value = next(iter(given.items()))
        raise InvalidArgumentError(f"{name} is {value}, but {source} is a file of texts: it is for a folder of images")
    check_writable(out)
    model = load_encoder(encoder, cache=cache, **({} if weights is None else {"weights": weights}))
    shared: dict[str, Any] = {"progress": "json" if as_json else True, "metric": metric, "kind": kind, "dtype": dtype}
    if source.is_file():
        names, texts, unread = read_texts(source)
        collection = Collection.from_texts(texts, model, attributes={"path": names}, **shared)
        collection.skipped += unread
    else:
        given["labels"] = None if labels is False else "folder"
        collection = Collection.from_images(source, model, **given, **shared)
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
    as_count(k, "k")
    collection = Collection.open(file)
    if row is not None:
        query = collection.get([row])
    elif image is not None:
        query = collection._encoding.encoded(own_encoder(collection).encode_images, [read_image(image)])
    else:
        query = collection._encoding.encoded(own_encoder(collection).encode_queries, as_texts(text, "text"))
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
    """Say what a file holds; `verify` checks whether it is damaged."""
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


def verify(
    file: Annotated[Path, typer.Argument(help="An index, or a collection in a file or a folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every byte by its checksum, then what is held, down to the links of a graph; 1 if damaged.

    Of a folder all versions that are kept are checked.
    """
    if file.is_dir() or COLLECTION in Index.load(file).metadata:
        collection = Collection.open(file)
        index, report = collection.index, collection.verify()
    else:
        index = Index.load(file)
        report = index.verify()
    if as_json:
        print(json.dumps({"file": str(file), "kind": index.kind, "rows": len(index), "sound": True, "report": report}))
        return
    print(f"{file} is sound: {len(index)} rows, kind {index.kind}")
    if index.kind == "graph":
        print_table(["", ""], report.items())


def limit(
    encoder: Annotated[str, typer.Option(help="Such as sbert:all-MiniLM-L6-v2.")],
    folder: Annotated[Path | None, typer.Argument(help="LIMIT's files; none: a made-up set of the same size.")] = None,
    dims: Annotated[str | None, typer.Option(help="Such as 32,64,128; default: by powers of two.")] = None,
    critical: Annotated[str, typer.Option(help="Dimensions in which free embeddings are tried; none: ''.")] = "4,5,6",
    plot: Annotated[Path | None, typer.Option(help="Picture to write, such as limit.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how many sets of documents an encoder tells apart, beside baselines and theory: see docs/limit.md."""
    from .limit import capacity_report, load_limit

    if plot is not None:
        check_writable(plot)
    data = None if folder is None else load_limit(folder)
    report = capacity_report(
        load_encoder(encoder),
        data,
        dims=None if dims is None else whole_numbers(dims, "dims"),
        critical_dims=whole_numbers(critical, "critical"),
    )
    print(json.dumps(report.to_dict()) if as_json else report)
    if plot is not None:
        report.plot(plot)


def whole_numbers(text: str, name: str) -> list[int]:
    """The numbers of an option such as "32,64"."""
    try:
        return [int(word) for word in text.split(",") if word]
    except ValueError:
        raise InvalidArgumentError(f"{name} is {text!r}, expected whole numbers, comma-separated") from None


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
    """The label of each image, its share of the vote, and the nearest neighbour; exit code 1 if there is none."""
    encoder = own_encoder(collection)
    paths: list[str] = []
    skipped: list[Skipped] = []
    for given in images:
        found, unread = find_images(given) if given.is_dir() else ([""], [])
        paths += [os.path.join(given, name) if name else str(given) for name in found]
        skipped += [(os.path.join(given, name), reason) for name, reason in unread]
    labelled: list[tuple[str, Any, float]] = []
    nearest: list[int] = []
    for batch in read_images(os.curdir, paths):
        skipped += batch.skipped
        if not batch.images:
            continue
        vectors = collection._encoding.encoded(encoder.encode_images, batch.images)
        (voters,) = knn._search(vectors, knn.n_neighbors)  # one batch of ours is less than one of its own
        shares = knn._vote(voters)
        labels = knn.classes_[shares.argmax(axis=1)].tolist()
        labelled += zip(batch.paths, labels, shares.max(axis=1).tolist(), strict=True)
        nearest += voters.ids[:, 0].tolist()
    head = ("path", "label", "share", "nearest")
    rows = [(*first, name) for first, name in zip(labelled, named(collection, nearest), strict=True)]
    if as_json:
        objects = [dict(zip(head, row, strict=True)) for row in rows]
        print(json.dumps({"images": objects, "skipped": as_objects(skipped)}))
    else:
        tell(skipped)
        if rows:
            print_table(head, rows)
    raise typer.Exit(0 if rows else 1)


def named(collection: Collection, ids: Iterable[int]) -> list[Any]:
    """What rows are called: their path, or else their id."""
    names = collection.index.ids if collection.paths is None else collection.paths
    row_of = {key: row for row, key in enumerate(collection.index.ids.tolist())}
    return [plain(names[row_of[key]]) for key in ids]


def check_writable(out: Path) -> None:
    """Refuse a file that `Collection.save` could not write, before the work that it is to keep."""
    try:
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(out))):
            pass
    except OSError as error:
        raise StorageError(error.errno, f"cannot write index: {error.strerror}", str(out)) from error


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
        "file_bytes": sum(each.stat().st_size for each in file.iterdir()) if file.is_dir() else file.stat().st_size,
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
