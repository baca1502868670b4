"""Imports gradio without its check of stub files, which takes as long as the rest of its import.

Whenever it is imported, gradio parses the source of each component class, renders a stub for
editors, and compares it with the .pyi file beside it (`create_or_modify_pyi` in
gradio/component_meta.py). No setting turns this off, but it skips classes that have no source file:
so while gradio is imported here, its own classes appear to have none.
tests/unit/test_no_stubs.py says when this file can go.
"""

import inspect

_file_of = inspect.getfile


def _no_file_of_gradio(of: object) -> str:
    if isinstance(of, type) and of.__module__.startswith("gradio."):
        raise OSError("not asked for")
    return _file_of(of)


inspect.getfile = _no_file_of_gradio
try:
    import gradio  # noqa: F401
finally:
    inspect.getfile = _file_of
