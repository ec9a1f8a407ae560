"""Facts the board's owner keeps in files: *.fact, JSON, INI, or programs that print either."""

import configparser
import json
import os

DEADLINE = 2.0  # seconds for one fact program


def collect(board, folder="/etc/ansible/facts.d"):
    """ansible_local. A file that cannot be read as a fact gives a text that says so, as in Ansible."""
    local = {}
    for path in board.glob(os.path.join(folder, "*.fact")):
        name = os.path.basename(path)[: -len(".fact")]
        if board.live and os.access(path, os.X_OK):
            text = board.output([path], timeout=DEADLINE)
            if not text:
                local[name] = "error: %s failed or took longer than %d s" % (path, DEADLINE)
                continue
        else:
            text = board.read(path)
        local[name] = parse(text, path)
    return {"ansible_local": local}


def parse(text, path):
    """JSON, else INI, else a text with the complaint."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
    except (configparser.Error, UnicodeDecodeError):
        return "error: %s is neither JSON nor INI" % path
    return {section: dict(parser.items(section)) for section in parser.sections()}
