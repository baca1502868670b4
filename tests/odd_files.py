"""Files that people may upload: all kinds of images, damaged images, and other files.

Unit tests, and tests of the command line and of the HTTP endpoints share the table ODD_FILES.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pillow_heif
from PIL import Image

from tests import support

pillow_heif.register_heif_opener()

GRAY = (118, 128, 138)
SIZE, PLACE = (640, 480), (180, 90, 280)  # size of the scene; its face's left, top and side
UNDO = {  # by EXIF orientation: how an upright image is turned before it is stored
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
    7: "TRANSVERSE",
    8: "ROTATE_270",
}  # fmt: skip

FACE, NO_FACE = "a face is found", "no face is found"
DAMAGED, EMPTY, LARGE = "damaged, or not an image", "is empty", r"more than \d+ million pixels"


@dataclass(frozen=True)
class OddFile:
    name: str
    make: Callable[[], bytes]
    outcome: str  # FACE, NO_FACE, or a pattern of the refusal's message

    @property
    def is_refused(self) -> bool:
        return self.outcome not in (FACE, NO_FACE)

    @property
    def content(self) -> bytes:
        return _made(self)


@cache
def _made(file: OddFile) -> bytes:
    return file.make()


def composite(i: int = 4) -> Image.Image:
    return Image.open(support.composites(7)[i]).convert("RGB")


def scene(size: tuple[int, int], *places: tuple[int, int, int], background=GRAY) -> Image.Image:
    """A canvas with a different composite at each (left, top, side)."""
    canvas = Image.new("RGB", size, background)
    for i, (left, top, side) in enumerate(places):
        canvas.paste(composite(i).resize((side, side)), (left, top))
    return canvas


def lying(upright: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """The image as a camera stores it in this orientation, and the EXIF that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return (
        upright.transpose(Image.Transpose[UNDO[orientation]]) if orientation > 1 else upright
    ), exif


def saved(image: Image.Image, form: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def _one(
    form: str, change: Callable[[Image.Image], Image.Image] = lambda image: image, **options
) -> Callable[[], bytes]:
    """A function that makes a scene with one face, changes it and saves it."""
    return lambda: saved(change(scene(SIZE, PLACE)), form, **options)


def _turned(orientation: int) -> Callable[[], bytes]:
    def make() -> bytes:
        image, exif = lying(scene(SIZE, PLACE), orientation)
        return saved(image, "JPEG", quality=90, exif=exif)

    return make


def _blank(size: tuple[int, int], form: str, mode: str = "RGB", **options) -> Callable[[], bytes]:
    return lambda: saved(Image.new(mode, size), form, **options)


def _wide() -> bytes:
    """A panorama in which the face is too small to be found."""
    return saved(scene((20_000, 900), (9_800, 300, 60)), "JPEG", quality=85)


def _half(form: str) -> Callable[[], bytes]:
    def make() -> bytes:
        content = _one(form)()
        return content[: len(content) // 2]

    return make


def _claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a large image."""
    content = _blank((9, 9), "PNG")()
    head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


def _bad_metadata() -> bytes:
    """A JPEG whose EXIF has text in place of a number, as some editors write it."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 1, 72.0  # orientation and horizontal resolution
    rational, ascii_ = struct.pack(">HH", 0x011A, 5), struct.pack(">HH", 0x011A, 2)
    return saved(scene(SIZE, PLACE), "JPEG", quality=90, exif=exif).replace(rational, ascii_)


def _text_bomb() -> bytes:
    """A PNG whose compressed comment unpacks to 200 MB."""
    content = _one("PNG")()
    chunk = b"zTXt" + b"Comment\0\0" + zlib.compress(b"a" * 200_000_000)
    return (
        content[:33]
        + struct.pack(">I", len(chunk) - 4)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + content[33:]
    )


def _deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


def _floating(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)


def _opaque(image: Image.Image) -> Image.Image:
    image.putalpha(255)
    return image


def _animated(form: str) -> Callable[[], bytes]:
    """A function that makes an animation. The face is in its first frame."""
    others = [Image.new("RGB", SIZE, colour) for colour in ("navy", "olive")]
    return _one(form, save_all=True, append_images=others, duration=100)


SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image'
    b' href="file:///etc/passwd"/></svg>'
)
POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n(/etc/passwd) (r) file 99 string"
    b" readline pop print\n"
)

