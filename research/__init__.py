"""Scripts for the study alone. The app does not need them, and they are not installed with it."""

import sys
from collections.abc import Callable

from facemtl.errors import FaceMTLError


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`. A FaceMTLError ends it with one line on standard error."""
    try:
        main()
    except FaceMTLError as error:
        sys.exit(f"facemtl: {error}")
