"""How gradio is imported in half the time."""

import inspect
from unittest import mock


def import_gradio() -> None:
    """Import gradio without its writing of stub files.

    For editors, gradio writes a .pyi file beside each of its components whenever it is imported, which takes as long as all
    else that it does then. It leaves out components whose source is in no file: here, none of its own seem to be in one.
    """
    of_file = inspect.getfile

    def getfile(of: object) -> str:
        if isinstance(of, type) and of.__module__.startswith("gradio."):
            raise OSError("not asked for")
        return of_file(of)

    with mock.patch.object(inspect, "getfile", getfile):
        import gradio  # noqa: F401
