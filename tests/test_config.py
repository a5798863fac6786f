# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Configs: exact JSON, hashes, differences, overrides, ablations, import paths."""

import dataclasses
import json
import math
from typing import Literal

import pytest

from lrm_jax import config as lib
from lrm_jax.types import UserError


@dataclasses.dataclass(frozen=True)
class Adam:
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)


@dataclasses.dataclass(frozen=True)
class Muon:
    lr: float = 0.02
    nesterov: bool = True


@dataclasses.dataclass(frozen=True)
class Model:
    d_model: int = 64
    n_heads: int = 4
    mixer: Literal["attention", "mlp_t"] = "attention"
    depth: Literal["all"] | int = "all"
    remat: bool = False

    def __post_init__(self):
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} must divide {self.d_model}")


@dataclasses.dataclass(frozen=True)
class Run:
    seed: int = 0
    name: str = "run"
    model: Model = Model()
    optim: Adam | Muon = Adam()
    budgets: tuple[str, ...] = ("1", "16+halt")
    limit: int | None = None
    sizes: tuple[int, int] = (2, 3)
    teacher: Model | None = None
    weights: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Needs:
    path: str
    rows: int = 1


def one_line(excinfo):
    text = str(excinfo.value)
    assert "\n" not in text and text == text.strip()
    return text


CHANGED = Run(
    seed=3,
    model=Model(d_model=96, depth=2, mixer="mlp_t", remat=True),
    optim=Muon(lr=math.nextafter(0.1, 1), nesterov=False),
    budgets=(),
    limit=7,
    teacher=Model(d_model=8, n_heads=1),
    weights={"halt": 0.5, "cell": math.inf},
)


@pytest.mark.parametrize("run", [Run(), CHANGED])
def test_json_round_trip_is_exact(run):
    text = lib.to_json(run)
    assert lib.from_json(Run, text) == run
    assert lib.to_json(lib.from_json(Run, text)) == text
    assert "Infinity" not in text and "NaN" not in text


def test_json_literal():
    assert lib.to_dict(Run()) == {
        "seed": 0,
        "name": "run",
        "model": {
            "d_model": 64,
            "n_heads": 4,
            "mixer": "attention",
            "depth": "all",
            "remat": False,
        },
        "optim": {"type": "Adam", "lr": 1e-4, "betas": [0.9, 0.95]},
        "budgets": ["1", "16+halt"],
        "limit": None,
        "sizes": [2, 3],
        "teacher": None,
        "weights": {},
    }


def test_absent_keys_take_defaults_and_ints_become_floats():
    run = lib.from_dict(Run, {"optim": {"type": "Adam", "lr": 1}})
    assert run == Run(optim=Adam(lr=1.0))
    assert type(run.optim.lr) is float


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sed": 1}, "unknown key 'sed'; did you mean 'seed'?"),
        (
            {"model": {"dmodel": 8}},
            "unknown key 'model.dmodel'; did you mean 'model.d_model'?",
        ),
        ({"zzzz": 1}, "unknown key 'zzzz'"),
        ({"seed": "x"}, "seed='x': expected an integer"),
        ({"seed": True}, "seed=True: expected an integer"),
        ({"seed": 1.0}, "seed=1.0: expected an integer"),
        ({"model": {"remat": 1}}, "model.remat=1: expected true or false"),
        (
            {"model": {"mixer": "conv"}},
            "model.mixer='conv': expected one of 'attention', 'mlp_t'",
        ),
        (
            {"model": {"depth": "some"}},
            "model.depth='some': expected one of 'all' or an integer",
        ),
        ({"model": 3}, "model=3: expected an object of settings"),
        (
            {"sizes": [1, 2, 3]},
            "sizes=[1, 2, 3]: expected a list of 2: an integer, an integer",
        ),
        ({"budgets": [1]}, "budgets[0]=1: expected text"),
        ({"limit": "x"}, "limit='x': expected an integer or none"),
        ({"optim": {"lr": 1}}, "optim.type=None: expected one of Adam, Muon"),
        (
            {"optim": {"type": "Muon", "betas": [1, 2]}},
            "unknown key 'optim.betas'",
        ),
        (
            {"model": {"n_heads": 5}},
            "model: n_heads=5 must divide 64",
        ),
    ],
)
def test_bad_json_is_one_line(data, message):
    with pytest.raises(UserError) as excinfo:
        lib.from_dict(Run, data)
    assert one_line(excinfo).startswith(message)


