"""Files of vectors that others write and read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._folder import npy_header
from .._validate import as_array, as_path, show
from ..exceptions import CorruptIndexError, InvalidArgumentError, StorageError, UnsupportedError
from ..storage import as_bytes, replace_file
from ..types import Metric

__all__ = ["Benchmark", "read_benchmark", "read_vectors", "write_vectors"]

ROWS = {".fvecs": "<f4", ".bvecs": "u1", ".ivecs": "<i4"}  # each row behind its length
MATRICES = {".fbin": "<f4", ".u8bin": "u1", ".i8bin": "i1"}  # rows, columns, then all numbers
METRICS: dict[str, Metric] = {"angular": "cosine", "euclidean": "l2", "dot": "ip"}


class Benchmark(NamedTuple):
    """What a file of ann-benchmarks holds; ``neighbors`` are rows of ``train``, nearest first."""

    train: NDArray[np.float32]
    test: NDArray[np.float32]
    neighbors: NDArray[np.int64]
    metric: Metric


def read_vectors(path: str | os.PathLike[str], *, key: str | None = None) -> NDArray[Any]:
    """The vectors of a file, shape (n, dim), in the dtype that it has.

    Parameters
    ----------
    path : path_like
        By the end of its name: ``.npy``; ``.fvecs``, ``.bvecs`` or ``.ivecs`` (each row behind its length);
        ``.fbin``, ``.u8bin`` or ``.i8bin`` (uint32 rows and columns, then all numbers); ``.safetensors``; ``.hdf5`` or
        ``.h5``.
    key : str, optional
        Which of the tensors of a safetensors or HDF5 file. Default: the only one there is; in HDF5 "train".

    Returns
    -------
    ndarray
        Of the first two kinds and of matrices mapped, not read.

    Raises
    ------
    CorruptIndexError
        The file is not what its name says, is cut short or too long.
    StorageError
        It cannot be read.
    UnsupportedError
        A package that the format needs is not installed.

    Examples
    --------
    >>> import os, tempfile, numpy as np
    >>> from engine.interop import read_vectors, write_vectors
    >>> path = os.path.join(tempfile.mkdtemp(), "two.fvecs")
    >>> write_vectors(path, np.eye(2, 3, dtype=np.float32))
    >>> read_vectors(path).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    name = as_path(path)
    end = ending(name, READERS)
    try:
        array = READERS[end](name, key)
    except OSError as error:
        if isinstance(error, StorageError) or error.errno is None:
            raise CorruptIndexError(f"{name} cannot be read: {error}") from error
        raise StorageError(error.errno, f"cannot read vectors: {error.strerror}", name) from error
    except KeyError as error:
        raise InvalidArgumentError(f"key is {show(key)}, which {name} does not have: {error}") from None
    if array.ndim != 2:
        raise CorruptIndexError(f"{name} has shape {array.shape}, expected (n, dim)")
    return array


def write_vectors(path: str | os.PathLike[str], vectors: ArrayLike, *, key: str = "vectors") -> None:
    """Write vectors into a file that others read; its name says of which kind, as for `read_vectors`.

    Parameters
    ----------
    path : path_like
        Replaced in one step, but for HDF5.
    vectors : array_like, shape (n, dim)
        Of the dtype of the format, or of one that it holds without loss.
    key : str, default "vectors"
        Name of the tensor in a safetensors or HDF5 file.

    Raises
    ------
    InvalidArgumentError
        Another shape, or numbers that the format cannot hold.
    StorageError
        The disk said no.
    """
    name = as_path(path)
    end = ending(name, WRITERS)
    array = as_array(vectors, "vectors")
    if array.ndim != 2:
        raise InvalidArgumentError(f"vectors has shape {array.shape}, expected (n, dim)")
    WRITERS[end](name, array, key)


def read_benchmark(path: str | os.PathLike[str]) -> Benchmark:
    """Base, queries, the true neighbours and the metric of a HDF5 file of ann-benchmarks."""
    name = as_path(path)
    parts = {key: read_vectors(name, key=key) for key in ("train", "test", "neighbors")}
    with h5py().File(name) as file:
        distance = str(file.attrs.get("distance", ""))
    if distance not in METRICS:
        raise CorruptIndexError(f"{name} has the distance {distance!r}, expected one of {list(METRICS)}")
    train, test = (np.asarray(parts[key], np.float32) for key in ("train", "test"))
    return Benchmark(train, test, parts["neighbors"].astype(np.int64), METRICS[distance])


def ending(name: str, known: dict[str, Any]) -> str:
    end = os.path.splitext(name)[1]
    if end not in known:
        raise InvalidArgumentError(f"path is {name!r}, expected a name that ends in one of {', '.join(known)}")
    return end


def read_npy(name: str, key: str | None) -> NDArray[Any]:
    try:
        return cast("NDArray[Any]", np.load(name, mmap_mode="r", allow_pickle=False))
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged header makes numpy raise whatever it stumbles over
        raise CorruptIndexError(f"{name} is not a sound .npy file: {error!r}") from None


