"""``python -m lipverify.coverage``."""

from lipverify.coverage import markdown

print(markdown(), end="")
