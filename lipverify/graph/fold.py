"""Folding: arithmetic on weights alone, done once, by enclosure.

Copies are exact. Everything else is interval arithmetic on float64, except the weights that go into a matrix product (or
another operation of :mod:`~lipverify.graph.fold_matrices`): these and all that is made of them are balls of many digits,
from the stored tensors on, so that a long chain keeps its precision. What a lowering rule reads is a float64 enclosure of
the real number that the stored weights define.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lipverify.graph.arb import precision
from lipverify.graph.fold_matrices import MATRICES
from lipverify.graph.fold_rules import Numbers
from lipverify.graph.fold_step import Folder
from lipverify.graph.integers import integers
from lipverify.graph.intervals import NotFoldable, exactly
from lipverify.maps import Enclosure
from lipverify.read.program import Program
from lipverify.read.shapes import types
from lipverify.subnormals import widened


class Folded(Mapping[str, Enclosure]):
    """The values that depend on weights alone, by name; each is enclosed in float64 when it is first read.

    Values that only other such values read are let go: reading one of them raises KeyError.
    """

    def __init__(self, numbers: dict[str, Numbers | None]) -> None:
        self._numbers, self._enclosures = numbers, dict[str, Enclosure]()

    def __getitem__(self, name: str) -> Enclosure:
        if name not in self._enclosures:
            numbers = self._numbers[name]
            if numbers is None:
                raise KeyError(f"{name} is read by weights only")
            with precision(), np.errstate(all="ignore"):
                self._enclosures[name] = numbers.enclosure()
        return self._enclosures[name]

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


def fold(program: Program) -> tuple[Folded, dict[str, str]]:
    """Every value that depends on no input, by name; and for those without a folding rule, the reason.

    Weights of floating dtypes are exact. Integers and booleans are kept when float64 holds them exactly; what pure operations
    make of them alone is what torch computes.
    """
    dtypes = {name: dtype for name, (_, dtype) in types(program).items()}
    known, refused = dict[str, Numbers | None](), dict[str, str]()
    for name, weight in program.weights.items():
        array = widened(weight)
        if not weight.is_floating_point() and np.abs(array).max(initial=0.0) >= 2.0**53:
            refused[name] = f"the integer weight {name} is beyond float64"
        else:
            known[name] = exactly(array)
    known |= {name: exactly(array) for name, array in integers(program, dtypes).items()}
    constants, fine, last = _plan(program)
    folder = Folder(known, types(program), program.dtype)
    for position, op in enumerate(program.operations):
        if op.name not in constants or op.name in known:
            continue
        bad = next((r for r in op.references if r in refused), None)
        if bad is not None:
            refused[op.name] = refused[bad]
        else:
            try:
                with precision(), np.errstate(all="ignore"):
                    known[op.name] = folder.fold(op, op.name in fine)
            except NotFoldable as error:
                refused[op.name] = str(error)
            except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
                refused[op.name] = f"{op.target} on weights alone: {type(error).__name__}"
        for name in op.references:
            if last.get(name) == position and name in known:
                known[name] = None
    return Folded(known), refused


def _plan(program: Program) -> tuple[set[str], set[str], dict[str, int]]:
    """The names of the operations on weights alone; those values that a matrix rule needs in balls; and for values that
    only such operations read, the position of the last one that does."""
    constants, last = set(program.weights), dict[str, int]()
    for position, op in enumerate(program.operations):
        if constants.issuperset(op.references):
            constants.add(op.name)
            last.update(dict.fromkeys(op.references, position))
    for op in program.operations:
        if op.name not in constants:
            for name in op.references:
                last.pop(name, None)
    for name in program.outputs:
        last.pop(name, None)
    fine = set[str]()
    for op in reversed(program.operations):
        if op.name in constants and (op.name in fine or op.target in MATRICES):
            fine |= {op.name, *op.references}
    return constants, fine, last
