# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of single pieces: layers, losses, optimizers, tables, turns.

Limits are those of the fixtures' README; where it gives an output none, gradients
take its rule for gradients and the rest float32 rounding.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import losses
from lrm_jax.data.augment import dihedral_turns
from lrm_jax.models import layers
from lrm_jax.recipes.verify_report import Report, Tensors, need, read_json
from lrm_jax.training import optim
from lrm_jax.training.sparse import sparse_sign_sgd
from lrm_jax.types import Array, Params, UserError

GRAD_OF_MAX, RTOL_F64 = 3e-5, 1e-10
ATOL_SWIGLU, ATOL_ATTENTION, ATOL_RMS_NORM = 3e-5, 1e-5, 2e-6
ATOL_OPTIMIZER, RTOL_LOSS, RTOL_FLOAT32 = 1e-6, 1e-5, 1e-6
ATOL_LOG_PROB = 2e-6  # "float32 costs 1e-6", and 1 ulp of a value of 14
_INIT_DRAWS = 4_000_000


def verify_pieces(folder: Path, *, float64: bool) -> tuple[Report, list[str]]:
    """Verify the pieces that a folder holds.

    Returns:
      The report, and the names of stored arrays that nothing compared.
    """
    report, unread = Report(), []
    for dtype in ("float32", "float64") if float64 else ("float32",):
        files = [folder / f"{name}.safetensors" for name in _CHECKS]
        with jax.enable_x64(dtype == "float64"):
            for path in files:
                if path.is_file():
                    tensors = Tensors(path)
                    with jax.default_matmul_precision("highest"):
                        _CHECKS[path.stem](report, tensors, dtype)
                    if dtype == "float32" or path.stem in _READ_TWICE:
                        unread.append((path.name, set(tensors.unread())))
            _check_tables(report, folder, dtype)
    return report, _unread(unread)


def is_pieces(folder: Path) -> bool:
    """Return whether a folder holds any known piece."""
    names = [f"{name}.safetensors" for name in _CHECKS]
    names += ["tables.json", "optim_config.json", "trunc_normal_init.json"]
    return any((folder / name).is_file() for name in names)


def _unread(read: list[tuple[str, set[str]]]) -> list[str]:
    """What neither the float32 nor the float64 pass looked at."""
    left: dict[str, set[str]] = {}
    for name, missing in read:
        left[name] = left.get(name, missing) & missing
    return sorted(
        f"{name}:{array}" for name, arrays in left.items() for array in arrays
    )


def _label(name: str, dtype: str) -> str:
    return name if dtype == "float32" else f"f64/{name}"


def _check_rope(report: Report, tensors: Tensors, dtype: str) -> None:
    table_path = tensors.path.with_name("tables.json")
    known = read_json(table_path).get("tolerances", {}) if table_path.is_file() else {}
    for case in _cases(tensors):
        numbers = _match(tensors, case, r"dim(\d+)_len(\d+)_base([\d.]+)")
        dim, length, theta = int(numbers[1]), int(numbers[2]), float(numbers[3])
        cos, sin = layers.rope_table(length, dim, theta, jnp.dtype(dtype))
        # The stored table is float32 throughout: an angle of `length` radians
        # rounds to `length` ulps. Ours is rounded once.
        noise = known.get(f"rope/{case}", {}).get("table_vs_float64", length * 2**-23)
        limit = noise + 2**-23
        report.compare(
            _label("rope/cos", dtype), cos, tensors[f"{case}/cos"], atol=limit
        )
        report.compare(
            _label("rope/sin", dtype), sin, tensors[f"{case}/sin"], atol=limit
        )
        for x in ("q", "k"):
            if f"{case}/{x}" not in tensors:
                continue
            given = tensors[f"{case}/{x}"]
            got = layers.apply_rope(jnp.asarray(given, dtype), cos, sin)
            atol = 2 * limit * float(np.max(np.abs(given)))
            want = tensors[f"{case}/{x}_rot"]
            report.compare(_label(f"rope/{x}_rot", dtype), got, want, atol=atol)


