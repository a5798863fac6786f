# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lrm_jax.interop.hf import hf_tensors, load_hf
from lrm_jax.interop.hf_export import hf_config
from lrm_jax.interop.hf_files import HfWeights, dequantise, write_shards
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import (
    MlaConfig,
    MoeConfig,
    PolicyConfig,
    RopeConfig,
)
from lrm_jax.types import UserError

QWEN3 = PolicyConfig(
    vocab_size=20, d_model=16, n_layers=2, n_heads=4, n_kv_heads=2, d_head=8, d_ff=24,
    max_seq_len=64, qk_norm=True, tied_embeddings=False,
)  # fmt: skip
YARN = RopeConfig(
    kind="yarn", factor=4.0, original_max_len=16, mscale=1.0, mscale_all_dim=0.5,
    interleaved=True,
)  # fmt: skip
CONFIGS = {
    "qwen3": QWEN3,
    "qwen3 windows": dataclasses.replace(
        QWEN3, sliding_window=3, sliding_layers=(1,), tied_embeddings=True
    ),
    "qwen2": dataclasses.replace(QWEN3, qk_norm=False, qkv_bias=True, d_head=0),
    "llama": dataclasses.replace(
        QWEN3, qk_norm=False, qkv_bias=True, o_bias=True, mlp_bias=True,
        rope=RopeConfig(kind="llama3", factor=8.0, original_max_len=16),
    ),
    "qwen3 moe": dataclasses.replace(
        QWEN3, moe=MoeConfig(n_experts=4, d_expert=8, dense_layers=(0,))
    ),
    "scanned moe": dataclasses.replace(
        QWEN3, moe=MoeConfig(n_experts=4, d_expert=8), scan_layers=True
    ),
    "deepseek": dataclasses.replace(
        QWEN3, n_kv_heads=0, d_head=0, qk_norm=False, rope=YARN,
        mla=MlaConfig(q_rank=6, kv_rank=8, d_nope=4, d_rope=4, d_value=6),
        moe=MoeConfig(
            n_experts=8, top_k=3, d_expert=8, n_shared=1, dense_layers=(0,),
            scoring="sigmoid", n_groups=4, top_groups=2, routed_scale=2.5,
        ),
    ),
}  # fmt: skip


def make(cfg, seed=0):
    """Random parameters of a usual size; norms near 1."""
    shapes = jax.eval_shape(token_policy(cfg).init, jax.random.key(0))
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        values = 0.3 * rng.standard_normal(leaf.shape, np.float32)
        return values + 1 if path[-1].key == "scale" else values

    return jax.tree_util.tree_map_with_path(draw, shapes)


def write(folder, cfg, params, *, dtype="F32", shard_bytes=10**9):
    folder.mkdir(exist_ok=True)
    tensors = hf_tensors(cfg, params, dtype)
    files, _ = write_shards(folder, tensors, shard_bytes, {"format": "pt"})
    config = hf_config(cfg, None, "bfloat16" if dtype == "BF16" else "float32")
    (folder / "config.json").write_text(json.dumps(config))
    return files


def edit(folder, **changes):
    path = folder / "config.json"
    body = {**json.loads(path.read_text()), **changes}
    body = {name: value for name, value in body.items() if value != "absent"}
    path.write_text(json.dumps(body))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "model", QWEN3, make(QWEN3))
    return tmp_path / "model"


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, name):
    cfg = CONFIGS[name]
    params = make(cfg)
    write(tmp_path / "m", cfg, params)
    back = load_hf(tmp_path / "m", scan_layers=cfg.scan_layers)
    kept = ("vocab_rows", "n_kv_heads", "d_head", "sliding_layers")
    ours = {k: v for k, v in vars(cfg).items() if k not in kept}
    assert ours == {k: v for k, v in vars(back.cfg).items() if k not in kept}
    assert_same(back.params, params)
    assert not back.unused and not back.notes


