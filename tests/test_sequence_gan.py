"""The driver: whole experiments at small sizes."""

import json
import os
import re
import subprocess
import sys

import experiment
import numpy as np
import pytest

import sequence_gan
from generator import LSTM
from target_lstm import read_params


def nlls(folder):
    return [
        float(line.split("\t")[3]) for line in experiment.log(folder).splitlines() if "nll" in line
    ]


def test_the_log_has_its_form_to_the_byte(finished):
    expected = b"pre-training...\n"
    expected += b"".join(b"epoch:\t%d\tnll:\tNLL\n" % epoch for epoch in (0, 2, 4))
    expected += b"adversarial training...\n"
    expected += b"".join(b"epoch:\t%d\tnll:\tNLL\n" % epoch for epoch in (0, 2))
    expected = expected.replace(b"...", rb"\.\.\.").replace(b"NLL", rb"\d\.\d{1,5}")
    assert re.fullmatch(expected, (finished[0] / "save/experiment-log.txt").read_bytes())


def test_a_run_leaves_whole_batches_its_settings_and_a_generator_to_sample(finished):
    for name in ("real_data.txt", "generator_sample.txt", "eval_file.txt"):
        x = np.loadtxt(finished[0] / "save" / name, int)
        assert x.shape == (96, 6) and x.min() >= 0 and x.max() < 30
    settings = json.loads((finished[0] / "save/settings.json").read_text())
    assert settings.items() >= experiment.SMALL.items() and settings["SEED"] == 88
    x = LSTM(read_params(finished[0] / "save/generator.npz"), 6).sample(10).numpy()
    assert x.shape == (10, 6) and x.min() >= 0 and x.max() < 30


