"""What a certificate is made of: true and tight squares, numbers by where they come from, one body for one model."""

import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lipverify_checker as checker
import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from benchmarks.networks import CPLNet
from lipverify.actions import apply
from lipverify.auditing import audit
from lipverify.certificates import certify, digest, dumps, graph_of, weights_of
from lipverify.certificates.norms import RULES as NORM_RULES
from lipverify.certificates.steps import RULES as STEP_RULES
from lipverify.errors import LipverifyError
from lipverify.graph import trace
from lipverify.maps import size
from tests.networks import ConvBlock, DenseBlock, Lambda

ROOT = Path(__file__).parent.parent.parent
IMAGE, VECTOR = torch.zeros(1, 2, 6, 5), torch.zeros(1, 6)


def normalised(module):
    """With statistics and weights as training leaves them."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2.0)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    return module


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))

    def forward(self, x):
        y = x + self.body(x)
        return torch.cat([y, torch.maximum(x, y)], 1)


MAKERS = {
    "cpl": lambda: (CPLNet(4, channels=4, conv_blocks=2, dense_blocks=1, dense_inner=6, side=8), torch.zeros(1, 3, 8, 8)),
    "circular cpl": lambda: (ConvBlock(2, 3, circular=True), IMAGE),
    "cpl with a step": lambda: (DenseBlock(6, 4, h=0.3), VECTOR),
    "batch norm": lambda: (
        normalised(nn.Sequential(nn.Conv2d(2, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 2, 1))),
        IMAGE,
    ),
    "batch norm of vectors": lambda: (
        normalised(nn.Sequential(nn.Linear(6, 300), nn.BatchNorm1d(300), nn.Softmax(1))),
        VECTOR,
    ),
    "weight norm": lambda: (nn.Sequential(weight_norm(nn.Linear(6, 70)), nn.Sigmoid(), weight_norm(nn.Linear(70, 2))), VECTOR),
    "weight norm of a kernel": lambda: (weight_norm(nn.Conv2d(2, 40, 3)), IMAGE),
    "residual": lambda: (Residual(), IMAGE),
    "transposed": lambda: (
        nn.Sequential(nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.ConvTranspose2d(3, 2, 2)),
        IMAGE,
    ),
    "transposed weight": lambda: (Lambda(lambda x, w: F.linear(x, w.t()), torch.randn(6, 50)), VECTOR),
    "scalars": lambda: (Lambda(lambda x, w: 0.1 * F.linear(x, w / 3) - 2 * x, torch.randn(6, 6)), VECTOR),
    "normalised rows": lambda: (Lambda(lambda x, w: F.linear(x, F.normalize(w, dim=1)), torch.randn(50, 6)), VECTOR),
    "strided": lambda: (nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(36, 3)), IMAGE),
    "groups and dilation": lambda: (nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2), torch.zeros(1, 4, 7, 8)),
    "one axis": lambda: (nn.Conv1d(3, 4, 3, padding=1), torch.zeros(1, 3, 12)),
    "large image": lambda: (nn.Conv2d(2, 3, 3, padding=1), torch.zeros(1, 2, 40, 40)),
    "pooling": lambda: (nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2)), torch.zeros(1, 2, 40, 40)),
    "zero": lambda: (Lambda(lambda x, w: x + F.conv2d(x, w, padding=1), torch.zeros(2, 2, 3, 3)), IMAGE),
    "opaque": lambda: (nn.Sequential(nn.Linear(6, 4), nn.Hardshrink(), nn.Linear(4, 2)), VECTOR),
}  # fmt: skip


def made(name, claims=None, evidence="witnesses"):
    torch.manual_seed(0)
    with torch.no_grad():
        model, x = MAKERS[name]()
    program = trace(model.eval(), x)
    report = audit(program, claims=claims, bounds_only=claims is None, verifiers=["spectral"])
    return program, report, certify(program, report, evidence=evidence)


@pytest.fixture(scope="module")
def certificates():
    return {name: made(name) for name in MAKERS}


def truth(report, norm):
    """The largest squared singular value of the maps of a norm; of rows, the largest sum of squares of a row."""
    nodes = report.examined.nodes
    linear = [nodes[name].map.linear for name in norm["maps"]]
    shape = linear[0].input_shape
    basis, columns = np.eye(size(shape)), []
    for column in basis:
        y = column.reshape(shape)
        for part in linear:
            y = apply(part, y)
        columns.append(y.reshape(-1))
    matrix = np.stack(columns, 1)
    return (matrix**2).sum(1).max() if norm["rule"] == "rows" else np.linalg.norm(matrix, 2) ** 2


@pytest.mark.parametrize("name", MAKERS)
def test_squares_are_true_and_those_of_whole_matrices_tight(certificates, name):
    _, report, certificate = certificates[name]
    for key, norm in certificate["body"]["norms"].items():
        if size(report.examined.nodes[norm["maps"][0]].map.input_shape) > 1000:
            continue
        true, square = truth(report, norm), float.fromhex(norm["square"])
        assert square >= true * (1 - 1e-12), key
        if norm["rule"] in ("dense", "unrolled", "entries", "copies", "rows") and not key.endswith(":block"):
            # A scalar of the program is the number and what float32 makes of it, both.
            assert square <= true * (1 + (2.0**-24 if name == "scalars" else 2.0**-29)), key
        assert 0 <= norm["slack"] <= 40


@pytest.mark.parametrize("name", MAKERS)
def test_the_bounds_are_those_of_the_audit(certificates, name):
    """No looser than 1e-8; the audit's pulls maxima of one value apart, which no rule of a certificate does."""
    _, report, certificate = certificates[name]
    for row, region in zip(report.regions, certificate["body"]["regions"], strict=True):
        assert (row.path, str(row.norms)) == (region["path"], region["norm"])
        assert (row.upper is None) is (region["upper"] is None)
        if row.upper is not None:
            upper = float.fromhex(region["upper"])
            assert upper <= float(row.upper) * (1 + (1e-8 if name != "large image" else 1e-2))
            assert upper >= float(row.lower or 0)
            assert region["steps"] or region["input"] == region["output"]


