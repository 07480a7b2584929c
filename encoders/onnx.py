"""Text and image models in ONNX files, run by ONNX Runtime; torch is not needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine._ahead import ahead
from engine._validate import as_choice, as_count, as_path, as_threads, show
from engine.exceptions import CorruptIndexError, InvalidArgumentError, UnsupportedError
from engine.images import as_image, as_list
from engine.texts import as_texts

from .base import BaseEncoder, EncoderSpec, Vectors, as_flag, require
from .devices import as_workers
from .fingerprint import files_hash
from .processor import ImageProcessor
from .registry import register

__all__ = ["OnnxEncoder"]

NAMES = {"texts": ("text_model.onnx", "model.onnx"), "images": ("vision_model.onnx", "model.onnx")}
OUTPUTS = ("sentence_embedding", "text_embeds", "image_embeds")  # what is a vector already, as exporters call it
POOLS = ("cls", "mean", "last")
BATCH_SIZE = 32


@register("onnx", {}, any_model=True)
class OnnxEncoder(BaseEncoder):
    """A folder that holds a model's ONNX files, as optimum and transformers.js lay them out.

    Parameters
    ----------
    model : str
        The folder. Texts need ``text_model.onnx`` or ``model.onnx``, there or in its subfolder ``onnx``, beside
        ``tokenizer.json``; images ``vision_model.onnx`` or ``model.onnx`` beside ``preprocessor_config.json``.
    file : str, optional
        Another ONNX file, relative to the folder, such as ``"onnx/model_quantized.onnx"``.
    pool : {"cls", "mean", "last"}, optional
        How tokens become a vector where the model gives tokens. Default: for texts as ``1_Pooling/config.json`` says,
        else "mean"; for images "cls".
    query_prefix, document_prefix : str, default ""
        Put before each text of that side.
    max_length : int, optional
        Tokens of a text that are read. Default: what the folder's configuration says, else 512.
    normalize : bool, default True
        Give unit vectors.
    device : {"auto", "cpu", "cuda"}, default "auto"
        "auto" is "cuda" where ONNX Runtime has it.
    batch_size : int or "auto", default "auto"
        Items in one pass; "auto" is 32.
    n_threads : int, optional
        Of ONNX Runtime. Default: one a processor.
    workers : int or "auto", default "auto"
        Threads that prepare images while the model computes.

    Notes
    -----
    Texts of similar length go through the model together. The fingerprint covers the content of the files that are
    read. Threads may share one.

    Examples
    --------
    >>> encoder = encoders.get("onnx:models/all-MiniLM-L6-v2")  # doctest: +SKIP
    >>> encoder.encode_queries(["lost my card"]).shape  # doctest: +SKIP
    (1, 384)
    """

    def __init__(
        self,
        model: str,
        *,
        file: str | None = None,
        pool: str | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
        max_length: int | None = None,
        normalize: bool = True,
        device: str = "auto",
        batch_size: int | str = "auto",
        n_threads: int | None = None,
        workers: int | str = "auto",
    ) -> None:
        runtime = require("onnxruntime", f"the encoder 'onnx:{model}'")
        self.folder = Path(as_path(model, "model"))
        if not self.folder.is_dir():
            raise InvalidArgumentError(f"model is {show(model)}, expected an existing folder")
        for name, prefix in (("query_prefix", query_prefix), ("document_prefix", document_prefix)):
            if not isinstance(prefix, str):
                raise InvalidArgumentError(f"{name} is {show(prefix)}, expected a str")
        self.prefixes = {"query": query_prefix, "document": document_prefix}
        self.pool = None if pool is None else as_choice(pool, "pool", POOLS)
        self.normalize = as_flag(normalize, "normalize")
        self.batch_size = BATCH_SIZE if batch_size == "auto" else as_count(batch_size, "batch_size")
        self.workers = as_workers(workers)
        provider = as_provider(runtime, device)
        start = partial(session, runtime, provider=provider, n_threads=as_threads(n_threads))
        started: dict[Path, Any] = {}
        self.sides: dict[str, Any] = {}
        for side in NAMES:
            for path in model_files(self.folder, file, side):
                if path not in started:
                    started[path] = start(path)
                if side in takes(started[path]):
                    self.sides[side] = started[path]
                    break
        if not self.sides:
            tried = [str(path.relative_to(self.folder)) for path in started]
            raise InvalidArgumentError(
                f"model is {show(model)}, expected a folder with an ONNX file that takes input_ids or images; "
                f"it has {tried or 'none of the names that are looked for: pass file=...'}"
            )
        self.read = [file for path, used in started.items() if used in self.sides.values() for file in weights(path)]
        if "texts" in self.sides:
            self.tokenizer = self._tokenizer(None if max_length is None else as_count(max_length, "max_length"))
        if "images" in self.sides:
            self.processor = ImageProcessor.of(self._config("preprocessor_config.json", needed="images"))
        settings = {
            "document": document_prefix,
            "file": file,
            "max_length": self.tokenizer.truncation["max_length"] if "texts" in self.sides else None,
            "normalize": self.normalize,
            "onnxruntime": runtime.__version__.partition(".")[0],
            "pool": self.pool,
            "query": query_prefix,
        }
        super().__init__(EncoderSpec("onnx", self._probe(), files_hash(self.folder, self.read), settings))

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Vectors of `images`, shape (len(images), dim)."""
        if "images" not in self.sides:
            return super().encode_images(images)
        return self._images(images).reshape(-1, self.dim)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to search with, shape (len(texts), dim)."""
        return self._encode(texts, "query") if "texts" in self.sides else super().encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts to be found, shape (len(texts), dim)."""
        return self._encode(texts, "document") if "texts" in self.sides else super().encode_documents(texts)

    def _encode(self, texts: Sequence[str], side: str) -> Vectors:
        return self._texts([self.prefixes[side] + text for text in as_texts(texts, "texts")]).reshape(-1, self.dim)

    def _texts(self, texts: list[str]) -> Vectors:
        tokens = self.tokenizer.encode_batch(texts)
        order = np.argsort([-len(each.ids) for each in tokens], kind="stable")
        vectors: list[Any] = [None] * len(texts)
        for start in range(0, len(texts), self.batch_size):
            rows = order[start : start + self.batch_size]
            ids, mask = (padded([getattr(tokens[i], kind) for i in rows]) for kind in ("ids", "attention_mask"))
            given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            wanted = {each.name for each in self.sides["texts"].get_inputs()}
            output = self._run("texts", {name: array for name, array in given.items() if name in wanted})
            for row, vector in zip(
                rows, self._finished(pooled(output, self.pool or self.text_pool, mask)), strict=True
            ):
                vectors[row] = vector
        return np.array(vectors, np.float32)

    def _images(self, images: Any) -> Vectors:
        def prepared(named: tuple[str, Any]) -> NDArray[np.float32]:
            return self.processor(as_image(named[1], named[0]))

        named = [(f"images[{i}]", image) for i, image in enumerate(as_list(images, "images"))]
        ready = ahead(prepared, named, workers=self.workers, most=self.batch_size)
        (name,) = (each.name for each in self.sides["images"].get_inputs())
        parts = []
        for batch in batched(ready, self.batch_size):
            output = self._run("images", {name: np.stack(batch)})
            parts.append(self._finished(pooled(output, self.pool or "cls", None)))
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def _run(self, side: str, given: dict[str, Any]) -> NDArray[Any]:
        names = [each.name for each in self.sides[side].get_outputs()]
        name = next((name for name in OUTPUTS if name in names), names[0])
        (output,) = self.sides[side].run([name], given)
        return np.asarray(output)

    def _finished(self, vectors: NDArray[Any]) -> Vectors:
        vectors = vectors.astype(np.float32)
        if self.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return vectors

    def _probe(self) -> int:
        """Dim of the vectors, the same on both sides."""
        dims = set()
        if "texts" in self.sides:
            dims.add(self._texts(["dim"]).shape[1])
        if "images" in self.sides:
            dims.add(self._images([np.zeros((64, 64, 3), np.uint8)]).shape[1])
        if len(dims) != 1:
            raise InvalidArgumentError(
                f"model gives texts and images dims {sorted(dims)}, expected the same: pass file="
            )
        return int(dims.pop())

    def _tokenizer(self, max_length: int | None) -> Any:
        package = require("tokenizers", "texts in ONNX models")
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            raise InvalidArgumentError(f"model is {str(self.folder)!r}, expected tokenizer.json beside the text model")
        self.read.append(path)
        try:
            tokenizer = package.Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises nothing narrower
            raise CorruptIndexError(f"{path} is not a tokenizer: {error}") from error
        config = self._config("sentence_bert_config.json"), self._config("tokenizer_config.json")
        known = config[0].get("max_seq_length") or config[1].get("model_max_length") or 512
        tokenizer.enable_truncation(max_length or (int(known) if known < 2**20 else 512))
        tokenizer.no_padding()
        self.text_pool = pool_of(self._config("1_Pooling/config.json"))
        return tokenizer

    def _config(self, name: str, needed: str = "") -> dict[str, Any]:
        """What a JSON file of the folder holds; nothing if it is not there and not `needed`."""
        path = self.folder / name
        if not path.is_file():
            if needed:
                raise InvalidArgumentError(f"model is {str(self.folder)!r}, expected {name}, which {needed} need")
            return {}
        self.read.append(path)
        try:
            found = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise CorruptIndexError(f"{path} is not JSON: {error}") from error
        return found if isinstance(found, dict) else {}


