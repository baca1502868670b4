"""Figures show the numbers of their tables, with titled axes, units and a consistent style for each
approach.
"""

import re

import numpy as np
import pandas as pd
import pytest

from facemtl import plots
from facemtl.data import summary as description
from facemtl.data.summary import of_ages
from facemtl.evaluation.ages import age_error_by_group, age_errors, cumulative_scores
from facemtl.evaluation.calibration import reliability
from facemtl.evaluation.compare import metric_tables
from facemtl.evaluation.confusion import confusion
from facemtl.evaluation.groups import AGE_GROUPS
from facemtl.evaluation.robustness import COLUMNS
from facemtl.evaluation.seeds import age_errors_of_seeds, load_seeds
from facemtl.evaluation.studies import SHARES, WEIGHTINGS, learning, named
from facemtl.inference.perturbations import PERTURBATIONS
from facemtl.inference.predictor import APPROACHES
from facemtl.plots.style import PALETTE
from facemtl.tasks import GENDER, INTERVAL, RACE, TASKS
from tests.support import ROOT, made_up_studies


@pytest.fixture(scope="module")
def errors(results):
    return age_errors(results)


@pytest.fixture(scope="module")
def groups(results):
    return age_error_by_group(results, n_resamples=200)


@pytest.fixture(scope="module")
def perturbed() -> pd.DataFrame:
    """Synthetic robustness results, where all rows have different values."""
    rows = [
        (p.name, float(amount), model, approach, task.name, task.metric.name, 600)
        for p in PERTURBATIONS
        for amount in (p.none, *p.amounts)
        for task in TASKS
        for model, approach in ((task.name, "single"), ("multitask", "multi"))
    ]
    values = np.random.default_rng(0).uniform(5, 95, len(rows))
    table = pd.DataFrame(rows, columns=COLUMNS[:7]).assign(value=values, change=values - 50)
    return table.sample(frac=1, random_state=0)


@pytest.fixture(scope="module")
def metrics(results):
    return metric_tables(results, n_resamples=50)


@pytest.fixture(scope="module")
def figures(errors, groups):
    return {
        "cumulative_score": plots.cumulative_score(cumulative_scores(errors)),
        "coverage_by_age": plots.coverage_by_age(groups),
        "predicted_against_true": plots.predicted_against_true(errors),
        "error_distribution": plots.error_distribution(errors),
        "error_by_age": plots.error_by_age(groups),
        "bias_by_age": plots.bias_by_age(groups),
    }


@pytest.mark.parametrize(
    "name",
    [
        "predicted_against_true", "error_distribution", "error_by_age", "bias_by_age",
        "cumulative_score", "coverage_by_age",
    ],
)  # fmt: skip
def test_every_figure_names_its_axes_with_units_and_both_approaches(figures, name):
    figure = figures[name]
    titles = [
        axis.title.text
        for axis in (*figure.select_xaxes(), *figure.select_yaxes())
        if axis.title.text
    ]
    assert len(titles) >= 2
    assert all("(years)" in title or "(%)" in title for title in titles)
    drawn = {trace.name: trace for trace in figure.data}
    for approach in APPROACHES:
        trace = drawn[approach.model]
        assert plots.COLORS[approach.name] in trace.to_plotly_json().__repr__()
        assert f"<extra>{approach.model}</extra>" in trace.hovertemplate
    colours = [plots.COLORS[a.name] for a in APPROACHES]
    assert (
        len(set(colours)) == 2
        and len(set(plots.SYMBOLS.values())) == 2
        and len(set(plots.DASHES.values())) == 2
    )


def test_the_dark_page_recolours_the_inks_that_figures_have():
    """Plotly writes a colour of the light page as rgb(...), and the style sheet looks for that."""
    css = (ROOT / "assets" / "app.css").read_text("utf-8")
    rules = re.findall(
        r"^\.dark .*(?:stroke|fill): rgb\((\d+), (\d+), (\d+)\).*var\(--([\w-]+)\)", css, re.M
    )
    assert {name for *_, name in rules} == {"single", "multi", "soft"}
    for *channels, name in rules:
        assert "#" + "".join(f"{int(c):02x}" for c in channels) == PALETTE[name]


