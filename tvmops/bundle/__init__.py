"""Offline bundles: every file that provisioning hosts needs, collected where there is a network, applied where not."""
