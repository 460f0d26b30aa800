"""Factors of matrix proofs, so that a checker need not guess them."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.linalg

from lipverify.maps import Adjoint, Array, Dense, LinearMap

LARGEST_FACTOR = 2048
"""Rows of the largest factor that is written down: 22 MB of text."""


def factors(norms: Mapping[str, Mapping[str, Any]], maps: Mapping[str, LinearMap]) -> dict[str, dict[str, Any]]:
    """U of the proofs of the rule ``dense``, by the id of the norm; without those that need none.

    Args:
        norms: as the certificate has them.
        maps: what each is a bound of.
    """
    found = {}
    for name, norm in norms.items():
        linear = maps[name]
        linear = linear.of if isinstance(linear, Adjoint) else linear
        if norm["rule"] == "dense" and isinstance(linear, Dense):
            made = _factor(linear.weight.midpoint, Fraction(float.fromhex(norm["square"])), norm["slack"])
            if made is not None:
                found[name] = made
    return found


def _factor(weight: Array, square: Fraction, slack: int) -> dict[str, Any] | None:
    """An integer U with U U^T close to T I - G, T = square 4^k, G the Gram matrix of 2^k W, k as the checker takes it.

    A Cholesky factor in floating point, of a little less than that; nobody trusts it.
    """
    tall = weight if weight.shape[0] >= weight.shape[1] else weight.T
    n = tall.shape[1]
    if not tall.size or n > LARGEST_FACTOR or not square:
        return None
    spread = Fraction(tall.size) / square
    k = slack + 10 + (spread.numerator.bit_length() - spread.denominator.bit_length() + 2) // 2
    scaled = tall / math.sqrt(square)
    try:
        lower = scipy.linalg.cholesky((1 - 0.35 * 2.0**-slack) * np.eye(n) - scaled.T @ scaled, lower=True)
    except np.linalg.LinAlgError:
        return None
    entries = lower[np.tril_indices(n)] * math.sqrt(square) * 2.0**k
    if not np.abs(entries).max(initial=0.0) < 2.0**62:
        return None
    data = np.rint(entries).astype("<i8").tobytes()
    return {"shift": 0, "rows": base64.b64encode(data).decode("ascii")}
