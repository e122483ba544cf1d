"""The driver: whole experiments at small sizes, as processes."""

import csv
import os
import re

import experiment
import numpy as np
import pytest

import sequence_gan
from dataloader import plot_learning_curves, read_log
from target_lstm import TargetLSTM


def nlls(log):
    return [float(line.split("\t")[-1]) for line in log.splitlines() if "\t" in line]


def test_the_log_has_its_form_to_the_byte(finished):
    log = (finished[0] / "save/experiment-log.txt").read_bytes()
    number = rb"\d\.\d{1,5}"
    expected = b"pre-training...\n"
    expected += b"".join(b"epoch:\t%d\tnll:\tNLL\n" % epoch for epoch in (0, 2, 4))
    expected += b"adversarial training...\n"
    expected += b"".join(b"epoch:\t%d\tnll:\tNLL\n" % epoch for epoch in (0, 2))
    assert re.fullmatch(expected.replace(b"...", rb"\.\.\.").replace(b"NLL", number), log)


def test_sample_files_hold_whole_batches(finished):
    for name in ("real_data.txt", "generator_sample.txt", "eval_file.txt"):
        x = np.loadtxt(f"{finished[0]}/save/{name}", int)
        assert x.shape == (96, 6) and x.min() >= 0 and x.max() < 30


def test_tensorflow_s_chatter_is_silenced(finished):
    assert not re.search(r"oneDNN|cudart|absl|WARNING|\.cc:\d", finished[1] + finished[2])


