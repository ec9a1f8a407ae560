"""CMake's language: commands are found, nothing crashes, and what is written is read back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tvmops.stack.cmake import Command, parse_cmake, quote


def test_commands_with_all_kinds_of_arguments() -> None:
    text = 'SET(A "b c" d;e) # no comment of it\nif((X AND "y\\"z") OR NOT Z)\n set(B [==[raw ]] $x]==])\nendif()'
    assert parse_cmake(text) == [
        Command("set", ("A", "b c", "d", "e"), 1),
        Command("if", ("X", "AND", 'y"z', "OR", "NOT", "Z"), 2),
        Command("set", ("B", "raw ]] $x"), 3),
        Command("endif", (), 4),
    ]


def test_comments_belong_to_the_command_below_them() -> None:
    text = "# licence\n\n# what for\n# - ON: yes\nset(A ON)\nset(B ON)\n#[[ set(C ON)\n]]\nset(D # inside\n  ON)"
    assert parse_cmake(text) == [
        Command("set", ("A", "ON"), 5, ("what for", "- ON: yes")),
        Command("set", ("B", "ON"), 6),
        Command("set", ("D", "ON"), 9),
    ]


def test_damaged_text_gives_what_is_whole() -> None:
    assert parse_cmake('set(A ON)\nset(B "never closed') == [Command("set", ("A", "ON"), 1)]
    assert parse_cmake(")) set(A ON)") == [Command("set", ("A", "ON"), 1)]


@given(st.text(alphabet=st.sampled_from('ab_ \n\t()"\\#[]=$;{}-'), max_size=200) | st.text(max_size=100))
def test_no_text_crashes_the_parser(text: str) -> None:
    for command in parse_cmake(text):
        assert 1 <= command.line <= text.count("\n") + 1


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_what_is_quoted_is_read_back(value: str) -> None:
    assert parse_cmake(f"set(NAME {quote(value)})")[0].arguments == ("NAME", value)
