"""The checker extracted from Coq agrees with the one in Python: on what was made, and on what was changed.

A certificate is read by both or by neither. What Python accepts, the extracted one accepts or calls UNCHECKED; what it alone
accepts (its arithmetic is exact, so it needs no room between a norm and its bound) is true by the oracle.
"""

import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import lipverify_checker as checker
import pytest
from hypothesis import HealthCheck, given, settings

from tests.certificates.bases import NETWORKS, base
from tests.certificates.materialised import Stored
from tests.certificates.mutations import changed, garbled, of_another_graph, other_weights, tightened
from tests.certificates.oracle import false_constants

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "build" / "lipverify-checker"
GOLDEN = sorted((ROOT / "tests" / "certificates" / "golden" / "1").glob("*.json"))
HOLDS = " has a constant of at most "
COUNTS: dict[Callable, int] = {changed: 14, of_another_graph: 10, tightened: 14, garbled: 6}

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists() and not os.environ.get("CI"), reason="build/lipverify-checker is not built: make proofs"
)


def mutations(count: int):
    """That many examples, the same ones in every run."""
    slow = [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
    ]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


def written(weights: Stored) -> bytes:
    """A safetensors file of these tensors."""
    header, data = {}, b""
    for name, (dtype, shape, own) in weights.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(own)]}
        data += own
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def extracted(data: bytes, weights: bytes, folder: Path) -> tuple[int, dict[str, list[str]]]:
    """Exit code, and lines by the word that they begin with."""
    (folder / "c.json").write_bytes(data)
    (folder / "w.safetensors").write_bytes(weights)
    done = subprocess.run([PROGRAM, folder / "c.json", folder / "w.safetensors"], capture_output=True, timeout=60)
    assert done.returncode in (0, 1, 2, 3), done.stderr
    lines: dict[str, list[str]] = {}
    for line in done.stdout.decode("ascii").splitlines():
        lines.setdefault(line[:9].strip(), []).append(line[10:])
    return done.returncode, lines


def agree(data: bytes, stored: Stored, folder: Path) -> int:
    """Fails where the two contradict each other; how many constants both accept."""
    outcome = checker.check(data, checker.Weights.of(stored))
    code, lines = extracted(data, written(stored), folder)
    if 2 in (code, outcome.exit_code):
        assert code == outcome.exit_code
        return 0
    accepted = {checker._plain(line) for line in outcome.accepted if HOLDS in line}
    ours = {line for line in lines.get("holds", ()) if HOLDS in line}
    for line in accepted - ours:
        assert any(other.startswith(line) for other in lines.get("UNCHECKED", ())), line
    if extra := ours - accepted:
        false = false_constants(json.loads(data), stored)
        for path, norm in false:
            named = f"{path!r}, {norm}" if path else f"the whole, {norm}"
            assert not any(line.startswith(named) for line in extra), (named, extra)
    if not lines.get("UNCHECKED") and not extra:
        assert code == outcome.exit_code
    return len(accepted & ours)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_certificates(path, tmp_path):
    weights = path.with_suffix(".safetensors")
    code, lines = extracted(path.read_bytes(), weights.read_bytes(), tmp_path)
    outcome = checker.check(path.read_bytes(), checker.Weights(weights))
    assert outcome.exit_code == 0 and code in (0, 3) and "REFUSED" not in lines
    assert set(lines["holds"]) <= set(outcome.accepted)


def test_networks_of_common_rules_are_accepted(tmp_path):
    accepted = {name: agree(*base(name), tmp_path) for name in NETWORKS}
    for name in (
        "dense",
        "dense cpl",
        "square cpl",
        "cpl with a step",
        "residual sum",
        "logits",
    ):
        assert accepted[name], name


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("mutation", COUNTS, ids=lambda mutation: mutation.__name__)
def test_mutations_of_the_certificate(name, mutation, tmp_path):
    text, stored = base(name)

    @mutations(COUNTS[mutation])
    @given(mutation(text))
    def check(data):
        agree(data, stored, tmp_path)

    check()


@pytest.mark.parametrize("name", NETWORKS)
def test_mutations_of_the_weights(name, tmp_path):
    text, stored = base(name)

    @mutations(5)
    @given(other_weights(text, stored))
    def check(mutated):
        agree(*mutated, tmp_path)

    check()


def test_usage_and_missing_files(tmp_path):
    missing = subprocess.run([PROGRAM, tmp_path / "none.json", tmp_path / "none"], capture_output=True, text=True)
    assert missing.returncode == 2 and "none.json" in missing.stdout
    assert subprocess.run([PROGRAM], capture_output=True).returncode == 2
