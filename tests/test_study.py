"""The study's scripts; its tables are what they print, but that of adam.py is not compared."""

import csv
import shutil
from unittest import mock

import adam
import controls
import experiment
import full
import measure
import memory
import numpy as np
import pytest
import reference
import tensorflow as tf

import sequence_gan
from generator import LSTM, Generator

REFERENCE = experiment.ROOT / "save/reference"


def run(folder, script, *arguments, code=0):
    """What a script of the study prints in folder, on its two outputs."""
    return experiment.run(folder, f"save/reference/{script}", *arguments, code=code)


@pytest.fixture
def folder(finished, tmp_path):
    """A finished run with the study beside it."""
    folder = shutil.copytree(finished, tmp_path / "run")
    shutil.copytree(REFERENCE, folder / "save/reference", dirs_exist_ok=True)
    (folder / ".images").mkdir()
    return folder


def test_the_pictures_are_drawn_and_the_readmes_have_the_tables_that_are_printed(folder):
    printed = []
    for script in ("texts.py", "draw.py", "memory.py", "full.py", "controls.py"):
        printed += run(folder, script)[0].strip().replace("|  |", "| |").split("\n\n")
    assert len(list((folder / ".images").glob("*.png"))) == 5
    readme, study = "\n".join(experiment.README), (REFERENCE / "README.md").read_text("utf-8")
    *tables, further = printed
    assert len(tables) == 7
    for table in tables:
        assert table.strip() in study
    for number in ("8.962 ± 0.033", "6.353", "8.772 ± 0.044", "6.199"):
        assert number in further and number in readme


