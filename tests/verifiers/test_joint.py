"""Concatenations, maxima and minima: closed forms, and dense Jacobians of random graphs."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipverify.actions import apply
from lipverify.claims import LOGITS
from lipverify.graph import LayerGraph, Region
from lipverify.graph.crosscheck import act
from lipverify.maps import Affine, Concatenation, Extremum, Gather, Pad, Pointwise, Rearrange, Sum
from lipverify.verifiers import joint
from lipverify.verifiers.problem import Problem
from lipverify.verifiers.spectral import Spectral
from tests.verifiers.cases import Maker


class Joiner(Maker):
    """A maker of graphs that split and join values of shape (1, n)."""

    def pick(self, name: str, *index: int) -> str:
        return self.node(Affine(Gather(self.shape(name), np.array([index]))), name)

    def cat(self, *names: str) -> str:
        return self.node(Concatenation(tuple(self.shape(n) for n in names), 1), *names)

    def largest(self, a: str, b: str) -> str:
        return self.node(Extremum(self.shape(a), True), a, b)

    def smallest(self, a: str, b: str) -> str:
        return self.node(Extremum(self.shape(a), False), a, b)

    def steep(self, name: str) -> str:
        """Slopes between -1 and 2."""
        slopes = (Fraction(-1), Fraction(2))
        return self.node(
            Pointwise("steep", self.shape(name), slopes, (0.0,), lambda x: np.where(x > 0, 2 * x, -x)), name
        )


def constant(graph: LayerGraph, norms=None) -> Fraction:
    region = Region("", graph, None)
    return Spectral().verify(Problem(region) if norms is None else Problem(region, norms)).upper


def maxmin(m: Joiner, name: str) -> str:
    half = m.shape(name)[1] // 2
    a, b = m.pick(name, *range(half)), m.pick(name, *range(half, 2 * half))
    return m.cat(m.largest(a, b), m.smallest(b, a))


def copied_minimum(m: Joiner) -> str:
    """A copy of the minimum stands before the maximum: the minimum's second weight comes after the twins were paired."""
    a, b = m.pick("x", 0, 1), m.pick("x", 2, 3)
    least = m.smallest(a, b)
    again = m.pick(least, 0, 1)
    return m.cat(m.largest(a, b), least, again)


def three_of_a_pair(m: Joiner) -> str:
    a, b = m.pick("x", 0, 1), m.pick("x", 2, 3)
    return m.cat(m.largest(a, b), m.largest(b, a), m.smallest(a, b))


def neighbours(m: Joiner) -> str:
    return m.largest(m.pick("x", 0, 1, 2), m.pick("x", 1, 2, 3))


def signs_and_pads(m: Joiner) -> str:
    """(0, -x, 0) beside x, reshaped: two copies of every entry."""
    negative = m.scale("x", -1.0)
    padded = m.node(Affine(Pad((1, 4), ((0, 0), (1, 1)))), negative)
    return m.cat(m.node(Affine(Rearrange((1, 6), (1, 6))), padded), "x")


def wrapped(m: Joiner) -> str:
    """Circular padding by one on each side copies two of four entries; one of them is taken a third time."""
    return m.cat(m.node(Affine(Pad((1, 4), ((0, 0), (1, 1)), circular=True)), "x"), m.pick("x", 3))


def two_maxima_of_a_pair(m: Joiner) -> str:
    a, b = m.pick("x", 0, 1), m.pick("x", 2, 3)
    return m.cat(m.largest(a, b), m.largest(a, b))


def gated_halves(m: Joiner) -> str:
    return m.cat(m.activation(m.pick("x", 0, 1)), m.activation(m.pick("x", 2, 3), "tanh"))


CLOSED_FORMS = {
    "maxmin": (lambda m: maxmin(m, "x"), 1),
    "maxmin twice": (lambda m: maxmin(m, maxmin(m, "x")), 1),
    "two copies": (lambda m: m.cat("x", "x"), 2),
    "maximum with itself, minimum with itself": (lambda m: m.cat(m.largest("x", "x"), m.smallest("x", "x")), 2),
    "disjoint parts": (lambda m: m.cat(m.pick("x", 3, 1), m.pick("x", 0)), 1),
    "part of nothing": (lambda m: m.cat(m.pick("x", -1, -1), m.pick("x", 0)), 1),
    "maximum of neighbours": (neighbours, 2),
    "a minimum copied before its maximum": (copied_minimum, 2),
    "two maxima and a minimum": (three_of_a_pair, 2),
    "a maximum beside its argument": (lambda m: m.cat(m.largest("x", m.pick("x", 1, 0, 3, 2)), "x"), 3),
    "signs and pads": (signs_and_pads, 2),
    "wrapped": (wrapped, 3),
    "gated halves": (gated_halves, 1),
    "two maxima of a pair": (two_maxima_of_a_pair, 2),
    "steep halves": (lambda m: m.cat(m.steep(m.pick("x", 0, 1)), m.pick("x", 2, 3)), 5),
    "scaled halves": (lambda m: m.cat(m.scale(m.pick("x", 0, 1), 3.0), m.pick("x", 2, 3)), 10),
}
"""Graph -> the square of the bound that the rules give."""


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_squares_of_the_bounds_in_closed_form(name):
    make, square = CLOSED_FORMS[name]
    maker = Joiner((1, 4))
    upper = constant(maker.graph(make(maker)))
    assert Fraction(square) <= upper**2 <= square * (1 + Fraction(1, 10**12))
    if square == 1:
        assert upper == 1


