"""LipSDP-Network (Fazlyab et al. 2019): multipliers that couple two neurons give less than the constant of the network."""

import cvxpy as cp
import numpy as np
import torch
from torch import nn

import lipverify

first = np.array([[0.9765271, -0.35529123], [0.74808321, -0.68616859]])
last = np.array([[-0.67600173, 0.59624428]])
rho, t, coupling = cp.Variable(), cp.Variable(2, nonneg=True), cp.Variable(nonneg=True)
apart = np.array([[1.0], [-1.0]])
multipliers = cp.diag(t) + coupling * (apart @ apart.T)
matrix = cp.bmat([[rho * np.eye(2), -first.T @ multipliers], [-multipliers @ first, 2 * multipliers - last.T @ last]])
cp.Problem(cp.Minimize(rho), [(matrix + matrix.T) / 2 >> 0]).solve(solver=cp.CLARABEL)
print("LipSDP-Network:", float(rho.value) ** 0.5)

model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).double().eval()
with torch.no_grad():
    model[0].weight.copy_(torch.from_numpy(first))
    model[2].weight.copy_(torch.from_numpy(last))
row = lipverify.audit(model, torch.zeros(1, 2).double(), verifiers=["spectral", "sdp", "witness"]).regions[0]
print("lipverify:     ", float(row.lower), "to", float(row.upper))
