# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from lrm_jax import sharding
from lrm_jax.models.lora import LoraConfig
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import MoeConfig, PolicyConfig
from lrm_jax.recipes.policy_build import state_shardings
from lrm_jax.recipes.policy_state import add_adapters, full_weights, merged_weights

CFG = PolicyConfig(
    vocab_size=16,
    d_model=16,
    n_layers=2,
    n_heads=2,
    d_ff=24,
    tied_embeddings=False,
    moe=MoeConfig(n_experts=4),
)


@pytest.mark.parametrize("scan", [False, True])
def test_adapters_lie_as_the_kernels_they_are_for(scan):
    policy = token_policy(PolicyConfig(**vars(CFG) | {"scan_layers": scan}))
    mesh = sharding.make_mesh(sharding.MeshConfig(data=2, fsdp=2, model=2))
    lora = LoraConfig(rank=2, targets="_proj|lm_head")

    def init(key):
        weights_key, lora_key = jax.random.split(key)
        return add_adapters(lora, {"weights": policy.init(weights_key)}, lora_key)

    shapes = jax.eval_shape(init, jax.random.key(0))
    where = state_shardings(mesh, policy, shapes)
    block = lambda part: part["stage_0" if scan else "layers_0"]
    stack = [None] if scan else []
    experts = block(where["lora"])["moe"]["down_proj"]
    assert block(where["weights"])["moe"]["down_proj"].spec == P(
        *stack, None, "model", "fsdp"
    )
    assert experts["lora_a"].spec == P(*stack, None, "model", None)
    assert experts["lora_b"].spec == P(*stack, None, None, "fsdp")
    query = block(where["lora"])["attn"]["q_proj"]
    assert query["lora_a"].spec == P(*stack, "fsdp", None)
    assert where["lora"]["lm_head"]["lora_b"].spec == P(None, "model")

    params = init(jax.random.key(0))
    params["lora"] = jax.tree.map(lambda x: x + 0.05, params["lora"])
    ids = np.arange(32, dtype=np.int32).reshape(4, 8) % 16
    at = np.broadcast_to(np.arange(8, dtype=np.int32), (4, 8))

    @jax.jit
    def logits(params):
        mask = np.ones((4, 8), bool)
        hidden = policy.forward(params, ids, at, mask).hidden
        return policy.logits(params, hidden)

    with sharding.use_mesh(mesh):
        split = logits(full_weights(jax.device_put(params, where)))
    np.testing.assert_allclose(split, logits(merged_weights(params)), atol=2e-5)
