"""`edgemem memory encrypt`: turn encryption at rest on or off, or change the passphrase."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from edgemem.cli.open import store_for
from edgemem.cli.options import Run, common
from edgemem.cli.passphrase import into_keyring, new_passphrase
from edgemem.errors import InvalidInput

app = typer.Typer(rich_markup_mode=None)
LOST = (
    "whoever loses the passphrase or vault.json loses the memory: back up vault.json, it is of no use without the other"
)


@app.command("encrypt")
@common
def encrypt(
    run: Run,
    off: Annotated[bool, typer.Option("--off", help="Write the files in plain again.")] = False,
    change: Annotated[bool, typer.Option("--change", help="Give it another passphrase.")] = False,
    keyring: Annotated[bool, typer.Option("--keyring", help="Let the system's keyring keep a random one.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only say whether it is encrypted.")] = False,
) -> None:
    """Encrypt memory, journal, typed history and computed prompts of a user with a passphrase (extra [encryption])."""
    from edgemem.cli.open import places_for
    from edgemem.store.sealing import read_vault

    user = run.settings.user
    vault = read_vault(places_for(run).data / "users" / user)
    if status:
        _say(run, vault is not None, "is encrypted" if vault else "is not encrypted")
        return
    if off + change > 1 or (off and keyring):
        raise InvalidInput("what is wanted?", "give one of --off and --change")
    if (vault is None) == (off or change):
        raise InvalidInput(
            f"the memory of {user} is {'not encrypted' if vault is None else 'encrypted already'}",
            "edgemem memory encrypt" if vault is None else "--change gives it another passphrase, --off turns it off",
        )
    store = store_for(run)
    if off:
        store.decrypt()
        _say(run, False, "is in plain text again")
        return
    passphrase = secrets.token_urlsafe(32) if keyring else new_passphrase(user)
    if keyring:
        into_keyring(user, passphrase)
    store.encrypt(passphrase, in_keyring=keyring)
    _say(run, True, "has another passphrase" if change else "is encrypted")
    run.output.note(LOST)
    if not change:
        run.output.note("what was on disk before may be left in free blocks, snapshots and backups; exports stay plain")


def _say(run: Run, on: bool, what: str) -> None:
    if run.output.json:
        run.output.data({"user": run.settings.user, "encrypted": on})
    else:
        run.output.text(f"the memory of {run.settings.user} {what}")
