"""What baseline.py runs models in, one file each; a board gets the one that it needs. Each has a class Runner:

Runner(files, inputs, threads, ...)    the model's files (RUNTIMES of tvmops/bench/baseline.py); inputs by name
infer() -> [output]                    one inference, inputs set before
times(repeat, number) -> [seconds]     optional: who takes the times itself, mean seconds per run
versions(), details()                  for the result

Python 3.6, the standard library and numpy. What a board lacks is an ImportError, or an exception of `kind` Absent.
"""
