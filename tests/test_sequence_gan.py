"""The driver: whole experiments at small sizes."""

import collections
import json
import os
import re
import subprocess
import sys
from unittest import mock

import experiment
import numpy as np
import pytest
import reference

import sequence_gan
from dataloader import token_text
from generator import LSTM, load, read_model


def test_the_log_has_its_form_to_the_byte(finished):
    expected = b"pre-training...\n"
    expected += b"".join(b"epoch:\t%d\tnll:\tNLL\n" % epoch for epoch in (0, 2, 4))
    expected += b"adversarial training...\n"
    expected += b"".join(b"epoch:\t%d\tnll:\tNLL\n" % epoch for epoch in (0, 2))
    expected = expected.replace(b"...", rb"\.\.\.").replace(b"NLL", rb"\d\.\d{1,5}")
    assert re.fullmatch(expected, (finished / "save/experiment-log.txt").read_bytes())


def test_a_run_leaves_whole_batches_and_its_settings(finished):
    for name in ("real_data.txt", "generator_sample.txt", "eval_file.txt"):
        x = np.loadtxt(finished / "save" / name, int)
        assert x.shape == (96, 6) and x.min() >= 0 and x.max() < 30
    settings = json.loads((finished / "save/settings.json").read_text())
    assert settings.items() >= experiment.SMALL.items() and settings["SEED"] == 88


def test_metrics_have_a_row_for_every_epoch_evaluation_and_set(finished):
    rows = experiment.metrics(finished)
    assert [(row["stage"], row["epoch"]) for row in rows] == (
        [("mle", epoch) for epoch in "001223445"]  # evaluated in 0, 2 and 4
        + [("discriminator", "0"), ("discriminator", "1")]
        + [("adversarial", epoch) for epoch in "00011222"]  # evaluated in 0 and 2
    )
    evaluated = [row for row in rows if row["nll_oracle"]]
    nlls = re.findall(r"nll:\t(.*)", experiment.log(finished))
    assert [float(row["nll_oracle"]) for row in evaluated] == list(map(float, nlls))
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
    assert rows == sorted(rows, key=lambda row: int(row["seconds"]))

    x = np.loadtxt(finished / "save/eval_file.txt", int)  # entropy is the NLL of what is judged
    params, _ = read_model(finished / "save/generator.npz")
    entropy = -reference.lstm_log_prob(params, x).mean()
    assert float(evaluated[-1]["entropy"]) == pytest.approx(entropy, rel=1e-5)


TEXT = {"TEXT_FILE": "text.txt", "GENERATED_NUM": 640}
NO_FILE = "expected a file, and none that a run writes, found"
BATCHES = "BATCH_SIZE, DIS_BATCH_SIZE: expected at most"
BAD = [  # the driver's own, and one of each class, whose argument gets the constant's name
    ({"D_STEPS": True}, "D_STEPS: expected a whole number from 0"),
    ({"ROLLOUT_NUM": 0}, "ROLLOUT_NUM: expected a whole number from 1"),
    ({"EVAL_EVERY": 0}, "EVAL_EVERY: expected a whole number from 1"),
    ({"BATCH_SIZE": 1, "GENERATED_NUM": 1}, "GENERATED_NUM: expected a whole number from 2"),
    ({"START_TOKEN": 30}, "START_TOKEN: expected a whole number from 0 to 29, found 30"),
    ({"DIS_NUM_FILTERS": [8, 8]}, "DIS_NUM_FILTERS: expected integers of shape (3,), found"),
    ({"GEN_LEARNING_RATE": 1e10}, "GEN_LEARNING_RATE: expected a number from 0 to 1, found 1"),
    ({"ROLLOUT_UPDATE_RATE": 1.5}, "ROLLOUT_UPDATE_RATE: expected a number from 0 to 1, found"),
    ({"DIS_BATCH_SIZE": 193}, f"{BATCHES} 96 and 192 for 96 real sequences and GENERATED_NUM = 1"),
    ({"EMB_DIM": "x"}, "save/target_params.npz, for VOCAB_SIZE, EMB_DIM, HIDDEN_DIM = (30, 'x"),
    ({"TARGET_FILE": "none.npz"}, f"TARGET_FILE: {NO_FILE} 'none.npz', sought in /"),
    ({"INITIAL_GENERATOR": "link.npz"}, f"INITIAL_GENERATOR: {NO_FILE} 'link.npz'"),
    ({"TEST_FILE": "text.txt"}, f"TEXT_FILE: {NO_FILE} None"),
    ({"TEXT_FILE": ""}, f"TEXT_FILE: {NO_FILE} ''"),
    (TEXT | {"SEQ_LENGTH": 0}, "SEQ_LENGTH: expected a whole number from 1 to 10000000, found 0"),
    (TEXT | {"EMB_DIM": 2.5}, "EMB_DIM: expected a whole number from 1"),
    (TEXT | {"TEST_FILE": "none.txt"}, f"TEST_FILE: {NO_FILE} 'none.txt'"),
    (TEXT | {"BATCH_SIZE": 64}, f"{BATCHES} 54 and 108 for 54 real sequences and GENERATED_NUM"),
]