ODD_FILES = [
    *(OddFile(f"orientation-{i}.jpg", _turned(i), FACE) for i in range(1, 9)),
    OddFile("progressive.jpg", _one("JPEG", progressive=True, quality=90), FACE),
    OddFile("gray.jpg", _one("JPEG", lambda image: image.convert("L"), quality=90), FACE),
    OddFile("cmyk.jpg", _one("JPEG", lambda image: image.convert("CMYK"), quality=90), FACE),
    OddFile("bad-metadata.jpg", _bad_metadata, FACE),
    OddFile("wide.jpg", _wide, NO_FACE),
    OddFile("a-png.jpg", _one("PNG"), FACE),
    OddFile("no-suffix", _one("JPEG", quality=90), FACE),
    OddFile(
        "two-photos.mpo", _one("MPO", save_all=True, append_images=[Image.new("RGB", SIZE)]), FACE
    ),
    OddFile("colour.png", _one("PNG"), FACE),
    OddFile("gray.png", _one("PNG", lambda image: image.convert("L")), FACE),
    OddFile("alpha.png", _one("PNG", _opaque), FACE),
    OddFile("gray-alpha.png", _one("PNG", lambda image: image.convert("LA")), FACE),
    OddFile("palette.png", _one("PNG", lambda image: image.quantize(128)), FACE),
    OddFile(
        "palette-transparent.png",
        _one("PNG", lambda image: image.quantize(128), transparency=0),
        FACE,
    ),
    OddFile("16-bit.png", _one("PNG", _deep), FACE),
    OddFile("16-bit.tiff", _one("TIFF", _deep), FACE),
    OddFile("float.tiff", _one("TIFF", _floating), FACE),
    OddFile("packed.tiff", _one("TIFF", compression="tiff_lzw"), FACE),
    OddFile("colour.bmp", _one("BMP"), FACE),
    OddFile("colour.gif", _one("GIF"), FACE),
    OddFile("animated.gif", _animated("GIF"), FACE),
    OddFile("colour.webp", _one("WEBP", quality=90), FACE),
    OddFile("animated.webp", _animated("WEBP"), FACE),
    OddFile("phone.heic", _one("HEIF", quality=90), FACE),
    OddFile("phone.avif", _one("AVIF", quality=90), FACE),
    OddFile("one-bit.png", _blank((64, 64), "PNG", "1"), NO_FACE),
    OddFile("one-pixel.png", _blank((1, 1), "PNG"), NO_FACE),
    OddFile("one-pixel.jpg", _blank((1, 1), "JPEG"), NO_FACE),
    OddFile("a-line.png", _blank((20_000, 1), "PNG"), NO_FACE),
    OddFile("bomb.png", lambda: _claiming(60_000, 60_000), LARGE),
    OddFile("claims-more-than-it-holds.png", lambda: _claiming(4_000, 4_000), DAMAGED),
    OddFile("large.png", _blank((5_001, 5_000), "PNG", "1"), LARGE),
    OddFile("large.gif", _blank((9_000, 9_000), "GIF", "P"), LARGE),
    OddFile("large.webp", _blank((16_000, 1_600), "WEBP", lossless=True, method=0), LARGE),
    OddFile("text-bomb.png", _text_bomb, DAMAGED),
    *(
        OddFile(f"half.{form.lower()}", _half(form), DAMAGED)
        for form in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "HEIF", "AVIF")
    ),
    OddFile("head-alone.jpg", lambda: _one("JPEG")()[:20], DAMAGED),
    OddFile("nothing.jpg", lambda: b"", EMPTY),
    OddFile("zeros.jpg", lambda: bytes(10_000), DAMAGED),
    OddFile("text.jpg", lambda: b"hello\n", DAMAGED),
    OddFile("page.jpg", lambda: b"<!doctype html><script>alert(1)</script>", DAMAGED),
    OddFile("drawing.svg", lambda: SVG, DAMAGED),
    OddFile("document.pdf", lambda: b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n", DAMAGED),
    OddFile("postscript.jpg", lambda: POSTSCRIPT, DAMAGED),
    OddFile("archive.png", lambda: b"PK\3\4" + bytes(26), DAMAGED),
]

# Unit tests read all of them. Tests of the command line and of the endpoints send those that differ
# there: what the process must know of formats beforehand, and each outcome.
SENT = [
    file
    for file in ODD_FILES
    if file.name in (
        "orientation-6.jpg", "no-suffix", "two-photos.mpo", "16-bit.tiff", "animated.webp",
        "phone.heic", "phone.avif", "wide.jpg", "one-pixel.png", "bomb.png", "text-bomb.png",
        "half.heif", "nothing.jpg", "text.jpg", "drawing.svg",
    )
]  # fmt: skip


def mutated(n: int, seed: int = 0) -> list[tuple[str, bytes]]:
    """`n` damaged small images of each format, as (name, content).

    A few bytes are overwritten, removed or inserted, or the end is cut off.
    """
    rng, found = np.random.default_rng(seed), []
    forms = {
        form: saved(composite(i).resize((96, 96)), form)
        for i, form in enumerate(("JPEG", "PNG", "WEBP", "GIF", "TIFF"))
    }
    forms["HEIF"] = saved(composite(5).resize((96, 96)), "HEIF")
    for i, form in product(range(n), forms):
        content = bytearray(forms[form])
        # Half of the damages are in the first 200 bytes, where the headers are.
        at = int(rng.integers(0, len(content) if i % 2 else min(200, len(content))))
        change, some = (
            int(rng.integers(4)),
            rng.integers(0, 256, int(rng.integers(1, 9)), dtype=np.uint8).tobytes(),
        )
        if change == 0:
            content[at : at + len(some)] = some
        elif change == 1:
            del content[at : at + len(some)]
        elif change == 2:
            content[at:at] = some
        else:
            del content[at:]
        found.append((f"{form} {i}", bytes(content)))
    return found
