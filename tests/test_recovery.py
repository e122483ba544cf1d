"""What stops a run, and how it goes on: real processes, killed and started again."""

import random
import resource
import shutil
import signal

import experiment
import pytest


@pytest.fixture
def unfinished(interrupted, tmp_path):
    """A copy of the interrupted run, to do with as a test likes."""
    return shutil.copytree(interrupted, tmp_path / "run")


def test_a_run_killed_at_random_moments_ends_with_the_bytes_of_an_undisturbed_one(tmp_path):
    folders = [tmp_path / "disturbed", tmp_path / "undisturbed"]
    for folder in folders:
        folder.mkdir()
        experiment.make(folder, TEXT_FILE="text.txt", PRE_EPOCH_NUM=2, TOTAL_BATCH=2)
        experiment.write_text(folder / "text.txt")
    code, _, err = experiment.kill_until_finished(folders[0], 2, random.Random(1))
    assert code == 0, err
    assert experiment.run(folders[1])[0] == 0
    assert experiment.outputs(folders[0]) == experiment.outputs(folders[1])
    assert experiment.without_seconds(folders[0]) == experiment.without_seconds(folders[1])
    assert not list(folders[0].glob("save/run-*"))


def test_an_interrupted_run_goes_on_and_writes_its_files_anew(unfinished, finished):
    for name in ("experiment-log.txt", "metrics.csv", "real_data.txt"):
        (unfinished / "save" / name).write_text("half")
    (unfinished / "save/.checkpoint.npz.tmp").write_bytes(b"half")
    code, out, err = experiment.run(unfinished)
    assert code == 0, err
    done = "mle 6, discriminator 2, adversarial 2"
    assert f"SeqGAN, going on after {done}, on " in out
    assert experiment.outputs(unfinished) == experiment.outputs(finished[0])
    assert experiment.without_seconds(unfinished) == experiment.without_seconds(finished[0])


def test_a_second_run_is_refused_and_ctrl_c_ends_the_first(unfinished):
    def evaluations():
        return experiment.log(unfinished).count("nll")

    before = evaluations()
    experiment.edit(unfinished, TOTAL_BATCH=1000)
    process = experiment.run_until(unfinished, lambda: evaluations() > before)
    code, _, err = experiment.run(unfinished)
    assert code == 1 and "another run is under way in this folder" in err
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err
    assert "Stopped: the same command goes on" in out


def test_other_settings_are_refused_with_old_and_new_value(unfinished, monkeypatch):
    error = experiment.refusal(unfinished, monkeypatch, SEED=89, D_STEPS=2, TOTAL_BATCH=0)
    for change in ("SEED was 88, is 89", "D_STEPS was 1, is 2", "TOTAL_BATCH was 3, is 0"):
        assert change in error
    assert "delete that file to start afresh" in error


def test_another_oracle_is_refused(unfinished, monkeypatch):
    experiment.draw_oracle(unfinished, experiment.SMALL, seed=7)
    error = experiment.refusal(unfinished, monkeypatch)
    assert "this has changed since: content of TARGET_FILE; put it back" in error


def test_a_damaged_checkpoint_is_refused_and_nothing_is_touched(unfinished, monkeypatch):
    path, log = unfinished / "save/checkpoint.npz", experiment.log(unfinished)
    for damaged in (path.read_bytes()[:-100], b""):
        path.write_bytes(damaged)
        error = experiment.refusal(unfinished, monkeypatch)
        assert error.startswith("save/checkpoint.npz: cannot be read; move it away to start")
    assert experiment.log(unfinished) == log and path.read_bytes() == b""


def test_without_its_checkpoint_a_run_starts_afresh_and_every_file_is_kept(unfinished, finished):
    names = ["experiment-log.txt", "real_data.txt", "generator.npz", "metrics.csv"]
    for name in names:
        (unfinished / "save" / name).write_text(f"my {name}")
    (unfinished / "save/checkpoint.npz").unlink()
    code, out, err = experiment.run(unfinished)
    assert code == 0 and "Moved to save/run-" in out, err
    assert experiment.outputs(unfinished) == experiment.outputs(finished[0])
    (kept,) = (unfinished / "save").glob("run-*")
    for name in names:
        assert (kept / name).read_text() == f"my {name}"


def test_a_finished_run_can_be_made_longer(finished, tmp_path):
    folder = experiment.make(tmp_path, TOTAL_BATCH=1)
    assert experiment.run(folder)[0] == 0
    experiment.edit(folder, TOTAL_BATCH=3)
    code, out, err = experiment.run(folder)
    assert code == 0 and "adversarial 1, on" in out, err
    assert experiment.outputs(folder) == experiment.outputs(finished[0])


def test_the_run_after_a_finished_one_is_new_and_keeps_the_old(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    experiment.edit(folder, SEED=90)
    old = experiment.log(folder)
    process = experiment.run_until(folder, lambda: experiment.log(folder) not in ("", old))
    process.kill()
    process.communicate()
    (kept,) = (folder / "save").glob("run-*")
    for name, data in experiment.outputs(finished[0]).items():
        assert (kept / name).read_bytes() == data
    new, old = ((f / "real_data.txt").read_bytes() for f in (folder / "save", kept))
    assert new != old


def test_a_full_disk_ends_the_run_with_one_line_and_leaves_log_and_checkpoint(unfinished):
    log, newest = experiment.log(unfinished), experiment.saved(unfinished)
    # No file may pass 20 kB: sequences and logs fit, the next checkpoint does not.
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))}
    code, _, err = experiment.run(unfinished, **limit)
    assert code == 1 and "Traceback" not in err
    assert "sequence_gan.py: save/" in err and "cannot be written: File too large" in err
    assert experiment.log(unfinished).startswith(log)
    assert experiment.saved(unfinished) == newest
