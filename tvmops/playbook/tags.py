"""Which tasks --tags and --skip-tags choose."""

from __future__ import annotations

TAGGED, UNTAGGED, ALL, ALWAYS, NEVER = "tagged", "untagged", "all", "always", "never"


def selected(tags: frozenset[str], only: frozenset[str], skip: frozenset[str]) -> bool:
    """Ansible's rule for one task's tags; empty `only` means all (but not `never`)."""
    return _wanted(tags, only or frozenset((ALL,))) and not _unwanted(tags, skip)


def _wanted(tags: frozenset[str], only: frozenset[str]) -> bool:
    if ALWAYS in tags:
        return True
    if ALL in only and NEVER not in tags:
        return True
    if tags & only:
        return True
    if TAGGED in only and tags and NEVER not in tags:
        return True
    return UNTAGGED in only and not tags


def _unwanted(tags: frozenset[str], skip: frozenset[str]) -> bool:
    if ALL in skip:
        return ALWAYS not in tags or ALWAYS in skip
    if tags & skip:
        return True
    if TAGGED in skip and tags:
        return True
    return UNTAGGED in skip and not tags