def test_controls_give_each_sequence_the_rewards_of_another_one(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    rng = np.random.default_rng(0)
    rewards, x = rng.random([6, 4]), rng.integers(0, 7, [6, 4], np.int32)
    generator, made, notes, scores = Generator(7, 3, 5, 4), {}, [], []
    monkeypatch.setattr("sequence_gan.EVAL_EVERY", 5)
    monkeypatch.setattr("rollout.Rollout.get_reward", lambda *a: scores.append(a[3]) or rewards)
    oracle = reference.lstm_params(7, 3, 5)
    np.savez(tmp_path / "oracle.npz", *oracle)
    monkeypatch.setitem(controls.TRIAL, "TARGET_FILE", str(tmp_path / "oracle.npz"))
    for name in controls.CONDITIONS:
        rollout = controls.controlled(name, notes, evaluate_from=4)(generator, 0.0)
        generator.grad_clip.assign(0.01)  # as a resumed run does
        made[name] = rollout.get_reward(x, 1, lambda x: [0.2, 0.5])
        assert (float(generator.grad_clip) == 1e9) == name.endswith("no clip")
        assert sequence_gan.EVAL_EVERY == (1 if len(made) > 4 else 100)
    assert {note["reward_mean"] for note in notes} == {np.mean(rewards)}  # before the change
    norms = dict(zip(made, (note["gradient_norm"] for note in notes)))  # before the clip
    assert norms["M"] != norms["D"] == norms["D, no clip"] > 1 > norms["more MLE"] == 0
    scores = dict(zip(made, scores))
    np.testing.assert_allclose(scores["logits"](x), [-np.log(4), 0], rtol=1e-6)
    p, q = (reference.lstm_log_prob(w, x).mean(1) for w in (oracle, generator.get_params()))
    np.testing.assert_allclose(scores["exact"](x), p - q, atol=1e-5)
    centred = rewards - rewards.mean(0)
    for name, whole in (("P", rewards), ("Pc", centred)):
        assert sorted(made[name].tolist()) == sorted(np.float32(whole).tolist())
        assert (made[name] != np.float32(whole)).any(axis=1).all()  # nobody keeps its own
    for name, expected in (("D", rewards), ("Dc", centred), ("M", rewards - centred)):
        np.testing.assert_allclose(made[name], expected, rtol=1e-5)


def test_the_study_runs_by_the_shipped_constants_which_nobody_has_edited(finished, monkeypatch):
    shipped = {name: getattr(sequence_gan, name) for name in sequence_gan.CONSTANTS}
    experiment.set_constants(finished, monkeypatch, SEED=7)
    with mock.patch.dict(vars(sequence_gan), main=lambda: None):  # which are put back
        controls.run(finished, TOTAL_BATCH=1)
        had = sequence_gan.settings()
    named = {"TOTAL_BATCH": 1, "TARGET_FILE": str(experiment.ROOT / "save/target_params.npz")}
    assert {name: had[name] for name in shipped} == shipped | named


def test_controls_learn_from_new_sequences_and_go_on_with_mle(finished, monkeypatch):
    params = reference.lstm_params(30, 6, 8)
    oracle, fake = LSTM(params, 6), np.full([96, 6], 30)
    make = controls.with_new_sequences(oracle)
    sets = [make(fake, fake, 16, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    real = [x[y == 1] for x, y in sets]
    np.testing.assert_array_equal(real[0], real[1])
    both = np.concatenate(real[1:])  # two sets, of different sequences
    assert len(np.unique(both, axis=0)) == len(both) == 2 * 96
    entropy = oracle.nll(oracle.sample(9999))
    assert -reference.lstm_log_prob(params, both).mean() == pytest.approx(entropy, abs=0.15)

    monkeypatch.chdir(finished)
    generator, lines = Generator(30, 6, 8, 6), np.loadtxt("save/real_data.txt", int)
    vars(generator)["_update"] = lambda *arguments: arguments
    step = controls.more_mle(generator)
    for expected in (lines[:64], lines[64:], lines[:64]):
        x, weight, optimizer = step(None, None)
        np.testing.assert_array_equal(x, expected)
        np.testing.assert_allclose(weight, np.full([len(x), 6], 1 / x.size))
        assert optimizer is generator.reinforce_optimizer


def test_controls_compare_the_seeds_that_both_have_at_their_end_and_at_equal_entropy():
    nlls = {("D", 1): [9, 1, 2, 3], ("D", 2): [5] * 3, ("P", 2): [4] * 3, ("MLE", 2): [8, 7]}
    rows = [{"start": "MLE 26", "condition": condition, "seed": str(seed), "nll": str(nll)}
            for (condition, seed), values in nlls.items() for nll in values]  # fmt: skip
    assert controls.outcomes(rows, "MLE 26", "D", "nll") == {1: 2, 2: 5}
    paired = controls.in_pairs(rows, "MLE 26", ["MLE", "D", "P"], "nll")
    assert np.array_equal(paired, [[7], [5], [4]])
    half = 4.3027 / np.sqrt(3)  # of Student's t with two degrees of freedom, and a deviation of 1
    assert controls.mean_and_interval([4, 2, 3]) == pytest.approx([3, half])

    ways = {"MLE": [8.0], "D": [7.5, 7, 6.5, 6, 5.5], "P": [7, 6, 5, 4, 3]}  # entropies
    rows = [{"start": "MLE 6", "condition": condition, "seed": "1", "entropy": str(x),
             "kl": str((x - 8) ** 2 + (x - 8) * (condition == "P"))}
            for condition, way in ways.items() for x in way]  # fmt: skip
    found = controls.at_equal_entropy(rows, "MLE 6", "kl", [1])
    assert found == pytest.approx([-2])  # at an entropy of 6, the mean of the last three of D


def test_what_a_discriminator_knows_is_measured_by_shares_aucs_and_ranks():
    scores = [0.9, 0.8], [0.6, 0.5], [0.7, 0.1, 0.4]  # learned, unseen, generated
    found = memory.measure(mock.Mock(prob_real=tf.constant), [300.0, 2.0, 1.0], *scores)
    assert list(found.values()) == ["1.0000", "0.5000", "0.3333", "1.0000", "0.6667", "0.5000"]


def test_adam_sees_batches_without_moving_and_steps_are_those_of_one_reward():
    generator = Generator(7, 3, 5, 4)
    before, x = generator.get_params(), generator.sample(64)
    vars(generator)["sample"] = lambda num: x[:num]
    gradients = generator.gradients(x, tf.fill([64, 4], 0.5))[1]
    adam.state_after(2, generator)  # m = 0.19 g, v = 0.001999 g^2; after Adam's step 0.071 g
    sign = [g / (abs(g) + 1.83e-7) for g in gradients]  # by Adam's epsilon
    steps = {"Adam": [-0.00262 * g for g in sign], "gradient descent": [0.6 * g for g in gradients]}
    for kind, expected in steps.items():
        adam.take_steps(generator, generator.gradients, kind, -0.5, steps=1)
        for p, q, step in zip(generator.get_params(), before, expected, strict=True):
            np.testing.assert_allclose(p, q + step, rtol=1e-5, atol=1e-6)
        generator.set_params(before)


def test_one_reward_for_all_is_that_of_the_same_epoch_of_another_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sequence_gan, "EVAL_EVERY", 5)
    (tmp_path / "save").mkdir()
    monkeypatch.setitem(full.EXPERIMENT, "TOTAL_BATCH", 3)
    monkeypatch.setattr(full, "run", runs := mock.Mock())
    for last in (0.25, 0.125):
        (tmp_path / "run.csv").write_text(f"epoch,reward_mean\n0,0.5\n0,\n1,0.25\n2,{last}\n")
        monkeypatch.setattr("sys.argv", ["full.py", "one", "run.csv", "1", "run.csv"])
        full.main()
    assert len({call.args[0] for call in runs.call_args_list}) == 2  # folders; none is resumed
    rollout = runs.call_args.kwargs["Rollout"](Generator(7, 3, 5, 4), 0.0)
    for epoch, reward in enumerate((0.5, 0.25, 0.125)):
        (tmp_path / "save/metrics.csv").write_text("epoch,pg_loss\n" + "0,1\n0,\n" * epoch)
        assert (rollout.get_reward(np.zeros([2, 4], int), 1, None) == reward).all()


def test_changes_at_full_size_are_those_since_the_last_evaluation_of_mle(tmp_path, monkeypatch):
    monkeypatch.setattr(full, "HERE", tmp_path)
    rows = ["stage,epoch,nll_oracle,nll_test", "mle,0,9,9", "mle,5,5,8", "adversarial,0,,"]
    (tmp_path / "run.csv").write_text("\n".join([*rows, "adversarial,0,4,7", "adversarial,5,3,9"]))
    nlls = {"nll_oracle": {0: -1, 5: -2}, "kl_generator_oracle": {}}
    assert full.changes("run") == nlls | {"kl_oracle_generator": {0: -1, 5: 1}}


def test_logs_of_any_program_are_drawn_whatever_their_numbers(folder):
    log = "pre-training...\nepoch:\t0\tnll:\t1e+06\t\nepoch:\t5\tnll:\t5.9e-05\t\n\n"
    (folder / "a.txt").write_text(log + "adversarial training...\nepoch:\t0\tnll:\t-0\t\n")
    run(folder, "draw.py", "a.txt", "save/experiment-log.txt")
    assert (folder / "logs.png").read_bytes().startswith(b"\x89PNG")
    (folder / "a.txt").write_text(log + "epoch:\t0\tnll:\tten\n")
    assert "a.txt, line 5: expected a line of" in run(folder, "draw.py", "a.txt", code=1)[1]


def test_a_run_is_measured_by_its_own_constants(folder, monkeypatch):
    experiment.edit(folder, SEED=1)  # of the script, and not of the run
    printed, samples = run(folder, "measure.py")[0].split("\n\nSamples:\n")
    assert np.loadtxt(samples.splitlines()).shape == (3, 6)
    table = {row["sequences"]: row for row in csv.DictReader(printed.splitlines())}
    assert float(table["uniformly random"]["entropy"]) == pytest.approx(np.log(30), abs=1e-3)
    rows = [table[f"generator, temperature {t}"] for t in ("1", "0.85", "0.7")]
    entropies = [float(row["entropy"]) for row in rows]
    assert entropies == sorted(entropies, reverse=True)
    data = mock.Mock(positives=np.int32([[1, 2], [3, 4]]), held_out=[[1, 2]], end=None)
    found = measure.of_samples(data, np.int32([[1, 2], [1, 2], [5, 6], [3, 4]]))
    assert (found["distinct"], found["commonest"], found["verbatim"]) == (0.75, 2, 0.75)
    last = [row["nll_test"] for row in experiment.metrics(folder) if row["nll_test"]][-1]
    assert float(rows[0]["nll_test"]) == pytest.approx(float(last), abs=1e-3)
    experiment.set_constants(folder, monkeypatch, SEQ_LENGTH=5)
    message = "save/generator.npz: expected a SEQ_LENGTH of 5, found 6"
    reference.assert_refused(lambda: measure.main("save/generator.npz"), message)
    np.savez("save/target_params.npz", *reference.lstm_params(30, 6, 8, seed=9))
    message = "save/target_params.npz: expected what the run began from, found another"
    reference.assert_refused(measure.main, message)
    (folder / "save/settings.json").write_text("{")
    message = "save/settings.json: expected the constants of a run, found no EMB_DIM"
    reference.assert_refused(measure.main, message)
