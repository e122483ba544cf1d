"""What stops a run, and how it goes on: real processes, killed and started again."""

import io
import resource
import shutil
import signal
import time

import experiment
import numpy as np
import pytest

import sequence_gan
from dataloader import InputError


@pytest.fixture
def unfinished(interrupted, tmp_path):
    """A copy of the interrupted run, to do with as a test likes."""
    return shutil.copytree(interrupted, tmp_path / "run")


def test_an_interrupted_run_goes_on_and_writes_its_files_anew(unfinished, finished):
    for name in ("experiment-log.txt", "metrics.csv", "real_data.txt"):
        (unfinished / "save" / name).write_text("half")
    (unfinished / "save/.checkpoint.npz.tmp").write_bytes(b"half")
    code, out, err = experiment.run(unfinished)
    assert code == 0, err
    done = "mle 6, discriminator 2, adversarial 2"
    assert f"SeqGAN, resumed after {done}, on " in out
    assert experiment.outputs(unfinished) == experiment.outputs(finished[0])
    assert experiment.without_seconds(unfinished) == experiment.without_seconds(finished[0])


def test_a_second_run_is_refused_and_ctrl_c_ends_the_first(unfinished):
    def evaluations():
        return experiment.log(unfinished).count("nll")

    def listen():  # a shell's background jobs ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = evaluations()
    experiment.edit(unfinished, TOTAL_BATCH=1000)
    process = experiment.run_until(unfinished, lambda: evaluations() > before, preexec_fn=listen)
    try:
        code, _, err = experiment.run(unfinished)
        assert code == 1 and "another run is under way in this folder (save/.lock)" in err
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in err
    assert "Stopped: the same command resumes it" in out


NOW = {"SEED": 88, "TOTAL_BATCH": 3, "content of TARGET_FILE": "abc"}
STARTS = [  # done, finished, what has changed -> whether it is resumed, or the refusal
    (0, False, {}, True),
    (2, False, {}, True),
    (3, False, {}, True),  # killed between its last epoch and its end
    (3, True, {}, False),
    (2, False, {"TOTAL_BATCH": 9}, True),
    (3, True, {"TOTAL_BATCH": 9}, True),
    (3, True, {"TOTAL_BATCH": 2}, False),
    (3, True, {"TOTAL_BATCH": 9, "SEED": 1}, False),
    (3, True, {"content of TARGET_FILE": "new"}, False),
    (3, False, {"TOTAL_BATCH": 2}, "TOTAL_BATCH was 3, is 2; put it back to resume, or delete"),
    (0, False, {"SEED": 89}, "SEED was 88, is 89; put it back"),
    (0, False, {"TOTAL_BATCH": 9, "SEED": 89}, "SEED was 88, is 89, TOTAL_BATCH was 3, is 9; put"),
    (0, False, {"content of TARGET_FILE": "new"}, "TARGET_FILE was 'abc', is 'new'; put it back"),
    (0, False, {"G_STEPS": 2}, "G_STEPS was None, is 2; put"),  # a constant that is new
    (0, False, {"INITIAL_GENERATOR": None}, True),
]


@pytest.mark.parametrize(("done", "finished", "changes", "expected"), STARTS)
def test_a_start_resumes_a_run_or_begins_one_or_is_refused(done, finished, changes, expected):
    record = {"settings": NOW, "done": {"mle": 6, "adversarial": done}, "finished": finished}
    if isinstance(expected, bool):
        assert sequence_gan.resumes(record, NOW | changes) is expected
    else:
        with pytest.raises(InputError, match=expected):
            sequence_gan.resumes(record, NOW | changes)


def test_files_of_another_content_are_other_settings(tmp_path, monkeypatch):
    experiment.make(tmp_path)
    names = ["TARGET_FILE", "TEXT_FILE", "TEST_FILE", "INITIAL_GENERATOR"]
    for no_text in ({}, {"TEXT_FILE": None, "TEST_FILE": None}):
        settings = []
        for text in ("a b\n", "a c\n"):
            (tmp_path / "a.txt").write_text(text)
            experiment.set_constants(
                tmp_path, monkeypatch, **dict.fromkeys(names, "a.txt") | no_text
            )
            settings.append(sequence_gan.settings())
        changed = {name for name in settings[0] if settings[0][name] != settings[1][name]}
        used = {"TARGET_FILE"} if no_text else {"TEXT_FILE", "TEST_FILE"}
        assert changed == {f"content of {name}" for name in used | {"INITIAL_GENERATOR"}}


