"""``lipverify compare``: exit codes, formats, the baseline that is missing, and the one that is rewritten."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.baseline.stated import certificate, edited, margin, region, write
from tests.cli.commands import refused, run


@pytest.fixture
def pair(tmp_path):
    """Yesterday's certificate and one of which a bound grew by 2 % and another shrank."""

    def edit(body):
        body["regions"][0]["upper"] = (1.53).hex()
        body["regions"][1]["upper"] = (1.25).hex()

    return write(tmp_path / "old.json", certificate()), write(tmp_path / "new.json", edited(edit))


def test_the_same_is_exit_0_and_says_so(pair):
    result = run("compare", pair[0], pair[0])
    assert result.exit_code == 0 and "nothing is weaker than it was" in result.stdout and result.stderr == ""
    assert "3 statements, 3 as they were" in result.stdout and "weights (2): the same" in result.stdout


def test_it_does_not_wait_for_torch(pair):
    code = "import sys; from lipverify.cli import app; app(sys.argv[1:], standalone_mode=False); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "compare", *map(str, pair)], capture_output=True, text=True)
    assert "FAILS: GROWN" in done.stdout and done.stdout.endswith("False\n"), done.stdout + done.stderr


def test_growth_is_exit_1_and_named(pair):
    result = run("compare", *pair)
    assert result.exit_code == 1 and result.stderr == ""
    row = next(line for line in result.stdout.splitlines() if line.startswith("fc1"))
    assert "FAILS: GROWN" in row and "1.5 -> 1.530001 (+2.01 %)" in row
    assert "fc2" in result.stdout and "STRONGER" in result.stdout and "GROWN: its upper bound grew" in result.stdout
    assert "1 weaker than before. Exit code 1." in result.stdout


def test_growth_within_the_tolerance_is_exit_0(pair):
    assert run("compare", *pair, "--fail-on", "upper:+3%").exit_code == 0
    assert run("compare", *pair, "--fail-on", "upper:+1%").exit_code == 1


def test_json_says_everything_exactly(pair):
    result = run("compare", *pair, "--format", "json")
    data = json.loads(result.stdout)
    assert data["exit_code"] == result.exit_code == 1 and data["fails"] is True
    first, second, whole = data["statements"]
    assert first["changes"] == ["GROWN"] and first["fails"] and first["new"]["upper"] == (1.53).hex()
    assert second["changes"] == ["STRONGER"] and whole["changes"] == ["SAME"] and whole["old"]["claim"] is None
    assert data["graph"] == "SAME" and data["weights"]["changed"] == []


def test_markdown_is_a_table(pair):
    result = run("compare", *pair, "--format", "markdown")
    assert result.exit_code == 1 and "| layer | claim | verdict | upper | outcome |" in result.stdout


def test_what_does_not_fit_a_line_is_listed(pair, tmp_path):
    name = "a.very.long.path." * 9
    old = write(tmp_path / "o.json", certificate(regions=[region(name, "x", "a", claim="1" * 90)]))
    new = write(tmp_path / "n.json", certificate(regions=[region(name, "x", "a", claim="1" * 91)]))
    result = run("compare", old, new)
    assert result.exit_code == 1 and "FAILS: LOOSER" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 400


def test_a_missing_baseline_is_exit_2_with_the_command_that_writes_one(pair, tmp_path):
    refused(run("compare", tmp_path / "none.json", pair[1]), "no baseline", "none.json", "--update", "--certificate")
    refused(run("compare", pair[0], tmp_path / "none.json"), "none.json", "No such file")
    assert not (tmp_path / "none.json").exists()


def test_update_rewrites_the_baseline_after_showing_what_changed(pair):
    result = run("compare", *pair, "--update")
    assert result.exit_code == 0 and "FAILS: GROWN" in result.stdout and "1 weaker than before" in result.stdout
    assert pair[0].read_bytes() == pair[1].read_bytes() and "wrote" in result.stderr
    assert run("compare", *pair).exit_code == 0


def test_update_writes_a_first_baseline(pair, tmp_path):
    first = tmp_path / "first.json"
    result = run("compare", first, pair[1], "--update", "--format", "json")
    assert result.exit_code == 0 and first.read_bytes() == pair[1].read_bytes()
    assert {tuple(s["changes"]) for s in json.loads(result.stdout)["statements"]} == {("NEW",)}


def test_update_keeps_the_baseline_where_the_new_one_or_the_old_one_is_not_understood(pair, tmp_path):
    before = pair[0].read_bytes()
    bad = tmp_path / "bad.json"
    bad.write_text(pair[1].read_text().replace("PROVED", "REFUTED"))
    refused(run("compare", pair[0], bad, "--update"), "digest")
    assert pair[0].read_bytes() == before
    changed = bad.read_bytes()
    refused(run("compare", bad, pair[1], "--update"), "digest")
    assert bad.read_bytes() == changed
    refused(run("compare", tmp_path / "no" / "old.json", pair[1], "--update"), "cannot be written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.json", "new.json", "old.json"]


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--fail-on", "lower:+1%"], ["--fail-on", ""]])
def test_bad_usage(pair, arguments):
    refused(run("compare", *pair, *arguments), arguments[0], "next:")


def test_hostile_names_are_shown_and_not_obeyed(tmp_path):
    name = "::error::\x1b[31m|<b>\n\u202e"
    weights = {name: {"dtype": "F32", "shape": [4, 4], "sha256": "0" * 64}}
    data = certificate(regions=[region(name, "x", "a")], weights=weights) | {"made": {name: name}}
    old, new = write(tmp_path / "o.json", certificate()), write(tmp_path / "n.json", data)
    for format in ("text", "json", "markdown"):
        result = run("compare", old, new, "--format", format)
        assert result.exit_code == 1, result.output
        assert "\x1b" not in result.stdout and "::error::" not in result.stdout and "\u202e" not in result.stdout
        assert "<b>" not in result.stdout or format != "markdown"


def test_what_is_meant_is_guessed_and_what_is_wrong_is_said_in_words(pair, tmp_path):
    refused(run("compare", *pair, "--fail-on", "1%"), "Did you mean upper:+1%?")
    for text, why in (("[1]", "its top level is a list"), ("xx", "it is no JSON text"), ("", "it is no JSON text")):
        (tmp_path / "bad.json").write_text(text)
        refused(run("compare", tmp_path / "bad.json", pair[0]), why)


def test_margins_that_are_all_gone_are_one_line_and_update_says_what_it_accepts(pair, tmp_path):
    old = write(tmp_path / "m.json", certificate(margins=[margin("0.5"), margin("0.5", kept=1)]))
    result = run("compare", old, pair[0])
    assert result.exit_code == 1 and result.stdout.count("keeps class") == 0, result.stdout
    assert "2 inputs kept their class, of none is it stated any more" in result.stdout
    result = run("compare", old, pair[0], "--update")
    assert result.exit_code == 0 and "2 weaker than before, which would fail; accepted by --update" in result.stdout
    result = run("compare", tmp_path / "none.json", pair[0], "--update")
    assert result.stdout == "The first baseline: 3 statements. Exit code 0.\n"