@pytest.mark.parametrize(("constants", "message"), BAD)
def test_bad_constants_are_named_and_nothing_is_touched(tmp_path, monkeypatch, constants, message):
    folder = experiment.make(tmp_path)
    experiment.write_text(folder / "text.txt")
    (folder / "save/generator.npz").write_bytes(b"trained")
    (folder / "link.npz").symlink_to(folder / "save/generator.npz")
    experiment.assert_refused(message, folder, monkeypatch, **constants)
    assert sorted(os.listdir(folder / "save")) == ["generator.npz", "target_params.npz"]
    assert (folder / "save/generator.npz").read_bytes() == b"trained"


def test_bad_input_ends_with_one_line_and_exit_code_1_and_makes_no_folder(tmp_path):
    folder = experiment.make(tmp_path, TEXT_FILE="text.txt")
    (folder / "save/target_params.npz").unlink()
    (folder / "save").rmdir()
    (folder / "text.txt").write_bytes(b"one\ntw\xffo\n")
    _, err = experiment.run(folder, code=1)
    refusal = "sequence_gan.py: text.txt, line 2: expected UTF-8, found b'tw\\xffo'\n"
    assert err.endswith(refusal) and "Traceback" not in err and not (folder / "save").exists()


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A Run with nothing to keep, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "save").mkdir()
    data = collections.namedtuple("Data", "vocab_size positives words")(30, [[1, 2]], None)
    monkeypatch.setattr(sequence_gan, "draw_metrics", lambda rows: None)
    run = sequence_gan.Run({}, data)
    for _ in run.epochs("mle", 1):
        return run


@pytest.mark.parametrize("value", [float("nan"), 1e11, 11 * np.log(30)])
def test_a_measure_that_is_no_number_or_far_too_large_ends_the_run(run, value):
    run.measure("mle", 0, nll_test=3 * np.log(30))
    advice = "Lower GEN_LEARNING_RATE and delete save/checkpoint.npz to start afresh"
    with pytest.raises(FloatingPointError, match=f"nll_test of mle epoch 0 is .* {advice}"):
        run.measure("mle", 0, nll_test=value)
    with pytest.raises(FloatingPointError, match="DIS_LEARNING_RATE"):
        run.measure("discriminator", 0, dis_loss=float("inf"))


def test_a_line_of_the_log_is_on_the_disk_when_it_is_written(run, monkeypatch, capsys):
    synced = []
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_size))
    run.log("epoch:\t0\tnll:\t5.9e-05")
    assert synced == [len("epoch:\t0\tnll:\t5.9e-05\n")]
    assert capsys.readouterr().out.endswith("epoch:\t0\tnll:\t5.9e-05\n")


Event = collections.namedtuple("Event", "name model arguments result")


def record_events(monkeypatch, events, **measured):
    """Note the calls of main(). No model is updated, and what is measured can be given."""

    def record(kind, method, result=None):
        original = getattr(kind, method)

        def recorded(self, *arguments):
            made = result(*arguments) if result else original(self, *arguments)
            events.append(Event(method, self, arguments, made))
            return made

        monkeypatch.setattr(kind, method, recorded)

    rng = np.random.default_rng(0)
    record(sequence_gan, "check_discriminator", lambda x: None)
    record(sequence_gan.Generator, "sample")
    record(sequence_gan.Generator, "save")
    record(sequence_gan.Generator, "pretrain_step", lambda x: 1.0)
    record(sequence_gan.Generator, "reinforce_step", lambda x, rewards: 1.0)
    record(sequence_gan.Discriminator, "train_steps", lambda x, y: np.repeat(1.0 * len(x), len(x)))
    record(sequence_gan.Rollout, "get_reward", lambda *_: rng.random([16, 6]))
    record(sequence_gan.Rollout, "reset")
    record(sequence_gan.Rollout, "update_params")
    for kind in (sequence_gan.Oracle, sequence_gan.Text):
        record(kind, "measure", (lambda *_: measured) if measured else None)


