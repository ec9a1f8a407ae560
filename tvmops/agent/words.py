"""The free form of command and shell: `make all chdir=/src creates=/src/build`."""

import re

OPTIONS = ("creates", "removes", "chdir", "executable", "stdin")
# One word as a shell would see it: unquoted characters and quoted stretches without a space between them.
WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+|["'\\]""", re.DOTALL)


def split_options(text):
    """Free text -> (the command without its option words, {option: value}). Quoted option words are not options."""
    options = {}
    kept = []
    position = 0
    for word in WORD.finditer(text):
        name, equals, value = word.group().partition("=")
        if equals and name in OPTIONS:
            options[name] = _unquoted(value)
            kept.append(text[position : word.start()])
            position = word.end()
    kept.append(text[position:])
    return "".join(kept).strip(), options


def _unquoted(value):
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
