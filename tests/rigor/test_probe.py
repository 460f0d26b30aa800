"""The probe notices a machine that lies."""

import ctypes
import platform
import sys

import numpy as np
import pytest

from lipverify.rigor import MachineError, machine, probe


def test_this_machine_keeps_the_model():
    machine()
    assert machine.cache_info().currsize == 1


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64", reason="fesetround's constants are x86's"
)
@pytest.mark.parametrize("mode", [0x400, 0x800, 0xC00])
def test_directed_rounding_is_noticed(mode):
    libm = ctypes.CDLL("libm.so.6")
    libm.fesetround(mode)
    try:
        with pytest.raises(MachineError, match="rounding"):
            machine.__wrapped__()
    finally:
        libm.fesetround(0)


def test_a_wrong_product_is_noticed(monkeypatch):
    """A BLAS whose products are off by one ulp in one entry."""

    class Wrong(np.ndarray):
        def __matmul__(self, other):
            product = np.asarray(self) @ np.asarray(other)
            product[-1] = np.nextafter(product[-1], np.inf)
            return product

    a, b = np.ones((3, 4), int), np.ones((4, 2), int)
    monkeypatch.setattr(probe.np, "asfortranarray", lambda x: np.array(x, order="F").view(Wrong))
    with pytest.raises(MachineError, match="matmul"):
        probe._probe_products(a, b)
