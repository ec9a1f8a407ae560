"""template: put a file on the board that the controller has rendered with Jinja."""

from .. import attributes
from .copy import apply, inspect, predict, result  # noqa: F401

# How Jinja reads the source is the controller's business; the board gets the rendered text as a blob.
SPEC = dict(
    attributes.SPEC,
    src={"type": "path", "required": True},
    dest={"type": "path", "required": True},
    force={"type": "bool", "default": True},
    backup={"type": "bool", "default": False},
    follow={"type": "bool", "default": False},
    validate={"type": "str"},
    newline_sequence={"type": "str", "choices": ["\n", "\r", "\r\n", "\\n", "\\r", "\\r\\n"], "default": "\n"},
    trim_blocks={"type": "bool", "default": True},
    lstrip_blocks={"type": "bool", "default": False},
)
EXAMPLE = {"src": "rpc-server.service.j2", "dest": "/etc/systemd/system/tvm-rpc-server.service", "mode": "0644"}
