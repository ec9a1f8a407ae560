"""Which keys and passwords are offered to a machine, in which order, and what to say when all are refused."""

from __future__ import annotations

import base64
import getpass
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import paramiko
from paramiko.agent import Agent, AgentKey
from paramiko.auth_handler import AuthHandler
from paramiko.message import Message
from paramiko.pkey import PKey
from paramiko.ssh_exception import (
    AuthenticationException,
    BadAuthenticationType,
    PasswordRequiredException,
    SSHException,
)

from tvmops.connection.base import Deadline
from tvmops.connection.settings import Settings
from tvmops.errors import AuthenticationError, HostUnreachable

MAX_FAILURES = 5  # sshd hangs up after six (MaxAuthTries), with a message that says less than ours
_passphrases: dict[str, PKey | None] = {}
_asking = threading.Lock()  # hosts connect in parallel; a passphrase is asked for once


class EagerAuthHandler(AuthHandler):
    """Sends the authentication along with the request to begin it, whose answer would cost a round trip."""

    def _request_auth(self) -> None:
        inherited: Any = super()
        inherited._request_auth()
        accepted = Message()
        accepted.add_string("ssh-userauth")
        inherited._parse_service_accept(Message(accepted.asbytes()))

    def _parse_service_accept(self, message: Message) -> None:
        """The answer: what it allows was done already."""


def _authenticate(transport: Any, user: str, key: PKey) -> list[str]:
    """As Paramiko's auth_publickey: the kinds of authentication that the server wants besides."""
    if not transport.is_active() or not transport.initial_kex_done:
        raise SSHException("No existing session")
    if key.get_name() == "ssh-rsa":  # how it may sign is told by the server a moment later
        return list(transport.auth_publickey(user, key))
    done = threading.Event()
    transport.auth_handler = handler = EagerAuthHandler(transport)
    handler.auth_publickey(user, key, done)
    return list(handler.wait_for_response(done))


