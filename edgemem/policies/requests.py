"""Which sentences only ask the assistant for something: wording alone misses requests without a verb.

`Three dinners with chicken`, `with real pasta please`, `I have a csv and want totals` read like facts to a model that
is asked what to remember; asked whether they are a task or the user's life, even a 0.5B can tell (docs/log.md,
2026-11-28). One look per sentence, nothing is generated.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgemem.memory.sentences import Sentence
from edgemem.policies.base import UpdateTask
from edgemem.policies.examples import margins, opened
from edgemem.values import Stats

REQUEST_LOG_ODDS = 1.2
"""Nats by which "task" must be likelier than "life". A card's threshold `request` replaces it. With `LESS_FOR_ORDERS`
it finds 15 of 16 requests among 207 judged lines for tuning, and takes 4 of 110 facts for one (1.5B)."""
LESS_FOR_ORDERS = 1.7
"""The same for what has the words of an order: of 13 such requests 10 lie above 1.2, 12 above 0.5 and 13 above -0.5."""


def without_requests(
    task: UpdateTask, sentences: Sequence[Sentence], texts: Sequence[str], least: float = REQUEST_LOG_ODDS
) -> tuple[list[bool], Stats]:
    """For each sentence, shown as the text beside it, whether it stays; and what the looks cost.

    What asks to be remembered, or says how to be answered, is an order by its form and stays.
    """
    open_ones = [at for at, one in enumerate(sentences) if not (one.style or one.keep)]
    stays = [True] * len(sentences)
    if not open_ones:
        return stays, Stats()
    with opened(task, task.prompts.requests()) as (session, fed):
        asked = [task.prompts.edits_message(texts[at]) for at in open_ones]
        looks, cost = margins(task, session, asked, ("TASK", "LIFE"))
    for at, look in zip(open_ones, looks, strict=True):
        stays[at] = look <= least - LESS_FOR_ORDERS * sentences[at].orders
    return stays, fed.plus(cost)
