"""The recipe of CPL's published code, from its formula: h = 2 / sigma^2, sigma by power iteration, kept in eval mode."""

import torch
from torch import nn
from torch.nn import functional as F

import lipverify

torch.manual_seed(0)


class Block(nn.Module):
    """x - 2 / sigma^2 W^T relu(W x), claimed to be 1-Lipschitz: true if sigma >= |W|, and power iteration stays below."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        q, _ = torch.linalg.qr(torch.randn(inputs, inner))
        self.weight = nn.Parameter(torch.linspace(0.95, 1, inner)[:, None] * q.T)
        self.register_buffer("u", torch.randn(inputs))
        self.register_buffer("sigma", torch.ones(()))

    @torch.no_grad()
    def iterate(self, steps: int) -> None:
        for _ in range(steps):
            v = self.weight.t() @ (self.weight @ self.u)
            self.u.copy_(v / v.norm())
        self.sigma.copy_((self.weight @ self.u).norm())

    def forward(self, x):
        return x - 2 / self.sigma**2 * F.linear(F.relu(F.linear(x, self.weight)), self.weight.t())


def printed(what: str, block: nn.Module) -> None:
    row = lipverify.audit(block, torch.zeros(1, 32), verifiers=["spectral", "witness"]).regions[0]
    print(what, "lipverify", float(row.lower), "to", float(row.upper))


block = Block(32, 16).eval()
block.iterate(1)
printed("one step:                     claimed 1,", block)
block.iterate(2000)
printed("2000 steps:                   claimed 1,", block)
with torch.no_grad():
    block.weight.mul_(2)
printed("weights twice, sigma as kept: claimed 1,", block)
