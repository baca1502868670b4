"""What a browser reports can be anything, because a request can be made without the page."""

import inspect
from collections.abc import Callable
from types import SimpleNamespace

import gradio as gr
import pytest

from facemtl.ui.launch import make_app
from facemtl.ui.photo import PhotoView
from tests import support

MODELS = support.ROOT / "assets" / "models"
HUGE = 10**400  # larger than any float
OF_AGE = {"task": "age", "approach": "single"}
REPORTS = [
    *(None, "text", 7, [], {}, {"choice": None}, {"choice": "9" * 5000}, {"choice": [1]}),
    {"choice": "-1", "query": 3, "crop": {"left": "x"}, "added": [1], "mask": {}},
    {"choice": HUGE, "crop": [HUGE, 0, 0], "mask": HUGE, "query": HUGE},
    {"added": [0, HUGE, 0], "choice": float("nan")},
    *(
        {**OF_AGE, "by": by, "x": x, "y": 1}
        for by in ("square", "confidence")
        for x in (HUGE, -1e308)
    ),
    *({**OF_AGE, "by": by, "x": [], "y": {}, "group": []} for by in ("cell", "group", [])),
]


@pytest.fixture(scope="module")
def handlers() -> list[tuple[Callable, list]]:
    """The handlers that take what a browser reports, each with the values of its inputs."""
    demo = make_app(MODELS, support.ROOT / "assets" / "validation", support.COMPOSITES)
    found = [event for event in demo.fns.values() if callable(event.fn)]
    found = [event for event in found if "event" in inspect.signature(event.fn).parameters]
    return [(each.fn, [getattr(field, "value", None) for field in each.inputs]) for each in found]


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: repr(report)[:20])
def test_no_report_of_a_browser_is_an_error(handlers, report):
    assert len(handlers) >= 9
    special = {
        "event": gr.EventData(None, report),
        "request": SimpleNamespace(session_hash="a", query_params={}),
    }
    for handler, values in handlers:
        values = iter(values)
        names = inspect.signature(handler).parameters
        given = [special[name] if name in special else next(values) for name in names]
        given = [PhotoView() if isinstance(each, PhotoView) else each for each in given]
        try:
            result = handler(*given)
            if inspect.isgenerator(result):
                list(result)
        except gr.Error as error:
            assert error.message and not error.print_exception
