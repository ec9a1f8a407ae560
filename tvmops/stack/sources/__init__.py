"""Source trees: what TVM is compiled from, fetched from where a stack or the user says, verified and kept."""

from tvmops.stack.sources.checks import lacking
from tvmops.stack.sources.fetch import fetch_source
from tvmops.stack.sources.request import parse_mirrors
from tvmops.stack.sources.tree import SourceTree

__all__ = ["SourceTree", "fetch_source", "lacking", "parse_mirrors"]
