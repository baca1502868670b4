"""Simulate 50 visitors at once, and measure how long they wait.

    python -m research.load

It starts the app. Each visitor sends over HTTP what a browser sends for a click. They upload a
photo, draw random faces, choose validation images, and save the result, which must be that of their
own photo. Visitors do not wait for each other. After CLICKS clicks a visitor leaves, and another
one comes. Failures and answers to somebody else's clicks are counted. If there are any, the exit
status is 1.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import sys
import tempfile
import time
from base64 import b64decode
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from facemtl.files import write_whole
from facemtl.paths import ASSETS

from .bench import running_app

PHOTOS = sorted((ASSETS / "faces").glob("*.jpg"))[::5]
CLICKS = 10  # of a visitor before they leave


@dataclass
class Measured:
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: Counter = field(default_factory=Counter)
    places: list[int] = field(default_factory=list)  # positions in the queue, as visitors were told
    memory: list[tuple[int, float]] = field(default_factory=list)  # (number of clicks so far, MiB)
    n_threads: int = 0
    n_clicks: int = 0


class Person:
    """One visitor: a session with the app, and what its page shows."""

    def __init__(self, http: httpx.AsyncClient, config: dict, seed: int, measured: Measured):
        self.http, self.config, self.measured = http, config, measured
        self.random, self.session = random.Random(seed), f"person{seed}"
        self.photo: Path | None = None

    async def stay(self, most: int) -> None:
        """Click until this visitor has made CLICKS clicks, or all together have made `most`."""
        # An open page keeps this connection. When it closes, the server forgets the visitor.
        async with self.http.stream("GET", f"/gradio_api/heartbeat/{self.session}"):
            for _ in range(CLICKS):
                if self.measured.n_clicks >= most:
                    return
                shares = {
                    self.upload: 4,
                    self.draw: 3,
                    self.choose: 2,
                    self.save: 3 if self.photo else 0,
                }
                (act,) = self.random.choices(list(shares), list(shares.values()))
                started = time.perf_counter()
                try:
                    await act()
                except Exception as error:
                    self.measured.failures[
                        f"{act.__name__}: {type(error).__name__}: {str(error)[:120]}"
                    ] += 1
                self.measured.seconds[act.__name__].append(time.perf_counter() - started)
                self.measured.n_clicks += 1
                await asyncio.sleep(self.random.uniform(0, 0.5))

    async def upload(self) -> None:
        photo = self.random.choice(PHOTOS)
        sent = await self.http.post(
            "/gradio_api/upload", files={"files": (photo.name, photo.read_bytes(), "image/jpeg")}
        )
        (path,) = sent.json()
        answer = json.dumps(await self.event("on_file", [f"{time.time()} {path}", False]))
        self.photo = photo
        assert "What it cost" in answer, "no answer to an upload"

    async def draw(self) -> None:
        answer = json.dumps(await self.event("on_new", [False, 0, 116, -1, -1, "any", "chance"]))
        assert answer.count("Open in Compare") == 12, "not 12 faces"

    async def choose(self) -> None:
        low = self.random.randrange(0, 60)
        asked = [[], False, "both", low, low + 40, -1, -1]
        answer = json.dumps(await self.event("on metrics", asked))
        assert "three" in answer, "no table of metrics"

    async def save(self) -> None:
        answer = json.dumps(await self.event("on looks", [None, False], {"choice": "save"}))
        found = re.search(r"data:application/json;base64,([A-Za-z0-9+/=]+)", answer)
        assert found, "nothing to save"
        told = {
            (a["model"], a["task"]): a["prediction"]
            for a in json.loads(b64decode(found[1]))["answers"]
        }
        if told != EXPECTED[self.photo.name]:
            raise AssertionError("the answer of somebody else's photo")

    async def event(self, name: str, data: list, about: dict | None = None) -> list:
        """Send a click to the server. Returns the new values of all outputs.

        `about` says what was clicked, if the page says so.
        """
        asked = {
            "data": data,
            "fn_index": self.number(name),
            "session_hash": self.session,
            "event_data": about,
            "trigger_id": 1,
        }
        joined = await self.http.post("/gradio_api/queue/join", json=asked)
        joined.raise_for_status()
        event_id, output = joined.json()["event_id"], None
        async with self.http.stream(
            "GET", f"/gradio_api/queue/data?session_hash={self.session}"
        ) as lines:
            async for line in lines.aiter_lines():
                message = (
                    json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                )
                if message.get("event_id") not in (None, event_id):
                    raise AssertionError("a message about somebody else's click")
                if message.get("msg") == "estimation":
                    self.measured.places.append(message["rank"])
                if message.get("msg") == "process_generating" and message["output"].get("data"):
                    output = output or message["output"]["data"]
                if message.get("msg") == "process_completed":
                    assert message["success"], message["output"].get("error", "failed")
                    return message["output"].get("data") or output
                if message.get("msg") == "close_stream":
                    break
        raise AssertionError("the server closed without an answer")

    def number(self, name: str) -> int:
        """The id of an event in the app's config.

        `name` is the event's API name, or "on " and the id or text of what is clicked or changed.
        """
        shown = {c["id"]: c["props"] for c in self.config["components"]}
        for event in self.config["dependencies"]:
            targets = {
                str(shown.get(i, {}).get(key))
                for i, _ in event["targets"]
                for key in ("elem_id", "value")
            }
            if event["api_name"] == name or (
                name.startswith("on ") and event["inputs"] and name[3:] in targets
            ):
                return event["id"]
        raise AssertionError(f"no event {name}")


def expected(models: Path) -> dict[str, dict[tuple[str, str], float]]:
    """The models' predictions for each photo, made in this process.

    {name of the photo: {(model, task): prediction}}.
    """
    from facemtl.faces import detect, open_image
    from facemtl.inference.predictor import Predictor

    predictor, found = Predictor.load(models), {}
    for file in PHOTOS:
        table = predictor.predict_crops([detect(open_image(file))[0].crop]).table
        found[file.name] = {(row.model, row.task): row.prediction for row in table.itertuples()}
    return found


async def play(address: str, process: int, people: int, clicks: int) -> Measured:
    measured, numbers = Measured(), itertools.count()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=address, timeout=600, limits=limits) as http:
        config = (await http.get("/config")).json()

        async def one_after_another() -> None:
            while measured.n_clicks < clicks:
                await Person(http, config, next(numbers), measured).stay(clicks)

        async def watch() -> None:
            while True:
                measured.memory.append((measured.n_clicks, _memory(process)))
                measured.n_threads = max(
                    measured.n_threads, len(os.listdir(f"/proc/{process}/task"))
                )
                await asyncio.sleep(2)

        watching = asyncio.create_task(watch())
        await asyncio.gather(*(one_after_another() for _ in range(people)))
        watching.cancel()
    return measured


def _memory(process: int) -> float:
    """The memory that a process uses, in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def report(measured: Measured, seconds: float, people: int) -> dict:
    def at(share: float) -> float:
        """The peak memory in MiB up to that share of the clicks."""
        return max(mib for n, mib in measured.memory if n <= share * measured.n_clicks)

    print(
        f"{measured.n_clicks} clicks of {people} people at once in {seconds:.0f} s,"
        f" {measured.n_clicks / seconds:.1f} a second"
    )
    print(f"{'click':<10}{'n':>6}{'median s':>10}{'95 % s':>8}{'most s':>8}")
    for name, values in measured.seconds.items():
        print(
            f"{name:<10}{len(values):>6}{np.median(values):>10.2f}"
            f"{np.quantile(values, 0.95):>8.2f}{max(values):>8.2f}"
        )
    print(
        f"told a place in the queue: {len(measured.places)} times, up to"
        f" {max(measured.places, default=0)} before them"
    )
    print(
        f"memory, MiB: {measured.memory[0][1]:.0f} at first, {at(0.5):.0f} in the first half of the"
        f" clicks, {at(1):.0f} at most"
    )
    print(f"threads at most: {measured.n_threads}")
    print(f"failed or mixed up: {sum(measured.failures.values())} {dict(measured.failures) or ''}")
    return {
        "people": people, "clicks": measured.n_clicks, "seconds": round(seconds, 1),
        "median_s": {
            n: round(float(np.median(values)), 3) for n, values in measured.seconds.items()
        },
        "q95_s": {
            n: round(float(np.quantile(values, 0.95)), 3)
            for n, values in measured.seconds.items()
        },
        "longest_queue": max(measured.places, default=0), "threads": measured.n_threads,
        "memory_mib": {
            "start": round(measured.memory[0][1]),
            "half": round(at(0.5)),
            "most": round(at(1)),
        },
        "failed": sum(measured.failures.values()),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Play many visitors of the app, and measure.")
    parser.add_argument("--people", type=int, default=50, help="at once")
    parser.add_argument("--clicks", type=int, default=2000, help="of all together")
    parser.add_argument(
        "--models", type=Path, default=ASSETS / "models", help="the folder of trained models"
    )
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    global EXPECTED
    EXPECTED = expected(options.models)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.txt")
        with running_app(options.models, log) as (address, app):
            started = time.perf_counter()
            measured = asyncio.run(play(address, app.pid, options.people, options.clicks))
            figures = report(measured, time.perf_counter() - started, options.people)
        if "Traceback" in (said := log.read_text()):
            print(said[-3000:])
            figures["failed"] += 1
    if options.json:
        write_whole(options.json, (json.dumps(figures, indent=2) + "\n").encode())
    return int(figures["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
