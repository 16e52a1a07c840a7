"""Networks of a picture side and a text side, taken apart: each has a digest of its own."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedstore.errors import ConfigError, QueryError, WeightsError
from embedstore.extractors.config import ExtractorConfig
from embedstore.extractors.networks.network import NetworkExtractor
from embedstore.extractors.spec import ExtractorSpec
from embedstore.extractors.text_tower import TextTower
from embedstore.extractors.torch_extractor import sha256_of_tensors

TEXTS_AT_ONCE = 64
#: Their tokens go into a text tower's digest, which so covers words, capitals, signs and other scripts.
PROBES = ("dense lymphocytes", "An H&E image of Ductal carcinoma (grade 2-3), 3.5 µm.", "Drüsen; 腺癌 naïve T-cells?")


class NetworkTextTower(TextTower):
    """The text side of a network, on the CPU in fp32: a few texts take less time there than moving it.

    Args:
        weights: Its tensors.
        count: Tokens of a text, those of its beginning and end included.
        tokens: The tokens of a text, as they are for the network.
        embed: Texts, none of which is too long, to (n, dim).
    """

    def __init__(
        self,
        *,
        dim: int,
        weights: Mapping[str, Tensor],
        logit_scale: float | None,
        context_tokens: int,
        tokens: Callable[[str], list[int]],
        count: Callable[[str], int],
        embed: Callable[[list[str]], Tensor],
    ) -> None:
        self.dim, self.logit_scale, self.context_tokens = dim, logit_scale, context_tokens
        self._count, self._embed = count, embed
        facts = {"context_tokens": context_tokens, "probes": [tokens(probe) for probe in PROBES]}
        self.digest = sha256_of_tensors(dict(weights), json.dumps(facts))

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        assert self.context_tokens is not None
        for text in texts:
            if (count := self._count(text)) > self.context_tokens:
                shown = text if len(text) <= 60 else f"{text[:60]}…"
                raise QueryError(
                    f"the text {shown!r} has {count:,} tokens; the text tower takes {self.context_tokens}, and would "
                    "not see the end: say it in fewer words, or in several texts"
                )
        parts = [list(texts[start : start + TEXTS_AT_ONCE]) for start in range(0, len(texts), TEXTS_AT_ONCE)]
        with torch.inference_mode():
            rows = torch.cat([self._embed(part).float() for part in parts])
        return self.checked(rows.numpy(), texts)


def not_installed(package: str, ref: str) -> ConfigError:
    """That a library is missing which a reference needs."""
    return ConfigError(
        f'{package} is not installed, which an extractor such as {ref} needs; run `pip install "embedstore[text]"`'
    )


def make_extractor(
    spec: ExtractorSpec, image_side: nn.Module, text_tower: Callable[[int], TextTower], *, device: torch.device
) -> NetworkExtractor:
    """The extractor of a picture side, with the text tower that belongs to it.

    Args:
        text_tower: Makes it, from the length of an embedding.
    """
    extractor = NetworkExtractor(spec, image_side, device=device)
    extractor.text_tower = text_tower(extractor.dim)
    return extractor


def learnt_scale(logit_scale: Tensor) -> float:
    """What cosines are multiplied by, of the logarithm that CLIP and SigLIP learn."""
    return float(logit_scale.detach().float().exp().reshape(-1)[0])


def require_joint_space(config: ExtractorConfig, name: str) -> None:
    """Raise ConfigError where an override would leave the space that words share."""
    if config.pooling not in (None, "network"):
        raise ConfigError(
            f"extractor {name!r} gives the projected embeddings that words are compared with; pooling "
            f"{config.pooling!r} would give others: leave it out, or take the picture side alone by its timm name"
        )


def require_no_code(config: Any, where: str) -> None:
    """Raise WeightsError where a configuration asks for code that came with the weights."""
    if isinstance(config, Mapping):
        if config.get("trust_remote_code") or config.get("auto_map"):
            raise WeightsError(
                f"{where} asks for Python code that lies beside the weights, which embedstore does not run; load it "
                "with a function of your own: docs/words.md shows how"
            )
        for value in config.values():
            require_no_code(value, where)
    elif isinstance(config, list | tuple):
        for value in config:
            require_no_code(value, where)
