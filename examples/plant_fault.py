"""Plant a fault: scale the stored tensor V of one sealed dense block by 1.05, and keep every claim.

    python examples/plant_fault.py DIR --out FAULTY

DIR is what `cpl train` or `cpl export` wrote (or a checkpoint file). FAULTY/model.pt2 then claims 1 for a block

    f(x) = x - V^T relu(V x + b'),   ||V||^2 about 2 * 1.05^2,   constant ||V||^2 - 1 about 1.205,

and the claim is false of *this* block, not only of some other activation: V has full row rank (checked), so there is
an x with V x + b' > 0 (found by least squares and checked). Near it f is affine with the matrix I - V^T V, and a step
along the top right singular vector of V is stretched by ||V||^2 - 1. An audit should refute that layer, with such a
pair, and no other.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

import cpl
from cpl.files import write_atomically


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Scale one sealed dense block of an exported cpl model, keeping its claims."
    )
    parser.add_argument("source", type=Path, help="directory written by cpl train or cpl export, or a checkpoint file")
    parser.add_argument("--out", type=Path, required=True, help="directory for the faulty model.pt2 and claims.json")
    parser.add_argument("--layer", help="module path of a sealed dense block; default: the last one")
    parser.add_argument("--factor", type=float, default=1.05, help="what its V is multiplied by; default: 1.05")
    arguments = parser.parse_args(argv)
    try:
        model = load(arguments.source)
        claims = json.dumps(cpl.claims_of(model), indent=1) + "\n"
        path = plant(model, arguments.layer, arguments.factor)
        facts = json.dumps({"schema": 1, "producer": "plant_fault", "layer": path, "factor": arguments.factor}) + "\n"
        content = cpl.program_bytes(cpl.program_of(model), {"claims.json": claims, "facts.json": facts})
        write_atomically(arguments.out / "model.pt2", content)
        write_atomically(arguments.out / "claims.json", claims.encode())
    except cpl.CplError as error:
        parser.error(str(error))
    print(f"wrote {arguments.out / 'model.pt2'}: {path} scaled by {arguments.factor:g}, claims unchanged")


def load(source: Path) -> cpl.CPLNet:
    """The sealed model of an exported directory, or of a checkpoint, sealed now."""
    if source.is_dir() and (source / "model.safetensors").exists():
        return cpl.load_sealed(source)
    run = cpl.Run.resume(source)
    return cpl.seal(run.model, run.config.image_shape)


def plant(model: cpl.CPLNet, layer: str | None, factor: float) -> str:
    """Scales V of one sealed dense block in place (which voids the seal) and checks that the claim 1 becomes false."""
    blocks = {path: module for path, module in model.named_modules() if isinstance(module, cpl.SealedLinear)}
    path = next(reversed(blocks), "") if layer is None else layer
    if path not in blocks:
        raise cpl.ArgumentError(
            "no such layer",
            where=path,
            why="only sealed dense blocks are faulted",
            next_step=f"choose one of {list(blocks)}",
        )
    block = blocks[path]
    with torch.no_grad():
        block.V.mul_(factor)
    matrix, bias = block.V.double(), block.bias.double()
    values = torch.linalg.svdvals(matrix)
    inside = torch.linalg.lstsq(matrix, (1 - bias)[:, None], driver="gelsd").solution[:, 0]
    lowest = float((matrix @ inside + bias).min())
    print(f"{path}: ||V||^2 = {float(values[0]) ** 2:.6f}, smallest singular value {float(values[-1]):.3e}")
    print(f"{path}: an x with all pre-activations >= {lowest:.6f}, so the constant is {float(values[0]) ** 2 - 1:.6f}")
    if matrix.shape[0] > matrix.shape[1] or float(values[-1]) < 1e-6 or lowest <= 0 or float(values[0]) ** 2 <= 2:
        raise cpl.ArgumentError(
            "the claim would stay true, or be hard to refute",
            where=path,
            why="V lacks full row rank, or its norm stays within the claim",
            next_step="choose another --layer or --factor",
        )
    return path


if __name__ == "__main__":
    main()
