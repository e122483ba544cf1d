"""What stops a run, and how it goes on: real processes, killed and started again."""

import re
import resource
import shutil
import signal

import experiment
import pytest

from dataloader import append_line, bring_back, write_file

METRICS = "save/metrics.csv"


@pytest.fixture
def unfinished(interrupted, tmp_path):
    """A copy of the interrupted run, to do with as a test likes."""
    return shutil.copytree(interrupted, tmp_path / "run")


def evaluations(folder):
    return experiment.log(folder).count("nll")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_run_is_refused_and_a_signal_ends_the_first(unfinished, number):
    before = evaluations(unfinished)
    experiment.edit(unfinished, TOTAL_BATCH=1000)
    process = experiment.run_until(unfinished, lambda: evaluations(unfinished) > before)
    if number == signal.SIGTERM:
        code, _, err = experiment.run(unfinished)
        assert code == 1 and "another run is under way in this folder" in err
        assert err.count("\n") == 1 and process.poll() is None
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err == ""
    assert "SeqGAN, going on after {'mle': 6, 'discriminator': 2, 'adversarial': 2}, on " in out
    assert "Stopped: save/checkpoint holds the run" in out and "same command goes on" in out


def test_other_settings_are_refused_with_old_and_new_value(unfinished, monkeypatch):
    error = experiment.refusal(unfinished, monkeypatch, SEED=89, D_STEPS=2)
    assert "SEED was 88, is 89" in error and "D_STEPS was 1, is 2" in error
    assert "delete that folder to start afresh" in error and "\n" not in error


