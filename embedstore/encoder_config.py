"""Settings of the built-in slide encoders, checked where they are made."""

import re
from dataclasses import dataclass
from typing import Literal

from embedstore.config import Settings, require
from embedstore.errors import ConfigError

#: Slide encoders that need no weights.
BuiltinEncoder = Literal["mean", "visual-words"]
BUILTIN_ENCODERS: tuple[BuiltinEncoder, ...] = ("mean", "visual-words")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_encoding_name(name: str) -> str:
    """Return the name of an encoding, or raise ConfigError: it is part of the name of a table."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"encoding name {name!r} cannot name a table; expected letters, digits, '_' and '-', at most 64, beginning "
            "with a letter or digit; pass another with --name"
        )
    return name


@dataclass(frozen=True, kw_only=True)
class VisualWordsConfig(Settings):
    """How the codebook of the encoder `visual-words` is fitted.

    Attributes:
        words: Kinds of tiles that are told apart: the length of a slide's vector.
        components: Principal components of the tiles' directions, at most.
        tiles: Tiles that it is fitted on, drawn evenly over the slides.
        seed: The same seed gives the same codebook of the same tiles.
    """

    words: int = 32
    components: int = 64
    tiles: int = 20_000
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least, most in (("words", 2, 4096), ("components", 1, 512), ("tiles", 10, 1_000_000)):
            value = getattr(self, name)
            require(least <= value <= most, f"{name} is {value}; expected {least} to {most:,}")
        require(0 <= self.seed < 1 << 31, f"seed is {self.seed}; expected 0 to {(1 << 31) - 1}")