class Authenticator:
    """Offers explicit key files, the agent's keys, default key files, the password, and remembers what happened."""

    def __init__(self, settings: Settings, deadline: Deadline) -> None:
        self.settings = settings
        self.deadline = deadline
        self.tried: list[str] = []
        self.problems: list[str] = []
        self.failures = 0
        self._agent: Agent | None = None

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Return once the machine let us in. Raises AuthenticationError or HostUnreachable."""
        try:
            for label, key in self._keys():
                if self._offer_key(transport, label, key):
                    return
            if self.settings.password is not None and self._offer_password(transport, self.settings.password):
                return
        finally:
            if self._agent is not None:
                self._agent.close()
        raise self._refused()

    def _offer_key(self, transport: paramiko.Transport, label: str, key: PKey) -> bool:
        if self.failures >= MAX_FAILURES:
            self.problems.append(f"{label} was not offered: the server hangs up after too many keys")
            return False
        self.tried.append(label)
        transport.auth_timeout = max(0.1, self.deadline.left())
        try:
            remaining = _authenticate(transport, self.settings.user, key)
        except BadAuthenticationType as error:
            self.problems.append(f"the server takes only {', '.join(error.allowed_types)}")
            return False
        except AuthenticationException as error:
            self._check_silent(error)
            if not transport.is_active():
                raise self._hung_up(error) from error
            self.failures += 1
            return False
        except (SSHException, EOFError, OSError, ValueError) as error:
            if not transport.is_active():
                raise self._hung_up(error) from error
            self.problems.append(f"{label}: {error}")
            return False
        return not remaining or self._second_factor(transport, remaining)

    def _second_factor(self, transport: paramiko.Transport, remaining: list[str]) -> bool:
        if self.settings.password is None:
            self.problems.append(f"the key was accepted, but the server also wants {' or '.join(remaining)}")
            return False
        return self._offer_password(transport, self.settings.password)

    def _offer_password(self, transport: paramiko.Transport, password: str) -> bool:
        self.tried.append("the password")
        transport.auth_timeout = max(0.1, self.deadline.left())
        try:
            return not transport.auth_password(self.settings.user, password)
        except BadAuthenticationType as error:
            self.problems.append(f"the server takes only {', '.join(error.allowed_types)}")
        except AuthenticationException as error:
            self._check_silent(error)
            if not transport.is_active():
                raise self._hung_up(error) from error
        except (SSHException, EOFError, OSError) as error:
            raise self._hung_up(error) from error
        return False

    def _keys(self) -> Iterator[tuple[str, PKey]]:
        settings = self.settings
        in_agent = self._agent_keys()
        agent_only = {_blob(key): key for key in in_agent}
        files = settings.identity_files if settings.explicit_identities else ()
        locked: list[str] = []
        for path in files:
            yield from self._from_file(path, agent_only, locked)
        if not settings.identities_only:
            for key in agent_only.values():
                yield f"agent key {key.comment or key.get_name()}", key
            agent_only.clear()
        if not settings.explicit_identities:
            for path in settings.identity_files:
                yield from self._from_file(path, agent_only, locked)
        for path in locked:
            opened = self._unlock(path)
            if opened is not None:
                yield path, opened

    def _from_file(self, path: str, in_agent: dict[bytes, AgentKey], locked: list[str]) -> Iterator[tuple[str, PKey]]:
        public = _public_blob(path)
        if public is not None and public in in_agent:
            yield f"{path} (by the agent)", in_agent.pop(public)
            return
        try:
            key = PKey.from_path(path)
        except FileNotFoundError:
            if self.settings.explicit_identities:
                self.problems.append(f"{path}: no such file")
        except PasswordRequiredException:
            locked.append(path)
        except OSError as error:
            self.problems.append(f"{path}: {error.strerror}")
        except Exception as error:  # Paramiko's and cryptography's complaints about a file have no common root
            locked.append(path) if _is_encrypted(path) else self.problems.append(f"{path}: not a usable key ({error})")
        else:
            in_agent.pop(_blob(key), None)
            yield path, key

    def _unlock(self, path: str) -> PKey | None:
        """Ask for a passphrase where there is someone to ask; once per file and run."""
        advice = f"{path}: encrypted; load it into the agent: ssh-add {path}"
        if self.settings.batch_mode or not (sys.stdin.isatty() and sys.stderr.isatty()):
            self.problems.append(advice)
            return None
        with _asking:
            if path not in _passphrases:
                passphrase = getpass.getpass(f"Passphrase for {path}: ", sys.stderr)
                try:
                    _passphrases[path] = _from_path(path, passphrase.encode())
                except Exception:  # as above
                    _passphrases[path] = None
        if _passphrases[path] is None:
            self.problems.append(f"{advice} (the passphrase given does not open it)")
        return _passphrases[path]

    def _agent_keys(self) -> tuple[AgentKey, ...]:
        try:
            self._agent = Agent()
            return tuple(self._agent.get_keys())
        except (SSHException, OSError) as error:
            self.problems.append(f"ssh-agent: {error}")
            return ()

    def _check_silent(self, error: AuthenticationException) -> None:
        # Paramiko reports an authentication that got no answer as a refusal.
        if self.deadline.passed() or "timeout" in str(error).lower():
            where = f"{self.settings.name}: {self.settings.address}"
            raise HostUnreachable(
                f"{where} went silent during authentication (waited {self.deadline.seconds:.0f} s)",
                "the machine may be overloaded or hang; log in by hand to see",
            ) from error

    def _hung_up(self, error: Exception) -> HostUnreachable:
        text = str(error) or type(error).__name__
        offered = ", ".join(self.tried)
        return AuthenticationError(
            f"{self.settings.name}: {self.settings.address} closed the connection during authentication: {text} "
            f"(offered: {offered})",
            "too many keys? name the right one: ansible_ssh_private_key_file, with -o IdentitiesOnly=yes",
        )

    def _refused(self) -> AuthenticationError:
        settings = self.settings
        offered = ", ".join(self.tried) if self.tried else "nothing, for there is no usable key"
        problems = "".join(f"; {problem}" for problem in dict.fromkeys(self.problems))
        return AuthenticationError(
            f"{settings.name}: {settings.user}@{settings.address} refused to let us in; offered: {offered}{problems}",
            f"put the public key there (ssh-copy-id -p {settings.port} {settings.user}@{settings.hostname}), or set "
            "ansible_user, ansible_ssh_private_key_file or ansible_password",
        )


def _blob(key: Any) -> bytes:
    return bytes(key.asbytes())


def _from_path(path: str, passphrase: bytes) -> PKey:
    # Paramiko declares text here and passes it on to a library that takes bytes only.
    return PKey.from_path(path, cast(Any, passphrase))


def _public_blob(path: str) -> bytes | None:
    """The public half that lies beside a private key file, if any."""
    try:
        words = Path(path + ".pub").read_text(encoding="utf-8").split()
        return base64.b64decode(words[1])
    except (OSError, ValueError, IndexError):
        return None


def _is_encrypted(path: str) -> bool:
    try:
        content = Path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    if "ENCRYPTED" in content:
        return True
    body = "".join(content.splitlines()[1:-1])
    try:
        return b"bcrypt" in base64.b64decode(body)[:64]
    except ValueError:
        return False
