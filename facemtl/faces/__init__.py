"""Face detection: the faces in an image, each turned upright and framed as in UTKFace.

>>> from facemtl.faces import detect, open_image
>>> detect(open_image("photo.jpg"))[0].crop.shape  # doctest: +SKIP
(436, 436, 3)
"""

from .align import LARGEST_CROP, Square, cut
from .crops import DETECTOR, as_record, detect, face_at, overlap, prepare, whole
from .face import Face
from .photo import DECODED_SIDE, MOST_MEGAPIXELS, PIXEL_SIZE, ImageLike, as_image, open_image
from .quality import weaknesses

__all__ = [
    "DECODED_SIDE", "DETECTOR", "LARGEST_CROP", "MOST_MEGAPIXELS", "PIXEL_SIZE", "Face",
    "ImageLike", "Square", "as_image",
    "as_record", "cut", "detect", "face_at", "open_image", "overlap", "prepare", "weaknesses",
    "whole",
]  # fmt: skip
