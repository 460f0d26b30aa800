"""What the theory assumes: nothing is admitted, and every main theorem rests on the listed axioms alone.

    python3 proofs/check_theory.py BUILD

BUILD holds the compiled theory. ``theory/assumptions.txt`` lists the main theorems, each with the axioms that Coq's
``Print Assumptions`` may name for it; a difference in either direction fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

THEORY = Path(__file__).parent / "theory"
FORBIDDEN = re.compile(
    r"\b(Admitted|admit|give_up|Axioms?|Parameters?|Conjecture|Unset\s+\w+\s+Checking|bypass_check|Declare\s+Module)\b"
)
_COMMENT = re.compile(r'\(\*|\*\)|"[^"]*"')


def without_comments(text: str) -> str:
    """The source of a Coq file without its comments, which nest, and without strings."""
    kept, depth, end = [], 0, 0
    for found in _COMMENT.finditer(text):
        token = found.group()
        if not depth:
            kept.append(text[end : found.start()])
        if token == "(*":
            depth += 1
        elif token == "*)":
            depth = max(depth - 1, 0)
        end = found.end()
    return "".join(kept) + (text[end:] if not depth else "")


def faults() -> Iterator[str]:
    """Words in the sources that leave something unproved; variables and hypotheses outside of a section are such, too."""
    for path in sorted(THEORY.glob("*.v")):
        text, depth = without_comments(path.read_text()), 0
        for number, line in enumerate(text.splitlines(), 1):
            if found := FORBIDDEN.search(line):
                yield f"{path.name}: {found.group()} (line {number} without comments)"
            depth += len(re.findall(r"\b(?:Section|Module)\s+\w+\s*\.", line)) - len(
                re.findall(r"\bEnd\s+\w+\s*\.", line)
            )
            if not depth and re.match(r"\s*(Variables?|Hypothes[ie]s|Context)\b", line):
                yield f"{path.name}: {line.strip()[:60]} outside of a section"


def listed() -> dict[str, set[str]]:
    """Main theorem, as File.name -> the axioms that it may rest on."""
    lines = (line.split("#")[0].split(":") for line in (THEORY / "assumptions.txt").read_text().splitlines())
    return {line[0].strip(): set(line[1].split()) for line in lines if len(line) == 2}


def assumed(build: Path, theorems: list[str]) -> dict[str, set[str]]:
    """What Coq says that each theorem rests on."""
    files = sorted({name.split(".")[0] for name in theorems})
    lines = [f"From Lipverify Require {' '.join(files)}."]
    lines += [f'Redirect "assumptions_{name}" Print Assumptions {name}.' for name in theorems]
    (build / "print_assumptions.v").write_text("\n".join(lines) + "\n")
    subprocess.run(["coqc", "-Q", ".", "Lipverify", "print_assumptions.v"], cwd=build, check=True)
    (build / "print_assumptions.v").unlink()
    found = {}
    for name in theorems:
        text = (build / f"assumptions_{name}.out").read_text()
        rows = [row.split()[0] for row in text.splitlines() if row[:1].strip() and row != "Axioms:"]
        closed = "Closed under the global context" in text
        found[name] = set() if closed else {row.split(".")[-1] for row in rows}
    return found


def main(build: Path) -> int:
    wrong = list(faults())
    stated = listed()
    for name, axioms in assumed(build, list(stated)).items():
        if axioms != stated[name]:
            wrong.append(f"{name} rests on {sorted(axioms)}; assumptions.txt says {sorted(stated[name])}")
    print("\n".join(wrong) or f"theory: {len(stated)} main theorems, nothing admitted, no axioms but those listed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
