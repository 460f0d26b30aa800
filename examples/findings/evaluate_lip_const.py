"""deel-torchlip 1.0.5: evaluate_lip_const samples difference quotients: a lower bound under the name of the constant."""

import torch
from deel.torchlip.utils import evaluate_lip_const
from torch import nn

import lipverify

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
with torch.no_grad():  # x -> relu(x - 10) + (1, 1): its constant is 1, attained where no sample lies
    for layer, bias in ((model[0], -10.0), (model[2], 1.0)):
        layer.weight.copy_(torch.eye(2))
        layer.bias.fill_(bias)
x = torch.randn(32, 2)
print("evaluate_lip_const:", float(evaluate_lip_const(model, x)))
row = lipverify.audit(model, x, verifiers=["spectral", "witness"]).regions[0]
print("lipverify:         ", float(row.lower), "to", float(row.upper))
