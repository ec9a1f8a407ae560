"""wait_for: wait until a port answers, a file exists or a text appears."""

import os
import re
import select
import socket
import time

from ..context import ModuleError

SPEC = {
    "host": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int"},
    "path": {"type": "path"},
    "state": {"type": "str", "choices": ["absent", "present", "started", "stopped"], "default": "started"},
    "delay": {"type": "float", "default": 0},
    "timeout": {"type": "float", "default": 300},
    "connect_timeout": {"type": "float", "default": 5},
    "sleep": {"type": "float", "default": 1},
    "search_regex": {"type": "str"},
    "msg": {"type": "str"},
}
RULES = {"mutually_exclusive": [["port", "path"]]}
CHECK = "skip"
EXAMPLE = {"port": 22, "timeout": 30}
READ_LIMIT = 1024 * 1024  # bytes of a port's output that are searched


def act(ctx, args):
    """Look again and again until what is waited for is so, or the time is over."""
    pattern = _pattern(args)
    started = time.monotonic()
    deadline = started + args["timeout"]
    time.sleep(args["delay"])
    values = {"changed": False, "state": args["state"], "port": args["port"], "path": args["path"]}
    values.update(search_regex=args["search_regex"], match_groups=[], match_groupdict={})
    if args["port"] is None and args["path"] is None:
        time.sleep(max(0, deadline - time.monotonic()))
        return dict(values, elapsed=int(time.monotonic() - started))
    while True:
        match = _look(args, pattern, deadline)
        if match:
            if match is not True:
                values["match_groups"] = [_text(value) for value in match.groups()]
                values["match_groupdict"] = {name: _text(value) for name, value in match.groupdict().items()}
            return dict(values, elapsed=int(time.monotonic() - started))
        left = deadline - time.monotonic()
        if left <= 0:
            break
        ctx.progress("%s, %d s left" % (_waiting_for(args), left))
        time.sleep(min(args["sleep"], left))
    msg = args["msg"] or "timeout after %g s: %s" % (args["timeout"], _waiting_for(args))
    raise ModuleError(msg, elapsed=int(time.monotonic() - started))


def _pattern(args):
    if args["search_regex"] is None:
        return None
    if args["state"] in ("absent", "stopped") and args["port"] is not None:
        raise ModuleError("search_regex with a port needs state: started")
    try:
        return re.compile(args["search_regex"].encode("utf-8"), re.MULTILINE)
    except re.error as error:
        raise ModuleError("%r is not a regular expression: %s" % (args["search_regex"], error))


def _waiting_for(args):
    subject = args["path"]
    if args["port"] is not None:
        subject = "%s:%d" % (args["host"], args["port"])
    text = "waiting for %s to be %s" % (subject, args["state"])
    return text + (" with %r" % args["search_regex"] if args["search_regex"] else "")


def _look(args, pattern, deadline):
    """A match object or True when it is as wanted."""
    here = args["state"] in ("started", "present")
    if args["path"] is not None:
        found = _look_at_file(args["path"], pattern)
    else:
        found = _look_at_port(args, pattern, deadline)
    return found if here else not found


def _look_at_file(path, pattern):
    if pattern is None:
        return os.path.exists(path)
    try:
        with open(path, "rb") as source:
            return pattern.search(source.read())
    except OSError:
        return None


def _look_at_port(args, pattern, deadline):
    patience = max(0.1, min(args["connect_timeout"], deadline - time.monotonic()))
    try:
        connection = socket.create_connection((args["host"], args["port"]), patience)
    except OSError:
        return None
    with connection:
        return True if pattern is None else _search_stream(connection, pattern, deadline)


def _search_stream(connection, pattern, deadline):
    data = b""
    while len(data) < READ_LIMIT:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([connection], [], [], left)[0]:
            return None
        try:
            piece = connection.recv(4096)
        except OSError:
            return None
        data += piece
        match = pattern.search(data)
        if match or not piece:
            return match
    return None


def _text(value):
    return None if value is None else value.decode("utf-8", "replace")
