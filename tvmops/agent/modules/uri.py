"""uri: talk to a web service.

A change is a file at dest that became another: one that already has the content does not count, unlike in Ansible.
"""

import json
import os
import re
import socket
import time
import urllib.parse
from email.utils import formatdate
from http.client import HTTPException
from http.cookies import CookieError, SimpleCookie

from .. import attributes, files, web
from ..context import ModuleError
from ..download import public
from ..webform import multipart

SPEC = dict(
    attributes.SPEC,
    url={"type": "str", "required": True},
    method={"type": "str", "default": "GET"},
    body={"type": "raw"},
    body_format={"type": "str", "choices": ["form-urlencoded", "json", "raw", "form-multipart"], "default": "raw"},
    src={"type": "path"},
    remote_src={"type": "bool", "default": False},
    headers={"type": "dict", "default": {}},
    http_agent={"type": "str", "default": "ansible-httpget"},
    status_code={"type": "list", "elements": "int", "default": [200]},
    return_content={"type": "bool", "default": False},
    dest={"type": "path"},
    force={"type": "bool", "default": False},
    creates={"type": "path"},
    removes={"type": "path"},
    follow_redirects={
        "type": "str",
        "choices": ["all", "no", "none", "safe", "urllib2", "yes"],
        "default": "safe",
    },
    unredirected_headers={"type": "list", "elements": "str", "default": []},
    timeout={"type": "float", "default": 30},
    url_username={"type": "str", "aliases": ["user"]},
    url_password={"type": "str", "aliases": ["password"]},
    force_basic_auth={"type": "bool", "default": False},
    use_netrc={"type": "bool", "default": True},
    use_proxy={"type": "bool", "default": True},
    unix_socket={"type": "path"},
    validate_certs={"type": "bool", "default": True},
    ca_path={"type": "path"},
    client_cert={"type": "path"},
    client_key={"type": "path"},
    ciphers={"type": "list", "elements": "str"},
    decompress={"type": "bool", "default": True},
)
RULES = {"mutually_exclusive": [["body", "src"]]}
CHECK = "skip"
EXAMPLE = {
    "url": "http://127.0.0.1:8080/api/boards",
    "method": "POST",
    "body": {"name": "board1"},
    "body_format": "json",
    "status_code": [200, 201],
}
LIMIT = 32 * 1024 * 1024  # bytes of an answer that go into the result
CHUNK = 256 * 1024
SECONDS_FOR_CONTENT = 3600
JSON_TYPE = re.compile(r"(application|text)/(.*\+)?(json|javascript)\Z")


def act(ctx, args):
    """Ask, look at the status, and hand on the content or write it to dest."""
    reason = _needless(args)
    if reason is not None:
        return {"changed": False, "stdout": "skipped, since %s" % reason, "msg": reason}
    method = args["method"].upper()
    data, headers = _body(ctx, args)
    if args["dest"] is not None and files.is_file(args["dest"]) and not args["force"]:
        headers["If-Modified-Since"] = formatdate(files.need_status(args["dest"]).st_mtime, usegmt=True)
    started = time.monotonic()
    try:
        response = web.send(args, method, data, headers)
    except ModuleError as error:
        if -1 not in args["status_code"]:
            raise
        return dict(error.values, msg=error.msg, redirected=False)
    with response:
        values = _about(args, response)
        good = values["status"] in args["status_code"]
        try:
            content = _take(ctx, args, response, values, good)
        except ModuleError as error:
            raise _failure(error.msg, dict(values, **error.values))
        except (OSError, HTTPException, socket.timeout) as error:
            raise _failure("the answer of %s broke off: %s" % (values["url"], error), values)
    values["elapsed"] = int(time.monotonic() - started)
    return _finished(args, values, content, good)


def _failure(msg, values):
    kept = {key: values[key] for key in values if key not in ("msg", "changed")}
    return ModuleError(msg, **kept)


def _needless(args):
    if args["creates"] is not None and files.matching(args["creates"]):
        return "'%s' exists" % args["creates"]
    if args["removes"] is not None and not files.matching(args["removes"]):
        return "'%s' does not exist" % args["removes"]
    return None


def _body(ctx, args):
    """(what to send or None, the headers that describe it)."""
    if args["src"] is not None:
        path = ctx.blob(args["_blob"]["sha256"]) if args.get("_blob") else args["src"]
        if not os.path.isfile(path):
            raise ModuleError("src %s is not a file on the board" % path)
        with open(path, "rb") as source:
            return source.read(), {}
    body, kind = args["body"], args["body_format"]
    if body is None:
        return None, {}
    if kind == "json":
        text = body if isinstance(body, str) else json.dumps(body)
        return text.encode("utf-8", "surrogateescape"), {"Content-Type": "application/json"}
    if kind == "form-multipart":
        data, content_type = multipart(body, args["remote_src"])
        return data, {"Content-Type": content_type}
    if kind == "form-urlencoded":
        return _urlencoded(body).encode("utf-8"), {"Content-Type": "application/x-www-form-urlencoded"}
    if isinstance(body, (dict, list)):
        raise ModuleError("body is no text: say with body_format how it is to be written (json, form-urlencoded)")
    return str(body).encode("utf-8", "surrogateescape"), {}


