"""git: a checkout of a git repository, at a branch, tag or commit."""

import os

from .. import gitwork
from ..context import ModuleError
from ..debian.faults import hide_credentials
from ..gitrepo import CHANGE_DEADLINE, FULL_HASH, Repository, Target

SPEC = {
    "repo": {"type": "str", "required": True, "aliases": ["name"]},
    "dest": {"type": "path"},
    "version": {"type": "str", "default": "HEAD"},
    "remote": {"type": "str", "default": "origin"},
    "refspec": {"type": "str"},
    "reference": {"type": "str"},
    "force": {"type": "bool", "default": False},
    "depth": {"type": "int"},
    "single_branch": {"type": "bool", "default": False},
    "clone": {"type": "bool", "default": True},
    "update": {"type": "bool", "default": True},
    "bare": {"type": "bool", "default": False},
    "recursive": {"type": "bool", "default": True},
    "track_submodules": {"type": "bool", "default": False},
    "separate_git_dir": {"type": "path"},
    "verify_commit": {"type": "bool", "default": False},
    "gpg_allowlist": {"type": "list", "elements": "str", "default": [], "aliases": ["gpg_whitelist"]},
    "archive": {"type": "path"},
    "archive_prefix": {"type": "str"},
    "umask": {"type": "mode"},
    "executable": {"type": "path"},
    "key_file": {"type": "path"},
    "ssh_opts": {"type": "str"},
    "accept_hostkey": {"type": "bool", "default": False},
    "accept_newhostkey": {"type": "bool", "default": False},
}
RULES = {
    "mutually_exclusive": [["separate_git_dir", "bare"], ["accept_hostkey", "accept_newhostkey"]],
    "required_if": [["clone", True, ["dest"]]],
}
EXAMPLE = {"repo": "https://github.com/apache/tvm.git", "dest": "/opt/tvm", "version": "v0.21.0", "depth": 1}


def VERIFY(args):  # noqa: N802  (the contract's name)
    """With clone: false nothing is made where nothing is."""
    return args["clone"]


def inspect(ctx, args):
    """The commit, remote and files as they are, and as they should be. Asks the remote, changes nothing."""
    if args["archive"]:
        gitwork.archive_format(args["archive"])
    repository = Repository(ctx, args, _url(args["repo"]))
    before, after = {"commit": None}, {"_repository": repository, "_target": None, "_remote": None}
    if not repository.present():
        remote = repository.look_at_remote()
        target = repository.resolve(remote)
        after.update(commit=target.commit, _target=target, _remote=remote, _before=None, _absent=True)
        return before, after
    before["commit"] = after["commit"] = repository.head()
    if args["update"]:
        _compare(repository, before, after)
    after.update(_before=before["commit"], _absent=False)
    return before, after


def apply(ctx, args, before, after):
    """Fetch what is missing and check it out."""
    after["_settled"] = True
    if after["_absent"] and not args["clone"]:
        return {}
    umask = None if args["umask"] is None else os.umask(int(args["umask"], 8))
    try:
        return _change(after["_repository"], before, after)
    finally:
        if umask is not None:
            os.umask(umask)


def result(ctx, args, after):
    """Ansible's return values."""
    repository, target = after["_repository"], after["_target"]
    values = {"before": after["_before"], "after": after["commit"]}
    if "_url_changed" in after:
        values["remote_url_changed"] = after["_url_changed"]
    if ctx.check or not repository.present():
        return values
    if target is not None and not after.get("_settled"):
        gitwork.settle(repository, target, after["_remote"])
    values["after"] = _commit_of(repository, target)
    if args["archive"]:
        values.update(gitwork.write_archive(repository))
    return values


def _url(repo):
    """A path on the board as a URL, because git honours depth only with one."""
    return "file://" + repo if repo.startswith("/") else repo


def _compare(repository, before, after):
    """Fill in what an update looks at."""
    args, unfinished = repository.args, repository.unfinished()
    changes = [] if args["bare"] or unfinished else repository.local_changes()
    if changes and not args["force"]:
        msg = "there are local changes in %s (force: true would discard them): %s"
        raise ModuleError(msg % (args["dest"], ", ".join(changes[:10])), before=before["commit"])
    if unfinished:
        before["state"], after["state"] = "interrupted", "complete"
    if changes:
        before["local_changes"], after["local_changes"] = changes, []
    url = repository.remote_url()
    after["_url_changed"] = url != repository.url
    if after["_url_changed"]:
        before["remote_url"], after["remote_url"] = _shown_urls(url, repository.url)
    _compare_commits(repository, before, after)
    if args["separate_git_dir"]:
        before["git_dir"] = os.path.realpath(repository.git_dir())
        after["git_dir"] = os.path.realpath(args["separate_git_dir"])
    if before["commit"] == after["commit"] and args["recursive"] and not args["bare"] and not unfinished:
        stale = gitwork.submodules_to_update(repository)
        if stale:
            before["submodules"], after["submodules"] = stale, []


def _compare_commits(repository, before, after):
    args, remote = repository.args, None
    if FULL_HASH.match(args["version"]) and repository.commit(args["version"]) is not None:
        target = Target(None, args["version"], args["version"])  # it is here: nobody needs to be asked
    else:
        remote = repository.look_at_remote()
        target = repository.resolve(remote)
    before["commit"] = _commit_of(repository, target)
    after.update(commit=target.commit, _target=target, _remote=remote)
    if args["verify_commit"] and repository.commit(target.commit) is not None:
        gitwork.verify(repository, target)


def _commit_of(repository, target):
    """What is checked out; in a bare repository, what the version's name stands for."""
    if repository.args["bare"] and target is not None:
        return repository.commit(gitwork.local_ref(repository, target))
    return repository.head()


def _shown_urls(old, new):
    """Two different URLs without their passwords, still different."""
    before, after = hide_credentials(old or "none"), hide_credentials(new)
    return before, after if before != after else after + " (with another user or password)"


def _change(repository, before, after):
    args, target, values = repository.args, after["_target"], {}
    if after["_absent"]:
        repository.create()
    elif before.get("state") == "interrupted":
        repository.recover()
    repository.begin()
    if before.get("git_dir") != after.get("git_dir"):
        repository.move_git_dir(after["git_dir"])
        values.update(git_dir_before=before["git_dir"], git_dir_now=after["git_dir"])
    repository.run("config", "remote.%s.url" % args["remote"], repository.url)
    if before.get("local_changes"):
        repository.run("reset", "-q", "--hard", deadline=CHANGE_DEADLINE)
        values["msg"] = "local changes in %s were discarded" % args["dest"]
    gitwork.bring(repository, target, after["_remote"])
    if after["_absent"] and not args["bare"]:
        gitwork.name_default(repository, after["_remote"])
    gitwork.check_out(repository, target)
    if args["recursive"] and not args["bare"]:
        if gitwork.update_submodules(repository, mend=before.get("state") == "interrupted"):
            values["submodules_changed"] = True
    repository.finish()
    values["_undo"] = [{"kind": "git", "text": "%s: %s -> %s" % (args["dest"], before["commit"], after["commit"])}]
    return values