def named(events, name):
    return [event for event in events if event.name == name]


EVALUATION = ["sample", "measure", "save"]
MLE = ["pretrain_step"] * 6  # an epoch: batches of 16 of 96 sequences
SET = ["sample", *["train_steps"] * 4]  # of negatives, and two epochs over them, of two calls
STEPS = ["sample", "get_reward", "reinforce_step"] * 2
ADVERSARIAL = [*STEPS, "update_params", *SET * 3]  # an epoch of two steps and three sets
EVALUATED = [*STEPS, *EVALUATION, "update_params", *SET * 3]
SCHEDULE = ["check_discriminator", *MLE, *EVALUATION, *MLE, *MLE, *EVALUATION, *SET * 2, "reset"]
SCHEDULE += [*EVALUATED, *ADVERSARIAL, *EVALUATED, *EVALUATED, "save"]  # the last one, too


def test_the_schedule_is_the_paper_s_algorithm_1(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    constants = {"PRE_EPOCH_NUM": 3, "DIS_EPOCHS": 2, "G_STEPS": 2, "D_STEPS": 3, "SEED": 1}
    experiment.set_constants(folder, monkeypatch, **constants, TOTAL_BATCH=4, STEPS_A_CALL=2)
    record_events(monkeypatch, events)
    sequence_gan.main()
    assert [event.name for event in events] == SCHEDULE
    assert {row["dis_loss"] for row in experiment.metrics(folder)} == {"", "1.66667"}

    positives = np.loadtxt("save/real_data.txt", np.int32)
    mle = [event.arguments[0] for event in named(events, "pretrain_step")]
    for epoch in range(3):  # every epoch the file's order
        np.testing.assert_array_equal(np.concatenate(mle[6 * epoch :][:6]), positives)
    check_sets(events, positives)
    check_generator_steps(events)
    assert not list((folder / "save").glob("run-*"))


def check_sets(events, positives):
    """Every set: the positives and the sequences drawn just before, in one new order twice."""
    orders = []
    for n, drawn in enumerate(events[:-1]):
        if (drawn.name, events[n + 1].name) != ("sample", "train_steps"):
            continue
        calls = [event.arguments for event in events[n + 1 : n + 5]]
        x, y = (np.concatenate(batches) for batches in zip(*calls))
        np.testing.assert_array_equal(x[:3], x[3:])
        np.testing.assert_array_equal(y[:3], y[3:])
        x, y = x[:3].reshape(-1, 6), y[:3].ravel()
        assert sorted(x[y == 1].tolist()) == sorted(positives.tolist())
        assert sorted(x[y == 0].tolist()) == sorted(drawn.result.numpy().tolist())
        orders.append(y.tolist())
    assert len(orders) == len(set(map(str, orders))) == 2 + 4 * 3


def check_generator_steps(events):
    """Every generator step: fresh samples, their rewards by rollouts and prob_real, the update."""
    discriminator = named(events, "train_steps")[0].model
    seen = set()
    for drawn, rewarded, update in zip(events, events[1:], events[2:]):
        if update.name != "reinforce_step":
            continue
        x = drawn.result.numpy()
        seen.add(x.tobytes())
        samples, rollout_num, score = rewarded.arguments
        np.testing.assert_array_equal(samples, x)
        assert drawn.arguments == (16,) and rollout_num == experiment.SMALL["ROLLOUT_NUM"]
        np.testing.assert_array_equal(score(x), discriminator.prob_real(x))
        np.testing.assert_array_equal(update.arguments[0], x)
        np.testing.assert_array_equal(update.arguments[1], rewarded.result)
        assert update.model is drawn.model
    assert len(seen) == 8


def test_every_constant_reaches_its_model_and_their_seeds_differ(tmp_path, monkeypatch):
    folder, made = experiment.make(tmp_path), {}
    constants = {
        "SEQ_LENGTH": 5, "START_TOKEN": 3, "GEN_LEARNING_RATE": 0.02, "GEN_GRAD_CLIP": 2.5,
        "DIS_LEARNING_RATE": 3e-4, "DIS_L2_REG_LAMBDA": 0.3, "DIS_DROPOUT_KEEP_PROB": 0.6,
        "ROLLOUT_UPDATE_RATE": 0.7, "PRE_EPOCH_NUM": 0, "DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0,
    }  # fmt: skip
    experiment.set_constants(folder, monkeypatch, **constants, SEED=7)
    for name in ("Oracle", "Generator", "Discriminator", "Rollout"):
        made[name] = mock.Mock(wraps=getattr(sequence_gan, name))
        monkeypatch.setattr(sequence_gan, name, made[name])
    sequence_gan.main()
    path, sizes, *others, oracle_seed = made["Oracle"].call_args.args
    assert (path, sizes, others) == ("save/target_params.npz", (30, 6, 8), [5, 3, 96])
    keywords = {name: constructor.call_args.kwargs for name, constructor in made.items()}
    generator, discriminator = keywords["Generator"], keywords["Discriminator"]
    seeds = np.random.SeedSequence(7).generate_state(3).tolist()
    assert [oracle_seed, generator.pop("seed"), discriminator.pop("seed")] == seeds
    assert generator == {
        "vocab_size": 30, "emb_dim": 6, "hidden_dim": 8, "sequence_length": 5, "start_token": 3,
        "words": None, "learning_rate": 0.02, "grad_clip": 2.5,
    }  # fmt: skip
    assert discriminator == {
        "sequence_length": 5, "vocab_size": 30, "embedding_dim": 8, "filter_sizes": [1, 2, 3],
        "num_filters": [8, 8, 8], "dropout_keep_prob": 0.6, "l2_reg_lambda": 0.3,
        "learning_rate": 3e-4,
    }  # fmt: skip
    assert keywords["Rollout"] == {"update_rate": 0.7}
    model = made["Rollout"].call_args.args[0]
    assert (model.pretrain_optimizer._lr, model.reinforce_optimizer._lr) == (0.02, 0.02)


def test_an_accuracy_of_one_is_that_of_a_discriminator_that_is_always_right(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    experiment.set_constants(folder, monkeypatch, PRE_EPOCH_NUM=0, TOTAL_BATCH=0)
    record_events(monkeypatch, events)

    def prob_real(self, x):  # of a set: a list, as one's own may return
        real = set(open("save/real_data.txt").read().splitlines())
        return [0.9 if line in real else 0.1 for line in token_text(x).splitlines()]

    monkeypatch.setattr(sequence_gan.Discriminator, "prob_real", prob_real)
    sequence_gan.main()
    rows = experiment.metrics(folder)
    assert [float(row["dis_accuracy"]) for row in rows] == pytest.approx([1, 1], abs=0.05)


def test_a_text_takes_the_oracle_s_place(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    experiment.write_text(folder / "text.txt", 200)
    constants = {"TEXT_FILE": "text.txt", "TARGET_FILE": "none.npz", "GENERATED_NUM": 40}
    experiment.set_constants(folder, monkeypatch, **constants, SEED=2)
    monkeypatch.setattr("dataloader.self_bleu", lambda x, n, end: n / 10 + end + len(x))
    record_events(monkeypatch, events, nll_test=5.9e-05, entropy=2.0)
    sequence_gan.main()
    words = open("save/vocabulary.txt").read().split("\n")[:-1]
    generator = named(events, "sample")[0].model
    assert len(words) == generator.vocab_size == 14 and generator.words == words

    mle = [event.arguments[0] for event in named(events, "pretrain_step")]
    assert [len(x) for x in mle[:12]] == [16] * 11 + [4] and len(mle) == 6 * 12  # all 180 lines
    learned = open("save/real_data.txt").read().splitlines()
    assert token_text(np.concatenate(mle[:12]), words).splitlines() == learned
    sets = [event.arguments for event in named(events, "train_steps")]
    real = [token_text(np.unique(x[y == 1], axis=0), words) for x, y in sets]
    assert len(set(real)) == 5 and set("".join(real).splitlines()) <= set(learned)
    assert {x.shape for x, _ in sets} == {(1, 64, 6)}

    assert "epoch:\t4\tnll:\t5.9e-05\n" in experiment.log(folder)
    judged, samples = named(events, "measure")[-1].arguments
    assert judged is generator and samples.shape == (1000, 6)
    negatives = token_text(named(events, "sample")[-1].result, words)
    assert open("save/generator_sample.txt").read() == negatives
    row = [row for row in experiment.metrics(folder) if row["nll_test"]][-1]
    assert float(row["self_bleu_3"]) == 1000.3
    lines = [" ".join(line.split()[:6]) for line in open("text.txt")]
    held_out = collections.Counter(lines) - collections.Counter(learned)
    shown = open("save/eval_file.txt").read().splitlines()
    expected = reference.nltk_bleu(map(str.split, held_out), map(str.split, shown), 2)
    assert float(row["bleu_2"]) == pytest.approx(np.mean(expected), rel=1e-4)


def test_stages_can_be_left_out_and_runs_follow_in_one_process(tmp_path, monkeypatch, capsys):
    folder, events = experiment.make(tmp_path), []
    record_events(monkeypatch, events)
    experiment.assert_refused("SEED", folder, monkeypatch, SEED=-1)  # as a notebook would
    for constants, log in (
        ({"DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0}, r"pre-training\.\.\.\n(epoch.*\n){3}"),
        ({"PRE_EPOCH_NUM": 0, "D_STEPS": 0}, r"adversarial training\.\.\.\n(epoch.*\n){2}"),
    ):
        experiment.set_constants(folder, monkeypatch, **constants, SEED=88)
        sequence_gan.main()
        assert re.fullmatch(log, experiment.log(folder))
    assert capsys.readouterr().out.count("Done.") == 2


def test_a_run_begins_from_a_trained_generator_with_other_data(tmp_path, monkeypatch, capsys):
    folder, none = experiment.make(tmp_path), {"PRE_EPOCH_NUM": 0, "DIS_PRETRAIN_ROUNDS": 0}
    none |= {"TOTAL_BATCH": 0, "TEXT_FILE": "text.txt", "TEST_FILE": "text.txt", "VOCAB_SIZE": 4}
    (folder / "text.txt").write_text("a b\nb c\nb a\n" * 20)
    experiment.set_constants(folder, monkeypatch, **none, SEQ_LENGTH=5)
    sequence_gan.main()
    (folder / "mine.npz").write_bytes((folder / "save/generator.npz").read_bytes())
    (folder / "text.txt").write_text("c c d\nc b e\n" * 20)  # other frequencies, two new words
    capsys.readouterr()
    experiment.set_constants(folder, monkeypatch, **none, INITIAL_GENERATOR="mine.npz")
    sequence_gan.main()
    said = capsys.readouterr().out
    assert "40 held out\n  3 of 4 words are unknown" in said and "VOCAB_SIZE" not in said
    model, before = load("save/generator.npz"), load("mine.npz")
    assert list(model.words) == list(before.words) == ["<end>", "<unknown>", "b", "a"]
    reference.assert_same(model.get_params(), before.get_params())
    lines = set(open("save/real_data.txt").read().splitlines())
    assert lines == {"<unknown> <unknown> <unknown>", "<unknown> b <unknown>"}
    LSTM(before.get_params(), 6, start_token=2).save("start.npz")
    (folder / "other.txt").write_text("x y\n" * 20)
    np.savez("save/target_params.npz", *reference.lstm_params(4, 6, 8))
    oracle = {"TEXT_FILE": None, "TEST_FILE": None}
    words, start = "mine.npz: expected a model of the same words", "start.npz: expected a model of"
    known = "other.txt: none of its words is among those known"
    for name, constants, message in (
        ("mine.npz", {"HIDDEN_DIM": 9}, "mine.npz, for VOCAB_SIZE, EMB_DIM, HIDDEN_DIM = (4, 6, 9"),
        ("mine.npz", {"TEXT_FILE": "other.txt"}, known),
        ("mine.npz", oracle, f"{words}, found another"),
        ("start.npz", oracle, f"{start} the same start_token, found another"),
    ):
        constants = none | {"INITIAL_GENERATOR": name, "SEED": 3} | constants
        experiment.assert_refused(message, folder, monkeypatch, **constants)


def test_looking_more_often_and_a_missing_matplotlib_do_not_change_a_run(finished, tmp_path):
    folder = experiment.make(tmp_path, EVAL_EVERY=1)
    (folder / "matplotlib.py").write_text("raise ImportError('no matplotlib')\n")
    out, _ = experiment.run(folder)
    ours, theirs = experiment.outputs(folder), experiment.outputs(finished)
    ours.pop("rows"), theirs.pop("rows")
    log, longer = (run.pop("experiment-log.txt").split(b"\n") for run in (theirs, ours))
    assert set(log) < set(longer) and ours == theirs
    assert "save/learning-curve.png cannot be drawn: no matplotlib" in out
    assert "Done. The generator is in save/generator.npz" in out


def test_a_text_is_learned_in_a_notebook_and_its_samples_are_shown(tmp_path):
    folder = experiment.make(tmp_path, TEXT_FILE="text.txt", DIS_PRETRAIN_ROUNDS=0, TOTAL_BATCH=0)
    experiment.write_text(folder / "text.txt", 200)
    notebook = "import io, sys, runpy; sys.stdout = io.StringIO(); "  # no reconfigure, as there
    notebook += "runpy.run_path('sequence_gan.py', run_name='__main__')\n"
    notebook += "print(sys.stdout.getvalue(), file=sys.__stdout__)"
    options = {"stdout": subprocess.PIPE, "preexec_fn": lambda: os.close(2)}  # no stderr
    done = subprocess.run([sys.executable, "-c", notebook], cwd=folder, check=True, **options)
    assert b"text.txt: 180 lines to learn, 20 held out" in done.stdout
    words = set((folder / "save/vocabulary.txt").read_text().split())
    shown = [line.split("\t")[1] for line in done.stdout.decode().splitlines() if "sample:" in line]
    assert len(shown) == 3 and all(set(line.split()) <= words - {"<end>"} for line in shown)
    assert (folder / "save/learning-curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_panels_for_nlls_for_divergences_from_0_up_and_for_bleu(monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: figures.append(self))
    monkeypatch.setattr(sequence_gan, "write_file", lambda path, data: None)
    monkeypatch.setattr(sequence_gan, "PRE_EPOCH_NUM", 6)
    row = {"stage": "mle", "epoch": 5, "seconds": 1, "nll_oracle": 3.0, "nll_test": 4.0}
    row |= {"entropy": 2.0, "kl_generator_oracle": 1.0, "bleu_2": 0.5, "self_bleu_2": 0.4}
    other = {"stage": "mle", "epoch": 5, "seconds": 1, "mle_loss": 3.0}
    sequence_gan.draw_metrics([other, row, row | {"stage": "adversarial", "epoch": 2}])
    found = []
    for axes in figures[0].axes:
        lines = [line for line in axes.lines if not line.get_label().startswith("_")]
        assert all(list(line.get_xdata()) == [5, 8] for line in lines)
        found.append({line.get_label(): list(line.get_ydata()) for line in lines})
    assert found == [
        {"nll_oracle": [3.0] * 2, "nll_test": [4.0] * 2, "entropy": [2.0] * 2},
        {"kl_generator_oracle": [1.0] * 2},
        {"bleu_2": [0.5] * 2, "self_bleu_2": [0.4] * 2},
    ]
    assert figures[0].axes[1].get_ylim()[0] == 0
    monkeypatch.setattr(sequence_gan, "TEXT_FILE", "text.txt")
    sequence_gan.draw_metrics([{name: row[name] for name in row if "kl" not in name}])
    assert len(figures[1].axes) == 2


def test_the_readme_s_recipes_work(finished, tmp_path):
    folder = experiment.make(tmp_path, PRE_EPOCH_NUM=0, DIS_PRETRAIN_ROUNDS=0, D_STEPS=0)
    (folder / "mine.npz").write_bytes((finished / "save/generator.npz").read_bytes())
    experiment.edit(folder, INITIAL_GENERATOR="mine.npz")
    text = (folder / "sequence_gan.py").read_text()
    for beginning in "loss = generator.reinforce_step", "rewards = rollout.get_reward":
        pattern = rf"(?m)^( +){re.escape(beginning)}.*$"
        text, found = re.subn(pattern, rf"\1{experiment.recipe(beginning)}", text)
        assert found == 1
    (folder / "sequence_gan.py").write_text(text)
    experiment.run(folder)
    rows = experiment.metrics(folder)
    assert 3.2 < float(rows[1]["nll_oracle"]) < 3.6  # the oracle has 3.0, no training 3.8
    assert 0 < float(rows[0]["reward_mean"]) < 1 and "dis_loss" not in rows[0]
