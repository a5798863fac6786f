# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts that runs of a token policy share: text, model, placement, start."""

import dataclasses
import sys
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import Mesh

from lrm_jax import processes
from lrm_jax.config import from_dict, to_dict
from lrm_jax.data.text_source import TextSource, task_or_files
from lrm_jax.data.tokenizer import Tokenizer, make_tokenizer
from lrm_jax.models.lora import check_lora
from lrm_jax.models.policy import Policy, token_policy
from lrm_jax.recipes.origins import has_begun, started_from
from lrm_jax.recipes.policy_config import (
    ImportedPolicyConfig,
    PolicyRunBase,
    find_task,
    fit_vocabulary,
)
from lrm_jax.recipes.policy_state import Updater, merged_weights, trained_part
from lrm_jax.recipes.run_mesh import policy_mesh
from lrm_jax.recipes.state_axes import policy_state_axes, shardings_of
from lrm_jax.training import files
from lrm_jax.training.loading import load_params, parse_source
from lrm_jax.training.run_folder import check_run, read_config
from lrm_jax.training.state import TrainState
from lrm_jax.training.trees import misfits, named_leaves, nest
from lrm_jax.types import Params, UserError, first_of

C = TypeVar("C", bound=PolicyRunBase)

TOKENIZER = "tokenizer"
"""Folder of an import's tokenizer files, in its run folder."""

FRESH = ("value_head", "mtp_")
"""How parts begin that a run may have and its source may lack, or the reverse."""


def make_text(config: PolicyRunBase, *, needs: str = "completion") -> TextSource:
    """Return task or files with the tokenizer.

    Args:
      config: fully resolved.
      needs: what rows of files must have; see `read_jsonl`.
    """
    task = task_or_files(config.data, find_task(config), needs=needs)
    return TextSource(config.data, task, tokenizer_of(config))


def tokenizer_of(config: PolicyRunBase) -> Tokenizer:
    """Return the tokenizer of a run.

    Raises:
      UserError: an import came without one.
    """
    task = find_task(config)
    own = task.tokenizer() if task else None
    if isinstance(config, ImportedPolicyConfig):
        if own is None and config.tokenizer.kind == "task":
            raise UserError(
                f"{config.name}: imported from a folder without tokenizer.json; put "
                "one there and import again, or start from it with tokenizer.kind=..."
            )
    return make_tokenizer(config.tokenizer, own)


def state_shardings(mesh: Mesh, policy: Policy, shapes: Any) -> Any:
    """Return where every leaf of a training state lives; see `state_axes`."""
    return shardings_of(mesh, shapes, policy_state_axes(policy))


@dataclasses.dataclass
class PolicyParts:
    """What every run of a policy is made of; recipes add their step and batches.

    Attributes:
      config: fully resolved.
      source: problems.
      policy: the model's functions.
      updater: from gradients to the next state.
      mesh: where everything lives.
    """

    config: PolicyRunBase
    source: TextSource
    policy: Policy
    updater: Updater
    mesh: Mesh

    def fingerprint(self) -> str:
        """Return a hash of the training data."""
        return self.source.fingerprint()

    def abstract_state(self) -> Any:
        """Return shapes, dtypes and shardings of the training state."""
        shapes = jax.eval_shape(self.updater.init, jax.random.key(self.config.seed))
        shardings = state_shardings(self.mesh, self.policy, shapes)
        return jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            shapes,
            shardings,
        )

    def init_state(self, params: Params | None = None) -> TrainState:
        """Return a fresh state on the mesh, from `params` where given."""
        shardings = jax.tree.map(lambda x: x.sharding, self.abstract_state())
        key = jax.random.key(self.config.seed)
        # Run once: on a CPU, optimising it would cost more than running it.
        on_cpu = jax.default_backend() == "cpu"
        options = {"xla_backend_optimization_level": "0"} if on_cpu else None
        place = partial(jax.jit, out_shardings=shardings, compiler_options=options)
        if params is None:
            return place(self.updater.init)(key)
        return place(self.updater.init)(key, params)

    def steps_from(self, step: int) -> int:
        """Return how many steps the dispatch that begins at `step` takes."""
        train = self.config.train
        return max(1, min(train.steps_per_dispatch, train.total_steps - step))


