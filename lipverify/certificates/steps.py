"""Steps: from the input of a region to its output, value by value, each with the rule that bounds it.

affine     a linear map, by the square of a norm
cpl        a residual block, by the square of the norm of its A
pointwise  slopes
named      a known constant
sum, joint of several values
rows       a linear map from l2 to linf, and what passes the entrywise bound on after it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from lipverify.certificates.blocks import Block, block_to
from lipverify.certificates.canonical import FULL, Unbounded, hexadecimal, root_up, short_up
from lipverify.certificates.graph import stated, stated_slopes
from lipverify.certificates.norms import Norm, Norms
from lipverify.certificates.operators import Operators
from lipverify.graph import LayerGraph
from lipverify.maps import (
    Affine,
    Concatenation,
    Extremum,
    Gather,
    Lipschitz,
    Pad,
    Pointwise,
    Rearrange,
    Sum,
)

RULES = ("affine", "cpl", "pointwise", "named", "sum", "joint", "rows")
"""The rules of steps, as ``proofs/rules.json`` has them."""


class NoRule(Exception):
    """A value whose bound no rule of a certificate derives; the message says why."""


@dataclass(frozen=True, slots=True)
class _Step:
    """One step: its rule, the values whose bounds it rests on, and what the rule reads besides.

    Attributes:
        factor: the steepest slope of ``pointwise``, the square of the constant of ``named``.
    """

    rule: str
    reads: tuple[str, ...]
    norm: Norm | None = None
    block: Block | None = None
    factor: Fraction = Fraction(1)

    def upper(self, before: list[Fraction]) -> Fraction:
        """The bound of the value, by those of ``reads``, rounded up to 53 bits."""
        square = self.factor if self.norm is None else self.norm.square
        if self.rule in ("affine", "rows", "named"):
            return root_up(square * before[0] ** 2)
        if self.rule == "joint":
            return root_up(sum((b**2 for b in before), Fraction(0)))
        if self.block is not None:
            return short_up(self.block.rule.constant(square) * before[0], FULL)
        return short_up(self.factor * sum(before, Fraction(0)), FULL)


@dataclass(slots=True)
class Derivation:
    """The steps of one region.

    Attributes:
        graph: its maps, none merged.
        operators, norms: of the whole program, shared by its regions.
        opaque: values whose maps the certificate does not hold, with the reason.
    """

    graph: LayerGraph
    operators: Operators
    norms: Norms
    opaque: Mapping[str, str]
    _l2: dict[str, Fraction] = field(default_factory=dict)
    _steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, *, rows: bool) -> Fraction:
        """An upper bound of the constant from the input to the output; with ``rows`` from l2 to linf.

        Raises:
            NoRule: where there is none.
        """
        self._l2[self.graph.input] = Fraction(1)
        try:
            found = self._entrywise() if rows else None
            return self._reach(self.graph.output) if found is None else found
        except Unbounded as error:
            raise NoRule(str(error)) from None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What was taken, in the order of the graph."""
        return [self._steps[name] for name in self.graph.nodes if name in self._steps]

    @property
    def rule(self) -> str:
        """The rules that were used, counted; what only moves entries is left out."""
        counted = Counter(step["rule"] for step in self.steps if not self._moves(step["value"]))
        if not counted:
            return "identity"
        words = [f"{count} {rule}" if count > 1 else rule for rule, count in counted.items()]
        return words[0] if sum(counted.values()) == 1 else f"compose({', '.join(words)})"

    def _moves(self, value: str) -> bool:
        map_ = self.graph.nodes[value].map
        return isinstance(map_, Affine) and isinstance(map_.linear, Rearrange)

    def _reach(self, value: str) -> Fraction:
        """The l2 bound of a value; those that it rests on are reached first, without recursion."""
        pending = [value]
        while pending:
            name = pending[-1]
            step = self._chosen(name) if name not in self._l2 else None
            missing = [] if step is None else [read for read in step.reads if read not in self._l2]
            pending += missing
            if not missing:
                pending.pop()
                if step is not None:
                    self._l2[name] = self._recorded(name, step, [self._l2[read] for read in step.reads])
        return self._l2[value]

    def _chosen(self, name: str) -> _Step:
        """The step to a value.

        Raises:
            NoRule: where there is none.
        """
        if name in self.opaque:
            raise NoRule(f"{name}: {self.opaque[name]}")
        node = self.graph.nodes[name]
        match node.map:
            case Affine():
                operator = self.operators.to(name, self.graph.input)
                norm = self.norms.l2(operator)
                if norm is None:
                    raise NoRule(f"no rule of a certificate bounds the {type(operator.map).__name__.lower()} {name}")
                return _Step("affine", (operator.input,), norm)
            case Pointwise(slopes=slopes):
                return _Step("pointwise", node.inputs, factor=max(map(abs, stated_slopes(slopes))))
            case Lipschitz(square=square):
                return _Step("named", node.inputs, factor=stated(square))
            case Concatenation() | Extremum():
                return _Step("joint", node.inputs)
            case Sum():
                block = block_to(self.graph.nodes, self.operators, name, self.graph.input)
                norm = None if block is None else self.norms.l2(block.inner, block.reached())
                if block is None or norm is None:
                    return _Step("sum", node.inputs)
                return _Step("cpl", (block.rule.input,), norm, block)
        raise NoRule(f"no rule of a certificate bounds {name}")

    def _recorded(self, name: str, step: _Step, before: list[Fraction]) -> Fraction:
        upper = step.upper(before)
        data = {"value": name, "rule": step.rule, "upper": hexadecimal(float(upper))}
        if step.norm is not None:
            data["norm"] = self.norms.used(step.norm)
        self._steps[name] = data
        return upper

    def _entrywise(self) -> Fraction | None:
        """The bound of the output's largest entry: by rows, then through what acts on single entries; None without rows."""
        after: list[str] = []
        name = self.graph.output
        while name in self.graph.nodes and name not in self.opaque:
            node = self.graph.nodes[name]
            match node.map:
                case Pointwise() | Affine(linear=Rearrange() | Gather() | Pad()):
                    after.append(name)
                    name = node.inputs[0]
                    continue
                case Affine():
                    operator = self.operators.to(name, self.graph.input)
                    norm = self.norms.rows(operator)
                    if norm is None or any(value in self.opaque for value in operator.maps):
                        return None
                    before = self._reach(operator.input)
                    upper = self._recorded(name, _Step("rows", (operator.input,), norm), [before])
                    for value in reversed(after):
                        upper = self._passed_on(value, self._chosen(value), upper)
                    return upper
            return None
        return None

    def _passed_on(self, name: str, step: _Step, before: Fraction) -> Fraction:
        """The entrywise bound after a copy or a function of single entries: copies change it nowhere."""
        if step.rule == "affine":
            self._recorded(name, step, [before])
            self._steps[name]["upper"] = hexadecimal(float(before))
            return before
        return self._recorded(name, step, [before])
