"""The driver: whole experiments at small sizes."""

import collections
import itertools
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
from dataloader import self_bleu, token_text
from generator import LSTM, load, read_model


def test_the_log_has_its_form_to_the_byte(finished):
    lines = [rb"epoch:\t%d\tnll:\t\d\.\d{1,5}\n" % epoch for epoch in (0, 2, 4)]
    expected = b"".join([rb"pre-training\.\.\.\n", *lines])
    expected += b"".join([rb"adversarial training\.\.\.\n", *lines[:2]])
    assert re.fullmatch(expected, (finished / "save/experiment-log.txt").read_bytes())


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
    played = [row for row in rows if row["pg_loss"]]
    for row in played:  # the loss is a sum of rewards times -log p, 96 of them
        reward, loss = float(row["reward_mean"]), float(row["pg_loss"])
        assert 0 < reward < 1 and 2.5 < loss / 96 / reward < 3.8
    assert float(evaluated[1]["nll_test"]) < float(evaluated[0]["nll_test"]) - 0.05  # by MLE

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
    ({"DIS_FILTER_SIZES": {1, 2}}, "DIS_FILTER_SIZES: expected a number, a text or a list of them"),
    ({"START_TOKEN": 30}, "START_TOKEN: expected a whole number from 0 to 29, found 30"),
    ({"DIS_NUM_FILTERS": [8, 8]}, "the discriminator, DIS_...: num_filters: expected integers of"),
    ({"GEN_LEARNING_RATE": 1e10}, "the generator, GEN_...: learning_rate: expected a number from"),
    ({"ROLLOUT_UPDATE_RATE": 1.5}, "the rollout policy, ROLLOUT_...: update_rate: expected a"),
    ({"DIS_BATCH_SIZE": 193}, f"{BATCHES} 96 and 192 for 96 real sequences and GENERATED_NUM = 1"),
    ({"EMB_DIM": 7}, "save/target_params.npz: expected an oracle with VOCAB_SIZE, EMB_DIM, HIDDEN"),
    ({"TARGET_FILE": "none.npz"}, f"TARGET_FILE: {NO_FILE} 'none.npz', sought in /"),
    ({"INITIAL_GENERATOR": "link.npz"}, f"INITIAL_GENERATOR: {NO_FILE} 'link.npz'"),
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
    (folder / "save").rename(folder / "away")
    (folder / "text.txt").write_bytes(b"one\ntw\xffo\n")
    _, err = experiment.run(folder, code=1)
    refusal = "sequence_gan.py: text.txt, line 2: expected UTF-8, found b'tw\\xffo'\n"
    assert err.endswith(refusal) and "Traceback" not in err and not (folder / "save").exists()


DATA = mock.Mock(nll_of_random_tokens=np.log(30), positives=[[1, 2]], words=None)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A Run with nothing to keep, its MLE begun, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "save").mkdir()
    monkeypatch.setattr(sequence_gan, "draw_metrics", lambda rows: None)
    run = sequence_gan.Run({}, DATA, {})
    for _ in run.epochs("mle", 1):
        return run


@pytest.mark.parametrize("value", [float("nan"), 1e11, 11 * np.log(30)])
def test_a_measure_that_is_no_number_or_far_too_large_ends_the_run(run, value, monkeypatch):
    run.measure("mle", 0, nll_test=3 * np.log(30))
    message = "nll_test of mle epoch 0 is .* Lower GEN_LEARNING_RATE and delete save/checkpoint.npz"
    with pytest.raises(sequence_gan.DivergenceError, match=message):
        run.measure("mle", 0, nll_test=value)
    monkeypatch.setattr(sequence_gan, "GEN_ADVERSARIAL_LEARNING_RATE", 0.001)
    for name, rate in ("dis_loss", "DIS"), ("pg_loss", "GEN_ADVERSARIAL"):
        with pytest.raises(sequence_gan.DivergenceError, match=f"Lower {rate}_LEARNING_RATE and"):
            run.measure("adversarial", 0, **{name: float("inf")})


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

    rng, mle, calls = np.random.default_rng(0), itertools.count(1), itertools.count(1)
    record(sequence_gan, "check_discriminator", lambda x: None)
    record(sequence_gan.Generator, "drawing_by")
    record(sequence_gan.Generator, "sample")
    record(sequence_gan.Generator, "save")
    record(sequence_gan.Generator, "pretrain_step", lambda x: next(mle))
    record(sequence_gan.Generator, "reinforce_step", lambda x, rewards: 1.0)
    record(sequence_gan.Discriminator, "train_steps", lambda x, y: len(x) * [next(calls)])
    record(sequence_gan.Rollout, "get_reward", lambda *_: rng.random([16, 6]))
    record(sequence_gan.Rollout, "reset")
    record(sequence_gan.Rollout, "update_params")
    for kind in (sequence_gan.Oracle, sequence_gan.Text):
        record(kind, "measure", (lambda *_: measured) if measured else None)


