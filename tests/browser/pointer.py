"""Drags: by a mouse, by a finger, and by a finger that the browser takes away."""

import json
from collections.abc import Sequence

from playwright.sync_api import Page

Points = Sequence[tuple[float, float]]


def by_mouse(page: Page, points: Points) -> None:
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def by_finger(page: Page, points: Points, end: str = "touchEnd") -> None:
    browser = page.context.new_cdp_session(page)
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1), end]
    for kind, point in zip(kinds, [*points, None], strict=True):
        at = [] if point is None else [{"x": point[0], "y": point[1]}]
        browser.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})


def cancelled(page: Page, target: str, points: Points) -> None:
    """Drag by a finger that the browser takes away. Then a pointer moves on and is released."""
    page.evaluate(
        """(target) => {
            window.taken = false;
            document.querySelector(target)
                .addEventListener('pointercancel', () => { window.taken = true; }, {once: true});
        }""",
        target,
    )
    by_finger(page, points, end="touchCancel")
    page.wait_for_function("window.taken")
    for x, y in reversed(points):
        page.locator(target).dispatch_event("pointermove", {"clientX": x, "clientY": y})
    page.locator(target).dispatch_event("pointerup", {"clientX": x, "clientY": y})


def joined(page: Page) -> list[str]:
    """The list of what pointers ask the server for from now on. It grows.

    Events that the app starts by itself, such as those after an answer, come without data.
    """
    asked = []

    def note(request) -> None:
        is_event = request.method == "POST" and "queue/join" in request.url
        if is_event and json.loads(request.post_data).get("event_data"):
            asked.append(request.post_data)

    page.on("request", note)
    return asked
