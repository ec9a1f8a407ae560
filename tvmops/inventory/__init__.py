"""Hosts, groups, variables, patterns and the facts cache."""

from tvmops.inventory.facts_cache import FactsCache
from tvmops.inventory.load import load_inventory
from tvmops.inventory.model import Group, Host, Inventory

__all__ = ["FactsCache", "Group", "Host", "Inventory", "load_inventory"]
