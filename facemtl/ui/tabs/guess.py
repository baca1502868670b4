"""Guess: the visitor guesses the ages of some faces, against both approaches."""

from dataclasses import dataclass, replace
from statistics import fmean

import gradio as gr

from ...errors import FaceMTLError
from ...inference.predictor import APPROACHES, Predictor
from ...tasks import AGE
from .. import events
from ..components import cards
from ..components.markup import HTML, html, joined
from ..faces import CurrentPool, FaceFilter, LabelledFace, new_seed, ready

ROUNDS = 10  # faces of a game, if there are so many
TIE = 0.05  # years; errors that differ by less count as equal
START = 40  # years; the position of the slider before a guess
RULES = html(
    '<p class="note">You guess how old a face is. Then both approaches answer, and you '
    "see the label: the age that the dataset gives, which may be wrong. Over all "
    "faces of a game, who is closest on average?</p>"
)
YOU = "you"  # the visitor, in place of an approach's name
NAMES = {YOU: "You", **{a.name: a.title for a in APPROACHES}}


@dataclass(frozen=True)
class Turn:
    """One face: its label, and the answer of each of NAMES, in years."""

    label: float
    said: dict[str, float]

    def error(self, name: str) -> float:
        return abs(self.said[name] - self.label)

    def is_closest(self, name: str) -> bool:
        """Whether nobody else is closer, by TIE or more."""
        return self.error(name) - min(map(self.error, self.said)) < TIE


@dataclass(frozen=True)
class Game:
    """A game: the seed and the origin of its faces, and a turn for each face that was answered."""

    seed: int
    turns: tuple[Turn, ...] = ()
    is_open: bool = False  # the label of the face on display is shown
    origin: str = ""  # where its faces come from
    rounds: int = ROUNDS  # the number of its faces

    @property
    def number(self) -> int:
        """The index of the face on display, from 0."""
        return len(self.turns) - self.is_open

    @property
    def is_over(self) -> bool:
        return self.is_open and len(self.turns) >= self.rounds


def uncover(predictor: Predictor, game: Game, face: LabelledFace, guess: float) -> Game:
    """The game after a guess. The models predict the age only now."""
    table = predictor.predict_crops([face.face.crop]).table
    ages = table[table["task"] == AGE.name]
    said = dict(zip(ages["approach"], ages["prediction"].astype(float), strict=True))
    turn = Turn(face.labels[AGE.name], {YOU: min(max(guess, AGE.low), AGE.high), **said})
    return replace(game, turns=(*game.turns, turn), is_open=True)


def picture(game: Game, face: LabelledFace, origin: str) -> str:
    image = cards.picture(face.face.crop, "The face whose age is to be guessed", size=400)
    said = html('<p class="note">Face {} of {}. {}</p>', game.number + 1, game.rounds, origin)
    return html('<section class="card"><div class="photo">{}</div>{}</section>', image, said)


def result(turn: Turn) -> str:
    """A card with all answers for one face, on a ruler with its label."""
    rows = []
    for name, title in NAMES.items():
        error = turn.error(name)
        medal = html(' <span class="badge good">closest</span>') if turn.is_closest(name) else ""
        rows.append(
            html(
                '<div class="ruler-row"><div class="ruler-value">{mark}<b>{:.0f}</b> '
                '<small>{error:.1f} off</small></div><div class="track"><i class="dot {name}" '
                'style="left:{at}"></i></div></div><div class="guess-name">{title}{medal}</div>',
                turn.said[name],
                mark=_mark(name),
                error=error,
                name=name,
                at=cards.at(turn.said[name]),
                title=title,
                medal=medal,
            )
        )
    truth = html('<div class="truth" style="left:{}"></div>', cards.at(turn.label))
    over = html('<div class="ruler-over"><div></div><div class="track-over">{}</div></div>', truth)
    body = html(
        '<div class="ruler guess">{rows}{axis}{over}</div><p class="note">{}; the line is '
        "the label.</p>",
        AGE.unit.capitalize(),
        rows=joined(rows),
        axis=cards.axis(),
        over=over,
    )
    return cards.card(f"The label says {AGE.words(turn.label)}", body)


