"""The face detector CenterFace on ONNX Runtime: pixels -> boxes, scores and five landmarks.

Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019. The network
is fully convolutional. For each cell of 4 x 4 pixels it predicts the probability that the centre of
a face is there, and the size, centre and landmarks of this face.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FaceMTLError
from ..paths import ASSETS
from ..processes import number_of_threads
from ..regular import path_or_content, read_bytes

if TYPE_CHECKING:
    import onnxruntime

NETWORK = ASSETS / "pretrained" / "centerface.onnx"
SHA256 = "fedf7900a732b44376df2d56977af100b04564730c5beecac1bae5038bf86fba"
THREADS = number_of_threads(min(2, os.cpu_count() or 1))
STRIDE = 4  # px per cell
MULTIPLE = 32  # px; the sides of an input must be multiples of it
RARE = 300_000  # px; an input with more is not common
SUPPRESSED_IOU = 0.3  # two boxes with at least this intersection over union are of one face
AVERAGED_IOU = 0.5  # boxes that overlap so much with the best one are averaged


@dataclass(frozen=True)
class Detections:
    """N detected faces, best first, in pixels of the searched image."""

    boxes: np.ndarray  # (N, 4): left, top, right, bottom
    scores: np.ndarray  # (N,): 0 to 1
    # (N, 5, 2): left eye, right eye, nose, left and right mouth corner, as seen; x, y.
    landmarks: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def find(pixels: np.ndarray, least: float) -> Detections:
    """Detect the faces with a score of at least `least` in an RGB image, uint8 (H, W, 3)."""
    return suppress(*decode(*_run(pixels), least))


def _run(pixels: np.ndarray) -> list[np.ndarray]:
    """Run the network on pixels (H, W, 3).

    Returns heat (h, w), log sizes (2, h, w), offsets (2, h, w) and landmarks (10, h, w), where h
    and w count cells. Heat is the probability of a face.
    """
    below, beside = (-side % MULTIPLE for side in pixels.shape[:2])
    if below or beside:
        pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)  # (1, 3, H, W)
    import onnxruntime

    session, options = open_session(), onnxruntime.RunOptions()
    if pixels.shape[0] * pixels.shape[1] > RARE:
        # Otherwise the session keeps the memory of its largest run, some hundred MiB.
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    heat, *others = session.run(None, {session.get_inputs()[0].name: batch}, options)
    return [heat[0, 0], *(each[0] for each in others)]


def decode(
    heat: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, points: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode the network's outputs to boxes (N, 4), scores (N,) and landmarks (N, 5, 2).

    The N detections are the cells with a score of at least `least`.
    """
    rows, columns = np.nonzero(heat >= least)
    height, width = STRIDE * np.exp(sizes[:, rows, columns])
    down, right = offsets[:, rows, columns]
    left = (columns + right + 0.5) * STRIDE - width / 2
    top = (rows + down + 0.5) * STRIDE - height / 2
    ys, xs = points[:, rows, columns].reshape(5, 2, -1).transpose(1, 0, 2)  # (5, N), in boxes
    landmarks = np.stack([xs * width + left, ys * height + top], axis=-1)  # (5, N, 2)
    boxes = np.stack([left, top, left + width, top + height], axis=1)
    return boxes, heat[rows, columns], landmarks.transpose(1, 0, 2)


def suppress(boxes: np.ndarray, scores: np.ndarray, landmarks: np.ndarray) -> Detections:
    """Reduce the detections of many cells to one per face.

    Its score is that of the best cell. Its box and landmarks are averages over the cells whose
    boxes overlap most with the best one, weighted by squared scores. The averages take no
    noticeable time, and are more stable than the best cell alone.
    """
    left = np.argsort(-scores, kind="stable")
    found = []
    while len(left):
        best, shared = left[0], overlaps(boxes[left[0]], boxes[left])
        near = left[shared >= AVERAGED_IOU]
        weights = scores[near].astype(np.float64) ** 2
        weights /= weights.sum()
        found.append(
            (weights @ boxes[near], scores[best], np.tensordot(weights, landmarks[near], axes=1))
        )
        left = left[shared < SUPPRESSED_IOU]
    if not found:
        return Detections(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    return Detections(*(np.array(each, np.float64) for each in zip(*found, strict=True)))


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with each of the boxes (N, 4): (N,)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = sides.clip(0).prod(axis=1)
    return shared / (
        (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    )


_loading = Lock()


def open_session() -> "onnxruntime.InferenceSession":
    """The network in ONNX Runtime, loaded by the first call.

    Raises FaceMTLError if its file is missing or damaged.
    """
    with _loading:
        return _load()


@cache
def _load() -> "onnxruntime.InferenceSession":
    import onnxruntime  # takes 0.15 s, so only a detection imports it

    remedy = "Restore it with `git checkout`, or make it again with `python -m research.convert`."
    try:
        content = read_bytes(NETWORK)
    except OSError as error:
        raise FaceMTLError(
            f"The face detector {NETWORK} cannot be read ({error.strerror}). {remedy}"
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise FaceMTLError(f"The face detector {NETWORK} is damaged. {remedy}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Threads that spin while waiting would take processor time from the models that run next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # patterns of every photo size would take 150 MiB
    options.log_severity_level = 3
    source = path_or_content(NETWORK, content)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
