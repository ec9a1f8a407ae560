"""Downloads with deadlines: no server, however slow or silent, holds a task for ever."""

import base64
import http.client
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from email.utils import formatdate

from .context import ModuleError

SCHEMES = ("http", "https", "file")
SECRET_HEADERS = ("authorization", "cookie", "private-token")  # not for a server that we are redirected to
CHUNK = 256 * 1024
WINDOW = 60.0  # seconds
BUSY = (502, 503, 504)  # what caches and proxies answer while they are busy with the same file
ATTEMPTS = 3
PAUSE = 1.0  # seconds between attempts
WINDOW_BYTES = 4096  # a server that sends less than this in a window only pretends to be alive


class NotModified(Exception):
    """The server says that the file has not changed since."""


def fetch(args, target, since, progress):
    """Write what `args["url"]` gives to a binary file -> result values.

    `args["timeout"]` (seconds) bounds connecting and every silence after it. Raises NotModified; ModuleError with
    the server's answer or what went wrong.
    """
    url = args["url"]
    if urllib.parse.urlsplit(url).scheme not in SCHEMES:
        raise ModuleError("cannot download %s: only http, https and file are supported" % public(url))
    values = {"url": public(url)}
    try:
        with _answer(args, since) as response:
            values.update(
                status_code=response.getcode() or 200, size=_copy(response, target, args["timeout"], progress)
            )
    except urllib.error.HTTPError as error:
        if error.code == 304:
            raise NotModified
        msg = "the server answered %d %s for %s" % (error.code, error.reason, public(url))
        raise ModuleError(msg, status_code=error.code, **values)
    except socket.timeout:
        raise ModuleError("%s sent nothing for %g seconds" % (public(url), args["timeout"]), **values)
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.timeout):
            raise ModuleError("%s did not answer within %g seconds" % (public(url), args["timeout"]), **values)
        raise ModuleError("cannot download %s: %s" % (public(url), error.reason), **values)
    except (ConnectionError, http.client.HTTPException, ValueError) as error:
        raise ModuleError("cannot download %s: %s" % (public(url), error), **values)
    return values


def _answer(args, since):
    attempt = 1
    while True:
        try:
            return _opener(args).open(_request(args, since), timeout=args["timeout"])
        except urllib.error.HTTPError as error:
            if error.code not in BUSY or attempt == ATTEMPTS:
                raise
        attempt += 1
        time.sleep(PAUSE)


def public(url):
    """The URL without a user name and password in it."""
    parts = urllib.parse.urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _request(args, since):
    url, username, password = args["url"], args["url_username"], args["url_password"]
    parts = urllib.parse.urlsplit(url)
    if parts.username is not None:
        username, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    request = urllib.request.Request(public(url), headers={"User-Agent": args["http_agent"]})
    if username is not None:
        token = base64.b64encode(("%s:%s" % (username, password)).encode("utf-8")).decode("ascii")
        request.add_unredirected_header("Authorization", "Basic " + token)
    for name, value in (args["headers"] or {}).items():
        if name.lower() in SECRET_HEADERS:
            request.add_unredirected_header(name, str(value))
        else:
            request.add_header(name, str(value))
    if since is not None:
        request.add_header("If-Modified-Since", formatdate(since, usegmt=True))
    return request


def _opener(args):
    if urllib.parse.urlsplit(args["url"]).scheme != "https":
        return urllib.request.build_opener()
    import ssl

    context = ssl.create_default_context()
    if not args["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))


def _copy(response, target, timeout, progress):
    """Copy the body -> its size. Raises ModuleError when it ends early or only trickles."""
    expected = response.headers.get("Content-Length")
    size = 0
    window_end, window_size = time.monotonic() + max(WINDOW, timeout), 0
    while True:
        # read1 returns what has come; read would wait for a full chunk, however slowly it trickles in.
        chunk = response.read1(CHUNK)
        if not chunk:
            break
        target.write(chunk)
        size += len(chunk)
        if time.monotonic() > window_end:
            if size - window_size < WINDOW_BYTES:
                raise ModuleError("the download trickles: under %d bytes in %g seconds" % (WINDOW_BYTES, WINDOW))
            window_end, window_size = time.monotonic() + max(WINDOW, timeout), size
        progress(_so_far(size, expected))
    if expected is not None and expected.isdigit() and size < int(expected):
        raise ModuleError("the download broke off after %d of %s bytes" % (size, expected))
    return size


def _so_far(size, expected):
    done = "%.1f MB" % (size / 1e6)
    if expected is not None and expected.isdigit() and int(expected):
        return "%s of %.1f MB (%d %%)" % (done, int(expected) / 1e6, 100 * size // int(expected))
    return done


def is_url(text):
    """True for a source that must be downloaded first."""
    return urllib.parse.urlsplit(text).scheme in SCHEMES and not os.path.exists(text)
