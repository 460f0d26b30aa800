"""Every rule of ball arithmetic: the midpoint is torch's value, and no point of a ball is mapped out of its image."""

import pytest
import torch

from lipverify.read.program import aten
from lipverify.rigor.aten_balls import RULES, Ball
from lipverify.rigor.enclose import enclose
from tests.rigor.aten_cases import cases

CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_the_midpoint_is_torchs_float64_value_and_the_radius_is_rounding(name):
    program, shift = CASES[name]
    x = torch.randn(program.inputs["x"], generator=torch.Generator().manual_seed(1), dtype=torch.float64) + shift
    ball, truth = enclose(program, x), program(x)
    assert ball.midpoint.shape == truth.shape == ball.radius.shape
    size = 1 + float(truth.abs().max())
    if "softplus" in name:  # the ball holds the function that torch reverts to, too
        assert (abs(ball.midpoint - truth) <= ball.radius + 1e-13 * size).all()
        return
    assert (abs(ball.midpoint - truth) <= 1e-12 * size).all()
    assert float(ball.radius.max()) <= 1e-11 * size


@pytest.mark.parametrize("radius", [1e-9, 1e-3, 0.1])
@pytest.mark.parametrize("name", CASES)
def test_every_point_of_a_ball_is_mapped_into_its_image(name, radius):
    program, shift = CASES[name]
    generator = torch.Generator().manual_seed(2)
    shape = program.inputs["x"]
    x = torch.randn(shape, generator=generator, dtype=torch.float64) + shift
    spread = radius * torch.rand(shape, generator=generator, dtype=torch.float64)
    ball = enclose(program, Ball(x, spread))
    corners = [torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(6)]
    for point in corners + [c.sign() for c in corners] + [torch.ones(shape).double(), -torch.ones(shape).double()]:
        value = program(x + spread * point)
        assert (abs(value - ball.midpoint) <= ball.radius + 1e-13 * (1 + value.abs())).all()


def test_every_rule_has_a_case_and_names_an_operator_of_torch():
    covered = {name.rsplit(" ", 1)[0] for name in CASES}
    later = {  # comparisons and constants, tested by what reads them; memory without content
        t.removeprefix("aten.")
        for t in RULES
        if t.split(".")[1]
        in "gt ge lt le eq ne where masked_fill any full full_like zeros ones zeros_like ones_like".split()
        or "logical" in t
        or "new_" in t
        or t.split(".")[1] in ("empty", "eye", "scalar_tensor")
    }
    missing = {t.removeprefix("aten.") for t in RULES} - covered - later
    assert not missing - ALIASES
    for target in RULES:
        assert aten(target)


ALIASES = {
    name.replace("_2", "_2")
    for name in """
    mH.default hstack.default vstack.default column_stack.default diagonal_copy.default addmv.default
    feature_alpha_dropout.default sgn.default _upsample_nearest_exact1d.default _upsample_nearest_exact1d.vec
    _upsample_nearest_exact2d.default
    """.split()
}
"""Other names or forms of operations that have a case."""
