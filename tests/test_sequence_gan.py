"""The driver: whole experiments at small sizes, as processes."""

import csv
import os
import re

import experiment
import numpy as np
import pytest
import tensorflow as tf

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
    "DIS_FILTER_SIZES": (
        [1, 2, 7],
        "filter_sizes, each number: expected a whole number from 1 to 6, found",
    ),
    "DIS_NUM_FILTERS": (
        [8, 8],
        "expected a number for each of filter_sizes=[1, 2, 3], found [8, 8]",
    ),
    "DIS_DROPOUT_KEEP_PROB": ("x", "DIS_DROPOUT_KEEP_PROB: expected a number from 1e-06 to 1, fou"),
    "DIS_L2_REG_LAMBDA": (-0.1, "DIS_L2_REG_LAMBDA: expected a number from 0 to 1e+38, found -0.1"),
    "ROLLOUT_UPDATE_RATE": (1.5, "ROLLOUT_UPDATE_RATE: expected a number from 0 to 1, found 1.5"),
    "DIS_LEARNING_RATE": (np.float32(0.1), "DIS_LEARNING_RATE: expected a number from 1e-30 to"),
    "GEN_LEARNING_RATE": (10**400, "GEN_LEARNING_RATE: expected a number from 1e-30 to 1e+30, fou"),
    "GEN_GRAD_CLIP": (float("nan"), "GEN_GRAD_CLIP: expected a number from 1e-30 to 1e+30, found "),
    "DIS_BATCH_SIZE": (193, "DIS_BATCH_SIZE: expected a whole number from 1 to 192, found 193"),
    "GENERATED_NUM": (15, "GENERATED_NUM: expected a whole number from 16 to 10000000, found 15"),
    "EMB_DIM": (10**5000, "EMB_DIM: expected a whole number from 1 to 1000000, found a huge one"),
    "TEST_FILE": (5, "TEST_FILE: expected the name of a file, found 5"),
    "HIDDEN_DIM": ([], "HIDDEN_DIM: expected a whole number from 1 to 1000000, found []"),
    "VOCAB_SIZE": (31, "save/target_params.npz: expected an oracle file of VOCAB_SIZE, EMB_DIM"),
    "TARGET_FILE": ("save/none.npz", "TARGET_FILE: expected the name of a file"),
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


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(tmp_path):
    folder = experiment.make(tmp_path, DIS_L2_REG_LAMBDA=1e38)
    code, _, err = experiment.run(folder)
    assert code == 1
    assert re.fullmatch(
        r"sequence_gan\.py: dis_loss of discriminator epoch 0 is \w+: .*kept\n", err
    )
    assert experiment.log(folder).count("nll") == 3


def schedule(monkeypatch, folder, discriminator=True, **constants):
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
    if discriminator:
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


def test_with_bleu_as_reward_no_discriminator_is_made_and_own_tokens_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(sequence_gan, "Discriminator", None)
    folder = experiment.make(tmp_path)
    constants = {"REWARD": "bleu", "OWN_TOKEN_GROWTH": 0.3}
    events = schedule(monkeypatch, folder, discriminator=False, **constants)
    shares = [arguments[1] for name, _, arguments, _ in events if name == "pretrain_step"]
    np.testing.assert_allclose(shares, np.repeat([0.3, 0.6, 0.9, 1, 1, 1], 6))
    (score,) = {arguments[2] for name, _, arguments, _ in events if name == "get_reward"}
    positives = np.loadtxt("save/real_data.txt", int)
    assert (score.n, score.end) == (3, None)
    np.testing.assert_allclose(score(positives), 1, rtol=1e-6)  # they are the references


