"""The text side of an extractor: words into the space of its embeddings."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ConfigError, ExtractorError


class TextTower(ABC):
    """Embeds words where the embeddings of tiles lie, so that the cosine between both means something.

    Attributes:
        dim: Length of an embedding; that of the extractor.
        digest: `sha256:…` over the text side's weights and tokens. The extractor's own digest does not cover them.
        logit_scale: What cosines are multiplied by to be logits, as it was learnt (the inverse of the temperature);
            None where that is not known.
        context_tokens: Most tokens of a text, those of its beginning and end included; None where that is not known.
    """

    dim: int
    digest: str
    logit_scale: float | None = None
    context_tokens: int | None = None

    @abstractmethod
    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns:
            (n, dim) float32, not normalised.
        Raises:
            QueryError: a text has more tokens than the network takes.
            ExtractorError: what the network gives has another shape, or is not finite.
        """

    def record(self) -> dict[str, Any]:
        """What is stored of it with a collection, as JSON values."""
        return {"digest": self.digest, "logit_scale": self.logit_scale, "context_tokens": self.context_tokens}

    def checked(self, rows: NDArray[Any], texts: Sequence[str]) -> NDArray[np.float32]:
        """Return embeddings as float32; raise ExtractorError unless they are (n, dim) and finite."""
        rows = np.asarray(rows, np.float32)
        if rows.shape != (len(texts), self.dim):
            raise ExtractorError(
                f"the text tower gives {rows.shape} values for {len(texts)} texts; expected {(len(texts), self.dim)}, "
                "as long as the embeddings of tiles: project both into the space that they share"
            )
        if not np.isfinite(rows).all():
            raise ExtractorError("the text tower gives NaN or infinity; check that its weights fit")
        return rows


class FunctionTextTower(TextTower):
    """The text tower of a user's own extractor.

    Args:
        embed: Takes texts, gives (n, dim) numbers: an array or a tensor.
    """

    def __init__(
        self,
        embed: Callable[[Sequence[str]], Any],
        *,
        dim: int,
        digest: str,
        logit_scale: float | None = None,
        context_tokens: int | None = None,
    ) -> None:
        self._embed = embed
        self.dim, self.digest = dim, digest
        self.logit_scale = None if logit_scale is None else checked_scale(logit_scale)
        self.context_tokens = context_tokens

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows: Any = self._embed(list(texts))
        if hasattr(rows, "detach"):  # a tensor of torch
            rows = rows.detach().float().cpu().numpy()
        return self.checked(rows, texts)


def checked_scale(scale: float) -> float:
    """A logit scale; raises ConfigError unless it is a positive number."""
    scale = float(scale)
    if not (np.isfinite(scale) and scale > 0):
        raise ConfigError(f"logit_scale is {scale}; expected a number above 0, such as CLIP's 100")
    return scale


def recorded_text(details: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a collection's record says of its extractor's text tower; None where it has none, or did not say."""
    text = details.get("text")
    return text if isinstance(text, Mapping) else None
