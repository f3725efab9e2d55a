"""`python -m pcnc.cli` is `pcnc`."""

from pcnc.cli import main

main()
