"""FaceMTLError, the base class of errors whose message is meant for the user."""


class FaceMTLError(Exception):
    """An error that the user can act on.

    Its message says what was expected, what was found and what to do next. The app shows it as a
    message and the command line as one line, both without a traceback.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