class LoadedPolicy(NamedTuple):
    """A policy out of a run folder.

    Attributes:
      config: of the run.
      weights: as the policy's functions take them: averaged ones where there are,
        adapters merged.
      step: of the checkpoint.
      source_hash: sha256 that stands for it.
      warning: why it is not the newest step, see `LoadedParams`.
    """

    config: PolicyRunBase
    weights: Params
    step: int
    source_hash: str
    warning: str | None = None


def load_policy(run: str, mesh: Mesh | None = None) -> LoadedPolicy:
    """Load the policy of `RUN[@step]`, trained by any recipe or imported.

    Args:
      run: run folder, and perhaps step, `latest` or `best`.
      mesh: where the weights go, split by their axes; None for the default device.

    Raises:
      UserError: no run of a policy, or no usable checkpoint.
    """
    folder, which = parse_source(run)
    config = read_policy_config(folder)
    policy = token_policy(config.model)
    place = None if mesh is None else partial(state_shardings, mesh, policy)
    loaded = load_params(folder, which, place=place)
    params = loaded.params
    if loaded.ema is not None:
        params = {**params, trained_part(params): loaded.ema}
    weights = merged_weights(params)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    weights = fit_params(weights, shapes, f"checkpoint of {run}")
    return LoadedPolicy(
        config, weights, loaded.step, loaded.source_hash, loaded.warning
    )


def read_policy_config(folder: str) -> PolicyRunBase:
    """Return the config of a policy's run folder.

    Raises:
      UserError: it is no run folder, or a run of something else.
    """
    from lrm_jax.recipes.registry import config_class

    data = read_config(folder)
    cls = config_class(data.get("recipe", "latent"), f"{folder}/config.json")
    if not issubclass(cls, PolicyRunBase):
        raise UserError(
            f"{folder}: a run of recipe {data.get('recipe')!r}, not of a token policy"
        )
    return _with_tokenizer(from_dict(cls, data), folder)


def _with_tokenizer(config: PolicyRunBase, folder: str) -> PolicyRunBase:
    """Return the config whose tokenizer is found from anywhere.

    A relative path is one inside the run folder where there is such. An import has
    its own there, wherever it was before it was moved.
    """
    named = config.tokenizer.path
    if not named:
        return config
    inside = [named, TOKENIZER] if isinstance(config, ImportedPolicyConfig) else [named]
    for name in inside:
        path = files.as_path(folder) / name
        if (path / "tokenizer.json").is_file():
            if files.is_remote(path):
                raise UserError(
                    f"{path}: tokenizer files are read from a disk only; copy the run"
                    " folder with gcloud storage cp --recursive"
                )
            tokenizer = dataclasses.replace(config.tokenizer, path=str(path))
            return dataclasses.replace(config, tokenizer=tokenizer)
    return config


def resolve_config(config: C, run_dir: str | None, init_from: str | None) -> C:
    """Return the config with its source named, and with model and vocabulary filled in.

    Args:
      config: as asked for.
      run_dir: run folder; one whose run has begun answers for its source.
      init_from: `RUN[@step]`, as on the command line.

    Raises:
      UserError: the source is missing, or the tokenizer does not fit the model.
    """
    init_from = init_from or config.init_from
    config = dataclasses.replace(config, init_from=init_from)
    if config.inherit:
        if not init_from:
            raise UserError(
                "inherit=true takes model and tokenizer from another run: name it with "
                "--init-from"
            )
        begun = run_dir is not None and has_begun(run_dir)
        source = read_policy_config(run_dir if begun else parse_source(init_from)[0])  # pyright: ignore[reportArgumentType]
        config = inherit_from(config, source)
    return fit_vocabulary(config, tokenizer_of(config))


def inherit_from(config: C, source: PolicyRunBase) -> C:
    """Return the config with model and tokenizer of its source.

    Raises:
      UserError: neither has a tokenizer.
    """
    asked = config.model.dtype
    model = dataclasses.replace(
        source.model,
        dtype=source.model.dtype if asked == "inherited" else asked,
        param_dtype=config.model.param_dtype,
        remat=config.model.remat,
        value_head=config.model.value_head,
    )
    tokenizer = source.tokenizer
    if tokenizer.kind == "task":  # it has none of its own to give
        if config.task is None and config.tokenizer.kind == "task":
            tokenizer_of(source)
        tokenizer = config.tokenizer
    return dataclasses.replace(config, model=model, tokenizer=tokenizer)


