"""apt: install, upgrade and remove Debian packages."""

import os
import time

from .. import files, overlay
from ..context import ModuleError
from ..debian import cache, database, marks, packages
from ..debian.asking import Asking

SPEC = {
    "name": {"type": "list", "elements": "str", "aliases": ["pkg", "package"]},
    "state": {"type": "str", "choices": ["present", "absent", "latest"], "default": "present"},
    "update_cache": {"type": "bool", "aliases": ["update-cache"]},
    "cache_valid_time": {"type": "int", "default": 0},
    "update_cache_retries": {"type": "int", "default": 1},
    "purge": {"type": "bool", "default": False},
    "autoremove": {"type": "bool"},
    "autoclean": {"type": "bool"},
    "install_recommends": {"type": "bool", "aliases": ["install-recommends"]},
    "default_release": {"type": "str", "aliases": ["default-release"]},
    "deb": {"type": "path"},
    "upgrade": {"type": "str", "choices": ["dist", "full", "no", "safe", "yes"]},
    "only_upgrade": {"type": "bool", "default": False},
    "dpkg_options": {"type": "str", "default": "force-confdef,force-confold"},
    "lock_timeout": {"type": "int", "default": 60},
    "allow_downgrade": {"type": "bool", "default": False, "aliases": ["allow-downgrade", "allow_downgrades"]},
    "allow_change_held_packages": {"type": "bool", "default": False},
    "force_apt_get": {"type": "bool", "default": False},  # apt-get is always what is used
}
RULES = {
    "required_one_of": [["name", "deb", "upgrade", "update_cache", "autoremove", "autoclean"]],
    "mutually_exclusive": [["deb", "name", "upgrade"]],
}
CHECK = "run"


def prepare():
    """Import what is imported only when there is something to do."""
    from ..debian import faults, manager, program, recovery, simulate  # noqa: F401


def act(ctx, args):
    """One query to dpkg when all is as wanted; else the simulation decides, apt-get acts, and dpkg is asked again."""
    if not ctx.which("apt-get") or not ctx.which("dpkg-query"):
        raise ModuleError("this board has no apt-get: the module apt needs Debian, Ubuntu or a derivative")
    apt = Asking(ctx, args)
    outcome = {"changed": False, "stdout": "", "stderr": ""}
    wanted = _wanted(args)
    _recover(apt, outcome, needed=False)
    updated = _update_cache(ctx, args, apt)
    if wanted and args["state"] == "absent":
        _carry_out(ctx, apt, _removal(apt, args, wanted), outcome)
    elif wanted:
        updated = _install_with_lists(ctx, apt, args, wanted, outcome, updated) or updated
        _mark_manual(ctx, wanted)
    elif args["deb"]:
        _install_deb(ctx, apt, args, outcome)
    elif args["upgrade"] not in (None, "no"):
        _carry_out(ctx, apt, _upgrade_command(args), outcome)
    elif args["autoremove"]:
        _carry_out(ctx, apt, ["autoremove"] + (["--purge"] if args["purge"] else []), outcome)
    elif not args["autoclean"] and args["name"] is None:
        outcome["changed"] = updated
        if ctx.check and updated:
            outcome.update(unknown=True, msg="the lists would be fetched; whether they have changed is not known")
    if args["autoclean"]:
        _autoclean(ctx, apt, outcome)
    outcome["cache_updated"] = updated
    outcome["cache_update_time"] = int(cache.update_time())
    return outcome


def _recover(apt, outcome, needed):
    """As recovery.recover, which is not imported while nothing is to be done."""
    if not needed and not database.is_interrupted():
        return False
    from ..debian.recovery import recover

    return recover(apt, outcome, needed)


def _wanted(args):
    wanted = []
    for text in (entry.strip() for entry in args["name"] or []):
        if text == "*" and args["state"] == "latest":
            raise ModuleError("name: '*' with state: latest upgrades everything; write upgrade: safe instead")
        if text:
            try:
                wanted.append(packages.Wanted(text))
            except ValueError as error:
                raise ModuleError("%s (patterns are not supported: name the packages)" % error)
    return wanted


