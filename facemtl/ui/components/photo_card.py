"""The card of a photo: the photo with a box on each face, the crop, and what is poor about it."""

from html import escape

from ...faces import overlap, weaknesses
from ...inference.predictor import Predictor
from ..photo import SHOWN_SIDE, PhotoView
from . import cards

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
    "perhaps covered": "Try a photo that shows the whole face.",
}


def photo_card(predictor: Predictor, view: PhotoView) -> str:
    """The photo with a button on each face, and the exact crop that the models see."""
    if view.face is None:
        if view.photo is None:  # a blank of the final size, so that nothing moves later
            blank = '<div class="blank"></div>'
            return (
                f'<section class="card looked-at"><div class="photo">{blank}</div><div'
                f' class="seen">{blank}</div></section>'
            )
        photo = cards.picture(view.photo, "Your photo", SHOWN_SIDE)
        return f'<section class="card"><div class="photo">{photo}</div></section>'
    size = max(m.info.size for m in predictor.models)
    text = f"<b>What the models see</b><br>this crop, at {size} × {size} px"
    if not view.is_whole:
        text += "<br>drag its box to correct it, draw a box to add a face"
    if len(view.faces) > 1:
        text += f"<br>face {view.chosen + 1} of {len(view.faces)}, largest first"
    photo = cards.picture(view.photo, "The face", SHOWN_SIDE) if view.is_whole else _boxes(view)
    crop = cards.picture(view.face.crop, "The crop that the models see", size=2 * size)
    warning = ""
    if weak := poor(view):
        tried = dict.fromkeys(
            next((advice for cause, advice in ADVICE.items() if each.startswith(cause)), CORRECT)
            for each in weak
        )
        warning = (
            f'<p class="poor" role="status"><b>A poor crop: {", ".join(weak)}.</b> Answers may be'
            f" far off. {' '.join(tried)}</p>"
        )
    caption, link = escape(view.caption), f"?face={view.image}"
    if view.image:
        caption += f' <a class="address" href="{link}">Link to this face</a>'
    body = f'<div class="photo">{photo}</div><p class="note caption">{caption}</p>'
    body += f'<div class="seen">{crop}<p>{text}</p></div>{warning}'
    return (
        '<section class="card'
        f' looked-at{" several" if len(view.faces) > 1 else ""}">{body}</section>'
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
        number = f'<span aria-hidden="true">{i + 1}</span>' if len(view.faces) > 1 else ""
        buttons.append(
            f'<button type="button" class="box" data-choice="{i}" data-at="{at}" style="{style}"'
            f' aria-label="Face {i + 1}" aria-pressed="{str(i == view.chosen).lower()}">{number}<i'
            ' class="handle"></i></button>'
        )
    return cards.picture(view.photo, "Your photo", SHOWN_SIDE) + "".join(buttons)
