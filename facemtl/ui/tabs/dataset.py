"""Dataset: who is in UTKFace, and what is wrong with its labels."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gradio as gr
import pandas as pd

from ... import plots
from ...data import summary as description
from ...data.reading import CALIBRATION, TRAIN, VALIDATION
from ...errors import FaceMTLError
from ...evaluation.groups import band_names
from ...faces import open_image, whole
from ...tasks import AGE, GENDER, RACE
from ..components import cards, figures
from ..components.get_utkface import Offer
from ..components.markup import HTML, html, joined
from ..faces import FacePool

BOXES = (
    "Half of the faces are inside a box, nine tenths inside its whiskers; the line is the median."
)
THUMB = 88  # px
_PAIRS = re.compile(r"^(\w+) differs")
NOBODY = html('<span class="nobody">none</span>')
# Years. Each band ends before the next one starts.
BANDS = (0, 2, 4, 7, 10, *range(15, 75, 5), 80, 117)


def overview(counts: pd.DataFrame) -> str:
    by = counts.groupby("split")["n"].sum()
    text = html(
        "<p>{:,} different images of faces, cropped to 200 × 200 px, with <span "
        'class="sensitive">a gender, one of five races and </span>an age each: labels that '
        "a model estimated and a person checked. {train:,} are for training, {calibration:,} for "
        "calibration (to adjust confidences and intervals) and {validation:,} for validation (to "
        "test the models). A hash of each file decides which of them it is for.</p>",
        by.sum(),
        **{split: by.get(split, 0) for split in (TRAIN, CALIBRATION, VALIDATION)},
    )
    return cards.card("What is UTKFace?", text)


def problems_table(counts: pd.DataFrame, problems: pd.DataFrame) -> str:
    rows = [
        [
            _PAIRS.sub(r"Copies that disagree on \1", row.problem).capitalize(),
            f"{row.n:,}",
            f"{100 * row.n / max(1, row.of):.1f} % of {row.of:,}",
        ]
        for row in problems.itertuples()
    ]
    note = remaining(counts, problems) + (
        "“Copies that disagree” counts pairs of byte-identical files: the same picture, labelled"
        " twice, so no model can be right about both. Ages 1, 26 and multiples of five are labelled"
        " too often: many ages are guessed or rounded."
    )
    question = "What is wrong with the labels?"
    sensitive = [row.problem.startswith((GENDER.name, RACE.name)) for row in problems.itertuples()]
    return cards.card(
        question, cards.html_table(question, ["Problem", "Number", "Share"], rows, note, sensitive)
    )


def remaining(counts: pd.DataFrame, problems: pd.DataFrame) -> str:
    """How many files and images there are, unless the table was made when rows had other names."""
    left_out = problems[problems["problem"].str.startswith(description.LEFT_OUT)]
    n_files, n, n_images = left_out["of"].max(), left_out["n"].sum(), counts["n"].sum()
    if n_files - n != n_images:
        return ""
    return (
        f"Of {n_files:,} files, {n:,} are left out. So {n_images:,} images remain: one of several"
        " copies with the same labels is kept. "
    )


def numbers_of_ages(counts: pd.DataFrame) -> str:
    by = description.of_ages(counts)
    by = by[by["n"] > 0].assign(heaped=by["heaped"].map({True: "yes", False: ""}))
    return figures.numbers(
        by, {"age": f"Labelled age ({AGE.unit})", "n": "Images", "heaped": "Labelled too often"}
    )


def numbers_of_people(counts: pd.DataFrame) -> str:
    by = counts.groupby(["race", "gender"])["n"].sum().reset_index()
    by = by.assign(race=by["race"].map(RACE.words), gender=by["gender"].map(GENDER.words))
    return figures.numbers(by, {"race": RACE.title, "gender": GENDER.title, "n": "Images"})


def numbers_of_groups(counts: pd.DataFrame) -> str:
    quantiles = description.age_quantiles(counts)
    columns = {
        level: "Half are younger" if level == "0.5" else f"{100 * float(level):.0f} % are younger"
        for level in quantiles.columns[1:]
    }
    return figures.numbers(quantiles, {"group": "Group", **columns}, digits=0)


def atlas(composites: FacePool) -> str:
    """A table of all composites: a row per age band, a column per gender and race."""
    table = composites.table
    columns = [(g, r) for g in range(len(GENDER.labels)) for r in range(len(RACE.labels))]
    head = joined(
        html('<th scope="col">{}<br>{}</th>', GENDER.words(g), RACE.words(r)) for g, r in columns
    )
    rows = ""
    for name, part in table.groupby(
        pd.cut(table["age"], BANDS, right=False, labels=band_names(BANDS)), observed=True
    ):
        found = {(row.gender, row.race): row for row in part.itertuples()}
        cells = joined(
            html("<td>{}</td>", _thumb(found[key]) if key in found else NOBODY) for key in columns
        )
        rows += html('<tr><th scope="row">{}</th>{}</tr>', name, cells)
    table = html(
        '<table class="atlas"><thead><tr><th '
        'scope="col">{}</th>{}</tr></thead><tbody>{}</tbody></table>',
        AGE.title,
        head,
        rows,
    )
    note = f"{composites.origin} “none” means that there is no composite of such faces."
    body = html('<div class="scroll" tabindex="0">{}</div><p class="note">{}</p>', table, note)
    return cards.card("What do the composites look like, from the youngest to the oldest?", body)


def _thumb(row) -> str:
    crop = whole(open_image(Path(row.file))).crop
    said = f"Composite: {GENDER.words(row.gender)}, {RACE.words(row.race)}, {AGE.words(row.age)}"
    return cards.picture(crop, said, size=THUMB)


def build(described: Path, composites: FacePool, tab: gr.Tab, offer: Offer) -> Callable[[], object]:
    """Lay out the tab. Its figures are drawn once, from the tables in `described`.

    Returns a function that draws them in advance.
    """
    sheet = figures.Sheet()
    try:
        counts, problems = description.load(described)
    except FaceMTLError as error:
        HTML(cards.message("No counts yet", str(error)))
        return sheet.made
    HTML(overview(counts))
    offer.place()
    with gr.Row(equal_height=True):
        sheet.card(
            "How old are the faces?", partial(plots.ages, counts), partial(numbers_of_ages, counts)
        )
        sheet.card(
            "Who is in it, and who is not?",
            partial(plots.people, counts),
            partial(numbers_of_people, counts),
            is_sensitive=True,
        )
    with gr.Row(equal_height=True):
        confounded = "Do ages differ between genders and races?"
        sheet.card(
            confounded,
            partial(plots.ages_of_groups, counts),
            partial(numbers_of_groups, counts),
            BOXES,
            is_sensitive=True,
        )
        with gr.Column(min_width=320):
            HTML(problems_table(counts, problems))
    averages = HTML(
        cards.message("Drawing the averages", "One moment."),
        elem_id="atlas",
        elem_classes="sensitive",
    )
    sheet.later([averages], lambda: [atlas(composites)])
    sheet.when_seen(tab)
    return sheet.made
