"""What stops a run, and how it goes on: real processes, killed and started again."""

import random
import re
import resource
import shutil
import signal

import experiment
import pytest

import sequence_gan
from dataloader import InputError, TextLog, write_file

METRICS = "save/metrics.csv"


@pytest.fixture
def unfinished(interrupted, tmp_path):
    """A copy of the interrupted run, to do with as a test likes."""
    return shutil.copytree(interrupted, tmp_path / "run")


def evaluations(folder):
    return experiment.log(folder).count("nll")


def without_seconds(path):
    return [line.rpartition(",")[0] for line in path.read_text().splitlines()]


def checkpoints(folder):
    return sorted(
        (folder / "save/checkpoint").glob("ckpt-*.index"), key=lambda p: p.stat().st_mtime
    )


def test_a_run_killed_at_random_moments_ends_with_the_bytes_of_an_undisturbed_one(
    finished, tmp_path
):
    folder = experiment.make(tmp_path)
    code, _, err = experiment.kill_until_finished(folder, 2, random.Random(1))
    assert code == 0, err
    assert experiment.outputs(folder) == experiment.outputs(finished[0])
    assert without_seconds(folder / METRICS) == without_seconds(finished[0] / METRICS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_word_of_what_is_kept(unfinished, number):
    before = evaluations(unfinished)
    process = experiment.run_until(unfinished, lambda: evaluations(unfinished) > before)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err == ""
    assert out.startswith("SeqGAN, going on after 6 MLE epochs, 2 discriminator rounds, 0 adv")
    assert "Stopped: save/checkpoint holds the run" in out and "same command goes on" in out


def test_other_settings_are_refused_with_old_and_new_value(unfinished, monkeypatch):
    error = experiment.refusal(unfinished, monkeypatch, SEED=89, D_STEPS=2)
    assert "SEED was 88, is 89" in error and "D_STEPS was 1, is 2" in error
    assert "delete that folder to start afresh" in error and "\n" not in error


def test_another_positive_file_is_refused(unfinished, monkeypatch):
    path = unfinished / "save/real_data.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[::-1]) + "\n")
    error = experiment.refusal(unfinished, monkeypatch)
    assert re.search(r"POSITIVE_FILE \(its SHA-256\) was '\w+', is '\w+'", error)


def test_another_oracle_is_refused(unfinished, monkeypatch):
    experiment.draw_oracle(unfinished, experiment.SMALL, seed=7)
    assert "TARGET_FILE (its SHA-256) was" in experiment.refusal(unfinished, monkeypatch)


def test_a_second_run_in_the_same_folder_is_refused_at_once(unfinished):
    log = experiment.log(unfinished)
    first = experiment.run_until(unfinished, lambda: experiment.log(unfinished) != log)
    code, _, err = experiment.run(unfinished)
    assert code == 1 and "another run is under way in this folder" in err
    assert err.count("\n") == 1 and first.poll() is None
    first.kill()
    first.communicate()


def test_the_run_after_a_finished_one_is_new_follows_its_seed_and_keeps_the_old(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    experiment.edit(folder, SEED=90)
    old = experiment.log(folder)
    process = experiment.run_until(folder, lambda: experiment.log(folder) not in ("", old))
    process.kill()
    process.communicate()
    (kept,) = (folder / "save").glob("run-*")
    assert re.fullmatch(r"run-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d", kept.name)
    for name, data in experiment.outputs(finished[0]).items():
        assert (kept / name).read_bytes() == data
    new, old = ((f / "real_data.txt").read_bytes() for f in (folder / "save", kept))
    assert new != old


def test_resume_false_starts_afresh_and_keeps_what_was_there(unfinished, finished):
    log = experiment.log(unfinished)
    experiment.edit(unfinished, RESUME=False)
    code, _, err = experiment.run(unfinished)
    assert code == 0, err
    assert experiment.outputs(unfinished) == experiment.outputs(finished[0])
    (kept,) = (unfinished / "save").glob("run-*")
    assert (kept / "experiment-log.txt").read_text() == log and any((kept / "checkpoint").iterdir())
    assert not (unfinished / "save/checkpoint").exists()


def test_damage_that_can_be_undone_is_undone_and_leftovers_of_kills_are_removed(
    unfinished, finished
):
    # The newest checkpoint cut short, the log cut short, the real data gone, the metrics renamed.
    *_, newest = checkpoints(unfinished)
    data = newest.with_name(newest.name.replace(".index", ".data-00000-of-00001"))
    data.write_bytes(data.read_bytes()[:-100])
    log = unfinished / "save/experiment-log.txt"
    log.write_text(log.read_text()[:40])
    (unfinished / "save/real_data.txt").unlink()
    experiment.edit(unfinished, METRICS_FILE="save/rows.csv")
    # Kills came after a checkpoint and before its place in the list, within a save, before its end.
    folder = unfinished / "save/checkpoint"
    (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\n')
    (folder / "ckpt-99_temp").mkdir()
    (folder / "ckpt-99_temp/part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (folder / "ckpt-99.data-00000-of-00001").write_bytes(b"no index yet")
    (folder / "checkpoint.tmp0123").write_text("")
    code, _, err = experiment.run(unfinished)
    assert code == 0, err
    assert experiment.outputs(unfinished) == experiment.outputs(finished[0])
    rows = [f / name for f, name in ((unfinished, "save/rows.csv"), (finished[0], METRICS))]
    assert without_seconds(rows[0]) == without_seconds(rows[1])
    left = experiment.files(unfinished)
    assert len(left) == 5 and len({name.split(".")[0] for name in left} - {"checkpoint"}) == 2, left


def test_a_new_sequence_length_is_named_before_any_file_is_read(unfinished, monkeypatch):
    (unfinished / "save/real_data.txt").unlink()
    error = experiment.refusal(unfinished, monkeypatch, SEQ_LENGTH=5)
    assert "SEQ_LENGTH was 6, is 5" in error
    assert not (unfinished / "save/real_data.txt").exists()


def test_without_a_whole_checkpoint_nothing_is_touched(unfinished, monkeypatch):
    log = experiment.log(unfinished)
    for index in checkpoints(unfinished):
        index.write_bytes(b"")
    error = experiment.refusal(unfinished, monkeypatch)
    assert error.startswith("save/checkpoint: no checkpoint in it can be read; move it")
    assert experiment.log(unfinished) == log


def test_an_edited_log_is_refused_by_line(unfinished):
    path, log = unfinished / "save/experiment-log.txt", experiment.log(unfinished)
    edited = path.read_text().replace("epoch:\t2", "epoch:\t3")
    for line, text in [(3, edited), (1, log.replace("\n", "\r\n"))]:
        path.write_bytes(text.encode())
        with pytest.raises(InputError, match=f"experiment-log.txt, line {line}: the run had"):
            TextLog(path, log)
        assert path.read_bytes() == text.encode()


def test_a_log_moved_away_during_a_run_is_whole_again_at_its_next_line(tmp_path):
    path = tmp_path / "log.txt"
    log = TextLog(path, "pre-training...\n")
    log.append("one")
    path.rename(tmp_path / "moved.txt")
    log.append("two")
    assert path.read_text() == "pre-training...\none\ntwo\n"


def test_a_generator_alone_is_kept_when_a_new_run_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "save").mkdir()
    (tmp_path / "save/generator.npz").write_bytes(b"trained")
    sequence_gan.keep_earlier_run("2026-01-01T00-00-00")
    kept = tmp_path / "save/run-2026-01-01T00-00-00/generator.npz"
    assert kept.read_bytes() == b"trained" and not (tmp_path / "save/generator.npz").exists()


def test_a_full_disk_ends_the_run_with_one_line_and_leaves_log_and_checkpoint(unfinished):
    log, before = experiment.log(unfinished), [p.name for p in checkpoints(unfinished)]
    # No file may pass 20 kB: sequences and logs fit, the next checkpoint does not.
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))}
    code, _, err = experiment.run(unfinished, **limit)
    assert code == 1 and err.startswith("sequence_gan.py: save/checkpoint: cannot save: save/")
    assert err.count("\n") == 1
    assert experiment.log(unfinished).startswith(log)
    assert [p.name for p in checkpoints(unfinished)] == before


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"none/real\.txt: cannot be written: No such file or dir"):
        write_file(f"{tmp_path}/none/real.txt", b"")
