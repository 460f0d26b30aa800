"""Write the golden certificates of the current schema, and their weights."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch
from torch import nn

import lipverify
from lipverify.certificates import SCHEMA, certify, dumps, weights_of
from lipverify.read import Program
from tests.certificates.golden.networks import NETWORKS, Network

HERE = Path(__file__).parent


def certified(network: Network, model: nn.Module, name: str) -> tuple[Program, str]:
    """The program of a network, and the text of its certificate."""
    program = lipverify.trace(model.eval(), (torch.zeros(network.shape),))
    claims = [{"layer": layer, "bound": bound} for layer, bound in network.claims.items()]
    report = lipverify.audit(program, claims=claims, verifiers=["spectral", "witness"], name=name)
    return program, dumps(certify(program, report))


if __name__ == "__main__":
    folder = HERE / SCHEMA.rpartition("/")[2]
    folder.mkdir(exist_ok=True)
    for seed, (name, network) in enumerate(NETWORKS.items()):
        torch.manual_seed(seed)
        program, text = certified(network, network.make(), name)
        (folder / f"{name}.json").write_text(text)
        safetensors.torch.save_file(weights_of(program), folder / f"{name}.safetensors")
