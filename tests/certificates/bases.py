"""Small certified networks: every rule of the checker in certificates that take it a few milliseconds."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from lipverify.auditing import audit
from lipverify.certificates import certify, weights_of
from lipverify.graph import trace
from lipverify.rigor.rounding import decimal_up
from lipverify.verdict import Verdict
from tests.certificates.materialised import Stored, Tree
from tests.certificates.mutations import sealed
from tests.networks import ConvBlock, DenseBlock

ROOM = 1 + Fraction(1, 1 << 24)
"""Between a claim and its proof: bounds in a certificate are rounded up to 31 bits."""


class Branches(nn.Module):
    """Two branches of one input, put together by a function."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor], left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.join, self.left, self.right = join, left, right

    def forward(self, x: Tensor) -> Tensor:
        return self.join(self.left(x), self.right(x))


def normalised() -> nn.Module:
    model = nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3), nn.BatchNorm1d(3)
    )
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "dense": (
        lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.Sigmoid()),
        (1, 6),
        "l2",
    ),
    "dense cpl": (lambda: nn.Sequential(DenseBlock(6, 4, 1.4), DenseBlock(6, 5, 1.6), nn.Linear(6, 3)), (1, 6), "l2"),
    "square cpl": (lambda: nn.Sequential(DenseBlock(3, 3, 1.2), DenseBlock(3, 3, 1.3)), (1, 3), "l2"),
    "cpl with a step": (lambda: nn.Sequential(DenseBlock(5, 4, 2.0, h=0.375, activation=torch.tanh)), (1, 5), "l2"),
    "convolution, zero padding": (
        lambda: nn.Sequential(ConvBlock(2, 1), nn.Conv2d(2, 2, 2, stride=2)),
        (1, 2, 4, 4),
        "l2",
    ),
    "convolution, circular": (lambda: nn.Sequential(ConvBlock(2, 1, circular=True), nn.ReLU()), (1, 2, 3, 3), "l2"),
    "groups in one dimension": (
        lambda: nn.Sequential(
            nn.Conv1d(4, 4, 3, padding=2, dilation=2, groups=2), nn.AvgPool1d(2), nn.ConvTranspose1d(4, 1, 2)
        ),
        (1, 4, 4),
        "l2",
    ),
    "batch norm": (normalised, (1, 2, 3, 3), "l2"),
    "residual sum": (
        lambda: Branches(torch.sub, nn.Identity(), nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 4))),
        (1, 4),
        "l2",
    ),
    "concatenation": (
        lambda: Branches(
            lambda a, b: torch.cat([a, F.pad(b, (1, 0))], 1).flip(1),
            nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(0.25)),
            nn.Linear(4, 2),
        ),
        (1, 4),
        "l2",
    ),
    "maximum": (
        lambda: Branches(torch.maximum, nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))),
        (1, 4),
        "l2",
    ),
    "logits": (lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3), nn.ReLU()), (1, 5), "linf"),
}
"""Maker, shape of one input, and the norm of the outputs that the claim on the whole is about."""


WITNESSED = ("convolution, circular", "groups in one dimension", "residual sum", "logits")
"""Networks whose certificates have lower bounds; to find them takes a second or two of each."""
MARGINS = ("dense cpl", "residual sum", "logits")
"""Networks whose certificates have an input that keeps its class."""


@cache
def base(name: str) -> tuple[bytes, Stored]:
    """The certificate of one network, every region of it claimed and PROVED, and the weights."""
    make, shape, output = NETWORKS[name]
    torch.manual_seed(list(NETWORKS).index(name))
    model = make().eval()
    program = trace(model, torch.randn(shape))
    free = audit(program, verifiers=["spectral"])
    claims = [
        {"layer": row.path, "bound": decimal_up(row.upper * ROOM, 9)} for row in free.regions if row.upper is not None
    ]
    if output == "linf":
        claims.append({"layer": "", "bound": "10", "norm": "l2->linf"})
    verifiers = ["spectral", "witness"] if name in WITNESSED else ["spectral"]
    report = audit(program, claims={"claims": claims}, verifiers=verifiers)
    if report.verdict is not Verdict.PROVED:
        raise ValueError(f"{name} is {report.verdict}")
    certificate = certify(program, report, evidence="full")
    if name in MARGINS:
        norm = f"l2->{output}"
        (upper,) = (row.upper for row in report.regions if row.path == "" and str(row.norms) == norm)
        margin = kept(model, shape, norm, upper)
        certificate["body"]["margins"].append(margin)
    return sealed(certificate), tensors(save(weights_of(program)))


def kept(model: nn.Module, shape: tuple[int, ...], norm: str, upper: Fraction) -> Tree:
    """A margin: an input, its class, and a radius a little below the one within which the class cannot change."""
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        (best, second, *_), (chosen, *_) = (
            part.tolist() for part in model.double()(x).reshape(-1).sort(descending=True)
        )
    radius = (best - second) / ((2**0.5 if norm == "l2->l2" else 2) * float(upper)) * 0.999
    data = base64.b64encode(x.numpy().tobytes()).decode("ascii")
    return {"input": {"shape": list(shape), "base64": data}, "class": chosen, "radius": f"{radius:.9f}", "norm": norm}


def tensors(data: bytes) -> Stored:
    """The tensors of a safetensors file."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    parts = ((name, entry, [start + end for end in entry["data_offsets"]]) for name, entry in header.items())
    return {name: (entry["dtype"], tuple(entry["shape"]), data[first:last]) for name, entry, (first, last) in parts}