def test_a_text_takes_the_oracle_s_place(tmp_path, monkeypatch):
    folder = experiment.make(tmp_path, SEQ_LENGTH=6)
    experiment.write_text(folder / "text.txt", 200)
    constants = {"TEXT_FILE": "text.txt", "TARGET_FILE": "none.npz", "GENERATED_NUM": 40, "SEED": 2}
    events = schedule(monkeypatch, folder, **constants)
    words = open("save/vocabulary.txt").read().split("\n")[:-1]
    assert len(words) == 14 and {
        event[1].vocab_size for event in events if event[0] == "sample"
    } == {14}
    mle = [arguments[0] for name, _, arguments, _ in events if name == "pretrain_step"]
    assert len(mle) == 6 * (180 // 16)
    lines = {tuple(row) for x in mle for row in x.tolist()}
    seen = []
    for name, _, arguments, _ in events:
        if name == "train_step":
            x, y = arguments
            seen.append({tuple(row) for row in x[y == 1].tolist()})
            assert seen[-1] <= lines or len(lines) < 180  # the last lines are in no batch
    assert len(seen) == 5 and len(set(map(frozenset, seen))) == 5  # drawn anew for each set
    for name in ("eval_file.txt", "generator_sample.txt"):
        text = open(f"save/{name}").read()
        assert set(text.split()) <= set(words[1:])
    with open("save/metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["nll_test"]]
    assert len(rows) == 5 and all(row["nll_oracle"] == "" for row in rows)
    for row in rows:
        for n in (2, 3, 4, 5):
            assert 0 < float(row[f"bleu_{n}"]) < 1 and 0 < float(row[f"self_bleu_{n}"]) < 1


def test_a_run_with_a_text_shows_text_and_logs_its_nll_even_with_standard_error_closed(tmp_path):
    folder = experiment.make(tmp_path, TEXT_FILE="text.txt", DIS_PRETRAIN_ROUNDS=0, TOTAL_BATCH=0)
    experiment.write_text(folder / "text.txt", 200)
    (folder / "save/target_params.npz").unlink()
    code, out, err = experiment.run(folder, preexec_fn=lambda: (os.close(0), os.close(2)))
    assert code == 0, err
    assert out.startswith("text.txt: 180 lines to learn, 20 held out, 0 empty, ")
    with open(folder / "save/metrics.csv", newline="") as file:
        measured = [float(row["nll_test"]) for row in csv.DictReader(file) if row["nll_test"]]
    assert nlls(experiment.log(folder)) == measured
    words = set((folder / "save/vocabulary.txt").read_text().split())
    shown = [line.split("\t")[1] for line in out.splitlines() if line.startswith("sample:")]
    assert len(shown) == 3 and all(set(line.split()) <= words - {"<end>"} for line in shown)
    assert (folder / "save/learning-curve.png").stat().st_size > 40_000


BAD_TEXTS = {
    "no such file": ({"TEXT_FILE": "none.txt"}, "TEXT_FILE: expected the name of a file, found 'n"),
    "no such test file": (
        {"TEST_FILE": "none.txt"},
        "TEST_FILE: expected the name of a file, found",
    ),
    "fewer lines than a batch": (
        {"BATCH_SIZE": 64},
        "BATCH_SIZE, of 54 lines: expected a whole number",
    ),
    "a set of too few": (
        {"DIS_BATCH_SIZE": 130},
        "DIS_BATCH_SIZE: expected a whole number from 1 to",
    ),
    "no word": ({"VOCAB_SIZE": 2}, "VOCAB_SIZE: expected a whole number from 3 to"),
    "another start": ({"START_TOKEN": 1}, "START_TOKEN: expected a whole number from 0 to 0"),
    "not UTF-8": (
        {"TEXT_FILE": "latin.txt"},
        "latin.txt, line 2: expected UTF-8, found b'caf\\xe9'",
    ),
    "one line": ({"TEXT_FILE": "one.txt"}, "one.txt: expected held-out lines that share words"),
    "an output": (
        {"TEXT_FILE": "save/eval_file.txt"},
        "TEXT_FILE: expected a file that a run does",
    ),
    "empty": ({"TEXT_FILE": "empty.txt"}, "empty.txt: expected a text, found no words in it"),
    "nothing shared": ({"TEST_FILE": "other.txt"}, "other.txt: expected held-out lines that share"),
    "reward": ({"REWARD": "BLEU"}, "REWARD: expected 'discriminator' or 'bleu', found 'BLEU'"),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_bad_texts_are_named_in_one_line_and_nothing_is_touched(tmp_path, monkeypatch, kind):
    constants, message = BAD_TEXTS[kind]
    folder = experiment.make(tmp_path)
    experiment.write_text(folder / "text.txt")
    (folder / "latin.txt").write_bytes(b"the\ncaf\xe9\n")
    (folder / "empty.txt").write_text("\n")
    (folder / "one.txt").write_text("one line\n")
    (folder / "save/eval_file.txt").write_text("one line\n")
    (folder / "other.txt").write_text("nothing shared\n")
    constants = {"TEXT_FILE": "text.txt", "GENERATED_NUM": 640} | constants
    error = experiment.refusal(folder, monkeypatch, **constants)
    assert error.startswith(message) and "\n" not in error
    assert not (folder / "save/experiment-log.txt").exists()


def test_a_text_that_changed_within_a_run_is_refused(tmp_path, monkeypatch):
    constants = {"TEXT_FILE": "text.txt", "DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 100}
    folder = experiment.make(tmp_path, **constants)
    experiment.write_text(folder / "text.txt")
    process = experiment.run_until(folder, lambda: "adversarial" in experiment.log(folder))
    process.kill()
    process.communicate()
    experiment.write_text(folder / "text.txt", 61)
    error = experiment.refusal(folder, monkeypatch, **constants)
    assert "unfinished run with other settings: TEXT_FILE (its SHA-256) was" in error


@pytest.mark.parametrize(
    ("constants", "log"),
    [
        ({"DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0}, r"pre-training\.\.\.\n(epoch.*\n){3}"),
        ({"PRE_EPOCH_NUM": 0, "D_STEPS": 0}, r"adversarial training\.\.\.\n(epoch.*\n){2}"),
    ],
)
def test_stages_can_be_left_out(tmp_path, monkeypatch, capsys, constants, log):
    folder = experiment.make(tmp_path)
    monkeypatch.chdir(folder)
    for name, value in (experiment.SMALL | constants).items():
        monkeypatch.setattr(sequence_gan, name, value)
    sequence_gan.main()
    assert "Done." in capsys.readouterr().out
    assert re.fullmatch(log, experiment.log(folder))
    newest = tf.train.load_checkpoint(sequence_gan.newest_checkpoint()[0])
    last = newest.get_tensor("generator/b_out/.ATTRIBUTES/VARIABLE_VALUE")
    np.testing.assert_array_equal(np.load("save/generator.npz")["b_out"], last)


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
