"""One-sided: whatever was stated must be stated at least as strongly, and nothing else fails."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.baseline import Change, Tolerance, compare
from lipverify.baseline.comparison import NOISE, WEAKEST_FIRST
from lipverify.baseline.origin import GraphChange
from lipverify.errors import LipverifyError
from tests.baseline.stated import BALL, certificate, edited, margin, region, stated, weight

C = Change


def outcome(tmp_path, old, new, tolerance="upper:+0"):
    """{(path, norm): changes} of the statements that are not SAME, and whether the comparison fails."""
    comparison = compare(stated(tmp_path, old), stated(tmp_path, new), Tolerance.parse(tolerance))
    rows = {}
    for pair in comparison.pairs:
        s = pair.old or pair.new
        if pair.changes != (C.SAME,):
            rows[s.path, s.norm, s.domain] = set(pair.changes)
    assert comparison.exit_code == int(any(c.fails for changes in rows.values() for c in changes))
    return rows


def one(**fields):
    """A certificate that states one thing, of the layer fc1."""
    return certificate(regions=[region("fc1", "x", "a", **fields)])


RULES = {
    "a bound that grew": (one(upper="1.5"), one(upper="1.6"), {C.GROWN}),
    "a bound that shrank": (one(upper="1.5"), one(upper="1.4"), {C.STRONGER}),
    "a bound that is gone": (one(upper="1.5", claim=None), one(upper=None, claim=None), {C.UNBOUNDED}),
    "a first bound": (one(upper=None, claim=None), one(upper="9", claim=None), {C.STRONGER}),
    "a bound above 0": (one(upper="0"), one(upper=str(2.0**-1000)), {C.GROWN}),
    "a larger claim": (one(claim="2"), one(claim="2.000000000000000000000000000001"), {C.LOOSER}),
    "a tighter claim": (one(claim="2"), one(claim="1.5"), {C.STRONGER}),
    "the same claim in other words": (one(claim="0.5", upper="0.25"), one(claim="5e-1", upper="0.25"), None),
    "a claim that is gone": (one(), one(claim=None), {C.UNCLAIMED}),
    "a first claim": (one(claim=None), one(), {C.STRONGER}),
    "a first claim that is refuted": (one(claim=None), one(verdict="REFUTED"), {C.STRONGER}),
    "a claim on less": (one(), one(domain=BALL), {C.UNCLAIMED}),
    "a claim on more": (one(domain=BALL), one(), {C.STRONGER}),
    "a claim on another ball": (one(domain=BALL), one(domain="c" * 64), {C.UNCLAIMED}),
    "another norm pair": (one(), one(norm="l2->linf"), {C.VANISHED}),
    "a looser claim with a better verdict": (
        one(claim="1", verdict="UNDECIDED"), one(claim="2"), {C.LOOSER, C.STRONGER},
    ),
    "everything at once": (one(), one(upper=None, claim="3", verdict="CONFLICT"), {C.UNBOUNDED, C.LOOSER, C.WEAKER}),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_rules(tmp_path, name):
    old, new, expected = RULES[name]
    claim = old["body"]["regions"][0]["claim"]
    assert outcome(tmp_path, old, new).get(("fc1", "l2->l2", claim and claim["domain"])) == expected


@pytest.mark.parametrize("old", WEAKEST_FIRST)
@pytest.mark.parametrize("new", WEAKEST_FIRST)
def test_a_weaker_verdict_fails_and_no_other(tmp_path, old, new):
    found = outcome(tmp_path, one(verdict=str(old)), one(verdict=str(new)))
    steps = WEAKEST_FIRST.index(new) - WEAKEST_FIRST.index(old)
    expected = {C.WEAKER} if steps < 0 else {C.STRONGER} if steps > 0 else None
    assert found.get(("fc1", "l2->l2", None)) == expected


@pytest.mark.parametrize(
    ("tolerance", "upper", "fails"),
    [
        ("upper:+1%", "101/100", False),
        ("upper:+1%", "1010001/1000000", True),
        ("upper:+1%", "3/2", True),
        ("upper:+0", "101/100", True),
        ("upper:+0%", "101/100", True),
        ("upper: +0.5%", "1004/1000", False),
        ("upper:+0.5%", "1006/1000", True),
        ("upper:+100%", "2", False),
    ],
)
def test_growth_beyond_what_is_allowed_fails(tmp_path, tolerance, upper, fails):
    upper = str(Fraction(float(Fraction(upper)))) if fails else str(Fraction(float(Fraction(upper)) - 2.0**-52))
    found = outcome(tmp_path, one(upper="1"), one(upper=upper), tolerance)
    assert found["fc1", "l2->l2", None] == {C.GROWN if fails else C.WITHIN}


@pytest.mark.parametrize(
    "text", ["", "upper", "upper:1%", "upper:+1", "upper:-1%", "lower:+1%", "upper:+1%,", "upper:+nan%", "upper:+1e9%",
             "upper:+" + "9" * 10**5 + "%", "upper:+1%\n\x1b[31m"]
)  # fmt: skip
def test_other_tolerances_are_refused(text):
    with pytest.raises(LipverifyError, match=r"--fail-on .* is not understood") as error:
        Tolerance.parse(text)
    assert "\x1b" not in str(error.value) and len(str(error.value)) < 400


BOUND = st.floats(2.0**-900, 2.0**900)


@settings(max_examples=200, deadline=None)
@given(BOUND, BOUND, st.integers(0, 300))
def test_of_two_bounds_it_fails_exactly_where_the_second_is_beyond_noise_and_tolerance(old, new, percent):
    change = Tolerance.parse(f"upper:+{percent}%").change(Fraction(old), Fraction(new))
    growth = Fraction(new) / Fraction(old) - 1
    assert change.fails == (growth >= NOISE and growth > Fraction(percent, 100))


@settings(max_examples=200, deadline=None)
@given(BOUND, st.integers(-64, 64))
def test_a_few_units_of_the_rounding_are_noise_and_more_is_growth(upper, k):
    """Certificates round to 31 bits: neighbours are 2^-31 to 2^-30 of themselves apart."""
    near = Fraction(upper) * (1 + Fraction(k, 1 << 30))
    change = Tolerance().change(Fraction(upper), near)
    assert change is (C.SAME if k == 0 else C.NOISE if abs(k) < 4 else C.GROWN if k > 0 else C.STRONGER)


UPPERS = st.lists(st.floats(2.0**-50, 2.0**50), min_size=3, max_size=3)


@settings(max_examples=50, deadline=None)
@given(UPPERS, st.integers(0, 2), st.floats(0.0, 1.0))
def test_of_whole_certificates(tmp_path_factory, uppers, which, share):
    home = tmp_path_factory.mktemp("c")

    def of(values):
        names = (("fc1", "x", "a"), ("fc2", "relu", "b"), ("", "x", "b"))
        return certificate(regions=[region(*n, str(Fraction(v))) for n, v in zip(names, values, strict=True)])

    old = of(uppers)
    assert outcome(home, old, old) == {}
    smaller, larger, noisy = list(uppers), list(uppers), list(uppers)
    smaller[which] *= share
    larger[which] *= 1 + 2.0**-27
    noisy[which] *= 1 + 2.0**-29
    assert not compare(stated(home, old), stated(home, of(smaller))).fails
    assert compare(stated(home, old), stated(home, of(larger))).fails
    assert not compare(stated(home, old), stated(home, of(noisy))).fails


# ---- New, vanished and renamed


def renamed(body):
    """What becomes of a model that is wrapped: every path, every name of a value and of a weight is another one."""
    body["weights"] = {f"net.{name}": entry for name, entry in body["weights"].items()}
    for node in body["graph"]["nodes"]:
        node["value"] = "net_" + node["value"]
        node["reads"] = [read if read == "x" else "net_" + read for read in node["reads"]]
        if "weight" in node["map"]:
            node["map"]["weight"]["weight"] = "net." + node["map"]["weight"]["weight"]
    for entry in body["regions"]:
        entry["path"] = entry["path"] and f"net.{entry['path']}"
        for end in ("input", "output"):
            entry[end] = entry[end] if entry[end] == "x" else "net_" + entry[end]


def test_renamed_layers_are_compared_with_what_they_were(tmp_path):
    comparison = compare(stated(tmp_path, certificate()), stated(tmp_path, edited(renamed)))
    assert [(p.old.path, p.new.path, p.changes) for p in comparison.pairs] == [
        ("fc1", "net.fc1", (C.RENAMED,)),
        ("fc2", "net.fc2", (C.RENAMED,)),
        ("", "", (C.SAME,)),
    ]
    origin = comparison.origin
    assert not comparison.fails and origin.graph is GraphChange.RENAMED
    assert origin.renamed == (("fc1.weight", "net.fc1.weight"), ("fc2.weight", "net.fc2.weight"))
    assert not (origin.changed or origin.new or origin.vanished)


def test_a_renamed_layer_that_is_weaker_fails(tmp_path):
    def edit(body):
        renamed(body)
        body["regions"][0]["upper"] = (1.75).hex()
        body["regions"][1]["verdict"] = "UNDECIDED"

    rows = outcome(tmp_path, certificate(), edited(edit))
    assert rows["fc1", "l2->l2", None] == {C.RENAMED, C.GROWN}
    assert rows["fc2", "l2->l2", None] == {C.RENAMED, C.WEAKER}


def test_a_layer_of_another_name_and_other_weights_is_new_and_the_old_one_gone(tmp_path):
    def edit(body):
        renamed(body)
        body["weights"]["net.fc1.weight"] = weight(7)

    rows = outcome(tmp_path, certificate(), edited(edit))
    assert rows["fc1", "l2->l2", None] == {C.VANISHED} and rows["net.fc1", "l2->l2", None] == {C.NEW}
    assert rows["fc2", "l2->l2", None] == {C.RENAMED}


def test_two_layers_of_the_same_weights_are_renamed_one_by_one(tmp_path):
    def tied(body):
        body["weights"]["fc2.weight"] = weight(1)

    def both(body):
        tied(body)
        renamed(body)

    def less(body):
        both(body)
        del body["regions"][1]

    rows = outcome(tmp_path, edited(tied), edited(both))
    assert list(rows.values()) == [{C.RENAMED}, {C.RENAMED}]
    rows = outcome(tmp_path, edited(tied), edited(less))
    assert list(rows.values()) == [{C.RENAMED}, {C.VANISHED}]


def test_exchanged_names_are_no_renaming_but_other_weights(tmp_path):
    """What a path states is held against what the same path stated, whatever became of its layer."""

    def exchange(body):
        body["weights"] = {"fc1.weight": weight(2), "fc2.weight": weight(1)}
        body["regions"][0]["upper"] = (1.75).hex()

    comparison = compare(stated(tmp_path, certificate()), stated(tmp_path, edited(exchange)))
    assert comparison.origin.changed == ("fc1.weight", "fc2.weight") and comparison.fails


def test_fewer_statements_fail_and_more_do_not(tmp_path):
    few = certificate(regions=[region("fc1", "x", "a")])
    rows = outcome(tmp_path, certificate(), few)
    assert rows == {("fc2", "l2->l2", None): {C.VANISHED}, ("", "l2->l2", None): {C.VANISHED}}
    rows = outcome(tmp_path, few, certificate())
    assert rows == {("fc2", "l2->l2", None): {C.NEW}, ("", "l2->l2", None): {C.NEW}}


def test_a_region_of_which_nothing_was_stated_may_go(tmp_path):
    nothing = region("fc2", None, None, upper=None, claim=None)
    old = certificate(regions=[region("fc1", "x", "a"), nothing])
    assert outcome(tmp_path, old, one()) == {("fc2", "l2->l2", None): {C.DROPPED}}


def test_a_bound_without_a_claim_is_held_against_a_claimed_one(tmp_path):
    """Bounds hold on the whole space, whatever the domain of the claim."""
    old = one(claim=None, upper="1.5")
    assert outcome(tmp_path, old, one(domain=BALL, upper="1.6"))["fc1", "l2->l2", None] == {C.GROWN, C.STRONGER}


def test_margins_are_statements_too(tmp_path):
    def changes(old, new):
        both = (stated(tmp_path, certificate(margins=margins)) for margins in (old, new))
        comparison = compare(*both)
        found = [pair.change for pair in comparison.margins]
        assert comparison.fails == any(change.fails for change in found)
        return found

    other = margin(point="BBBB")
    assert changes([margin()], [margin()]) == [C.SAME]
    assert changes([margin("0.5")], [margin("0.4")]) == [C.LOOSER]
    assert changes([margin("0.5")], [margin("1/2")]) == [C.SAME]
    assert changes([margin("0.5")], [margin("0.6")]) == [C.STRONGER]
    assert changes([margin(), other], [other]) == [C.VANISHED, C.SAME]
    assert changes([margin()], [margin(kept=1)]) == [C.VANISHED, C.NEW]
    assert changes([], [margin()]) == [C.NEW]


# ---- What the statements are of


def test_what_changed_is_told_apart(tmp_path):
    def weights(body):
        body["weights"]["fc1.weight"] = weight(9)

    def graph(body):
        body["graph"]["nodes"][1]["map"]["name"] = "tanh"

    def claims(body):
        body["regions"][0]["claim"]["bound"] = "1.75"

    def of(data):
        comparison = compare(stated(tmp_path, certificate()), stated(tmp_path, data))
        assert not comparison.fails
        o = comparison.origin
        return o.changed, o.graph, [p.new.path for p in comparison.claims], o.tools

    same = ((), GraphChange.SAME, [], ())
    assert of(certificate()) == same
    assert of(edited(weights)) == (("fc1.weight",), *same[1:])
    assert of(edited(graph)) == ((), GraphChange.OTHER, [], ())
    assert of(edited(claims)) == ((), GraphChange.SAME, ["fc1"], ())
    newer = certificate() | {"made": {"model": "n", "lipverify": "0.2.0", "numpy": "2", "seconds": "9.00"}}
    tools = (("lipverify", "0.1.0", "0.2.0"), ("numpy", None, "2"), ("torch", "2.13.0", None))
    assert of(newer)[:3] == same[:3]
    assert of(newer)[3] == tools


def test_without_a_baseline_everything_is_new(tmp_path):
    comparison = compare(None, stated(tmp_path, certificate()))
    assert all(p.changes == (C.NEW,) for p in comparison.pairs) and not comparison.fails
    assert comparison.origin.graph is GraphChange.FIRST


def test_outcomes_explain_themselves():
    assert len({c.meaning for c in C}) == len(C) and all(c.meaning and isinstance(c.fails, bool) for c in C)