def test_shards_have_an_index_and_hold_the_same(tmp_path):
    params = make(QWEN3)
    files = write(tmp_path / "m", QWEN3, params, shard_bytes=4000)
    names = sorted(path.name for path in files)
    assert len(names) > 3 and names[-1] == "model.safetensors.index.json"
    assert names[0] == f"model-00001-of-{len(names) - 1:05d}.safetensors"
    index = json.loads((tmp_path / "m" / names[-1]).read_text())
    sizes = [load_file(path).values() for path in files[:-1]]
    total = sum(x.nbytes for values in sizes for x in values)
    assert index["metadata"]["total_size"] == total
    assert all(path.stat().st_size < 6000 for path in files[:-1])
    assert_same(load_hf(tmp_path / "m").params, params)


@pytest.mark.parametrize(("word", "dtype"), [("BF16", "bfloat16"), ("F16", "float16")])
def test_half_precision_is_widened_exactly(tmp_path, word, dtype):
    params = make(QWEN3)
    write(tmp_path / "m", QWEN3, params, dtype=word)
    want = jax.tree.map(lambda x: x.astype(dtype).astype(np.float32), params)
    assert_same(load_hf(tmp_path / "m").params, want)
    if word == "BF16":
        kept = load_hf(tmp_path / "m", param_dtype="bfloat16").params
        assert {x.dtype.name for x in jax.tree.leaves(kept)} == {"bfloat16"}


def test_names_and_layouts_are_those_of_the_library(folder):
    tensors = load_file(folder / "model.safetensors")
    params = load_hf(folder).params
    kernel = params["layers_1"]["attn"]["q_proj"]["kernel"]
    stored = tensors["model.layers.1.self_attn.q_proj.weight"]
    assert stored.shape == (32, 16)
    np.testing.assert_array_equal(stored.T, kernel)
    norm = params["layers_0"]["mlp_norm"]["scale"]
    name = "model.layers.0.post_attention_layernorm.weight"
    np.testing.assert_array_equal(tensors[name], norm)
    np.testing.assert_array_equal(
        tensors["lm_head.weight"].T, params["lm_head"]["kernel"]
    )


# --- FP8 ---


