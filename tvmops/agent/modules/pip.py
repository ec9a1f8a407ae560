"""pip: install and remove Python packages, if wanted in a virtual environment."""

import json
import os
import pkgutil
import re
import shlex
import sys
import time

from .. import files, requirements
from ..context import ModuleError
from ..debian.faults import hide_credentials

SPEC = {
    "name": {"type": "list", "elements": "str"},
    "version": {"type": "str"},
    "requirements": {"type": "path"},
    "state": {
        "type": "str",
        "choices": ["present", "absent", "latest", "forcereinstall"],
        "default": "present",
    },
    "virtualenv": {"type": "path"},
    "virtualenv_command": {"type": "str", "default": "virtualenv"},
    "virtualenv_python": {"type": "str"},
    "virtualenv_site_packages": {"type": "bool", "default": False},
    "extra_args": {"type": "str"},
    "executable": {"type": "path"},
    "chdir": {"type": "path"},
    "break_system_packages": {"type": "bool", "default": False},
}
RULES = {
    "required_one_of": [["name", "requirements"]],
    "mutually_exclusive": [["executable", "virtualenv"], ["name", "requirements"]],
}
CHECK = "run"
DEADLINE = 7200  # seconds for one pip run: it may compile on a slow board
PROBE_DEADLINE = 120  # seconds for asking what is installed
# Read while the module is loaded: a task's own user may not be allowed to read the agent's files.
PROBE = pkgutil.get_data(__name__.rpartition(".")[0].rpartition(".")[0], "pip_probe.py").decode()


def act(ctx, args):
    """Ask the Python in question what it has; run pip only when something is missing; ask again."""
    task = _Task(ctx, args)
    made = task.make_virtualenv()
    outcome = {key: args[key] for key in ("name", "version", "requirements", "virtualenv", "state")}
    outcome.update(changed=made, stdout="", stderr="")
    if made and ctx.check:
        outcome["changed"] = args["state"] != "absent"
        return outcome
    before = task.probe()
    command = task.command(before)
    if command is None:
        return outcome
    outcome["cmd"] = " ".join(command)
    if ctx.check:
        outcome["changed"] = made or task.would_change(command)
        return outcome
    outcome["stdout"], outcome["stderr"] = task.run(command)
    after = task.probe()
    task.verify(after, outcome)
    forced = args["state"] == "forcereinstall"
    outcome["changed"] = made or forced or before["installed"] != after["installed"]
    if not outcome["changed"] and task.has_unknown(before):
        # The same version from another place: pip's own words are the only evidence.
        outcome["changed"] = "Successfully installed" in outcome["stdout"]
    if ctx.diff and outcome["changed"]:
        outcome["diff"] = [_diff(before["installed"], after["installed"])]
    return outcome


def _diff(before, after):
    changed = sorted(name for name in set(before) | set(after) if before.get(name) != after.get(name))

    def lines(state):
        return "".join("%s %s\n" % (name, state[name]) for name in changed if name in state)

    header = "python packages"
    return {"before_header": header, "after_header": header, "before": lines(before), "after": lines(after)}


