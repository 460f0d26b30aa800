"""Every program of examples/findings runs, prints what the document says of it, and is named there."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = sorted((ROOT / "examples" / "findings").glob("*.py"))
DOCUMENT = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
NEEDS = {
    "cvxpy": ("solver_value", "coupled_multipliers"),
    "eclipse_nn": ("dropped_layers",),
    "deel.torchlip": ("evaluate_lip_const",),
    "orthogonium": ("get_conv_sv",),
}
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")


def printed(name: str) -> str:
    """The lines that the document shows under the command of a program."""
    return DOCUMENT.split(f"$ python examples/findings/{name}.py\n")[1].split("\n\n")[0]


@pytest.mark.parametrize("program", [p.stem for p in PROGRAMS])
def test_the_document_shows_the_command_once(program):
    assert DOCUMENT.count(f"$ python examples/findings/{program}.py\n") == 1


@pytest.mark.parametrize("program", [p.stem for p in PROGRAMS])
@pytest.mark.filterwarnings("ignore")
def test_the_program_prints_what_the_document_says(program, capsys):
    """To three digits of what is not within 1e-4 of 0: solvers and random starts of norms differ in their last digits."""
    for library, programs in NEEDS.items():
        if program in programs:
            pytest.importorskip(library)
    runpy.run_path(str(ROOT / "examples" / "findings" / f"{program}.py"))
    found = [float(n) for n in NUMBER.findall(capsys.readouterr().out)]
    shown = [float(n) for n in NUMBER.findall(printed(program))]
    assert len(found) >= len(shown) > 0  # a library may print before the program does
    assert found[-len(shown) :] == pytest.approx(shown, rel=1e-3, abs=1e-4)