def as_provider(runtime: Any, device: str) -> str:
    """What ONNX Runtime calls `device`."""
    as_choice(device, "device", ("auto", "cpu", "cuda"))
    there = runtime.get_available_providers()
    if device == "cuda" and "CUDAExecutionProvider" not in there:
        raise UnsupportedError(
            f"device is 'cuda', which this ONNX Runtime lacks ({there}): pip install onnxruntime-gpu"
        )
    return "CUDAExecutionProvider" if device != "cpu" and "CUDAExecutionProvider" in there else "CPUExecutionProvider"


def session(runtime: Any, path: Path, *, provider: str, n_threads: int) -> Any:
    """The model in `path`, ready to run."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # its exceptions have no common class of their own
        raise CorruptIndexError(f"{path} is not a model that ONNX Runtime can load: {error}") from error


def model_files(folder: Path, file: str | None, side: str) -> Iterator[Path]:
    """Files that may hold the model of texts or of images."""
    if file is not None:
        if not (folder / file).is_file():
            raise InvalidArgumentError(f"file is {show(file)}, expected a file in {str(folder)!r}")
        yield folder / file
        return
    for name in NAMES[side]:
        yield from (path for path in (folder / name, folder / "onnx" / name) if path.is_file())


def weights(path: Path) -> list[Path]:
    """An ONNX file and those beside it that hold its large tensors, named after it."""
    return [
        file
        for file in path.parent.iterdir()
        if file == path or file.name.startswith((f"{path.name}_", f"{path.name}."))
    ]


def takes(model_session: Any) -> list[str]:
    """Which items a model takes: texts if it asks for tokens, images if its one input has four axes."""
    inputs = model_session.get_inputs()
    if any(each.name == "input_ids" for each in inputs):
        return ["texts"] if all(len(each.shape) == 2 for each in inputs) else []
    return ["images"] if [len(each.shape) for each in inputs] == [4] else []


def pool_of(config: dict[str, Any]) -> str:
    """How sentence-transformers' configuration pools tokens."""
    modes = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
    on = [pool for mode, pool in modes.items() if config.get(f"pooling_mode_{mode}")]
    given = modes.get(str(config.get("pooling_mode")), config.get("pooling_mode"))
    return on[0] if on else given if given in POOLS else "mean"


def pooled(output: NDArray[Any], pool: str, mask: NDArray[np.int64] | None) -> NDArray[Any]:
    """One vector an item, of vectors, tokens or maps; the mask says which tokens count, without one all do."""
    if output.ndim == 2:
        return output
    if output.ndim == 4:
        return np.asarray(output.mean((2, 3)))
    weights = np.ones(output.shape[:2]) if mask is None else mask
    if pool != "mean":
        places = weights.sum(1).astype(int) - 1 if pool == "last" else np.zeros(len(output), int)
        return np.asarray(output[np.arange(len(output)), places])
    return np.asarray(np.einsum("ntd,nt->nd", output, weights.astype(output.dtype)) / weights.sum(1, keepdims=True))


def padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """`rows` as one matrix, zeros behind the shorter ones: where the mask is 0, the token does not matter."""
    matrix = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for row, values in zip(matrix, rows, strict=True):
        row[: len(values)] = values
    return matrix


def batched(items: Iterator[Any], n: int) -> Iterator[list[Any]]:
    """Lists of up to `n`."""
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == n:
            yield batch
            batch = []
    if batch:
        yield batch
