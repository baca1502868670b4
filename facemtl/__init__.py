"""Three single-task models and one multi-task model look at the same face.

The modules, in reading order; each imports only from those above it:

    errors        FaceMTLError, whose message is meant for the user
    places        where the shipped files lie, in a checkout and once installed
    tables        CSV files that are written whole, and whose damage is said in plain words
    tasks         Classification and Regression: all that differs between gender, race and age
    own_faces     a CSV file of one's own faces -> paths and labels
    data          UTKFace: download, file names -> DataFrame, copies, split, decoded images; the same for one's own faces
    description   what is in UTKFace, as counts that may be passed on
    models        FaceModel: one backbone, one head per task; Checkpoint: its weights on disk
    inference     a trained model -> one that gives the same answers sooner
    losses        several task losses -> one, in three ways
    detection     an image -> the faces in it, each with the crop that the models see
    prediction    Predictor: faces -> the predictions table that everything else reads
    batch         many images -> CSV and JSON, in runs that go on after a kill and can be shared out
    evaluation    predictions -> metric tables with bootstrap intervals
    composites    what the models say of the composites, saved
    runs          what short trainings came to: seeds, weightings, recipes
    robustness    what is left of the metrics where a crop is shifted, turned, blurred ...
    explanation   where covering a face changes the answer; how steady the answer is
    label_noise   what the models say of the labels
    cost          what an answer costs: parameters, multiply-adds, milliseconds
    speed         what was measured of speed -> words and tables
    report        measured tables -> the tables of README and model card
    plots         tables -> plotly figures
    augmentation  a batch of images -> the same, each changed in its own way
    training      TrainConfig -> Checkpoint, with fastai
    experiments   short trainings of one budget: seeds, learning rates, weightings, recipes
    bench         how long things take on this machine
    ui            the Gradio app, one file per tab
    serve         the app at an address
    cli           python -m facemtl download | train | evaluate | predict | app ...
"""

import gc
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

__version__ = "0.1.0"


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python look for no garbage meanwhile, where all that is made stays, as modules do: again and again, it finds none."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _declare_missing_operators() -> "torch.library.Library | None":
    """Let torchvision be imported beside a torch build that its compiled operators do not match.

    torchvision's Linux wheels are compiled against a CUDA build of torch. Beside a CPU build the
    extension does not load, so `torchvision::nms` and `::qnms` stay undeclared and `import
    torchvision` fails where it registers their fake kernels. Declaring the two is enough: the
    models and transforms, all that we use, call no compiled operator. Where the extension loads,
    as it does with matching builds, it declares them itself and nothing is done here.
    """
    spec = importlib.util.find_spec("torchvision")
    if sys.platform != "linux" or spec is None or spec.origin is None:
        return None
    try:
        torch.ops.load_library(str(Path(spec.origin).with_name("_C.so")))
        return None
    except OSError:
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library


def _import_torchvision() -> None:
    """Import torchvision without torch's compiler, which would take longer than all else together.

    torchvision asks the compiler's package for one function, with which it pools the features of detection models. We have
    none, so a stand-in serves while torchvision is imported; who pools such features later gets the real function's answer.
    """
    names = ["torch._dynamo", "torch._dynamo.utils"]
    if any(name in sys.modules for name in names):
        return

    def is_compile_supported(device_type: str) -> bool:
        from torch._dynamo.utils import is_compile_supported

        return is_compile_supported(device_type)

    package, utils = map(ModuleType, names)
    package.__path__, utils.is_compile_supported = [], is_compile_supported
    sys.modules.update(zip(names, (package, utils), strict=True))
    try:
        import torchvision  # noqa: F401
    except (ImportError, AttributeError):  # a version that asks for more: let it have the real one
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
    finally:
        for name in names:
            sys.modules.pop(name, None)


with uncollected():
    import torch

    _torchvision_operators = _declare_missing_operators()  # they live as long as this object
    _import_torchvision()