def test_steps_name_norms_that_are_there_and_every_norm_is_named(certificates):
    emitted = set(), set()
    for _, _, certificate in certificates.values():
        body = certificate["body"]
        steps = [step for region in body["regions"] for step in region["steps"]]
        assert {step["norm"] for step in steps if "norm" in step} == set(body["norms"])
        emitted[0].update(step["rule"] for step in steps)
        emitted[1].update(norm["rule"] for norm in body["norms"].values())
    assert emitted[0] | {"rows"} == set(STEP_RULES)
    assert emitted[1] | {"rows"} == set(NORM_RULES)


def test_the_rules_are_those_of_the_list():
    listed = json.loads((ROOT / "proofs/rules.json").read_text())
    assert set(listed["steps"]) == set(STEP_RULES)
    assert set(listed["norms"]) == set(NORM_RULES)
    assert all(set(rule) == {"statement", "fields", "theorem"} for group in listed.values() for rule in group.values())


@pytest.mark.parametrize("name", MAKERS)
def test_certificates_are_ascii_json_without_floats_and_digests_are_of_canonical_text(certificates, name):
    program, _, certificate = certificates[name]
    text = dumps(certificate)
    assert text.isascii() and text.endswith("}\n")
    assert json.loads(text, parse_float=pytest.fail) == certificate
    assert certificate["sha256"] == digest(certificate["body"])
    body = json.dumps(certificate["body"], sort_keys=True, separators=(",", ":"))
    assert certificate["sha256"] == hashlib.sha256(body.encode()).hexdigest()
    graph = certificate["body"]["graph"]
    assert graph == graph_of(program)
    assert graph["sha256"] == digest({key: graph[key] for key in ("input", "shape", "nodes")})


@pytest.mark.parametrize("name", MAKERS)
def test_the_checker_refuses_nothing(certificates, name, tmp_path):
    program, _, certificate = certificates[name]
    (tmp_path / "weights").write_bytes(save(weights_of(program)))
    outcome = checker.check(dumps(certificate).encode(), checker.Weights(str(tmp_path / "weights")))
    assert not outcome.refused and not outcome.unreadable
    assert not outcome.unchecked


def arrays(data):
    """Every array of a graph."""
    if isinstance(data, dict):
        if "shape" in data and {"weight", "numbers", "runs", "fold", "trusted"} & set(data):
            yield data
        for part in data.values():
            yield from arrays(part)
    elif isinstance(data, list):
        for part in data:
            yield from arrays(part)


