"""What a task changes, in Ansible's diff form: a list of {before, after, before_header, after_header}."""

import hashlib

from .looking import need_status, read
from .node import Unknown

CONTENT_KEYS = ("content", "sha256")  # shown as content, not as a line about it
LIMIT = 100 * 1024  # bytes of content shown on each side


def of_states(before, after, header):
    """The diff of two states: their `content` as text, every other key that differs as a line of its own."""
    entries = []
    keys = sorted(key for key in set(before) | set(after) if key not in CONTENT_KEYS and not key.startswith("_"))
    changed = [key for key in keys if before.get(key) != after.get(key)]
    if changed:
        entries.append(_entry(_lines(before, changed), _lines(after, changed), header))
    old, new = before.get("content"), after.get("content")
    if old != new:
        entries.append(_entry(shown(old), shown(new), header))
    return entries


def shown(content):
    """Content as the text to show: binary or long content becomes one line that says so."""
    if content is None:
        return ""
    if isinstance(content, str):
        content = content.encode("utf-8", "replace")
    if len(content) > LIMIT:
        return "(%d bytes, too long to show)\n" % len(content)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return text
    return "(%d bytes of binary data, sha256 %s)\n" % (len(content), hashlib.sha256(content).hexdigest())


def file_content(path):
    """A file's content for a diff, or one line about it where it is too long to show. b"" when there is none."""
    try:
        size = need_status(path).st_size
        if size > LIMIT:
            return "(%d bytes, too long to show)\n" % size
        return read(path)
    except FileNotFoundError:
        return b""
    except Unknown as error:
        return "(%s)\n" % error.msg


def _lines(state, keys):
    return "".join("%s: %s\n" % (key, _value(state[key])) for key in keys if state.get(key) is not None)


def _value(value):
    if isinstance(value, (list, tuple)):
        return ", ".join(str(one) for one in value)
    return value


def _entry(before, after, header):
    return {"before": before, "after": after, "before_header": header, "after_header": header}
