"""`python -m tvmops` is `tvmops`."""

from tvmops.cli.start import main

main()
