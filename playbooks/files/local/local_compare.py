"""Is an output the reference's? The rules of the worker's compare.py, without numpy.

Standard library only, Python 3.5 or newer.
"""

import math

TINY = 2.2250738585072014e-308


class Failure(Exception):
    """A job that cannot be done. `kind` is one that the worker's result.json knows, or Board."""

    def __init__(self, kind, message):
        Exception.__init__(self, message)
        self.kind = kind


def compare(expected, actual, rtol, atol):
    """{name: {"max_abs", "max_rel"}} of `expected`, (name, Tensor) each, and `actual`, Tensors.

    Raises Failure (WrongOutput) at the first output beyond the tolerance.
    """
    if len(expected) != len(actual):
        raise Failure("WrongOutput", "%d outputs came back, the reference has %d" % (len(actual), len(expected)))
    return {name: _differences(name, want, have, rtol, atol) for (name, want), have in zip(expected, actual)}


def _differences(name, want, have, rtol, atol):
    if want.shape != have.shape:
        raise Failure("WrongOutput", "output '%s' has shape %s, the reference %s" % (name, have.shape, want.shape))
    largest, relative, close = 0.0, 0.0, True
    least = max(atol, TINY)
    for right, got in zip(want.values(), have.values()):
        # What is not finite differs by nan or inf from anything.
        gap = abs(got - right)
        if not gap < math.inf:
            if _finite(right) != _finite(got):
                words = "output '%s' has NaN or infinite values where the reference has none"
                raise Failure("WrongOutput", words % name)
            if not _finite(right):
                close = close and (right == got or (math.isnan(right) and math.isnan(got)))
                continue
        size = abs(right)
        largest = gap if gap > largest else largest
        ratio = gap / (size if size > least else least)
        relative = ratio if ratio > relative else relative
        close = close and gap <= atol + rtol * size
    found = {"max_abs": float(largest), "max_rel": float(relative)}
    if not close:
        words = (
            "output '%s' differs from the reference by up to %.3g (relative %.3g), beyond rtol %g and atol %g; "
            "nothing was timed. If this is only rounding, raise the workload's 'tolerance'"
        )
        raise Failure("WrongOutput", words % (name, largest, relative, rtol, atol))
    return found


def _finite(value):
    return -math.inf < value < math.inf