def test_metrics_have_a_row_for_every_epoch_evaluation_and_set(finished):
    rows = experiment.metrics(finished[0])
    assert [(row["stage"], row["epoch"]) for row in rows] == (
        [("mle", epoch) for epoch in "001223445"]  # evaluated in 0, 2 and 4
        + [("discriminator", "0"), ("discriminator", "1")]
        + [("adversarial", epoch) for epoch in "00011222"]  # evaluated in 0 and 2
    )
    evaluated = [row for row in rows if row["nll_oracle"]]
    assert [float(row["nll_oracle"]) for row in evaluated] == nlls(finished[0])
    for row in evaluated:
        # A model is no better on fresh real data than the oracle itself, and here not far from it.
        assert 2.5 < float(row["nll_test"]) < 3.8
        assert 0 < float(row["bleu_2"]) < 1 and 0 < float(row["self_bleu_2"]) < 1
    trained = [row for row in rows if row["dis_loss"]]
    assert len(trained) == 5 and all(0 <= float(row["dis_accuracy"]) <= 1 for row in trained)
    played = [row for row in rows if row["pg_loss"]]
    assert [row["epoch"] for row in played] == ["0", "1", "2"]
    for row in played:  # the loss is a sum of rewards times -log p, 96 of them
        reward, loss = float(row["reward_mean"]), float(row["pg_loss"])
        assert 0 < reward < 1 and 2.5 < loss / 96 / reward < 3.8
    assert sum(bool(row["mle_loss"]) for row in rows) == 6
    seconds = [int(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)


TEXT = {"TEXT_FILE": "text.txt", "GENERATED_NUM": 640}
NO_FILE = "expected a file, and none that a run writes, found"
BAD = [
    ({"SEQ_LENGTH": 0}, "SEQ_LENGTH: expected a whole number from 1 to 1000000, found 0"),
    ({"D_STEPS": True}, "D_STEPS: expected a whole number from 0"),
    ({"DIS_FILTER_SIZES": [1, 2, 7]}, "DIS_FILTER_SIZES, each number: expected a whole number"),
    ({"DIS_NUM_FILTERS": [8, 8]}, "DIS_FILTER_SIZES: expected different ones, each with a DIS"),
    ({"GEN_GRAD_CLIP": float("nan")}, "GEN_GRAD_CLIP: expected a number from 1e-30 to 1e+30"),
    ({"DIS_BATCH_SIZE": 193}, "DIS_BATCH_SIZE: expected a whole number from 1 to 192, found 193"),
    ({"VOCAB_SIZE": 31}, "save/target_params.npz: expected an oracle of VOCAB_SIZE, EMB_DIM"),
    ({"TARGET_FILE": "none.npz"}, f"TARGET_FILE: {NO_FILE} 'none.npz', sought in /"),
    ({"TARGET_FILE": None}, f"TARGET_FILE: {NO_FILE} None"),
    (TEXT | {"START_TOKEN": 1}, "START_TOKEN: a text fixes it at 0, found 1"),
    (TEXT | {"TEXT_FILE": "save/real_data.txt"}, f"TEXT_FILE: {NO_FILE}"),
    (TEXT | {"TEST_FILE": "none.txt"}, f"TEST_FILE: {NO_FILE} 'none.txt'"),
    (TEXT | {"BATCH_SIZE": 64}, "BATCH_SIZE: expected a whole number from 1 to 54, found 64"),
]


@pytest.mark.parametrize(("constants", "message"), BAD)
def test_bad_constants_are_named_and_nothing_is_touched(tmp_path, monkeypatch, constants, message):
    folder = experiment.make(tmp_path)
    experiment.write_text(folder / "text.txt")
    assert experiment.refusal(folder, monkeypatch, **constants).startswith(message)
    assert not (folder / "save/experiment-log.txt").exists()


def test_bad_input_ends_with_one_line_and_exit_code_1(tmp_path):
    folder = experiment.make(tmp_path, BATCH_SIZE=0)
    code, _, err = experiment.run(folder)
    line = "sequence_gan.py: BATCH_SIZE: expected a whole number from 1 to 1000000, found 0\n"
    assert code == 1 and err.endswith(line) and "Traceback" not in err


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(tmp_path):
    folder = experiment.make(tmp_path, GEN_LEARNING_RATE=1e30)
    code, _, err = experiment.run(folder)
    assert code == 1 and "Traceback" not in err
    assert "sequence_gan.py: mle_loss of mle epoch 0 is nan: the run cannot go on" in err


def record_events(monkeypatch, events):
    """Note the calls of main() as (name, object, arguments, result). Updates are not made."""

    def record(kind, method, result=None):
        original = getattr(kind, method)

        def recorded(self, *arguments):
            made = result(*arguments) if result else original(self, *arguments)
            events.append((method, self, arguments, made))
            return made

        monkeypatch.setattr(kind, method, recorded)

    rng = np.random.default_rng(0)
    record(sequence_gan.Generator, "sample")
    record(sequence_gan.Generator, "pretrain_step", lambda x: 1.0)
    record(sequence_gan.Generator, "reinforce_step", lambda x, rewards: 1.0)
    record(sequence_gan.Discriminator, "train_steps", lambda x, y: np.ones(len(x)))
    record(sequence_gan.Rollout, "get_reward", lambda *_: rng.random([16, 6]))
    record(sequence_gan.Rollout, "reset")
    record(sequence_gan.Rollout, "update_params")
    record(sequence_gan.Oracle, "measure")


SCHEDULE = [
    # MLE, in batches of 16 of 96 sequences; evaluated after epochs 0 and 2
    *["pretrain_step"] * 6, "sample", "measure",
    *["pretrain_step"] * 6,
    *["pretrain_step"] * 6, "sample", "measure",
    # two sets for the discriminator, two epochs over each
    "sample", *["train_steps"] * 2,
    "sample", *["train_steps"] * 2,
    # four adversarial epochs of two generator steps and three sets; the last is evaluated, too
    "reset",
    *["sample", "get_reward", "reinforce_step"] * 2, "sample", "measure", "update_params",
    *["sample", "train_steps", "train_steps"] * 3,
    *["sample", "get_reward", "reinforce_step"] * 2, "update_params",
    *["sample", "train_steps", "train_steps"] * 3,
    *["sample", "get_reward", "reinforce_step"] * 2, "sample", "measure", "update_params",
    *["sample", "train_steps", "train_steps"] * 3,
    *["sample", "get_reward", "reinforce_step"] * 2, "sample", "measure", "update_params",
    *["sample", "train_steps", "train_steps"] * 3,
]  # fmt: skip


def test_the_schedule_is_the_paper_s_algorithm_1(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    constants = {"PRE_EPOCH_NUM": 3, "DIS_EPOCHS": 2, "G_STEPS": 2, "D_STEPS": 3, "SEED": 1}
    experiment.set_constants(folder, monkeypatch, **constants, TOTAL_BATCH=4)
    record_events(monkeypatch, events)
    sequence_gan.main()
    assert [event[0] for event in events] == SCHEDULE

    positives = np.loadtxt("save/real_data.txt", np.int32)
    mle = [arguments[0] for name, _, arguments, _ in events if name == "pretrain_step"]
    for epoch in range(3):  # every epoch the file's order
        np.testing.assert_array_equal(np.concatenate(mle[6 * epoch :][:6]), positives)
    check_sets(events, positives)
    check_generator_steps(events)
    assert not list((folder / "save").glob("run-*"))


def check_sets(events, positives):
    """Every set: the positives and the sequences drawn just before, in one new order twice."""
    orders = []
    for drawn, first, second in zip(events, events[1:], events[2:]):
        if (drawn[0], first[0]) != ("sample", "train_steps"):
            continue
        x, y = first[2]
        np.testing.assert_array_equal(x, second[2][0])
        np.testing.assert_array_equal(y, second[2][1])
        x, y = x.reshape(-1, 6), y.ravel()
        assert sorted(x[y == 1].tolist()) == sorted(positives.tolist())
        assert sorted(x[y == 0].tolist()) == sorted(drawn[3].numpy().tolist())
        orders.append(y.tolist())
    assert len(orders) == len(set(map(str, orders))) == 2 + 4 * 3


def check_generator_steps(events):
    """Every generator step: fresh samples, their rewards by rollouts and prob_real, the update."""
    discriminator = next(event[1] for event in events if event[0] == "train_steps")
    seen = set()
    for drawn, rewarded, update in zip(events, events[1:], events[2:]):
        if update[0] != "reinforce_step":
            continue
        x = drawn[3].numpy()
        seen.add(x.tobytes())
        samples, rollout_num, score = rewarded[2]
        np.testing.assert_array_equal(samples, x)
        assert drawn[2] == (16,) and rollout_num == experiment.SMALL["ROLLOUT_NUM"]
        np.testing.assert_array_equal(score(x), discriminator.prob_real(x))
        np.testing.assert_array_equal(update[2][0], x)
        np.testing.assert_array_equal(update[2][1], rewarded[3])
        assert update[1] is drawn[1]
    assert len(seen) == 8


def test_a_text_takes_the_oracle_s_place(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    experiment.write_text(folder / "text.txt", 200)
    constants = {"TEXT_FILE": "text.txt", "TARGET_FILE": "none.npz", "GENERATED_NUM": 40, "SEED": 2}
    experiment.set_constants(folder, monkeypatch, **constants)
    record_events(monkeypatch, events)
    sequence_gan.main()
    words = open("save/vocabulary.txt").read().split("\n")[:-1]
    assert len(words) == 14 and events[0][1].vocab_size == 14
    mle = [arguments[0] for name, _, arguments, _ in events if name == "pretrain_step"]
    assert len(mle) == 6 * (180 // 16)
    sets = [arguments for name, _, arguments, _ in events if name == "train_steps"]
    real = [frozenset(map(tuple, x[y == 1].tolist())) for x, y in sets]
    assert len(real) == len(set(real)) == 5  # drawn anew for each set
    assert set(open("save/eval_file.txt").read().split()) <= set(words[1:])
    evaluated = [row for row in experiment.metrics(folder) if row["nll_test"]]
    assert [float(row["nll_test"]) for row in evaluated] == nlls(folder) and len(evaluated) == 5
    for row in evaluated:
        for name in ("bleu_2", "bleu_5", "self_bleu_2", "self_bleu_5"):
            assert 0 < float(row[name]) < 1


def test_a_text_is_shown_and_learnt_even_with_standard_error_closed(tmp_path):
    folder = experiment.make(tmp_path, TEXT_FILE="text.txt", DIS_PRETRAIN_ROUNDS=0, TOTAL_BATCH=0)
    experiment.write_text(folder / "text.txt", 200)
    code, out, err = experiment.run(folder, preexec_fn=lambda: (os.close(0), os.close(2)))
    assert code == 0, err
    assert "text.txt: 180 lines to learn, 20 held out" in out
    words = set((folder / "save/vocabulary.txt").read_text().split())
    shown = [line.split("\t")[1] for line in out.splitlines() if line.startswith("sample:")]
    assert len(shown) == 3 and all(set(line.split()) <= words - {"<end>"} for line in shown)
    assert (folder / "save/learning-curve.png").stat().st_size > 40_000


def test_stages_can_be_left_out_and_runs_follow_in_one_process(tmp_path, monkeypatch, capsys):
    folder = experiment.make(tmp_path)
    assert "SEED" in experiment.refusal(folder, monkeypatch, SEED=-1)  # as a notebook would
    for constants, log in (
        ({"DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0}, r"pre-training\.\.\.\n(epoch.*\n){3}"),
        ({"PRE_EPOCH_NUM": 0, "D_STEPS": 0}, r"adversarial training\.\.\.\n(epoch.*\n){2}"),
    ):
        experiment.set_constants(folder, monkeypatch, **constants, SEED=88)
        sequence_gan.main()
        assert re.fullmatch(log, experiment.log(folder))
    assert capsys.readouterr().out.count("Done.") == 2


def test_a_nll_of_any_size_reaches_log_and_picture_and_is_gone_on_from(tmp_path, monkeypatch):
    folder = experiment.make(tmp_path)
    (folder / "text.txt").write_text("a\n" * 80)
    constants = {"TEXT_FILE": "text.txt", "SEQ_LENGTH": 1, "PRE_EPOCH_NUM": 99, "BATCH_SIZE": 8}
    constants |= {"DIS_FILTER_SIZES": [1], "DIS_NUM_FILTERS": [4], "GEN_LEARNING_RATE": 0.1}
    constants["EVAL_EVERY"] = 49
    for total in (1, 2):
        experiment.set_constants(folder, monkeypatch, **constants, TOTAL_BATCH=total)
        sequence_gan.main()
    assert re.search(r"nll:\t\d(\.\d+)?e-0\d\n", experiment.log(folder))
    assert not list((folder / "save").glob("run-*"))


def test_a_narrow_terminal_shows_bars_and_whole_log_lines(tmp_path):
    folder, columns = experiment.make(tmp_path), 60
    lines = re.split(r"[\r\n]+|\x1b\[A", experiment.run_on_terminal(folder, columns))
    for line in experiment.log(folder).splitlines():
        assert line in lines
    for stage in ("mle", "discriminator", "adversarial"):
        bars = [line for line in lines if line.startswith(f"{stage}:")]
        assert bars and max(map(len, bars)) <= columns


@pytest.fixture(scope="module")
def without_matplotlib(tmp_path_factory):
    """A second run of the same settings, where there is no matplotlib; and what it printed."""
    folder = experiment.make(tmp_path_factory.mktemp("without"))
    (folder / "matplotlib.py").write_text("raise ImportError('no matplotlib')\n")
    code, out, err = experiment.run(folder)
    assert code == 0, err
    return folder, out


def test_without_matplotlib_the_same_seed_gives_the_same_bytes(finished, without_matplotlib):
    folder, out = without_matplotlib
    assert experiment.outputs(folder) == experiment.outputs(finished[0])
    assert "save/learning-curve.png cannot be drawn: no matplotlib" in out
    assert "Done. The generator is in save/generator.npz" in out


def test_the_program_runs_in_a_notebook(tmp_path):
    folder = experiment.make(tmp_path, PRE_EPOCH_NUM=1, DIS_PRETRAIN_ROUNDS=0, TOTAL_BATCH=0)
    notebook = "import io, sys, runpy; sys.stdout = io.StringIO(); "  # no reconfigure, as there
    notebook += "runpy.run_path('sequence_gan.py', run_name='__main__')"
    subprocess.run([sys.executable, "-c", notebook], cwd=folder, check=True)
    assert experiment.log(folder).count("nll") == 1


def recipe(beginning):
    """The line of the README's recipes that begins so."""
    lines = map(str.strip, (experiment.ROOT / "README.md").read_text().splitlines())
    (line,) = {line for line in lines if line.startswith(beginning)}
    return line


def test_the_readme_s_recipes_work(finished, tmp_path):
    folder = experiment.make(tmp_path, PRE_EPOCH_NUM=0, DIS_PRETRAIN_ROUNDS=0, D_STEPS=0)
    (folder / "my-generator.npz").write_bytes((finished[0] / "save/generator.npz").read_bytes())
    text = (folder / "sequence_gan.py").read_text()
    for beginning in "loss = generator.reinforce_step", "rewards = rollout.get_reward":
        pattern = rf"(?m)^( +){re.escape(beginning)}.*$"
        text, found = re.subn(pattern, rf"\1{recipe(beginning)}", text)
        assert found == 1
    start = f"{recipe('from target_lstm')}; {recipe('generator.set_params(')}"
    text = text.replace("    run.begin(", f"    {start}\n    run.begin(")
    (folder / "sequence_gan.py").write_text(text)
    code, _, err = experiment.run(folder)
    assert code == 0, err
    rows = experiment.metrics(folder)
    assert 3.2 < float(rows[1]["nll_oracle"]) < 3.6  # the oracle has 3.0, no training 3.8
    assert 0 < float(rows[0]["reward_mean"]) < 1 and "dis_loss" not in rows[0]
