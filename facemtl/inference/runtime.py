"""ONNX Runtime as all models use it."""

from functools import cache

import onnxruntime


def session_options() -> onnxruntime.SessionOptions:
    """The session options of all models: each model runs on one core.

    Several models run at a time instead (see `predictor._workers`). Several cores for one model
    save little time.
    """
    _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


@cache
def _share_memory() -> None:
    """Let all models share one memory arena. With an arena each, they would keep 12 MiB more."""
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(memory, None)
