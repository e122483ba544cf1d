"""Runs killed at random moments end with the bytes of undisturbed ones."""

import random

import experiment

# What a run can have beside the discriminator and the lagging policy of the other tests.
CONSTANTS = {"TEXT_FILE": "text.txt", "OWN_TOKEN_GROWTH": 0.1, "REWARD": "bleu"}


def in_last_epoch(log):
    return "adversarial" in log and log.rpartition("adversarial")[2].count("nll") == 2


def test_a_run_killed_at_random_moments_ends_with_the_bytes_of_an_undisturbed_one(tmp_path):
    folders = [tmp_path / "disturbed", tmp_path / "undisturbed"]
    for folder in folders:
        folder.mkdir()
        experiment.make(folder, **CONSTANTS)
        experiment.write_text(folder / "text.txt")
    process = experiment.run_until(folders[0], lambda: in_last_epoch(experiment.log(folders[0])))
    process.kill()
    process.communicate()
    code, _, err = experiment.kill_until_finished(folders[0], 1, random.Random(1))
    assert code == 0, err
    assert experiment.run(folders[1])[0] == 0
    assert experiment.outputs(folders[0]) == experiment.outputs(folders[1])
    assert experiment.without_seconds(folders[0]) == experiment.without_seconds(folders[1])
    assert not list(folders[0].glob("save/run-*"))
