"""Shared by the tests of readers."""

from __future__ import annotations

import pickle

import pytest
from hostile import Payload


@pytest.fixture
def marker(tmp_path):
    marker = tmp_path / "trace"
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists(), "the payload is live"
    marker.rmdir()
    yield marker
    assert not marker.exists(), "code of the file ran"
