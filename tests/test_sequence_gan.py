"""The driver: whole experiments at small sizes, as processes."""

import csv
import re
import warnings

import experiment
import numpy as np
import pytest

import sequence_gan
from dataloader import plot_learning_curves, read_log, read_tokens
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
        assert read_tokens(f"{finished[0]}/save/{name}", 6, 30).shape == (96, 6)


def test_tensorflow_s_chatter_is_silenced(finished):
    assert not re.search(r"oneDNN|cudart|absl|WARNING|\.cc:\d", finished[1] + finished[2])


BAD = {
    "SEQ_LENGTH": (0, "SEQ_LENGTH: expected a whole number above 0, found 0"),
    "TOTAL_BATCH": (2.5, "TOTAL_BATCH: expected a whole number above 0, found 2.5"),
    "SEED": (-1, "SEED: expected a whole number from 0, found -1"),
    "START_TOKEN": (30, "START_TOKEN: expected a token below VOCAB_SIZE=30, found 30"),
    "DIS_FILTER_SIZES": ([1, 2, 7], "DIS_FILTER_SIZES: expected sizes up to SEQ_LENGTH=6"),
    "DIS_NUM_FILTERS": ([8, 8], "DIS_NUM_FILTERS: expected 3 numbers, as in DIS_FILTER_SIZES"),
    "DIS_DROPOUT_KEEP_PROB": ("x", "DIS_DROPOUT_KEEP_PROB: expected a probability above 0"),
    "DIS_L2_REG_LAMBDA": (-0.1, "DIS_L2_REG_LAMBDA: expected a number from 0, found -0.1"),
    "ROLLOUT_UPDATE_RATE": (1.0, "ROLLOUT_UPDATE_RATE: expected a rate from 0 to below 1"),
    "DIS_LEARNING_RATE": (
        np.float32(0.1),
        "DIS_LEARNING_RATE: expected a number above 0, found np.float32",
    ),
    "RESUME": ("no", "RESUME: expected True or False, found 'no'"),
    "LOG_FILE": (None, "LOG_FILE: expected the name of a file or folder, found None"),
    "EVAL_FILE": ("./save/real_data.txt", "POSITIVE_FILE: expected a name of its own"),
    "METRICS_FILE": ("other/experiment-log.txt", "LOG_FILE: expected a name of its own"),
    "DIS_BATCH_SIZE": (193, "DIS_BATCH_SIZE: expected at most the 192 sequences of a set"),
    "GENERATED_NUM": (15, "GENERATED_NUM: expected at least BATCH_SIZE=16, found 15"),
    "VOCAB_SIZE": (31, "VOCAB_SIZE: save/target_params.npz has 30, found 31"),
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
    assert err == "sequence_gan.py: BATCH_SIZE: expected a whole number above 0, found 0\n"


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(tmp_path):
    folder = experiment.make(tmp_path, DIS_L2_REG_LAMBDA=1e38)
    code, _, err = experiment.run(folder)
    assert code == 1
    assert re.fullmatch(r"sequence_gan\.py: discriminator loss of set 0 is \w+: .*kept\n", err)
    assert experiment.log(folder).count("nll") == 3


def test_the_schedule_is_the_paper_s_algorithm_1(tmp_path, monkeypatch):
    # Updates are recorded and not made; files and samples are real.
    folder, events = experiment.make(tmp_path), []
    driver = sequence_gan
    monkeypatch.chdir(folder)
    for name, value in (experiment.SMALL | {"DIS_EPOCHS": 2, "G_STEPS": 2, "D_STEPS": 3}).items():
        monkeypatch.setattr(driver, name, value)

    def note(name, result=None):
        def noted(self, *arguments, **options):
            events.append((name, *arguments))
            return result

        return noted

    monkeypatch.setattr(driver.Generator, "pretrain_step", note("mle", 1.0))
    monkeypatch.setattr(driver.Generator, "reinforce_step", note("pg", 1.0))
    monkeypatch.setattr(driver.Discriminator, "train_step", note("dis", 1.0))
    monkeypatch.setattr(driver.Rollout, "get_reward", note("reward", np.ones([16, 6])))
    monkeypatch.setattr(driver.Rollout, "update_params", note("policy"))
    monkeypatch.setattr(driver, "estimate_round", lambda num: 1.0)
    monkeypatch.setattr(driver.TargetLSTM, "nll", note("evaluated", 1.5))
    monkeypatch.setattr(driver.Run, "draw", lambda run: None)
    driver.main()

    positives = read_tokens("save/real_data.txt", 6, 30)
    names = [event[0] for event in events]
    epoch, training = ["mle"] * 6, ["dis"] * 2 * 3  # 96 / 16 batches; 192 / 64 twice
    expected = [*epoch, "evaluated", *epoch] * 3 + training * 2
    for number in range(3):
        expected += ["reward", "pg"] * 2 + ["evaluated"] * (number != 1) + ["policy"] + training * 3
    assert names == expected
    mle = [event[1] for event in events if event[0] == "mle"]
    for number in range(6):  # every epoch the file's order
        np.testing.assert_array_equal(np.concatenate(mle[6 * number :][:6]), positives)
    steps = [event[1:] for event in events if event[0] == "dis"]
    epochs = [steps[k : k + len(training) // 2] for k in range(0, len(steps), len(training) // 2)]
    for first, second, other in zip(epochs[::2], epochs[1::2], epochs[2::2]):
        for (x, y), (again, labels) in zip(first, second):  # shuffled once for all epochs of a set
            np.testing.assert_array_equal(x, again)
            np.testing.assert_array_equal(y, labels)
        assert any((y != labels).any() for (_, y), (_, labels) in zip(first, other))
        x, y = (np.concatenate(part) for part in zip(*first))
        np.testing.assert_array_equal(sorted(x[y == 1].tolist()), sorted(positives.tolist()))


def test_the_rounding_of_shares_does_not_carry_the_bar_past_its_end(monkeypatch):
    monkeypatch.chdir(experiment.ROOT)
    monkeypatch.setattr(sequence_gan, "RESUME", False)
    run = sequence_gan.Run()
    run.terminal = True
    with warnings.catch_warnings(), run.stage("discriminator", "round", 10, 0):
        warnings.simplefilter("error")
        for _ in range(10 * 312):
            run.advance(1 / 312)
        assert run.bar.n == 10


def test_without_a_terminal_lines_are_plain_and_tell_the_time(finished):
    _, out, err = finished
    assert err == ""
    lines = out.splitlines()
    assert all(c.isprintable() or c == "\t" for line in lines for c in line)
    timed = r"\t\[elapsed [\d:]+, left about [\d:]+\]"
    for expected in (
        r"epoch:\t4\tnll:\t\d\.\d+",
        r"discriminator round 1: loss \d\.\d+, accuracy \d\.\d+",
        r"epoch:\t2\tnll:\t\d\.\d+",
    ):
        assert sum(bool(re.fullmatch(expected + timed, line)) for line in lines) >= 1
    logged = [line.split("\t[")[0] for line in lines if line.startswith("epoch:")]
    assert logged == [line for line in experiment.log(finished[0]).splitlines() if "nll" in line]


def test_metrics_have_a_row_for_every_evaluation_and_discriminator_round(finished):
    with open(finished[0] / "save/metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["epoch"]) for row in rows] == (
        [("mle", str(epoch)) for epoch in (0, 2, 4)]
        + [("discriminator", "0"), ("discriminator", "1")]
        + [("adversarial", epoch) for epoch in "00122"]  # evaluated in 0 and 2, trained in each
    )
    evaluated = [row for row in rows if row["nll_oracle"]]
    assert [float(row["nll_oracle"]) for row in evaluated] == nlls(experiment.log(finished[0]))
    # A model is no better on fresh real data than the oracle itself, and here not far from it.
    assert all(2.5 < float(row["nll_test"]) < 3.8 for row in evaluated)
    trained = [row for row in rows if row["dis_loss"]]
    assert len(trained) == 5 and all(0 <= float(row["dis_accuracy"]) <= 1 for row in trained)
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
    assert "Done. The generator is in save/generator.npz\t" in without_matplotlib[1]
