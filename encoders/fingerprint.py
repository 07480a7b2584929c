"""What a preprocessing function and a module are, as text that is the same in the next process."""

from __future__ import annotations

import builtins
import dis
import functools
import sys
from collections import ChainMap
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

from engine._validate import show
from engine.exceptions import InvalidArgumentError

from .base import require
from .preprocess import Prepare, Preprocess

if TYPE_CHECKING:
    import torch

__all__ = ["describe", "files_hash", "module_hash"]

# What these hold does the same whenever it has the same name; what the user's own modules hold does not.
LIBRARIES = sys.stdlib_module_names | {
    "PIL", "cv2", "encoders", "engine", "numpy", "scipy", "skimage", "torch", "torchvision",
}  # fmt: skip
ATOMS = {type(None), type(...), bool, int, float, complex, str, bytes, range}
CODE = (
    "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_flags", "co_code", "co_exceptiontable", "co_names",
    "co_varnames", "co_freevars", "co_cellvars", "co_consts",
)  # fmt: skip


class Unhashable(Exception):
    """A value that the hash cannot cover; the message says which."""


def describe(preprocess: Prepare) -> str:
    """What `preprocess` does: settings, or the hash of a function with all it refers to."""
    if type(preprocess) is Preprocess:
        return repr(preprocess)
    try:
        return digest(preprocess, "it").hex()
    except Unhashable as reason:
        raise InvalidArgumentError(
            f"preprocess is {show(preprocess)}, expected a Preprocess, or a function whose code and data can be "
            f"hashed, but {reason}: pass preprocess_id='...', to be changed whenever preprocess changes"
        ) from None


def digest(value: Any, where: str, above: tuple[object, ...] = ()) -> bytes:
    """Hash of `value`; `where` it was met, for messages; `above` are the values that hold it."""
    kind = type(value)
    if kind in ATOMS:
        return hashed(kind.__name__, [repr(value).encode()])
    if name := library_name(value):
        return hashed("library", [name.encode()])
    if data := bytes_of(value):
        return hashed("data", data)
    for depth, holder in enumerate(reversed(above)):
        if holder is value:  # it refers to itself
            return hashed("above", [str(depth).encode()])
    parts = parts_of(value, where)
    if parts is None:
        raise Unhashable(f"{where} is {show(value)}")
    digests = [digest(part, at, (*above, value)) for at, part in parts]
    return hashed(kind.__name__, sorted(digests) if kind in (set, frozenset) else digests)


def library_name(value: Any) -> str:
    """Where a library holds `value`; empty if none does."""
    kind = type(value)
    if kind is ModuleType:
        name = str(value.__name__)
        return name if is_library(name) else ""
    if isinstance(value, Enum):
        return f"{kind.__module__}.{kind.__qualname__}.{value.name}" if is_library(kind.__module__) else ""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or not is_library(module):
        return ""
    for attribute in ("__qualname__", "__name__"):
        path = str(getattr(value, attribute, None))
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
        if found is value:
            return f"{module}.{path}"
    return ""


def is_library(module: str) -> bool:
    return module.partition(".")[0] in LIBRARIES


def bytes_of(value: Any) -> list[Any]:
    """Type and bytes of what is data and nothing else; empty for all other values."""
    kind, torch = type(value), sys.modules.get("torch")
    if kind is Preprocess or isinstance(value, np.dtype) or (torch and kind in (torch.dtype, torch.device)):
        return [repr(value).encode()]
    if (kind is np.ndarray or isinstance(value, np.generic)) and not value.dtype.hasobject:
        return [repr((value.dtype, value.shape)).encode(), value.tobytes()]
    if torch and kind in (torch.Tensor, torch.nn.Parameter) and value.layout is torch.strided:
        return tensor_bytes(value)
    return []


def parts_of(value: Any, where: str) -> Iterable[tuple[str, Any]] | None:
    """All that decides what `value` is or does, each with where it is; None for what cannot be taken apart."""
    kind = type(value)
    if kind in (tuple, list, set, frozenset):
        return [(where, item) for item in value]
    if kind is dict:
        return [(where, item) for pair in value.items() for item in pair]
    if kind is slice:
        return [(where, item) for item in (value.start, value.stop, value.step)]
    if kind is CodeType:
        return [(where, getattr(value, name, None)) for name in CODE]
    if kind is functools.partial:
        return [(where, part) for part in (value.func, value.args, value.keywords)]
    return function_parts(value) if kind is FunctionType else None


def function_parts(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Code, defaults, and what the free and the global names stand for."""
    name = function.__name__
    yield f"the code of {name}", function.__code__
    yield f"a default of {name}", function.__defaults__
    yield f"a default of {name}", function.__kwdefaults__
    yield f"an attribute of {name}", function.__dict__
    for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{free!r} around {name}", cell.cell_contents
        except ValueError:
            raise Unhashable(f"{free!r} around {name} has no value yet") from None
    for used in sorted(global_names(function.__code__)):
        yield "a name", used
        try:
            yield f"the global {used!r} of {name}", ChainMap(function.__globals__, vars(builtins))[used]
        except KeyError:
            raise Unhashable(f"the global {used!r} of {name} has no value yet") from None


def global_names(code: CodeType) -> set[str]:
    """Names that `code`, with the functions in it, looks up in its module or imports."""
    names = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            names.add(str(instruction.argval))
        elif instruction.opname == "IMPORT_NAME" and not is_library(str(instruction.argval)):
            raise Unhashable(f"it imports {instruction.argval!r}")
    return names.union(*(global_names(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def hashed(kind: str, parts: Iterable[Any]) -> bytes:
    """Hash over `parts`, whose lengths count too."""
    state = xxhash.xxh3_128(kind.encode())
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.digest()


def module_hash(module: torch.nn.Module) -> str:
    """Hash over names, shapes and values of all parameters and buffers."""
    state = xxhash.xxh3_128()
    for name, tensor in sorted([*module.named_parameters(), *module.named_buffers()], key=lambda pair: pair[0]):
        kind, data = tensor_bytes(tensor)
        state.update(f"{name}:".encode() + kind)
        state.update(data)
    return state.hexdigest()


def files_hash(folder: Path, files: Iterable[Path]) -> str:
    """Hash over the names in `folder` and the content of `files`."""
    state = xxhash.xxh3_128()
    for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
        content = xxhash.xxh3_128()
        with file.open("rb") as opened:
            while part := opened.read(2**24):
                content.update(part)
        state.update(f"{name}:{content.hexdigest()}\n".encode())
    return state.hexdigest()


def tensor_bytes(tensor: torch.Tensor) -> list[Any]:
    """Type and values of `tensor`."""
    torch = require("torch", "features")
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return [f"{tensor.dtype}:{tuple(tensor.shape)}\n".encode(), flat.view(torch.uint8).numpy()]
