"""What cpl raises: every message says what failed, where, why, and what to do next."""

from __future__ import annotations


class CplError(Exception):
    """Root of all errors that cpl raises on purpose.

    Args:
        what: What failed, in a few words.
        where: The module path, file or option concerned.
        why: The reason.
        next_step: What the user can do about it.
    """

    def __init__(self, what: str, *, where: str, why: str, next_step: str) -> None:
        self.what = what
        self.where = where
        self.why = why
        self.next_step = next_step
        super().__init__(f"{what} (where: {where}; why: {why}; next: {next_step})")


class ArgumentError(CplError, ValueError):
    """An argument of the public API has the wrong type or is out of range."""


class SealError(CplError):
    """A seal is missing, void, or cannot be made."""


class CheckpointError(CplError):
    """A checkpoint or an exported file is missing, corrupt, or belongs to another run."""


class DataError(CplError):
    """A data set is unknown or malformed."""


class TrainingError(CplError):
    """Training cannot continue, e.g. the loss is not finite."""


def reason(error: BaseException) -> str:
    """The first line of what an error of another library says; the name of its type if it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
