"""Names of files on terminals and in tables: nothing is lost, and nothing takes effect."""

import io
import os
import sys
import unicodedata

import pytest

from facemtl.escapes import (
    escape_what_cannot_be_encoded,
    escaped,
    printable,
    say,
    say_error,
    unescaped,
)

NAMES = [
    os.fsdecode(name)
    for name in (
        b"plain.jpg", "größe 写真 👩‍👩‍👧.jpg".encode(), b"a\xff\xe9.jpg", b"\x1b[31mred\x07.jpg",
        b"two\nlines\r.jpg", b"\ttab.jpg", b"=1+1.jpg", b"+1.jpg", b"-1.jpg", b"@a.jpg",
        "＝1.jpg".encode(), b"a=b+c.jpg", b"back\\slash.jpg", b"\\x3d.jpg", b"\\\\xff.jpg",
        b"a;=1;-1.jpg",
        b"\\", b"\xc2\x9b31m.jpg", "\u202egpj.exe".encode(), "a\u2028b.jpg".encode(),
    )
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_can_be_had_again_and_controls_nothing(name):
    text = escaped(name)
    assert unescaped(text) == name
    assert text.encode().decode() == text and len(text.splitlines()) == 1
    assert not {"Cc", "Cs"} & {*map(unicodedata.category, text)} and "\u202e" not in text
    assert not {cell[:1] for cell in text.split(";")} & {*"=+-@＝"}


def test_escaped_names_differ_if_names_do():
    assert len({*map(escaped, NAMES)}) == len(NAMES)


def test_most_names_stay_as_they_are():
    assert [escaped(name) for name in (*NAMES[:2], "a=b.jpg", "a/-b.jpg")] == [
        *NAMES[:2], "a=b.jpg", "a/-b.jpg",
    ]  # fmt: skip


def test_messages_keep_lines_and_errors_are_one_line(capsys):
    say("two\nlines", "\x1b[2J")
    say_error("of\ntwo lines \x1b[2J")
    printed, said = capsys.readouterr()
    assert printed == "two\nlines \\x1b[2J\n" and said == "facemtl: of two lines \\x1b[2J\n"
    assert printable(escaped("\\\x07")) == r"\\\x07"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_gets_any_name(encoding, monkeypatch):
    """What it cannot show is escaped in the same way, so it can be had again, too."""
    content = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(content, encoding, newline="\n"))
    escape_what_cannot_be_encoded()
    for name in NAMES:
        print(escaped(name))
    sys.stdout.flush()
    lines = content.getvalue().decode(encoding).split("\n")[:-1]
    assert [*map(unescaped, lines)] == NAMES
