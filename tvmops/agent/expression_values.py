"""What expressions on the board work with beside plain values: the undefined, and complaints."""

import re


class UndefinedUsed(Exception):
    """Something undefined was used."""


class FilterFault(Exception):
    """A filter or test was given something it cannot work with."""


class Undefined(object):
    """What is not there: every use is an error, but parts of it may be asked for."""

    def __init__(self, message):
        self.message = message

    def used(self, *_arguments, **_named):
        """Raise UndefinedUsed."""
        raise UndefinedUsed(self.message)

    def __getitem__(self, _key):
        return self

    def __repr__(self):
        return "Undefined"

    __hash__ = __iter__ = __str__ = __len__ = __bool__ = __eq__ = __ne__ = __contains__ = used
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = used
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pos__ = __neg__ = __call__ = used
    __lt__ = __le__ = __gt__ = __ge__ = __int__ = __float__ = __complex__ = __pow__ = __rpow__ = used


def kind(value):
    """What a value is, for a person."""
    return {"str": "text", "int": "a number", "NoneType": "nothing (null)"}.get(type(value).__name__, "not a boolean")


def getitem(value, key):
    """value[key], or Undefined."""
    if isinstance(value, Undefined):
        return value
    try:
        return value[key]
    except (TypeError, LookupError):
        name = "dictionary" if isinstance(value, dict) else type(value).__name__
        return Undefined("the %s has no key or attribute '%s'" % (name, key))


def wants_text(value, name):
    """The value, which must be text. Raises UndefinedUsed, FilterFault."""
    if isinstance(value, Undefined):
        value.used()
    if not isinstance(value, str):
        raise FilterFault("%s: wants text, not %s" % (name, type(value).__name__))
    return value


def regex_flags(ignorecase, multiline):
    """The flags for re."""
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
