"""Arithmetic that cannot lie: outward rounding, the semidefiniteness proof, norm enclosures."""

from lipverify.rigor.ball import BallMatrix
from lipverify.rigor.convolution import convolution_norm
from lipverify.rigor.dense import dense_norm, row_norm
from lipverify.rigor.enclosure import NormEnclosure
from lipverify.rigor.norms import norm
from lipverify.rigor.probe import MachineError, machine
from lipverify.rigor.psd import psd_shift
from lipverify.rigor.reductions import frobenius_up, matrix_norm_up, row_sums_up, sum_squares
from lipverify.rigor.rounding import (
    U,
    decimal_down,
    decimal_up,
    float_down,
    float_up,
    gamma,
    round_down,
    round_up,
    sqrt_down,
    sqrt_up,
)

__all__ = [
    "BallMatrix",
    "MachineError",
    "NormEnclosure",
    "U",
    "convolution_norm",
    "decimal_down",
    "decimal_up",
    "dense_norm",
    "float_down",
    "float_up",
    "frobenius_up",
    "gamma",
    "machine",
    "matrix_norm_up",
    "norm",
    "psd_shift",
    "round_down",
    "round_up",
    "row_norm",
    "row_sums_up",
    "sqrt_down",
    "sqrt_up",
    "sum_squares",
]
