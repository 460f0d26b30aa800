"""``python -m lipverify``."""

from lipverify.cli import main

main()
