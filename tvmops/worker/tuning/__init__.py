"""Tuning: measuring trials on boards and keeping what was measured.

plan, logs, children, boards and trials know nothing of TVM. autotvm, ansor and meta_schedule search with TVM's own
tuners in the worker; building.py and running.py do one trial's work in child processes.
"""
