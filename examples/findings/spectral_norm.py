"""torch: spectral_norm of a convolution normalises the flattened kernel, which is not the operator."""

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

import lipverify

torch.manual_seed(0)
conv = spectral_norm(nn.Conv2d(4, 4, 3, padding=1, bias=False), n_power_iterations=50).eval()
flat = conv.weight.detach().double().reshape(4, -1)
print("flattened kernel:", float(torch.linalg.matrix_norm(flat, 2)))
row = lipverify.audit(conv, torch.zeros(1, 4, 8, 8), verifiers=["spectral"]).regions[0]
print("lipverify:       ", row.lower and float(row.lower), "to", row.upper and float(row.upper), row.reason or "")
