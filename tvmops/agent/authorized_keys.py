"""Lines of an authorized_keys file."""

import base64
import binascii
from collections import namedtuple

# `line` is the text the key was read from, None for one that is to be written.
Key = namedtuple("Key", "options kind data comment line")

KINDS = (
    "ssh-rsa",
    "ssh-dss",
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "ssh-xmss@openssh.com",
    "ssh-xmss-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
)


def parse(line):
    """The Key on a line; None for a comment or anything else that sshd would not take."""
    text = line.strip()
    if not text or text.startswith("#"):
        return None
    words = _words(text)
    start = 0 if words[0] in KINDS else 1
    if len(words) < start + 2 or words[start] not in KINDS or not _is_data(words[start + 1]):
        return None
    options = split_options(words[0]) if start else []
    # The comment is the rest of the line as it stands, spaces and quotes included.
    rest = text
    for word in words[: start + 2]:
        rest = rest[len(word) :].lstrip()
    return Key(options, words[start], words[start + 1], rest, line)


def text_of(key):
    """The line for a Key, with its newline."""
    words = [",".join(key.options), key.kind, key.data, key.comment]
    return " ".join(word for word in words if word) + "\n"


def same(one, other):
    """True when two lines say the same about the same key."""
    return one[1:4] == other[1:4] and sorted(one.options) == sorted(other.options)


def split_options(text):
    """`no-pty,command="a, b"` as a list; commas within quotes split nothing."""
    options, start, quoted = [], 0, False
    for index, letter in enumerate(text):
        if letter == '"' and text[index - 1 : index] != "\\":
            quoted = not quoted
        elif letter == "," and not quoted:
            options.append(text[start:index].strip())
            start = index + 1
    options.append(text[start:].strip())
    return [option for option in options if option]


def _words(text):
    """The words of a line; spaces within quotes end none."""
    words, start, quoted = [], None, False
    for index, letter in enumerate(text):
        if letter == '"' and text[index - 1 : index] != "\\":
            quoted = not quoted
        if letter in " \t" and not quoted:
            if start is not None:
                words.append(text[start:index])
                start = None
        elif start is None:
            start = index
    return words + ([text[start:]] if start is not None else [])


def _is_data(word):
    try:
        return bool(base64.b64decode(word.encode("ascii"), validate=True))
    except (binascii.Error, ValueError):
        return False
