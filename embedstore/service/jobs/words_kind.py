"""The kind of job that makes a head of words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedstore.config import require
from embedstore.search.queries.text_query import require_text_tower
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.settings import build_config
from embedstore.store import Store as StoreTables


@dataclass(frozen=True, kw_only=True)
class ZeroShot(JobKind):
    """Make a head for tiles of words alone, by the text tower of a collection's extractor.

    Attributes:
        task: The question that it answers.
        name: Name of the head; TASK-zero-shot when None.
        collection: Collection whose extractor embeds the words; the only one when None.
        replace: Replace a head of the same name.
        trust_extractor: Run the function that the collection names; the service says whether.
        settings: Fields of `ZeroShotConfig`: `classes`, and those that differ from their defaults.
    """

    NAME: ClassVar[str] = "zero-shot"

    task: str
    name: str | None = None
    collection: str | None = None
    replace: bool = False
    trust_extractor: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        from heads.config import zero_shot_name
        from heads.prompts import ZeroShotConfig

        require("classes" in self.settings, "the settings have no classes; expected {class: [prompt, …]}, two or more")
        build_config(ZeroShotConfig, None, **self.settings)
        collection = tables.collection(self.collection)
        require_text_tower(collection.name, collection.record())
        tables.heads.require_free(self.name or zero_shot_name(self.task), replace=self.replace)

    def run(self, at: Workplace) -> dict[str, Any]:
        settings = dict(self.settings)
        head = at.store.zero_shot_head(
            self.task, settings.pop("classes"), name=self.name, collection=self.collection, replace=self.replace,
            trust_extractor=self.trust_extractor, on_progress=at.on_progress, **settings,
        )  # fmt: skip
        return {"name": head.name, "task": head.task, "digest": head.digest, "notes": list(head.record.notes)}
