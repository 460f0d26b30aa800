"""Commands as tests give them, and what they hold of the answers."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from typer.testing import CliRunner

from lipverify.claims import L2, Claim
from lipverify.cli import app
from lipverify.report import RegionReport, Report
from lipverify.verdict import Verdict

ROOT = Path(__file__).parent.parent.parent


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def audit(*arguments):
    return run("audit", *arguments, "--verifiers", "spectral,witness")


def write(path: Path, *claims) -> Path:
    path.write_text(json.dumps({"claims": claims}))
    return path


def refused(result, *texts):
    """Exit 2, nothing on stdout, one message on stderr that names ``texts`` and has no traceback."""
    assert result.exit_code == 2, (result.exit_code, result.stdout, result.stderr)
    assert result.stdout == "" and "Traceback" not in result.stderr
    for text in texts:
        assert text in result.stderr, result.stderr
    return result.stderr


def report(options) -> Report:
    claim = Claim("0", Fraction(1), "1")
    row = RegionReport("0", L2, claim, Verdict.PROVED, None, Fraction(1), "affine", (), (), None, None)
    return Report(options["name"], "real", (row,), (), 0.0)


def interrupt(options):
    raise KeyboardInterrupt
