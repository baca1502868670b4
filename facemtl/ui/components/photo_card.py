"""The card of a photo: the photo with a box on each face, the crop, and what is poor about it."""

from ...faces import overlap, weaknesses
from ...inference.predictor import Predictor
from ..photo import SHOWN_SIDE, PhotoView
from . import cards
from .markup import html, joined

FAR_OFF = 0.3  # lowest intersection over union of a corrected crop and the detected one
CORRECT = "Correct the crop."
# What to do about a poor crop, by the first words of its weakness.
ADVICE = {
    "small": "Try a photo in which the face is larger.",
    "blurred": "Try a sharper photo.",
    "dark": "Try a photo in better light.",
    "too bright": "Try a photo in softer light.",
    "turned": "Try a photo from the front.",
    "tilted": "Try a photo from the front.",
    "perhaps stretched": "Try the photo in its original proportions.",
    "perhaps covered": "Try a photo that shows the whole face.",
    "perhaps a negative": "Try a photo that is not inverted.",
}


def photo_card(predictor: Predictor, view: PhotoView) -> str:
    """The photo with a button on each face, and the exact crop that the models see."""
    if view.face is None:
        if view.photo is None:  # a blank of the final size, so that nothing moves later
            blank = html('<div class="blank"></div>')
            return html(
                '<section class="card looked-at"><div class="photo">{}</div><div '
                'class="seen">{}</div></section>',
                blank,
                blank,
            )
        photo = cards.picture(view.photo, "Your photo", SHOWN_SIDE)
        return html('<section class="card"><div class="photo">{}</div></section>', photo)
    size = max(m.info.size for m in predictor.models)
    text = html("<b>What the models see</b><br>this crop, at {} × {} px", size, size)
    if not view.is_whole:
        text += html("<br>drag its box to correct it, draw a box to add a face")
    if len(view.faces) > 1:
        text += html("<br>face {} of {}, largest first", view.chosen + 1, len(view.faces))
    photo = cards.picture(view.photo, "The face", SHOWN_SIDE) if view.is_whole else _boxes(view)
    crop = cards.picture(view.face.crop, "The crop that the models see", size=2 * size)
    warning = ""
    if weak := poor(view):
        tried = dict.fromkeys(
            next((advice for cause, advice in ADVICE.items() if each.startswith(cause)), CORRECT)
            for each in weak
        )
        warning = html(
            '<p class="poor" role="status"><b>A poor crop: {}.</b> Answers may be far off. {}</p>',
            ", ".join(weak),
            " ".join(tried),
        )
    caption, link = view.caption, f"?face={view.image}"
    if view.image:
        caption += html(' <a class="address" href="{}">Link to this face</a>', link)
    body = html('<div class="photo">{}</div><p class="note caption">{}</p>', photo, caption)
    body += html('<div class="seen">{}<p>{}</p></div>{}', crop, text, warning)
    return html(
        '<section class="card looked-at{}">{}</section>',
        " several" if len(view.faces) > 1 else "",
        body,
    )


def poor(view: PhotoView) -> list[str]:
    """Why the crop of an uploaded photo is poor, in words. An empty list if it is not poor."""
    if view.image:
        return []
    found, face = view.found[view.chosen].box, view.face
    is_empty = face.score is None and face.landmarks is None
    return [
        *(["no face was found in it"] if is_empty else []),
        *(
            ["far from the face that was found"]
            if not view.centre and overlap(view.face.box, found) < FAR_OFF
            else []
        ),
        *weaknesses(view.face),
    ]


def _boxes(view: PhotoView) -> str:
    """The photo with a button over each face. `data-at` holds the argument `at` of `place`."""
    height, width = view.photo.shape[:2]
    buttons = []
    for i, face in enumerate(view.faces):
        left, top, right, bottom = (v * view.scale for v in face.box)
        at = f"{left / width:.5f} {top / height:.5f} {(right - left) / width:.5f}"
        # The square is turned about its centre, even if the photo's edge cuts off a part of it.
        x, y = (left + right) / 2, (top + bottom) / 2
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        style = (
            f"left:{100 * left / width:.2f}%;top:{100 * top / height:.2f}%;"
            f"width:{100 * (right - left) / width:.2f}%;"
            f"height:{100 * (bottom - top) / height:.2f}%;"
            f"transform:rotate({face.angle:.1f}deg);"
            f"transform-origin:{100 * (x - left) / (right - left):.1f}% "
            f"{100 * (y - top) / (bottom - top):.1f}%"
        )
        number = html('<span aria-hidden="true">{}</span>', i + 1) if len(view.faces) > 1 else ""
        buttons.append(
            html(
                '<button type="button" class="box" data-choice="{i}" data-at="{at}" '
                'style="{style}" aria-label="Face {}" aria-pressed="{}">{number}<i '
                'class="handle"></i></button>',
                i + 1,
                str(i == view.chosen).lower(),
                i=i,
                at=at,
                style=style,
                number=number,
            )
        )
    return cards.picture(view.photo, "Your photo", SHOWN_SIDE) + joined(buttons)
