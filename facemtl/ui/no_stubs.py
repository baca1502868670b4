"""Import gradio without its check of stub files, which doubles the time of the import.

On every import, gradio parses the source of each component class, renders a stub for editors, and
compares it with the .pyi file beside it (`create_or_modify_pyi` in gradio/component_meta.py). No
setting turns this off. But gradio skips classes without a source file, so this module hides the
source files of gradio's classes during the import. tests/unit/test_no_stubs.py fails when this
module is no longer needed.
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
