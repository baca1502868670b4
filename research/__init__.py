"""Scripts for the study alone. The app does not need them, and they are not installed with it."""

import sys
from collections.abc import Callable

from facemtl.errors import FaceMTLError
from facemtl.escapes import escape_what_cannot_be_encoded, say_error


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`. An error that the user can act on ends it with one line."""
    escape_what_cannot_be_encoded()
    try:
        main()
    except FaceMTLError as error:
        say_error(error)
        sys.exit(1)
    except OSError as error:  # a file is missing, the disk is full ...
        say_error(f"{error.filename or 'a file'}: {error.strerror or error}")
        sys.exit(1)