def test_every_image_is_counted_in_the_heat_map(figures, errors):
    for trace, approach in zip(figures["predicted_against_true"].data, APPROACHES, strict=True):
        rows = errors[errors["approach"] == approach.name]
        counts = np.asarray(trace.customdata)
        assert counts.sum() == len(rows)
        inside = rows["target"].between(24, 28, inclusive="left") & rows["prediction"].between(
            24, 28, inclusive="left"
        )
        assert counts[list(trace.y).index(26), list(trace.x).index(26)] == inside.sum() > 0
        assert np.array_equal(np.isnan(np.asarray(trace.z, float)), counts == 0)


def test_the_heat_map_has_square_panels_and_a_scale_for_counts(figures):
    figure = figures["predicted_against_true"]
    for trace, x, y in zip(figure.data, ("x", "x2"), ("yaxis", "yaxis2"), strict=True):
        assert figure.layout[y].scaleanchor == x and trace.xaxis in (x, None)
        assert figure.layout[y].range == figure.layout[y.replace("y", "x")].range
        counts, z = np.asarray(trace.customdata), np.asarray(trace.z, float)
        for value, words in zip(trace.colorbar.tickvals, trace.colorbar.ticktext, strict=True):
            near = counts[np.abs(z - value) < 0.02]
            assert (np.abs(near / int(words) - 1) < 0.1).all() and trace.zmin < value < trace.zmax


@pytest.mark.parametrize("column", ["single", "multi", "difference"])
def test_every_seed_is_a_stroke_beside_its_group(groups, metrics, column):
    table = load_seeds(ROOT / "assets" / "validation")
    by_seed = age_errors_of_seeds(table)
    if column == "difference":
        figure = plots.difference_by_age(metrics, by_seed)
        (trace,) = (t for t in figure.data if t.marker.symbol == "line-ew")
    else:
        figure = plots.error_by_age(groups, by_seed)
        name = next(a.model for a in APPROACHES if a.name == column)
        (trace,) = (t for t in figure.data if t.marker.symbol == "line-ew" and t.name == name)
        assert trace.marker.line.color == plots.COLORS[column]
    ages = table[table["task"] == "age"].assign(
        off=lambda rows: (rows["prediction"] - rows["target"]).abs()
    )
    assert len(trace.x) == ages["seed"].nunique() * len(AGE_GROUPS)
    for x, y, (group, seed) in zip(trace.x, trace.y, trace.customdata, strict=True):
        assert AGE_GROUPS[round(x)] == group
        low, _, high = group.replace("+", "-116").partition("-")
        part = ages[(ages["seed"] == seed) & ages["target"].between(int(low), int(high))]
        mean = part.groupby("approach")["off"].mean()
        value = mean["multi"] - mean["single"] if column == "difference" else mean[column]
        assert y == pytest.approx(value)


def test_the_distribution_counts_every_error(figures, errors):
    for trace, approach in zip(figures["error_distribution"].data, APPROACHES, strict=True):
        assert np.sum(trace.y) == pytest.approx(100)
        exact = errors[errors["approach"] == approach.name]["error"]
        middle = np.asarray(trace.y)[np.asarray(trace.x) == 0][0]
        assert middle == pytest.approx(100 * ((exact >= -1) & (exact < 1)).mean(), abs=0.1)


