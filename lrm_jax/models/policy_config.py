# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shape and kind of a token policy: Qwen2/3, Llama 3, Qwen3-MoE, DeepSeek-V3.

Configs only; the names of the fields are those of STYLE, not of one family.
"""

from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

from lrm_jax.types import UserError

RopeKind = Literal["default", "linear", "dynamic", "llama3", "yarn"]


@dataclass(frozen=True)
class RopeConfig:
    """Rotary positions and how they are stretched to long contexts.

    Attributes:
      theta: base of the angles.
      kind: `default`; `linear` position interpolation (arXiv 2306.15595); `dynamic`
        NTK (depends on the longest position in the batch); `llama3`; `yarn` (arXiv
        2309.00071).
      factor: by how much the context is stretched.
      original_max_len: context before stretching; 0 = the policy's `max_seq_len`.
      low_freq_factor: of llama3.
      high_freq_factor: of llama3.
      beta_fast: of yarn; rotations above which a pair is not interpolated.
      beta_slow: of yarn; rotations below which a pair is fully interpolated.
      attention_factor: of yarn; multiplies cos and sin; 0 = from `factor`.
      mscale: of yarn as DeepSeek uses it; 0 = unused.
      mscale_all_dim: of yarn as DeepSeek uses it; 0 = unused.
      truncate: of yarn; round the bounds of the ramp to whole dimensions.
      interleaved: pairs are neighbours (DeepSeek) instead of halves apart.
    """

    theta: float = 10000.0
    kind: RopeKind = "default"
    factor: float = 1.0
    original_max_len: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 0.0
    mscale: float = 0.0
    mscale_all_dim: float = 0.0
    truncate: bool = True
    interleaved: bool = False


@dataclass(frozen=True)
class MoeConfig:
    """A mixture of experts in place of the feed-forward of some layers.

    Attributes:
      n_experts: routed experts.
      top_k: experts that a token goes to.
      d_expert: inner width of one expert.
      n_shared: experts that every token goes to (one SwiGLU of `n_shared` times
        the width).
      dense_layers: indices of layers that keep the dense feed-forward.
      scoring: `softmax` over all experts (Qwen3-MoE) or `sigmoid` of each, with a
        correction bias that only chooses (DeepSeek-V3, arXiv 2412.19437 §2.1.2).
      n_groups: groups of experts; only the best `top_groups` are chosen from.
      top_groups: groups kept; a group's score is the sum of its two best.
      norm_topk: divide the chosen weights by their sum.
      routed_scale: multiplies the weights of the routed experts.
      dispatch: `dense` runs every expert on every token, `ragged` only the chosen
        ones; `auto` takes `dense` where that is less work for the device.
      router_dtype: `wide` routes in float32 at least; `float32` also where the
        activations are wider, as transformers does.
    """

    n_experts: int = 8
    top_k: int = 2
    d_expert: int = 64
    n_shared: int = 0
    dense_layers: tuple[int, ...] = ()
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    n_groups: int = 1
    top_groups: int = 1
    norm_topk: bool = True
    routed_scale: float = 1.0
    dispatch: Literal["auto", "dense", "ragged"] = "auto"
    router_dtype: Literal["wide", "float32"] = "wide"


@dataclass(frozen=True)
class MlaConfig:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434 §2.1).

    Attributes:
      q_rank: width of the compressed query; 0 = not compressed.
      kv_rank: width of the compressed key and value, which is what is cached.
      d_nope: width of a head's key without position.
      d_rope: width of the key with position, one for all heads.
      d_value: width of a head's value.
    """

    q_rank: int = 0
    kv_rank: int = 64
    d_nope: int = 16
    d_rope: int = 8
    d_value: int = 16