def score(game: Game) -> str:
    """A card with the mean errors so far, best first, and who leads in words.

    When the game is over, a table of all its faces follows.
    """
    if not game.turns:
        return ""
    errors = {name: fmean(turn.error(name) for turn in game.turns) for name in NAMES}
    order = sorted(NAMES, key=errors.get)
    rows = [
        [html("{}{}", _mark(name), NAMES[name]), f"{errors[name]:.1f} {AGE.unit}"] for name in order
    ]
    n = len(game.turns)
    if order[0] == YOU:
        words = "You are ahead of the models."
    elif order[-1] == YOU:
        words = "Both approaches are ahead of you."
    else:
        words = "You are between the two."
    note = (
        f"{words} {n} face{'s' if n > 1 else ''} so far."
        if not game.is_over
        else f"{words} That was the last face."
    )
    card = cards.card("Mean error", cards.html_table("Mean error", ["Who", "Off by"], rows, note))
    return card + looking_back(game) if game.is_over else card


def looking_back(game: Game) -> str:
    """A table of all faces of a game with all answers. The closest ones are marked."""
    rows = []
    for i, turn in enumerate(game.turns, start=1):
        said = [
            (f"{turn.said[name]:.{0 if name == YOU else 1}f}", turn.is_closest(name))
            for name in NAMES
        ]
        cells = [
            html('<b>{} ✓</b><span class="sr-only"> (closest)</span>', years) if closest else years
            for years, closest in said
        ]
        rows.append([str(i), f"{turn.label:.0f}", *cells])
    columns = ["Face", "Label", "You", *(cards.named(a) for a in APPROACHES)]
    n = len(game.turns)
    note = f"Ages in {AGE.unit}; ✓ is who was closest."
    return cards.card(
        f"All {n} faces at a glance" if n > 1 else "This game at a glance",
        cards.html_table("All faces of this game", columns, rows, note),
    )


def _mark(name: str) -> str:
    return html('<i class="mark {}" aria-hidden="true"></i>', name)


def build(predictor: Predictor, pool: CurrentPool) -> dict:
    """Lay out the tab and connect its events.

    Returns `game`, `outputs` and `start()`, which fills the outputs with a new game.
    """
    game = gr.State(None, time_to_live=events.KEEP_STATE)
    HTML(RULES)
    with gr.Row(elem_classes="columns"):
        with gr.Column(scale=4, min_width=280):
            shown = HTML(
                cards.message("How old is this face?", "One moment."), elem_id="guess-face"
            )
        with gr.Column(scale=6, min_width=300):
            guess = gr.Slider(
                AGE.low, 100, value=START, step=1, label=f"Your guess ({AGE.unit})", elem_id="guess"
            )
            say = gr.Button("That is my guess", variant="primary")
            on = gr.Button("Next face", variant="primary", visible=False, elem_id="guess-next")
            said = HTML("", elem_id="guess-result")
            points = HTML("", elem_id="guess-score")
    HTML(html('<p class="note">{}</p>', cards.NOTE))

    def faces_of(game: Game) -> list[LabelledFace]:
        faces = ready(pool).labelled(AGE).draw(ROUNDS, FaceFilter(game.seed))
        if not faces:
            raise FaceMTLError(
                "None of these faces has an age label, so there is nothing to guess. Start the app"
                " with --data and a CSV file that has ages."
            )
        return faces

    def face_of(game: Game) -> LabelledFace:
        faces = faces_of(game)
        return faces[game.number % len(faces)]  # a file may have become unreadable

    def show(game: Game) -> tuple:
        found = picture(game, face_of(game), ready(pool).origin)
        told = result(game.turns[-1]) if game.is_open else ""
        again = gr.Button("Play again" if game.is_over else "Next face", visible=game.is_open)
        slider = (
            gr.Slider(interactive=False)
            if game.is_open
            else gr.Slider(value=START, interactive=True)
        )
        return game, found, slider, gr.Button(visible=not game.is_open), again, told, score(game)

    def start() -> tuple:
        game = Game(new_seed(), origin=ready(pool).origin)
        return show(replace(game, rounds=len(faces_of(game))))

    def is_lost(game: Game | None) -> bool:
        """Whether the server has dropped the game, or draws from other faces now."""
        return game is None or game.origin != ready(pool).origin

    def on_guess(game: Game | None, years: float) -> tuple:
        if is_lost(game):
            return start()
        return show(game if game.is_open else uncover(predictor, game, face_of(game), float(years)))

    def on_next(game: Game | None) -> tuple:
        return start() if is_lost(game) or game.is_over else show(replace(game, is_open=False))

    outputs = [game, shown, guess, say, on, said, points]
    quiet = events.waiting_at(said)
    guessed = say.click(
        events.handle_errors(on_guess), [game, guess], outputs, **events.MODEL_WORK, **quiet
    )
    guessed.then(None, None, None, js="facemtl.toGuessResult")
    on.click(events.handle_errors(on_next), game, outputs, **events.SHOW_FACES, **quiet).then(
        None, None, None, js="facemtl.toGuess"
    )
    return {"game": game, "outputs": outputs, "start": start}