def read_rows(name: str, key: str | None) -> NDArray[Any]:
    dtype = np.dtype(ROWS[os.path.splitext(name)[1]])
    raw = mapped(name)
    dim = int(raw[:4].view("<i4")[0]) if len(raw) >= 4 else 0
    width = 4 + dim * dtype.itemsize
    if dim < 1 or len(raw) % width:
        raise CorruptIndexError(f"{name} has {len(raw)} bytes, expected rows of {width}: its first row says dim {dim}")
    table = raw.reshape(-1, width)
    lengths = table[:, :4].copy().view("<i4")[:, 0]
    if (lengths != dim).any():
        row = int(np.argmax(lengths != dim))
        raise CorruptIndexError(f"{name} has dim {lengths[row]} in row {row}, expected {dim} as in row 0")
    return np.ndarray((len(table), dim), dtype, raw.data, 4, (width, dtype.itemsize))


def read_matrix(name: str, key: str | None) -> NDArray[Any]:
    dtype = np.dtype(MATRICES[os.path.splitext(name)[1]])
    raw = mapped(name)
    n, dim = raw[:8].view("<u4").tolist() if len(raw) >= 8 else (0, 0)
    if len(raw) != 8 + n * dim * dtype.itemsize:
        raise CorruptIndexError(f"{name} has {len(raw)} bytes, its header says {n} rows of dim {dim}")
    return raw[8:].view(dtype).reshape(n, dim)


def mapped(name: str) -> NDArray[np.uint8]:
    return np.memmap(name, np.uint8, "r") if os.stat(name).st_size else np.empty(0, np.uint8)


def read_safetensors(name: str, key: str | None) -> NDArray[Any]:
    library = imported("safetensors.numpy", "safetensors")
    try:
        tensors = library.load_file(name)
    except OSError:
        raise
    except Exception as error:  # its own, which derives from Exception alone
        raise CorruptIndexError(f"{name} is not a sound safetensors file: {error}") from None
    return cast("NDArray[Any]", tensors[only(tensors, key, name)])


def read_hdf5(name: str, key: str | None) -> NDArray[Any]:
    with h5py().File(name) as file:
        return np.asarray(file[only(file, key or ("train" if "train" in file else None), name)])


def only(tensors: Any, key: str | None, name: str) -> str:
    if key is not None:
        return key
    if len(tensors) != 1:
        raise InvalidArgumentError(f"key is None, but {name} has {sorted(tensors)}: expected one of them")
    return str(next(iter(tensors)))


def write_npy(name: str, array: NDArray[Any], key: str) -> None:

    block = np.ascontiguousarray(array)
    replace_file(
        os.path.realpath(name),
        [as_bytes(np.frombuffer(npy_header(block.dtype, block.shape), np.uint8)), as_bytes(block)],
    )


def write_rows(name: str, array: NDArray[Any], key: str) -> None:
    block = exactly(array, ROWS[os.path.splitext(name)[1]])
    lengths = np.full((len(block), 1), block.shape[1], "<i4").view(np.uint8)
    rows = np.hstack([lengths, block.reshape(len(block), -1).view(np.uint8)])
    replace_file(os.path.realpath(name), [as_bytes(rows)])


def write_matrix(name: str, array: NDArray[Any], key: str) -> None:
    block = exactly(array, MATRICES[os.path.splitext(name)[1]])
    replace_file(os.path.realpath(name), [as_bytes(np.array(block.shape, "<u4")), as_bytes(block)])


def write_safetensors(name: str, array: NDArray[Any], key: str) -> None:
    data = imported("safetensors.numpy", "safetensors").save({key: np.ascontiguousarray(array)})
    replace_file(os.path.realpath(name), [np.frombuffer(data, np.uint8)])


def write_hdf5(name: str, array: NDArray[Any], key: str) -> None:
    try:
        with h5py().File(name, "w") as file:
            file[key] = array
    except OSError as error:
        raise StorageError(error.errno, f"cannot write vectors: {error}", name) from error


def exactly(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """`array` in another dtype, if that can hold its numbers."""
    with np.errstate(all="ignore"):
        held = np.ascontiguousarray(array, dtype)
    wrong = held.astype(array.dtype) != array
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InvalidArgumentError(
            f"vectors[{row}, {column}] is {array[row, column]}, expected what {held.dtype} can hold"
        )
    return held


def h5py() -> Any:
    return imported("h5py", "h5py")


def imported(module: str, package: str) -> Any:
    """A package that is needed for one format."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UnsupportedError(f"this needs the package {package}: pip install 'nearfield[interop]'") from error


Reader = Callable[[str, "str | None"], NDArray[Any]]
READERS: dict[str, Reader] = {
    ".npy": read_npy,
    **dict.fromkeys(ROWS, read_rows),
    **dict.fromkeys(MATRICES, read_matrix),
    ".safetensors": read_safetensors,
    **dict.fromkeys((".hdf5", ".h5"), read_hdf5),
}
WRITERS: dict[str, Callable[[str, NDArray[Any], str], None]] = {
    ".npy": write_npy,
    **dict.fromkeys(ROWS, write_rows),
    **dict.fromkeys(MATRICES, write_matrix),
    ".safetensors": write_safetensors,
    **dict.fromkeys((".hdf5", ".h5"), write_hdf5),
}
