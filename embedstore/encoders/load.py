"""A slide encoder by its name."""

from embedstore.encoder_config import BUILTIN_ENCODERS, VisualWordsConfig
from embedstore.encoders.catalogue import published_encoders
from embedstore.encoders.custom import load_custom
from embedstore.encoders.encoder import MeanEncoder, SlideEncoder
from embedstore.encoders.visual_words import VisualWordsEncoder
from embedstore.errors import ConfigError, UnknownEncoderError


def load_encoder(ref: str, config: VisualWordsConfig | None = None, *, device: str = "auto") -> SlideEncoder:
    """The encoder of a name, or of a user's function.

    Args:
        ref: A built-in encoder, `module:function` or `file.py:function`.
        config: Of `visual-words`; its defaults when None.
        device: auto, cpu, cuda or cuda:N; of a user's torch module.
    Raises:
        UnknownEncoderError: there is none, or it is a published one, whose code is run by a user's function alone.
        ConfigError: settings for another encoder than `visual-words`; or as of `load_custom`.
        DeviceError: as of `load_custom`.
    """
    if ref == "visual-words":
        return VisualWordsEncoder(config)
    if config is not None:
        raise ConfigError(
            f"slide encoder {ref!r} has no codebook, so {', '.join(vars(config))} are none of its settings"
        )
    if ref == "mean":
        return MeanEncoder()
    if ":" in ref:
        return load_custom(ref, device)
    if ref in published_encoders():
        raise UnknownEncoderError(
            f"slide encoder {ref!r} runs code of its own package, which embedstore does not run by itself; write a "
            f"function that calls it and pass file.py:function; docs/slide-encoders.md shows one; the facts are at "
            f"{published_encoders()[ref].url}"
        )
    raise UnknownEncoderError(
        f"no slide encoder {ref!r}; expected one of {', '.join(BUILTIN_ENCODERS)}, or module:function; "
        "`embedstore encode-slides --list` shows those that are known"
    )