def test_missing_and_malformed():
    with pytest.raises(UserError, match="missing key 'path'"):
        lib.from_dict(Needs, {"rows": 2})
    with pytest.raises(UserError, match="config.json: not valid JSON"):
        lib.from_json(Needs, "{")


def test_checked_finds_a_wrong_type_given_in_python():
    with pytest.raises(UserError, match="seed='7': expected an integer"):
        lib.checked(Run(seed="7"))
    assert lib.checked(Run(optim=Adam(lr=1))).optim.lr == 1.0


def test_hash_is_stable_and_sees_every_leaf():
    base = lib.config_hash(Run())
    assert base == "b8b32eb02b00"  # run folders out there are named by it
    assert base == lib.config_hash(lib.to_dict(Run()))
    assert base == lib.config_hash(json.loads(lib.to_json(Run())))
    changes = {
        "seed": 1,
        "name": "x",
        "model.d_model": 32,
        "model.mixer": "mlp_t",
        "model.depth": 1,
        "model.remat": True,
        "optim.lr": 1.0,
        "optim": Muon(lr=1e-4),
        "budgets": ("1",),
        "limit": 0,
        "teacher": Model(),
    }
    hashes = {lib.config_hash(lib.replace(Run(), {k: v})) for k, v in changes.items()}
    assert len(hashes | {base}) == len(changes) + 1


def test_hash_ignores_what_it_is_told_to():
    other = lib.replace(Run(), {"model.d_model": 32, "seed": 9})
    assert lib.config_hash(other, {"model", "seed"}) == lib.config_hash(
        Run(), {"model", "seed"}
    )
    assert lib.config_hash(other, {"mode", "seed"}) != lib.config_hash(
        Run(), {"mode", "seed"}
    )
    assert lib.config_hash(Run(optim=Adam(lr=1))) == lib.config_hash(
        Run(optim=Adam(lr=1.0))
    )


def test_diff_names_the_keys():
    found = lib.diff(Run(), CHANGED, ignore={"model", "optim.betas"})
    assert [d.key for d in found] == [
        "budgets",
        "limit",
        "optim.lr",
        "optim.nesterov",
        "optim.type",
        "seed",
        "teacher",
        "teacher.d_model",
        "teacher.depth",
        "teacher.mixer",
        "teacher.n_heads",
        "teacher.remat",
        "weights.cell",
        "weights.halt",
    ]
    assert found[5] == ("seed", 0, 3) and str(found[5]) == "seed: 0 -> 3"
    assert lib.diff(Run(), lib.to_dict(Run())) == []


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (["model.d_model=256"], {"model.d_model": 256}),
        (["--model.d_model=256"], {"model.d_model": 256}),
        (["--model.d-model", "256"], {"model.d_model": 256}),
        (["optim.lr=3e-4", "seed=2"], {"optim.lr": 3e-4, "seed": 2}),
        (["--optim.lr", "3e-4", "seed=2"], {"optim.lr": 3e-4, "seed": 2}),
        (["optim.lr=1"], {"optim.lr": 1.0}),
        (["model.remat=true"], {"model.remat": True}),
        (["--model.remat"], {"model.remat": True}),
        (["--model.remat", "seed=1"], {"model.remat": True, "seed": 1}),
        (["--model.remat", "False"], {"model.remat": False}),
        (["model.remat=true", "--model.no-remat"], {"model.remat": False}),
        (["budgets=1,-1,4+halt"], {"budgets": ("1", "-1", "4+halt")}),
        (["budgets=-1"], {"budgets": ("-1",)}),
        (["--budgets", "1", "-1", "seed=1"], {"budgets": ("1", "-1"), "seed": 1}),
        (["budgets="], {"budgets": ()}),
        (["sizes=(4, 5)"], {"sizes": (4, 5)}),
        (["limit=3"], {"limit": 3}),
        (["limit=3", "limit=none"], {"limit": None}),
        (["model.depth=3"], {"model.depth": 3}),
        (["model.depth=all"], {"model.depth": "all"}),
        (["name=a=b"], {"name": "a=b"}),
        (["name="], {"name": ""}),
        (["--name", "x y"], {"name": "x y"}),
        (["seed=-1"], {"seed": -1}),
        (["optim=Muon", "optim.nesterov=false"], {"optim": Muon(nesterov=False)}),
        (["model.d_model=9", "model.n_heads=3"], {"model": Model(9, 3)}),
        (["teacher=none"], {"teacher": None}),
        (["teacher=Model", "teacher.remat=true"], {"teacher": Model(remat=True)}),
        (["teacher=Model", "teacher.remat=true", "teacher=none"], {"teacher": None}),
    ],
)
def test_overrides(arguments, changes):
    assert lib.apply_overrides(Run(), arguments) == lib.replace(Run(), changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["model.dmodel=2"],
            "unknown key 'model.dmodel'; did you mean 'model.d_model'?",
        ),
        (["d_model=2"], "unknown key 'd_model'; did you mean 'model.d_model'?"),
        (["--optm.lr", "1"], "unknown key 'optm.lr'; did you mean 'optim.lr'?"),
        (["seed.x=1"], "unknown key 'seed.x'; did you mean 'seed'?"),
        (["model.d_model=big"], "model.d_model='big': expected an integer"),
        (["model.d_model=2.5"], "model.d_model='2.5': expected an integer"),
        (["model.d_model="], "model.d_model='': expected an integer"),
        (["optim.lr=fast"], "optim.lr='fast': expected a number"),
        (
            ["model.mixer=conv"],
            "model.mixer='conv': expected one of 'attention', 'mlp_t'",
        ),
        (["model.remat=maybe"], "model.remat='maybe': expected true or false"),
        (["sizes=1,2,3"], "sizes='1,2,3': expected a list of 2"),
        (["optim=Sgd"], "optim='Sgd': expected Adam or Muon"),
        (["model=big"], "override 'model=big': model is a group; set model.d_model"),
        (["seed"], "override 'seed': expected key.path=value"),
        (["--seed"], "override '--seed': a value must follow"),
        (["--seed", "--name=x"], "override '--seed': a value must follow"),
        (["model.n_heads=5"], "model: n_heads=5 must divide 64"),
        (["limit=x"], "limit='x': expected an integer or none"),
    ],
)
def test_bad_overrides_are_one_line(arguments, message, capfd):
    with pytest.raises(UserError) as excinfo:
        lib.apply_overrides(Run(), arguments)
    assert one_line(excinfo).startswith(message)
    assert capfd.readouterr() == ("", "")


