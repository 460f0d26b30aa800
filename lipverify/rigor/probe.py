"""Checks, once, that this machine's arithmetic keeps the error model on which every bound of this room rests.

Some BLAS builds compute wrong products on some processors. Products of small integers have exact answers, whatever the
order of summation; they are compared bit for bit with integer arithmetic.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from lipverify.errors import LipverifyError


class MachineError(LipverifyError):
    """Arithmetic on this machine breaks the error model that rigorous bounds rely on."""


_SHAPES = ((1, 1, 1), (3, 5, 2), (17, 64, 33), (64, 9, 130), (129, 257, 65), (300, 31, 300))


@functools.cache
def machine() -> None:
    """Probes the machine at the first call; later calls cost nothing.

    Raises:
        MachineError: naming the operation that went wrong.
    """
    _probe_rounding()
    rng = np.random.default_rng(20240229)
    for m, k, n in _SHAPES:
        a, b = rng.integers(-1000, 1001, (m, k)), rng.integers(-1000, 1001, (k, n))
        _probe_products(a, b)
        product = torch.from_numpy(a).double() @ torch.from_numpy(b).double()
        _require(np.array_equal(product.numpy(), a @ b), f"torch's matmul of {m} x {k} x {n}")
    _probe_batched(rng)


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise MachineError(
            f"{what} is wrong on this machine",
            why="no bound computed here would be rigorous",
            step="Try another BLAS (or OPENBLAS_CORETYPE=Haswell), reset the floating-point mode, and run again.",
        )


def _probe_rounding() -> None:
    one, u = np.ones(9), np.full(9, 2.0**-53)
    _require(bool((one + u == 1).all()), "rounding to nearest (1 + u)")
    _require(bool((one + 3 * u == 1 + 2.0**-51).all()), "rounding to nearest, ties to even (1 + 3 u)")
    _require(bool((-one - u == -1).all()), "rounding to nearest (-1 - u)")
    _require(bool((one - u < 1).all()), "rounding to nearest (1 - u)")
    _require(bool((one / 3 * 2.0**54 == 6004799503160661).all()), "division (1 / 3)")
    _require(bool((np.full(9, 1 + 2.0**-52) * (1 + 2.0**-52) == 1 + 2.0**-51).all()), "multiplication")


def _probe_products(a: np.ndarray, b: np.ndarray) -> None:
    exact = np.einsum("ik,kj->ij", a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    size = f"{a.shape} x {b.shape}"
    for name, left in (("C", x), ("F", np.asfortranarray(x))):
        for layout, right in (("C", y), ("F", np.asfortranarray(y))):
            _require(np.array_equal(left @ right, exact), f"float64 matmul {size}, layouts {name}{layout}")
            _require(np.array_equal(right.T @ left.T, exact.T), f"float64 matmul of transposes {size} {name}{layout}")
        gram = np.einsum("ki,kj->ij", a, a)
        _require(np.array_equal(left.T @ left, gram), f"float64 Gram matrix of {a.shape}, layout {name}")
        outer = np.einsum("ik,jk->ij", a, a)
        _require(np.array_equal(left @ left.T, outer), f"float64 outer Gram matrix of {a.shape}, layout {name}")
    _require(np.array_equal(x @ y[:, 0], exact[:, 0]), f"float64 matrix times vector {size}")
    _require(float(np.dot(x.ravel(), x.ravel())) == int((a.astype(object) ** 2).sum()), "float64 dot product")
    z, w = x + 1j * x[::-1], y - 2j * y[::-1]
    real = exact + 2 * np.einsum("ik,kj->ij", a[::-1], b[::-1])
    imag = np.einsum("ik,kj->ij", a[::-1], b) - 2 * np.einsum("ik,kj->ij", a, b[::-1])
    product = z @ w
    _require(np.array_equal(product.real, real) and np.array_equal(product.imag, imag), f"complex matmul {size}")


def _probe_batched(rng: np.random.Generator) -> None:
    a, b = rng.integers(-1000, 1001, (5, 33, 65)), rng.integers(-1000, 1001, (5, 65, 18))
    exact = np.einsum("fik,fkj->fij", a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    _require(np.array_equal(x @ y, exact), "batched float64 matmul")
    _require(np.array_equal(y.transpose(0, 2, 1) @ x.transpose(0, 2, 1), exact.transpose(0, 2, 1)), "batched matmul")
    gram = np.einsum("fki,fkj->fij", a, a)
    _require(np.array_equal(x.transpose(0, 2, 1) @ x, gram), "batched float64 Gram matrix")