def _check_block(
    report: Report,
    tensors: Tensors,
    dtype: str,
    case: str,
    block: layers.SwiGLU | layers.Attention,
    *,
    name: str,
    atol: float,
    kernel: str,
) -> None:
    """Compare a layer's output, and gradients at the stored cotangent."""
    x = jnp.asarray(tensors[f"{case}/x"], dtype)
    params = _block_params(tensors, case, block, x)
    cotangent = jnp.asarray(tensors[f"{case}/cotangent"], dtype)

    @jax.jit
    def run(params: Params, x: Array) -> tuple[Array, Params, Array]:
        y, pullback = jax.vjp(lambda p, x: jnp.asarray(block.apply(p, x)), params, x)
        return y, *pullback(cotangent)

    y, d_params, dx = run(params, x)
    report.compare(_label(f"{name}/y", dtype), y, tensors[f"{case}/y"], atol=atol)
    want = tensors[f"{case}/dx"]
    report.compare(_label(f"{name}/dx", dtype), dx, want, of_max=GRAD_OF_MAX)
    want = tensors[f"{case}/d_{kernel}.weight"]
    got = d_params["params"][kernel]["kernel"]
    got = got.reshape(got.shape[0], -1).T
    output = _label(f"{name}/d_{kernel}", dtype)
    report.compare(output, got, want, of_max=GRAD_OF_MAX)


def _block_params(
    tensors: Tensors, case: str, block: layers.SwiGLU | layers.Attention, x: Array
) -> Params:
    """Return the stored kernels in the shapes that the block asks for."""
    abstract = jax.eval_shape(block.init, jax.random.key(0), x)["params"]
    kernels = {}
    for name, leaves in abstract.items():
        (leaf,) = jax.tree.leaves(leaves)
        stored = tensors[f"{case}/{name}.weight"]
        if stored.size != leaf.size or stored.shape[1] != leaf.shape[0]:
            raise UserError(
                f"{tensors.path}: {case}/{name}.weight has shape {stored.shape}, "
                f"not that of a transposed {leaf.shape}"
            )
        kernels[name] = {"kernel": jnp.asarray(stored.T.reshape(leaf.shape), x.dtype)}
    return {"params": kernels}


def _check_swiglu(report: Report, tensors: Tensors, dtype: str) -> None:
    for case in _cases(tensors):
        numbers = _match(tensors, case, r"hidden(\d+)_exp([\d.]+)")
        width = layers.swiglu_width(int(numbers[1]), float(numbers[2]))
        _check_block(
            report,
            tensors,
            dtype,
            case,
            layers.SwiGLU(width),
            name="swiglu",
            atol=ATOL_SWIGLU,
            kernel="down_proj",
        )


def _check_attention(report: Report, tensors: Tensors, dtype: str) -> None:
    for case in _cases(tensors):
        numbers = _match(tensors, case, r"hidden(\d+)_heads(\d+)_(rope|nope)")
        theta = 10000.0 if numbers[3] == "rope" else None
        _check_block(
            report,
            tensors,
            dtype,
            case,
            layers.Attention(int(numbers[2]), theta),
            name="attention",
            atol=ATOL_ATTENTION,
            kernel="qkv_proj",
        )


def _check_rms_norm(report: Report, tensors: Tensors, dtype: str) -> None:
    x = tensors["x"]
    for name in tensors.names("y_eps"):
        eps = float(name.removeprefix("y_eps"))
        got = layers.rms_norm(jnp.asarray(x, dtype), eps=eps)
        report.compare(
            _label("rms_norm/y", dtype), got, tensors[name], atol=ATOL_RMS_NORM
        )
    for name in tensors.names("y_bf16_eps"):
        eps = float(name.removeprefix("y_bf16_eps"))
        got = layers.rms_norm(jnp.asarray(x).astype(jnp.bfloat16), eps=eps)
        report.expect("rms_norm/dtype", got.dtype == jnp.bfloat16, f"is {got.dtype}")
        want = tensors[name]
        report.compare("rms_norm/y_bf16", got, want, atol=ATOL_RMS_NORM)


