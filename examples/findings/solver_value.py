"""SCS through cvxpy: a value reported as optimal that lies below the optimum, at multipliers that are not feasible."""

import cvxpy as cp
import numpy as np
import torch
from torch import nn

import lipverify

torch.manual_seed(1)
model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 4)).double().eval()
first, last = (layer.weight.detach().numpy() for layer in (model[0], model[2]))


def lipsdp(solver: str) -> str:
    """The status, the constant, and the least eigenvalue of the matrix that must have none below 0."""
    rho, t = cp.Variable(), cp.Variable(20, nonneg=True)
    cross = first.T @ cp.diag(t)
    matrix = cp.bmat([[rho * np.eye(6), -cross], [-cross.T, 2 * cp.diag(t) - last.T @ last]])
    problem = cp.Problem(cp.Minimize(rho), [(matrix + matrix.T) / 2 >> 0])
    problem.solve(solver=solver)
    return f"{problem.status} {float(rho.value) ** 0.5:.10f}, least eigenvalue {np.linalg.eigvalsh(matrix.value).min():.1e}"


print("SCS:      ", lipsdp(cp.SCS))
print("Clarabel: ", lipsdp(cp.CLARABEL))
row = lipverify.audit(model, torch.zeros(1, 6).double(), verifiers=["sdp", "witness"]).regions[0]
print("lipverify:", float(row.lower), "to", float(row.upper))
