"""A live payload, and what a refusal looks like."""

from __future__ import annotations

import os
from io import BytesIO

import pytest
import torch

from lipverify.errors import ReadError
from lipverify.read import read


class Payload:
    """Unpickled, it leaves a trace."""

    def __init__(self, marker) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def torch_pickle(marker) -> bytes:
    buffer = BytesIO()
    torch.save(Payload(marker), buffer)
    return buffer.getvalue()


def refused(path, message: str) -> str:
    with pytest.raises(ReadError, match=message) as error:
        read(path)
    text = str(error.value)
    assert str(path.name) in text and "where: " in text and len(text) < 2000 and "\x1b" not in text
    return text
