"""Text from strangers, made harmless: a module may be called anything, and a report is read by people and machines."""

from __future__ import annotations

import unicodedata
from fractions import Fraction

from lipverify.numerals import decimal_down, decimal_up

_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_MARKDOWN = frozenset("\\`*_[]<>#|~&@$")


def visible(text: object, limit: int = 300) -> str:
    """``text`` on one line with every control, format, bidi and separator character spelled out.

    What a terminal, a log or a reader would obey rather than show (escape sequences, newlines, right-to-left overrides,
    zero-width characters) is written as ``\\x1b`` or ``\\u202e``; so are the second of two colons and of two hashes,
    because logs of build services obey ``::error::`` and ``##[error]``. A backslash is doubled: nothing is ambiguous.

    >>> visible("a\\x1b[31m\\nb")
    'a\\\\x1b[31m\\\\nb'
    """
    text = str(text)
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(_spelled(c) for c in text).replace("::", ":\\x3a").replace("##", "#\\x23")


def harmless(text: str) -> str:
    """One line of a message as it may reach a terminal or a build log; backslashes stay single."""
    text = "".join(c if c == "\\" else _spelled(c) for c in text)
    return text.replace("::", ":\\x3a").replace("##", "#\\x23")


def markdown(text: object, limit: int = 300) -> str:
    """``text`` inside a Markdown table or paragraph: visible, and free of markup, HTML, links and workflow commands.

    Punctuation that means something in Markdown is written as a character reference, which every renderer shows as it
    was and which no parser of table rows, HTML or ``::commands::`` reacts to.

    >>> markdown("a|b <i>")
    'a&#124;b &#60;i&#62;'
    """
    plain = "".join(f"&#{ord(c)};" if c in _MARKDOWN else c for c in visible(text, limit))
    return plain.replace("www.", "www&#46;").replace("://", "&#58;//")


def upper_text(q: Fraction | None, digits: int, claim: Fraction | None = None) -> str:
    """A decimal >= q, with more digits where fewer would move it across ``claim``; ``-`` for None."""
    return _rounded(q, digits, claim, up=True)


def lower_text(q: Fraction | None, digits: int, claim: Fraction | None = None) -> str:
    """A decimal <= q, with more digits where fewer would move it across ``claim``; ``-`` for None."""
    return _rounded(q, digits, claim, up=False)


def _rounded(q: Fraction | None, digits: int, claim: Fraction | None, up: bool) -> str:
    if q is None:
        return "-"
    text = ""
    for n in (digits, 10, 17, 40):
        text = decimal_up(q, n) if up else decimal_down(q, n)
        if claim is None or (Fraction(text) <= claim) == (q <= claim):
            break
    return text


def _spelled(c: str) -> str:
    if c == "\\":
        return "\\\\"
    if c != " " and (unicodedata.category(c) in _HIDDEN or not c.isprintable()):
        return c.encode("unicode_escape").decode("ascii")
    return c
