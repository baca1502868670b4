"""Several visitors at once. They send the same requests as a browser."""

import asyncio

import httpx

from research.load import Measured, Person
from tests import support


def test_drawing_faces_does_not_wait_for_another_visitor_s_photo(app):
    """The predictions for composites are saved, so no model has to run."""

    async def drawn_while_models_work() -> bool:
        async with httpx.AsyncClient(base_url=app, timeout=120) as http:
            config = (await http.get("/config")).json()
            one, other = (Person(http, config, number, Measured()) for number in range(2))
            await one.upload()
            where = one.event("on looks", [None, False], {"choice": "where"})
            looking = asyncio.ensure_future(where)
            # Wait until it is second in the queue of the models, after the upload.
            while len(one.measured.places) < 2 and not looking.done():
                await asyncio.sleep(0.01)
            await other.draw()
            was_done = looking.done()
            assert "<img" in str(await looking)
            return not was_done

    assert support.finished(drawn_while_models_work())
