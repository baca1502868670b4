"""Several visitors at once. They send the same requests as a browser."""

import asyncio
import json
from contextlib import AsyncExitStack
from http import HTTPStatus

import httpx

from facemtl.ui.sessions import MOST_ALONE, MOST_IN_QUEUE
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


def test_invented_sessions_take_neither_the_queue_nor_the_face_of_others(app):
    """They ask for faces, and nobody listens to the answers."""

    in_flight = 20

    async def flooded() -> list[int]:
        limits = httpx.Limits(max_connections=in_flight)
        async with httpx.AsyncClient(base_url=app, timeout=120, limits=limits) as http:
            config = (await http.get("/config")).json()
            visitor = Person(http, config, 1000, Measured())
            join = {"fn_index": visitor.number("on looks"), "data": [None, False]}
            async with http.stream("GET", f"/gradio_api/heartbeat/{visitor.session}"):
                await visitor.upload()
                invented = [{**join, "session_hash": f"invented{i // 10}"} for i in range(150)]
                await asyncio.gather(
                    *(http.post("/gradio_api/queue/join", json=each) for each in invented)
                )
                places = len(visitor.measured.places)
                looked = await visitor.event("on looks", [None, False], {"choice": "save"})
            assert "data:application/json;base64," in json.dumps(looked), "the face is forgotten"
            return visitor.measured.places[places:]

    assert max(support.finished(flooded())) <= MOST_ALONE + in_flight


def test_one_session_and_all_together_have_a_limit_with_a_sentence(app):
    """The first visitor asks for much, then many others ask once."""

    async def refusals() -> tuple[list[httpx.Response], list[httpx.Response]]:
        no_limits = httpx.Limits(max_connections=None)
        client = httpx.AsyncClient(base_url=app, timeout=120, limits=no_limits)
        async with client as http, AsyncExitStack() as opened:
            config = (await http.get("/config")).json()
            people = [Person(http, config, 2000 + i, Measured()) for i in range(MOST_IN_QUEUE)]
            for person in people:
                heartbeat = f"/gradio_api/heartbeat/{person.session}"
                await opened.enter_async_context(http.stream("GET", heartbeat))
            first, *others = people
            await first.upload()

            async def ask(person: Person, choice: str) -> httpx.Response:
                join = {
                    "fn_index": person.number("on looks"),
                    "data": [None, False],
                    "event_data": {"choice": choice},
                    "session_hash": person.session,
                }
                return await http.post("/gradio_api/queue/join", json=join)

            # The first request takes seconds, in no place of the queue. Meanwhile, others wait.
            greedy = [await ask(first, "where") for _ in range(MOST_IN_QUEUE // 2 + 2)]
            rest = [await ask(person, "none") for person in others]
            await opened.aclose()
            # Their requests leave the queue with them.
            newcomer = Person(http, config, 3000, Measured())
            while (await ask(newcomer, "none")).status_code != HTTPStatus.OK:
                await asyncio.sleep(0.1)
        return greedy, rest

    greedy, rest = support.finished(refusals())
    assert greedy[-1].status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert "too many requests at once" in greedy[-1].json()["detail"]
    assert all(each.status_code == HTTPStatus.OK for each in (*greedy[:-1], *rest[:10]))
    assert rest[-1].status_code == HTTPStatus.SERVICE_UNAVAILABLE
    assert f"Queue is full. Max size is {MOST_IN_QUEUE}" in rest[-1].json()["detail"]


def test_a_program_may_call_again_and_again_in_one_session(app):
    with httpx.Client(base_url=app, timeout=60) as http:
        for _ in range(MOST_ALONE + 1):
            asked = {"data": ["all"], "session_hash": "program"}
            event = http.post("/gradio_api/call/metrics", json=asked).json()["event_id"]
            assert "event: complete" in http.get(f"/gradio_api/call/metrics/{event}").text
