"""Who wins when several levels define one variable: Ansible's table, row by row."""

from __future__ import annotations

import json

import precedence
import pytest

from tvmops.fleet.run import run_playbook
from tvmops.inventory import load_inventory
from tvmops.playbook.state import RunOptions


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each variable came to in a real run."""
    folder = tmp_path_factory.mktemp("precedence")
    inventory, playbook, extra = precedence.write(folder)
    hosts = load_inventory([inventory], playbook_dir=playbook.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVMOPS_STATE", str(folder / "state"))
        recap = run_playbook([playbook], hosts, RunOptions(extra_vars={"root": str(folder), **extra}))
    assert recap.exit_code == 0
    found: dict[str, str] = json.loads((folder / "results").read_text())
    return found


@pytest.mark.parametrize("pair", precedence.PAIRS, ids=" < ".join)
def test_the_stronger_level_wins(pair: tuple[str, str], results: dict[str, str]) -> None:
    assert results[precedence.variable(pair)] == precedence.expected(pair)


def test_registered_results_are_stronger_than_included_variables(results: dict[str, str]) -> None:
    assert results[precedence.REGISTERED] == "registered vars"
