"""What was measured of speed, by `bench`, `page` and `load`, in words and tables."""

import json
from pathlib import Path

from facemtl.errors import FaceMTLError
from facemtl.files import as_markdown

PERFORMANCE_FILE, PAGE_FILE, LOAD_FILE = "performance.json", "page.json", "load.json"
_CLICKS = {
    "upload": "an upload",
    "draw": "twelve random faces",
    "choose": "a choice of images",
    "save": "saving a result",
}


def performance(folder: Path) -> str:
    """How long things took on one machine, and what that is in ratios."""
    found = _noted(folder / PERFORMANCE_FILE, "python -m research.bench --json")
    rows = [
        [
            row["what"],
            f"{_short(row['median'])} {row['unit']}",
            f"{_short(row['low'])} to {_short(row['high'])}",
            row["n"],
        ]
        for row in found["measured"]
    ]
    measured = as_markdown(["what", "median", "quartiles", "times"], rows)
    shares = as_markdown(
        ["ratio, in the same run", ""],
        [[what, f"{ratio:.2f}"] for what, ratio in found["ratios"].items()],
    )
    machine = found["machine"]
    runtime = machine.get("runtime") or f"torch {machine['torch']}"  # of the first edition
    where = f"On {machine['threads']} threads of {machine['processor']}, {runtime}."
    return f"{measured}\n\n{shares}\n\n{where}"


def page(folder: Path) -> str:
    """What one visitor waits for, seen from a browser."""
    found = _noted(folder / PAGE_FILE, "python -m research.page --json")
    rows = [
        [what, f"{median:.0f} ms", f"{low:.0f} to {high:.0f}"]
        for what, (low, median, high) in found.items()
    ]
    return as_markdown(["from the click to the answer on the page", "median", "quartiles"], rows)


def load(folder: Path) -> str:
    """What it means for a visitor that many others are there, too."""
    found = _noted(folder / LOAD_FILE, "python -m research.load --json")
    rows = [
        [_CLICKS[name], f"{found['median_s'][name]:.1f} s", f"{found['q95_s'][name]:.1f} s"]
        for name in _CLICKS
    ]
    memory, seconds = found["memory_mib"], found["seconds"]
    table = as_markdown(["click", "median wait", "95 % wait no longer than"], rows)
    return (
        f"{table}\n\n"
        f"{found['people']} people at once who hardly pause: {found['clicks']:,} clicks in "
        f"{seconds / 60:.0f} minutes. {found['failed'] or 'None'} of them failed or got somebody "
        f"else's answer. The longest queue was {found['longest_queue']}; every visitor saw their "
        f"position. Memory: {memory['start']:,} MiB at first, {memory['half']:,} at most in the "
        f"first half of the clicks, {memory['most']:,} at most in all; {found['threads']} threads "
        "at most."
    )


def _noted(file: Path, command: str) -> dict:
    """A JSON file that a measurement wrote. Raises FaceMTLError where it is missing or damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaceMTLError(
            f"There is no whole {file.name} in {file.parent}. Make it with `{command} {file}`."
        ) from error


def _short(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
