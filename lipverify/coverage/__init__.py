"""Which operation has which bound: a table made by asking every room of the code about one small example of each.

``python -m lipverify.coverage`` prints it as Markdown; ``docs/coverage.md`` is its output.
"""

from lipverify.coverage.examples import EXAMPLES, Example
from lipverify.coverage.table import markdown

__all__ = ["EXAMPLES", "Example", "markdown"]
