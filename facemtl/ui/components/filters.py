"""The fields by which a visitor chooses images: labelled ages, and the labels of each task."""

from collections.abc import Collection

import gradio as gr

from ...tasks import AGE, CLASSES, Task
from ..faces import ANY

ENDS = {"low": AGE.low, "high": AGE.high}  # the ages that set no limit


def filter_fields(
    tasks: Collection[Task], ages: tuple[str, str], titles: dict[str, str], min_width: int
) -> dict[str, gr.Number | gr.Dropdown]:
    """Lay out the fields. Returns them by the names that they have in addresses.

    `ages` labels the youngest and the oldest age, `titles` each classification task. Fields of
    tasks that are not in `tasks` are invisible. Those of sensitive tasks can be hidden.
    """
    fields = {
        name: gr.Number(
            end, label=label, precision=0, minimum=AGE.low, maximum=AGE.high, min_width=92, scale=0,
            visible=AGE in tasks,
        )
        for (name, end), label in zip(ENDS.items(), ages, strict=True)
    }  # fmt: skip
    for task in CLASSES:
        fields[task.name] = gr.Dropdown(
            [("any", ANY), *((label, i) for i, label in enumerate(task.labels))],
            value=ANY, label=titles[task.name], min_width=min_width, scale=0,
            elem_classes=["sensitive"] if task.sensitive else [], visible=task in tasks,
        )  # fmt: skip
    return fields
