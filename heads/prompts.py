"""Classes in words: the prompts of each class and the sentences that they stand in, given or read from a file."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedstore.config import JoinConfig, Settings, require
from embedstore.errors import ConfigError, QueryError
from embedstore.query_text import MOST_TEXTS, given_texts
from embedstore.text_files import read_text

#: Where a class's prompt stands in a template.
PLACE = "{}"
MOST_CLASSES = 200
SUFFIXES = (".toml", ".json", ".csv")
_LARGEST_BYTES = 1 << 20
_EXPECTED = "expected a table `classes` of the prompts of each class, and perhaps a list `templates`"


@dataclass(frozen=True, kw_only=True)
class ZeroShotConfig(Settings):
    """A classifier of tiles that is made of words.

    Attributes:
        classes: The prompts of each class, two classes or more: {"tumour": ["tumor tissue", "carcinoma"], …}.
        templates: Sentences with {} where each prompt is put in, such as "an H&E image of {}.".
        positive: Of two classes, the one that is looked for; the second when None.
        logit_scale: What cosines are multiplied by before the softmax; as the text tower learnt it when None.
        bootstrap: Resamples for the confidence intervals of its metrics, where the task has labels.
        join: When a tile lies in an annotated area.
    """

    classes: Mapping[str, Any]
    templates: tuple[str, ...] = (PLACE,)
    positive: str | None = None
    logit_scale: float | None = None
    bootstrap: int = 1000
    join: JoinConfig = field(default_factory=JoinConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            2 <= len(self.classes) <= MOST_CLASSES,
            f"the number of classes is {len(self.classes)}; expected 2 to {MOST_CLASSES}: say also what is not looked "
            "for, such as normal=normal tissue",
        )
        object.__setattr__(self, "classes", {name: _prompts(name, given) for name, given in self.classes.items()})
        require(len(self.templates) > 0, f"there is no template; expected one or more with {PLACE}")
        for template in self.templates:
            require(
                template.count(PLACE) == 1,
                f"the template {template!r} has {template.count(PLACE)} places for a prompt; expected {PLACE} once",
            )
        owner: dict[str, str] = {}
        for name in self.classes:
            for text in self.texts(name):
                other = owner.setdefault(text, name)
                require(other == name, f"classes {other!r} and {name!r} have the same text {text!r}; expected others")
        require(len(owner) <= MOST_TEXTS, f"prompts in templates are {len(owner):,} texts; expected {MOST_TEXTS:,}")
        require(
            self.positive is None or self.positive in self.classes,
            f"positive class {self.positive!r} is none of {', '.join(self.classes)}; name one of them",
        )
        require(
            self.logit_scale is None or self.logit_scale > 0,
            f"logit_scale is {self.logit_scale}; expected a number above 0, such as CLIP's 100",
        )
        require(self.bootstrap >= 0, f"bootstrap is {self.bootstrap}; expected 0 (no intervals) or more")

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of a class: each of its prompts in each template."""
        return given_texts([template.replace(PLACE, p) for p in self.classes[name] for template in self.templates])


def _prompts(name: str, given: Any) -> tuple[str, ...]:
    require(bool(name.strip()), "a class has no name; expected NAME=PROMPT|PROMPT")
    require(
        isinstance(given, str | Sequence),
        f"class {name!r} has a {type(given).__name__}; expected a prompt or a list of them",
    )
    try:
        return given_texts(given)
    except QueryError as error:
        raise ConfigError(f"class {name!r}: {error}") from error


def parse_classes(values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Classes as the command line takes them: 'tumour=tumor tissue|carcinoma'.

    Raises:
        ConfigError: there is no '=', or a class comes twice.
    """
    classes: dict[str, tuple[str, ...]] = {}
    for value in values:
        name, equals, prompts = value.partition("=")
        name = name.strip()
        require(bool(equals and name), f"class {value!r} has no prompt; expected NAME=PROMPT|PROMPT")
        require(name not in classes, f"class {name!r} is given twice; give all of its prompts at once, with | between")
        classes[name] = tuple(prompts.split("|"))
    return classes


def read_prompts(path: str | Path) -> dict[str, Any]:
    """The settings `classes` and `templates` of a file.

    Args:
        path: TOML or JSON with a table `classes`, {class: prompt or list of prompts}, and perhaps a list `templates`;
            or a CSV with the columns class and prompt, a row a prompt.
    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    require(suffix in SUFFIXES, f"file of prompts {path} ends in {suffix or 'nothing'}; expected {', '.join(SUFFIXES)}")
    try:
        text = read_text(path, limit_bytes=_LARGEST_BYTES)
        found = _of_csv(text, path) if suffix == ".csv" else _of_tree(text, suffix)
    except OSError as error:
        raise ConfigError(f"file of prompts {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError, csv.Error) as error:  # no UTF-8, no TOML, no JSON
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"file of prompts {path} cannot be read: {error}; {_EXPECTED}") from error
    wrong = not isinstance(found, dict) or not isinstance(found.get("classes"), dict)
    if wrong or not found.keys() <= {"classes", "templates"}:
        has = ", ".join(map(str, found)) if isinstance(found, dict) else f"a {type(found).__name__}"
        raise ConfigError(f"file of prompts {path} has {has or 'nothing'}; {_EXPECTED}")
    return found


def _of_tree(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text)
    import tomllib

    return tomllib.loads(text)


def _of_csv(text: str, path: Path) -> dict[str, Any]:
    reader = csv.DictReader(io.StringIO(text))
    columns = reader.fieldnames or []
    require(
        {"class", "prompt"} <= set(columns),
        f"file of prompts {path} has the columns {', '.join(columns) or '(none)'}; expected class and prompt",
    )
    classes: dict[str, list[str]] = {}
    for row in reader:
        name, prompt = (row["class"] or "").strip(), row["prompt"] or ""
        require(bool(name), f"file of prompts {path}: line {reader.line_num} has no class")
        classes.setdefault(name, []).append(prompt)
    return {"classes": classes}
