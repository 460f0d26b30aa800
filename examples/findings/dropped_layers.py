"""eclipse-nn 0.1.7: the layers of a model that are not nn.Linear are left out of its estimate without a word."""

import torch
from eclipse_nn import LipConstEstimator
from torch import nn

import lipverify

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 2, 3, padding=1),
    nn.BatchNorm2d(2),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(32, 2),
    nn.ReLU(),
    nn.Linear(2, 2),
).eval()
with torch.no_grad():
    model[1].weight.fill_(1000.0)
print("eclipse-nn: ", float(LipConstEstimator(model=model).estimate("ECLipsE_Fast")))
row = lipverify.audit(model, torch.zeros(1, 1, 4, 4), verifiers=["spectral", "witness"]).regions[0]
print("lipverify:  ", float(row.lower), "to", float(row.upper))
