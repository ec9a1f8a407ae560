"""Invoke commands. Everything is in tvmops/cli; this file lets `invoke` find it."""

from tvmops.cli.program import build_namespace

namespace = build_namespace()
