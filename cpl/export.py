"""Writing a sealed CPLNet with what it claims: model.pt2, model.safetensors, claims.json, inputs.npz.

Claims (bounds as decimal text): every sealed layer of the trunk, the pooling, the down-sampling and MaxMin 1 in l2; the trunk
1 in l2; the head and the whole network 1 from l2 to linf (each logit is 1-Lipschitz) and, in l2, an upper bound of the head's
spectral norm. A standardisation inside the network claims 1 / min std, and the trunk and the whole network that times as much.
They are claims: cpl proves none of them.
"""

from __future__ import annotations

import io
import json
import warnings
from dataclasses import asdict, dataclass
from decimal import ROUND_CEILING, Context, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cpl.activations import MaxMin
from cpl.certify import Accuracy
from cpl.config import CPLNetConfig
from cpl.errors import CheckpointError, SealError, reason
from cpl.files import write_atomically
from cpl.fixed import Standardize, UnitNormAvgPool2d
from cpl.models import CPLNet
from cpl.norms import gram_upper_dense
from cpl.sealing import seal, seal_of, sealed_head, trunk_constant
from cpl.shrink import SHRINK

PROGRAM, TENSORS, CLAIMS, INPUTS = "model.pt2", "model.safetensors", "claims.json", "inputs.npz"
EXPORTED = (PROGRAM, TENSORS, CLAIMS, INPUTS)
MOST_FACTS = 2**22
FIXED = (UnitNormAvgPool2d, MaxMin, nn.PixelUnshuffle)
AGAIN = "export the model again: cpl export CHECKPOINT --out DIR"


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a model came to be: the run's settings, its accuracy and the number of test images it was measured on."""

    settings: dict[str, Any]
    accuracy: Accuracy


def claims_of(model: CPLNet) -> dict[str, Any]:
    """The claims of a sealed CPLNet, as they stand in claims.json.

    Raises:
        SealError: the model is not sealed, or its seal is void.
    """
    record = seal_of(model)
    head, trunk = sealed_head(model), trunk_constant(model)
    ones = {layer.path for layer in record.layers if layer.kind != "rows" and layer.path != "head"}
    claims = []
    for path, module in model.named_modules():
        if path in ones or isinstance(module, FIXED):
            claims.append({"layer": path, "bound": "1"})
        elif isinstance(module, Standardize):
            claims.append({"layer": path, "bound": _ceiling(module.constant)})
    claims.append({"layer": "trunk", "bound": _ceiling(trunk)})
    spectral = gram_upper_dense(head.weight) * (1 + SHRINK) if head.seal.kind == "rows" else 1.0
    for path, factor in (("head", 1.0), ("", trunk)):
        claims += [
            {"layer": path, "bound": _ceiling(factor), "norm": "l2->linf"},
            {"layer": path, "bound": _ceiling(spectral * factor), "norm": "l2->l2"},
        ]
    return {"claims": claims}


def program_of(model: CPLNet) -> torch.export.ExportedProgram:
    """The model as a core ATen program for one input (static batch of 1); pad nodes stay, so that circular padding is
    seen as such.

    The seal is not checked here: `export_model` does.
    """
    shape, dtype = model.config.image_shape, next(model.parameters()).dtype
    table = torch.export.default_decompositions()
    table.pop(torch.ops.aten.pad.default, None)
    with warnings.catch_warnings():  # of torch 2.13 about itself: its pytree specs copy through a deprecated isinstance
        warnings.filterwarnings("ignore", message=r".*treespec.*LeafSpec", category=FutureWarning)
        program = torch.export.export(model.eval(), (torch.zeros(1, *shape, dtype=dtype),), strict=False)
        return program.run_decompositions(table)


