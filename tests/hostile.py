"""The verdict on a model made to mislead."""

import torch

import lipverify

FAST = ["spectral", "witness"]


def verdict(model, bound, x=None, **kwargs):
    x = torch.ones(1, 3) if x is None else x
    report = lipverify.audit(model.eval(), x, claims=[{"layer": "", "bound": bound}], verifiers=FAST, **kwargs)
    return report.regions[0].verdict
