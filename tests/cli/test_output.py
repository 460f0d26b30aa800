"""The report in a file: whole or not at all, and never in place of what was audited."""

from __future__ import annotations

import os

import pytest

from tests.cli.commands import interrupt, refused, report, run


@pytest.mark.parametrize("kind", ["missing directory", "a directory", "not writable", "write-protected file"])
def test_an_output_that_cannot_be_written_is_refused_before_the_audit(home, stub, tmp_path, kind):
    if os.geteuid() == 0 and kind in ("not writable", "write-protected file"):
        pytest.skip("nothing is protected from root")
    calls = stub(report)
    path = tmp_path / "d" / "report.json"
    if kind != "missing directory":
        path.parent.mkdir()
    if kind == "a directory":
        path.mkdir()
    if kind == "write-protected file":
        path.write_text("old")
        path.chmod(0o400)
    if kind == "not writable":
        path.parent.chmod(0o500)
    refused(run("audit", home / "plain.pt2", "--output", path), "cannot be written", "report.json")
    assert calls == []


def test_an_old_report_stays_whole_when_the_audit_fails(home, stub, tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    for action, code in ((interrupt, 130), (lambda options: 1 / 0, 70)):
        stub(action)
        assert run("audit", home / "plain.pt2", "--output", path).exit_code == code
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    stub(report)
    path.chmod(0o640)
    assert run("audit", home / "plain.pt2", "--output", path).exit_code == 0
    assert "PROVED" in path.read_text() and path.stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_is_followed(home, stub, tmp_path):
    stub(report)
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert run("audit", home / "plain.pt2", "--output", tmp_path / "link").exit_code == 0
    assert (tmp_path / "link").is_symlink() and "PROVED" in (tmp_path / "real").read_text()


@pytest.mark.parametrize("name", ["model", "claims", "at", "link", "hard link", "roundabout"])
def test_a_report_never_replaces_what_was_audited(home, stub, tmp_path, name):
    calls = stub(report)
    for file in ("plain.pt2", "good.json", "at.npz"):
        (tmp_path / file).write_bytes((home / file).read_bytes())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    output = tmp_path / {"model": "plain.pt2", "claims": "good.json", "at": "at.npz"}.get(name, "plain.pt2")
    if name == "link":
        (tmp_path / "link").symlink_to(output)
        output = tmp_path / "link"
    if name == "hard link":
        (tmp_path / "link").hardlink_to(output)
        output = tmp_path / "link"
    if name == "roundabout":
        output = tmp_path / ".." / tmp_path.name / "plain.pt2"
    result = run("audit", tmp_path / "plain.pt2", "--claims", tmp_path / "good.json", "--at", tmp_path / "at.npz",
                 "--radius", "1", "--output", output)  # fmt: skip
    refused(result, "are one file", "next:")
    assert calls == [] and all(path.read_bytes() == data for path, data in before.items())
