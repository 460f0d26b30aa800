"""Real archives of torch.export, and ways to spoil them."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


class Network(nn.Module):
    """A convolution, a shared module called twice, batch norm, several results of one operation, a lifted constant."""

    kept: torch.Tensor
    dropped: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.act = nn.ReLU()
        self.mix = nn.Linear(4, 4)
        self.head = nn.Linear(32, 3)
        self.register_buffer("kept", torch.rand(4))
        self.register_buffer("dropped", torch.rand(4), persistent=False)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        x = self.mix(self.act(self.mix(x))) + self.kept * self.dropped + torch.tensor(2.0)
        left, right = x.split(2, dim=3)
        return self.head(torch.cat([right, left], 3).flatten(1))


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    model = Network().eval()
    model.norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model


EXAMPLE = torch.linspace(-1, 1, 16).reshape(1, 1, 4, 4)


def save(model: nn.Module, example: torch.Tensor, *, core: bool = True, **options: Any) -> bytes:
    program = torch.export.export(model, (example,), **options)
    buffer = BytesIO()
    torch.export.save(program.run_decompositions() if core else program, buffer, extra_files={"claims.json": "{}"})
    return buffer.getvalue()


@cache
def vanilla() -> bytes:
    return save(network(), EXAMPLE)


@cache
def tiny() -> bytes:
    torch.manual_seed(0)
    return save(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).eval(), torch.zeros(1, 3))


def entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}


def pack(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_STORED, root: str = "archive") -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(f"{root}/{name}", data)
    return path


def spoil(path: Path, change: Callable[[Any], Any], entry: str = MODEL, data: bytes | None = None) -> Path:
    """A tiny archive whose JSON entry went through ``change``, which edits in place or returns another value."""
    files = entries(tiny() if data is None else data)
    value = copy.deepcopy(json.loads(files[entry]))
    changed = change(value)
    files[entry] = json.dumps(value if changed is None else changed).encode()
    return pack(path, files)
