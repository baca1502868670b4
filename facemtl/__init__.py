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
    losses        several task losses -> one, in three ways
    detection     an image -> the faces in it, each with the crop that the models see
    prediction    Predictor: faces -> the predictions table that everything else reads
    batch         many images -> CSV and JSON, in runs that go on after a kill and can be shared out
    evaluation    predictions -> metric tables with bootstrap intervals
    runs          what short trainings came to: seeds, weightings, recipes
    robustness    what is left of the metrics where a crop is shifted, turned, blurred ...
    explanation   where covering a face changes the answer; how steady the answer is
    label_noise   what the models say of the labels
    cost          what an answer costs: parameters, multiply-adds, milliseconds
    report        measured tables -> the tables of README and model card
    plots         tables -> plotly figures
    augmentation  a batch of images -> the same, each changed in its own way
    training      TrainConfig -> Checkpoint, with fastai
    experiments   short trainings of one budget: seeds, learning rates, weightings, recipes
    ui            the Gradio app, one file per tab
    serve         the app at an address
    cli           python -m facemtl download | train | evaluate | predict | app ...
"""

import importlib.util
import sys
from pathlib import Path

import torch

__version__ = "0.1.0"


def _declare_missing_operators() -> torch.library.Library | None:
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


_torchvision_operators = _declare_missing_operators()  # they live as long as this object
