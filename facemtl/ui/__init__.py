"""The Gradio app. This package sets environment variables that gradio reads on its import."""

import os

from . import uploads

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ["GRADIO_TEMP_DIR"] = str(uploads.folder())
# Limit gradio's statistics. By default it computes them after every event, over the last 10,000
# events, for a page that is not served here.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "1")