def named(events, name):
    return [event for event in events if event.name == name]


EVALUATION = ["drawing_by", "sample", "measure", "save"]
MLE = ["pretrain_step"] * 6  # an epoch: batches of 16 of 96 sequences
# Of negatives; two epochs over them, of two calls; and new ones, for the accuracy.
SET = ["sample", *["train_steps"] * 4, "drawing_by", "sample"]
STEPS = ["sample", "get_reward", "reinforce_step"] * 2
ADVERSARIAL = [*STEPS, "update_params", *SET * 3]  # an epoch of two steps and three sets
EVALUATED = [*STEPS, *EVALUATION, "update_params", *SET * 3]
SCHEDULE = ["check_discriminator", *MLE, *EVALUATION, "save", *MLE]  # saved as the best, too
SCHEDULE += [*MLE, *EVALUATION, *SET * 2, "reset"]
SCHEDULE += [*EVALUATED, *ADVERSARIAL, *EVALUATED, *EVALUATED, "save"]  # the last one, too


def test_the_schedule_is_the_paper_s_algorithm_1(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    constants = {"PRE_EPOCH_NUM": 3, "DIS_EPOCHS": 2, "G_STEPS": 2, "D_STEPS": 3, "SEED": 1}
    experiment.set_constants(folder, monkeypatch, **constants, TOTAL_BATCH=4, STEPS_A_CALL=2)
    record_events(monkeypatch, events)
    sequence_gan.main()
    assert [event.name for event in events] == SCHEDULE
    rows = experiment.metrics(folder)
    assert [row["mle_loss"] for row in rows if row["mle_loss"]] == ["3.5", "9.5", "15.5"]
    # Four calls a set; its loss is of the last two of them, with two batches and one.
    losses = [float(row["dis_loss"]) for row in rows if row["dis_loss"]]
    np.testing.assert_allclose(losses, np.arange(0, 56, 4) + (2 * 3 + 4) / 3, rtol=1e-5)

    positives = np.loadtxt("save/real_data.txt", np.int32)
    mle = [event.arguments[0] for event in named(events, "pretrain_step")]
    for epoch in range(3):  # every epoch the file's order
        np.testing.assert_array_equal(np.concatenate(mle[6 * epoch :][:6]), positives)
    check_sets(events, positives)
    check_generator_steps(events)
    evaluated = [event.arguments[1].tobytes() for event in named(events, "measure")]
    assert len(set(evaluated)) == len(evaluated) == 5  # of a generator that stays as it is
    seeds = np.random.SeedSequence(1).generate_state(6)[4:]  # of evaluation and accuracy
    assert {event.arguments[0] >> 32 for event in named(events, "drawing_by")} == set(seeds)
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
        "GEN_ADVERSARIAL_LEARNING_RATE": 0.03,
        "DIS_LEARNING_RATE": 3e-4, "DIS_L2_REG_LAMBDA": 0.3, "DIS_DROPOUT_KEEP_PROB": 0.6,
        "ROLLOUT_UPDATE_RATE": 0.7, "PRE_EPOCH_NUM": 0, "DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0,
    }  # fmt: skip
    experiment.set_constants(folder, monkeypatch, **constants, SEED=7)
    for name in ("Oracle", "Generator", "Discriminator", "Rollout"):
        made[name] = mock.Mock(wraps=getattr(sequence_gan, name))
        monkeypatch.setattr(sequence_gan, name, made[name])
    sequence_gan.main()
    assert made["Oracle"].call_args.args == ("save/target_params.npz",)
    keywords = {name: constructor.call_args.kwargs for name, constructor in made.items()}
    oracle_seed = keywords["Oracle"].pop("seed")
    lengths = {"sequence_length": 5, "start_token": 3}
    assert keywords["Oracle"] == lengths | {"sizes": (30, 6, 8), "num": 96}
    generator, discriminator = keywords["Generator"], keywords["Discriminator"]
    seeds = np.random.SeedSequence(7).generate_state(3).tolist()
    assert [oracle_seed, generator.pop("seed"), discriminator.pop("seed")] == seeds
    assert generator == {
        "vocab_size": 30, "emb_dim": 6, "hidden_dim": 8, "sequence_length": 5, "start_token": 3,
        "words": None, "learning_rate": 0.02, "adversarial_learning_rate": 0.03, "grad_clip": 2.5,
    }  # fmt: skip
    assert discriminator == {
        "sequence_length": 5, "vocab_size": 30, "embedding_dim": 8, "filter_sizes": [1, 2, 3],
        "num_filters": [8, 8, 8], "dropout_keep_prob": 0.6, "l2_reg_lambda": 0.3,
        "learning_rate": 3e-4,
    }  # fmt: skip
    assert keywords["Rollout"] == {"update_rate": 0.7}
    model = made["Rollout"].call_args.args[0]
    rates = [each.learning_rate for each in (model.pretrain_optimizer, model.reinforce_optimizer)]
    np.testing.assert_allclose(rates, [0.02, 0.03])


