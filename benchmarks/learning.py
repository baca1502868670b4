"""How long it takes to learn gender as well as fastai's stock pipeline does: python benchmarks/learning.py --data UTKFACE

One ResNet of ten layers, as shipped, learns it with `ImageDataLoaders` and `vision_learner` at 128 px, one with this package at
64 px, both from random weights and the same images. Told are the seconds of both, with all that a training takes, and the
accuracy on the same reported images, without their mirror images.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from facemtl.augmentation import Augmentation  # noqa: E402
from facemtl.data import VALIDATION, decode_images, default_folder, read_folder  # noqa: E402
from facemtl.models import Checkpoint  # noqa: E402
from facemtl.prediction import LoadedModel  # noqa: E402
from facemtl.tables import write_whole  # noqa: E402
from facemtl.tasks import GENDER  # noqa: E402
from facemtl.training import TrainConfig, train  # noqa: E402
from facemtl.training.stock import stock_learner  # noqa: E402

BACKBONE, BATCH_SIZE, STOCK_SIZE, STOCK_EPOCHS = "resnet10d", 64, 128, 4
RECIPE = TrainConfig(
    tasks=(GENDER.name,),
    backbone=BACKBONE,
    pretrained=False,
    stages=((64, 5),),
    batch_size=BATCH_SIZE,
    augmentation=Augmentation(rotation=7.5, scale=0.06, shift=0.06, light=0.15, gray=0.05),
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default_folder(), help="the folder of UTKFace")
    parser.add_argument("--json", type=Path, help="write what was measured to this file, too")
    args = parser.parse_args(arguments)
    images, _ = read_folder(args.data)
    found = {}
    for name, learn in (("facemtl", ours), ("fastai", stock)):
        found[name] = learn(images)
        print(name, found[name], flush=True)
    if args.json:
        write_whole(args.json, (json.dumps(found, indent=1) + "\n").encode())


def ours(images: pd.DataFrame) -> dict[str, float]:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = train(RECIPE, images, Path(folder), device="cpu")
        seconds = time.perf_counter() - started
        model = LoadedModel(*Checkpoint.load(Path(folder, f"{checkpoint.name}.json")), mirrored=False)
    reported = images[images["split"] == VALIDATION]
    crops = decode_images(reported["file"], checkpoint.image_size)
    batches = [crops[start : start + BATCH_SIZE] for start in range(0, len(crops), BATCH_SIZE)]
    answers = [model.outputs(batch)[GENDER.name].argmax(dim=1) for batch in batches]
    is_right = torch.cat(answers).numpy() == reported[GENDER.column].to_numpy()
    return _found(RECIPE.sizes, checkpoint.training["precision"], seconds, is_right)


def stock(images: pd.DataFrame) -> dict[str, float]:
    started = time.perf_counter()
    learner = stock_learner(images, BACKBONE, STOCK_SIZE, BATCH_SIZE)
    learner.fit_one_cycle(STOCK_EPOCHS)
    seconds = time.perf_counter() - started
    reported = images[images["split"] == VALIDATION]
    loader = learner.dls.test_dl([Path(file) for file in reported["file"]])
    answers = np.array(learner.dls.vocab)[learner.get_preds(dl=loader)[0].argmax(dim=1).numpy()]
    is_right = answers == reported[GENDER.column].map(GENDER.words).to_numpy()
    return _found([STOCK_SIZE] * STOCK_EPOCHS, "float32", seconds, is_right)


def _found(sizes: list[int], precision: str, seconds: float, is_right: np.ndarray) -> dict[str, float]:
    return {
        "epochs": len(sizes),
        "size": max(sizes),
        "precision": precision,
        "seconds": round(seconds, 1),
        "accuracy": round(float(is_right.mean()), 4),
    }


if __name__ == "__main__":
    main()
