"""One thread per test process: the runner makes use of the cores, and busy BLAS threads slow each other down."""

import pytest
import torch
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True)
def reproducible():
    torch.manual_seed(0)
