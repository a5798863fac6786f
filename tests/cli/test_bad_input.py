# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bad input through the command line: one clear line, exit code 2, nothing lost."""

import json
import pickle
import resource
import shutil

import numpy as np
import pytest

from lrm_jax.cli.main import main
from lrm_jax.data import sudoku
from lrm_jax.training.loading import write_params
from lrm_jax.training.run_folder import open_run
from tests.cli.test_commands import TINY

TRAIN = [
    *["train", "sudoku4_tiny", *TINY, "data.holdout=canonical"],
    *["data.train_size=0", "data.test_size=2", "train.total_steps=2"],
]
SEVERAL = "1" + "." * 15 + ",1234341221434321"


def text(digits):
    return "".join(".1234"[d] for d in digits)


@pytest.fixture(scope="module")
def rows():
    made = sudoku.generate(sudoku.geometry_for(4), 12, seed=3)
    pairs = zip(made.puzzles, made.solutions, strict=True)
    return [f"{text(puzzle)},{text(solution)}" for puzzle, solution in pairs]


def write_csv(path, rows, header="question,answer"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def refused(capfd):
    def call(*words):
        assert main([str(word) for word in words]) == 2
        out, err = capfd.readouterr()
        assert out == "" and "Traceback" not in err
        assert err.startswith("lrm: error: ") and err.count("\n") == 1, err
        return err.removeprefix("lrm: error: ").rstrip()

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory, rows):
    """A run of two steps on a CSV."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_csv(folder / "data.csv", rows)
    assert main([*TRAIN, f"data.path={data}", "--run-dir", str(folder / "run")]) == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of that run, to be spoilt."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in found if path.name != ".lock"}


# --- CSVs ------------------------------------------------------------------------


def spoilt(rows):
    question, answer = rows[0].split(",")
    return {
        "short": f"{question[:-1]},{answer}",
        "long answer": f"{question},{answer}1",
        "letter": f"a{question[1:]},{answer}",
        "contradiction": f"11{'.' * 14},{answer}",
        "wrong answer": f"{question},{answer[::-1]}",
        "several": SEVERAL,
    }


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("short", "question has 15 characters, expected 16"),
        ("long answer", "answer has 17 characters, expected 16"),
        ("letter", "question character 1 is 'a', accepted are '.12340'"),
        ("contradiction", "contradicting clues: 1 at row 1 column 1 and at row 1 col"),
        ("wrong answer", "answer disagrees with the clue at row"),
        ("several", "several solutions (accepted in training with data.allow_mul"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path, rows, refused, row, reason):
    data = write_csv(tmp_path / "x.csv", [*rows, spoilt(rows)[row]])
    message = refused(*TRAIN, f"data.path={data}", "--run-dir", tmp_path / "run")
    assert message.startswith(f"{data}, line 14: {reason}")
    assert not (tmp_path / "run").exists()
    assert main(["data", "check", str(data)]) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "empty file"),
        ("question,answer\n", "no rows after the header"),
        ("puzzle,answer\n....,1234\n", "no column 'question' in header"),
        ("question\n" + "." * 16 + "\n", "no column 'answer' in header"),
        (
            "question,answer\n" + "." * 25 + ",\n",
            "questions of 25 characters are",
        ),
        ("\0\udcff", "not a CSV in UTF-8"),
        (None, "no such file"),
    ],
)
def test_a_file_that_holds_no_puzzles(tmp_path, run, refused, content, reason):
    data = tmp_path / "x.csv"
    if content is not None:
        data.write_bytes(content.encode(errors="surrogateescape"))
    sides = ["data.side=0", "--run-dir", tmp_path / "new"]
    assert reason in refused(*TRAIN, f"data.path={data}", *sides)
    assert "x.csv" in refused("eval", run, "--data", data)
    assert reason in refused("data", "check", data)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("preset", ["hrm_sudoku", "trm_maze", "hrm_arc"])
def test_published_presets_want_their_data_named(tmp_path, refused, preset):
    for more in ([], ["--dry-run"]):
        message = refused("train", preset, "--run-dir", tmp_path / "run", *more)
        assert message.startswith("data.path is empty: name a")
        assert ("data.path=generate" in message) == (preset != "hrm_arc")
    assert not (tmp_path / "run").exists()


def test_published_presets_train_on_made_puzzles_when_told_to(capfd):
    sizes = ["data.train_size=20", "data.test_size=5", "train.batch_size=16"]
    words = ["train", "hrm_sudoku", "data.path=generate", *sizes, "--dry-run"]
    assert main([*words, "--json"]) == 0
    data = json.loads(capfd.readouterr().out)["data"]
    assert (data["train_examples"], data["test_examples"]) == (20, 5)


def test_several_solutions_where_they_are_allowed(tmp_path, rows, run, capfd):
    data = write_csv(tmp_path / "x.csv", [*rows, SEVERAL])
    words = [*TRAIN, f"data.path={data}", "--dry-run", "--json"]
    assert main([*words, "data.allow_multiple=true"]) == 0
    assert json.loads(capfd.readouterr().out)["data"]["train_examples"] > 0
    words = ["eval", str(run), "--data", str(data), "--budget", "1", "--json"]
    assert main(words) == 0
    assert json.loads(capfd.readouterr().out)["n"] == 13


def test_check_exits_1_on_overlap(tmp_path, rows, capfd):
    mine = write_csv(tmp_path / "a.csv", rows[:6])
    theirs = write_csv(tmp_path / "b.csv", rows[5:])
    assert main(["data", "check", str(mine)]) == 0
    words = ["data", "check", str(mine), "--against", str(theirs), "--json"]
    capfd.readouterr()
    assert main(words) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["bad"] == [] and [7, 2] in report["details"]["pairs"]


# --- folders in the published format ---------------------------------------------


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "ds"
    sizes = ["side=4", "train_size=8", "test_size=4", "holdout=class"]
    assert main(["data", "build", "sudoku", str(folder), *sizes]) == 0
    return folder


def change(field, fn):
    def do(folder):
        path = folder / "train" / f"all__{field}.npy"
        np.save(path, fn(np.load(path)), allow_pickle=True)

    return do


def say(**values):
    def do(folder):
        path = folder / "train" / "dataset.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return do


def at_row_2(value):
    def fn(array):
        array = array.copy()
        array[2] = value
        return array

    return fn


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (
            lambda folder: (folder / "train" / "all__labels.npy").unlink(),
            "train/all__labels.npy: is missing",
        ),
        (
            change("labels", lambda a: a[:-1]),
            "train/all__labels.npy: has shape [7, 16], expected [8, 16]",
        ),
        (
            change("puzzle_indices", lambda a: a[:-1]),
            "train/all__puzzle_indices.npy: has 8 entries, expected 9",
        ),
        (
            change("puzzle_identifiers", at_row_2(7)),
            "train/all__puzzle_identifiers.npy, row 2: puzzle id 7 is beyond the table",
        ),
        (
            change("labels", at_row_2(0)),
            "train/all__labels.npy, row 2: every label is ignored",
        ),
        (
            change("labels", lambda a: np.array([{}], object)),
            "train/all__labels.npy: cannot be read as an array",
        ),
        (change("inputs", at_row_2(6)), "train/all__inputs.npy, row 2: a token is out"),
        (say(sets=3), "train/dataset.json: sets is 3"),
        (say(vocab_size=11), "vocab_size is 6 in test, 11 in train"),
        (say(num_puzzle_identifiers=None), "num_puzzle_identifiers is None"),
        (say(ignore_label_id="0"), "ignore_label_id is '0'"),
        (say(mean_puzzle_examples="1"), "mean_puzzle_examples is '1'"),
    ],
)
def test_a_damaged_folder(tmp_path, dataset, run, refused, capfd, spoil, reason):
    folder = shutil.copytree(dataset, tmp_path / "ds")
    spoil(folder)
    message = refused(*TRAIN, f"data.path={folder}", "--run-dir", tmp_path / "new")
    assert message.startswith(str(folder)) and reason in message
    assert reason in refused("eval", run, "--data", folder)
    assert main(["data", "check", str(folder)]) == 1
    assert reason in capfd.readouterr().out
    assert not (tmp_path / "new").exists()


def test_a_4x4_folder_is_told_by_what_it_holds(tmp_path, dataset, capfd):
    mazes = tmp_path / "mazes"
    words = ["data", "build", "maze", str(mazes), "side=4", "train_size=6"]
    assert main([*words, "test_size=3"]) == 0
    for folder, kind in ((dataset, "sudoku"), (mazes, "maze")):
        capfd.readouterr()
        main(["data", "check", str(folder), "--json"])
        report = json.loads(capfd.readouterr().out)
        assert (report["kind"], report["bad"]) == (kind, [])


def test_ids_beyond_the_models_table(tmp_path, dataset, refused):
    folder = shutil.copytree(dataset, tmp_path / "ds")
    say(num_puzzle_identifiers=9)(folder)
    (folder / "identifiers.json").unlink()
    table = ["model.puzzle_emb_dim=8", "model.num_puzzle_ids=5"]
    message = refused(*TRAIN, *table, f"data.path={folder}", "--run-dir", "x")
    assert message == "model.num_puzzle_ids=5: the data has puzzle ids up to 8"


# --- checkpoints -----------------------------------------------------------------


def biggest(run):
    state = [p for p in (run / "checkpoints/2/state").rglob("*") if p.is_file()]
    return max(state, key=lambda path: path.stat().st_size)


def truncate(run):
    path = biggest(run)
    path.write_bytes(path.read_bytes()[:-10])


def flip(run):
    path = biggest(run)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def add_pickle(run):
    biggest(run).write_bytes(pickle.dumps(Attack(str(run / "ran"))))


class Attack:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(truncate, "bytes"), (flip, "is damaged"), (add_pickle, "bytes")],
)
def test_a_damaged_checkpoint(trained, run, capfd, spoil, reason):
    spoil(run)
    again = [*TRAIN, f"data.path={trained / 'data.csv'}", "train.total_steps=4"]
    before = contents(run / "checkpoints")
    fresh = ["--init-from", str(run), "--run-dir", str(run.with_name("new"))]
    for words in (
        ["eval", str(run), "--budget", "1"],
        ["solve", f"{run}@2", "--puzzle", "." * 16],
        [*again, *fresh],
        [*again, "--run-dir", str(run)],
    ):
        assert main(words) == 2
        out, err = capfd.readouterr()
        assert out == "" and "Traceback" not in err
        assert "cannot be used: " in err and reason in err
    assert contents(run / "checkpoints") == before
    assert not (run / "ran").exists() and not run.with_name("new").exists()


def test_eval_says_which_checkpoint_it_fell_back_to(run, capfd):
    newest = shutil.copytree(run / "checkpoints/2", run / "checkpoints/4")
    (newest / "manifest.json").write_text("{")
    for more in ([], ["--compact"]):
        assert main(["eval", str(run), "--budget", "1", *more, "--json"]) == 0
        out, err = capfd.readouterr()
        line = "checkpoint 4 cannot be used: manifest.json is damaged; trying the one"
        assert line in err
        data = json.loads(out)
        assert data["step"] == 2 and data["warning"] == f"{line} before: step 2"
    assert main(["eval", f"{run}@2", "--budget", "1", "--json"]) == 0
    assert "warning" not in json.loads(capfd.readouterr().out)


def test_parameters_alone_are_not_resumed(tmp_path, trained, run, refused):
    shutil.rmtree(run / "checkpoints")
    write_params(run, {"weights": {"w": np.zeros(3, np.float32)}}, step=2)
    data = f"data.path={trained / 'data.csv'}"
    message = refused(*TRAIN, data, "train.total_steps=4", "--run-dir", run)
    assert "is of kind 'params', not 'train_state'" in message


def test_a_checkpoint_of_another_config(tmp_path, trained, run, refused):
    before = contents(run)
    data = f"data.path={trained / 'data.csv'}"
    words = [*TRAIN, data, "model.d_model=16"]
    message = refused(*words, "--run-dir", run)
    assert "model.d_model is 8 there, 16 here" in message
    message = refused(*words, "--init-from", run, "--run-dir", tmp_path / "new")
    assert message.count("in this run") == 5 and message.endswith(" more")
    assert "is float32[8] there and float32[16] in this run" in message
    assert not (tmp_path / "new").exists()
    config = json.loads((run / "config.json").read_text())
    config["model"]["d_model"] = 16
    (run / "config.json").write_text(json.dumps(config))
    assert "there and float32[16] in this run" in refused("eval", run)
    del before[run / "config.json"]
    assert before.items() <= contents(run).items()


def test_other_training_data_are_refused(tmp_path, trained, rows, run, refused):
    other = write_csv(tmp_path / "other.csv", rows[::-1])
    before = contents(run)
    words = [*TRAIN, "train.total_steps=4", "--run-dir", run]
    message = refused(*words, f"data.path={other}")
    assert message.startswith(f"data.path='{other}': these are not the training data")
    assert contents(run) == before
    moved = shutil.copy(trained / "data.csv", tmp_path / "moved.csv")
    assert main([*map(str, words), f"data.path={moved}"]) == 0


def test_pickled_code_is_not_imported(tmp_path, refused):
    pytest.importorskip("torch")
    attack = pickle.dumps({"w": Attack(str(tmp_path / "ran"))})
    (tmp_path / "weights.pt").write_bytes(attack)
    config = {"arch": {"name": "recursive_reasoning.trm@TRM"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    message = refused("import", "trm", tmp_path, tmp_path / "run")
    assert "other than tensors" in message and "refused, never run" in message
    assert not (tmp_path / "ran").exists() and not (tmp_path / "run").exists()


# --- run folders -----------------------------------------------------------------


def never(*args, **kwargs):
    raise AssertionError("data were made before the folder was looked at")


def test_a_folder_that_will_be_refused_is_refused_first(run, refused, monkeypatch):
    from lrm_jax.recipes import latent_build

    monkeypatch.setattr(latent_build, "make_source", never)
    assert "seed is 0 there, 5 here" in refused(*TRAIN, "seed=5", "--run-dir", run)
    config = json.loads((run / "config.json").read_text())
    before = contents(run)
    with open_run(run, config):
        message = refused(*TRAIN, "--run-dir", run)
    assert message.startswith(f"run folder {run} is in use by process ")
    assert contents(run).keys() == before.keys()
    other = run.with_name("other")
    other.mkdir()
    (other / "thesis.tex").write_text("")
    assert "holds 'thesis.tex' and no run" in refused(*TRAIN, "--run-dir", other)
    message = refused(*TRAIN, "--run-dir", other / "thesis.tex")
    assert "is a file" in message


def test_a_full_disk_keeps_the_checkpoint_before(trained, run, capfd):
    before = contents(run / "checkpoints")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = biggest(run).stat().st_size
    words = [*TRAIN, f"data.path={trained / 'data.csv'}", "train.total_steps=4"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        code = main([*words, "--run-dir", str(run)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    err = capfd.readouterr().err
    assert code == 2 and "Traceback" not in err
    line = err.splitlines()[-1]
    assert "checkpoint 4 could not be written" in line
    assert "checkpoint 2 is kept" in line
    assert before.items() <= contents(run / "checkpoints").items()
    assert main([*words, "--run-dir", str(run)]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "nowhere"], "nowhere is not a run folder"),
        (["solve", "nowhere", "--puzzle", "1"], "nowhere is not a run folder"),
        (["report", "nowhere"], "'nowhere': no config.json"),
        (["export", "hrm", "nowhere", "x"], "nowhere"),
        (["train", "sudoku4_tny"], "unknown preset 'sudoku4_tny'; did you mean 'sudo"),
        (["train", "nowhere.json"], "preset 'nowhere.json': no such file"),
        ([*TRAIN, "--init-from", "/nowhere"], "/nowhere is not a run folder"),
        (
            [*TRAIN, "--rundir", "x"],
            "unknown argument '--rundir'; did you mean '--run-",
        ),
        ([*TRAIN, "--profile", "0"], "--profile 0: expected 1 or more"),
        (["eval", "x", "--bugdet", "1"], "unknown argument '--bugdet'; did you mean '"),
        (
            ["data", "build", "maze", "x", "--numaug", "2"],
            "unknown argument '--numaug'",
        ),
        ([*TRAIN, "optim.lrr=1"], "unknown key 'optim.lrr'; did you mean 'optim.lr'?"),
        ([*TRAIN, "optim.lr=nan"], "optim.lr is nan; accepted: a finite number"),
        ([*TRAIN, "seed=-1"], "seed=-1: expected between 0 and 9223372036854775807"),
        ([*TRAIN, "model.norm_eps=-1"], "model.norm_eps=-1.0: expected 0 or more"),
        ([*TRAIN, "model.n_heads=3"], "model.n_heads=3: must divide model.d_model=8"),
        ([*TRAIN, "mesh.data=3"], "train.batch_size=8: must divide over 3 devices"),
        ([*TRAIN, "mesh.data=9"], "mesh data=9 x fsdp=1 x model=1 needs 9 devices"),
        ([*TRAIN, "eval.budgets=99"], "budget '99': beyond the cap of 2 segments"),
        (
            ["train", "sudoku4_tiny", "data.holdout=canonical"],
            "data.holdout='canonical': 1000 test puzzles leave hardly any of the 36",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ",
)
def test_command_lines(tmp_path, monkeypatch, refused, words, message):
    monkeypatch.chdir(tmp_path)
    assert refused(*words).startswith(message)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("-2", "below -1"),
        ("2.5", "not an integer"),
        ("1e3", ""),
        ("", ""),
        ("+halt", ""),
        ("hihg", "did you mean 'high'?"),
        ("3", "beyond the cap of 2 segments"),
        ("3+halt", "beyond the cap of 2 segments"),
    ],
)
def test_budgets_come_before_the_data(run, refused, monkeypatch, budget, message):
    from lrm_jax.recipes import run as run_module

    monkeypatch.setattr(run_module, "make_source", never)
    for words in (["eval", run], ["solve", run, "--puzzle", "." * 16]):
        line = refused(*words, f"--budget={budget}")
        assert line.startswith(f"budget {budget!r}: ") and message in line