def begin(
    config: C, run_dir: str, *, identity_ignore: frozenset[str], dry_run: bool
) -> tuple[C, Params | None]:
    """Return `start_from`'s answer for a folder that may hold this run.

    Data and programs take minutes to make: whatever refuses the folder is here.

    Args:
      config: resolved and valid.
      run_dir: run folder; not looked at for a dry run.
      identity_ignore: keys on which a resumed run may differ.
      dry_run: nothing is to be written.

    Raises:
      UserError: the adapters or the source do not fit, or the folder holds another
        run.
    """
    if config.lora is not None:
        init = token_policy(config.model).init
        check_lora(config.lora, jax.eval_shape(init, jax.random.key(0)))
    config, start = start_from(config, run_dir)
    if not dry_run:
        check_run(run_dir, to_dict(config), identity_ignore=identity_ignore)
    return config, start


def start_from(config: C, run_dir: str) -> tuple[C, Params | None]:
    """Return the config with its source's hash, and the parameters to start from.

    Nothing is read where the run has begun already.

    Raises:
      UserError: the source's parameters do not fit the model; names the first.
    """
    if not config.init_from:
        return config, None
    known = started_from(run_dir, config.init_from)
    if known is not None:
        return dataclasses.replace(config, init_from_sha256=known), None
    loaded = load_policy(config.init_from, policy_mesh(config))
    _say_dtype(config, loaded.config.model.dtype)
    _say_head(config, loaded.config)
    policy = token_policy(config.model)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    fresh = {}
    for name in shapes:
        if name.startswith(FRESH) and name not in loaded.weights:
            # Jitted for the sake of what is not computed: all but this part.
            only = jax.jit(lambda key, name=name: policy.init(key)[name])
            fresh[name] = only(jax.random.key(config.seed))
    weights = fit_params(
        loaded.weights, shapes, f"--init-from {config.init_from}", fresh=fresh
    )
    config = dataclasses.replace(config, init_from_sha256=loaded.source_hash)
    return config, {"weights": weights}


def _say_dtype(config: PolicyRunBase, there: str) -> None:
    """Say in one line where activations change their dtype."""
    here = config.model.dtype
    if here != there and processes.is_first():
        keep = "dtype=inherited" if config.inherit else f"dtype={there}"
        print(
            f"model.dtype={here}: activations of {config.init_from} are {there}; "
            f"model.{keep} keeps that",
            file=sys.stderr,
        )


def _say_head(config: PolicyRunBase, source: PolicyRunBase) -> None:
    """Say in one line that a published reward model's head is not trained further."""
    if source.recipe == "reward" and config.model.value_head and processes.is_first():
        print(
            f"--init-from {config.init_from}: a published reward model; training takes "
            "its backbone and begins with a head of its own",
            file=sys.stderr,
        )


def fit_params(
    params: Params, shapes: Params, where: str, *, fresh: Params | None = None
) -> Params:
    """Return parameters with the names, shapes and dtypes that are wanted.

    Args:
      params: what there is.
      shapes: what is wanted.
      where: they came from, for messages.
      fresh: stands in for what is missing.

    Raises:
      UserError: names the first parameters that do not fit.
    """
    wanted = named_leaves(shapes)
    there = {
        name: leaf
        for name, leaf in named_leaves(params).items()
        if name in wanted or not name[0].startswith(FRESH)
    }
    if fresh is not None:
        there = {**named_leaves(fresh), **there}
    shown = lambda leaves: {"/".join(n): str([*x.shape]) for n, x in leaves.items()}
    faults = misfits(
        shown(there), shown(wanted), needs="model.* asks for", here="by model.*"
    )
    if faults:
        hint = ""
        if fresh is not None:
            hint = "; inherit=true takes the model and tokenizer of the source"
        raise UserError(f"{where}: {first_of(faults, '; ')}{hint}")
    return nest({name: there[name].astype(x.dtype) for name, x in wanted.items()})
