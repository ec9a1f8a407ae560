"""The console script's quicker import of Invoke."""

import subprocess
import sys
from pathlib import Path


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_invoke_comes_without_asyncio() -> None:
    shown = python(
        "import sys; from tvmops.cli.start import import_invoke; import_invoke();"
        "print('invoke' in sys.modules, 'asyncio' in sys.modules)"
    )
    assert shown.split() == ["True", "False"]


def test_whoever_imports_mock_afterwards_gets_the_real_one() -> None:
    shown = python(
        "from tvmops.cli.start import import_invoke; import_invoke();"
        "from unittest.mock import Mock; print(Mock(return_value=7)())"
    )
    assert shown.split() == ["7"]


def test_a_mock_that_is_there_stays() -> None:
    shown = python(
        "import unittest.mock; from tvmops.cli.start import import_invoke; import_invoke();"
        "import invoke.context; print(invoke.context.Mock is unittest.mock.Mock)"
    )
    assert shown.split() == ["True"]


def test_invoke_reads_its_configuration_with_our_yaml(tmp_path: Path) -> None:
    (tmp_path / "invoke.yaml").write_text("answer: [42]\n")
    shown = python(
        "import sys; from tvmops.cli.start import import_invoke; import_invoke(); import invoke, yaml;"
        f"config = invoke.Config(project_location={str(tmp_path)!r}); config.load_project();"
        "print(config['answer'][0], invoke.config.yaml is yaml)"
    )
    assert shown.split() == ["42", "True"]


def test_the_command_line_starts() -> None:
    command = [sys.executable, "-m", "tvmops", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split()[0] == "tvmops"


def test_help_after_a_command_that_takes_a_file() -> None:
    """is its help, and not a file of that name."""
    done = subprocess.run(
        [sys.executable, "-m", "tvmops", "sweep", "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--tuning=STRING" in done.stdout


def test_a_budget_of_nothing_is_refused() -> None:
    """and not taken for an option that was not given."""
    for option in ("--trials", "--tasks", "--repeat"):
        done = subprocess.run(
            [sys.executable, "-m", "tvmops", "sweep", "smoke", option, "0"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 5
        assert f"{option} 0: at least one is needed" in done.stderr
