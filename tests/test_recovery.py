"""What stops a run, and how it goes on: real processes, killed and started again."""

import shutil
import signal
import time

import experiment
import numpy as np
import pytest

import sequence_gan
from dataloader import InputError

# For a process that Ctrl-C ends: a shell's background jobs ignore it.
LISTEN = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}


@pytest.fixture
def unfinished(interrupted, tmp_path):
    """A copy of the interrupted run, to do with as a test likes."""
    return shutil.copytree(interrupted, tmp_path / "run")


def test_an_interrupted_run_writes_its_files_anew(unfinished, finished, monkeypatch, capsys):
    for name in ("experiment-log.txt", "metrics.csv", "real_data.txt", "generator-best.npz"):
        (unfinished / "save" / name).write_text("half")
    (unfinished / "save/.checkpoint.npz.tmp").write_bytes(b"half")
    experiment.set_constants(unfinished, monkeypatch)
    sequence_gan.main()
    assert "SeqGAN, resumed after mle 6, discriminator 2, adversarial " in capsys.readouterr().out
    assert experiment.outputs(unfinished) == experiment.outputs(finished)


def test_a_second_run_is_refused_and_ctrl_c_ends_the_first(unfinished):
    experiment.edit(unfinished, TOTAL_BATCH=1000)
    with experiment.run_until(6, unfinished, **LISTEN) as process:
        _, err = experiment.run(unfinished, code=1)
        assert "another run is under way in this folder (save/.lock)" in err
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err
    assert "Stopped: the same command resumes it" in out


def test_ctrl_c_ends_a_run_even_in_a_destructor(unfinished):
    experiment.edit(unfinished, TOTAL_BATCH=100)
    raising = "type('', (), {'__del__': lambda _: signal.raise_signal(signal.SIGINT)})()"
    script = unfinished / "sequence_gan.py"
    script.write_text(script.read_text().replace("rollout.update_params()", raising))
    out, err = experiment.run(unfinished, code=130, **LISTEN)
    assert "Stopped" in out and "Traceback" not in err


NOW = {name: getattr(sequence_gan, name) for name in sequence_gan.CONSTANTS} | {"TOTAL_BATCH": 3}
NOW |= {"INITIAL_GENERATOR": "mine.npz", "content of INITIAL_GENERATOR": "def"}
FIXED = [name for name in sequence_gan.CONSTANTS if name not in ("TOTAL_BATCH", "EVAL_EVERY")]
GONE = {"content of INITIAL_GENERATOR": None}
STARTS = [  # done, finished, what has changed -> whether it is resumed, or the refusal
    (2, False, {"TOTAL_BATCH": 9}, True),
    (3, True, {"TOTAL_BATCH": 9}, True),
    (0, False, {"TOTAL_BATCH": 0}, True),  # in MLE: without adversarial training after all
    (2, False, {"EVAL_EVERY": 1}, True),  # looking does not change a run
    (2, False, {"TOTAL_BATCH": 2}, "TOTAL_BATCH was 3, is 2; set it to 3 or more to resume, or"),
    (0, False, {"NEW": 2}, "NEW was None, is 2; put"),  # a constant that is new
    (3, True, {"TOTAL_BATCH": 9, "INITIAL_GENERATOR": None} | GONE, False),
    (2, False, {"INITIAL_GENERATOR": None} | GONE, "INITIAL_GENERATOR was 'mine.npz', is None"),
    (2, False, GONE, True),  # the file is gone
    *((2, False, {name: "other"}, f"{name} was .*, is 'other'; put it back") for name in FIXED),
]


@pytest.mark.parametrize(("done", "finished", "changes", "expected"), STARTS)
def test_a_start_resumes_a_run_or_begins_one_or_is_refused(done, finished, changes, expected):
    stages = {"mle": 6} | ({"adversarial": done} if done else {})
    record = {"settings": NOW, "done": stages, "finished": finished}
    if isinstance(expected, bool):
        assert sequence_gan.resumes(record, NOW | changes) is expected
    else:
        with pytest.raises(InputError, match=expected):
            sequence_gan.resumes(record, NOW | changes)


