"""tvmops: from bare boards to TVM benchmark numbers you can trust."""

__version__ = "0.1.0"
