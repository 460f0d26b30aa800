"""Some 12,000 mutations of certificates and weights: what is accepted is true, and nothing raises.

Digests are made right again after a mutation, so that they are not what saves the checker. It may refuse what is true (a
bound above the truth that its rule cannot show); it may accept only what the oracle finds true.
"""

import json

import lipverify_checker as checker
import pytest
from hypothesis import HealthCheck, given, settings

from tests.certificates.bases import NETWORKS, base
from tests.certificates.materialised import Stored
from tests.certificates.mutations import changed, garbled, of_another_graph, other_weights, sealed, tightened
from tests.certificates.oracle import false_constants, falsehood
from tests.certificates.statements import on_a_torus, stated

CHANGES, GRAPHS, TIGHTENINGS, GARBLES, WEIGHTS = 330, 170, 180, 130, 40
"""Of each network; the five together are 10,200 of twelve networks."""
FALSE_NORMS = 1500


def mutations(count: int):
    """That many examples, the same ones in every run."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


HOLDS = " has a constant of at most "


def shown(path: str, norm: str) -> str:
    """How the checker's line of a region begins, whose constant it accepts."""
    return f"{path!r}, {norm}{HOLDS}" if path else f"the whole, {norm}{HOLDS}"


def judge(data: bytes, weights: Stored) -> int:
    """The checker's exit code; fails where it accepts what is not so."""
    outcome = checker.check(data, checker.Weights.of(weights))
    assert outcome.exit_code in (0, 1, 2, 3) and outcome.text().isascii()
    if outcome.exit_code == 0:
        assert (found := falsehood(json.loads(data), weights)) is None, found
    elif any(HOLDS in line for line in outcome.accepted):
        for path, norm in false_constants(json.loads(data), weights):
            assert not any(line.startswith(shown(path, norm)) for line in outcome.accepted), "it is said to hold"
    return outcome.exit_code


@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_made_is_accepted_and_true(name):
    data, weights = base(name)
    outcome = checker.check(data, checker.Weights.of(weights))
    assert outcome.exit_code == 0, outcome.text()
    assert falsehood(json.loads(data), weights) is None and not false_constants(json.loads(data), weights)
    for region in json.loads(data)["body"]["regions"]:
        assert any(line.startswith(shown(region["path"], region["norm"])) for line in outcome.accepted)
    assert json.loads(sealed(json.loads(data))) == json.loads(data), "sealing alone changes nothing"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_changed_tree(name):
    text, weights = base(name)

    @mutations(CHANGES)
    @given(changed(text))
    def check(data):
        judge(data, weights)

    check()


@pytest.mark.parametrize("name", NETWORKS)
def test_another_graph(name):
    text, weights = base(name)

    @mutations(GRAPHS)
    @given(of_another_graph(text))
    def check(data):
        judge(data, weights)

    check()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_tightened_norm_or_step(name):
    text, weights = base(name)

    @mutations(TIGHTENINGS)
    @given(tightened(text))
    def check(data):
        judge(data, weights)

    check()


@pytest.mark.parametrize("name", NETWORKS)
def test_garbled_bytes(name):
    text, weights = base(name)

    @mutations(GARBLES)
    @given(garbled(text))
    def check(data):
        judge(data, weights)

    check()


@pytest.mark.parametrize("name", NETWORKS)
def test_other_weights(name):
    text, weights = base(name)

    @mutations(WEIGHTS)
    @given(other_weights(text, weights))
    def check(mutated):
        judge(*mutated)

    check()


@pytest.mark.parametrize("room", [1, 3, 8, 16, 28])
def test_a_norm_below_the_truth_is_not_accepted_whatever_the_rule(room):
    refused = 0
    for seed in range(room * 10_000, room * 10_000 + FALSE_NORMS // 5):
        made = stated(seed, 1 - 2.0**-room)
        refused += made is not None and judge(*made) in (1, 3)
    assert refused > FALSE_NORMS // 10, "the others are no operators"


def test_a_torus_that_holds_no_such_convolution_is_not_accepted_where_its_norm_is_too_small():
    made = [on_a_torus(seed) for seed in range(FALSE_NORMS // 3)]
    codes = [judge(*m) for m in made if m]
    assert codes.count(0) > 20 and codes.count(1) > 20, "some tori do, some do not"


def test_a_norm_above_the_truth_is_accepted():
    made = [stated(seed, 1 + 2.0**-10, "dense", 12) for seed in range(400)]
    known = [
        m for m in made if m and b'"kind":"dense"' in m[0] and b'"diagonal"' not in m[0] and b'"radii"' not in m[0]
    ]
    assert len(known) > 10 and {judge(*m) for m in known} == {0}
