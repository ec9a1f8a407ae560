"""Changing a git repository on the board: fetching, checking out, submodules, and who signed a commit."""

import os

from . import files
from .context import ModuleError
from .debian.faults import hide_credentials
from .gitrepo import CHANGE_DEADLINE


def bring(repository, target, remote):
    """Fetch what the repository does not have of the remote (None: only the target's commit counts)."""
    if repository.commit(target.commit) is not None and (remote is None or _is_current(repository, target, remote)):
        return
    args = repository.args
    narrow = _narrow_refspec(repository, target)
    if narrow is not None:
        depth = ["--depth", str(args["depth"])] if args["depth"] else []
        if _fetch(repository, depth, [narrow], must=target.branch is not None or target.ref != target.commit):
            return
    if args["bare"]:
        wide = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    else:
        wide = ["+refs/heads/*:refs/remotes/%s/*" % args["remote"], "+refs/tags/*:refs/tags/*"]
    _fetch(repository, [], wide, must=True)


def name_default(repository, remote):
    """What git calls origin/HEAD: the remote's main branch, when it was fetched."""
    head = "refs/remotes/%s/" % repository.args["remote"]
    if remote.default is not None and repository.commit(head + remote.default) is not None:
        repository.run("symbolic-ref", head + "HEAD", head + remote.default)


def local_ref(repository, target):
    """The name under which the board has what the target stands for."""
    prefix = "refs/heads/"
    if target.ref is not None and target.ref.startswith(prefix) and not repository.args["bare"]:
        return "refs/remotes/%s/%s" % (repository.args["remote"], target.ref[len(prefix) :])
    return target.ref or target.commit


def check_out(repository, target):
    """Make the files those of the target, on its branch; a new bare repository gets its main branch."""
    commit = repository.commit(local_ref(repository, target)) or repository.commit(target.commit)
    if commit is None:
        msg = "%s does not give the commit %s; a refspec may name the branch that has it"
        raise ModuleError(msg % (hide_credentials(repository.url), target.commit))
    if repository.args["verify_commit"]:
        verify(repository, target)
    if repository.args["bare"]:
        if target.branch is not None and repository.head() is None:
            repository.run("symbolic-ref", "HEAD", "refs/heads/" + target.branch)
        return
    if target.branch is None:
        name = target.ref if (target.ref or "").startswith("refs/tags/") else commit
        repository.run("checkout", "-q", "--force", "--detach", name, deadline=CHANGE_DEADLINE)
        return
    repository.run("checkout", "-q", "--force", "-B", target.branch, commit, deadline=CHANGE_DEADLINE)
    _track(repository, target.branch)


def settle(repository, target, remote):
    """What Ansible's module does without calling it a change: all branches and tags, and being on the right branch."""
    bring(repository, target, remote)
    if not repository.args["bare"] and repository.branch() != target.branch:
        check_out(repository, target)


def submodules_to_update(repository):
    """The paths of submodules that are not what the commit says (track_submodules: not at the end of their branch)."""
    if not _has_submodules(repository):
        return []
    tracked = repository.args["track_submodules"]
    found = []
    for line in repository.run("submodule", "status", "--recursive").splitlines():
        if line[:1] in ("-U" if tracked else "-+U"):
            found.append(line[1:].split()[1])
    return sorted(found + [path for path in (_behind(repository) if tracked else []) if path not in found])


def update_submodules(repository, mend=False):
    """Bring all submodules to what they should be -> whether that changed any.

    With `mend`, those that an interrupted change has left damaged are fetched anew.
    """
    if not _has_submodules(repository):
        return False
    args = repository.args
    before = repository.ask("submodule", "status", "--recursive")
    words = ["submodule", "update", "--init", "--recursive"]
    words += (["--force"] if args["force"] else []) + (["--remote"] if args["track_submodules"] else [])
    try:
        repository.run("submodule", "sync", "--recursive", deadline=CHANGE_DEADLINE)
        repository.run(*words, deadline=CHANGE_DEADLINE)
    except ModuleError:
        if not mend:
            raise
        repository.drop_submodules()
        repository.run(*words, deadline=CHANGE_DEADLINE)
    return repository.ask("submodule", "status", "--recursive") != before


