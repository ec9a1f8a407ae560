"""Dictionaries that keep the order of the JSON they came from, with Python 3.5 too."""

import collections
import json
import sys


class Ordered(collections.OrderedDict):
    """An ordered dictionary that compares and reads as a plain one does."""

    __eq__ = dict.__eq__
    __ne__ = dict.__ne__
    __hash__ = None

    def __repr__(self):
        return "{%s}" % ", ".join("%r: %r" % pair for pair in self.items())


Dictionary = dict if sys.version_info >= (3, 6) else Ordered


def loads(text):
    """json.loads."""
    return json.loads(text, object_pairs_hook=None if Dictionary is dict else Dictionary)
