"""The zoo: small networks of every common family, judged whole by ``tests/test_zoo.py``."""

from __future__ import annotations

from tests.zoo import classifiers, constrained, perceptrons, pictures, sequences, sharing
from tests.zoo.network import Network

NETWORKS: dict[str, Network] = {
    **perceptrons.NETWORKS,
    **classifiers.NETWORKS,
    **pictures.NETWORKS,
    **sequences.NETWORKS,
    **constrained.NETWORKS,
    **sharing.NETWORKS,
}
"""Every network by name."""