@pytest.mark.parametrize(("name", "column"), [("error_by_age", "mae"), ("bias_by_age", "bias")])
def test_markers_and_intervals_match_the_table(figures, groups, name, column):
    for trace, approach in zip(figures[name].data, APPROACHES, strict=True):
        rows = groups[groups["approach"] == approach.name]
        assert np.allclose(trace.y, rows[column])
        assert np.allclose(np.asarray(trace.y) + trace.error_y.array, rows[f"{column}_high"])
        assert np.allclose(np.asarray(trace.y) - trace.error_y.arrayminus, rows[f"{column}_low"])
        assert [AGE_GROUPS[round(x)] for x in trace.x] == list(rows["age_group"])


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_every_perturbation_has_a_panel_with_both_approaches(perturbed, task):
    figure = plots.metric_by_perturbation(perturbed, task)
    assert {axis.title.text for axis in figure.select_xaxes()} == {p.axis for p in PERTURBATIONS}
    named = [axis.title.text for axis in figure.select_yaxes() if axis.title.text]
    assert named == [f"{task.metric.title} ({task.metric.unit})"]
    assert len(figure.data) == 2 * len(PERTURBATIONS)
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        a.model for a in APPROACHES
    ]
    of_task = perturbed[perturbed["task"] == task.name].set_index(
        ["perturbation", "model", "amount"]
    )
    panels = {
        axis.plotly_name.replace("axis", ""): axis.title.text for axis in figure.select_xaxes()
    }
    for trace in figure.data:
        perturbation = next(p for p in PERTURBATIONS if p.axis == panels[trace.xaxis])
        approach = next(a for a in APPROACHES if a.model == trace.name)
        assert trace.line.color == trace.marker.color == plots.COLORS[approach.name]
        assert (trace.line.dash, trace.marker.symbol) == (
            plots.DASHES[approach.name],
            plots.SYMBOLS[approach.name],
        )
        assert list(trace.x) == sorted((perturbation.none, *perturbation.amounts))
        expected = of_task.loc[perturbation.name].loc[
            task.name if approach.name == "single" else "multitask"
        ]
        for amount, value, words in zip(trace.x, trace.y, trace.text, strict=True):
            assert value == expected.at[amount, "value"]
            assert task.metric.words(value) in words


def test_panels_of_perturbations_share_one_scale(perturbed):
    figure = plots.metric_by_perturbation(perturbed, TASKS[0])
    leaders = {
        axis.matches or axis.plotly_name.replace("axis", "") for axis in figure.select_yaxes()
    }
    assert len(leaders) == 1


def test_empty_figures_show_no_numbers_and_name_both_approaches(errors, groups, perturbed):
    for figure in (
        plots.predicted_against_true(errors[:0]),
        plots.error_distribution(errors[:0]),
        plots.error_by_age(groups[:0]),
        plots.bias_by_age(groups[:0]),
        plots.metric_by_perturbation(perturbed[:0], TASKS[0]),
    ):
        assert {trace.name for trace in figure.data} == {a.model for a in APPROACHES}
        for trace in figure.data:
            values = np.asarray(trace.z if trace.type == "heatmap" else trace.y, float)
            assert not np.nan_to_num(values).any()


@pytest.mark.parametrize(("names", "by"), [({"seeds": ""}, "approach"), (WEIGHTINGS, "weighting")])
def test_every_training_is_a_marker_and_their_mean_a_line(names, by):
    studies = made_up_studies()
    if by == "weighting":
        studies = studies[studies["approach"] == "multi"]
    table = named(studies, names, "weighting")
    figure = plots.spread_over_seeds(table, by)
    titles = [axis.title.text for axis in figure.select_xaxes()]
    for task, title in zip(TASKS, titles, strict=True):
        assert task.title in title and f"in {task.metric.unit};" in title
        assert ("lower is better" if task.metric.lower_is_better else "higher is better") in title
    panels = {
        axis.plotly_name.replace("axis", ""): task.name
        for axis, task in zip(figure.select_xaxes(), TASKS, strict=True)
    }
    for task in TASKS:
        marks = [trace for trace in figure.data if panels[trace.xaxis] == task.name]
        groups = [
            part["value"].tolist()
            for _, part in table[table["task"] == task.name].groupby(by, sort=False)
        ]
        for values, (dots, stroke) in zip(
            groups, zip(marks[::2], marks[1::2], strict=True), strict=True
        ):
            assert list(dots.x) == values and stroke.x[0] == pytest.approx(
                sum(values) / len(values)
            )
            assert dots.marker.color == stroke.marker.line.color in plots.COLORS.values()
            assert set(dots.y) == {stroke.y[0]}, "trainings and their mean stand in one line"


def test_the_comparison_with_2018_shows_both_gaps():
    rows = [
        ("2018", "single", 10.63),
        ("2018", "multi", 5.47),
        ("now", "single", 5.0),
        ("now", "multi", 4.9),
    ]
    figure = plots.compared_with_2018(
        pd.DataFrame(rows, columns=["experiment", "approach", "value"])
    )
    drawn = {trace.name: trace for trace in figure.data if trace.name}
    for approach in APPROACHES:
        trace = drawn[approach.model]
        shown = [(name, value) for name, who, value in rows if who == approach.name]
        assert [*zip(trace.y, trace.x, strict=True)] == shown
        assert list(trace.text) == [f"{value:.2f}" for _, value in shown]
    assert "(years)" in next(figure.select_xaxes()).title.text


