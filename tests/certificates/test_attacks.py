"""What was once accepted though false, refused though true, or crashed: each once, by certificates written by hand."""

import base64
import hashlib
import json
import struct

import lipverify_checker as checker
import numpy as np
import pytest
import torch
from torch import nn

import lipverify
from lipverify.certificates import certify, digest, dumps, weights_of

RATIO = (2 - 2.0**-40).hex()


def point(*entries):
    return {"shape": [1, len(entries)], "base64": base64.b64encode(struct.pack(f"<{len(entries)}d", *entries)).decode()}


def written(shape, nodes, region, *, norms=None, weights=None, evidence=None):
    """A certificate of one region, and its outcome."""
    graph = {"input": "x", "shape": shape, "nodes": nodes}
    tensors = weights or {}
    whole = {"path": "", "norm": "l2->l2", "claim": None, "verdict": None, "reason": None, "input": "x", "output": "y"}
    body = {
        "semantics": "real",
        "weights": {
            name: {"dtype": kind, "shape": size, "sha256": hashlib.sha256(data).hexdigest()}
            for name, (kind, size, data) in tensors.items()
        },
        "graph": {**graph, "sha256": digest(graph)},
        "norms": norms or {},
        "regions": [{**whole, "steps": [], "upper": None, "rule": "", **region}],
        "margins": [],
    }
    certificate = {"schema": checker.SCHEMA, "body": body, "sha256": digest(body)}
    if evidence is not None:
        certificate["evidence"] = evidence
    return checker.check(json.dumps(certificate).encode(), checker.Weights.of(tensors))


COPIES = [{"value": "y", "map": {"kind": "gather", "runs": [[0, 0, 4]], "output": [1, 4]}, "reads": ["x"]}]


@pytest.mark.parametrize("norm", ["linf->linf", "l1->linf", "anything"])
def test_a_ratio_in_another_norm_pair_is_unchecked(norm):
    witness = {"path": "", "norm": norm, "x": point(0.0), "y": point(1.0), "ratio": RATIO}
    found = written([1, 1], COPIES, {"norm": norm}, evidence={"witnesses": [witness]})
    assert found.exit_code == 3 and found.unchecked and "no constant below" not in "".join(found.accepted)


def test_a_refused_witness_shows_no_refutation():
    witness = {"path": "", "norm": "l2->l2", "x": point(0.0), "y": point(1.0), "ratio": (2.5).hex()}
    claimed = {"claim": {"bound": "1", "domain": None}, "verdict": "REFUTED"}
    found = written([1, 1], COPIES, claimed, evidence={"witnesses": [witness]})
    assert found.exit_code == 1 and not any("witness above" in line for line in found.open)


def test_a_witness_through_what_reads_nothing_is_unchecked():
    opaque = {"kind": "opaque", "operation": "aten.rand", "reason": "random", "output": [1, 1]}
    nodes = [
        {"value": "noise", "map": opaque, "reads": []},
        {"value": "y", "map": {"kind": "sum", "signs": [1, 1]}, "reads": ["x", "noise"]},
    ]
    witness = {"path": "", "norm": "l2->l2", "x": point(0.0), "y": point(1.0), "ratio": (0.5).hex()}
    assert written([1, 1], nodes, {}, evidence={"witnesses": [witness]}).exit_code == 3


def convolution(kernel, **fields):
    plain = {"pads": [[0, 0], [0, 0]], "circular": False, "stride": [1, 1], "dilation": [1, 1], "groups": 1}
    return [{"value": "y", "map": {"kind": "convolution", "kernel": kernel, **plain, **fields}, "reads": ["x"]}]


@pytest.mark.parametrize(
    "rule", [{"rule": "unrolled"}, {"rule": "torus", "sizes": [4, 4], "twists": [0, 0], "grid": False}]
)
def test_radii_of_a_kernel_of_zeros_count(rule):
    kernel = {"numbers": [(0.0).hex()], "radii": [(0.5).hex()], "shape": [1, 1, 1, 1]}
    norm = {"maps": ["y"], "square": (0.0).hex(), "slack": 4, **rule}
    found = written([1, 1, 4, 4], convolution(kernel), {}, norms={"y": norm})
    assert found.exit_code == 1 and found.unreadable is None


def test_a_dilation_beyond_reason_is_refused_at_once():
    kernel = {"numbers": [(1.0).hex()], "shape": [1, 1, 1, 1]}
    norm = {
        "maps": ["y"],
        "square": (1.0).hex(),
        "slack": 4,
        "rule": "torus",
        "sizes": [1, 1],
        "twists": [0, 0],
        "grid": False,
    }
    nodes = convolution(kernel, dilation=[1 << 18, 1 << 18])
    assert written([1, 1, 1 << 18, 1 << 18], nodes, {}, norms={"y": norm}).exit_code == 1


@pytest.mark.parametrize("dtype", [[], {}, 7, None])
def test_a_dtype_that_is_no_text_is_refused(tmp_path, dtype):
    header = json.dumps({"w": {"dtype": dtype, "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(checker.Refused):
        checker.Weights(str(path))


SMALL_IMAGES = {
    "depthwise, one pixel": (nn.Conv2d(4, 4, 3, padding=1, groups=4), (1, 4, 1, 1)),
    "one pixel": (nn.Conv2d(1, 2, 3, padding=1), (1, 1, 1, 1)),
    "two pixels": (nn.Conv2d(1, 2, 3, padding=1), (1, 1, 1, 2)),
    "dilated": (nn.Conv2d(2, 2, 3, padding=2, dilation=2), (1, 2, 2, 2)),
    "along one axis": (nn.Conv1d(1, 1, 3, padding=1), (1, 1, 1)),
}


def accepted(model, example):
    program = lipverify.trace(model.eval(), example)
    report = lipverify.audit(program, verifiers=["spectral", "witness"])
    tensors = {
        name: ({torch.float32: "F32", torch.float64: "F64"}[t.dtype], tuple(t.shape), t.contiguous().numpy().tobytes())
        for name, t in weights_of(program).items()
    }
    outcome = checker.check(dumps(certify(program, report)).encode(), checker.Weights.of(tensors))
    assert outcome.exit_code == 0, outcome.text()


@pytest.mark.parametrize("name", SMALL_IMAGES)
def test_kernels_with_taps_that_nothing_reads(name):
    model, shape = SMALL_IMAGES[name]
    with torch.no_grad():
        model.weight.copy_(torch.randn(model.weight.shape, generator=torch.Generator().manual_seed(1)))
        model.weight[..., 0] = 3.0
    accepted(nn.Sequential(model), torch.zeros(shape))


@pytest.mark.parametrize("scale", [1e-60, 1e-100, 1e60])
def test_networks_of_any_scale(scale):
    model = nn.Linear(4, 4).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(np.random.default_rng(0).standard_normal((4, 4)) * scale))
    accepted(nn.Sequential(model, nn.ReLU()), torch.zeros(1, 4, dtype=torch.float64))
