"""A git repository on the board and the one it comes from: git's commands without questions, with deadlines.

What is unfinished is marked: a file in the git directory says that a change has begun and not ended. After a power
cut the next run finds it, removes what git left locked, and may discard what the checkout left in the files.
"""

import collections
import os
import re
import shlex
import shutil

from . import files, overlay
from .context import ModuleError
from .debian.faults import hide_credentials

QUERY_DEADLINE = 300  # seconds for what only reads, and for a remote's list of branches and tags
CHANGE_DEADLINE = 6 * 3600  # seconds for fetching and checking out
CONNECT_DEADLINE = 30  # seconds for ssh
# Seconds in which a server must send something. Packs, unlike loose objects, are synced to the disk by every git.
OPTIONS = ["http.lowSpeedLimit=1", "http.lowSpeedTime=60", "fetch.unpackLimit=1"]
UNFINISHED = "tvmops-unfinished"
FULL_HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
PART_OF_HASH = re.compile(r"[0-9a-f]{4,64}\Z")

# What to check out. branch: the local branch's name, None for a commit that is not on one. commit: its hash, or what
# stands for it as long as that cannot be known. ref: what to fetch for it, None when only everything will do.
Target = collections.namedtuple("Target", "branch commit ref")


class Remote:
    """What a repository offers: {"refs/heads/main": hash, ...}, tags as the commits they stand for."""

    def __init__(self, listing):
        self.refs = {}
        self.default = None
        for line in listing.splitlines():
            value, _, name = line.partition("\t")
            if value.startswith("ref: ") and name == "HEAD":
                self.default = value[len("ref: refs/heads/") :]
            elif name.endswith("^{}"):
                self.refs[name[:-3]] = value
            elif name:
                self.refs.setdefault(name, value)
        if self.default is None:  # git before 2.8 does not tell
            same = [name for name in self.branches() if self.refs["refs/heads/" + name] == self.refs.get("HEAD")]
            self.default = (sorted(same, key=lambda name: (name not in ("main", "master"), name)) or [None])[0]

    def branches(self):
        """The names of its branches."""
        return [name[len("refs/heads/") :] for name in self.refs if name.startswith("refs/heads/")]

    def target(self, version):
        """The Target of a branch, tag or HEAD; None for anything else."""
        if version == "HEAD" and self.default is None:
            return Target(None, self.refs["HEAD"], None) if "HEAD" in self.refs else None
        branch = self.default if version == "HEAD" else version
        for ref, on in (("refs/heads/" + branch, branch), ("refs/tags/" + branch, None)):
            if ref in self.refs:
                return Target(on, self.refs[ref], ref)
        return None


