"""A recipe: which files are made of the checkpoint of a card (`models/NAME/recipe.toml`), by one command."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from edgemem.catalogue.cards import Card, find_card
from edgemem.errors import InvalidInput, ModelUnsupported

from .preflight import Plan
from .quantizations import parse


@dataclass(frozen=True, slots=True)
class Recipe:
    """`card` says how the model is used and where its checkpoint is, the rest what is made of it."""

    card: Card
    architecture: str
    quantizations: tuple[str, ...]
    imatrix: str

    @property
    def checkpoint(self) -> str:
        """On the hub."""
        return self.card.recipe

    def check(self, plan: Plan) -> None:
        """Raises ModelUnsupported for a checkpoint of another kind."""
        found = plan.network.architecture
        if found != self.architecture:
            raise ModelUnsupported(
                f"the recipe {self.card.name} is for {self.architecture}, this checkpoint is {found}.",
                "export it without a recipe: edgemem export gguf SRC",
            )


def open_recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises InvalidInput."""
    card = find_card(name)
    file = resources.files("edgemem.models") / (card.name if card else "-") / "recipe.toml"
    if card is None or not file.is_file():
        raise InvalidInput(f"there is no recipe {name[:80]!r}", f"there are: {', '.join(recipes())}")
    found = tomllib.loads(file.read_text("utf-8"))
    return Recipe(card, found["architecture"], parse(",".join(found["quantizations"])), found["imatrix"])


def recipes() -> list[str]:
    """The names of all recipes."""
    folders = resources.files("edgemem.models").iterdir()
    return sorted(folder.name for folder in folders if (folder / "recipe.toml").is_file())
