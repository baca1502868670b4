"""Which images a model was trained or calibrated on, as a short text in its metadata.

Each image is 8 characters: the first 48 bits of its hash in base 64. A model file grows by 150 kB
for UTKFace. One in half a million data sets of its size would be taken for known by chance.
"""

import base64
from collections.abc import Iterable

_DIGITS, _LENGTH = 12, 8  # hexadecimal digits of a hash, and characters of an image


def seen_text(hashes: Iterable[str], before: str = "") -> str:
    """The text for images, given by their SHA-256 in hex, and for those of an earlier text."""
    return "".join(sorted(_images(before) | {_short(each) for each in hashes}))


def has_seen(seen: str, hashes: Iterable[str]) -> bool:
    """Whether any of the images is among those of the text."""
    known = _images(seen)
    return any(_short(each) in known for each in hashes)


def _short(sha256: str) -> str:
    return base64.b64encode(bytes.fromhex(sha256[:_DIGITS])).decode()


def _images(seen: str) -> set[str]:
    return {seen[i : i + _LENGTH] for i in range(0, len(seen), _LENGTH)}
