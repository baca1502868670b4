"""What was measured of speed, by `bench` and by the scripts in benchmarks/: from their files into words and tables."""

import json
from pathlib import Path

from .errors import FaceMTLError
from .tables import as_markdown

PERFORMANCE_FILE, PAGE_FILE, LOAD_FILE, LEARNING_FILE = "performance.json", "page.json", "load.json", "learning.json"
_CLICKS = {"upload": "an upload", "draw": "twelve random faces", "choose": "a choice of images", "save": "saving a result"}


def performance(folder: Path) -> str:
    """How long things took on one machine, and what that is in ratios."""
    found = _noted(folder / PERFORMANCE_FILE, "python -m facemtl bench --json")
    rows = [
        [row["what"], f"{_short(row['median'])} {row['unit']}", f"{_short(row['low'])} to {_short(row['high'])}", row["n"]]
        for row in found["measured"]
    ]
    measured = as_markdown(["what", "median", "quartiles", "times"], rows)
    shares = as_markdown(["ratio, in the same run", ""], [[what, f"{ratio:.2f}"] for what, ratio in found["ratios"].items()])
    machine = found["machine"]
    return f"{measured}\n\n{shares}\n\nOn {machine['threads']} threads of {machine['processor']}, torch {machine['torch']}."


def page(folder: Path) -> str:
    """What one visitor waits for, seen from a browser."""
    found = _noted(folder / PAGE_FILE, "python benchmarks/page.py --json")
    rows = [[what, f"{median:.0f} ms", f"{low:.0f} to {high:.0f}"] for what, (low, median, high) in found.items()]
    return as_markdown(["from the click to the answer on the page", "median", "quartiles"], rows)


def learning(folder: Path) -> str:
    """How long one and the same thing takes to learn, with this package and with fastai's stock pipeline."""
    found = _noted(folder / LEARNING_FILE, "python benchmarks/learning.py --json")
    rows = [
        [
            *(name, f"{of['epochs']} at {of['size']} px", of["precision"]),
            *(f"{of['seconds'] / 60:.1f} minutes", f"{100 * of['accuracy']:.1f} %"),
        ]
        for name, of in found.items()
    ]
    table = as_markdown(["pipeline", "epochs", "arithmetic", "whole training", "accuracy of gender"], rows)
    ours, stock = found.values()
    return f"{table}\n\nfacemtl took {ours['seconds'] / stock['seconds']:.2f} of the time."


def load(folder: Path) -> str:
    """What it means for a visitor that many others are there, too."""
    found = _noted(folder / LOAD_FILE, "python benchmarks/load.py --json")
    rows = [[_CLICKS[name], f"{found['median_s'][name]:.1f} s", f"{found['q95_s'][name]:.1f} s"] for name in _CLICKS]
    memory, seconds = found["memory_mib"], found["seconds"]
    return (
        f"{as_markdown(['click', 'median wait', '95 % wait no longer than'], rows)}\n\n"
        f"{found['people']} people at once who hardly pause: {found['clicks']:,} clicks in {seconds / 60:.0f} minutes. "
        f"{found['failed'] or 'None'} of them failed or got somebody else's answer; up to {found['longest_queue']} stood "
        f"before one, who was told so. Memory: {memory['start']:,} MiB at first, {memory['half']:,} at most in the first half "
        f"of the clicks, {memory['most']:,} at most in all; {found['threads']} threads at most."
    )


def _noted(file: Path, command: str) -> dict:
    """A JSON file that a measurement wrote. Raises FaceMTLError where it is missing or damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaceMTLError(f"There is no whole {file.name} in {file.parent}. Make it with `{command} {file}`.") from error


def _short(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
