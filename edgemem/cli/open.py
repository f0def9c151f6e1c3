"""Opens what a command works on. The one seam where a test (or an embedder) puts another assistant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgemem.cli.options import Run
from edgemem.cli.output import Report
from edgemem.cli.passphrase import passphrase_of
from edgemem.places import Places, places
from edgemem.settings import Settings

if TYPE_CHECKING:
    from edgemem.assistant import Assistant
    from edgemem.opening import OpenedModel
    from edgemem.store import UserStore


def open_from_settings(settings: Settings, progress: Report | None, temporary: bool = False) -> Assistant:
    """An assistant as the settings say. A temporary one changes no byte on disk. Raises as `open_assistant`."""
    from edgemem.assistant import open_assistant

    return open_assistant(
        settings.user,
        model=settings.model,
        data_dir=settings.data_dir,
        policy=settings.policy,
        device=settings.device,
        gpu_layers=settings.gpu_layers,
        context_tokens=settings.context_tokens,
        threads=settings.threads,
        offline=settings.offline,
        budget_tokens=settings.budget_tokens,
        temporary=temporary,
        mask_secrets=settings.mask_secrets,
        review=settings.review,
        never_keep=settings.never_keep,
        passphrase=passphrase_of(settings.user),
        tune=settings.tune,
        progress=progress,
    )


assistant_opener: Callable[[Settings, Report | None, bool], Assistant] = open_from_settings


def new_assistant(run: Run, settings: Settings, temporary: bool = False) -> Assistant:
    """An assistant that the caller closes. Checking a model's digest for the first time shows its progress."""
    with run.output.progress("bytes") as report:
        return assistant_opener(settings, report, temporary)


@contextmanager
def assistant_for(run: Run, temporary: bool = False) -> Iterator[Assistant]:
    """The assistant of this run, closed afterwards."""
    assistant = new_assistant(run, run.settings, temporary)
    try:
        yield assistant
    finally:
        assistant.close()


def model_for(run: Run, name: str | None = None, *, tune: bool = True) -> OpenedModel:
    """The model called `name` (that of the settings without), which the caller closes; `tune` if the settings do."""
    from edgemem.opening import open_model

    settings = run.settings
    with run.output.progress("bytes") as report:
        return open_model(
            name or settings.model,
            where=places_for(run),
            device=settings.device,
            gpu_layers=settings.gpu_layers,
            context_tokens=settings.context_tokens,
            threads=settings.threads,
            offline=settings.offline,
            tune=tune and settings.tune,
            progress=report,
        )


def store_for(run: Run) -> UserStore:
    """The user's memory and journal, without a model; closed when the run ends."""
    from edgemem.store import open_store

    settings = run.settings
    store = open_store(
        places_for(run).data,
        settings.user,
        mask_secrets=settings.mask_secrets,
        passphrase=passphrase_of(settings.user),
    )
    return run.closing.enter_context(store)


def places_for(run: Run) -> Places:
    """The folders of this run."""
    return places(run.settings.data_dir)
