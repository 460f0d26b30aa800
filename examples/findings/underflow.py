"""Power iteration as GloRo networks do it, from its formula: in float32 the squares of tiny weights are 0, and so is sigma."""

import torch
from torch import nn

import lipverify

torch.manual_seed(0)
model = nn.Linear(4, 4, bias=False).eval()
with torch.no_grad():
    model.weight.copy_(torch.eye(4) * 1e-30)
    u = torch.randn(4)
    for _ in range(10):
        v = model.weight.t() @ (model.weight @ u)
        u = v / (v.norm() + 1e-12)
print("power iteration:", float((model.weight.detach() @ u).norm()))
row = lipverify.audit(model, torch.zeros(1, 4), verifiers=["spectral"]).regions[0]
print("lipverify:      ", float(row.lower), "to", float(row.upper))