def program_bytes(program: torch.export.ExportedProgram, extra_files: dict[str, str]) -> bytes:
    """The content of a .pt2 file, extra files inside."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=dict(extra_files))
    return buffer.getvalue()


def export_model(
    model: CPLNet, directory: Path, *, inputs: Tensor, provenance: Provenance | None = None
) -> tuple[Path, ...]:
    """Writes a sealed model into a directory, each file whole or not at all.

    Args:
        model: sealed.
        directory: is made if it does not exist.
        inputs: images at which an audit may look, shape (n, channels, height, width); written as array `x` of
            inputs.npz.
        provenance: recorded in facts.json inside model.pt2.

    Returns:
        The paths of model.pt2, model.safetensors, claims.json and inputs.npz.

    Raises:
        SealError: the model is not sealed, or its seal is void; nothing is written.
        CheckpointError: the directory cannot be written.
    """
    record = seal_of(model)
    claims = json.dumps(claims_of(model), indent=1) + "\n"
    facts = {"schema": 1, "producer": "cpl", "config": model.config.to_dict(), "seal": asdict(record)}
    if provenance is not None:
        facts |= {"settings": provenance.settings, "accuracy": asdict(provenance.accuracy)}
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    images = io.BytesIO()
    np.savez_compressed(images, x=inputs.detach().cpu().numpy())
    contents = {
        PROGRAM: program_bytes(program_of(model), {CLAIMS: claims, "facts.json": text}),
        TENSORS: _tensor_bytes(model, text),
        CLAIMS: claims.encode(),
        INPUTS: images.getvalue(),
    }
    for name, content in contents.items():
        write_atomically(directory / name, content)
    return tuple(directory / name for name in contents)


def read_facts(path: Path) -> dict[str, Any]:
    """The facts recorded in model.safetensors (or in the directory that holds it): config, seal, settings, accuracy.

    Raises:
        CheckpointError: missing, corrupt, or not written by `export_model`.
    """
    return _read(path)[0]


def load_sealed(path: Path) -> CPLNet:
    """Rebuilds the sealed model from model.safetensors (or the directory that holds it); every bound is computed again.

    Raises:
        CheckpointError: missing, corrupt, or not written by `export_model`.
        SealError: a stored tensor violates its bound, or the digest does not match.
    """
    facts, stored = _read(path)
    config = CPLNetConfig.from_dict(facts["config"])
    if config.weights != sum(tensor.numel() for tensor in stored.values()):  # before anything of that size is made
        raise CheckpointError(
            "the tensors belong to another architecture",
            where=str(path),
            why="their number of entries is not that of the configuration stored beside them",
            next_step=AGAIN,
        )
    skeleton = CPLNet(config).to(next(iter(stored.values())).dtype)
    model = seal(skeleton, skeleton.config.image_shape, stored=stored)
    if seal_of(model).digest != facts["seal"]["digest"]:
        raise SealError(
            "the digest does not match", where=str(path), why="the file was changed after export", next_step=AGAIN
        )
    return model


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    path = path / TENSORS if path.is_dir() else path
    if not path.is_file():
        raise CheckpointError("there is no exported model", where=str(path), why="no such file", next_step=AGAIN)
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {})["facts"]
            if len(text) > MOST_FACTS:
                raise ValueError(f"its facts are longer than {MOST_FACTS} characters")
            facts = json.loads(text)
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if not isinstance(facts["config"], dict) or not isinstance(facts["seal"]["digest"], str) or not stored:
            raise ValueError("its facts are incomplete")
        if not {tensor.dtype for tensor in stored.values()} <= {torch.float32, torch.float64}:
            raise ValueError("its tensors are neither float32 nor float64")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            "the exported model cannot be read", where=str(path), why=reason(error), next_step=AGAIN
        ) from error
    return facts, stored


def _tensor_bytes(model: CPLNet, facts: str) -> bytes:
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    return save(tensors, metadata={"facts": facts})


def _ceiling(bound: float) -> str:
    """The shortest of at most 9 significant decimal digits that is >= bound."""
    return str(Context(prec=9, rounding=ROUND_CEILING).create_decimal(Decimal(bound)))
