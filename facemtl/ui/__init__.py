"""The Gradio app. Gradio reads these settings from the environment when it is imported."""

import os

from . import uploads

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder())
# Of events without a limit of their own. `Blocks.queue` has it too, but builds the server again.
os.environ.setdefault("GRADIO_DEFAULT_CONCURRENCY_LIMIT", "4")
# After every event, gradio computes statistics of the last ten thousand for a page not served here.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