def _check_stablemax(report: Report, tensors: Tensors, dtype: str) -> None:
    exact = dtype == "float64"
    # s(x) = s(x) / s(0), the ratio of two probabilities.
    x = jnp.asarray(tensors["grid_x"], dtype)
    pair = losses.log_stablemax(jnp.stack([x, jnp.zeros_like(x)], axis=-1))
    log_scores = np.log(tensors["grid_s_float64"])
    got = pair[:, 0] - pair[:, 1]
    of_max, atol = (RTOL_F64, 0.0) if exact else (0.0, ATOL_LOG_PROB)
    close = functools.partial(report.compare, of_max=of_max, atol=atol)
    close(_label("stablemax/log_s", dtype), got, log_scores)
    if not exact:
        stored = np.log(tensors["grid_s_float32"].astype(np.float64))
        close("stablemax/log_s", got, stored)

    logits = jnp.asarray(tensors["logits"], dtype)
    labels = jnp.asarray(tensors["labels"])
    log_probs = losses.log_stablemax(logits)
    name = _label("stablemax/log_probs", dtype)
    close(name, log_probs, tensors["log_stablemax_float64"])
    if not exact:
        close(name, log_probs, tensors["log_stablemax_float32"])
    for kind, loss, suffix in (
        ("stablemax", losses.stablemax_cross_entropy, "float64"),
        ("softmax", losses.softmax_cross_entropy, "float32"),
    ):
        nats = jax.jit(loss)(logits, labels)
        want = tensors[f"{kind}_ce_{suffix}"]
        sharp = exact and suffix == "float64"
        rtol, atol = (RTOL_F64, 0.0) if sharp else (RTOL_LOSS, 1e-6)
        output = _label(f"{kind}/cross_entropy", dtype)
        report.compare(output, nats, want, rtol=rtol, atol=atol)
        total = lambda z, loss=loss: jnp.sum(loss(z, labels))
        grads = jax.jit(jax.grad(total))(logits)
        want = tensors[f"{kind}_dlogits"]
        output = _label(f"{kind}/d_logits", dtype)
        report.compare(output, grads, want, atol=1e-6, rtol=RTOL_LOSS)
    wide = jnp.asarray(np.linspace(-1e4, 1e4, 20001, dtype=np.float32), dtype)
    pairs = jnp.stack([wide, jnp.ones_like(wide)], axis=-1)
    zeros = jnp.zeros(wide.shape, jnp.int32)
    loss_sum = lambda z: jnp.sum(losses.stablemax_cross_entropy(z, zeros))
    finite = bool(jnp.all(jnp.isfinite(jax.jit(jax.grad(loss_sum))(pairs))))
    report.expect("stablemax/grid_is_finite", finite, "NaN or infinity on [-1e4, 1e4]")


def _check_adam_atan2(report: Report, tensors: Tensors, dtype: str) -> None:
    path = tensors.path.with_name("optim_config.json")
    settings = need(read_json(path), "adam_atan2", path)
    kind = "f32" if dtype == "float32" else "f64"
    # 1e-20 squared is denormal in float32; processors that flush it see zero.
    tiny = jnp.asarray(1e-20, dtype)
    keep = np.ones(tensors["0/param0"].shape, bool)
    if not float(jax.jit(jnp.square)(tiny)):
        keep[1] = False
    for i, setting in enumerate(settings):
        lr, decay = setting["lr"], setting["weight_decay"]
        tx = optim.adam_atan2(lr, setting["beta1"], setting["beta2"], decay)
        params = jnp.asarray(tensors[f"{i}/param0"], dtype)
        state, update = tx.init(params), jax.jit(tx.update)
        run: dict[str, list[Array]] = {"param": [], "exp_avg": [], "exp_avg_sq": []}
        for grads in tensors[f"{i}/grads"]:
            updates, state = update(jnp.asarray(grads, dtype), state, params)
            params = params + updates
            run["param"].append(params)
            run["exp_avg"].append(state.mu)  # pyright: ignore[reportAttributeAccessIssue]
            run["exp_avg_sq"].append(state.nu)  # pyright: ignore[reportAttributeAccessIssue]
        # Each element has gradients of its own size, from 1e-20 to 1e6.
        sizes = np.max(np.abs(tensors[f"{i}/grads"]), axis=0).astype(np.float64)
        sizes = np.where(sizes > 0, sizes, 1.0)
        scales = {"param": 1.0, "exp_avg": sizes, "exp_avg_sq": sizes**2}
        atol = ATOL_OPTIMIZER if kind == "f32" else RTOL_F64
        for name, values in run.items():
            got = np.stack([np.asarray(v) for v in values]) / scales[name]
            want = tensors[f"{i}/{kind}/{name}"] / scales[name]
            output = _label(f"adam_atan2/{name}", dtype)
            report.compare(output, got[:, keep], want[:, keep], atol=atol)
        wrong = tensors[f"{i}/wrong_inside_variant/param"]
        apart = np.max(np.abs(np.stack([np.asarray(p) for p in run["param"]]) - wrong))
        what = f"as near as {apart:.3g} to the variant with the correction inside atan2"
        report.expect("adam_atan2/is_not_inside", apart > 100 * ATOL_OPTIMIZER, what)


def _check_sign_sgd(report: Report, tensors: Tensors, dtype: str) -> None:
    path = tensors.path.with_name("optim_config.json")
    setting = need(read_json(path), "sign_sgd", path)
    table, update = jnp.asarray(tensors["weights0"], dtype), jax.jit(sparse_sign_sgd)
    for k, ids in enumerate(tensors["ids"]):
        grads = jnp.asarray(tensors["grads"][k], dtype)
        lr, decay = setting["lr"], setting["weight_decay"]
        table = update(table, jnp.asarray(ids), grads, lr, decay)
        want = tensors["weights"][k]
        report.compare(_label("sign_sgd", dtype), table, want, atol=ATOL_OPTIMIZER)


