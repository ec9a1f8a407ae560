"""The agent: the program that runs on a board. Python >= 3.5, standard library only."""

PROTOCOL = 2