class _Task:
    def __init__(self, ctx, args):
        self.ctx = ctx
        self.args = args
        self.wanted = requirements.Requirements()
        self.wanted.requirements = requirements.joined(args["name"] or [])
        if args["requirements"]:
            path = os.path.join(args["chdir"] or "", args["requirements"])
            try:
                self.wanted = requirements.read(path)
            except (IOError, OSError) as error:
                raise ModuleError("cannot read the requirements file %s: %s" % (error.filename, error.strerror))
        if args["version"]:
            self._hold_to_version()
        self.environment = {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
            "LC_ALL": "C.UTF-8",
        }
        if "PIP_RETRIES" not in os.environ:
            self.environment["PIP_RETRIES"] = "2"  # with pip's 15 s a dead index ends within a minute
        if args["break_system_packages"]:
            self.environment["PIP_BREAK_SYSTEM_PACKAGES"] = "1"

    def _hold_to_version(self):
        names = self.wanted.requirements
        if self.args["state"] != "present":
            raise ModuleError("version goes with state: present only")
        if len(names) != 1 or self.args["requirements"] or re.search(r"[<>=!~]", names[0]):
            raise ModuleError("version needs exactly one name without a version of its own; else write name: pkg==1.0")
        names[0] = requirements.with_version(names[0], self.args["version"])

    def make_virtualenv(self):
        """Make the virtual environment when it is not there. Returns whether it was, or would be, made."""
        path = self.args["virtualenv"]
        if not path or files.exists(os.path.join(path, "bin", "python")):
            return False
        if self.ctx.check:
            return True
        command = self._virtualenv_command()
        rc, stdout, stderr = self.ctx.run(command + [path], cwd=self.args["chdir"], timeout=DEADLINE)
        if rc != 0:
            reason = (stderr.strip() or stdout.strip()).splitlines()[-1:] or ["exit code %d" % rc]
            hint = ""
            if "ensurepip" in stdout + stderr:
                hint = " (install the package python3-venv)"
            message = "the virtual environment %s could not be made%s: %s" % (path, hint, reason[0])
            raise ModuleError(message, rc=rc, stdout=stdout, stderr=stderr)
        return True

    def _virtualenv_command(self):
        words = shlex.split(self.args["virtualenv_command"])
        is_venv = "venv" in words or os.path.basename(words[0]) == "pyvenv"
        program = self.ctx.which(words[0])
        if program is None and self.args["virtualenv_command"] == SPEC["virtualenv_command"]["default"]:
            program, words, is_venv = self.args["virtualenv_python"] or sys.executable, ["", "-m", "venv"], True
            program = self.ctx.which(program)
        elif is_venv and self.args["virtualenv_python"]:
            raise ModuleError("virtualenv_python does not go with venv: write virtualenv_command: python3.x -m venv")
        if program is None:
            files.may_come("the program %s" % words[0])
            raise ModuleError("there is no program %s on the board to make the virtual environment with" % words[0])
        command = [program] + words[1:]
        if not is_venv:
            command += ["-p", self.args["virtualenv_python"] or sys.executable]
        if self.args["virtualenv_site_packages"]:
            command.append("--system-site-packages")
        return command

    def python(self):
        """The interpreter whose packages are meant, None when only a pip program is known."""
        if self.args["virtualenv"]:
            return os.path.join(self.args["virtualenv"], "bin", "python")
        if not self.args["executable"]:
            return sys.executable
        return _shebang(self.pip()[0])

    def pip(self):
        """The command that runs pip."""
        executable = self.args["executable"]
        if executable:
            program = self.ctx.which(executable)
            if program is None:
                files.may_come("the program %s" % executable)
                raise ModuleError("there is no program %s on the board" % executable)
            return [program]
        return [self.python(), "-m", "pip"]

    def probe(self):
        """What is installed, and which requirements are met; see pip_probe."""
        question = {"requirements": self.wanted.requirements, "constraints": self.wanted.constraints}
        python = self.python()
        if python is None:
            return self._probe_with_pip()
        argv = [python, "-W", "ignore", "-c", PROBE]  # old setuptools warn
        # In "/", so that modules in the working directory cannot stand in for the real ones.
        rc, stdout, stderr = self.ctx.run(argv, stdin=json.dumps(question), cwd="/", timeout=PROBE_DEADLINE)
        try:
            return json.loads(stdout)
        except ValueError:
            raise ModuleError("%s does not work: %s" % (python, stderr.strip() or stdout.strip()), rc=rc)

    def _probe_with_pip(self):
        argv = self.pip() + ["list", "--format=json"]
        rc, stdout, stderr = self.ctx.run(argv, timeout=PROBE_DEADLINE, env=self.environment)
        try:
            installed = {one["name"].lower().replace("_", "-"): one["version"] for one in json.loads(stdout)}
        except (ValueError, KeyError, TypeError):
            raise ModuleError("%s failed: %s" % (" ".join(argv), stderr.strip()), rc=rc)
        met = [None if re.search(r"[^\w.-]", name) else _bare(name) in installed for name in self.wanted.requirements]
        return {"installed": installed, "met": met, "constrained": None, "python": "?"}

    def has_unknown(self, probe):
        """True when a requirement is one that only pip can judge."""
        return None in probe["met"] or self.wanted.opaque

    def command(self, probe):
        """The pip command that is needed, None when all is as wanted."""
        state = self.args["state"]
        extra = shlex.split(self.args["extra_args"] or "")
        if state == "absent":
            names = [_bare(one) for one in self.wanted.requirements]
            there = [name for name in names if name in probe["installed"]]
            return self.pip() + ["uninstall", "-y"] + extra + there if there else None
        flags = {"latest": ["-U"], "forcereinstall": ["-U", "--force-reinstall"]}.get(state, [])
        command = self.pip() + ["install"] + flags + extra
        if self.args["requirements"]:
            clear = all(probe["met"]) and probe["constrained"] and not self.wanted.opaque
            return None if state == "present" and clear else command + ["-r", self.args["requirements"]]
        if state == "present":
            needed = [one for n, one in enumerate(self.wanted.requirements) if not probe["met"][n]]
            return command + needed if needed else None
        return command + self.wanted.requirements if self.wanted.requirements else None

    def would_change(self, command):
        """In check mode: True unless pip's dry run says that it would install nothing."""
        if self.args["state"] != "latest":
            return True
        index = command.index("install") + 1
        dry = command[:index] + ["--dry-run"] + command[index:]
        rc, stdout, _ = self.ctx.run(dry, cwd=self.args["chdir"], timeout=DEADLINE, env=self.environment)
        return rc != 0 or "Would install" in stdout  # pip before 22.2 knows no --dry-run

    def run(self, command):
        """Run pip -> (stdout, stderr). Raises ModuleError that says what is wrong."""
        rc, stdout, stderr = self.ctx.run(command, cwd=self.args["chdir"], timeout=DEADLINE, env=self.environment)
        if rc != 0:
            raise ModuleError(explain(stdout + "\n" + stderr, self.pip()), rc=rc, stdout=stdout, stderr=stderr)
        return stdout, stderr

    def verify(self, probe, outcome):
        """Raise ModuleError when pip reported success and yet a requirement is not met."""
        if self.args["state"] == "absent":
            left = [one for one in self.wanted.requirements if _bare(one) in probe["installed"]]
        else:
            left = [one for n, one in enumerate(self.wanted.requirements) if probe["met"][n] is False]
        if left:
            message = "pip reported success, but %s %s" % (
                ", ".join(left),
                "is still there" if self.args["state"] == "absent" else "is not met",
            )
            raise ModuleError(message, stdout=outcome["stdout"], stderr=outcome["stderr"])


