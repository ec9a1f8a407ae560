"""One HTTP request with any method: redirects as the task wants them, credentials, bodies, certificates, deadlines."""

import base64
import http.client
import socket
import urllib.error
import urllib.parse
import urllib.request

from .context import ModuleError
from .debian.faults import hide_credentials
from .download import SECRET_HEADERS, public

CHANGING_REDIRECTS = (301, 302, 303)  # what was posted is then fetched, as all browsers do
MAX_REDIRECTS = 10


def send(args, method, data, headers):
    """The server's response, to be closed by the caller; a status that is an error is a response too.

    `args["timeout"]` (seconds) bounds connecting and every silence after it. Raises ModuleError without an answer.
    """
    url = _address(args["url"])
    try:
        request = Request(url, data, method)
        _add_headers(request, args, headers)
        return _opener(args).open(request, timeout=args["timeout"])
    except urllib.error.HTTPError as error:
        return error
    except socket.timeout:
        raise ModuleError("%s did not answer within %g seconds" % (url, args["timeout"]), status=-1, url=url)
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.timeout):
            raise ModuleError("%s did not answer within %g seconds" % (url, args["timeout"]), status=-1, url=url)
        raise ModuleError("no answer from %s: %s" % (url, error.reason), status=-1, url=url)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ModuleError("no answer from %s: %s" % (url, error), status=-1, url=url)


def _address(url):
    """The URL without credentials. Raises ModuleError unless it can be asked."""
    try:
        shown = public(url)
        parts = urllib.parse.urlsplit(shown)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("only http:// and https:// are supported")
        parts.port  # noqa: B018  (it is looked at here for the first time)
    except ValueError as error:
        raise ModuleError("%s is no address: %s" % (hide_credentials(url), error), status=-1, url=hide_credentials(url))
    return shown


class Request(urllib.request.Request):
    """A request with a method of its own."""

    def __init__(self, url, data, method):
        urllib.request.Request.__init__(self, url, data)
        self.verb = method

    def get_method(self):
        """The method."""
        return self.verb


class Redirects(urllib.request.HTTPRedirectHandler):
    """follow_redirects: none, safe (what was only asked for), all, or urllib2 (as Python does it)."""

    max_redirections = MAX_REDIRECTS

    def __init__(self, args):
        self._follow = {"no": "none", "yes": "all"}.get(args["follow_redirects"], args["follow_redirects"])
        self._kept_back = {name.lower() for name in args["unredirected_headers"]}

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # noqa: PLR0917  (urllib's)
        """The next request, or None to take the redirection for the answer."""
        method = req.get_method()
        if self._follow == "none" or (self._follow != "all" and method not in ("GET", "HEAD") and code in (307, 308)):
            return None
        if self._follow == "safe" and method not in ("GET", "HEAD"):
            return None
        keeps = code in (307, 308) and self._follow != "urllib2"
        if code in CHANGING_REDIRECTS and method != "HEAD":
            method = "GET"
        following = Request(newurl.replace(" ", "%20"), req.data if keeps else None, method)
        same_server = following.host == urllib.parse.urlsplit(req.full_url).netloc
        for name, value in req.headers.items():
            about_body = name.lower() in ("content-length", "content-type")
            secret = name.lower() in SECRET_HEADERS and not same_server
            if not (name.lower() in self._kept_back or secret or (about_body and not keeps)):
                following.add_header(name, value)
        return following

    def http_error_308(self, req, fp, code, msg, headers):
        """As 307; Python before 3.11 does not know it."""
        return self.http_error_302(req, fp, code, msg, headers)


class UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens on a Unix socket."""

    path = None

    def connect(self):
        """Connect to the socket instead of the host in the URL."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _add_headers(request, args, headers):
    given = {"User-Agent": args["http_agent"]}
    if args["force"]:
        given["Cache-Control"] = "no-cache"
    given.update(headers)
    given.update(args["headers"] or {})
    for name, value in given.items():
        request.add_header(str(name), str(value))
    user, password = credentials(args)
    if user is not None and (args["force_basic_auth"] or args["url_username"] is None):
        token = base64.b64encode(("%s:%s" % (user, password)).encode("utf-8")).decode("ascii")
        request.add_unredirected_header("Authorization", "Basic " + token)


def credentials(args):
    """(user, password) of the task, the URL or ~/.netrc; (None, None) without any."""
    parts = urllib.parse.urlsplit(args["url"])
    if args["url_username"] is not None:
        return args["url_username"], args["url_password"] or ""
    if parts.username is not None:
        return urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    if args["use_netrc"]:
        import netrc

        try:
            found = netrc.netrc().authenticators(parts.hostname)
        except (OSError, netrc.NetrcParseError):
            found = None
        if found:
            return found[0], found[2]
    return None, None


def _opener(args):
    handlers = [Redirects(args)]
    if not args["use_proxy"]:
        handlers.append(urllib.request.ProxyHandler({}))
    user, password = credentials(args)
    if user is not None:
        known = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        known.add_password(None, public(args["url"]), user, password)
        handlers += [urllib.request.HTTPBasicAuthHandler(known), urllib.request.HTTPDigestAuthHandler(known)]
    if args["unix_socket"]:
        handlers.append(_unix_handler(args["unix_socket"]))
    if args["url"].startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=_tls(args)))
    return urllib.request.build_opener(*handlers)


def _unix_handler(path):
    class Connection(UnixConnection):
        pass

    Connection.path = path

    class Handler(urllib.request.HTTPHandler):
        def http_open(self, req):
            return self.do_open(Connection, req)

    return Handler()


def _tls(args):
    import ssl

    try:
        context = ssl.create_default_context(cafile=args["ca_path"])
        if args["ciphers"]:
            context.set_ciphers(":".join(args["ciphers"]))
        if args["client_cert"]:
            context.load_cert_chain(args["client_cert"], args["client_key"])
    except (OSError, ValueError) as error:
        raise ModuleError("cannot use the certificates or ciphers of the task: %s" % error)
    if not args["validate_certs"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
