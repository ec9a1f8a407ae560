"""Forms as browsers send them: multipart/form-data."""

import os
import uuid

from .context import ModuleError


def multipart(fields, files_on_board):
    """The body for {name: text or {"content", "filename", "mime_type"}} -> (bytes, its content type).

    With `files_on_board`, a file whose content is not given is read. Raises ModuleError.
    """
    if not isinstance(fields, dict):
        raise ModuleError("body is no dictionary, as form-multipart needs it")
    boundary = "-" * 16 + uuid.uuid4().hex
    parts = []
    for name in fields:
        value = fields[name] if isinstance(fields[name], dict) else {"content": fields[name]}
        content, filename = value.get("content"), value.get("filename")
        if content is None:
            content = _content(name, filename, files_on_board)
        data = content if isinstance(content, bytes) else str(content).encode("utf-8", "surrogateescape")
        head = ['Content-Disposition: form-data; name="%s"' % _quoted(name)]
        if filename is not None:
            head[0] += '; filename="%s"' % _quoted(os.path.basename(str(filename)))
        if filename is not None or value.get("mime_type"):
            head.append("Content-Type: %s" % (value.get("mime_type") or _guessed(str(filename))))
        lines = ["--" + boundary] + head + ["", ""]
        parts.append("\r\n".join(lines).encode("utf-8") + data + b"\r\n")
    body = b"".join(parts) + ("--%s--\r\n" % boundary).encode("ascii")
    return body, "multipart/form-data; boundary=" + boundary


def _content(name, filename, files_on_board):
    if filename is None:
        raise ModuleError("the field %s of body has neither content nor filename" % name)
    if not files_on_board:
        msg = "the field %s of body: give its content, or set remote_src: true for a file on the board"
        raise ModuleError(msg % name)
    try:
        with open(filename, "rb") as source:
            return source.read()
    except OSError as error:
        raise ModuleError("the field %s of body: cannot read %s: %s" % (name, filename, error.strerror))


def _guessed(filename):
    import mimetypes

    return mimetypes.guess_type(filename)[0] or "application/octet-stream"


def _quoted(text):
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\r", " ").replace("\n", " ")
