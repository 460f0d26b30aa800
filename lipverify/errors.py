"""What the product raises for misuse and bad input: one root, and messages that say what, where, why and what next."""

from __future__ import annotations


class LipverifyError(Exception):
    """Misuse or bad input: what is wrong, where, why, and the next step.

    Args:
        what: the one-line finding.
        where: the file, layer or operation it was found in.
        why: why it matters or how it was noticed.
        step: what to do next.

    >>> print(LipverifyError("no such layer: 'fc'", where="claims.json", step="Did you mean 'fc1'?"))
    no such layer: 'fc'
      where: claims.json
      next:  Did you mean 'fc1'?
    """

    def __init__(self, what: str, *, where: str = "", why: str = "", step: str = "") -> None:
        self.what, self.where, self.why, self.step = what, where, why, step
        parts = (("where: ", where), ("why:   ", why), ("next:  ", step))
        super().__init__("\n".join([what, *(f"  {name}{text}" for name, text in parts if text)]))

    def __reduce__(self):
        return _again, (type(self), self.what, self.where, self.why, self.step)


class ReadError(LipverifyError):
    """A model file that cannot be read, or must not be."""


class ClaimError(LipverifyError):
    """A claim that says nothing, or nothing that can be checked."""


def quoted(text: object, limit: int = 80) -> str:
    """Text from a file as it may appear in a message: cut to ``limit`` characters, everything unprintable escaped.

    >>> quoted("a\\x1b[31m" + "b" * 100, 12)
    "'a\\\\x1b[31mbbbbb...'"
    """
    text = str(text)
    return repr(text if len(text) <= limit else text[: limit - 1] + "...")


def _again(kind: type[LipverifyError], what: str, where: str, why: str, step: str) -> LipverifyError:
    return kind(what, where=where, why=why, step=step)