def test_weights_that_grow_too_large_are_bounded_by_the_constant_of_their_value(monkeypatch):
    maker = Joiner((1, 2))
    name = "x"
    for _ in range(6):
        name = maker.cat(name, name)
    exact = constant(maker.graph(name))
    monkeypatch.setattr(joint, "LARGEST_WEIGHT", 4.0)
    assert float(exact**2) == pytest.approx(64) and constant(maker.graph(name)) >= exact


def test_empty_parts_are_no_obstacle():
    maker = Joiner((1, 2))
    nothing = maker.node(Affine(Gather((1, 2), np.zeros((1, 0), np.int64))), "x")
    assert constant(maker.graph(maker.cat("x", nothing, maker.largest(nothing, nothing)))) == 1


def test_a_value_without_a_constant_is_never_left_out():
    maker = Joiner((1, 2))
    part = maker.dense("x", np.eye(2))
    output = maker.cat(part, "x")
    graph = maker.graph(output)
    with pytest.raises(KeyError):
        joint.joint_square(graph, graph.nodes[output], {"x": Fraction(1)})


def test_every_output_of_a_join_is_one_of_its_inputs():
    maker = Joiner((1, 4))
    graph = maker.graph(maker.cat("x", "x", maker.largest("x", maker.pick("x", 3, 2, 1, 0))))
    assert constant(graph, LOGITS) == 1 < constant(graph)


@st.composite
def graphs(draw) -> LayerGraph:
    """Slices, copies, signs, gates, joins and a few dense layers, in any order."""
    m = Joiner((1, draw(st.integers(2, 4))))
    values = ["x"]
    for _ in range(draw(st.integers(1, 12))):
        value = draw(st.sampled_from(values[-5:]))
        n = m.shape(value)[1]
        match draw(st.sampled_from(("pick", "cat", "extremum", "pair", "gate", "sign", "dense", "sum"))):
            case "pick":
                values.append(m.pick(value, *draw(st.lists(st.integers(-1, n - 1), min_size=1, max_size=5))))
            case "cat":
                others = [v for v in values if m.shape(v)[1] + n <= 12]
                values.append(m.cat(value, draw(st.sampled_from(others))) if others else m.activation(value))
            case "extremum" | "pair" as kind:
                other = draw(st.sampled_from([v for v in values if m.shape(v) == m.shape(value)]))
                values.append(draw(st.sampled_from((m.largest, m.smallest)))(value, other))
                if kind == "pair":
                    values.append(draw(st.sampled_from((m.largest, m.smallest)))(other, value))
            case "gate":
                kind = draw(st.sampled_from(("relu", "leaky_relu", "abs", "sigmoid", "steep")))
                values.append(m.steep(value) if kind == "steep" else m.activation(value, kind))
            case "sign":
                values.append(m.scale(value, draw(st.sampled_from((-1.0, 2.0)))))
            case "dense":
                entries = draw(st.lists(st.integers(-2, 2), min_size=2 * n, max_size=2 * n))
                values.append(m.dense(value, np.array(entries).reshape(2, n) / 2))
            case "sum":
                values.append(m.add(value, draw(st.sampled_from([v for v in values if m.shape(v) == m.shape(value)]))))
    return m.graph(m.cat(*draw(st.lists(st.sampled_from(values), min_size=1, max_size=4))))


def jacobian(graph: LayerGraph, x: np.ndarray) -> np.ndarray:
    """By the chain rule, at a point where everything is differentiable."""
    values, slopes = {graph.input: x}, {graph.input: np.eye(x.size)}
    for node in graph.nodes.values():
        reads, backs = [values[i] for i in node.inputs], [slopes[i] for i in node.inputs]
        values[node.name] = act(node.map, reads)
        match node.map:
            case Affine(linear=linear):
                columns = [apply(linear, c.reshape(linear.input_shape)).reshape(-1) for c in backs[0].T]
                slopes[node.name] = np.array(columns).T
            case Pointwise(function=function):
                eps = 1e-6
                slope = (function(reads[0] + eps) - function(reads[0] - eps)) / (2 * eps)
                slopes[node.name] = slope.reshape(-1, 1) * backs[0]
            case Sum(signs=signs):
                slopes[node.name] = sum(s * b for s, b in zip(signs, backs, strict=True))
            case Concatenation():
                slopes[node.name] = np.concatenate(backs)
            case Extremum(largest=largest):
                first = ((reads[0] >= reads[1]) == largest).reshape(-1, 1)
                slopes[node.name] = np.where(first, *backs)
            case other:
                raise TypeError(other)
    return slopes[graph.output]


@settings(max_examples=400, deadline=None)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_no_jacobian_of_a_random_graph_exceeds_the_bound(graph, seed):
    upper, rng = float(constant(graph)), np.random.default_rng(seed)
    for scale in (0.1, 1.0, 1.0, 3.0, 3.0, 10.0):
        x = scale * rng.standard_normal(graph.input_shape)
        assert np.linalg.norm(jacobian(graph, x), 2) <= upper * (1 + 1e-6) + 1e-9


@settings(max_examples=200, deadline=None)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_no_two_integer_points_of_a_random_graph_are_further_apart_than_the_bound(graph, seed):
    """Ties of maxima, kinks of gates: all difference quotients, not derivatives alone."""
    upper, rng = float(constant(graph)), np.random.default_rng(seed)
    for _ in range(10):
        x, y = rng.integers(-2, 3, (2, *graph.input_shape)).astype(float)
        moved = np.linalg.norm(value(graph, x) - value(graph, y))
        assert moved <= upper * np.linalg.norm(x - y) * (1 + 1e-9) + 1e-12


def value(graph: LayerGraph, x: np.ndarray) -> np.ndarray:
    values = {graph.input: x}
    for node in graph.nodes.values():
        values[node.name] = act(node.map, [values[i] for i in node.inputs])
    return values[graph.output]