class Repository:
    """The repository in one place on the board, and how the task reaches where it comes from."""

    def __init__(self, ctx, args, url):
        self.ctx = ctx
        self.args = args
        self.url = url
        self.dest = args["dest"]
        self.program = ctx.which(args["executable"] or "git")
        if self.program is None:
            raise _no_git(args["executable"])
        self.environment = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
        self.environment["GIT_SSH_COMMAND"] = _ssh_command(ctx.environment, args)
        if self.dest is not None:
            # A folder without a repository must not be taken for a part of one above it.
            self.environment["GIT_CEILING_DIRECTORIES"] = os.path.dirname(os.path.abspath(self.dest))

    def run(self, *words, **how):
        """A git command's output. Raises ModuleError that says what git says."""
        rc, stdout, stderr = self.attempt(words, **how)
        if rc != 0:
            raise self.failure(words, rc, stdout, stderr)
        return stdout

    def ask(self, *words):
        """A git command's output without the last newline; None when it fails."""
        rc, stdout, _ = self.attempt(words)
        return stdout.rstrip("\n") if rc == 0 else None

    def attempt(self, words, deadline=QUERY_DEADLINE, here=True):
        """A git command -> (rc, stdout, stderr). deadline: seconds; here: in dest. Raises ModuleError when late."""
        argv = [self.program] + [word for option in OPTIONS for word in ("-c", option)]
        argv += ["-C", self.dest] if here else []
        return self.ctx.run(argv + list(words), timeout=deadline, env=self.environment)

    def failure(self, words, rc, stdout, stderr):
        """The ModuleError for a git command that failed: what it said, and what that means."""
        said = [line.strip() for line in stderr.splitlines() if re.match("(fatal|error|remote|ssh):", line)]
        text = "; ".join(said[-3:]) or " ".join(stderr.split())[-300:] or "no reason given"
        values = {"rc": rc, "stdout": hide_credentials(stdout), "stderr": hide_credentials(stderr)}
        hint = ""
        if _is_distrust(stderr):
            hint = ": run the task as its owner (become_user), or trust it by git's setting safe.directory"
        elif "terminal prompts disabled" in stderr or "Authentication failed" in stderr:
            hint = ": the repository wants a user and a password, or another one"
        elif "Host key verification failed" in stderr:
            hint = ": the board does not know the server's key (accept_newhostkey would take it)"
        elif "Permission denied (publickey" in stderr:
            hint = ": the server takes none of the keys (key_file names one)"
        return ModuleError(hide_credentials("git %s: %s%s" % (words[0], text, hint)), **values)

    def present(self):
        """True when there is a repository with something in it. Raises ModuleError when other files are in the way."""
        if self.dest is None or not files.exists(self.dest):
            return False
        if not files.is_directory(self.dest):
            raise ModuleError("dest %s is no directory" % self.dest)
        names = files.names(self.dest)
        marks = ("HEAD", "objects") if self.args["bare"] else (".git",)
        if not all(mark in names for mark in marks):
            if names:
                raise ModuleError("dest %s is neither empty nor a git repository" % self.dest)
            return False
        rc, stdout, stderr = self.attempt(["rev-parse", "--git-dir"])
        # A clone that was cut off before it had anything is as good as none.
        if names == [".git"] and not _is_distrust(stderr) and (rc != 0 or self.head() is None):
            return False
        if rc != 0:
            raise self.failure(["rev-parse"], rc, stdout, stderr)
        return True

    def head(self):
        """The hash of the commit that is checked out, None without one."""
        return self.ask("rev-parse", "--verify", "--quiet", "HEAD^{commit}")

    def branch(self):
        """The branch that is checked out, None when it is a commit of no branch."""
        return self.ask("symbolic-ref", "--quiet", "--short", "HEAD")

    def commit(self, name):
        """The hash of the commit with this name, None when the board does not have it."""
        return self.ask("rev-parse", "--verify", "--quiet", name + "^{commit}")

    def git_dir(self):
        """The path of the git directory itself."""
        return os.path.join(self.dest, self.run("rev-parse", "--git-dir").rstrip("\n"))

    def refs(self):
        """{"refs/heads/main": hash, ...}: tags as the commits they stand for."""
        listing = self.run("for-each-ref", "--format=%(objectname) %(*objectname) %(refname)")
        rows = [line.split(" ") for line in listing.splitlines()]
        return {name: peeled or plain for plain, peeled, name in rows}

    def remote_url(self):
        """Where it comes from, None when it has no such remote."""
        return self.ask("config", "--get", "remote.%s.url" % self.args["remote"])

    def local_changes(self):
        """["M name", ...]: files that differ from the commit; new ones do not count."""
        words = ["status", "--porcelain", "--untracked-files=no"]
        if self.args["track_submodules"]:
            words.append("--ignore-submodules=all")
        return [line.strip() for line in self.run(*words).splitlines()]

    def look_at_remote(self):
        """The Remote. Raises ModuleError when it does not answer."""
        words = ["ls-remote", "--symref", self.url, "HEAD", "refs/heads/*", "refs/tags/*"]
        rc, stdout, stderr = self.attempt(words, here=False)
        if rc == 129:
            del words[1]
            rc, stdout, stderr = self.attempt(words, here=False)
        if rc != 0:
            raise self.failure(words, rc, stdout, stderr)
        return Remote(stdout)

    def resolve(self, remote):
        """The Target of the task's version. Raises ModuleError when there is no such thing."""
        version, present = self.args["version"], self.present()
        # As Ansible: HEAD is the branch that is checked out already, if the remote has it.
        on = self.branch() if version == "HEAD" and present else None
        target = (on and remote.target(on)) or remote.target(version)
        if target is not None:
            return target
        if not remote.refs:
            raise ModuleError("the repository %s is empty" % hide_credentials(self.url))
        prefix = self.args["remote"] + "/"
        if version.startswith(prefix) and remote.target(version[len(prefix) :]):
            return remote.target(version[len(prefix) :])._replace(branch=None)
        known = self.commit(version) if present else None
        if known is None and not PART_OF_HASH.match(version) and not self.args["refspec"]:
            msg = "%s has no branch or tag %r, and no commit is called that"
            raise ModuleError(msg % (hide_credentials(self.url), version))
        return Target(None, known or version, version if FULL_HASH.match(version) else None)

    def unfinished(self):
        """True when an earlier change of this repository was cut off."""
        return os.path.exists(os.path.join(self.git_dir(), UNFINISHED))

    def begin(self):
        """Mark the repository as being changed."""
        path = os.path.join(self.git_dir(), UNFINISHED)
        with open(path, "w") as mark:
            mark.write("tvmops has begun to change this repository and not ended.\n")
            mark.flush()
            os.fsync(mark.fileno())
        files.sync_directory(os.path.dirname(path))

    def finish(self):
        """Write everything to the disk, then take the mark away."""
        os.sync()
        os.unlink(os.path.join(self.git_dir(), UNFINISHED))

    def recover(self):
        """After an interrupted change: remove what git left locked, and the repository itself when it is damaged."""
        for folder, _, names in os.walk(self.git_dir()):
            for name in names:
                if name.endswith(".lock"):
                    os.unlink(os.path.join(folder, name))
        if self.head() is None or self.ask("fsck", "--connectivity-only", "--no-dangling") is None:
            self.drop_submodules()
            self.create()
        elif not self.args["bare"]:
            self.run("reset", "--hard", deadline=CHANGE_DEADLINE)

    def drop_submodules(self):
        """Remove the submodules and their repositories."""
        for folder, _, names in os.walk(self.dest):
            if ".git" in names and folder != self.dest:
                shutil.rmtree(folder)
        modules = os.path.join(self.dest, ".git", "modules")
        if os.path.isdir(modules):
            shutil.rmtree(modules)

    def move_git_dir(self, path):
        """Have the git directory elsewhere; submodules are joined with theirs by the next update of submodules."""
        self.run("init", "-q", "--separate-git-dir=" + path)
        for folder, _, names in os.walk(self.dest):
            if ".git" in names and folder != self.dest:
                os.unlink(os.path.join(folder, ".git"))

    def create(self):
        """Make an empty repository with the remote, in place of a damaged one."""
        args = self.args
        files.make_directories(self.dest)
        old = os.path.join(self.dest, ".git")
        if os.path.isdir(old):
            shutil.rmtree(old)
        words = ["init", "-q"] + (["--bare"] if args["bare"] else [])
        if args["separate_git_dir"]:
            words.append("--separate-git-dir=" + os.path.abspath(args["separate_git_dir"]))
        self.run(*words)
        self.run("config", "remote.%s.url" % args["remote"], self.url)
        if not args["bare"]:
            self.run("config", "remote.%s.fetch" % args["remote"], "+refs/heads/*:refs/remotes/%s/*" % args["remote"])
        if args["reference"]:
            self._borrow(args["reference"])

    def _borrow(self, reference):
        """Take objects from another repository on the board instead of fetching them."""
        places = [os.path.join(reference, one) for one in ("objects", ".git/objects")]
        found = [place for place in places if os.path.isdir(place)]
        if not found:
            raise ModuleError("reference %s is no git repository on the board" % reference)
        path = os.path.join(self.git_dir(), "objects", "info", "alternates")
        files.write_bytes(path, os.fsencode(os.path.abspath(found[0])) + b"\n")


