"""Sweeps: what to measure, the jobs that follow from it, running them, keeping and reporting what was measured."""