def test_a_damaged_checkpoint_is_refused_and_nothing_is_touched(unfinished, monkeypatch):
    path, log = unfinished / "save/checkpoint.npz", experiment.log(unfinished)
    other = io.BytesIO()
    np.savez(other, record="{}")
    for damaged in (other.getvalue(), path.read_bytes()[:-100], b""):
        path.write_bytes(damaged)
        error = experiment.refusal(unfinished, monkeypatch)
        assert error.startswith("save/checkpoint.npz: cannot be read; move it away to begin")
    assert experiment.log(unfinished) == log and path.read_bytes() == b""


def test_without_its_checkpoint_a_run_starts_afresh_and_every_file_is_kept(unfinished, finished):
    names = ["experiment-log.txt", "real_data.txt", "generator.npz", "metrics.csv"]
    for name in names:
        (unfinished / "save" / name).write_text(f"my {name}")
    (unfinished / "save/checkpoint.npz").unlink()
    code, out, err = experiment.run(unfinished)
    assert code == 0 and "save/real_data.txt, of the run before, is moved to save/run-" in out, err
    assert experiment.outputs(unfinished) == experiment.outputs(finished[0])
    (kept,) = (unfinished / "save").glob("run-*")
    for name in names:
        assert (kept / name).read_text() == f"my {name}"


def test_a_finished_run_made_longer_goes_on_from_its_state_and_its_seconds(
    finished, tmp_path, monkeypatch
):
    folder = shutil.copytree(finished[0], tmp_path / "run")
    saved = []
    run = sequence_gan.Run
    monkeypatch.setattr(run, "epochs", lambda self, *_: saved.append(self.variables) or [])
    monkeypatch.setattr(run, "save", lambda self, finished=False: saved.append(self))
    experiment.set_constants(folder, monkeypatch, TOTAL_BATCH=4)
    record, arrays = sequence_gan.read_checkpoint()
    sequence_gan.main()
    names = ["generator/Wi", "generator/reinforce/Wi/m", "discriminator/random state"]
    assert {*names, "rollout/Wi", "discriminator/adam/output/W/v"} <= arrays.keys()
    for name, variable in saved[1].items():
        np.testing.assert_array_equal(variable.numpy(), arrays[name])
    assert saved[0].record["log"] == record["log"]
    assert time.monotonic() - saved[0].started >= record["seconds"] > 0


def test_a_checkpoint_of_other_models_is_refused(unfinished, monkeypatch):
    with np.load(unfinished / "save/checkpoint.npz") as file:
        arrays = dict(file)
    swapped = arrays | {"generator/Wi": arrays["generator/Ui"], "more": arrays["generator/bi"]}
    np.savez(unfinished / "save/checkpoint.npz", **swapped)
    error = experiment.refusal(unfinished, monkeypatch)
    assert error.startswith("save/checkpoint.npz: expected the state of these models")


def readme_example():
    """The discriminator of one's own in the README, as a script."""
    lines = (experiment.ROOT / "README.md").read_text("utf-8").splitlines()
    first = lines.index("    import keras")
    last = lines.index("    sequence_gan.main()")
    return "\n".join(line[4:] for line in lines[first : last + 1]) + "\n"


def test_a_discriminator_of_keras_layers_is_resumed_to_the_byte(tmp_path):
    folders = [tmp_path / "disturbed", tmp_path / "undisturbed"]
    for folder in folders:
        folder.mkdir()
        experiment.make(folder, PRE_EPOCH_NUM=1, ROLLOUT_UPDATE_RATE=0.0)
        (folder / "mine.py").write_text(readme_example())
    script = {"script": "mine.py"}
    process = experiment.run_until(
        folders[0], lambda: experiment.log(folders[0]).count("nll") == 2, **script
    )
    process.kill()
    process.communicate()
    for folder in folders:
        code, out, err = experiment.run(folder, **script)
        assert code == 0, err
        assert ("resumed after mle 1, discriminator 2" in out) == (folder is folders[0])
    assert experiment.outputs(folders[0]) == experiment.outputs(folders[1])
    assert experiment.without_seconds(folders[0]) == experiment.without_seconds(folders[1])


def test_a_full_disk_ends_the_run_with_one_line_and_leaves_log_and_checkpoint(unfinished):
    log, newest = experiment.log(unfinished), experiment.saved(unfinished)
    # Sequences and logs fit, the next checkpoint does not.
    size = (unfinished / "save/checkpoint.npz").stat().st_size // 2
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}
    code, _, err = experiment.run(unfinished, **limit)
    assert code == 1 and "Traceback" not in err
    assert "sequence_gan.py: save/" in err and "cannot be written: File too large" in err
    assert experiment.log(unfinished).startswith(log)
    assert experiment.saved(unfinished) == newest