def _update_cache(ctx, args, apt):
    """Fetch the package lists if the task wants that now. Returns whether they changed."""
    if not args["update_cache"] and not args["cache_valid_time"]:
        return False
    if time.time() - cache.update_time() < args["cache_valid_time"]:
        return False
    if ctx.check:
        fetched, overlay.active().lists_fetched = overlay.active().lists_fetched, True
        return not fetched
    apt.require_root("fetch the package lists")
    before = cache.signature()
    apt.acting().update(attempts=max(1, args["update_cache_retries"]))
    return cache.signature() != before


def _install_with_lists(ctx, apt, args, wanted, outcome, updated):  # noqa: PLR0917
    """Install -> whether the package lists were fetched for it.

    Lists that are young enough may have lost files, by a power cut: when they do not know a package they are fetched.
    """
    try:
        _install(ctx, apt, args, wanted, outcome)
    except ModuleError as error:
        from ..debian import faults

        said = "%s\n%s" % (error.values.get("stdout", ""), error.values.get("stderr", ""))
        if updated or ctx.check or not args["update_cache"] or not faults.missing_packages(said):
            raise
        apt.require_root("fetch the package lists")
        cache.remove_torn()
        apt.acting().update(attempts=max(1, args["update_cache_retries"]))
        _install(ctx, apt, args, wanted, outcome)
        return True
    return False


def _install(ctx, apt, args, wanted, outcome):
    installed = apt.query([one.name for one in wanted])
    if any(packages.find(one, installed, apt.native) is None for one in wanted):
        installed = apt.query([])  # a name nobody has may be one that another package provides
    needed = [one for one in wanted if _is_needed(apt, args, one, installed)]
    if not needed:
        return
    if _recover(apt, outcome, needed=True):
        installed = apt.query([])
        needed = [one for one in needed if _is_needed(apt, args, one, installed)]
        if not needed:
            return
    command = ["install"] + [one.argument() for one in needed]
    if args["only_upgrade"]:
        command.insert(1, "--only-upgrade")
    if args["autoremove"]:
        command.insert(1, "--auto-remove")
    _carry_out(ctx, apt, command, outcome, needed)


def _mark_manual(ctx, wanted):
    """What a task asks for must stay when nothing else needs it any more. Others than root may ask what is there."""
    names = marks.automatic([one.name for one in wanted])
    if names and not ctx.check and os.geteuid() == 0:
        rc, _, stderr = ctx.run(["apt-mark", "manual"] + names, timeout=60)
        if rc != 0:
            raise ModuleError("apt-mark manual %s: %s" % (" ".join(names), stderr.strip()), rc=rc, stderr=stderr)


def _is_needed(apt, args, wanted, installed):
    found = packages.find(wanted, installed, apt.native)
    if found is None or not found.usable:
        if args["only_upgrade"]:
            return False
        if not wanted.operator and packages.provider(wanted, installed) is not None:
            return False
        return True
    if args["state"] == "latest" or wanted.operator == "/":
        return True  # the simulation knows whether there is a newer one
    return not packages.version_matches(wanted, found.version, apt.at_least)


def _removal(apt, args, wanted):
    """The command that removes what is there of the wanted packages, or None."""
    installed = apt.query([one.name for one in wanted])
    present = []
    for one in wanted:
        found = packages.find(one, installed, apt.native)
        if found is None or not (found.usable or found.broken or (args["purge"] and found.has_files)):
            continue
        if packages.version_matches(one, found.version, apt.at_least):
            present.append(one.qualified)
    if not present:
        return None
    flags = (["--purge"] if args["purge"] else []) + (["--auto-remove"] if args["autoremove"] else [])
    return ["remove"] + flags + present


def _upgrade_command(args):
    command = ["dist-upgrade"] if args["upgrade"] in ("dist", "full") else ["upgrade", "--with-new-pkgs"]
    return command + (["--auto-remove"] if args["autoremove"] else [])


