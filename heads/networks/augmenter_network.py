"""A small network that takes an embedding to that of the transformed tile, in the manner of HistAug.

HistAug (Boutaj et al., ICCV 2025, arXiv 2508.14588): the embedding is cut into chunks, each becomes a token, and these
attend to one token a transform. Here the tokens of an embedding also share a short summary of all of it, and what comes
out is added to the embedding; the last kernel starts at zero, so that an untrained network changes nothing.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from embedstore.views import PARAMETERS
from heads.config import AugmenterConfig
from heads.networks.models import Network, Parameters, apply, dense

#: Transforms of a tile; each is a token.
TRANSFORMS = ("crop", "mirror", "turns", "stain", "blur", "contrast", "brightness", "jpeg")
#: Numbers that describe one of them; those with fewer have zeros behind.
FEATURES = 6
#: Views whose parameters an augmenter carries, to be drawn from.
BANK_ROWS = 4096
_NORMAL = nnx.initializers.lecun_normal()
_BY_CHUNK = nnx.initializers.lecun_normal(batch_axis=0)


class AugmenterArrays(NamedTuple):
    """What a traced program needs of an augmenter, beside its network.

    Attributes:
        parameters: Of the network.
        mean, std: That stored vectors are standardised by inside; a dimension that does not vary has std 1.
        scale: What each parameter of a view is divided by, so that those it was trained on lie within ±1.
        bank: Parameters of views as they are drawn.
    """

    parameters: Parameters
    mean: Float[Array, " dim"]
    std: Float[Array, " dim"]
    scale: Float[Array, " parameters"]
    bank: Float[Array, "views parameters"]


class AugmenterNetwork(nnx.Module):
    """From a standardised vector and what is done to its tile to the change of the vector."""

    def __init__(self, dim: int, config: AugmenterConfig, *, rngs: nnx.Rngs):
        chunks, width, layers = config.chunks, config.width, config.layers
        size = -(-dim // chunks)  # the last chunk is filled up with zeros
        self.heads = config.heads
        self.in_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (chunks, size, width)))
        self.in_bias = nnx.Param(jnp.zeros((chunks, width)))
        self.whole_kernel = nnx.Param(_NORMAL(rngs.params(), (dim, width)))
        self.spread_kernel = nnx.Param(_NORMAL(rngs.params(), (width, chunks * width)))
        self.transform_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (len(TRANSFORMS), FEATURES, width)))
        self.transform_bias = nnx.Param(0.5 * jax.random.normal(rngs.params(), (len(TRANSFORMS), width)))
        self.token_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (len(TRANSFORMS), width, width)))
        self.query_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (layers, width, width)))
        self.key_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (layers, width, width)))
        self.value_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (layers, width, width)))
        self.joined_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (layers, width, width)))
        self.hidden_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (layers, width, 2 * width)))
        self.hidden_bias = nnx.Param(jnp.zeros((layers, 2 * width)))
        self.mixed_kernel = nnx.Param(_BY_CHUNK(rngs.params(), (layers, 2 * width, width)))
        self.out_kernel = nnx.Param(jnp.zeros((chunks, width, size)))
        self.out_bias = nnx.Param(jnp.zeros((chunks, size)))

    def __call__(
        self, x: Float[Array, "n dim"], transforms: Float[Array, "n tokens features"]
    ) -> Float[Array, "n dim"]:
        chunks, size, width = self.in_kernel.shape
        n, dim = x.shape
        cut = jnp.pad(x, ((0, 0), (0, chunks * size - dim))).reshape(n, chunks, size)
        whole = jax.nn.gelu(x @ self.whole_kernel[...]) @ self.spread_kernel[...]
        tokens = _dense_by_token(cut, self.in_kernel[...], self.in_bias[...]) + whole.reshape(n, chunks, width)
        transform_tokens = _dense_by_token(
            jax.nn.gelu(_dense_by_token(transforms, self.transform_kernel[...], self.transform_bias[...])),
            self.token_kernel[...],
            jnp.zeros_like(self.transform_bias[...]),
        )
        for layer in range(len(self.query_kernel)):
            tokens = tokens + self._attend(layer, _rms_norm(tokens), transform_tokens)
            hidden = jax.nn.gelu(dense(_rms_norm(tokens), self.hidden_kernel[layer], self.hidden_bias[layer]))
            tokens = tokens + hidden @ self.mixed_kernel[layer]
        change = _dense_by_token(_rms_norm(tokens), self.out_kernel[...], self.out_bias[...])
        return change.reshape(n, chunks * size)[:, :dim]

    def _attend(
        self, layer: int, tokens: Float[Array, "n chunks width"], transforms: Float[Array, "n transforms width"]
    ) -> Float[Array, "n chunks width"]:
        """Cross-attention from the tokens of the embedding to those of the transforms."""

        def by_head(x: Float[Array, "n tokens width"], kernel: Float[Array, "width width"]) -> Float[Array, "..."]:
            return (x @ kernel).reshape(*x.shape[:2], self.heads, -1)

        query = by_head(tokens, self.query_kernel[layer])
        key, value = by_head(transforms, self.key_kernel[layer]), by_head(transforms, self.value_kernel[layer])
        scores = jnp.einsum("nchd,nthd->nhct", query, key) / np.sqrt(query.shape[-1])
        taken = jnp.einsum("nhct,nthd->nchd", jax.nn.softmax(scores), value)
        return taken.reshape(tokens.shape) @ self.joined_kernel[layer]


def _dense_by_token(
    x: Float[Array, "n tokens size"], kernels: Float[Array, "tokens size out"], bias: Float[Array, "tokens out"]
) -> Float[Array, "n tokens out"]:
    """A dense layer with a kernel for each token."""
    out = jnp.einsum("nts,tso->nto", x, kernels)
    return out + jnp.broadcast_to(bias, out.shape)


def _rms_norm(x: Float[Array, "*n width"]) -> Float[Array, "*n width"]:
    """RMSNorm without gain (Zhang & Sennrich 2019): tokens of length √width."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)


