"""CenterFace on ONNX Runtime: pixels -> boxes, scores and five landmarks.

Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2019. The network
is fully convolutional. For each cell of 4 x 4 pixels it gives the probability that a face has its
centre there, and that face's size, centre and landmarks.
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

if TYPE_CHECKING:
    import onnxruntime

NETWORK = ASSETS / "pretrained" / "centerface.onnx"
SHA256 = "fedf7900a732b44376df2d56977af100b04564730c5beecac1bae5038bf86fba"
_ASKED = os.environ.get("OMP_NUM_THREADS", "")
THREADS = int(_ASKED) if _ASKED.isdigit() and int(_ASKED) else min(2, os.cpu_count() or 1)
STRIDE = 4  # px a cell
MULTIPLE = 32  # px; the sides of an input are multiples of it
SAME = 0.3  # intersection over union from which on two boxes are of one face
AVERAGED = 0.5  # the same, from which on a cell's answer counts towards the average of a face


@dataclass(frozen=True)
class Detections:
    """N faces, best first, in pixels of what was searched."""

    boxes: np.ndarray  # (N, 4): left, top, right, bottom
    scores: np.ndarray  # (N,): 0 to 1
    landmarks: np.ndarray  # (N, 5, 2): left eye, right eye, nose, mouth corners, as seen; x, y

    def __len__(self) -> int:
        return len(self.scores)


def find(pixels: np.ndarray, least: float) -> Detections:
    """The faces of at least the score `least` in an RGB image, uint8 (H, W, 3)."""
    return suppress(*decode(*_run(pixels), least))


def _run(pixels: np.ndarray) -> list[np.ndarray]:
    """(H, W, 3) -> heat (h, w), log sizes (2, h, w), offsets (2, h, w), landmarks (10, h, w)."""
    below, beside = (-side % MULTIPLE for side in pixels.shape[:2])
    if below or beside:
        pixels = np.pad(pixels, ((0, below), (0, beside), (0, 0)), mode="edge")
    batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32)  # (1, 3, H, W)
    session = open_session()
    heat, *others = session.run(None, {session.get_inputs()[0].name: batch})
    return [heat[0, 0], *(each[0] for each in others)]


def decode(
    heat: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, points: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The network's outputs -> boxes (N, 4), scores (N,), landmarks (N, 5, 2) of all good cells."""
    rows, columns = np.nonzero(heat >= least)
    height, width = STRIDE * np.exp(sizes[:, rows, columns])
    down, right = offsets[:, rows, columns]
    left = (columns + right + 0.5) * STRIDE - width / 2
    top = (rows + down + 0.5) * STRIDE - height / 2
    ys, xs = points[:, rows, columns].reshape(5, 2, -1).transpose(1, 0, 2)  # (5, N) each, in boxes
    landmarks = np.stack([xs * width + left, ys * height + top], axis=-1)  # (5, N, 2)
    boxes = np.stack([left, top, left + width, top + height], axis=1)
    return boxes, heat[rows, columns], landmarks.transpose(1, 0, 2)


def suppress(boxes: np.ndarray, scores: np.ndarray, landmarks: np.ndarray) -> Detections:
    """One detection a face: the best cell's score, and an average of what the cells around say.

    The average, weighted by the squared scores, costs nothing and is steadier than the best cell
    alone: see `align`.
    """
    left = np.argsort(-scores, kind="stable")
    found = []
    while len(left):
        best, shared = left[0], overlaps(boxes[left[0]], boxes[left])
        near = left[shared >= AVERAGED]
        weights = scores[near].astype(np.float64) ** 2
        weights /= weights.sum()
        found.append(
            (weights @ boxes[near], scores[best], np.tensordot(weights, landmarks[near], axes=1))
        )
        left = left[shared < SAME]
    if not found:
        return Detections(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    return Detections(*(np.array(each, np.float64) for each in zip(*found, strict=True)))


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with each of the boxes (N, 4) -> (N,)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    shared = sides.clip(0).prod(axis=1)
    return shared / (
        (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    )


_loading = Lock()


def open_session() -> "onnxruntime.InferenceSession":
    """The network, loaded by the first call."""
    with _loading:
        return _load()


@cache
def _load() -> "onnxruntime.InferenceSession":
    import onnxruntime  # 0.15 s that only those wait for who look for faces

    remedy = "Restore it with `git checkout`, or make it anew: see facemtl/faces/convert.py."
    try:
        content = NETWORK.read_bytes()
    except OSError as error:
        raise FaceMTLError(
            f"The face detector {NETWORK} cannot be read ({error.strerror}). {remedy}"
        ) from error
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise FaceMTLError(f"The face detector {NETWORK} is damaged. {remedy}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    # Threads that wait in a loop would take processor time from the models that answer next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # the patterns of each size of photo would take 150 MiB
    options.log_severity_level = 3
    # Not of `content`, which the session would keep for as long as it lives.
    return onnxruntime.InferenceSession(NETWORK, options, providers=["CPUExecutionProvider"])