def _install_deb(ctx, apt, args, outcome):
    path = args["deb"]
    if "://" in path:
        raise ModuleError("deb: %s: give a file on the board; the module get_url fetches one" % path)
    if not files.is_file(path) and not files.unsure():
        raise ModuleError("deb: there is no file %s on the board" % path)
    path = files.local_copy(path)
    rc, text, stderr = ctx.run(["dpkg-deb", "-f", path, "Package", "Version", "Architecture"], timeout=60)
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    if rc != 0 or "Package" not in fields:
        raise ModuleError("%s is not a Debian package: %s" % (path, stderr.strip()), rc=rc, stderr=stderr)
    arch = fields.get("Architecture", "all")
    wanted = packages.Wanted(fields["Package"] + (":" + arch if arch != "all" else ""))
    installed = apt.query([wanted.name])
    found = packages.find(wanted, installed, apt.native)
    if found is not None and found.usable and found.version == fields.get("Version"):
        return
    _recover(apt, outcome, needed=True)
    _carry_out(ctx, apt, ["install", os.path.abspath(path)], outcome)


def _carry_out(ctx, apt, command, outcome, needed=()):
    """Simulate `command`; when it would change something, run it (not in check mode) and see that it did."""
    if command is None:
        return
    from ..debian import simulate

    apt = apt.acting()
    apt.refuse_patterns(needed)
    text = "" if apt.unknown else apt.simulate(command, needed)
    simulation = simulate.parse(text)
    if ctx.check:
        simulation.forget(overlay.active().packages)
    outcome["stdout"] = text
    if not simulation.changes and not apt.unknown:
        _verify(apt, needed, "there is nothing newer in the package sources", outcome)
        return
    outcome["changed"] = True
    if ctx.diff:
        outcome["diff"] = [_diff(simulation)]
    if ctx.check:
        if apt.unknown:
            outcome["msg"] = apt.unknown
        overlay.active().packages.update({one.name: one.version or "unknown" for one in needed})
        overlay.active().packages.update(simulation.after())
        return
    apt.require_root("change packages")
    done = apt.run(command)
    outcome["stdout"], outcome["stderr"] = done.stdout, done.stderr
    outcome["_undo"] = [{"kind": "packages", "text": simulation.as_text()}]
    _verify(apt, needed, "apt-get reported success", outcome)


def _verify(apt, needed, but, outcome):
    """Raise ModuleError when dpkg does not have what was asked for."""
    if not needed:
        return
    installed = apt.query([one.name for one in needed])
    for one in needed:
        found = packages.find(one, installed, apt.native)
        if found is not None and found.usable and packages.version_matches(one, found.version, apt.at_least):
            continue
        if found is None and packages.provider(one, apt.query([])) is not None:
            continue
        state = "is not installed" if found is None or not found.usable else "is at %s" % found.version
        message = "%s, but %s %s" % (but, one.text, state)
        raise ModuleError(message, stdout=outcome["stdout"], stderr=outcome["stderr"])


def _diff(simulation):
    def lines(state):
        return "".join("%s %s\n" % (name, state[name]) for name in sorted(state) if state[name])

    return {
        "before_header": "packages",
        "after_header": "packages",
        "before": lines(simulation.before()),
        "after": lines(simulation.after()),
    }


def _autoclean(ctx, apt, outcome):
    """Delete downloaded packages that can no longer be downloaded."""
    from ..debian import faults, program

    apt = apt.acting()
    outcome_of_look = program.run(["apt-get", "-s", "autoclean"], apt.environment, ctx.progress, deadline=300)
    stale = [line for line in outcome_of_look.stdout.splitlines() if line.startswith("Del ")]
    if not stale:
        return
    outcome["changed"] = True
    if ctx.check:
        return
    apt.require_root("delete downloaded packages")
    done = apt.run(["autoclean"])
    outcome["stdout"] += done.stdout
    outcome["stderr"] += faults.hide_credentials(done.stderr)
