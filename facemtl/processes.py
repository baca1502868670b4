"""How many processes and threads share the work, as environment variables tell it."""

import os

from .errors import FaceMTLError

MOST_THREADS = 256  # many thousands would take gibibytes


def number_of_processes() -> int:
    """The number of processes, which `accelerate launch` tells.

    Raises FaceMTLError if a variable is wrong, or if one is missing.
    """
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        given = os.environ.get(name, "1")
        if not given.isdecimal() or (name == "WORLD_SIZE" and not int(given)):
            raise FaceMTLError(
                f"{name} is {given!r}, expected a number of processes. Set it, or unset it for one"
                " process."
            )
    n = int(os.environ.get("WORLD_SIZE", "1"))
    if n > 1 and "MASTER_ADDR" not in os.environ:
        raise FaceMTLError(
            f"WORLD_SIZE is {n}, but MASTER_ADDR is not set. Start the processes with `accelerate"
            " launch`, or unset WORLD_SIZE for one process."
        )
    return n


def number_of_threads(default: int) -> int:
    """`OMP_NUM_THREADS` if that is a number from 1 to `MOST_THREADS`, else `default`."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    is_number = given.isdecimal() and len(given) <= len(str(MOST_THREADS))
    return int(given) if is_number and 1 <= int(given) <= MOST_THREADS else default
