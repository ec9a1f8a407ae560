"""script: a program of this machine is sent to the board and run there."""

from __future__ import annotations

from typing import Any

from tvmops.errors import ConfigError
from tvmops.playbook.actions.action import Action, Refused
from tvmops.playbook.files import need_file
from tvmops.playbook.split import words


def script(action: Action, args: dict[str, Any]) -> dict[str, Any]:
    """Send and run it, unless creates or removes says that it need not be."""
    clean = action.arguments(args)
    line = str(clean["cmd"] if clean["cmd"] is not None else clean["_raw_params"]).strip()
    start, end = next(iter(words(line)), (0, 0))
    name, arguments = _unquoted(line[start:end]), line[end:].strip()
    try:
        path = need_file(name, "files", action.search())
        if path.is_dir():
            raise Refused(f"'{path}' is a folder, not a program")
        blob = action.shared.blobs.add_file(path)
    except ConfigError as error:
        return {"changed": False, "failed": True, "msg": error.message, "hint": error.hint}
    sent = {key: clean[key] for key in ("chdir", "creates", "removes", "executable") if clean[key] is not None}
    return action.ask("_script", {"name": path.name, "arguments": arguments, "_blob": blob, **sent})


def _unquoted(word: str) -> str:
    return word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"" else word
