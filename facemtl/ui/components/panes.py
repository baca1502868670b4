"""Panes of the panel "A closer look": occlusion maps, steadiness, and all faces of the photo.

Each `..._card` is a generator. It yields the finished card last. If that takes long, it yields
progress messages first.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ...escapes import escaped
from ...inference.occlusion import PATCH, occlusion_maps
from ...inference.predictor import APPROACHES, Approach, Predictor
from ...inference.steadiness import VIEWS, steadiness, views_of
from ...tasks import Classification, Task
from ..photo import PhotoView
from . import cards
from .markup import data_url, html, joined

Tasks = tuple[Task, ...]

COVERING = "Covering the face, place by place, and asking all models each time."
# Points or years. A map of smaller changes stays dark: it is not stretched to full brightness.
LEAST = 1.5
# The inferno colour map: brighter colours mean larger changes.
_RAMP = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)])


def overlay(crop: np.ndarray, values: np.ndarray, top: float) -> np.ndarray:
    """The crop in gray with its map over it: uint8 (S, S, 3). `top` and more is brightest."""
    size = len(values)
    gray = np.asarray(Image.fromarray(crop).convert("L").resize((size, size)), float)[..., None]
    share = (values / top).clip(0, 1)
    heat = np.stack(
        [np.interp(share, np.linspace(0, 1, len(_RAMP)), channel) for channel in _RAMP.T], axis=-1
    )
    return np.uint8(gray * (0.75 - 0.6 * share[..., None]) + heat * (0.1 + 0.75 * share[..., None]))


def where_card(predictor: Predictor, view: PhotoView, tasks: Tasks) -> Iterator[str]:
    """A pair of occlusion maps per task, on one scale, so that brightness can be compared."""
    crop, maps, rows = view.face.crop, {}, []
    for i, loaded in enumerate(predictor.models):
        yield cards.working(COVERING, i / len(predictor.models))
        maps |= {
            (loaded.approach, name): found for name, found in occlusion_maps(loaded, crop).items()
        }
    for task in tasks:
        top = max(LEAST, *(float(maps[a, task.name].max()) for a in APPROACHES))
        pair = joined(_map(crop, maps[a, task.name], top, task, a) for a in APPROACHES)
        ramp = html(
            '<div class="ramp" aria-hidden="true"></div><small>0 to {:.0f} {}</small>',
            top,
            task.change_unit,
        )
        rows.append(
            html(
                '<div class="maps"><h3>{}</h3><div class="map-pair">{}</div>{}</div>',
                task.title,
                pair,
                ramp,
            )
        )
    note = (
        f"A square of {100 * PATCH:.0f} % of a side, in the face's mean colour, covers one place"
        " after another (occlusion sensitivity). Bright places change the answer most when"
        " covered: they show what it depends on, not why."
    )
    yield cards.card(
        "Which parts of the face matter?",
        html('<div class="map-row">{}</div><p class="note">{}</p>', joined(rows), note),
    )


def _map(crop: np.ndarray, values: np.ndarray, top: float, task: Task, approach) -> str:
    most = (
        f"up to {values.max():.0f} {task.change_unit}"
        if values.max() >= LEAST
        else "hardly changes"
    )
    y, x = np.unravel_index(values.argmax(), values.shape)
    at = (
        f"{('upper', 'middle', 'lower')[3 * y // len(values)]}"
        f" {('left', 'centre', 'right')[3 * x // len(values)]}"
    )
    spoken = (
        f"{task.title}, {approach.title}: what covering the face changes, {most}, most at the {at}."
    )
    large = Image.fromarray(overlay(crop, values, top)).resize((224, 224), Image.Resampling.BICUBIC)
    image = cards.picture(np.asarray(large), spoken, size=224)
    return html(
        "<figure>{}<figcaption>{}{}</figcaption></figure>", image, cards.mark(approach), most
    )


def steadiness_card(predictor: Predictor, view: PhotoView, tasks: Tasks) -> Iterator[str]:
    """How much each answer changes over shifted, mirrored and scaled views of the crop."""
    views = views_of(view.face.crop)
    table = steadiness(predictor, views)
    by = table.groupby(["task", "approach"])["prediction"]
    values = {key: part.to_numpy() for key, part in by}
    rows = [
        [task.title, *(_spread(task, values[task.name, a.name], a) for a in APPROACHES)]
        for task in tasks
    ]
    note = (
        f"The same face in {len(VIEWS)} views: as it is, mirrored, shifted by 5 % of a side in"
        " eight directions, 10 % larger and smaller. The answers above are means over a face and"
        " its mirror image; these are not."
    )
    columns = ["Task", *(cards.named(a) for a in APPROACHES)]
    pictures = joined(
        cards.picture(view, name.capitalize(), size=112) for name, view in views.items()
    )
    table = cards.html_table("How steady is it?", columns, rows, note)
    yield cards.card("How steady is it?", html('<div class="views">{}</div>{}', pictures, table))


def _spread(task: Task, values: np.ndarray, approach: Approach) -> str:
    """How much an answer changes, in words. For ages, also a mark for each view."""
    if isinstance(task, Classification):
        return task.spread(values)
    marks = joined(
        html('<i class="dot {}" style="left:{}"></i>', approach.name, cards.at(value))
        for value in values
    )
    return html(
        '{}<span class="mini spread" aria-hidden="true"><i class="mini-axis"></i>{}</span>',
        task.spread(values),
        marks,
    )


def faces_card(predictor: Predictor, view: PhotoView, tasks: Tasks) -> Iterator[str]:
    """A table of all faces of a photo with both approaches' answers, also as a CSV file."""
    crops = [face.crop for face in view.faces]
    table = predictor.predict_crops(crops, faces=range(len(crops))).table
    by = table.set_index(["face", "task", "approach"])
    rows = []
    for i, face in enumerate(view.faces):
        cells = [
            joined(
                html(
                    '<div class="said">{}{}</div>',
                    cards.mark(a),
                    cards.with_confidence(by.loc[i, t.name, a.name], t),
                )
                for a in APPROACHES
            )
            for t in tasks
        ]
        picture = cards.picture(face.crop, f"Face {i + 1}", size=72)
        rows.append([html("{} {}", i + 1, picture), *cells])
    names = [task.name for task in tasks]
    content = table[table["task"].isin(names)].assign(face=table["face"] + 1)
    content["model"] = content["model"].map(escaped)
    content = content.drop(columns="image").to_csv(index=False)
    link = html(
        '<p class="links"><a download="facemtl.csv" href="{}">Download as CSV</a></p>',
        data_url("text/csv", content.encode()),
    )
    title = f"All {len(rows)} faces"
    table = cards.html_table(
        title, ["Face", *(task.title for task in tasks)], rows, cards.CONFIDENCE_NOTE
    )
    yield cards.card(
        title, html('{}<div class="of-faces">{}</div>{}', cards.legend(label=""), table, link)
    )