def test_both_accuracies_are_of_the_sequences_that_they_name(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    experiment.set_constants(folder, monkeypatch, PRE_EPOCH_NUM=0, TOTAL_BATCH=0)
    record_events(monkeypatch, events)
    judged = []

    def prob_real(self, x):  # right of what it was trained on; of the rest takes 64 for real
        judged.append(x)
        learned = set(open("save/real_data.txt").read().splitlines())
        trained_on = learned | set(open("save/generator_sample.txt").read().splitlines())
        lines = enumerate(token_text(x).splitlines())
        return [0.9 * (line in learned if line in trained_on else n < 64) for n, line in lines]

    monkeypatch.setattr(sequence_gan.Discriminator, "prob_real", prob_real)
    sequence_gan.main()
    held_out = sequence_gan.make_data(vars(sequence_gan)).held_out.tolist()
    drawn = [event.result.numpy() for event in named(events, "sample")][-3::2]
    calls = list(zip(judged[::2], judged[1::2]))
    for row, (learned, unseen), new in zip(experiment.metrics(folder), calls, drawn, strict=True):
        assert len(learned) == len(unseen) == 192 and float(row["dis_accuracy"]) == 1
        assert all(line in held_out for line in unseen[:96].tolist())
        np.testing.assert_array_equal(unseen[96:], new)  # drawn after the set's steps
        taken = np.array(prob_real(None, unseen)) > 0.5
        right = np.mean(taken == (np.arange(192) < 96))
        assert right < 0.9 and float(row["dis_accuracy_unseen"]) == pytest.approx(right, rel=1e-5)


def test_a_text_takes_the_oracle_s_place(tmp_path, monkeypatch):
    folder, events = experiment.make(tmp_path), []
    experiment.write_text(folder / "text.txt", 200)
    constants = {"TEXT_FILE": "text.txt", "TARGET_FILE": "none.npz", "GENERATED_NUM": 40}
    experiment.set_constants(folder, monkeypatch, **constants, SEED=2)
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

    assert "epoch:\t4\tnll:\t5.9e-05\n" in experiment.log(folder)
    judged, samples = named(events, "measure")[-1].arguments
    assert judged is generator and samples.shape == (1000, 6)
    *_, played, row, _ = experiment.metrics(folder)
    x, rewards = map(np.asarray, named(events, "reinforce_step")[-1].arguments)
    counted = np.cumsum(x == 0, axis=1) - (x == 0) == 0
    assert float(played["reward_mean"]) == pytest.approx(np.mean(rewards[counted]), rel=1e-4)
    assert float(row["self_bleu_3"]) == pytest.approx(self_bleu(samples, 3, 0), rel=1e-4)
    lines = [" ".join(line.split()[:6]) for line in open("text.txt")]
    held_out = collections.Counter(lines) - collections.Counter(learned)
    shown = open("save/eval_file.txt").read().splitlines()
    expected = reference.nltk_bleu(map(str.split, held_out), map(str.split, shown), 2)
    assert float(row["bleu_2"]) == pytest.approx(np.mean(expected), rel=1e-4)


def test_a_loop_that_is_left_by_break_ends_its_stage_and_is_not_entered_again(run, monkeypatch):
    for epoch in run.epochs("adversarial", 5):
        if epoch == 2:  # a checkpoint was written less than a minute ago
            assert sequence_gan.read_checkpoint()[0]["done"] == {"mle": 1, "adversarial": 0}
            break
    for _ in run.epochs("more", 1):
        pass
    record, _ = sequence_gan.read_checkpoint()
    assert list(record["done"].items()) == [("mle", 1), ("adversarial", 3), ("more", 0)]
    assert list(run.epochs("adversarial", 5)) == [] and list(run.epochs("more", 3)) == [1, 2]
    run.save(finished=True)
    monkeypatch.setattr(sequence_gan, "resumes", lambda record, now: True)
    longer = sequence_gan.Run({}, DATA, {}, resuming=True)
    assert list(longer.epochs("more", 9)) == []  # of a finished run adversarial training goes on


def test_a_slip_in_the_training_loops_shows_its_place(tmp_path):
    folder = experiment.make(tmp_path, PRE_EPOCH_NUM=0, DIS_PRETRAIN_ROUNDS=0)
    script = folder / "sequence_gan.py"
    script.write_text(script.read_text().replace("(samples, rewards)", "(samples, rewards.T)"))
    _, err = experiment.run(folder, code=1)
    assert "loss = generator.reinforce_step(samples, rewards.T)\n" in err and "InputError: " in err


def test_every_file_of_three_runs_within_one_second_is_kept(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda _: "2026-01-01T00-00-00")
    (tmp_path / "save").mkdir()
    names = {"vocabulary.txt", *(path.name for path in (finished / "save").glob("[!.t]*"))}
    for number in range(3):
        for name in names:
            (tmp_path / "save" / name).write_text(f"{name} of run {number}")
        sequence_gan.keep_aside()
    for number, kept in enumerate(sorted((tmp_path / "save").iterdir())):
        texts = {path.name: path.read_text() for path in kept.iterdir()}
        assert texts == {name: f"{name} of run {number}" for name in names}
    assert number == 2


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
    said = capsys.readouterr().out
    evaluations = [row for row in experiment.metrics(folder) if row["nll_test"]]
    row = min(evaluations, key=lambda row: float(row["nll_test"]))
    lowest = float(row["nll_test"])
    assert f"lowest test NLL, {lowest}, of adversarial epoch {row['epoch']}, is in save/gen" in said
    model = load("save/generator-best.npz")
    held_out = sequence_gan.make_data(vars(sequence_gan)).held_out
    nll = -reference.lstm_log_prob(model.get_params(), held_out).mean()
    assert lowest == pytest.approx(nll, rel=1e-5)


def test_a_run_begins_from_a_trained_generator_with_other_data(tmp_path, monkeypatch, capsys):
    folder, none = experiment.make(tmp_path), {"PRE_EPOCH_NUM": 0, "DIS_PRETRAIN_ROUNDS": 0}
    none |= {"TOTAL_BATCH": 0, "TEXT_FILE": "text.txt", "TEST_FILE": "text.txt", "VOCAB_SIZE": 4}
    (folder / "text.txt").write_text("a b\nb c\nb a\n" * 20)
    experiment.set_constants(folder, monkeypatch, **none, SEQ_LENGTH=5)
    sequence_gan.main()
    (folder / "mine.npz").write_bytes((folder / "save/generator.npz").read_bytes())
    (folder / "text.txt").write_text("c c d\nc b e\n" * 20)  # other frequencies, two new words
    experiment.set_constants(folder, monkeypatch, **none, INITIAL_GENERATOR="mine.npz")
    sequence_gan.main()
    model, before = load("save/generator.npz"), load("mine.npz")
    assert model.words == before.words == ["<end>", "<unknown>", "b", "a"]
    reference.assert_same(model.get_params(), before.get_params())
    monkeypatch.setattr(sequence_gan, "TOTAL_BATCH", 1)
    sequence_gan.main()  # goes on with the same words
    assert capsys.readouterr().out.count("40 held out\n  3 of 4 words are unknown") == 2
    lines = set(open("save/real_data.txt").read().splitlines())
    assert lines == {"<unknown> <unknown> <unknown>", "<unknown> b <unknown>"}


def test_an_initial_generator_that_does_not_fit_is_named(tmp_path, monkeypatch):
    folder = experiment.make(tmp_path)
    experiment.write_text(folder / "text.txt")
    words = "<end> <unknown> red blue".split()
    LSTM(reference.lstm_params(30, 6, 8), 6, start_token=2).save(folder / "start.npz")
    LSTM(reference.lstm_params(4, 6, 8), 6, words=words).save(folder / "words.npz")
    for name, constants, message in (
        ("start.npz", {}, "start.npz: expected a model of the same start_token, found another"),
        ("words.npz", {}, "words.npz: it is of a text, and TEXT_FILE is not set"),
        ("start.npz", TEXT, "start.npz: expected a model with VOCAB_SIZE, EMB_DIM, HIDDEN_DIM of"),
    ):
        constants = constants | {"INITIAL_GENERATOR": name}
        experiment.assert_refused(message, folder, monkeypatch, **constants)


def test_looking_more_often_and_a_missing_matplotlib_do_not_change_a_run(
    finished, tmp_path, monkeypatch, capsys
):
    folder, draw = experiment.make(tmp_path), sequence_gan.draw_metrics
    experiment.set_constants(folder, monkeypatch, EVAL_EVERY=1)
    monkeypatch.setattr(sequence_gan, "draw_metrics", draw)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # its import fails
    sequence_gan.main()
    ours, theirs = experiment.outputs(folder), experiment.outputs(finished)
    for name in ("rows", "generator-best.npz"):
        ours.pop(name), theirs.pop(name)
    log, longer = (run.pop("experiment-log.txt").split(b"\n") for run in (theirs, ours))
    assert set(log) < set(longer) and ours == theirs
    said = capsys.readouterr().out
    assert "save/learning-curve.png cannot be drawn: import of matplotlib.figure halted" in said
    assert "Done. The generator is in save/generator.npz" in said


def test_a_text_is_learned_in_a_notebook_and_its_samples_are_shown(tmp_path):
    none = {"DIS_PRETRAIN_ROUNDS": 0, "TOTAL_BATCH": 0}
    folder = experiment.make(tmp_path, TEXT_FILE="text.txt", PRE_EPOCH_NUM=1, **none)
    experiment.write_text(folder / "text.txt", 200)
    notebook = "import io, sys, runpy; sys.stdout = io.StringIO(); "  # no reconfigure, as there
    notebook += "runpy.run_path('sequence_gan.py', run_name='__main__')\n"
    notebook += "print(sys.stdout.getvalue(), file=sys.__stdout__)"
    options = {"stdout": subprocess.PIPE, "preexec_fn": lambda: os.close(2)}  # no stderr
    done = subprocess.run([sys.executable, "-c", notebook], cwd=folder, check=True, **options)
    assert b"text.txt: 180 lines to learn, 20 held out" in done.stdout
    words = set((folder / "save/vocabulary.txt").read_text().split())
    shown = [line.split("\t")[1] for line in done.stdout.decode().splitlines() if "sample:" in line]
    assert len(shown) == 1 and all(set(line.split()) <= words - {"<end>"} for line in shown)
    assert (folder / "save/learning-curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_panels_in_words_for_what_was_measured(monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: figures.append(self))
    monkeypatch.setattr(sequence_gan, "write_file", lambda path, data: None)
    monkeypatch.setattr(sequence_gan, "PRE_EPOCH_NUM", 6)
    row = {"stage": "mle", "epoch": 5, "nll_test": 4.0, "kl_generator_oracle": 1.0}
    a_set = {"stage": "discriminator", "epoch": 0, "dis_loss": 0.7, "dis_accuracy": 0.9}
    sequence_gan.draw_metrics([row, a_set, row | {"stage": "adversarial", "epoch": 2}])
    lines = [axes.lines[0] for axes in figures[0].axes]
    found = {line.get_label(): line.get_xydata().tolist() for line in lines}
    assert found == {
        "its NLL of unseen real sequences": [[5, 4], [8, 4]],
        "KL(generator || oracle)": [[5, 1], [8, 1]],
        "on sequences just trained on": [[0, 0.9]],
    }


def test_the_readme_s_recipes_work(finished, tmp_path):
    folder = experiment.make(tmp_path, PRE_EPOCH_NUM=0, DIS_PRETRAIN_ROUNDS=0, D_STEPS=0)
    (folder / "mine.npz").write_bytes((finished / "save/generator.npz").read_bytes())
    experiment.edit(folder, INITIAL_GENERATOR="mine.npz")
    text = (folder / "sequence_gan.py").read_text()
    for beginning in "loss = generator.reinforce_step", "rewards = rollout.get_reward":
        pattern = rf"(?m)^( +){re.escape(beginning)}.*$"
        (recipe,) = {line.strip() for line in experiment.README if beginning in line}
        text, found = re.subn(pattern, rf"\1{recipe}", text)
        assert found == 1
    (folder / "sequence_gan.py").write_text(text)
    experiment.run(folder)
    rows = experiment.metrics(folder)
    assert 3.2 < float(rows[1]["nll_oracle"]) < 3.6  # the oracle has 3.0, no training 3.8
    assert 0 < float(rows[0]["reward_mean"]) < 1 and "dis_loss" not in rows[0]
