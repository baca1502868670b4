"""How many processes share the work. `accelerate launch` tells it in environment variables."""

import os

from .errors import FaceMTLError


def number_of_processes() -> int:
    """The number of processes. Raises FaceMTLError if a variable is wrong, or if one is missing."""
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
