r"""Names of files as text for terminals, CSV and JSON. The text can be turned back into the name.

A byte that cannot be shown is written as `\x` and two hexadecimal digits, such as `caf\xe9.jpg`,
`\x1b[31m.jpg` and `\x3d1+1.jpg`. A backslash in a name is written as two backslashes.
"""

import codecs
import io
import os
import re
import sys
import unicodedata
from typing import TextIO

# A spreadsheet takes a cell that begins with one of these as a formula. The last four are wide.
_FORMULA = re.compile("(^|;)([=+@＝＋－＠-])")
# Control characters, parts of names that are not UTF-8, and the ends of lines and paragraphs.
_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
# Characters that change the direction of the text that follows.
_TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|(\\))")
_HANDLER = "facemtl.escapes"  # the name under which Python's codecs know `_encoding_error`


def escaped(name: str) -> str:
    """A name as text for terminals and tables. `unescaped` turns it back.

    Escaped are control characters, bytes that are not UTF-8, characters that turn the direction of
    writing, and characters that would begin a formula in a spreadsheet: at the beginning, and after
    a semicolon, where some spreadsheets begin a cell.
    """
    text = printable(name.replace("\\", "\\\\")).replace("\n", "\\x0a")
    return _FORMULA.sub(lambda match: match[1] + _hexadecimal(match[2]), text)


def unescaped(text: str) -> str:
    """The name that `escaped` was given."""
    return os.fsdecode(_ESCAPE.sub(_byte, text.encode()))


def printable(text: str) -> str:
    """A message as text for terminals. Its line breaks stay, and so do backslashes."""
    return "".join(_hexadecimal(c) if c != "\n" and _is_hidden(c) else c for c in text)


def say(*words: object, file: TextIO | None = None) -> None:
    """Print a message. Names in it cannot control the terminal."""
    try:
        print(printable(" ".join(map(str, words))), file=file or sys.stdout, flush=True)
    except OSError as error:  # names no file
        error.filename = "The output"
        raise


def say_error(error: object) -> None:
    """Print an error as one line on standard error."""
    say(" ".join(f"facemtl: {error}".split("\n")), file=sys.stderr)


def escape_what_cannot_be_encoded() -> None:
    """Let this process print any text on a terminal of any encoding, such as ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _is_hidden(character: str) -> bool:
    return (
        unicodedata.category(character) in _HIDDEN or unicodedata.bidirectional(character) in _TURNS
    )


def _hexadecimal(characters: str) -> str:
    try:
        # A byte that is not UTF-8 is a surrogate in Python's names of files.
        content = characters.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # another surrogate: names on Windows may have some
        content = characters.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in content)


def _byte(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else b"\\"


def _encoding_error(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _hexadecimal(error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _encoding_error)
