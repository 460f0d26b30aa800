"""What the command line prints of accuracies and of names."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from cpl.certify import Accuracy


def named(radius: float) -> str:
    """36/255 rather than 0.141176."""
    steps = round(radius * 255)
    return f"{steps}/255" if 0 < steps < 255 and radius == steps / 255 else f"{radius:g}"


def print_accuracy(accuracy: Accuracy) -> None:
    table = Table("accuracy", "l2 radius", "share", title=f"{accuracy.images} held-out images")
    table.add_row("clean", "-", f"{accuracy.clean:.1%}")
    for radius, share in accuracy.certified:
        table.add_row("certified", named(radius), f"{share:.1%}")
    Console().print(table)
    found = accuracy.empirical
    if found is not None:
        table = Table("l2 radius", "certified", "no attack found", title=f"the first {found.images} of them, attacked")
        table.add_row("0", f"{found.clean:.1%}", f"{found.clean:.1%}")
        for (radius, share), (_, robust) in zip(found.certified, found.robust, strict=True):
            table.add_row(named(radius), f"{share:.1%}", f"{robust:.1%}")
        Console().print(table)
        Console().print("nearest wrong inputs: " + ", ".join(f"{number} by {name}" for name, number in found.broken_by))


def printable(text: str) -> str:
    """Without control characters: names and paths may hold terminal codes."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
