"""Data runs one way, and imports follow it (DESIGN: the order of lipverify's rooms)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = (
    "errors subnormals undisturbed numerals strict_json maps actions claims assertions evidence read graph samples models "
    "rigor verifiers coverage verdict report auditing replay certificates baseline checking render output terminal handover "
    "request commands cli"
).split()


def imported(path: Path) -> set[str]:
    """Every module and every name taken from one: ``from lipverify import cli`` names ``lipverify.cli``."""
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(module: str) -> str:
    return module.split(".")[1]


def test_the_reader_of_imports_sees_every_form(tmp_path):
    (tmp_path / "m.py").write_text(
        "import lipverify.cli\nfrom lipverify import render\nfrom lipverify.read import read\n"
    )
    found = {room(m) for m in imported(tmp_path / "m.py") if m.startswith("lipverify.")}
    assert found == {"cli", "render", "read"}


@pytest.mark.parametrize("path", sorted((ROOT / "lipverify").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_lipverify_imports_upwards_only_and_never_cpl(path):
    own = path.relative_to(ROOT / "lipverify").with_suffix("").parts[0]
    modules = imported(path)
    assert not [m for m in modules if m.split(".")[0] == "cpl"]
    if own in ("__init__", "__main__"):
        return
    above = ORDER[: ORDER.index(own) + 1]
    assert not [m for m in modules if m.startswith("lipverify.") and room(m) in ORDER and room(m) not in above]
    assert own in ORDER


@pytest.mark.parametrize("path", sorted((ROOT / "cpl").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_cpl_never_imports_lipverify(path):
    assert not [m for m in imported(path) if m.split(".")[0] == "lipverify"]