def test_the_cumulative_score_is_the_share_within_so_many_years(figures, errors):
    for trace, approach in zip(figures["cumulative_score"].data, APPROACHES, strict=True):
        off = errors[errors["approach"] == approach.name]["error"].abs()
        assert list(trace.x) == list(range(21))
        assert trace.y[5] == pytest.approx(100 * sum(off <= 5) / len(off))
        assert (np.diff(trace.y) >= 0).all()


def test_the_difference_by_age_matches_the_metric_tables(metrics):
    (trace,) = plots.difference_by_age(metrics).data
    rows = metrics.query("by == 'age_group' and task == 'age'")
    assert np.allclose(trace.y, rows["multi"] - rows["single"])
    assert np.allclose(np.asarray(trace.y) + trace.error_y.array, rows["difference_high"])


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_every_group_has_both_approaches_metrics(metrics, task):
    figure = plots.metric_by_group(metrics, task)
    assert f"({task.metric.unit})" in next(figure.select_xaxes()).title.text
    groups = list(next(figure.select_yaxes()).ticktext)
    assert groups[0] == "all" and "male, White" in groups and not set(groups) & set(AGE_GROUPS)
    for trace, approach in zip(figure.data, APPROACHES, strict=True):
        rows = metrics[(metrics["task"] == task.name) & (metrics["by"] != "age_group")]
        assert np.allclose(trace.x, rows[approach.name])
        assert np.allclose(
            np.asarray(trace.x) - trace.error_x.arrayminus, rows[f"{approach.name}_low"]
        )
    assert any(
        "(few)" in name
        for name in plots.metric_by_group(metrics.assign(few=True), task).layout.yaxis.ticktext
    )


@pytest.mark.parametrize("task", [GENDER, RACE], ids=lambda t: t.name)
def test_confusions_are_counted(results, task):
    figure = plots.confusion_matrices(confusion(results, task), task)
    for trace, approach in zip(figure.data, APPROACHES, strict=True):
        model = task.name if approach.name == "single" else "multitask"
        rows = results[(results["task"] == task.name) & (results["model"] == model)]
        counts = np.asarray(trace.customdata)
        assert counts.sum() == len(rows)
        assert counts[0, 1] == ((rows["target"] == 0) & (rows["prediction"] == 1)).sum()
        assert np.asarray(trace.z).sum(axis=1) == pytest.approx([100] * task.n_outputs)
        assert list(trace.x) == list(trace.y) == list(task.labels)


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_reliability_is_the_accuracy_per_confidence(results, task):
    table = reliability(results, task)
    figure = plots.reliability_diagram(table, task)
    for trace, approach in zip(figure.data, APPROACHES, strict=True):
        model = task.name if approach.name == "single" else "multitask"
        rows = results[(results["task"] == task.name) & (results["model"] == model)]
        drawn = table[(table["approach"] == approach.name) & (table["n"] >= 10)]
        assert table[table["approach"] == approach.name]["n"].sum() == len(rows) and list(
            trace.y
        ) == list(drawn["hits"])
        bin_ = rows[rows["confidence"].between(0.8, 0.9, inclusive="left")]
        found = table[
            (table["approach"] == approach.name)
            & table["confidence"].between(80, 90, inclusive="left")
        ]
        assert found["n"].item() == len(bin_)
        assert found["hits"].item() == pytest.approx(
            100 * np.mean(task.hits(bin_["target"], bin_["prediction"]))
        )
        assert found["confidence"].item() == pytest.approx(100 * bin_["confidence"].mean())


def test_coverage_is_compared_with_the_nominal_level(figures, groups):
    figure = figures["coverage_by_age"]
    assert figure.layout.shapes[0].y0 == 100 * INTERVAL
    for trace, approach in zip(figure.data, APPROACHES, strict=True):
        assert list(trace.y) == list(groups[groups["approach"] == approach.name]["coverage"])