def quantise(weight, block):
    """Block-scaled e4m3, and the scales that undo it."""
    rows, columns = (-(-n // b) for n, b in zip(weight.shape, block, strict=True))
    scales = np.zeros((rows, columns), np.float32)
    stored = np.zeros(weight.shape, ml_dtypes.float8_e4m3fn)
    for i in range(rows):
        for j in range(columns):
            at = (
                slice(i * block[0], (i + 1) * block[0]),
                slice(j * block[1], (j + 1) * block[1]),
            )
            scales[i, j] = np.abs(weight[at]).max() / 448
            stored[at] = (weight[at] / scales[i, j]).astype(stored.dtype)
    return stored, scales


def test_dequantise_multiplies_each_block_by_its_scale():
    value = np.array([[1, 2, 4], [8, 16, 32], [1, 1, 1]], ml_dtypes.float8_e4m3fn)
    scales = np.array([[1.0, 0.5], [10.0, 3.0]], np.float32)
    got = dequantise(value, scales, (2, 2))
    assert got.tolist() == [[1, 2, 2], [8, 16, 16], [10, 10, 3]]


def fp8_folder(folder, block=(8, 128)):
    """Turn every projection of a folder into FP8 with scales."""
    path = folder / "model.safetensors"
    tensors, want = load_file(path), {}
    for name in [n for n in tensors if n.endswith("_proj.weight")]:
        stored, scales = quantise(tensors[name], block)
        tensors[name], tensors[name + "_scale_inv"] = stored, scales
        each = np.repeat(np.repeat(scales, block[0], 0), block[1], 1)
        want[name] = (
            stored.astype(np.float32) * each[: stored.shape[0], : stored.shape[1]]
        )
    save_file(tensors, path)
    edit(
        folder,
        quantization_config={
            "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
            "weight_block_size": list(block),
        },
    )  # fmt: skip
    return want


def test_fp8_block_scaled_weights_are_dequantised(folder):
    before = load_hf(folder).params
    want = fp8_folder(folder)
    loaded = load_hf(folder)
    assert not loaded.unused
    name = "model.layers.1.mlp.down_proj.weight"
    got = loaded.params["layers_1"]["mlp"]["down_proj"]["kernel"]
    np.testing.assert_array_equal(got, want[name].T)
    close = before["layers_1"]["mlp"]["down_proj"]["kernel"]
    np.testing.assert_allclose(got, close, atol=0.07 * np.abs(close).max())
    out = dict(hf_tensors(loaded.cfg, loaded.params, loaded.dtypes))
    assert out[name].dtype.name == "bfloat16"
    assert "quantization_config" not in hf_config(loaded.cfg, loaded.raw, None)


def test_fp8_without_or_with_wrong_scales_is_refused(folder):
    fp8_folder(folder)
    path = folder / "model.safetensors"
    name = "model.layers.0.mlp.up_proj.weight"
    weights = HfWeights(folder, (8, 128))
    tensors = {each: weights._raw(each) for each in weights.stored}
    scales = tensors.pop(name + "_scale_inv")
    save_file({**tensors, name + "_scale_inv": scales[:1]}, path)
    with pytest.raises(UserError, match=r"up_proj.weight_scale_inv: shape \(1, 1\)"):
        load_hf(folder)
    save_file(tensors, path)
    with pytest.raises(UserError, match="up_proj.weight: FP8 without its scales"):
        load_hf(folder)
    edit(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(UserError, match="quantization_config of 'gptq'"):
        load_hf(folder)


# --- ties, later layers, vocabularies ---


def test_a_tied_head_in_the_file_is_kept_only_if_it_differs(tmp_path):
    cfg = dataclasses.replace(QWEN3, tied_embeddings=True)
    params = make(cfg)
    write(tmp_path / "m", cfg, params)
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    assert "lm_head.weight" not in tensors
    table = tensors["model.embed_tokens.weight"]
    save_file({**tensors, "lm_head.weight": table}, path)
    loaded = load_hf(tmp_path / "m")
    assert loaded.cfg.tied_embeddings and not loaded.unused
    out = dict(hf_tensors(loaded.cfg, loaded.params, loaded.dtypes))
    np.testing.assert_array_equal(out["lm_head.weight"], table)
    save_file({**tensors, "lm_head.weight": table + 1}, path)
    apart = load_hf(tmp_path / "m")
    assert not apart.cfg.tied_embeddings and "kept apart" in apart.notes[0]
    np.testing.assert_array_equal(apart.params["lm_head"]["kernel"], table.T + 1)
    del tensors["model.embed_tokens.weight"]
    save_file({**tensors, "lm_head.weight": table}, path)
    swapped = load_hf(tmp_path / "m")
    np.testing.assert_array_equal(swapped.params["embed_tokens"]["embedding"], table)


def test_blocks_after_the_last_are_left_out_and_said(folder):
    path = folder / "model.safetensors"
    extra = {"model.layers.2.eh_proj.weight": np.ones((16, 32), np.float32)}
    save_file({**load_file(path), **extra}, path)
    loaded = load_hf(folder)
    assert loaded.unused == list(extra)
    assert loaded.notes == [
        "1 tensors of blocks after 1 (multi-token prediction) were left out: "
        "model.layers.2.eh_proj.weight"
    ]


def test_layers_that_the_config_has_no_place_for_are_refused_by_name(folder):
    path = folder / "model.safetensors"
    names = [f"model.layers.2.mlp.{n}_proj.weight" for n in ("down", "gate", "up")]
    names += [f"model.layers.3.self_attn.{n}_proj.weight" for n in ("k", "q", "v")]
    extra = {name: np.ones((16, 16), np.float32) for name in names}
    save_file({**load_file(path), **extra}, path)
    with pytest.raises(UserError, match="unexpected tensors, which the conf") as error:
        load_hf(folder)
    assert str(error.value).endswith(f"{', '.join(sorted(names)[:5])} and 1 more")


def test_blocks_after_the_last_are_kept_when_asked_for(tmp_path):
    cfg = dataclasses.replace(CONFIGS["deepseek"], mtp_layers=1)
    params = make(cfg)
    write(tmp_path / "m", cfg, params)
    names = load_file(tmp_path / "m" / "model.safetensors")
    assert names["model.layers.2.eh_proj.weight"].shape == (16, 32)
    assert "model.layers.2.shared_head.norm.weight" in names
    assert "model.layers.2.mlp.experts.7.up_proj.weight" in names
    kept = load_hf(tmp_path / "m", mtp_layers=1)
    assert_same(kept.params, params)
    assert not kept.unused and kept.raw["num_nextn_predict_layers"] == 1
    left = load_hf(tmp_path / "m")
    assert len(left.unused) == len(
        [n for n in names if n.startswith("model.layers.2.")]
    )


def tokenizer(folder, count, added=()):
    vocab = {f"t{i}": i for i in range(count)}
    body = {"model": {"vocab": vocab}, "added_tokens": [{"id": i} for i in added]}
    (folder / "tokenizer.json").write_text(json.dumps(body))


def test_rows_beyond_the_tokenizer_are_padding(folder):
    tokenizer(folder, 15, added=(16,))
    cfg = load_hf(folder).cfg
    assert (cfg.vocab_size, cfg.rows) == (17, 20)
    tokenizer(folder, 20, added=(22,))
    with pytest.raises(UserError, match="has id 22, but the embedding has only 20"):
        load_hf(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="no readable vocabulary"):
        load_hf(folder)


# --- configs ---


def test_old_and_new_style_configs_say_the_same(folder):
    old = load_hf(folder).cfg
    edit(
        folder, rope_theta="absent", rope_scaling="absent", torch_dtype="absent",
        dtype="float32",
        rope_parameters={"rope_theta": 10000.0, "rope_type": "default"},
    )  # fmt: skip
    assert load_hf(folder).cfg == old
    edit(folder, architectures="absent")
    assert load_hf(folder).cfg == old


def test_a_window_counts_only_where_it_is_used(folder):
    edit(folder, sliding_window=4, max_window_layers=1, use_sliding_window=False)
    assert load_hf(folder).cfg.sliding_window == 0
    edit(folder, use_sliding_window=True)
    cfg = load_hf(folder).cfg
    assert (cfg.sliding_window, cfg.sliding_layers) == (4, (1,))
    edit(folder, layer_types=["sliding_attention", "full_attention"])
    assert load_hf(folder).cfg.sliding_layers == (0,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["GemmaForCausalLM"]}, "'GemmaForCausalLM' is not known"),
        ({"architectures": ["GemmaForCausalLM"]}, "known are Qwen3ForCausalLM, Qwen2"),
        (
            {"architectures": "absent", "model_type": "absent"},
            "config.json has no architectures; known are Qwen3ForCausalLM, ",
        ),
        (
            {"architectures": [], "model_type": "gemma"},
            "no architectures, and its model_type 'gemma' is not known; known are Qw",
        ),
        ({"architectures": "Qwen3ForCausalLM"}, "architectures='Qwen3F.*': expected"),
        ({"rope_scaling": "yarn"}, "rope_scaling='yarn': expected an object"),
        ({"quantization_config": "fp8"}, "quantization_config='fp8': expected an ob"),
        (
            {"quantization_config": {"quant_method": "fp8", "weight_block_size": "x"}},
            "weight_block_size='x': expected two sizes",
        ),
        ({"hidden_size": "absent"}, "no 'hidden_size', which Qwen3ForCausalLM needs"),
        ({"hidden_size": "big"}, "hidden_size='big': expected a whole number"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu': only 'silu'"),
        ({"rope_scaling": {"rope_type": "longrope"}}, "rope_type='longrope': known"),
        ({"rope_scaling": {"type": "linear"}}, "'linear' needs a factor"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5: only 1"),
        ({"num_key_value_heads": 3}, "n_kv_heads=3: must divide n_heads=4"),
        ({"intermediate_size": 25}, r"down_proj.weight: shape \(16, 24\) in"),
        ({"num_hidden_layers": 3}, "missing tensors: model.layers.2.input_layernorm"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings='yes': expected true"),
        ({"attention_bias": True}, "missing tensors: model.layers.0.self_attn.k_proj."),
    ],
)
def test_configs_that_cannot_be_are_refused_in_one_line(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(UserError, match=message) as caught:
        load_hf(folder)
    assert "\n" not in str(caught.value)


# --- files ---


def test_missing_or_damaged_files_are_refused_in_one_line(tmp_path):
    cfg, params = QWEN3, make(QWEN3)
    folder = tmp_path / "m"
    with pytest.raises(UserError, match="no such folder"):
        load_hf(folder)
    folder.mkdir()
    with pytest.raises(UserError, match=r"has no config.json"):
        load_hf(folder)
    files = write(folder, cfg, params, shard_bytes=4000)
    index = folder / "model.safetensors.index.json"
    text = index.read_text()
    content = files[1].read_bytes()
    files[1].unlink()
    with pytest.raises(UserError, match=f"missing shard {files[1].name} of"):
        load_hf(folder)
    files[1].write_bytes(content[:100])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load_hf(folder)
    files[1].write_bytes(content[:-8])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        load_hf(folder)
    files[1].write_bytes(content)
    index.write_text(text.replace("model.norm.weight", "model.norms.weight"))
    with pytest.raises(UserError, match="has no tensor model.norms.weight"):
        load_hf(folder)
    index.write_text(text.replace(files[0].name, f"../{files[0].name}"))
    with pytest.raises(UserError, match="is not beside the index"):
        load_hf(folder)
    index.write_text("[]")
    with pytest.raises(UserError, match="no readable weight_map"):
        load_hf(folder)
    index.unlink()
    with pytest.raises(UserError, match="has shards"):
        load_hf(folder)


def test_wrong_tensors_are_refused_by_name(folder):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.0.self_attn.q_norm.weight"

    def refused(changes, message):
        changed = {k: v for k, v in {**tensors, **changes}.items() if v is not None}
        save_file(changed, path)
        with pytest.raises(UserError, match=message):
            load_hf(folder)

    value = tensors[name]
    refused({name: None}, f"missing tensors: {name}")
    refused({"model.extra": value}, "unexpected tensors.* model.extra")
    refused({name: value.astype(np.int32)}, f"{name}: dtype I32 in .*expected F64, F32")
    refused({name: value[:3]}, rf"{name}: shape \(3,\) in .* asks for \(8,\)")
    refused({name: value * np.nan}, f"{name}: holds NaN")
    refused({name: value.astype(np.float64)}, f"{name}: float64 in the folder")
    save_file({**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": value}, path)
    assert len(load_hf(folder).unused) == 1


def test_tensors_are_read_one_at_a_time(folder, monkeypatch):
    sizes = []
    read = HfWeights._raw
    monkeypatch.setattr(HfWeights, "_raw", lambda *a: sizes.append(1) or read(*a))
    weights = HfWeights(folder)
    assert not sizes and len(weights.names()) == 25
    weights.read("model.norm.weight")
    assert len(sizes) == 1


# --- side by side with the library ---


def library_logits(folder, ids, mask):
    torch = pytest.importorskip("torch", reason="needs the reference extra")
    transformers = pytest.importorskip(
        "transformers", reason="needs the reference extra"
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)
    with torch.no_grad():
        return model(
            input_ids=torch.tensor(ids).long(),
            attention_mask=torch.tensor(mask).long(),
            position_ids=torch.tensor(positions).long(),
        ).logits.numpy()


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONFIGS)
def test_the_library_reads_what_we_write_and_gives_the_same_logits(tmp_path, name):
    cfg = CONFIGS[name]
    params = make(cfg)
    write(tmp_path / "m", cfg, params, shard_bytes=4000)
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 20, (2, 24))
    mask = np.ones((2, 24), int)
    mask[1, :5] = 0
    want = library_logits(tmp_path / "m", ids, mask)
    policy = token_policy(cfg)
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)

    @jax.jit
    def logits(params):
        hidden = policy.forward(params, ids, positions, mask.astype(bool)).hidden
        return policy.logits(params, hidden)

    real = mask[..., None].astype(bool)
    got = np.where(real, logits(params), 0)
    np.testing.assert_allclose(got, np.where(real, want, 0), atol=1e-4)
