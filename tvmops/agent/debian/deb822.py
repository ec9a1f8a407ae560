"""Package sources in apt's paragraph style (.sources files)."""

import re

FOLDER = "/etc/apt/sources.list.d"
KEYRINGS = "/etc/apt/keyrings"

NAMES = {"name": "X-Repolib-Name", "uris": "URIs"}  # the others: allow_weak -> Allow-Weak


def slug(name):
    """The name of the files of a source."""
    return re.sub(r"[^a-z0-9-]+", "", re.sub(r"[_\s]+", "-", name.lower()))


def paragraph(fields):
    """The text for {argument: value}; fields that are None are left out. In the order of Ansible's module."""
    lines = []
    for name in sorted(fields):
        value = fields[name]
        if value is None:
            continue
        field = NAMES.get(name) or "-".join(word.capitalize() for word in name.split("_"))
        text = _text(value)
        lines.append("%s:%s%s" % (field, "" if text.startswith("\n") else " ", text))
    return "".join(line + "\n" for line in lines)


def is_armored(data):
    """True for a key as text, which apt wants in a file that ends with .asc."""
    return data.lstrip().startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")


def _text(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(str(one) for one in value)
    text = str(value).strip()
    if "\n" not in text:
        return text
    lines = [line.strip() or "." for line in text.splitlines()]
    return "".join("\n    " + line for line in lines)