@pytest.fixture(scope="module")
def counts() -> pd.DataFrame:
    return description.load(ROOT / "assets" / "dataset")[0]


@pytest.mark.parametrize(
    ("name", "across", "up"),
    [
        ("ages", "Labelled age (years)", "Images"),
        ("people", "Images", None),
        ("ages_of_groups", "Labelled age (years)", None),
    ],
)
def test_figures_of_the_dataset_name_what_they_count(counts, name, across, up):
    layout = getattr(plots, name)(counts).layout
    assert (layout.xaxis.title.text, layout.yaxis.title.text) == (across, up)


def test_every_image_of_the_dataset_is_in_a_bar(counts):
    bars = [
        (age, n) for bar in plots.ages(counts).data for age, n in zip(bar.x, bar.y, strict=True)
    ]
    assert len(bars) == len(dict(bars)), "each age in one bar"
    assert dict(bars).items() >= counts.groupby("age")["n"].sum().to_dict().items()
    bars = plots.people(counts).data
    assert sum(sum(bar.x) for bar in bars) == counts["n"].sum()
    for gender, bar in enumerate(bars):
        for race, n in zip(bar.y, bar.x, strict=True):
            of_them = (counts["gender"] == gender) & (counts["race"] == RACE.labels.index(race))
            assert n == counts.loc[of_them, "n"].sum()


def test_overrepresented_ages_are_marked(counts):
    """In UTKFace these are the first year, 26 and many multiples of five. Even counts have none."""
    usual, heaped = plots.ages(counts).data
    assert {1, 26, 35, 45} <= set(heaped.x) and all(
        age in (1, 26) or age % 5 == 0 for age in heaped.x
    )
    assert {"1", "26"} <= set(heaped.text) <= {"", *map(str, heaped.x)} and usual.text is None
    even = pd.DataFrame({"age": range(117), "gender": 0, "race": 0, "split": "train", "n": 100})
    assert not of_ages(even)["heaped"].any()
    even.loc[40, "n"] = 200
    assert list(of_ages(even).query("heaped")["age"]) == [40]


def test_boxes_hold_the_quantiles_of_ages(counts):
    (box,) = plots.ages_of_groups(counts).data
    for i, name in enumerate(box.y):
        task = GENDER if name in GENDER.labels else RACE
        part = counts[counts[task.name] == task.labels.index(name)]
        ages = np.repeat(part["age"], part["n"])
        for level, value in (
            (5, box.lowerfence),
            (25, box.q1),
            (50, box.median),
            (75, box.q3),
            (95, box.upperfence),
        ):
            assert value[i] == np.percentile(ages, level, method="inverted_cdf")


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_learning_curves_match_the_histories(predictor, task):
    models = ROOT / "assets" / "models"
    figure = plots.learning_curves(learning(predictor, models), task)
    assert (
        figure.layout.xaxis.title.text == "Epoch"
        and task.metric.unit in figure.layout.yaxis.title.text
    )
    for approach, line in zip(APPROACHES, figure.data, strict=True):
        name = task.name if approach.name == "single" else "multitask"
        (training,) = (m.info.training for m in predictor.models if m.name == name)
        epochs = training["frozen_epochs"] + training["epochs"]
        assert list(line.x) == list(range(1, epochs + 1))
        history = pd.read_csv(models / f"{name}.history.csv")
        assert list(line.y) == history[f"{task.name}_{task.metric.name}"].tolist()
        assert (line.name, line.line.dash) == (approach.model, plots.DASHES[approach.name])


def test_lines_over_shares_go_through_the_means_of_their_marks():
    table = named(made_up_studies(), SHARES, "share")
    figure = plots.over_shares(table)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert len(lines) == len(marks) == len(TASKS) * len(APPROACHES)
    for line, dots in zip(lines, marks, strict=True):
        assert line.line.color == dots.marker.color and line.xaxis == dots.xaxis
        assert list(line.x) == sorted(SHARES.values())
        for share, mean in zip(line.x, line.y, strict=True):
            values = [y for x, y in zip(dots.x, dots.y, strict=True) if x == share]
            assert len(values) == 3 and mean == pytest.approx(sum(values) / 3)
