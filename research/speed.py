"""What `editions` measured, as a Markdown table."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from facemtl.errors import FaceMTLError

EDITIONS_FILE = "editions.json"


def editions(folder: Path) -> str:
    """The results of `research.editions`: two editions of the app, side by side in one run.

    Raises FaceMTLError if the file is missing or damaged.
    """
    file, rows = folder / EDITIONS_FILE, []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FaceMTLError(
            f"There is no whole {file.name} in {file.parent}. Make it with `python -m"
            f" research.editions ../first --json {file}`."
        ) from error
    for row in found["measured"]:
        what, unit = row["what"].rsplit(", ", 1)
        before, now = (f"{_short(row[name])} {unit}" for name in ("before", "now"))
        rows.append([what, before, now, f"{row['now'] / row['before']:.2f}"])
    table = as_markdown(["what", "first edition", "this edition", "ratio"], rows)
    machine = found["machine"]
    where = f"On {machine['threads']} threads of {machine['processor']}, {machine['runtime']}."
    return f"{table}\n\n{where}"


def _short(value: float) -> str:
    """The value with three significant digits; from 100 on, as a whole number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def as_markdown(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Format rows as a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