def _bare(requirement):
    """The normal form of a requirement's name."""
    name = re.match(r"[A-Za-z0-9][\w.-]*", requirement)
    return re.sub(r"[-_.]+", "-", name.group(0)).lower() if name else requirement


def _shebang(path):
    """The interpreter that a pip script starts, None when it does not say so plainly."""
    try:
        with open(path, "rb") as stream:
            line = stream.readline(512).decode("utf-8", "replace")
    except (IOError, OSError):
        return None
    match = re.match(r"#!\s*(/\S*python[\d.]*)\s*$", line)
    return match.group(1) if match and os.access(match.group(1), os.X_OK) else None


def explain(output, pip):
    """pip's complaint as one message that says what to do."""
    if "externally-managed-environment" in output:
        return (
            "this board's own Python is kept by its package manager (PEP 668): set virtualenv: to a folder, "
            "or install the package with apt (python3-...), or set break_system_packages: true"
        )
    if "No module named pip" in output:
        return "%s has no pip: install python3-pip, or set virtualenv: and use a virtual environment" % pip[0]
    network = re.search(r"Retrying[^\n]*(timed out|refused|reset|unreachable|resolution|resolve|not known)", output)
    if network:
        indexes = re.search(r"Looking in indexes: ([^\n]+)", output)
        where = hide_credentials(indexes.group(1)) if indexes else "pypi.org"
        return "the package index did not answer (%s): connection %s" % (where, network.group(1))
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return (
            "the package index's certificate is not trusted here: is the board's clock right (%s), and is the package "
            "ca-certificates installed?"
        ) % time.strftime("%Y-%m-%d %H:%M")
    insecure = re.search(r"The repository located at (\S+) is not a trusted or secure host", output)
    if insecure:
        return "pip does not trust the plain http index at %s: set trusted-host in pip.conf" % insecure.group(1)
    missing = re.findall(r"No matching distribution found for ([^\n]+)", output)
    if missing:
        versions = re.search(r"\(from versions: ([^)]*)\)", output)
        there = versions.group(1) if versions else "none"
        return "the package index has no %s for this board's Python and architecture (it has: %s)" % (
            missing[0].strip(),
            there if len(there) < 200 else "... " + there[-200:],
        )
    if "No space left on device" in output:
        return "the board's disk is full"
    if "Permission denied" in output:
        return "pip may not write there: add `become: true`, or use a virtual environment of the task's user"
    errors = [line.strip() for line in output.splitlines() if re.match(r"\s*(ERROR|error)[: ]", line)]
    lines = errors or [line.strip() for line in output.splitlines() if line.strip()]
    return "; ".join(lines[-3:]) or "pip failed and gave no reason"