def verify(repository, target):
    """Raise ModuleError unless the tag or commit is signed by a key that the board trusts and the task allows."""
    name, kind = target.commit, "verify-commit"
    if target.ref is not None and target.ref.startswith("refs/tags/"):
        if repository.ask("cat-file", "-t", target.ref) == "tag":
            name, kind = target.ref[len("refs/tags/") :], "verify-tag"
    rc, stdout, stderr = repository.attempt([kind, "--raw", name])
    if rc != 0:
        raise ModuleError("%s has no valid signature: %s" % (name, _gpg_words(stderr)), stderr=stderr)
    allowed = repository.args["gpg_allowlist"]
    fields = [line.split() for line in (stdout + stderr).splitlines() if line.startswith("[GNUPG:] VALIDSIG ")]
    keys = {key for words in fields for key in (words[2], words[-1])}
    if allowed and not keys.intersection(key.replace(" ", "").upper() for key in allowed):
        raise ModuleError("%s is signed by %s, which gpg_allowlist does not have" % (name, ", ".join(sorted(keys))))


def write_archive(repository):
    """Write the task's archive of what is checked out, unless it is there -> result values."""
    import hashlib

    path, prefix = repository.args["archive"], repository.args["archive_prefix"]
    new = os.path.join(repository.ctx.tmpdir, "git-archive")
    words = ["archive", "--format=" + archive_format(path), "--output=" + new]
    repository.run(*(words + (["--prefix=" + prefix] if prefix else []) + ["HEAD"]), deadline=CHANGE_DEADLINE)
    with open(new, "rb") as source:
        data = source.read()
    os.unlink(new)
    if files.is_file(path) and files.hashes(path, "sha256")[0] == hashlib.sha256(data).hexdigest():
        return {}
    files.make_directories(os.path.dirname(path))
    files.write_bytes(path, data)
    return {"changed": True}


def archive_format(path):
    """git's name of an archive's format. Raises ModuleError for others."""
    for ending in ("tar.gz", "tgz", "tar", "zip"):
        if path.endswith("." + ending):
            return ending
    raise ModuleError("archive %s: its name must end with .tar.gz, .tgz, .tar or .zip" % path)


def _is_current(repository, target, remote):
    """True when there is nothing to fetch."""
    here = repository.refs()
    if _narrow_refspec(repository, target) is not None:
        return here.get(local_ref(repository, target), target.commit) == target.commit
    for name, commit in remote.refs.items():
        if name.startswith("refs/") and here.get(local_ref(repository, target._replace(ref=name))) != commit:
            return False
    return True


def _narrow_refspec(repository, target):
    """What to fetch for the target alone; None when everything is wanted, or nothing less will do."""
    args = repository.args
    if target.ref is None or not (args["depth"] or args["single_branch"]):
        return None
    if target.ref == target.commit:
        return target.ref if args["depth"] else None
    return "+%s:%s" % (target.ref, local_ref(repository, target))


def _fetch(repository, options, refspecs, must):
    args = repository.args
    refspecs = refspecs + ([args["refspec"]] if args["refspec"] else [])
    words = ["fetch", "-q", "--no-recurse-submodules", "--update-head-ok"] + options
    words += (["--force"] if args["force"] else []) + [args["remote"]] + refspecs
    rc, stdout, stderr = repository.attempt(words, deadline=CHANGE_DEADLINE)
    if rc != 0 and must:
        raise repository.failure(words, rc, stdout, stderr)
    return rc == 0


def _track(repository, branch):
    """`git pull` of a person goes where the branch came from."""
    prefix = "branch.%s." % branch
    wanted = {"remote": repository.args["remote"], "merge": "refs/heads/" + branch}
    for key in sorted(wanted):
        if repository.ask("config", "--get", prefix + key) != wanted[key]:
            repository.run("config", prefix + key, wanted[key])


def _has_submodules(repository):
    return files.is_file(os.path.join(repository.dest, ".gitmodules"))


def _behind(repository):
    """The paths of submodules that are not at the end of the branch that .gitmodules names."""
    listing = repository.ask("config", "-f", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$") or ""
    found = []
    for key, path in (line.split(" ", 1) for line in listing.splitlines()):
        branch = repository.ask("config", "-f", ".gitmodules", "--get", key[: -len("path")] + "branch")
        name = "HEAD" if branch in (None, ".") else "refs/heads/" + branch
        wanted = (repository.ask("-C", path, "ls-remote", "origin", name) or "").split("\t")[0]
        if wanted and repository.ask("-C", path, "rev-parse", "HEAD") != wanted:
            found.append(path)
    return found


def _gpg_words(stderr):
    words = [line[len("[GNUPG:] ") :] for line in stderr.splitlines() if line.startswith("[GNUPG:] ")]
    return "; ".join(words) or " ".join(stderr.split()) or "it is not signed"
