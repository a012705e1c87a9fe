"""The bank of questions."""

from evals.question import Question
from evals.questions import default, large, unknown

BANK: dict[str, Question] = {
    question.name: question for part in (default, large, unknown) for question in part.QUESTIONS
}
"""Every question, by name."""