@pytest.fixture(scope="module")
def resumed(interrupted, tmp_path_factory):
    """An interrupted run that found everything changed and went on; and what it printed."""
    folder = shutil.copytree(interrupted, tmp_path_factory.mktemp("resumed") / "run")
    save = folder / "save"
    # The newest checkpoint cut short, another save begun, the metrics gone.
    *_, (_, newest) = experiment.checkpoints(folder)
    data = newest.with_suffix(".data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-100])
    begun = newest.with_name(f"{newest.stem}_temp")
    begun.mkdir()
    (begun / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (folder / METRICS).unlink()
    for name, text in FOREIGN.items():
        (save / name).write_text(text)
    with open(folder / "rollout.py", "a") as file:
        file.write("# another\n")
    code, out, err = experiment.run(folder)
    assert code == 0, err
    return folder, out


FOREIGN = {"real_data.txt": "mine\n", "experiment-log.txt": "pre-training...\nnoted by me\n"}


def test_damage_that_can_be_undone_is_undone(resumed, finished):
    assert "going on after {'mle': 6, 'discriminator': 2, 'adversarial': 1}" in resumed[1]
    assert experiment.outputs(resumed[0]) == experiment.outputs(finished[0])
    assert experiment.without_seconds(resumed[0]) == experiment.without_seconds(finished[0])
    assert len(list((resumed[0] / "save/checkpoint").iterdir())) == 4


def test_files_that_are_not_the_run_s_are_kept_aside(resumed):
    for name, text in FOREIGN.items():
        assert [p.read_text() for p in resumed[0].glob(f"save/run-*/{name}")] == [text]


def test_changed_code_is_said_in_a_line(resumed):
    assert re.search(r"(?m)^Changed since 20[\dT-]+: rollout\.py$", resumed[1])


def test_a_log_cut_short_is_written_anew_and_nothing_is_kept_aside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "save").mkdir()
    for now in ("", "one\ntw", "one\ntwo\n"):
        (tmp_path / "save/log.txt").write_text(now)
        bring_back("save/log.txt", "one\ntwo\n")
        assert (tmp_path / "save/log.txt").read_text() == "one\ntwo\n"
    assert len(list((tmp_path / "save").iterdir())) == 1


def test_lines_of_a_run_since_its_last_save_are_written_anew_and_a_person_s_are_kept(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "save").mkdir()
    log, rows = "pre-training...\n", "stage,epoch\nmle,0,3.2,,1e-05,7\n"
    later = {
        log: ["epoch:\t0\tnll:\t9.98\n", "epoch:\t0\tnll:\t9.98\nadversarial training...\n"],
        rows: ["mle,1,-3.1,,,8\n", "mle,1,3.1,,,8\nadversarial,0,,"],
    }
    for text, ends in later.items():
        for end in ends:
            (tmp_path / "save/a.txt").write_text(text + end)
            bring_back("save/a.txt", text)
            assert (tmp_path / "save/a.txt").read_text() == text
    assert len(list((tmp_path / "save").iterdir())) == 1
    (tmp_path / "save/a.txt").write_text(log + "# a power cut here\n")
    bring_back("save/a.txt", log)
    (kept,) = (tmp_path / "save").glob("run-*/a.txt")
    assert kept.read_text() == log + "# a power cut here\n"


def test_a_first_run_destroys_nobody_s_file(tmp_path):
    folder = experiment.make(tmp_path, PRE_EPOCH_NUM=0, DIS_PRETRAIN_ROUNDS=0, TOTAL_BATCH=0)
    names = ["real_data.txt", "generator.npz", "eval_file.txt", "metrics.csv", "learning-curve.png"]
    for name in names:
        (folder / "save" / name).write_text(f"my {name}")
    code, out, err = experiment.run(folder)
    assert code == 0 and "Kept in save/run-" in out, err
    for name in names:
        assert [p.read_text() for p in folder.glob(f"save/run-*/{name}")] == [f"my {name}"]


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    folder = experiment.make(tmp_path_factory.mktemp("longer"), TOTAL_BATCH=5)
    assert experiment.run(folder)[0] == 0
    return experiment.outputs(folder)


def test_a_finished_run_can_be_made_longer(finished, longer, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    experiment.edit(folder, TOTAL_BATCH=5)
    code, out, err = experiment.run(folder)
    assert code == 0 and "going on after {'mle': 6, 'discriminator': 2, 'adversarial': 3}" in out, (
        err
    )
    assert experiment.outputs(folder) == longer


def test_a_run_is_not_made_shorter_than_it_is(finished, unfinished, monkeypatch):
    error = experiment.refusal(unfinished, monkeypatch, TOTAL_BATCH=0)
    assert "TOTAL_BATCH was 3, is 0" in error


def test_another_oracle_is_refused(unfinished, monkeypatch):
    experiment.draw_oracle(unfinished, experiment.SMALL, seed=7)
    assert "TARGET_FILE (its SHA-256) was" in experiment.refusal(unfinished, monkeypatch)


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


def test_without_its_checkpoint_a_run_starts_afresh_and_the_old_is_kept(unfinished, finished):
    log = experiment.log(unfinished)
    shutil.rmtree(unfinished / "save/checkpoint")
    code, _, err = experiment.run(unfinished)
    assert code == 0, err
    assert experiment.outputs(unfinished) == experiment.outputs(finished[0])
    (kept,) = (unfinished / "save").glob("run-*")
    assert (kept / "experiment-log.txt").read_text() == log


def test_without_a_whole_checkpoint_nothing_is_touched(unfinished, monkeypatch):
    log = experiment.log(unfinished)
    for _, index in experiment.checkpoints(unfinished):
        index.write_bytes(b"")
    error = experiment.refusal(unfinished, monkeypatch)
    assert error.startswith("save/checkpoint: cannot be read; move it away to start afresh")
    assert experiment.log(unfinished) == log


def test_a_log_moved_away_during_a_run_is_whole_again_at_its_next_line(tmp_path):
    path = tmp_path / "log.txt"
    append_line(path, "one\n")
    append_line(path, "one\ntwo\n")
    path.rename(tmp_path / "moved.txt")
    append_line(path, "one\ntwo\nthree\n")
    assert path.read_text() == "one\ntwo\nthree\n"
    assert (tmp_path / "moved.txt").read_text() == "one\ntwo\n"


def test_a_full_disk_ends_the_run_with_one_line_and_leaves_log_and_checkpoint(unfinished):
    log, newest = experiment.log(unfinished), experiment.checkpoints(unfinished)[-1]
    # No file may pass 20 kB: sequences and logs fit, the next checkpoint does not.
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))}
    code, _, err = experiment.run(unfinished, **limit)
    assert code == 1
    assert re.match(r"sequence_gan\.py: save/checkpoint/[ab]: cannot be written: save/", err), err
    assert err.count("\n") == 1
    assert experiment.log(unfinished).startswith(log)
    assert newest in experiment.checkpoints(unfinished)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"none/real\.txt\.\d+\.tmp: cannot be written: No such"):
        write_file(f"{tmp_path}/none/real.txt", b"")
