"""The bank of questions."""

from evals.question import Question
from evals.questions import default, incident, large, unknown

BANK: dict[str, Question] = {
    question.name: question for part in (default, large, incident, unknown) for question in part.QUESTIONS
}
"""Every question, by name."""
