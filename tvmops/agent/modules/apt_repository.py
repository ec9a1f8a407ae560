"""apt_repository: a source of packages in apt's one-line style."""

import os
import random
import time

from .. import attributes, files, overlay
from ..context import ModuleError
from ..debian import onelines
from ..debian.faults import hide_credentials
from ..debian.manager import Apt

SPEC = {
    "repo": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "filename": {"type": "str"},
    "mode": {"type": "mode"},
    "update_cache": {"type": "bool", "default": True, "aliases": ["update-cache"]},
    "update_cache_retries": {"type": "int", "default": 5},
    "update_cache_retry_max_delay": {"type": "int", "default": 12},
    "codename": {"type": "str"},  # of a PPA, which is refused
    "validate_certs": {"type": "bool", "default": True},  # for asking about a PPA
    "install_python_apt": {"type": "bool", "default": True},  # nothing is needed
}
EXAMPLE = {
    "repo": "deb [signed-by=/etc/apt/keyrings/example.asc] https://packages.example.org/debian bookworm main",
    "filename": "example",
    "update_cache": False,
}
LOCK_DEADLINE = 60  # seconds for another apt-get to end


def inspect(ctx, args):
    """The lists as they are, and as they should be."""
    source = _source(args["repo"])
    path = _path(args, source)
    texts = _read_all(path)
    changes = onelines.added(texts, source, path) if args["state"] == "present" else onelines.removed(texts, source)
    before = {"content": _shown({name: texts.get(name) for name in changes})}
    after = {"content": _shown(changes), "_changes": changes, "_old": texts}
    return before, after


def apply(ctx, args, before, after):
    """Write the lists and fetch what they offer; when that fails, they are put back."""
    if args["update_cache"]:
        Apt(ctx, {"lock_timeout": LOCK_DEADLINE}).require_root("fetch the package lists")
    _write(args, after["_changes"])
    if args["update_cache"]:
        try:
            _update(ctx, args)
        except ModuleError:
            _write(args, {name: after["_old"].get(name) for name in after["_changes"]})
            raise
    return {}


def predict(ctx, args, before, after):
    """In check mode: the lists would be these, and newly fetched."""
    _write(args, after["_changes"])
    if args["update_cache"]:
        overlay.active().lists_fetched = True


def result(ctx, args, after):
    """Ansible's return values."""
    changes, old = after["_changes"], after["_old"]
    return {
        "repo": hide_credentials(args["repo"]),
        "state": args["state"],
        "sources_added": sorted(name for name in changes if name not in old),
        "sources_removed": sorted(name for name in changes if changes[name] is None),
    }


def _source(repo):
    """The line that apt reads. Raises ModuleError for what it would refuse."""
    if repo.startswith("ppa:"):
        msg = "%s: PPAs are not supported, for they need Launchpad: use deb822_repository with its key in signed_by"
        raise ModuleError(msg % repo)
    if "\n" in repo.strip():
        raise ModuleError("repo is one line, not several: use a task for each")
    source = " ".join(repo.split(" #")[0].split())
    problem = onelines.problem_of(source)
    if problem:
        raise ModuleError("apt would not take repo %r: %s" % (hide_credentials(repo), problem))
    return source


def _path(args, source):
    name = args["filename"]
    if name is None:
        return os.path.join(onelines.FOLDER, onelines.file_name(source))
    return os.path.normpath(onelines.list_path(name))


def _read_all(path):
    """{path: text} of all lists, and of the task's own file, wherever it is."""
    names = [onelines.MAIN] + files.matching(onelines.list_path("*")) + [path]
    return {name: files.read(name).decode("utf-8", "surrogateescape") for name in names if files.is_file(name)}


def _shown(texts):
    """Several files as one text, without passwords; None when there are none."""
    parts = ["# %s\n%s" % (name, texts[name]) for name in sorted(texts) if texts[name] is not None]
    return hide_credentials("".join(parts)) if parts else None


def _write(args, changes):
    for path in sorted(changes):
        if changes[path] is None:
            if files.exists(path):
                files.remove(path)
            continue
        mode = None
        if not files.exists(path):
            mode = 0o644 if args["mode"] is None else attributes.parse_mode(args["mode"], 0o644)
        files.make_directories(os.path.dirname(path))
        files.write_bytes(path, changes[path].encode("utf-8", "surrogateescape"), mode)


def _update(ctx, args):
    """Fetch the package lists, again after a growing pause while that fails."""
    apt = Apt(ctx, {"lock_timeout": LOCK_DEADLINE})
    attempts = max(1, args["update_cache_retries"])
    for attempt in range(attempts):
        try:
            apt.update(attempts=1)
            return
        except ModuleError:
            if attempt + 1 == attempts:
                raise
        pause = min(args["update_cache_retry_max_delay"], 2**attempt + random.random())
        ctx.progress("the package lists could not be fetched: once more in %d s" % pause)
        time.sleep(pause)
