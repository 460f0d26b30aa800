"""orthogonium 0.0.4: get_conv_sv multiplies the norms of a convolution's groups, where the operator has their maximum."""

import torch
from orthogonium.layers.conv.singular_values import get_conv_sv
from torch import nn

import lipverify

torch.manual_seed(0)
conv = nn.Conv2d(2, 2, 1, groups=2, bias=False).eval()
with torch.no_grad():
    conv.weight.copy_(torch.tensor([2.0, 0.1]).reshape(2, 1, 1, 1))
print("get_conv_sv:", float(get_conv_sv(conv, n_iter=4, return_stab_rank=False)))
row = lipverify.audit(conv, torch.zeros(1, 2, 4, 4), verifiers=["spectral"]).regions[0]
print("lipverify:  ", float(row.lower), "to", float(row.upper))
