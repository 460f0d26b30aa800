"""python -m cpl"""

from cpl.cli import main

main()
