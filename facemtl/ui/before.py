"""What must happen before gradio is imported, and its import, in half the time that it would take."""

import inspect
import os
from unittest import mock

from . import uploads

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder())
# Events of which no other limit is said. `Blocks.queue` can say it too, but makes the whole server anew for it.
os.environ.setdefault("GRADIO_DEFAULT_CONCURRENCY_LIMIT", "4")
# After every event, gradio computes statistics of the last ten thousand, with pandas, for a page that is not served here.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")


def _import_gradio() -> None:
    """Import gradio without its writing of stub files.

    For editors, gradio writes a .pyi file beside each of its components whenever it is imported, which takes as long as all
    else that it does then. It leaves out components whose source is in no file: here, none of its own seem to be in one.
    """
    file_of = inspect.getfile

    def getfile(of: object) -> str:
        if isinstance(of, type) and of.__module__.startswith("gradio."):
            raise OSError("not asked for")
        return file_of(of)

    with mock.patch.object(inspect, "getfile", getfile):
        import gradio  # noqa: F401


_import_gradio()
