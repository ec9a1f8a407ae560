"""Virtual boards: Debian machines in control groups and namespaces of this one, with real sshd, systemd and faults."""

from tvmops.lab.board import Board
from tvmops.lab.lab import Lab, lab_ids
from tvmops.lab.starting import LabEvent

__all__ = ["Board", "Lab", "LabEvent", "lab_ids"]
