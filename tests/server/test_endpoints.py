"""The API of the running app: the client of Gradio, plain HTTP, and MCP."""

import ast
import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from facemtl.evaluation.validation import load_metrics
from facemtl.faces import detect, open_image
from facemtl.tasks import TASKS
from facemtl.ui.access import LONGEST_REQUEST
from tests import support
from tests.odd_files import FACE, NO_FACE, SENT, scene

PARAMETERS = {
    "predict": ["photo"],
    "sample": ["n", "seed", "age_from", "age_to", "gender", "race", "order"],
    "metrics": ["by"],
}
JSON = {"Content-Type": "application/json"}
DESCRIPTIONS = {
    "predict": "Find all faces in a photo",
    "sample": "Draw labelled faces",
    "metrics": "Accuracy and mean absolute error",
}


@pytest.fixture(scope="module")
def client(app) -> Client:
    return Client(app, verbose=False, httpx_kwargs={"timeout": 60})


@pytest.fixture(scope="module")
def http(app) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{app}/gradio_api/call", timeout=60) as client:
        yield client


@pytest.fixture
def photo(tmp_path):
    """A photo with two faces. It is so large that it is decoded at half its size."""
    file = tmp_path / "photo.jpg"
    scene((5000, 4100), (500, 900, 1500), (2800, 1200, 1800)).save(file, quality=92)
    return file


def test_the_three_endpoints_and_their_parameters_are_described(client):
    found = client.view_api(return_format="dict")["named_endpoints"]
    assert set(found) == {f"/{name}" for name in PARAMETERS}
    for name, parameters in PARAMETERS.items():
        endpoint = found[f"/{name}"]
        assert endpoint["description"].startswith(DESCRIPTIONS[name])
        assert [p["parameter_name"] for p in endpoint["parameters"]] == parameters
        assert all(p["python_type"]["type"] not in ("", "Any") for p in endpoint["parameters"])


@pytest.mark.parametrize("file", SENT, ids=lambda file: file.name)
def test_every_file_is_predicted_or_refused_in_a_sentence(client, tmp_path, file):
    (tmp_path / file.name).write_bytes(file.content)
    if file.is_refused:
        with pytest.raises(AppError, match=file.outcome) as refusal:
            client.predict(handle_file(tmp_path / file.name), api_name="/predict")
        said = str(refusal.value)
        assert "/" not in said and "Traceback" not in said and "\n" not in said
    else:
        faces = client.predict(handle_file(tmp_path / file.name), api_name="/predict")["faces"]
        assert {FACE: len(faces) == 1, NO_FACE: faces == []}[file.outcome]


def test_each_face_has_its_box_and_the_predictions_for_its_crop(client, photo, predictor):
    answer = client.predict(handle_file(photo), api_name="/predict")
    assert "perceived" in answer["note"]
    faces = detect(open_image(photo))
    assert len(answer["faces"]) == len(faces) == 2
    for told, face in zip(answer["faces"], faces, strict=True):
        assert told["box"] == [2 * v for v in face.box]
        predictions = predictor.predict_crops([face.crop])
        assert len(told["answers"]) == len(predictions.table)
        for row in predictions.table.itertuples():
            (said,) = [
                a for a in told["answers"] if (a["model"], a["task"]) == (row.model, row.task)
            ]
            assert (said["prediction"], said["confidence"]) == (
                row.prediction,
                row.confidence,
            )  # to the last digit
            shares = predictions.probabilities.query("model == @row.model and task == @row.task")[
                "probability"
            ]
            assert list(said["probabilities"].values()) == [float(p) for p in shares]


def test_the_same_seed_draws_the_same_labelled_faces(client):
    first, again, other = (client.predict(n=5, seed=seed, api_name="/sample") for seed in (7, 7, 8))
    assert first == again and first["faces"] != other["faces"]
    assert first["seed"] == 7 and len(first["faces"]) == 5
    for face in first["faces"]:
        assert set(face["labels"]) == {task.name for task in TASKS}
        assert face["picture"].startswith("data:image/jpeg;base64,")
        assert {a["approach"] for a in face["answers"]} == {"single", "multi"}


