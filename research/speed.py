"""The speeds that `bench`, `page` and `load` measured, as Markdown tables and sentences."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from facemtl.errors import FaceMTLError

PERFORMANCE_FILE, PAGE_FILE, LOAD_FILE = "performance.json", "page.json", "load.json"
EDITIONS_FILE = "editions.json"
_CLICKS = {
    "upload": "an upload",
    "draw": "twelve random faces",
    "choose": "a choice of images",
    "save": "saving a result",
}


def performance(folder: Path) -> str:
    """The results of `bench`: times on one machine, and ratios of them."""
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
    # Files of the first edition name torch in place of a runtime.
    runtime = machine.get("runtime") or f"torch {machine['torch']}"
    where = f"On {machine['threads']} threads of {machine['processor']}, {runtime}."
    return f"{measured}\n\n{shares}\n\n{where}"


def editions(folder: Path) -> str:
    """The results of `editions`: two editions of the app, side by side in one run."""
    found = _noted(folder / EDITIONS_FILE, "python -m research.editions ../first --json")
    rows = []
    for row in found["measured"]:
        what, unit = row["what"].rsplit(", ", 1)
        before, now = (f"{_short(row[name])} {unit}" for name in ("before", "now"))
        rows.append([what, before, now, f"{row['now'] / row['before']:.2f}"])
    return as_markdown(["what", "first edition", "this edition", "ratio"], rows)


def page(folder: Path) -> str:
    """The results of `page`: how long one visitor waits, measured in a browser."""
    found = _noted(folder / PAGE_FILE, "python -m research.page --json")
    rows = [
        [what, f"{median:.0f} ms", f"{low:.0f} to {high:.0f}"]
        for what, (low, median, high) in found.items()
    ]
    return as_markdown(["from the click to the answer on the page", "median", "quartiles"], rows)


def load(folder: Path) -> str:
    """The results of `load`: how long visitors wait when many use the app at once."""
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
    """A JSON file that a measurement wrote. Raises FaceMTLError if it is missing or damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaceMTLError(
            f"There is no whole {file.name} in {file.parent}. Make it with `{command} {file}`."
        ) from error


def _short(value: float) -> str:
    """The value with three significant digits; from 100 on, as a whole number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def as_markdown(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Format rows as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