def _urlencoded(body):
    if isinstance(body, str):
        return body
    try:
        pairs = body.items() if isinstance(body, dict) else [(name, value) for name, value in body]
        return urllib.parse.urlencode(list(pairs), doseq=True)
    except (TypeError, ValueError):
        raise ModuleError("body is neither a dictionary nor a list of pairs, as form-urlencoded needs it")


def _about(args, response):
    """What the head of an answer says."""
    status = response.getcode()
    values = {name.lower().replace("-", "_"): value for name, value in response.headers.items()}
    cookies = SimpleCookie()
    for line in response.headers.get_all("Set-Cookie") or ():
        try:
            cookies.load(line)
        except CookieError:
            continue  # what no browser would take either
    found = {name: cookies[name].value for name in cookies}
    size = response.headers.get("Content-Length", "unknown")
    values.update(
        status=status,
        url=public(response.geturl()),
        redirected=public(response.geturl()) != public(args["url"]),
        cookies=found,
        cookies_string="; ".join("%s=%s" % (name, found[name]) for name in sorted(found)),
        msg="OK (%s bytes)" % size if status < 300 else "HTTP Error %d: %s" % (status, response.reason),
    )
    return values


def _take(ctx, args, response, values, good):
    """Write the content to dest when the status is right -> as much of it as the result needs, or None."""
    zipped = response.headers.get("Content-Encoding", "").lower() == "gzip" and args["decompress"]
    is_json = JSON_TYPE.match(response.headers.get_content_type()) is not None
    wanted = args["return_content"] or is_json or not good
    if args["dest"] is not None and values["status"] == 304:
        values["path"] = args["dest"]
    elif args["dest"] is not None and good:
        path = values["path"] = _destination(args, values["url"])
        values["changed"] = _download(ctx, args, _pieces(response, zipped), path)
        if wanted and files.need_status(path).st_size <= LIMIT:
            return files.read(path)
        return None
    if not wanted:
        return None
    content = bytearray()
    for piece in _pieces(response, zipped):
        content += piece
        if len(content) > LIMIT:
            raise ModuleError("the answer is longer than %d bytes: have it written to dest" % LIMIT)
    return bytes(content)


def _pieces(response, zipped):
    """The content, piece by piece, unpacked."""
    import zlib

    unpacker = zlib.decompressobj(31) if zipped else None
    end = time.monotonic() + SECONDS_FOR_CONTENT
    left = response.length if isinstance(getattr(response, "length", None), int) else 0
    while True:
        piece = response.read(CHUNK)
        left -= len(piece)
        if not piece:
            if left > 0:
                raise OSError("%d bytes are missing" % left)
            return
        if time.monotonic() > end:
            raise OSError("it took longer than %d seconds" % SECONDS_FOR_CONTENT)
        try:
            yield unpacker.decompress(piece) if unpacker else piece
        except zlib.error as error:
            raise OSError("it cannot be unpacked: %s" % error)


def _destination(args, url):
    if not files.is_directory(args["dest"]):
        return args["dest"]
    name = os.path.basename(urllib.parse.urlsplit(url).path) or "index.html"
    return os.path.join(args["dest"], name)


def _download(ctx, args, pieces, path):
    """Write the file, unless it has this content already -> whether it changed."""
    path = files.real_path(path)
    if not files.is_directory(os.path.dirname(path)):
        raise ModuleError("the directory %s does not exist" % os.path.dirname(path), path=path)
    wanted = attributes.wanted(ctx, args, path)
    try:
        with files.replacing(path, *attributes.numbers(wanted)) as target:
            for piece in pieces:
                target.write(piece)
                ctx.progress("%.1f MB" % (target.tell() / 1e6))
            target.flush()
            if files.is_file(path) and files.hashes(path, "sha1") == files.hashes(target.name, "sha1"):
                raise _Same
    except _Same:
        return _set_attributes(args, path, wanted)
    return True


class _Same(Exception):
    """Leaves the block that would replace the file."""


def _set_attributes(args, path, wanted):
    if attributes.observed(args, path) == wanted:
        return False
    attributes.apply(path, wanted)
    return True


def _finished(args, values, content, good):
    """The result: content as text, JSON as data, and a failure when the status is not one that the task expects."""
    if content is not None:
        text = content.decode("utf-8", "replace")
        if JSON_TYPE.match(values.get("content_type", "").split(";")[0].strip().lower()):
            try:
                values["json"] = json.loads(text)
            except ValueError:
                pass
        if args["return_content"] or not good:
            values["content"] = text
    if not good:
        expected = ", ".join(str(code) for code in args["status_code"])
        msg = "%s answered with status %d, not %s: %s" % (values["url"], values["status"], expected, values["msg"])
        raise _failure(msg, values)
    if "path" in values:
        report = attributes.report(files.real_path(values["path"]))
        values.update((key, report[key]) for key in report)
    return dict({"changed": False}, **values)
