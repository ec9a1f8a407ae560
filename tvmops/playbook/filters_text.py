"""Filters for text: regular expressions, quoting, encodings, hashes, numbers, dates."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import shlex
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import jinja2

# The namespace that Ansible's to_uuid uses, so that the same text gives the same identifier.
UUID_NAMESPACE = "361E6D51-FAEC-444A-9079-341386DA8E2E"

URL_PARTS = ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")


def _flags(ignorecase: bool, multiline: bool) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


def regex_replace(  # noqa: PLR0917 (Ansible's signature)
    value: Any,
    pattern: str = "",
    replacement: str = "",
    ignorecase: bool = False,
    multiline: bool = False,
    count: int = 0,
    mandatory_count: int = 0,
) -> str:
    """re.sub on the text of a value."""
    text, done = re.subn(pattern, replacement, str(value), count=count, flags=_flags(ignorecase, multiline))
    if mandatory_count and mandatory_count != done:
        raise jinja2.TemplateRuntimeError(f"regex_replace: {done} matches of '{pattern}', not {mandatory_count}")
    return text


def regex_findall(value: Any, pattern: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    """re.findall on the text of a value."""
    found = re.findall(pattern, str(value), _flags(ignorecase, multiline))
    return [list(one) if isinstance(one, tuple) else one for one in found]


def regex_search(value: Any, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    r"""The text that matches, or a list of the groups asked for ('\\1', '\\g<name>'), or None."""
    wanted: list[int | str] = []
    for group in groups:
        named = re.fullmatch(r"\\g<(\S+)>", group)
        numbered = re.fullmatch(r"\\(\d+)", group)
        if not named and not numbered:
            raise jinja2.TemplateRuntimeError(f"regex_search: '{group}' is not a group such as '\\1' or '\\g<name>'")
        wanted.append(named.group(1) if named else int(numbered.group(1)))  # type: ignore[union-attr]
    found = re.search(pattern, str(value), _flags(ignorecase, multiline))
    if not found:
        return None
    return [found.group(one) for one in wanted] if wanted else found.group()


def regex_escape(value: Any, re_type: str = "python") -> str:
    """Text whose every character stands for itself in a regular expression."""
    if re_type == "python":
        return re.escape(str(value))
    if re_type == "posix_basic":
        return re.sub(r"([].[^$*\\])", r"\\\1", str(value))
    raise jinja2.TemplateRuntimeError(f"regex_escape: re_type '{re_type}' is none of python, posix_basic")


def quote(value: Any) -> str:
    """One shell word."""
    return shlex.quote("" if value is None else str(value))


def split(value: str, separator: str | None = None, limit: int = -1) -> list[str]:
    """str.split."""
    return value.split(separator, limit)


def b64encode(value: Any, encoding: str = "utf-8", urlsafe: bool = False) -> str:
    """Base64 of the text's bytes."""
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    return encode(str(value).encode(encoding)).decode("ascii")


def b64decode(value: Any, encoding: str = "utf-8", urlsafe: bool = False) -> str:
    """The text whose Base64 this is."""
    decode = base64.urlsafe_b64decode if urlsafe else base64.b64decode
    return decode(str(value)).decode(encoding)


def hash_of(value: Any, hashtype: str = "sha1") -> str:
    """The hex digest of the text's UTF-8 bytes."""
    try:
        return hashlib.new(hashtype, str(value).encode("utf-8")).hexdigest()
    except ValueError:
        raise jinja2.TemplateRuntimeError(f"hash: there is no hash '{hashtype}'") from None


def md5(value: Any) -> str:
    """hash('md5')."""
    return hash_of(value, "md5")


def to_uuid(value: Any, namespace: Any = UUID_NAMESPACE) -> str:
    """A name-based identifier (UUID 5)."""
    import uuid

    return str(uuid.uuid5(uuid.UUID(str(namespace)), str(value)))


