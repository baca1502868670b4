"""What only the study needs, and the app does not: it is not installed with the package."""

import sys
from collections.abc import Callable

from facemtl.errors import FaceMTLError


def run_script(main: Callable[[], None]) -> None:
    """Run a script's `main`. Errors of the user are one line on standard error."""
    try:
        main()
    except FaceMTLError as error:
        sys.exit(f"facemtl: {error}")
