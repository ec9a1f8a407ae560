"""Host keys: checked strictly, stored only when the user says so."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tvmops.connection import knownhosts
from tvmops.connection.knownhosts import HostKey, StoredKey, fingerprint
from tvmops.connection.settings import Settings, resolve
from tvmops.errors import HostKeyError
from tvmops.inventory.model import Host

# What a stored key's type means for the negotiation: an RSA key signs with SHA-2.
SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


def known(settings: Settings) -> list[StoredKey]:
    """All that the machine's known_hosts files say about it."""
    return knownhosts.find(settings.key_names, (*settings.user_known_hosts, *settings.global_known_hosts))


def prefer(stored: Iterable[StoredKey], algorithms: Iterable[str]) -> list[str]:
    """`algorithms` with those first whose keys are stored, so that the machine shows a key that can be compared."""
    types = [entry.type for entry in stored if not entry.marker]
    first = [name for kind in types for name in SIGNATURES.get(kind, (kind,))]
    available = list(algorithms)
    return list(dict.fromkeys([name for name in first if name in available] + available))


def check(settings: Settings, kind: str, blob: bytes) -> None:
    """Return when the key is known and not revoked. Raises HostKeyError otherwise."""
    stored = known(settings)
    revoked = next((entry for entry in stored if entry.marker == "@revoked" and entry.blob == blob), None)
    what = f"{kind} {fingerprint(blob)}"
    if revoked:
        raise HostKeyError(
            f"{settings.name}: {settings.address} offers a host key that was revoked: {what} ({revoked.where})",
            "the machine must get new host keys (on it: rm /etc/ssh/ssh_host_*; ssh-keygen -A)",
        )
    plain = [entry for entry in stored if not entry.marker]
    if any(entry.blob == blob for entry in plain):
        return
    # A key stored under the bare name belongs to port 22; on another port it may confirm, but not contradict.
    contradicting = [entry for entry in plain if knownhosts.matches(entry.hosts, settings.key_names[0])]
    if not contradicting:
        raise HostKeyError(_unknown(settings, what, stored), _how_to_trust(settings))
    same_type = next((entry for entry in contradicting if entry.type == kind), None)
    entry = same_type or contradicting[0]
    known_key = f"{entry.type} {fingerprint(entry.blob)} ({entry.where})"
    if same_type:
        message = f"the host key of {settings.address} has CHANGED: it offers {what}, stored is {known_key}"
    else:
        message = f"the host key of {settings.address} is of another kind: it offers {what}, stored is {known_key}"
    raise HostKeyError(
        f"{settings.name}: {message}",
        "if the board was reinstalled, compare the new fingerprint with the one on its console, then: "
        f"{_trust_command(settings, replace=True)}; if not, somebody may sit in between: do not go on",
    )


def _unknown(settings: Settings, what: str, stored: list[StoredKey]) -> str:
    files = ", ".join(str(path) for path in (*settings.user_known_hosts, *settings.global_known_hosts)) or "no file"
    message = f"{settings.name}: the host key of {settings.address} is not known: {what} (looked in {files})"
    authority = next((entry for entry in stored if entry.marker == "@cert-authority"), None)
    if authority:
        message += f"; {authority.where} has a certificate authority for it, which tvmops does not use"
    return message


def _how_to_trust(settings: Settings) -> str:
    return (
        "compare the fingerprint with the machine's own (on it: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), "
        f"then: {_trust_command(settings)}"
    )


def _trust_command(settings: Settings, replace: bool = False) -> str:
    if settings.is_jump:
        forget = f"ssh-keygen -R '{settings.key_names[0]}'; " if replace else ""
        return f"{forget}ssh -p {settings.port} {settings.user}@{settings.hostname}"
    return f"tvmops trust --host {settings.name}{' --replace' if replace else ''}"


def scan_host_key(host: Host, deadline: float = 15.0) -> HostKey:
    """The key that the host shows now, not checked against anything; keys of jump hosts on the way are checked.

    Raises HostUnreachable (HostKeyError for a jump host's key).
    """
    from tvmops.connection.dial import fetch_host_key

    settings = resolve(host)
    kind, blob = fetch_host_key(settings, deadline)
    return HostKey(kind, blob, settings.key_names[0], settings.address)


def is_known(host: Host, key: HostKey) -> bool:
    """Whether this very key is stored already. Raises HostKeyError when it is revoked or another one is stored."""
    settings = resolve(host)
    name = settings.key_names[0]
    decisive = [
        entry
        for entry in known(settings)
        if entry.blob == key.blob or (not entry.marker and knownhosts.matches(entry.hosts, name))
    ]
    if not decisive:
        return False
    check(settings, key.type, key.blob)
    return True


def store_host_key(host: Host, key: HostKey, replace: bool = False) -> Path:
    """Add the key to the host's first UserKnownHostsFile (made with mode 0600) and return that file's path.

    A key that is stored already is not added again. Raises HostKeyError when the key is revoked, when another one is
    stored and `replace` is False, or when there is no file to write to.
    """
    settings = resolve(host)
    if not settings.user_known_hosts or settings.user_known_hosts[0] == Path("/dev/null"):
        raise HostKeyError(
            f"{host.name}: UserKnownHostsFile names no file that could keep the key",
            "remove that option, or name a file",
        )
    path = settings.user_known_hosts[0]
    try:
        if is_known(host, key):
            return path
    except HostKeyError:
        if not replace or any(entry.marker == "@revoked" and entry.blob == key.blob for entry in known(settings)):
            raise
        _forget(settings)
    hosts = knownhosts.hashed(key.name) if settings.hash_known_hosts else key.name
    try:
        knownhosts.append(path, f"{hosts} {key.line.partition(' ')[2]}")
    except OSError as error:
        raise HostKeyError(f"{path}: cannot store the host key: {error.strerror}", "check its permissions") from error
    return path


def _forget(settings: Settings) -> None:
    names = settings.key_names[:1]
    stored = [entry for entry in knownhosts.find(names, settings.user_known_hosts) if not entry.marker]
    in_global = [entry for entry in knownhosts.find(names, settings.global_known_hosts) if not entry.marker]
    if in_global:
        raise HostKeyError(
            f"{settings.name}: another key is stored for the whole machine: {in_global[0].where}",
            "an administrator must remove that line",
        )
    for path in dict.fromkeys(entry.path for entry in stored):
        try:
            knownhosts.remove(path, names, [entry.line for entry in stored if entry.path == path])
        except OSError as error:
            raise HostKeyError(f"{path}: cannot replace the host key: {error.strerror}") from error
