"""The program as a process: its start, its streams, its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.commands import ROOT


def process(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "lipverify", *map(str, arguments)],
        capture_output=True, text=True, env=environment, timeout=300, **options,
    )  # fmt: skip


def test_help_does_not_wait_for_torch():
    code = "import sys; sys.argv = ['lipverify', '--help']\ntry:\n import lipverify.__main__\nexcept SystemExit: pass\n"
    code += "print(sorted(m for m in ('torch', 'numpy', 'scipy', 'cvxpy') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_a_real_process(home):
    done = process("audit", home / "bad.json")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("error: 'bad.json'")
    done = process("audit", home / "plain.pt2", "--claims", home / "bad.json", "--verifiers", "spectral",
                   env={"PYTHONIOENCODING": "ascii"})  # fmt: skip
    assert done.returncode == 1 and done.stderr == "" and "REFUTED" in done.stdout
    assert process("--version").returncode == 0
    assert process("--version").stdout.startswith("lipverify")


STREAMS = {
    "full stdout": (">/dev/full", 2),
    "closed stdout": (">&-", 2),
    "no reader": ("| true", 1),
    "full stderr": ("2>/dev/full", 1),
    "closed stderr": ("2>&-", 1),
    "both closed": (">&- 2>&-", 2),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_that_nobody_reads_changes_no_verdict_and_is_no_defect(home, name):
    """REFUTED is 1, and only REFUTED: what cannot be said is 2."""
    redirection, code = STREAMS[name]

    def shell(*arguments):
        script = f'set -o pipefail; "$0" -m lipverify "$@" {redirection}'
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            ["bash", "-c", script, sys.executable, *map(str, arguments)],
            capture_output=True, text=True, env=environment, timeout=300,
        ).returncode  # fmt: skip

    assert shell("audit", home / "plain.pt2", "--claims", home / "bad.json", "--verifiers", "spectral") == code
    assert shell("audit", home / "none.pt2") == shell("audit", "--no-such-option") == 2
    assert shell("--help") in (0, 2)
