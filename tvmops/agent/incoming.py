"""What the controller sends: one JSON object per line; bytes as they are may follow one, such as a blob's."""

import json

RAW_LIMIT = 8 * 1024 * 1024  # bytes that may follow one message


class Messages:
    """Messages out of a stream of bytes. One that says `bytes` is followed by so many as they are: its `raw`."""

    def __init__(self):
        self._buffer = bytearray()
        self._open = None  # a message whose bytes are yet to come

    def feed(self, chunk):
        """The messages that are complete with this chunk."""
        searched = len(self._buffer)
        self._buffer += chunk
        while True:
            if self._open is not None:
                size = self._open["bytes"]
                if len(self._buffer) < size:
                    return
                message, self._open = self._open, None
                message["raw"] = self._cut(size, size)
            else:
                end = self._buffer.find(b"\n", searched)
                if end < 0:
                    return
                message = _parse(self._cut(end, end + 1))
                if isinstance(message, dict) and _count(message.get("bytes")):
                    self._open = message
            searched = 0
            if self._open is None:
                yield message

    def _cut(self, length, end):
        piece = bytes(self._buffer[:length])
        del self._buffer[:end]
        return piece


def _count(value):
    return value if type(value) is int and 0 < value <= RAW_LIMIT else 0


def _parse(line):
    """The message on a line, or the text of what is wrong with it (without the line: it may hold a secret)."""
    try:
        message = json.loads(line.decode("utf-8"))
    except ValueError:
        return "a line of %d bytes is not JSON" % len(line)
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        return 'a message is not an object with an "op"'
    return message
