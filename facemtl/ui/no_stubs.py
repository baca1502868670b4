"""Imports gradio without its writing of stub files, which takes as long as the rest of its import.

For editors, gradio compares a .pyi file with each of its component classes, and writes it, whenever it is imported
(`create_or_modify_pyi` in gradio/component_meta.py). It leaves out classes whose source is in no file; while it is imported
here, none of its own seem to be in one. There is no setting for it. tests/unit/test_no_stubs.py says when this file can go.
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