def augmenter_network(dim: int, config: AugmenterConfig) -> Network:
    """The network of an augmenter for vectors of some size."""
    return nnx.split(nnx.eval_shape(lambda: AugmenterNetwork(dim, config, rngs=nnx.Rngs(0))))[0]


def initial_augmenter(key: PRNGKeyArray, dim: int, config: AugmenterConfig) -> Parameters:
    """Parameters to start from: they change nothing."""
    return nnx.split(AugmenterNetwork(dim, config, rngs=nnx.Rngs(key)))[1]


def encode(
    parameters: Float[Array, "*n parameters"], scale: Float[Array, " parameters"]
) -> Float[Array, "*n tokens features"]:
    """Views' parameters as one token a transform; all zeros where nothing is done.

    A crop is its share and how far its centre moves; turns are one of three, alone and where the tile is mirrored too,
    as turning what is mirrored is another thing.
    """
    value = {name: parameters[..., i] for i, name in enumerate(PARAMETERS)}
    scaled = {name: value[name] / scale[i] for i, name in enumerate(PARAMETERS)}
    free = 1 - jnp.sqrt(1 - value["crop"])
    widest = 1 - jnp.sqrt(1 - jnp.minimum(scale[PARAMETERS.index("crop")], 0.99))
    turned = [(value["turns"] == turns).astype(jnp.float32) for turns in (1, 2, 3)]
    tokens: dict[str, list[Any]] = {
        "crop": [scaled["crop"], *((2 * value[axis] - 1) * free / widest for axis in ("crop_x", "crop_y"))],
        "mirror": [value["mirror"]],
        "turns": [*turned, *(value["mirror"] * turn for turn in turned)],
        "stain": [scaled[name] for name in PARAMETERS if name.endswith(("_gain", "_shift"))],
        **{name: [scaled[name]] for name in ("blur", "contrast", "brightness", "jpeg")},
    }
    nothing = jnp.zeros_like(value["crop"])
    rows = [jnp.stack([*of, *[nothing] * (FEATURES - len(of))], axis=-1) for of in (tokens[t] for t in TRANSFORMS)]
    return jnp.stack(rows, axis=-2)


def parameter_scale(bank: Any) -> Any:
    """(parameters,) largest absolute value of each parameter in some views (n, parameters); 1 where it is always 0."""
    most = np.abs(np.asarray(bank, np.float32)).max(axis=0)
    return np.where(most > 0, most, 1).astype(np.float32)


def apply_augmenter(
    network: Network, arrays: AugmenterArrays, vectors: Float[Array, "n dim"], parameters: Float[Array, "n parameters"]
) -> Float[Array, "n dim"]:
    """Vectors of transformed tiles, from those of the tiles; both as they are stored.

    Args:
        parameters: What is done to each tile, as `draw_parameters` gives it.
    Returns:
        float32.
    """
    vectors = vectors.astype(jnp.float32)
    std = jnp.broadcast_to(arrays.std, vectors.shape)
    x = (vectors - jnp.broadcast_to(arrays.mean, vectors.shape)) / std
    return vectors + std * apply(network, arrays.parameters, x, encode(parameters, arrays.scale))