def test_files_of_another_content_are_other_settings(tmp_path, monkeypatch):
    for used in (["TARGET_FILE"], ["TEXT_FILE", "TEST_FILE", "INITIAL_GENERATOR"]):
        settings = []
        for text in ("a b\n", "a c\n"):
            (tmp_path / "a.txt").write_text(text)
            constants = {"DIS_FILTER_SIZES": range(1, 4)} | dict.fromkeys(used, "a.txt")
            experiment.set_constants(tmp_path, monkeypatch, **constants)
            settings.append(sequence_gan.settings())
        changed = {name for name in settings[0] if settings[0][name] != settings[1][name]}
        assert changed == {f"content of {name}" for name in used}
    assert settings[0]["DIS_FILTER_SIZES"] == [1, 2, 3]


def test_a_checkpoint_that_is_damaged_or_of_other_models_is_refused(unfinished, monkeypatch):
    path, log = unfinished / "save/checkpoint.npz", experiment.log(unfinished)
    with np.load(path) as file:
        arrays = dict(file)
    unread = "save/checkpoint.npz: cannot be read, it"
    for data in (path.read_bytes()[:-100], b""):
        path.write_bytes(data)
        experiment.assert_refused(unread, unfinished, monkeypatch)
        assert path.read_bytes() == data
    # Of another program; with a pickle, which could run code.
    for wrong in ({"record": "{}"}, {"more": np.array([None])}):
        np.savez(path, **arrays | wrong)
        experiment.assert_refused(unread, unfinished, monkeypatch)
    bias = arrays["generator/bi"]
    for wrong in ({"more": np.ones(3)}, {"generator/bi": bias[1:]}, {"generator/bi": 1j * bias}):
        np.savez(path, **arrays | wrong)
        experiment.assert_refused("save/checkpoint.npz: expected", unfinished, monkeypatch)
    path.unlink()
    path.mkdir()  # as any file that cannot be opened: it may be whole, and is not to be moved away
    experiment.assert_refused(f"{unread[:-4]}: Is a directory", unfinished, monkeypatch)
    assert experiment.log(unfinished) == log


def test_a_finished_run_is_made_longer_from_its_state(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    saved = []
    monkeypatch.setattr("sequence_gan.Run.epochs", lambda r, *_: saved.append(r.variables) or [])
    monkeypatch.setattr("sequence_gan.Run.save", lambda r, finished=False: saved.append(r))
    experiment.set_constants(folder, monkeypatch, TOTAL_BATCH=np.int64(4))
    rows = experiment.metrics(folder)
    (folder / "save/metrics.csv").write_text("stage\nof epochs after the checkpoint")
    record, arrays = sequence_gan.read_checkpoint()
    sequence_gan.main()
    names = ["generator/pretrain/Wi/m", "generator/reinforce/Wi/m", "discriminator/random state"]
    names += ["generator/grad_clip", "generator/reinforce/learning_rate", "discriminator/dropout"]
    names += ["discriminator/l2", "discriminator/adam/output/W/v", "rollout/Wi"]
    assert set(names) <= arrays.keys()
    for name, variable in saved[1].items():
        np.testing.assert_array_equal(variable.numpy(), arrays[name])
    assert saved[0].record["log"] == record["log"] and experiment.metrics(folder) == rows
    assert time.monotonic() - saved[0].started >= record["seconds"] > 0


def test_a_discriminator_of_keras_layers_is_resumed_to_the_byte(tmp_path, monkeypatch, capsys):
    first = experiment.README.index("    import keras")
    last = experiment.README.index("    sequence_gan.main()")
    script = "\n".join(line[4:] for line in experiment.README[first : last + 1])
    constants = {"PRE_EPOCH_NUM": 1, "TOTAL_BATCH": 1, "ROLLOUT_UPDATE_RATE": 0.0}
    folders = [tmp_path / "disturbed", tmp_path / "undisturbed"]
    for folder in folders:
        folder.mkdir()
        experiment.make(folder, **constants)
        (folder / "mine.py").write_text(script)
    with experiment.run_until(2, folders[0], "mine.py") as process:
        process.kill()
    monkeypatch.setattr(sequence_gan, "Discriminator", sequence_gan.Discriminator)  # put back later
    for folder in folders:
        experiment.set_constants(folder, monkeypatch, **constants)
        exec(script, {})
        resumed = "resumed after mle 1, discriminator 2" in capsys.readouterr().out
        assert resumed == (folder is folders[0])
    assert experiment.outputs(folders[0]) == experiment.outputs(folders[1])
