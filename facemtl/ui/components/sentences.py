"""What the figures of the Validation tab show, in a sentence each.

Every function takes a View and returns HTML. Groups of fewer than FEW images are not named, because
their metrics are mostly chance. A winner is named only if the difference is significant.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from ...evaluation.compare import FEW, favoured
from ...evaluation.confusion import confusion
from ...inference.predictor import APPROACHES, Approach
from ...tasks import AGE, INTERVAL, Classification, Task
from . import cards
from .markup import html, joined
from .view import View

TOO_FEW = f"Too few images to tell: fewer than {FEW}."
TOO_FEW_EACH = f"Too few images to tell: fewer than {FEW} in each group."
_SIGNIFICANT = 1.96  # standard errors


def largest_errors(view: View) -> str:
    """The age group with the largest error, or that all ages are alike."""
    rows = view.groups[view.groups["n"] >= FEW]
    if rows.empty:
        return TOO_FEW_EACH
    parts = [(a, rows[rows["approach"] == a.name]) for a in view.approaches]
    top = {a: part.loc[part["mae"].idxmax()] for a, part in parts}
    if len(rows["age_group"].unique()) == 1:
        return html("{}. Other ages have too few images.", _found(top, "mae", _years))
    if all(top[a]["mae_low"] <= part["mae_high"].min() for a, part in parts):
        return "No age has clearly larger errors than the others."
    return html("Errors are largest at {}.", _found(top, "mae", _years))


def difference_by_age(view: View) -> str:
    """At which ages an approach is significantly better."""
    rows = view.metrics[
        (view.metrics["by"] == "age_group")
        & (view.metrics["task"] == AGE.name)
        & (view.metrics["n"] >= FEW)
    ]
    if rows.empty:
        return TOO_FEW_EACH
    winners = [(favoured(row), age_words(row.group)) for row in rows.itertuples()]
    said = []
    for approach in APPROACHES:
        if better := [words for winner, words in winners if winner is approach]:
            said.append(f"the {_lower(approach)} is better at {_listed(better)}")
    if not said:
        return "At no age is the difference significant."
    elsewhere = ". Elsewhere the difference could be chance" if None in dict(winners) else ""
    return f"{_capital(', and '.join(said))}{elsewhere}."


def closeness(view: View) -> str:
    """The median absolute age error."""
    return _of_errors(
        view,
        lambda errors: errors.median(),
        lambda said: html("Half of the predicted ages are at most {} off.", said),
    )


def large_errors(view: View) -> str:
    """The age error that one image in ten exceeds."""
    return _of_errors(
        view,
        lambda errors: errors.quantile(0.9),
        lambda said: html("One age in ten is off by more than {}.", said),
    )


def within(view: View) -> str:
    """The share of ages that are near the label."""
    near = f"within {AGE.near} {AGE.unit} of the label"
    return _of_errors(
        view,
        lambda errors: 100 * (errors <= AGE.near).mean(),
        lambda said: html("{} of the ages are {}.", said, near),
        lambda value: (f"{value:.0f}", " %"),
    )


def _of_errors(
    view: View,
    measure: Callable[[pd.Series], float],
    sentence: Callable[[str], str],
    form: "Form | None" = None,
) -> str:
    errors = view.errors
    if errors["image"].nunique() < FEW:
        return TOO_FEW
    values = {
        a: measure(errors.loc[errors["approach"] == a.name, "error"].abs()) for a in view.approaches
    }
    return sentence(_values(values, form or _years))


def bias_by_age(view: View) -> str:
    """The ages at which all approaches on display are too low, and too high, the most."""
    rows = view.groups[view.groups["n"] >= FEW]
    if rows.empty:
        return TOO_FEW_EACH
    said = []
    for words, end, sign in (("low", "bias_high", -1), ("high", "bias_low", 1)):
        clear = rows[sign * rows[end] > 0].groupby("age_group", sort=False)
        clear = clear.filter(lambda part: len(part) == len(view.approaches))
        if clear.empty:
            continue
        mean = (sign * clear.set_index("age_group")["bias"]).groupby(level=0).mean()
        part = clear[clear["age_group"] == mean.idxmax()].set_index("approach")["bias"]
        off = _values({a: abs(part[a.name]) for a in view.approaches}, _years)
        start = "and" if said else "Predictions are"
        said.append(html("{} too {} by {} at ages {}", start, words, off, age_words(mean.idxmax())))
    if not said:
        return "At no age are predictions clearly too high or too low."
    return html("{}, on average.", joined(said, by=", "))


def coverage(view: View) -> str:
    """The coverage of all intervals, and the age group where it is lowest."""
    errors = view.errors
    if errors["image"].nunique() < FEW:
        return TOO_FEW
    inside = errors["target"].between(errors["low"], errors["high"])
    values = {a: 100 * inside[errors["approach"] == a.name].mean() for a in view.approaches}
    said = html("{} of the labels are inside", _values(values, _percent))
    rows = view.groups[view.groups["n"] >= FEW]
    if rows["age_group"].nunique() > 1:
        parts = {a: rows[rows["approach"] == a.name] for a in view.approaches}
        worst = {a: part.loc[part["coverage"].idxmin()] for a, part in parts.items()}
        said += html(", the fewest at {}", _found(worst, "coverage", _percent))
    return html("{}. The nominal coverage is {:.0f} %.", said, 100 * INTERVAL)


def confused(view: View, task: Classification) -> str:
    """The labels that are confused most often, in percent of the images with this label."""
    table = confusion(view.table, task)
    known = table.groupby(["approach", "target"])["n"].transform("sum") >= FEW
    if not known.any():
        return f"Too few images to tell: fewer than {FEW} of each label."
    wrong, top = table[known & (table["target"] != table["prediction"])], {}
    for approach in view.approaches:
        part = wrong[wrong["approach"] == approach.name]
        top[approach] = part.loc[part["share"].idxmax()]
    if not any(row["n"] for row in top.values()):
        return "Every answer is right."
    pairs = {
        a: f"{task.words(row['target'])} predicted as {task.words(row['prediction'])}"
        for a, row in top.items()
    }
    shares = {a: row["share"] for a, row in top.items()}
    return html("Most often confused: {}.", _placed(pairs, shares))


def calibration(view: View, task: Task) -> str:
    """Mean confidence, share of right answers, and whether they differ significantly."""
    rows = view.table[view.table["task"] == task.name]
    if rows["image"].nunique() < FEW:
        return TOO_FEW
    sure, right, judged = {}, {}, {}
    for approach in view.approaches:
        part = rows[rows["approach"] == approach.name]
        hits = task.hits(part["target"].to_numpy(), part["prediction"].to_numpy())
        gaps = part["confidence"].to_numpy() - hits
        sure[approach], right[approach] = 100 * part["confidence"].mean(), 100 * hits.mean()
        chance = _SIGNIFICANT * gaps.std(ddof=1) / np.sqrt(len(gaps))
        judged[approach] = 0 if abs(gaps.mean()) <= chance else int(np.sign(gaps.mean()))
    words = {0: "no significant gap", 1: "overconfident", -1: "underconfident"}
    if len(set(judged.values())) == 1:
        verdict = words[next(iter(judged.values()))]
    else:
        verdict = "; ".join(f"{words[judged[a]]} for the {_lower(a)}" for a in judged)
    said = _values(sure, _tenths), _values(right, _tenths)
    return html("Mean confidence {}, correct {}: {}.", *said, verdict)


def groups(view: View, task: Task) -> str:
    """The groups with the worst and the best metric, or that no groups are clearly apart.

    They are groups of the finest grouping, such as that by gender and race.
    """
    rows = view.metrics[(view.metrics["task"] == task.name) & (view.metrics["n"] >= FEW)]
    rows = rows[~rows["by"].isin(("all", "age_group"))]
    rows = rows[rows["by"] == rows["by"].iloc[-1]] if len(rows) else rows
    if len(rows) < 2:
        return TOO_FEW_EACH
    lower, metric = task.metric.lower_is_better, task.metric
    form = _percent if metric.unit == "%" else _years
    ends = []
    if all(rows[f"{a.name}_low"].max() <= rows[f"{a.name}_high"].min() for a in view.approaches):
        return "No group is clearly better or worse than the others."
    for is_lowest in (not lower, lower):
        found = {}
        for approach in view.approaches:
            by = rows[approach.name]
            found[approach] = rows.loc[by.idxmin() if is_lowest else by.idxmax()]
        names = {a: str(row["group"]) for a, row in found.items()}
        ends.append(_placed(names, {a: row[a.name] for a, row in found.items()}, form))
    start = "Errors are largest for" if lower else "Accuracy is lowest for"
    end = "smallest for" if lower else "highest for"
    return html("{} {}, {} {}.", start, ends[0], end, ends[1])


# Words and numbers -----------------------------------------------------------------------------

Form = Callable[[float], tuple[str, str]]  # a value -> its number and its unit


def _years(value: float) -> tuple[str, str]:
    return f"{value:.1f}", f" {AGE.unit}"


def _percent(value: float) -> tuple[str, str]:
    return f"{value:.0f}", " %"


def _tenths(value: float) -> tuple[str, str]:
    return f"{value:.1f}", " %"


def age_words(group: str) -> str:
    """An age group in words: '20-29' -> '20 to 29', '70+' -> '70 and over'."""
    return group.replace("-", " to ").replace("+", " and over")


def _lower(approach: Approach) -> str:
    return approach.model[0].lower() + approach.model[1:]


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _listed(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _of(approach: Approach, text: str) -> str:
    """A text with its approach's mark. Screen readers get the approach's name."""
    return html(
        '<span class="of {approach.name}-text">{mark}<span '
        'class="sr-only">{approach.model}: </span>{text}</span>',
        approach=approach,
        mark=cards.mark(approach),
        text=text,
    )


def _values(values: Mapping[Approach, float], form: Form) -> str:
    """The approaches' values, such as '8.2 / 8.5 years'; one number if they read the same."""
    read = {a: form(value) for a, value in values.items()}
    unit = next(iter(read.values()))[1]
    if len(read) > 1 and len(set(read.values())) == 1:
        return html('<span class="of">{}{}</span>', next(iter(read.values()))[0], unit)
    return joined((_of(a, number) for a, (number, _) in read.items()), by=" / ") + unit


def _placed(
    places: Mapping[Approach, str], values: Mapping[Approach, float], form: Form = _percent
) -> str:
    """Where the values are found, and the values: 'at 70 and over: 8.2 / 8.5 years'."""
    if len(set(places.values())) == 1:
        return html("{}: {}", next(iter(places.values())), _values(values, form))
    return joined((_of(a, f"{places[a]} ({''.join(form(values[a]))})") for a in places), by=" / ")


def _found(rows: Mapping[Approach, pd.Series], column: str, form: Form) -> str:
    places = {a: age_words(row["age_group"]) for a, row in rows.items()}
    return _placed(places, {a: row[column] for a, row in rows.items()}, form)
