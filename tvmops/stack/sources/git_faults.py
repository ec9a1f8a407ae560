"""What git's messages mean, and what to do then."""

from __future__ import annotations

import re

from tvmops.errors import StackError
from tvmops.stack.sources.git_program import GitFailed

_BROKEN = re.compile(
    r"early EOF|hung up unexpectedly|unexpected disconnect|RPC failed|Connection reset|invalid index-pack output|"
    r"transfer closed|was ended: no progress|Operation too slow|Broken pipe|Connection closed by",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"Could not resolve host|unable to look up|Connection refused|Connection timed out|Failed to connect|"
    r"unable to connect|Network is unreachable|No route to host|Name or service not known|unable to access",
    re.IGNORECASE,
)
_SHALLOW = re.compile(
    r"dumb http transport does not support shallow|did not contain|not our ref|unadvertised object|"
    r"Unable to find current revision|shallow",
    re.IGNORECASE,
)
_SUBMODULE = re.compile(r"clone of '(?P<url>[^']+)' into submodule path '[^']*?/repo/(?P<path>[^']+)'")
_OTHER = "other ways to the same source (a mirror, a bundle, an archive, a folder): docs/sources.md"

# In this order: a pattern, what happened, what to do. {origin} and {ref} are filled in, and what `(?P<what>)` matched.
_MEANINGS: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"No space left on device"),
        "the disk became full while fetching {origin}",
        "make room, then run again",
    ),
    (
        re.compile(r"transport '(?P<what>[^']*)' not allowed"),
        "{origin}: a submodule is fetched by '{what}', which is not allowed",
        "https and ssh are, and the protocols of the source and its mirrors: give a mirror, --mirror FROM=TO",
    ),
    (
        re.compile(r"Host key verification failed"),
        "{origin}: ssh does not know the server's host key",
        "connect to it once by hand and compare the key",
    ),
    (
        re.compile(r"Authentication failed|could not read (Username|Password)|Permission denied|HTTP 40[13]"),
        "{origin} wants a login, and git has none for it",
        "set up a credential helper, ~/.netrc or an ssh key; nothing is asked here",
    ),
    (
        re.compile(r"couldn't find remote ref|Remote branch \S+ not found|no such ref"),
        "{origin} has no {ref}",
        "a mirror may lack tags: git -C MIRROR fetch origin 'refs/tags/*:refs/tags/*'",
    ),
    (
        re.compile(
            r"Fetched in submodule path '(?P<what>[^']+)', but it did not contain|"
            r"Unable to find current revision in submodule path '(?P<what2>[^']+)'"
        ),
        "{origin}: the repository of submodule {what} lacks the commit that is recorded",
        "its mirror is too old, or another project: update it (git -C MIRROR fetch --prune origin), then run again",
    ),
    (
        re.compile(r"does not appear to be a git repository|not found|does not exist|not exported"),
        "{origin} is not there, or is no git repository",
        "look at the path or URL; submodules can come from elsewhere: --mirror https://github.com/=/path/of/mirrors/",
    ),
    (_UNREACHABLE, "{origin} cannot be reached", "look at the network or proxy; " + _OTHER),
    (_BROKEN, "the git server went away while {origin} was fetched", "run again: what is whole is kept; " + _OTHER),
)


def broken_off(output: str) -> bool:
    """Whether git failed because the connection broke, so that another attempt makes sense."""
    return bool(_BROKEN.search(output))


def unfit_for_shallow(output: str) -> bool:
    """Whether git failed because the server does not give single commits."""
    return bool(_SHALLOW.search(output))


def explain(failed: GitFailed, origin: str, ref: str) -> StackError:
    """The error to show for a git that failed."""
    said = _last_words(failed.output)
    submodule = _SUBMODULE.search(failed.output)
    place = f"{submodule['url']} (submodule {submodule['path']})" if submodule else origin
    for pattern, message, hint in _MEANINGS:
        found = pattern.search(failed.output)
        if found:
            what = next((value for value in found.groupdict().values() if value), "")
            about = message.format(origin=origin if what else place, ref=ref, what=what)
            return StackError(f"{about}\n{said}" if said else about, hint)
    return StackError(f"{place}: {failed.message}\n{said}", _OTHER)


def _last_words(output: str) -> str:
    telling = [line for line in output.splitlines() if re.match(r"(fatal|error|remote|ssh|warning):", line.strip())]
    return "\n".join((telling or output.splitlines())[-3:])
