"""Small networks on embeddings, in Flax. Pure once split: `apply(network, parameters, x, …)`."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Float16, PRNGKeyArray

from heads.config import ZERO_SHOT

Network = nnx.GraphDef
Parameters = Any  # a pytree of arrays, as `nnx.split` gives it

_NORMAL = nnx.initializers.lecun_normal()


def standardised_dense(
    x: Float[Array, "*batch dim"],
    kernel: Float[Array, "dim out"],
    bias: Float[Array, " out"],
    shift: Float[Array, " dim"],
    scale: Float[Array, " dim"],
) -> Float[Array, "*batch out"]:
    """((x − shift) / scale) @ kernel + bias, without touching x.

    Heads of several folds share a batch, and each standardises by its own training rows. Taken into the kernel, that
    leaves one matrix product for all of them. Exact in float32 where x is about standardised already.
    """
    scaled = kernel / scale[:, None]
    return dense(x, scaled, bias - shift @ scaled)


def dense(
    x: Float[Array, "*batch dim"], kernel: Float[Array, "dim out"], bias: Float[Array, " out"]
) -> Float[Array, "*batch out"]:
    """x @ kernel + bias."""
    return x @ kernel + jnp.broadcast_to(bias, (*x.shape[:-1], len(bias)))


class LinearHead(nnx.Module):
    """A linear classifier; starts at zero."""

    def __init__(self, dim: int, classes: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jnp.zeros((dim, classes)))
        self.bias = nnx.Param(jnp.zeros(classes))

    def __call__(
        self,
        x: Float[Array, "*batch dim"],
        shift: Float[Array, " dim"],
        scale: Float[Array, " dim"],
        key: PRNGKeyArray | None,
    ) -> Float[Array, "*batch classes"]:
        return standardised_dense(x, self.kernel[...], self.bias[...], shift, scale)


class CosineHead(nnx.Module):
    """Cosines between a vector as it is stored and the directions of classes, the columns of its kernel."""

    def __init__(self, dim: int, classes: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(jnp.zeros((dim, classes)))

    def __call__(
        self,
        x: Float[Array, "*batch dim"],
        shift: Float[Array, " dim"],
        scale: Float[Array, " dim"],
        key: PRNGKeyArray | None,
    ) -> Float[Array, "*batch classes"]:
        length = jnp.linalg.norm(x, axis=-1, keepdims=True)
        return (x @ self.kernel[...]) / jnp.where(length == 0, 1.0, length)


class MLPHead(nnx.Module):
    """One hidden layer with GELU and dropout."""

    def __init__(self, dim: int, classes: int, hidden: int, dropout: float, *, rngs: nnx.Rngs):
        self.dropout = dropout
        self.kernel = nnx.Param(_NORMAL(rngs.params(), (dim, hidden)))
        self.bias = nnx.Param(jnp.zeros(hidden))
        self.out_kernel = nnx.Param(_NORMAL(rngs.params(), (hidden, classes)))
        self.out_bias = nnx.Param(jnp.zeros(classes))

    def __call__(
        self,
        x: Float[Array, "*batch dim"],
        shift: Float[Array, " dim"],
        scale: Float[Array, " dim"],
        key: PRNGKeyArray | None,
    ) -> Float[Array, "*batch classes"]:
        hidden = jax.nn.gelu(standardised_dense(x, self.kernel[...], self.bias[...], shift, scale))
        return dense(_dropout(hidden, self.dropout, key), self.out_kernel[...], self.out_bias[...])


class GatedAttentionHead(nnx.Module):
    """Attention-based multiple-instance learning with a gate (Ilse, Tomczak & Welling 2018, arXiv 1802.04712).

    A bag is (tiles, dim) with a mask (tiles,); what the mask leaves out weighs nothing, whatever it holds.
    """

    def __init__(self, dim: int, classes: int, hidden: int, dropout: float, *, rngs: nnx.Rngs):
        self.dropout = dropout
        attention = max(1, hidden // 2)
        self.kernel = nnx.Param(_NORMAL(rngs.params(), (dim, hidden)))
        self.bias = nnx.Param(jnp.zeros(hidden))
        self.tanh_kernel = nnx.Param(_NORMAL(rngs.params(), (hidden, attention)))
        self.tanh_bias = nnx.Param(jnp.zeros(attention))
        self.gate_kernel = nnx.Param(_NORMAL(rngs.params(), (hidden, attention)))
        self.gate_bias = nnx.Param(jnp.zeros(attention))
        self.score_kernel = nnx.Param(_NORMAL(rngs.params(), (attention, 1)))
        self.out_kernel = nnx.Param(_NORMAL(rngs.params(), (hidden, classes)))
        self.out_bias = nnx.Param(jnp.zeros(classes))

    def __call__(
        self,
        x: Float[Array, "tiles dim"],
        shift: Float[Array, " dim"],
        scale: Float[Array, " dim"],
        key: PRNGKeyArray | None,
        mask: Bool[Array, " tiles"],
    ) -> tuple[Float[Array, " classes"], Float[Array, " tiles"]]:
        """Logits (classes,) of a bag, and the attention (tiles,) that each tile got; it sums to one."""
        hidden = jax.nn.relu(standardised_dense(x, self.kernel[...], self.bias[...], shift, scale))
        hidden = _dropout(hidden, self.dropout, key)
        gate = jax.nn.sigmoid(dense(hidden, self.gate_kernel[...], self.gate_bias[...]))
        scores = (jnp.tanh(dense(hidden, self.tanh_kernel[...], self.tanh_bias[...])) * gate) @ self.score_kernel[...]
        attention = jax.nn.softmax(jnp.where(mask, scores[..., 0], -1e9))
        attention = jnp.where(mask, attention, 0.0)
        return dense(attention @ hidden, self.out_kernel[...], self.out_bias[...]), attention


def _dropout(hidden: jax.Array, rate: float, key: PRNGKeyArray | None) -> jax.Array:
    """Inverted dropout; none without a key or at rate 0."""
    if key is None or rate == 0:
        return hidden
    return jnp.where(jax.random.bernoulli(key, 1 - rate, hidden.shape), hidden / (1 - rate), 0.0)


@cache  # 1 to 14 ms, and a prediction of bags asks for each bag
def make_network(model: str, *, dim: int, classes: int, hidden: int, dropout: float) -> Network:
    """The network of a head's model; `mean` and `max` heads are linear on what they pool."""
    return nnx.split(nnx.eval_shape(lambda: _build(model, dim, classes, hidden, dropout, nnx.Rngs(0))))[0]


