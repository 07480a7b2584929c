"""A small torch module and what the tests of several files do with it; without torch those files are skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from encoders import Preprocess, TorchFeatureExtractor

torch = pytest.importorskip("torch")
SMALL = Preprocess(size=16, resize=16)


class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Two convolutions, tokens, a class token and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.relu = torch.nn.ReLU(inplace=True)
        self.drop = torch.nn.Dropout(0.5)
        self.norm = torch.nn.BatchNorm2d(4)
        self.tokens = torch.nn.Flatten(2)
        self.attention = torch.nn.MultiheadAttention(4, 1, batch_first=True)
        self.head = torch.nn.Linear(4, 2)
        self.unused = torch.nn.Linear(4, 2)

    def forward(self, x: Any, t: Any = None) -> Any:
        maps = self.norm(self.drop(self.relu(self.conv(x))))
        tokens = self.tokens(maps).transpose(1, 2)
        mixed, _ = self.attention(tokens, tokens, tokens)
        moved = 0 if t is None else t[:, None].float()
        return self.head(mixed.mean(1) + moved)


class TokensFirst(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A transformer as torch builds it by default: 16 tokens on the first axis, images on the second."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = torch.nn.TransformerEncoderLayer(48, 4, 16)
        self.last = torch.nn.Identity()

    def forward(self, x: Any) -> Any:
        tokens = torch.nn.functional.unfold(x, 4, stride=4)  # (n, 48, 16)
        return self.last(self.block(tokens.permute(2, 0, 1)).transpose(0, 1))


def prepared(images: list[Any]) -> Any:
    return torch.stack([SMALL(image) for image in images])


def extractor(net: Any, layer: str, pool: str = "gap", **options: Any) -> TorchFeatureExtractor:
    return TorchFeatureExtractor(net, layer, pool, **{"preprocess": SMALL, **options})


def at_once(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each task returns, or the exception it raised, with a thread for each."""
    results: list[Any] = [None] * len(tasks)
    start = threading.Barrier(len(tasks))

    def work(number: int) -> None:
        start.wait()
        try:
            results[number] = tasks[number]()
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
