"""Write policies: how a model is asked what to keep. Each proposes; the checker decides."""

from edgemem.errors import InvalidInput
from edgemem.policies.base import CHUNK_TOKENS, TRIES, Policy, Proposal, UpdateTask
from edgemem.policies.edits import EditsPolicy
from edgemem.policies.overwrite import OverwritePolicy

__all__ = ["CHUNK_TOKENS", "TRIES", "Policy", "Proposal", "UpdateTask", "open_policy"]


def open_policy(name: str) -> Policy:
    """The policy called `name`. Raises InvalidInput for any other name than `edits` and `overwrite`."""
    if name == "edits":
        return EditsPolicy()
    if name == "overwrite":
        return OverwritePolicy()
    raise InvalidInput(f"there is no write policy {name!r}", "use edits or overwrite")