def _check_dihedral(report: Report, tensors: Tensors, dtype: str) -> None:
    del dtype
    for t, turned in enumerate(dihedral_turns(tensors["x"])):
        report.compare("dihedral", turned, tensors[f"t{t}"], where=f"t{t}")


def _check_tables(report: Report, folder: Path, dtype: str) -> None:
    path = folder / "optim_config.json"
    if path.is_file():
        for row in need(read_json(path), "lr_schedule", path):
            schedule = optim.make_schedule(
                row["base_lr"],
                warmup_steps=row["num_warmup_steps"],
                total_steps=row["num_training_steps"],
                min_ratio=row["min_ratio"],
            )
            got = [float(schedule(step)) for step in row["steps"]]
            rtol = RTOL_F64 if dtype == "float64" else RTOL_FLOAT32
            # The cosine's end is a difference of two ones.
            atol = rtol * row["base_lr"]
            name = _label("lr_schedule", dtype)
            report.compare(name, got, row["lr"], rtol=rtol, atol=atol)
    path = folder / "tables.json"
    if path.is_file() and dtype == "float32":
        for row in need(read_json(path), "swiglu_inter", path):
            got = layers.swiglu_width(row["hidden"], row["expansion"])
            report.compare("swiglu_width", got, row["inter"], where=str(row))
    path = folder / "trunc_normal_init.json"
    if path.is_file() and dtype == "float32":
        _check_init(report, path)


def _check_init(report: Report, path: Path) -> None:
    """Compare statistics of as many draws, within five standard errors of both."""
    for i, (case, want) in enumerate(read_json(path).items()):
        if not isinstance(want, dict):
            continue
        std, n = want["requested_std"], want["n"]
        draws = layers.trunc_normal(std)(jax.random.key(i), (_INIT_DRAWS,))
        x = np.asarray(draws, np.float64) / std
        error = 5 * np.sqrt(1 / n + 1 / _INIT_DRAWS)
        mean, spread = np.mean(x), np.std(x)
        report.compare("init/mean", mean, want["mean"] / std, atol=error, where=case)
        # Var(x^2) of the cut normal is 1.37, kurtosis 2.37 minus one.
        report.compare("init/std", spread, want["std"] / std, atol=error, where=case)
        kurtosis = np.mean((x - mean) ** 4) / spread**4
        atol = 5 * error
        report.compare(
            "init/kurtosis", kurtosis, want["kurtosis"], atol=atol, where=case
        )
        bound = 2 / 0.8796256610342398
        inside = bool(np.max(np.abs(x)) <= bound * (1 + 1e-6))
        report.expect("init/bounds", inside, f"{case}: a draw beyond 2 sigma")
        for side in ("min", "max"):
            got, reached = getattr(np, side)(x), want[side] / std
            report.compare(f"init/{side}", got, reached, atol=1e-3, where=case)
        levels = np.array([float(p) for p in want["quantiles"]])
        reached = np.array(list(want["quantiles"].values())) / std
        # Standard error of a quantile: sqrt(p (1 - p)) / density; the density of
        # the cut normal is phi(q c) c / 0.9545, c the std that it was cut to.
        cut = 0.8796256610342398
        density = np.exp(-((reached * cut) ** 2) / 2) / np.sqrt(2 * np.pi)
        spread = np.sqrt(levels * (1 - levels)) / (density * cut / 0.9544997)
        got = np.quantile(x, levels)
        # In units of its own error, so that one limit serves all.
        report.compare(
            "init/quantiles (standard errors / 5)",
            got / (error * spread),
            reached / (error * spread),
            atol=1.0,
            where=case,
        )


def _cases(tensors: Tensors) -> list[str]:
    return sorted({name.partition("/")[0] for name in tensors.names()})


def _match(tensors: Tensors, case: str, pattern: str) -> re.Match[str]:
    match = re.fullmatch(pattern, case)
    if not match:
        raise UserError(f"{tensors.path}: {case!r} does not read as {pattern}")
    return match


_CHECKS: dict[str, Callable[[Report, Tensors, str], Any]] = {
    "rope": _check_rope,
    "swiglu": _check_swiglu,
    "attention": _check_attention,
    "rms_norm": _check_rms_norm,
    "stablemax": _check_stablemax,
    "adam_atan2": _check_adam_atan2,
    "sign_sgd": _check_sign_sgd,
    "dihedral": _check_dihedral,
}
_READ_TWICE = ("adam_atan2", "stablemax")
"""Files whose arrays are split between the two passes."""
