"""Model files: stored content, outputs equal to torch, and refused files."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from facemtl.errors import FaceMTLError
from facemtl.inference.predictor import INPUT, LoadedModel, Predictor
from facemtl.models import FACE_RESNET
from facemtl.models.face_model import FaceModel
from facemtl.models.model_file import ModelInfo, load_model, load_weights, rewrite_info, write_model
from facemtl.tasks import AGE, GENDER, RACE, TASKS
from tests import support

pytestmark = pytest.mark.usefixtures("small_backbone")
SIZE = 48
IMAGES = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
INFO = ModelInfo(
    "subject", TASKS, "small", SIZE,
    calibration={"age": {"temperature": 1.2345, "margin": -0.5}, "race": {"temperature": 0.8}},
    training={"lr": 0.0004, "tasks": ["gender", "race", "age"],
        "augmentation": {"rotation": 12.0}, "images": 17_000},
    seen="AAECAwQF",
)  # fmt: skip


def trained(tasks=TASKS, backbone: str = "small", size: int = SIZE, **options) -> FaceModel:
    """A model with normalisation statistics from data, as after training: initial statistics would
    hide errors.
    """
    torch.manual_seed(1)
    model = FaceModel(tasks, backbone, **options)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.rand(8, 3, size, size))
    return model.eval()


def logits_of(model: FaceModel, images: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: out.numpy() for name, out in model(images).items()}


def from_runtime(file: Path, images: torch.Tensor) -> dict[str, np.ndarray]:
    return replace(LoadedModel.load(file), mirrored=False).logits(images.numpy())


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return trained()


@pytest.fixture(scope="module")
def written(model, tmp_path_factory) -> Path:
    """The file of `model`. Copy it before changing it."""
    file = tmp_path_factory.mktemp("written") / "subject.onnx"
    write_model(file, model, INFO)
    return file


@pytest.fixture
def file(written, tmp_path) -> Path:
    (tmp_path / "subject.onnx").write_bytes(written.read_bytes())
    return tmp_path / "subject.onnx"


# ----------------------------------------------------------------------------------- stored content


def test_the_model_description_is_read_back(written, model):
    info = LoadedModel.load(written).info
    assert replace(info, weights="", parameters=0) == INFO
    assert info.tasks == TASKS and len(info.weights) == 32
    assert info.parameters == sum(p.numel() for p in model.parameters())
    assert [f.name for f in written.parent.iterdir()] == [written.name]  # and no partial file


def test_weights_are_stored_as_float16_and_computed_in_float32(written, model):
    graph = onnx.load(written).graph
    stored = {
        each.name: each.data_type
        for each in graph.initializer
        if each.name.startswith(("backbone.", "heads."))
    }
    assert set(stored) == {
        name for name in model.state_dict() if not name.endswith("num_batches_tracked")
    }
    assert set(stored.values()) == {onnx.TensorProto.FLOAT16}
    casts = {node.input[0]: node for node in graph.node if node.op_type == "Cast"}
    for name in stored:
        assert casts[name].attribute[0].i == onnx.TensorProto.FLOAT
        assert [node.op_type for node in graph.node if name in node.input] == [
            "Cast"
        ]  # no other node uses it
    for value in (*graph.input, *graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert (
        len(written.read_bytes()) < 2 * sum(v.numel() for v in model.state_dict().values()) + 50_000
    )


def test_files_do_not_contain_local_paths(written):
    content = written.read_bytes()
    assert str(support.ROOT).encode() not in content and b"site-packages" not in content


def test_a_model_of_one_task_gives_the_outputs_of_torch(tmp_path):
    model = trained((AGE,))
    write_model(tmp_path / "subject.onnx", model, replace(INFO, tasks=(AGE,)))
    found, expected = from_runtime(tmp_path / "subject.onnx", IMAGES), logits_of(model, IMAGES)
    assert list(found) == [AGE.name]
    found, expected = (AGE.probabilities(logits[AGE.name]) for logits in (found, expected))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_file_can_be_loaded_into_torch_with_float16_precision(written, model):
    again = load_model(written, LoadedModel.load(written).info)
    assert not again.training
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(again.state_dict()[name], value.half().float()), name
    found, expected = logits_of(again, IMAGES), logits_of(model, IMAGES)
    for name, values in from_runtime(written, IMAGES).items():
        np.testing.assert_allclose(found[name], values, atol=1e-4)  # the same weights
        np.testing.assert_allclose(
            found[name], expected[name], atol=5e-3 * expected[name].std()
        )  # float16's rounding


def test_loading_into_torch_and_writing_gives_the_same_file(written, tmp_path):
    """Writing is deterministic, and does not change the model."""
    again = load_model(written, LoadedModel.load(written).info)
    before = {name: value.clone() for name, value in again.state_dict().items()}
    write_model(tmp_path / "subject.onnx", again, INFO)
    assert all(torch.equal(value, before[name]) for name, value in again.state_dict().items())
    assert (tmp_path / "subject.onnx").read_bytes() == written.read_bytes()


def test_values_beyond_float16_stay_finite(tmp_path):
    model = trained((AGE,))
    model.heads["age"][0].running_var[0] = 1e6
    write_model(tmp_path / "subject.onnx", model, replace(INFO, tasks=(AGE,)))
    assert all(
        torch.isfinite(value).all() for value in load_weights(tmp_path / "subject.onnx").values()
    )
    assert np.isfinite(from_runtime(tmp_path / "subject.onnx", IMAGES)["age"]).all()


def test_the_shipped_backbone_gives_a_small_valid_file(tmp_path):
    """The full path of a model: pretrained weights, inserted normalisations, folding, and a small
    file.
    """
    model = trained((GENDER,), FACE_RESNET, size=150, pretrained=True)
    assert model.insert_norms()
    model.calibrate_norms(torch.rand(8, 3, 150, 150))
    write_model(tmp_path / "gender.onnx", model, ModelInfo("gender", (GENDER,), FACE_RESNET, 150))
    assert (tmp_path / "gender.onnx").stat().st_size < 12e6
    images = torch.rand(2, 3, 150, 150)
    expected = logits_of(model.eval(), images)["gender"]
    again = load_model(tmp_path / "gender.onnx", LoadedModel.load(tmp_path / "gender.onnx").info)
    np.testing.assert_allclose(
        from_runtime(tmp_path / "gender.onnx", images)["gender"], expected, atol=0.02
    )
    np.testing.assert_allclose(logits_of(again, images)["gender"], expected, atol=0.02)


@pytest.mark.parametrize("loaded", [*(t.name for t in TASKS), "multitask"])
def test_shipped_files_are_small_and_can_be_trained_on(loaded, predictor):
    (found,) = (each for each in predictor.models if each.name == loaded)
    file = support.ROOT / "assets" / "models" / f"{loaded}.onnx"
    assert file.stat().st_size < 12e6
    model = load_model(file, found.info)
    assert model.n_parameters == found.info.parameters
    images = torch.rand(
        2, 3, found.info.size, found.info.size, generator=torch.Generator().manual_seed(0)
    )
    expected = replace(found, mirrored=False).logits(images.numpy())
    for name, values in logits_of(model, images).items():
        np.testing.assert_allclose(
            values, expected[name], atol=1e-3 * max(1, np.abs(expected[name]).max())
        )


# ----------------------------------------------------------------------------------- other metadata


def test_new_metadata_do_not_change_the_graph(file):
    before = LoadedModel.load(file)
    changed = replace(before.info, calibration={"age": {"temperature": 2.0}}, seen="")
    rewrite_info(file, changed)
    after = LoadedModel.load(file)
    assert after.info == changed and after.info.weights == before.info.weights
    found, expected = (
        from_runtime(file, IMAGES),
        replace(before, mirrored=False).logits(IMAGES.numpy()),
    )
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_fingerprint_depends_on_weights_and_calibration(written, tmp_path):
    info = LoadedModel.load(written).info
    same = (replace(info, seen=""), replace(info, training={}))
    other = (
        replace(info, calibration={}),
        replace(info, calibration={"age": {"temperature": 1.2346}}),
        replace(info, weights="0"),
    )
    assert {each.fingerprint for each in same} == {info.fingerprint}
    assert len({each.fingerprint for each in (info, *other)}) == 4 and len(info.fingerprint) == 16
    torch.manual_seed(9)
    write_model(tmp_path / "subject.onnx", FaceModel(TASKS, "small").eval(), INFO)
    assert LoadedModel.load(tmp_path / "subject.onnx").info.weights != info.weights


# ------------------------------------------------------------------------------------ damaged files


def assert_refused(file: Path, words: str = "") -> None:
    """Inference and training refuse the file in one sentence that names it."""
    for read in (LoadedModel.load, load_weights):
        with pytest.raises(FaceMTLError, match=rf"subject\.onnx.*{words}") as error:
            read(file)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    assert_refused(file)


def test_a_flipped_bit_anywhere_is_refused(file):
    content = file.read_bytes()
    for place in np.linspace(0, len(content) - 1, 60).astype(int):
        damaged = bytearray(content)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        assert_refused(file)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"1.2345", b"1.2344"),
        (b"AAECAwQF", b"AAECAwQG"),
        (b'"margin": -0.5', b'"margin": +0.5'),
        (b"subject", b"subj3ct"),
    ],
    ids=["temperature", "seen image", "margin", "name"],
)
def test_a_changed_digit_in_the_metadata_is_refused(file, before, after):
    content = file.read_bytes()
    assert content.count(before) == 1
    file.write_bytes(content.replace(before, after))
    assert_refused(file, "damaged")


def test_bytes_that_are_added_are_refused(file):
    file.write_bytes(file.read_bytes() + b"\0")
    assert_refused(file)


def test_a_missing_file_is_reported(tmp_path):
    for read in (LoadedModel.load, load_weights):
        with pytest.raises(FaceMTLError, match=r"cannot be read.*subject\.onnx"):
            read(tmp_path / "subject.onnx")


@pytest.mark.parametrize(
    "content",
    [b"hello", b"\x80\x02}q\x00.", b"\0" * 1000, b"{}"],
    ids=["text", "pickle", "zeros", "json"],
)
def test_a_file_that_is_not_a_model_is_refused(content, tmp_path):
    (tmp_path / "subject.onnx").write_bytes(content)
    assert_refused(tmp_path / "subject.onnx")


def test_a_foreign_onnx_model_is_refused(file):
    proto = onnx.load(file)
    del proto.metadata_props[:]
    onnx.save(proto, file)
    assert_refused(file, "not a model of facemtl")


def test_a_file_with_the_wrong_model_name_is_refused(file):
    file.rename(file.with_name("age.onnx"))
    with pytest.raises(FaceMTLError, match=r"age\.onnx holds the model subject"):
        Predictor.load(file.parent)


def rewrite_metadata(file: Path, **changes) -> None:
    """Change the metadata and compute a new hash, as another version of facemtl would. The value
    ... removes a field.
    """
    proto = onnx.load(file)
    props = {each.key: each for each in proto.metadata_props}
    fields = json.loads(props["facemtl"].value) | changes
    props["facemtl"].value = json.dumps({k: v for k, v in fields.items() if v is not ...})
    write_hashed(file, proto)


def write_hashed(file: Path, proto: onnx.ModelProto) -> None:
    props = {each.key: each for each in proto.metadata_props}
    props["sha256"].value = "0" * 64
    content = proto.SerializeToString(deterministic=True)
    file.write_bytes(content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode(), 1))


def test_the_hash_is_computed_with_zeros_in_its_place(file):
    content = file.read_bytes()
    rewrite_metadata(file)
    assert file.read_bytes() == content


OUTPUTS = {task.name: [str(each) for each in task.bins] for task in TASKS}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": ...}, "another version"),
        ({"outputs": ...}, "another version"),
        ({"colour": "blue"}, "another version"),
        ({"outputs": ["gender"]}, "another version"),
        ({"outputs": {}}, "another version"),
        ({"outputs": OUTPUTS | {"glasses": ["no", "yes"]}}, "another version .*glasses"),
        (
            {"outputs": OUTPUTS | {"gender": ["female", "male"]}},
            "answers gender with female, male; expected male, female",
        ),
        (
            {"outputs": OUTPUTS | {"race": list(RACE.labels[:4])}},
            "answers race with White, Black, Asian, Indian; expected",
        ),
        ({"outputs": OUTPUTS | {"age": OUTPUTS["age"][:100]}}, "answers age with 0, 1, "),
        ({"size": 0}, "its size is 0"),
        ({"size": "48"}, "its size is 48"),
        ({"calibration": {"age": {"temperature": 0}}}, "its temperature for age is 0"),
        ({"calibration": {"age": {"margin": float("nan")}}}, "its margin for age is nan"),
        ({"calibration": {"age": {"margin": 1e308}}}, "its margin for age is 1e"),
        ({"calibration": {"age": {"temperature": 1e-300}}}, "its temperature for age is 1e-300"),
        ({"calibration": [1]}, "another version"),
        ({"seen": 5}, "a text is something else"),
        ({"weights": []}, "a text is something else"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_with_other_fields_tasks_or_labels_is_refused_with_a_message(file, changes, words):
    rewrite_metadata(file, **changes)
    assert_refused(file, words)


def test_metadata_of_lists_in_lists_in_lists_are_refused(file):
    proto = onnx.load(file)
    (info,) = (each for each in proto.metadata_props if each.key == "facemtl")
    info.value = "[" * 100_000
    write_hashed(file, proto)
    assert_refused(file, "another version")


def test_a_model_whose_outputs_have_another_size_is_refused(tmp_path):
    file = support.write_model(tmp_path, [replace(RACE, labels=RACE.labels[:4])], "subject")
    rewrite_metadata(file, outputs={"race": OUTPUTS["race"]})
    with pytest.raises(FaceMTLError, match=r"subject\.onnx cannot be used: its answers"):
        LoadedModel.load(file)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_written(value, tmp_path):
    model = trained((AGE,))
    with torch.no_grad():
        next(model.heads.parameters())[0] = value
    with pytest.raises(FaceMTLError, match=r"diverged.*--lr"):
        write_model(tmp_path / "subject.onnx", model, replace(INFO, tasks=(AGE,)))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_file_with_weights_that_are_not_finite_is_refused(value, file):
    """Its hash is right."""
    proto = onnx.load(file)
    weight = next(each for each in proto.graph.initializer if each.name.startswith("heads.age."))
    values = np.full(weight.dims, value, np.float16)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    write_hashed(file, proto)
    assert_refused(file, "finite")


def test_the_graph_matches_the_metadata(written):
    """The graph's input and outputs have the names and shapes of the tasks."""
    session = LoadedModel.load(written).session
    assert [(each.name, each.shape[1:]) for each in session.get_inputs()] == [
        (INPUT, [3, SIZE, SIZE])
    ]
    assert [(each.name, each.shape[1]) for each in session.get_outputs()] == [
        (t.name, t.n_outputs) for t in TASKS
    ]
