"""Write policies: how a model is asked what to keep. Each proposes; the checker decides."""

from collections.abc import Iterable, Mapping

from edgemem.errors import InvalidInput
from edgemem.policies.base import CHUNK_TOKENS, TRIES, Policy, Proposal, UpdateTask
from edgemem.policies.edits import STEPS, EditsPolicy
from edgemem.policies.overwrite import OverwritePolicy

__all__ = ["CHUNK_TOKENS", "TRIES", "Policy", "Proposal", "UpdateTask", "open_policy"]


def open_policy(name: str, *, thresholds: Mapping[str, float] | None = None, without: Iterable[str] = ()) -> Policy:
    """The policy called `name`, with a model card's `thresholds`; `without` leaves steps out, to measure them.

    Raises InvalidInput for any other name than `edits` and `overwrite`, and for a step that the policy does not have.
    """
    steps = STEPS if name == "edits" else frozenset()
    if unknown := sorted(frozenset(without) - steps):
        raise InvalidInput(f"{name} has no step {unknown[0]!r}", f"its steps: {', '.join(sorted(steps)) or 'none'}")
    if name == "edits":
        return EditsPolicy(thresholds, without)
    if name == "overwrite":
        return OverwritePolicy()
    raise InvalidInput(f"there is no write policy {name!r}", "use edits or overwrite")