def initial_parameters(
    model: str, key: PRNGKeyArray, *, dim: int, classes: int, hidden: int, dropout: float
) -> Parameters:
    """Parameters to start from."""
    return nnx.split(_build(model, dim, classes, hidden, dropout, nnx.Rngs(key)))[1]


def _build(model: str, dim: int, classes: int, hidden: int, dropout: float, rngs: nnx.Rngs) -> nnx.Module:
    if model == "mlp":
        return MLPHead(dim, classes, hidden, dropout, rngs=rngs)
    if model == "abmil":
        return GatedAttentionHead(dim, classes, hidden, dropout, rngs=rngs)
    if model == ZERO_SHOT:
        return CosineHead(dim, classes, rngs=rngs)
    return LinearHead(dim, classes, rngs=rngs)


def apply(network: Network, parameters: Parameters, *inputs: Any) -> Any:
    """Run a network: (x, shift, scale, key), and a mask for bags."""
    return nnx.merge(network, parameters)(*inputs)


def decay_mask(parameters: Parameters) -> Any:
    """Which parameters weight decay acts on: kernels, not biases."""
    return jax.tree.map_with_path(lambda path, _: "kernel" in jax.tree_util.keystr(path), parameters)


def first_columns(parameters: Parameters, columns: int) -> Parameters:
    """Parameters of a network with only its first columns of logits: those of one of several tasks."""
    pure = to_arrays(parameters)
    last = ("out_kernel", "out_bias") if "out_kernel" in pure else ("kernel", "bias")
    return from_arrays({name: a[..., :columns] if name in last else a for name, a in pure.items()})


def with_kernel(parameters: Parameters, kernel: Float[Array, "dim out"]) -> Parameters:
    """The same parameters with another first kernel."""
    return from_arrays({**to_arrays(parameters), "kernel": kernel})


def to_arrays(parameters: Parameters) -> dict[str, Any]:
    """Parameters by name."""
    return dict(nnx.to_pure_dict(parameters))


def from_arrays(arrays: Mapping[str, Any]) -> Parameters:
    """Parameters from what `to_arrays` gave."""
    return nnx.State({name: nnx.Param(jnp.asarray(array)) for name, array in arrays.items()})


def standardise(
    vectors: Float16[Array, "*n dim"], mean: Float[Array, " dim"], std: Float[Array, " dim"]
) -> Float[Array, "*n dim"]:
    """Stored vectors as float32 in standard deviations from the mean, by dimension."""
    shape = vectors.shape
    return (vectors.astype(jnp.float32) - jnp.broadcast_to(mean, shape)) / jnp.broadcast_to(std, shape)
