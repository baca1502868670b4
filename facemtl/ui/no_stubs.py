"""Import gradio without its check of stub files, which doubles the time of the import.

Whenever a component class is made, gradio parses its source file, renders a stub for editors, and
compares it with the .pyi file beside it (`create_or_modify_pyi` in gradio/component_meta.py). No
setting turns this off. But gradio skips classes without a source file, so `no_stubs` hides the
source files of gradio's classes and of ours. tests/unit/test_no_stubs.py fails when this module is
no longer needed.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

_file_of = inspect.getfile


def _no_file_of_components(of: object) -> str:
    if isinstance(of, type) and of.__module__.startswith(("gradio.", "facemtl.ui.")):
        raise OSError("not asked for")
    return _file_of(of)


@contextmanager
def no_stubs() -> Iterator[None]:
    """Import or define gradio components in this context."""
    inspect.getfile = _no_file_of_components
    try:
        yield
    finally:
        inspect.getfile = _file_of


with no_stubs():
    import gradio  # noqa: F401