@pytest.mark.parametrize("name", MAKERS)
def test_every_number_is_stored_folded_or_one_of_few(certificates, name):
    program, _, certificate = certificates[name]
    body = certificate["body"]
    found = list(arrays(body["graph"]["nodes"]))
    assert not [a for a in found if "trusted" in a]
    assert all(len(a.get("numbers", a.get("runs", ()))) <= 256 for a in found)
    assert {a["weight"] for a in found if "weight" in a} == set(body["weights"])
    stored = weights_of(program)
    save(stored)  # of its own memory, contiguous
    assert set(stored) == set(body["weights"])
    for weight, tensor in stored.items():
        entry = body["weights"][weight]
        assert entry["shape"] == list(tensor.shape) and entry["dtype"] == "F32"
        assert entry["sha256"] == hashlib.sha256(tensor.numpy().astype("<f4").tobytes()).hexdigest()


def of_kind(certificate, kind):
    return [n["map"] for n in certificate["body"]["graph"]["nodes"] if n["map"]["kind"] == kind]


def test_arrays_say_where_they_come_from(certificates):
    (diagonal,) = of_kind(certificates["batch norm"][2], "diagonal")
    names = {a["weight"] for a in arrays(diagonal["factor"]) if "weight" in a}
    assert names == {"1.weight", "1.running_var"} and diagonal["factor"]["fold"][0] == "div"
    assert {a["weight"] for a in arrays(diagonal["bias"]) if "weight" in a} == names | {"1.bias", "1.running_mean"}
    first, second = of_kind(certificates["weight norm"][2], "dense")
    assert first["weight"]["fold"][0] == second["weight"]["fold"][0] == "mul"
    assert of_kind(certificates["transposed weight"][2], "dense")[0]["weight"]["transposed"] is True
    inner, outer = of_kind(certificates["circular cpl"][2], "convolution")
    assert "transposed" not in inner["kernel"] and outer["kernel"]["transposed"] is True
    (pool,) = of_kind(certificates["pooling"][2], "separable")
    assert "runs" in pool["factors"][0][1]


def test_a_block_is_bounded_by_what_it_needs():
    _, _, certificate = made("cpl", {"claims": [{"layer": "conv.0", "bound": "1"}, {"layer": "dense.0", "bound": "1"}]})
    regions = {r["path"]: r for r in certificate["body"]["regions"]}
    norms = certificate["body"]["norms"]
    for path in ("conv.0", "dense.0"):
        assert regions[path]["verdict"] == "PROVED" and regions[path]["upper"] == (1.0).hex()
        (step,) = regions[path]["steps"]
        assert step["rule"] == "cpl" and norms[step["norm"]]["square"] == (2.0).hex()
        assert norms[step["norm"]]["slack"] % 4 == 0


def test_what_only_the_audit_proves_is_said_to_be_unchecked():
    model = Lambda(lambda x, w: torch.cat([torch.maximum(x[:, :3], x[:, 3:]), torch.minimum(x[:, :3], x[:, 3:])], 1))
    program = trace(model.eval(), VECTOR)
    report = audit(program, claims={"claims": [{"layer": "", "bound": "1"}]}, verifiers=["spectral"])
    (region,) = certify(program, report)["body"]["regions"]
    assert region["verdict"] == "PROVED" and region["rule"].startswith("unchecked: spectral: ")
    assert math.isclose(float.fromhex(region["upper"]), 2, rel_tol=1e-8)


def test_what_has_no_rule_has_no_bound_and_says_why(certificates):
    regions = {r["path"]: r for r in certificates["opaque"][2]["body"]["regions"]}
    assert regions[""]["upper"] is None and regions[""]["steps"] == [] and "hardshrink" in regions[""]["reason"]
    assert regions["0"]["upper"] is not None and regions["0"]["reason"] is None


def test_several_inputs_have_no_bound_of_the_whole():
    program = trace(nn.Bilinear(2, 2, 1).eval(), (torch.zeros(1, 2), torch.zeros(1, 2)))
    certificate = certify(program, audit(program, bounds_only=True, verifiers=["spectral"]))
    (region,) = certificate["body"]["regions"][:1]
    assert region["upper"] is None and region["input"] is None and "2 inputs" in region["reason"]


