"""`python -m tvmops` is `tvmops`."""

from tvmops.cli.program import main

main()