BAD = {
    "SEQ_LENGTH": (0, "SEQ_LENGTH: expected a whole number from 1 to 1000000, found 0"),
    "TOTAL_BATCH": (2.5, "TOTAL_BATCH: expected a whole number from 0 to 1000000, found 2.5"),
    "D_STEPS": (True, "D_STEPS: expected a whole number from 0"),
    "SEED": (-1, "SEED: expected a whole number from 0 to 18446744073709551615, found -1"),
    "START_TOKEN": (30, "START_TOKEN: expected a whole number from 0 to 29, found 30"),
    "DIS_FILTER_SIZES": ([1, 2, 7], "DIS_FILTER_SIZES: expected a list of whole numbers from 1 to"),
    "DIS_NUM_FILTERS": (
        [8, 8],
        "DIS_NUM_FILTERS: expected a number for each of the different DIS_",
    ),
    "DIS_DROPOUT_KEEP_PROB": ("x", "DIS_DROPOUT_KEEP_PROB: expected a number from 1e-06 to 1, fou"),
    "DIS_L2_REG_LAMBDA": (-0.1, "DIS_L2_REG_LAMBDA: expected a number from 0 to 1e+38, found -0.1"),
    "ROLLOUT_UPDATE_RATE": (1.0, "ROLLOUT_UPDATE_RATE: expected a number from 0 to 0.999999, fou"),
    "DIS_LEARNING_RATE": (np.float32(0.1), "DIS_LEARNING_RATE: expected a number from 1e-30 to"),
    "GEN_LEARNING_RATE": (10**400, "GEN_LEARNING_RATE: expected a number from 1e-30 to 1e+30, fou"),
    "GEN_GRAD_CLIP": (float("nan"), "GEN_GRAD_CLIP: expected a number from 1e-30 to 1e+30, found "),
    "DIS_BATCH_SIZE": (193, "DIS_BATCH_SIZE: expected a whole number from 1 to 192, found 193"),
    "GENERATED_NUM": (15, "GENERATED_NUM: expected a whole number from 16 to 10000000, found 15"),
    "VOCAB_SIZE": (31, "save/target_params.npz: expected an oracle of VOCAB_SIZE, EMB_DIM, HIDDEN"),
    "TARGET_FILE": ("save/none.npz", "TARGET_FILE: expected an oracle file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_constants_are_named_in_one_line(tmp_path, monkeypatch, name):
    value, message = BAD[name]
    folder = experiment.make(tmp_path)
    error = experiment.refusal(folder, monkeypatch, **{name: value})
    assert error.startswith(message) and "\n" not in error
    assert not (folder / "save/experiment-log.txt").exists()


def test_bad_input_ends_with_one_line_and_exit_code_1(tmp_path):
    folder = experiment.make(tmp_path, BATCH_SIZE=0)
    code, out, err = experiment.run(folder)
    assert (code, out) == (1, "")
    assert (
        err == "sequence_gan.py: BATCH_SIZE: expected a whole number from 1 to 1000000, found 0\n"
    )


def test_a_closed_standard_error_does_not_end_the_run(tmp_path):
    folder = experiment.make(tmp_path, PRE_EPOCH_NUM=1, DIS_PRETRAIN_ROUNDS=0, TOTAL_BATCH=0)
    code, out, _ = experiment.run(folder, preexec_fn=lambda: os.close(2))
    assert code == 0 and "Done." in out


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(tmp_path):
    folder = experiment.make(tmp_path, DIS_L2_REG_LAMBDA=1e38)
    code, _, err = experiment.run(folder)
    assert code == 1
    assert re.fullmatch(
        r"sequence_gan\.py: dis_loss of discriminator epoch 0 is \w+: .*kept\n", err
    )
    assert experiment.log(folder).count("nll") == 3


def schedule(monkeypatch, folder, **constants):
    """What main() does, in order: [(name, model, arguments, result)]. Updates are not made."""
    driver, events = sequence_gan, []
    monkeypatch.chdir(folder)
    for name, value in (experiment.SMALL | constants).items():
        monkeypatch.setattr(driver, name, value)

    def record(kind, method, result=None):
        original = getattr(kind, method)

        def recorded(self, *arguments):
            made = result() if result else original(self, *arguments)
            events.append((method, self, arguments, made))
            return made

        monkeypatch.setattr(kind, method, recorded)

    rng = np.random.default_rng(0)
    record(driver.Generator, "sample")
    record(driver.Generator, "pretrain_step", lambda: 1.0)
    record(driver.Generator, "reinforce_step", lambda: 1.0)
    record(driver.Discriminator, "train_step", lambda: 1.0)
    record(driver.Rollout, "get_reward", lambda: rng.random([16, 6]))
    record(driver.Rollout, "reset")
    record(driver.Rollout, "update_params")
    record(driver.TargetLSTM, "nll")
    monkeypatch.setattr(driver.Run, "log", lambda run, line: None)
    driver.main()
    return events


def test_the_schedule_is_the_paper_s_algorithm_1(tmp_path, monkeypatch):
    constants = {"DIS_EPOCHS": 2, "G_STEPS": 2, "D_STEPS": 3, "SEED": 1}
    events = schedule(monkeypatch, experiment.make(tmp_path), **constants)
    epoch, evaluated = ["pretrain_step"] * 6, ["sample", "nll"]  # 96 / 16 batches
    training = ["sample", *["train_step"] * 2 * 3]  # 192 / 64 batches, twice
    expected = [*epoch, *evaluated, *epoch] * 3 + training * 2 + ["reset"]
    for number in range(3):
        expected += ["sample", "get_reward", "reinforce_step"] * 2 + evaluated * (number != 1)
        expected += ["update_params"] + training * 3
    assert [event[0] for event in events] == expected

    positives = np.loadtxt("save/real_data.txt", np.int32)
    mle = [arguments[0] for name, _, arguments, _ in events if name == "pretrain_step"]
    for number in range(6):  # every epoch the file's order
        np.testing.assert_array_equal(np.concatenate(mle[6 * number :][:6]), positives)
    sets = check_sets(events, positives)
    assert len(sets) == 2 + 3 * 3
    check_updates(events)


def check_sets(events, positives):
    """Every set: the positives and the sequences drawn just before, in one new order twice."""
    starts = [
        number
        for number, event in enumerate(events)
        if event[0] == "sample" and events[number + 1 : number + 2][0][0] == "train_step"
    ]
    orders = []
    for start in starts:
        negatives = events[start][3].numpy()
        steps = [arguments for _, _, arguments, _ in events[start + 1 : start + 7]]
        for (x, y), (again, labels) in zip(steps[:3], steps[3:], strict=True):
            np.testing.assert_array_equal(x, again)
            np.testing.assert_array_equal(y, labels)
        x, y = (np.concatenate(part) for part in zip(*steps[:3]))
        assert sorted(x[y == 1].tolist()) == sorted(positives.tolist())
        assert sorted(x[y == 0].tolist()) == sorted(negatives.tolist())
        orders.append((y.tolist(), negatives.tolist()))
    for part in zip(*orders):
        assert len(set(map(str, part))) == len(orders)
    return orders


def check_updates(events):
    """Every generator step: fresh samples, their rewards by rollouts and prob_real, the update."""
    discriminator = next(event[1] for event in events if event[0] == "train_step")
    updates, seen = zip(events, events[1:], events[2:]), set()
    for drawn, rewarded, update in updates:
        if update[0] != "reinforce_step":
            continue
        x = drawn[3].numpy()
        seen.add(str(x))
        assert drawn[2] == (16,)
        samples, rollout_num, score = rewarded[2]
        np.testing.assert_array_equal(samples, x)
        assert rollout_num == experiment.SMALL["ROLLOUT_NUM"]
        np.testing.assert_array_equal(score(x), discriminator.prob_real(x))
        np.testing.assert_array_equal(update[2][0], x)
        np.testing.assert_array_equal(update[2][1], rewarded[3])
        assert update[1] is drawn[1]
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("constants", "log"),
    [
        ({"DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0}, r"pre-training\.\.\.\n(epoch.*\n){3}"),
        ({"PRE_EPOCH_NUM": 0, "D_STEPS": 0}, r"adversarial training\.\.\.\n(epoch.*\n){2}"),
        ({"PRE_EPOCH_NUM": 0, "DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0}, ""),
    ],
)
def test_stages_can_be_left_out(tmp_path, constants, log):
    folder = experiment.make(tmp_path, **constants)
    code, out, err = experiment.run(folder)
    assert code == 0 and "Done." in out, err
    assert re.fullmatch(log, experiment.log(folder))


def test_without_a_terminal_lines_are_plain_and_tell_the_time(finished):
    _, out, err = finished
    assert err == ""
    lines = out.splitlines()
    assert all(c.isprintable() or c == "\t" for line in lines for c in line)
    for expected in (
        r"epoch:\t4\tnll:\t\d\.\d+\t\[mle 4/6, [\d:]+<[\d:]+\]",
        r"discriminator 1: dis_loss [\d.]+, dis_accuracy [\d.]+\t\[discriminator 1/2, .*\]",
        r"adversarial 1: pg_loss [\d.]+, reward_mean [\d.]+\t\[adversarial 1/3, .*\]",
    ):
        assert sum(bool(re.fullmatch(expected, line)) for line in lines) == 1
    logged = [line.split("\t[")[0] for line in lines if line.startswith("epoch:")]
    assert logged == [line for line in experiment.log(finished[0]).splitlines() if "nll" in line]


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_shows_bars_and_whole_log_lines(tmp_path, columns):
    folder = experiment.make(tmp_path)
    screen = experiment.run_on_terminal(folder, columns)
    lines = re.split(r"[\r\n]+|\x1b\[A", screen)
    for line in experiment.log(folder).splitlines():
        assert line in lines
    for stage, number in (("mle", 6), ("discriminator", 2), ("adversarial", 3)):
        bars = [line for line in lines if line.startswith(f"{stage}:")]
        assert any(f"{number}/{number}" in bar for bar in bars) or columns == 60
        assert bars and max(map(len, bars)) <= columns
    assert any("dis_accuracy" in line for line in lines) == (columns == 200)


def test_metrics_have_a_row_for_every_epoch_evaluation_and_set(finished):
    with open(finished[0] / "save/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["epoch"]) for row in rows] == (
        [("mle", epoch) for epoch in "001223445"]  # evaluated in 0, 2 and 4
        + [("discriminator", "0"), ("discriminator", "1")]
        + [("adversarial", epoch) for epoch in "00011222"]  # evaluated in 0 and 2
    )
    evaluated = [row for row in rows if row["nll_oracle"]]
    assert [float(row["nll_oracle"]) for row in evaluated] == nlls(experiment.log(finished[0]))
    # A model is no better on fresh real data than the oracle itself, and here not far from it.
    assert all(2.5 < float(row["nll_test"]) < 3.8 for row in evaluated)
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


def test_the_saved_generator_can_be_loaded_and_sampled(finished):
    x = TargetLSTM.load(f"{finished[0]}/save/generator.npz", 6).sample(10).numpy()
    assert x.shape == (10, 6) and x.min() >= 0 and x.max() < 30


def test_published_logs_can_be_drawn_and_compared(tmp_path):
    # Lines in the form of the published log, its trailing tabs included.
    published = "pre-training...\nepoch:\t0\tnll:\t10.1716\t\nepoch:\t5\tnll:\t9.42939\t\n"
    published += "\nadversarial training...\nepoch:\t0\tnll:\t9.08457\t\nepoch:\t5\tnll:\t9.04\t\n"
    (tmp_path / "a.txt").write_text(published)
    (tmp_path / "b.txt").write_text(published.replace("9.", "8."))
    assert read_log(tmp_path / "a.txt") == {
        "pre-training": ([0, 5], [10.1716, 9.42939]),
        "adversarial training": ([0, 5], [9.08457, 9.04]),
    }
    pictures = []
    for logs in ("a", "b", "ab"):
        plot_learning_curves({n: tmp_path / f"{n}.txt" for n in logs}, tmp_path / "curve.png")
        pictures.append((tmp_path / "curve.png").read_bytes())
    assert len(set(pictures)) == 3 and all(p.startswith(b"\x89PNG") for p in pictures)


def test_a_line_that_is_none_of_a_log_s_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("pre-training...\nepoch:\t0\tnll:\tten\n")
    with pytest.raises(ValueError, match=r"a\.txt, line 2: expected"):
        read_log(tmp_path / "a.txt")


@pytest.fixture(scope="module")
def without_matplotlib(tmp_path_factory):
    """A second run of the same settings, where there is no matplotlib; and what it printed."""
    folder = experiment.make(tmp_path_factory.mktemp("without"))
    (folder / "matplotlib.py").write_text("raise ImportError('no matplotlib')\n")
    code, out, err = experiment.run(folder)
    assert code == 0, err
    return folder, out


def test_the_same_seed_gives_the_same_bytes(finished, without_matplotlib):
    assert experiment.outputs(without_matplotlib[0]) == experiment.outputs(finished[0])


def test_without_matplotlib_the_run_goes_on_and_says_so_once(without_matplotlib):
    said = "save/learning-curve.png cannot be drawn: no matplotlib"
    assert without_matplotlib[1].count(said) == 1
    assert "Done. The generator is in save/generator.npz" in without_matplotlib[1]