@dataclass(frozen=True)
class PolicyConfig:
    """Shape and kind of a decoder-only transformer.

    Attributes:
      vocab_size: ids that exist.
      vocab_rows: rows of the embedding; those beyond `vocab_size` are padding and
        never sampled; 0 = `vocab_size`.
      d_model: width of the residual stream.
      n_layers: blocks.
      n_heads: query heads.
      n_kv_heads: key and value heads; 0 = `n_heads`.
      d_head: width of a head; 0 = `d_model / n_heads`.
      d_ff: inner width of the SwiGLU.
      max_seq_len: longest sequence that the model is meant for.
      norm_eps: added to every mean square.
      tied_embeddings: the head is the transposed embedding.
      qkv_bias: queries, keys and values have a bias (in latent attention: the
        down-projections).
      o_bias: the output projection of attention has one.
      mlp_bias: the three projections of the feed-forward have one.
      qk_norm: norm each head's query and key, with a learned scale.
      sliding_window: positions that a query sees, itself included; 0 = all.
      sliding_layers: layers with the window; None = all of them.
      rope: rotary positions.
      moe: a mixture of experts, or None.
      mla: latent attention in place of grouped-query attention, or None.
      value_head: a linear read-out of the hidden state, for critics.
      mtp_layers: multi-token-prediction blocks (arXiv 2412.19437 §2.2).
      scan_layers: stack equal layers and scan over them (compiles once).
      remat: what the backward pass recomputes: nothing, whole blocks, or all but
        the products with weights.
      attention: of whole sequences: `xla` products; `cudnn`, a fused kernel of CUDA
        GPUs for bfloat16; `auto`, that kernel where it is and needs no dense mask
        (`flash.py`). Caches are always read by `xla`.
      dtype: of activations and caches; `inherited` is that of the run's source, and
        no model has it.
      param_dtype: of the weights.
    """

    vocab_size: int = 256
    vocab_rows: int = 0
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_kv_heads: int = 0
    d_head: int = 0
    d_ff: int = 128
    max_seq_len: int = 1024
    norm_eps: float = 1e-6
    tied_embeddings: bool = True
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    sliding_window: int = 0
    sliding_layers: tuple[int, ...] | None = None
    rope: RopeConfig = field(default_factory=RopeConfig)
    moe: MoeConfig | None = None
    mla: MlaConfig | None = None
    value_head: bool = False
    mtp_layers: int = 0
    scan_layers: bool = False
    remat: Literal["none", "block", "dots"] = "none"
    attention: Literal["xla", "cudnn", "auto"] = "xla"
    dtype: Literal["float32", "bfloat16", "float64", "inherited"] = "float32"
    param_dtype: Literal["float32", "bfloat16", "float64"] = "float32"

    @property
    def rows(self) -> int:
        """Rows of the embedding and columns of the head."""
        return self.vocab_rows or self.vocab_size

    @property
    def kv_heads(self) -> int:
        """Key and value heads."""
        return self.n_kv_heads or self.n_heads

    @property
    def head_dim(self) -> int:
        """Width of a head of grouped-query attention."""
        return self.d_head or self.d_model // self.n_heads

    def has_window(self, layer: int) -> bool:
        """Return whether a layer sees only the last `sliding_window` positions."""
        if not self.sliding_window:
            return False
        return self.sliding_layers is None or layer in self.sliding_layers

    def is_moe(self, layer: int) -> bool:
        """Return whether a layer's feed-forward is a mixture of experts."""
        return self.moe is not None and layer not in self.moe.dense_layers


class Stage(NamedTuple):
    """Neighbouring layers with the same parameters' shapes.

    Attributes:
      first: index of the first layer.
      n_layers: how many.
      moe: whether they are mixtures of experts.
    """

    first: int
    n_layers: int
    moe: bool

    @property
    def name(self) -> str:
        """Its key in the parameters where layers are scanned."""
        return f"stage_{self.first}"


def stages(cfg: PolicyConfig) -> list[Stage]:
    """Return the runs of equal layers, in order."""
    found = []
    for moe, layers in groupby(range(cfg.n_layers), cfg.is_moe):
        group = list(layers)
        found.append(Stage(group[0], len(group), moe))
    return found


def check_policy(cfg: PolicyConfig, where: str = "model") -> PolicyConfig:
    """Return the config, or say which field cannot be.

    Raises:
      UserError: sizes that do not fit each other.
    """
    for name in ("vocab_size", "d_model", "n_layers", "n_heads", "d_ff", "max_seq_len"):
        if getattr(cfg, name) < 1:
            raise UserError(f"{where}.{name}={getattr(cfg, name)}: expected 1 or more")
    if cfg.dtype == "inherited":
        raise UserError(
            f"{where}.dtype='inherited': is for inherit=true; expected float32, "
            "bfloat16 or float64"
        )
    if cfg.rows < cfg.vocab_size:
        raise UserError(
            f"{where}.vocab_rows={cfg.vocab_rows}: less than vocab_size="
            f"{cfg.vocab_size}; expected 0 or at least as many"
        )
    if cfg.mla is None:
        if not cfg.d_head and cfg.d_model % cfg.n_heads:
            raise UserError(
                f"{where}.n_heads={cfg.n_heads}: must divide d_model={cfg.d_model}, "
                "or give d_head"
            )
        if cfg.n_heads % cfg.kv_heads:
            raise UserError(
                f"{where}.n_kv_heads={cfg.n_kv_heads}: must divide n_heads="
                f"{cfg.n_heads}"
            )
    width = cfg.mla.d_rope if cfg.mla else cfg.head_dim
    if width % 2:
        raise UserError(f"{where}: rotary width {width}: expected an even number")
    if cfg.moe is not None:
        _check_moe(cfg.moe, f"{where}.moe")
    return cfg


def _check_moe(moe: MoeConfig, where: str) -> None:
    if not 1 <= moe.top_k <= moe.n_experts:
        raise UserError(
            f"{where}.top_k={moe.top_k}: expected 1 to n_experts={moe.n_experts}"
        )
    if moe.n_experts % moe.n_groups:
        raise UserError(
            f"{where}.n_groups={moe.n_groups}: must divide n_experts={moe.n_experts}"
        )
    group = moe.n_experts // moe.n_groups
    if not 1 <= moe.top_groups <= moe.n_groups or moe.top_groups * group < moe.top_k:
        raise UserError(
            f"{where}.top_groups={moe.top_groups}: {moe.top_groups} of {moe.n_groups} "
            f"groups of {group} experts do not hold top_k={moe.top_k}"
        )
    if moe.n_groups > 1 and (moe.scoring != "sigmoid" or group < 2):
        raise UserError(
            f"{where}.n_groups={moe.n_groups}: groups are for scoring=sigmoid, with 2 "
            "experts or more each"
        )