def test_a_sample_can_be_filtered_and_ordered(client):
    found = client.predict(
        n=24,
        seed=1,
        age_from=20,
        age_to=60,
        gender="female",
        race="Asian",
        order="hardest",
        api_name="/sample",
    )
    assert found["faces"] and found["total"] >= len(found["faces"])
    errors = []
    for face in found["faces"]:
        assert 20 <= face["labels"]["age"] <= 60 and (
            face["labels"]["gender"],
            face["labels"]["race"],
        ) == (1, 2)
        ages = [a["prediction"] for a in face["answers"] if a["task"] == "age"]
        errors.append(sum(abs(age - face["labels"]["age"]) for age in ages))
    assert len(errors) > 1 and errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"n": 0}, "n must be"), ({"n": 25}, "n must be"), ({"n": "many"}, "n must be"),
        ({"n": None}, "n must be"), ({"n": True}, "n must be"),
        ({"seed": -1}, "seed must be"), ({"seed": 10**9}, "seed must be"),
        ({"seed": 1.5}, "seed must be"),
        ({"age_from": 40, "age_to": 30}, "40 is above 30"), ({"age_to": 200}, "age_to must be"),
        ({"gender": "all"}, "gender cannot be 'all'. Choose one of any, male"),
        ({"race": ["White"]}, "Choose one of any"),
        ({"order": "best"}, "Choose one of chance"), ({"order": {}}, "Choose one of chance"),
    ],
)  # fmt: skip
def test_invalid_arguments_of_sample_are_refused_in_a_sentence(client, asked, said):
    with pytest.raises(AppError, match=said) as refusal:
        client.predict(**asked, api_name="/sample")
    assert "\n" not in str(refusal.value)


def test_metrics_are_the_measured_ones(client):
    table = load_metrics(support.ROOT / "assets" / "validation")
    groupings = list(table["by"].unique())
    assert set(groupings) == {"all", "gender", "race", "gender x race", "age_group"}
    for by in groupings:
        told = client.predict(by=by, api_name="/metrics")
        rows = table[table["by"] == by]
        assert [row["single"] for row in told] == list(rows["single"]) and [
            row["n"] for row in told
        ] == list(rows["n"])
    with pytest.raises(AppError, match="Choose one of all"):
        client.predict(by="nobody", api_name="/metrics")


