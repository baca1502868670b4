"""The one family of errors whose message is meant for the person at the screen."""


class FaceMTLError(Exception):
    """Something the user can act on: what was expected, what was found, what to do next.

    The app shows it as a message and the command line as one line, both without a traceback.
    """


def first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
