"""Where a torch model runs and what it computes in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from engine._validate import as_choice, as_count, show
from engine.exceptions import InvalidArgumentError, UnsupportedError

from .base import require

if TYPE_CHECKING:
    import torch

__all__ = ["as_batch_size", "as_device", "as_dtype", "as_workers"]

DTYPES = ("auto", "float32", "float16", "bfloat16")
BATCH_SIZE_ON_GPU = 256  # which idles with less; a processor's caches hold less


def as_device(device: str | torch.device) -> torch.device:
    """The device of that name, which must be there; "auto" is a CUDA device if there is one, else the CPU."""
    torch = require("torch", "an encoder with a device")
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(device, (str, torch.device)):
        raise InvalidArgumentError(f"device is {show(device)}, expected 'auto', 'cpu', 'cuda', 'cuda:1', ...")
    try:
        known = torch.device(device)
    except RuntimeError as error:
        expected = "expected 'auto', 'cpu', 'cuda', 'cuda:1', ..."
        raise InvalidArgumentError(f"device is {show(device)}, {expected}: {first_line(error)}") from None
    try:
        torch.empty(0, device=known)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise UnsupportedError(
            f"device is {str(known)!r}, which torch {torch.__version__} does not find here ({first_line(error)}): "
            "expected 'auto' or 'cpu'"
        ) from None
    return known


def as_dtype(dtype: str, device: torch.device) -> str:
    """The name of the dtype to compute in, which `device` must be able to; "auto" is the fastest.

    On a GPU that is float16; on a processor bfloat16 if it multiplies such matrices itself, else float32.
    """
    as_choice(dtype, "dtype", DTYPES)
    if dtype == "auto":
        if device.type == "cuda":
            return "float16"
        return "bfloat16" if device.type == "cpu" and multiplies_bfloat16() else "float32"
    if device.type == "cpu" and dtype != "float32" and not computes(dtype):
        raise UnsupportedError(f"dtype is {dtype!r}, which this processor has no instructions for: expected 'float32'")
    return dtype


def multiplies_bfloat16() -> bool:
    """True if the processor has matrix instructions for bfloat16: AMX or AVX512-BF16."""
    cpu = require("torch", "an encoder with a dtype").cpu
    return any(getattr(cpu, name, bool)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))


def computes(dtype: str) -> bool:
    """True if oneDNN, which torch calls, has kernels of that half precision for this processor."""
    operators = require("torch", "an encoder with a dtype").ops.mkldnn
    short = {"float16": "fp16", "bfloat16": "bf16"}[dtype]
    return bool(getattr(operators, f"_is_mkldnn_{short}_supported", bool)())


def as_batch_size(batch_size: int | str, device: torch.device, on_cpu: int = 16) -> int:
    """A whole number; "auto" is what suits `device`, of which the CPU depends on the model."""
    if isinstance(batch_size, str) and batch_size == "auto":
        return on_cpu if device.type == "cpu" else BATCH_SIZE_ON_GPU
    return as_count(batch_size, "batch_size")


def as_workers(workers: int | str) -> int:
    """A number of threads; "auto" is one for each processor this process may use, at most 16."""
    if isinstance(workers, str) and workers == "auto":
        return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return as_count(workers, "workers", most=256)


def first_line(error: Any) -> str:
    return str(error).partition("\n")[0]
