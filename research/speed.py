"""The speeds that `bench`, `editions` and `load` measured, as Markdown tables and sentences."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from facemtl.errors import FaceMTLError

PERFORMANCE_FILE, EDITIONS_FILE = "performance.json", "editions.json"
LOAD_FILE = "load.json"
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
    return f"{measured}\n\n{shares}\n\n{_where(found)}"


def editions(folder: Path) -> str:
    """The results of `editions`: two editions of the app, side by side in one run."""
    found = _noted(folder / EDITIONS_FILE, "python -m research.editions ../first --json")
    rows = []
    for row in found["measured"]:
        what, unit = row["what"].rsplit(", ", 1)
        before, now = (f"{_short(row[name])} {unit}" for name in ("before", "now"))
        rows.append([what, before, now, f"{row['now'] / row['before']:.2f}"])
    table = as_markdown(["what", "first edition", "this edition", "ratio"], rows)
    return f"{table}\n\n{_where(found)}"


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


def _where(found: dict) -> str:
    """A sentence with the machine of the measurements."""
    machine = found["machine"]
    return f"On {machine['threads']} threads of {machine['processor']}, {machine['runtime']}."


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
