"""Active learning: which tiles to label next, and which labels to look at again."""

from heads.active.mistakes import find_mistakes
from heads.active.suggest import suggest_tiles

__all__ = ["find_mistakes", "suggest_tiles"]
