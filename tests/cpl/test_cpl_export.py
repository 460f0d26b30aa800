"""Export: what is written says what the sealed model is, and nothing is written for a void seal."""

import io
import json
from decimal import Decimal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import cpl

CONFIG = cpl.CPLNetConfig(channels=4, conv_inner=4, conv_blocks=1, dense_blocks=1, dense_inner=8)
CIRCULAR = cpl.CPLNetConfig(
    channels=4, conv_inner=4, conv_blocks=1, dense_blocks=1, dense_inner=8, padding_mode="circular"
)
FILES = {"model.pt2", "model.safetensors", "claims.json", "inputs.npz"}


def sealed(config=CONFIG):
    return cpl.seal(cpl.CPLNet(config, generator=torch.Generator().manual_seed(0)), config.image_shape)


def images(count=5):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def operations(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("config", [CONFIG, CIRCULAR], ids=["zeros", "circular"])
def test_program_computes_what_the_model_does(config, tmp_path):
    model = sealed(config)
    cpl.export_model(model, tmp_path, inputs=images())
    extra = {"claims.json": "", "facts.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    for image in images():
        torch.testing.assert_close(program.module()(image[None]), model(image[None]), rtol=0, atol=1e-6)
    assert json.loads(extra["claims.json"]) == json.loads((tmp_path / "claims.json").read_text())
    assert json.loads(extra["facts.json"])["seal"]["digest"] == cpl.seal_of(model).digest
    assert {path.name for path in tmp_path.iterdir()} == FILES
    with np.load(tmp_path / "inputs.npz", allow_pickle=False) as arrays:
        assert arrays.files == ["x"]
        assert arrays["x"].dtype == np.float32
        np.testing.assert_array_equal(arrays["x"], images().numpy())


@pytest.mark.parametrize("config", [CONFIG, CIRCULAR], ids=["zeros", "circular"])
def test_program_is_core_aten_with_pad_nodes_and_one_tensor_per_block(config):
    program = cpl.program_of(sealed(config))
    found = operations(program)
    assert ("aten.pad.default" in found) or ("aten.constant_pad_nd.default" in found)
    assert not any("index" in name for name in found)
    assert found.count("aten.convolution.default") == 2
    tensors = [name for name in program.state_dict if name.endswith(".V")]
    assert tensors == ["trunk.conv1.V", "trunk.dense1.V"]
    paths = {
        list(node.meta["nn_module_stack"].values())[-1][0]
        for node in program.graph.nodes
        if "nn_module_stack" in node.meta
    }
    assert {"trunk.conv1", "trunk.dense1", "trunk.pool", "head"} <= paths


def test_circular_padding_stays_a_pad_node():
    found = cpl.program_of(sealed(CIRCULAR)).graph.nodes
    modes = [node.args[2] for node in found if "aten.pad.default" in str(node.target) and len(node.args) > 2]
    assert modes.count("circular") == 2


def test_claims():
    model = sealed()
    claims = {(claim["layer"], claim.get("norm", "l2->l2")): claim["bound"] for claim in cpl.claims_of(model)["claims"]}
    spectral = claims.pop(("head", "l2->l2"))
    assert claims.pop(("", "l2->l2")) == spectral
    truth = float(torch.linalg.matrix_norm(model.head.weight.double(), 2))
    assert truth < float(Decimal(spectral)) < truth * (1 + 2e-6)
    assert len(spectral) <= 10
    assert claims == {
        ("trunk.conv1", "l2->l2"): "1",
        ("trunk.pool", "l2->l2"): "1",
        ("trunk.dense1", "l2->l2"): "1",
        ("trunk", "l2->l2"): "1",
        ("head", "l2->linf"): "1",
        ("", "l2->linf"): "1",
    }


def test_void_or_missing_seals_write_nothing(tmp_path):
    model = sealed()
    with torch.no_grad():
        model.trunk.dense1.V.mul_(1.05)
    for unfit in (model, cpl.CPLNet(CONFIG)):
        with pytest.raises(cpl.SealError):
            cpl.export_model(unfit, tmp_path / "out", inputs=images())
    assert not (tmp_path / "out").exists()


def test_a_failed_export_keeps_the_old_files(tmp_path, monkeypatch):
    cpl.export_model(sealed(), tmp_path, inputs=images())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(cpl.CheckpointError, match="No space left"):
        cpl.export_model(sealed(), tmp_path, inputs=images(2))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_sealed_models_are_read_back_to_the_bit(tmp_path):
    model = sealed(CIRCULAR)
    cpl.export_model(model, tmp_path, inputs=images())
    again = cpl.load_sealed(tmp_path)
    assert cpl.seal_of(again) == cpl.seal_of(model)
    assert torch.equal(again(images()), model(images()))


def rewrite(path, change):
    facts = cpl.read_facts(path)
    tensors = load_file(path / "model.safetensors")
    change(tensors, facts)
    save_file(tensors, path / "model.safetensors", metadata={"facts": json.dumps(facts)})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda tensors, _: tensors["trunk.dense1.V"].mul_(1.05), "violates its bound"),
        (lambda tensors, _: tensors["trunk.conv1.V"].mul_(1.05), "violates its bound"),
        (lambda tensors, _: tensors["head.weight"].mul_(1.05), "violates its bound"),
        (lambda tensors, _: tensors["trunk.dense1.V"].mul_(0.9), "digest"),
        (lambda tensors, _: tensors["trunk.dense1.V"].fill_(float("nan")), "NaN or Inf"),
        (lambda tensors, _: tensors.update(other=tensors.pop("trunk.dense1.V")), "missing"),
        (lambda tensors, _: tensors.pop("trunk.dense1.V"), "another architecture"),
        (lambda tensors, _: tensors.update({"head.weight": torch.zeros(3, 3)}), "another architecture"),
        (lambda _, facts: facts["config"].update(padding_mode="circular"), "violates its bound|digest"),
        (lambda _, facts: facts.pop("seal"), "cannot be read"),
    ],
)
def test_changed_files_are_refused(tmp_path, change, match):
    cpl.export_model(sealed(), tmp_path, inputs=images())
    rewrite(tmp_path, change)
    with pytest.raises(cpl.CplError, match=match):
        cpl.load_sealed(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not safetensors", None])
def test_unreadable_files_are_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(cpl.CheckpointError):
        cpl.load_sealed(tmp_path)


def test_program_bytes_hold_the_extra_files():
    extra = {"claims.json": ""}
    torch.export.load(io.BytesIO(cpl.program_bytes(cpl.program_of(sealed()), {"claims.json": "{}"})), extra_files=extra)
    assert extra["claims.json"] == "{}"