def test_mcp_offers_the_same_endpoints_and_gives_the_same_answers(app, client):
    file = support.composites(3)[1]
    photo = f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"

    async def ask() -> tuple[list, dict, dict]:
        async with (
            streamable_http_client(f"{app}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name.split("_")[-1]: tool for tool in (await session.list_tools()).tools}
            asked = (("sample", {"n": 2, "seed": 7}), ("predict", {"photo": photo}))
            answers = [
                (await session.call_tool(tools[name].name, given)).content[0].text
                for name, given in asked
            ]
            return list(tools.values()), *map(ast.literal_eval, answers)

    tools, sampled, predicted = support.finished(ask())
    assert {tool.name.split("_")[-1] for tool in tools} == set(PARAMETERS) and len(tools) == 3
    for tool in tools:
        name = tool.name.split("_")[-1]
        described = tool.inputSchema["properties"]
        assert tool.description.startswith(DESCRIPTIONS[name])
        assert list(described) == PARAMETERS[name]
        assert all(parameter["description"] for parameter in described.values())
        for parameter in described.values():  # gradio leaves out defaults such as 0
            assert (
                "default" in parameter
                or "by default 0" in parameter["description"]
                or (name == "predict")
            )
    assert sampled == client.predict(n=2, seed=7, api_name="/sample")
    assert predicted == client.predict(handle_file(file), api_name="/predict")


def test_the_documented_program_works(app, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(
        r"```python\n(.*?)```", (support.ROOT / "docs/programs.md").read_text("utf-8"), re.DOTALL
    )
    scene((640, 480), (180, 90, 280)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    exec(code.replace("http://127.0.0.1:7860", app), {})
    said = capsys.readouterr().out
    assert "('age', 'multi', '" in said and "'group': 'female'" in said


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_documented_calls_with_curl_work(app, tmp_path):
    text = (support.ROOT / "docs/programs.md").read_text("utf-8")
    (code,) = re.findall(r"```sh\n(APP=.*?)```", text, re.DOTALL)
    scene((640, 480), (180, 90, 280)).save(tmp_path / "photo.jpg")
    done = subprocess.run(
        ["bash", "-c", code.replace("http://127.0.0.1:7860", app)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.count("event: complete") == 3, done
    for told in ('"task": "gender"', '"picture": "data:image/jpeg;base64,', '"box": ['):
        assert told in done.stdout


def answer(http: httpx.Client, name: str, body: object) -> str:
    """What an endpoint says to a call over plain HTTP."""
    asked = http.post(f"/{name}", content=json.dumps(body), headers=JSON)
    if asked.status_code != HTTPStatus.OK:
        assert asked.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        return f"event: error\ndata: {asked.text}"
    return http.get(f"/{name.removeprefix('v2/')}/{asked.json()['event_id']}").text


def test_a_photo_is_taken_as_a_data_url(http, client):
    file = support.composites(3)[1]
    url = f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"
    wrapped = url[:100] + "\n" * LONGEST_REQUEST + url[100:]  # `base64` writes a few of them
    expected = client.predict(handle_file(file), api_name="/predict")
    forms = [
        ("predict", {"data": [photo]}) for photo in (url, wrapped, {"url": url}, {"path": url})
    ]
    for name, body in (*forms, ("v2/predict", {"photo": url})):
        said = answer(http, name, body)
        assert said.startswith("event: complete"), said
        assert json.loads(said.partition("data: ")[2]) == [expected]


PATH = {"path": "/etc/passwd"}
FILE = {"meta": {"_type": "gradio.FileData"}}
ANY = ["any", "any", "chance"]
NESTED: list = []
for _ in range(200):
    NESTED = [NESTED]
ODD = [
    *(None, True, 1, 1.5, float("nan"), float("inf"), 10**400, "x", "\0", "x" * 10**5, "\ud800"),
    *(
        [],
        [[]],
        {},
        NESTED,
        {"a": NESTED},
        PATH,
        PATH | FILE,
        {"path": 1},
        {"path": "x", "meta": 3},
    ),
]
PHOTOS = [
    "data:", "data:,", "data:text/plain,hello", "data:image/jpeg;base64,",
    "data:image/png;base64,@", "data:image/jpeg;base64,AAAA", {"url": "data:x"}, "http://127.0.0.1:1/a.jpg",
    {"url": "http://127.0.0.1:1/a.jpg"}, {"path": "http://127.0.0.1:1/a.jpg", **FILE},
]  # fmt: skip
MALFORMED = [
    *(("predict", {"data": [value]}) for value in (*ODD, *PHOTOS)),
    *(("sample", {"data": [value, 1, 0, 116, *ANY]}) for value in ODD if value != 1),
    *(("sample", {"data": [1, 1, 0, 116, "any", "any", value]}) for value in ODD),
    *(("metrics", {"data": [value]}) for value in ODD),
    *((name, {"data": values}) for name in PARAMETERS for values in ([], [1] * 9, "x", None, {})),
    *((name, body) for name in PARAMETERS for body in (None, [], {}, "x", {"data": [], "x": 1})),
    *(("v2/" + name, body) for name in PARAMETERS for body in (None, [], {"x": 1}, "x")),
    *(("v2/predict", {}), ("v2/sample", {"n": "x"}), ("v2/metrics", {"by": None})),
]


def test_a_call_with_wrong_values_is_refused_in_a_sentence(http):
    """The fixture `app` sees to it that the log of the server has no traceback."""
    for name, body in MALFORMED:
        kind, _, data = answer(http, name, body).partition("\ndata: ")
        said = json.loads(data)
        told = said.get("error") or said.get("detail")
        assert kind == "event: error", (name, body, data[:200])
        assert isinstance(told, str) and told.endswith("."), (name, body, said)
        assert len(told) < 200 and "Traceback" not in told and str(support.ROOT) not in told
