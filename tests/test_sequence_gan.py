"""The driver: whole experiments at small sizes, as processes."""

import re

import experiment
import numpy as np
import pytest

from dataloader import read_tokens


def nlls(log):
    return [float(line.split("\t")[-1]) for line in log.splitlines() if "\t" in line]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished small run, what it printed, and its outputs."""
    folder = experiment.make(tmp_path_factory.mktemp("run"))
    code, out, err = experiment.run(folder)
    assert code == 0, err
    return folder, out, err


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


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(finished, tmp_path):
    first = experiment.outputs(finished[0])
    folder = experiment.make(tmp_path)
    assert experiment.run(folder)[0] == 0
    assert experiment.outputs(folder) == first
    (tmp_path / "other").mkdir()
    folder = experiment.make(tmp_path / "other", SEED=89)
    assert experiment.run(folder)[0] == 0
    other = experiment.outputs(folder)
    assert all(other[name] != first[name] for name in first)


def test_tensorflow_s_chatter_is_silenced(finished):
    assert not re.search(r"oneDNN|cudart|absl|WARNING|\.cc:\d", finished[1] + finished[2])


def test_mle_lowers_the_nll_and_adversarial_training_lowers_it_further(tmp_path):
    folder = experiment.make(
        tmp_path,
        PRE_EPOCH_NUM=30,
        DIS_PRETRAIN_ROUNDS=4,
        TOTAL_BATCH=60,
        GENERATED_NUM=640,
        EVAL_EVERY=5,
    )
    code, _, err = experiment.run(folder)
    assert code == 0, err
    mle, adversarial = (folder / "save/experiment-log.txt").read_text().split("adversarial")
    mle, adversarial = nlls(mle), nlls(adversarial)
    print(mle, adversarial)
    assert mle[-1] < mle[0] - 0.1
    assert np.mean(adversarial[-4:]) < np.mean(mle[-3:]) - 0.05


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
    "GENERATED_NUM": (15, "GENERATED_NUM: expected at least BATCH_SIZE=16, found 15"),
    "VOCAB_SIZE": (31, "VOCAB_SIZE: save/target_params.npz has 30, found 31"),
    "TARGET_FILE": ("save/none.npz", "TARGET_FILE: expected an oracle file"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_constants_are_named_in_one_line(tmp_path, monkeypatch, name):
    value, message = BAD[name]
    import_and_expect(tmp_path, monkeypatch, {name: value}, message)


def import_and_expect(tmp_path, monkeypatch, constants, message):
    """Run main() in this process, which is quicker than a new one, and expect an InputError."""
    import sequence_gan
    from dataloader import InputError

    folder = experiment.make(tmp_path)
    monkeypatch.chdir(folder)
    for name, value in (experiment.SMALL | constants).items():
        monkeypatch.setattr(sequence_gan, name, value)
    with pytest.raises(InputError) as error:
        sequence_gan.main()
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
    assert not (folder / "save/experiment-log.txt").exists()


def test_bad_input_ends_with_one_line_and_exit_code_1(tmp_path):
    folder = experiment.make(tmp_path, BATCH_SIZE=0)
    code, out, err = experiment.run(folder)
    assert (code, out) == (1, "")
    assert err == "sequence_gan.py: BATCH_SIZE: expected a whole number above 0, found 0\n"