def _no_git(executable):
    """The error for a board without git; in check mode an earlier task may have installed it."""
    predicted = overlay.active()
    if predicted is not None and (predicted.unsure or predicted.packages.get("git")):
        return files.Unknown("git is not there before a real run")
    if executable is not None:
        return ModuleError("executable: there is no program %s on this board" % executable)
    return ModuleError("this board has no git: install the package git first")


def _is_distrust(stderr):
    """True when git refuses a repository that belongs to another user."""
    return "dubious ownership" in stderr or "unsafe repository" in stderr


def _ssh_command(environment, args):
    """The ssh command for git: never asks, and has deadlines."""
    words = [environment.get("GIT_SSH_COMMAND") or os.environ.get("GIT_SSH_COMMAND") or "ssh"]
    options = ["BatchMode=yes", "ConnectTimeout=%d" % CONNECT_DEADLINE, "ServerAliveInterval=15"]
    if args["accept_hostkey"]:
        options.append("StrictHostKeyChecking=no")
    elif args["accept_newhostkey"]:
        options.append("StrictHostKeyChecking=accept-new")
    if args["key_file"]:
        words += ["-i", shlex.quote(args["key_file"])]
        options.append("IdentitiesOnly=yes")
    words += ["-o %s" % option for option in options]
    return " ".join(words + ([args["ssh_opts"]] if args["ssh_opts"] else []))