def test_replace_checks_values():
    with pytest.raises(UserError, match="model.d_model='2': expected an integer"):
        lib.replace(Run(), {"model.d_model": "2"})
    with pytest.raises(UserError, match="did you mean 'model.d_model'"):
        lib.replace(Run(), {"model.dmodel": 2})


def test_grid_zip_chain_seeds():
    sweep = lib.grid(("seed", [1, 2]), ("model.remat", [False, True]))
    assert [dict(p) for p in sweep.points] == [
        {"seed": 1, "model.remat": False},
        {"seed": 1, "model.remat": True},
        {"seed": 2, "model.remat": False},
        {"seed": 2, "model.remat": True},
    ]
    walked = lib.zip_(("model.d_model", [8, 16]), ("model.n_heads", [2, 4]))
    rows = (lib.chain(walked, lib.grid(("limit", [1]))) * lib.seeds(2)).configs(Run())
    assert list(rows) == [
        "d_model=8,n_heads=2,seed=0",
        "d_model=8,n_heads=2,seed=1",
        "d_model=16,n_heads=4,seed=0",
        "d_model=16,n_heads=4,seed=1",
        "limit=1,seed=0",
        "limit=1,seed=1",
    ]
    assert rows["d_model=16,n_heads=4,seed=1"] == Run(seed=1, model=Model(16, 4))
    assert lib.grid().configs(Run()) == {"base": Run()}
    with pytest.raises(ValueError, match="one length"):
        lib.zip_(("seed", [1]), ("limit", [1, 2]))
    with pytest.raises(ValueError, match="same things"):
        lib.chain(lib.seeds(1), lib.seeds(1)).configs(Run())


def test_resolve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_ok.py").write_text("def rule():\n    return 4\n")
    (tmp_path / "mine_bad.py").write_text("x = 1\ny = nothing\n")
    (tmp_path / "mine_needs.py").write_text("import not_installed_pkg\n")
    assert lib.resolve("mine_ok:rule")() == 4
    assert lib.resolve("math:sqrt")(9) == 3
    for path, message in [
        ("mine_ok", "expected package.module:name"),
        ("mine_ok:", "expected package.module:name"),
        ("mine_ok:rul", "mine_ok has no 'rul'; did you mean 'rule'?"),
        ("no_such_pkg.sub:x", "no module 'no_such_pkg'"),
        ("mine_bad:x", "NameError: name 'nothing' is not defined"),
        ("mine_needs:x", "No module named 'not_installed_pkg'"),
    ]:
        with pytest.raises(UserError) as excinfo:
            lib.resolve(path, "halting.rule")
        assert message in one_line(excinfo)
        assert str(excinfo.value).startswith(f"halting.rule={path!r}: ")