def test_rows_bound_every_output_and_copies_pass_the_bound_on():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Unflatten(1, (2, 2)))
    program = trace(model.eval(), VECTOR)
    claims = {"claims": [{"layer": "", "bound": "9", "norm": "l2->linf"}]}
    report = audit(program, claims=claims, verifiers=["spectral"])
    certificate = certify(program, report)
    region = certificate["body"]["regions"][0]
    assert [step["rule"] for step in region["steps"]] == ["rows", "pointwise", "affine"]
    row = float(torch.linalg.vector_norm(model[0].weight.detach().double(), dim=1).max())
    assert row <= float.fromhex(region["upper"]) <= row * (1 + 1e-8)


def test_two_inputs_that_refute_are_in_the_evidence():
    torch.manual_seed(0)
    program = trace(nn.Sequential(nn.Linear(6, 4), nn.ReLU()).eval(), VECTOR)
    report = audit(program, claims={"claims": [{"layer": "0", "bound": "0.1"}]}, verifiers=["spectral", "witness"])
    certificate = certify(program, report)
    refuted = certificate["body"]["regions"][0]
    assert refuted["verdict"] == "REFUTED" and float.fromhex(refuted["upper"]) > 0.1
    shown = {w["path"]: w for w in certificate["evidence"]["witnesses"]}
    assert float.fromhex(shown["0"]["ratio"]) > 0.1 and shown["0"]["x"]["shape"] == [1, 6]


def test_factors_are_there_on_request_and_are_what_is_checked(tmp_path):
    program, _, certificate = made("transposed weight", evidence="full")
    (name,) = certificate["evidence"]["factors"]
    assert certificate["body"]["norms"][name]["rule"] == "dense"
    (tmp_path / "weights").write_bytes(save(weights_of(program)))
    weights = checker.Weights(str(tmp_path / "weights"))
    assert not checker.check(dumps(certificate).encode(), weights).refused
    certificate["evidence"]["factors"][name]["shift"] += 1
    assert checker.check(dumps(certificate).encode(), weights).refused
    _, _, other = made("transposed weight")
    assert "factors" not in other["evidence"] and other["body"] == certificate["body"]


def test_the_size_does_not_grow_with_the_weights():
    sizes = []
    for width in (30, 300):
        program = trace(nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 3)).eval(), torch.zeros(1, 20))
        sizes.append(len(dumps(certify(program, audit(program, bounds_only=True, verifiers=["spectral"])))))
    assert abs(sizes[1] - sizes[0]) < 20


def test_the_body_is_the_same_without_what_the_audit_kept(certificates):
    program, report, certificate = certificates["residual"]
    assert report.examined.program is program
    assert certify(program, replace(report, examined=None))["body"] == certificate["body"]


def test_a_report_of_another_program_is_refused():
    first, second = (trace(nn.Linear(6, 4).eval(), VECTOR) for _ in range(2))
    report = audit(first, bounds_only=True, verifiers=["spectral"])
    with pytest.raises(LipverifyError, match="another program"):
        certify(second, report)
    same = replace(first, weights={name: weight.clone() for name, weight in first.weights.items()})
    assert certify(same, report)["body"] == certify(first, report)["body"]


def test_two_weights_that_differ_need_two_names():
    program = trace(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2)).eval(), VECTOR)
    with pytest.raises(LipverifyError, match="two weights that differ"):
        weights_of(replace(program, weight_names=dict.fromkeys(program.weight_names, "w")))


SCRIPT = """
import os, torch
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
from tests.certificates.test_made import made
for name in ("cpl", "circular cpl", "batch norm", "weight norm", "residual", "transposed", "large image", "strided"):
    print(name, made(name)[2]["sha256"])
"""


def test_the_body_does_not_depend_on_threads():
    bodies = []
    for threads in ("1", "2"):
        env = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        env["PYTHONPATH"] = os.pathsep.join((str(ROOT), str(ROOT / "proofs/checker")))
        run = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, cwd=ROOT)
        assert run.returncode == 0, run.stderr
        bodies.append(run.stdout)
    assert bodies[0] == bodies[1] and bodies[0].count("\n") == 8
