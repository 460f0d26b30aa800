"""State dicts whose pickle says more than tensors: read as torch reads them, or refused."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from lipverify.errors import ReadError
from lipverify.read.checkpoint import read_checkpoint


def test_a_negated_view_is_refused(tmp_path):
    """torch.save keeps the negation in a bit beside the numbers."""
    z = torch.zeros(4, 4, dtype=torch.cfloat)
    z.imag = -torch.eye(4)
    negated = z.conj().imag
    assert negated.is_neg()
    torch.save({"w": negated}, tmp_path / "m.pt")
    with pytest.raises(ReadError, match="'w'"):
        read_checkpoint(tmp_path / "m.pt")


class Parameter:
    """Pickled as a parameter that is given other numbers by its state."""

    def __init__(self, state):
        self.state = state

    def __reduce__(self):
        return torch._utils._rebuild_parameter, (torch.zeros(2, 2), False, OrderedDict()), self.state


@pytest.mark.parametrize("state", [(torch.eye(2), None, OrderedDict(), False, None), {"data": torch.eye(2)}])
def test_a_state_given_to_a_parameter_is_refused(tmp_path, state):
    torch.save({"w": Parameter(state)}, tmp_path / "m.pt")
    with pytest.raises(ReadError):
        read_checkpoint(tmp_path / "m.pt")


def test_the_metadata_of_a_state_dict_is_passed_over(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    torch.save(model.state_dict(), tmp_path / "m.pt")
    assert torch.equal(read_checkpoint(tmp_path / "m.pt").tensors["0.weight"], model[0].weight)


def test_a_state_dict_with_another_state_is_refused(tmp_path):
    state = OrderedDict(w=torch.eye(2))
    state.items_ = "another"
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ReadError):
        read_checkpoint(tmp_path / "m.pt")


def pickled(tmp_path, body: bytes):
    import zipfile

    torch.save({"w": torch.eye(2)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as old, zipfile.ZipFile(tmp_path / "m.pt", "w") as new:
        for name in old.namelist():
            new.writestr(name, body if name.endswith("data.pkl") else old.read(name))
    return tmp_path / "m.pt"


def test_a_call_of_no_name_is_refused_without_spelling_it(tmp_path):
    """A tuple of itself, sixty deep: 2^60 leaves once spelled out."""
    doubled = b"h\x00h\x00\x86q\x00" * 60
    body = b"\x80\x02)q\x00" + doubled + b"h\x00)R."
    with pytest.raises(ReadError):
        read_checkpoint(pickled(tmp_path, body))


def test_deep_parameters_are_refused(tmp_path):
    name = b"ctorch._utils\n_rebuild_parameter\n"
    body = b"\x80\x02" + name + b"q\x000" + b"h\x00" * 5000 + b"N" + b"\x89N\x87R" * 5000 + b"."
    with pytest.raises(ReadError):
        read_checkpoint(pickled(tmp_path, body))
