"""The answers of the Validation tab about some images: a sentence and a figure per question."""

from functools import partial

from ... import plots
from ...inference.predictor import Approach
from . import figures
from .questions import Question
from .view import View


class Answers:
    """What the tab says about some images. A visitor may choose one `approach` of the two.

    All of it is kept as it is sent to the browser. Figures are drawn when they are first seen.
    """

    def __init__(
        self, view: View, approach: Approach | None, cards: dict[Question, figures.QuestionCard]
    ):
        self._both, self._approach, self._cards = view, approach, cards
        self._view = view if approach is None else view.of(approach)
        self._figures: dict[Question, list] = {}
        self.sentences = [
            figures.made([card.said], lambda q=question: [q.sentence(self._view)])[0]
            for question, card in cards.items()
        ]

    def figure(self, question: Question) -> list:
        """The figure, and the HTML below it."""
        if question not in self._figures:
            self._figures[question] = figures.made(
                self._cards[question].figure, partial(self._draw, question)
            )
        return self._figures[question]

    def _draw(self, question: Question) -> list:
        drawn = question.figure(self._both)
        if self._approach is not None:
            drawn = plots.of_approach(drawn, self._approach)
        return [drawn, question.below(self._view)]