def strftime(string_format: str, second: Any = None, utc: bool = False) -> str:
    """time.strftime of seconds since 1970, or of now."""
    when = time.time() if second is None else float(second)
    return time.strftime(string_format, time.gmtime(when) if utc else time.localtime(when))


def log(value: float, base: float = math.e) -> float:
    """Logarithm."""
    return math.log10(value) if base == 10 else math.log(value, base)


def power(value: float, exponent: float) -> float:
    """value ** exponent."""
    return math.pow(value, exponent)


def root(value: float, base: float = 2) -> float:
    """The base-th root."""
    return math.sqrt(value) if base == 2 else math.pow(value, 1.0 / float(base))


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


def human_to_bytes(value: Any, default_unit: str = "", isbits: bool = False) -> int:
    """The number of bytes that '10K' or '1.5 GB' stands for."""
    found = re.fullmatch(r"\s*(\d*\.?\d+)\s*([KMGTP]?)(i?[Bb](?:its?|ytes?)?)?\s*", str(value), re.IGNORECASE)
    if not found:
        raise jinja2.TemplateRuntimeError(f"human_to_bytes: cannot read '{value}'")
    unit = (found.group(2) or default_unit[:1]).upper()
    if isbits and (found.group(3) or "b").startswith("B"):
        raise jinja2.TemplateRuntimeError(f"human_to_bytes: '{value}' is bytes, not bits")
    return round(float(found.group(1)) * _UNITS[unit])


def human_readable(value: float, isbits: bool = False, unit: str | None = None) -> str:
    """A number of bytes as people write it, in the largest unit that fits or in `unit` ("K", "M", ...)."""
    fitting = [letter for letter, size in _UNITS.items() if value >= size]
    letter = unit[:1].upper() if unit else fitting[-1] if fitting else ""
    if letter not in _UNITS:
        raise jinja2.TemplateRuntimeError(f"human_readable: there is no unit '{unit}'")
    suffix = (letter + ("b" if isbits else "B")) if letter else ("bits" if isbits else "Bytes")
    return f"{float(value) / _UNITS[letter]:.2f} {suffix}"


def comment(text: str, style: str = "plain", decoration: str | None = None) -> str:
    """Text as a comment block: a bare marker line, each line marked, a bare marker line."""
    marks = {"plain": "# ", "erlang": "% ", "c": "// ", "cblock": " * ", "xml": " - "}
    ends = {"cblock": ("/*", " */"), "xml": ("<!--", "-->")}
    if style not in marks:
        raise jinja2.TemplateRuntimeError(f"comment: style '{style}' is none of {', '.join(marks)}")
    mark = marks[style] if decoration is None else decoration
    lines = [(mark + line) if line else mark.rstrip() for line in text.split("\n")]
    before, after = ends.get(style, (None, None))
    block = [*([before] if before else []), mark.rstrip(), *lines, mark.rstrip(), *([after] if after else [])]
    return "\n".join(block)


def urlsplit(value: Any, query: str = "") -> Any:
    """The parts of a URL as a dict, or the one named `query` (Ansible's names: hostname, path, port, scheme, ...)."""
    parts = urllib.parse.urlsplit(str(value))
    known = {name: getattr(parts, name) for name in URL_PARTS}
    if not query:
        return known
    if query not in known:
        raise jinja2.TemplateRuntimeError(f"urlsplit: '{query}' is not a part of a URL; known: {', '.join(URL_PARTS)}")
    return known[query]


FILTERS: dict[str, Callable[..., Any]] = {
    "urlsplit": urlsplit,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "regex_findall": regex_findall,
    "regex_escape": regex_escape,
    "quote": quote,
    "split": split,
    "b64encode": b64encode,
    "b64decode": b64decode,
    "hash": hash_of,
    "checksum": hash_of,
    "sha1": hash_of,
    "md5": md5,
    "to_uuid": to_uuid,
    "strftime": strftime,
    "log": log,
    "pow": power,
    "root": root,
    "human_to_bytes": human_to_bytes,
    "human_readable": human_readable,
    "comment": comment,
}
