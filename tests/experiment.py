"""A small experiment as a user makes one: a copy of the program, constants edited, an oracle."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference

import sequence_gan
from dataloader import InputError

ROOT = Path(__file__).parent.parent
# Sizes at which a run takes seconds; with it, the oracle that `make` draws.
SMALL = {
    "EMB_DIM": 6, "HIDDEN_DIM": 8, "SEQ_LENGTH": 6, "VOCAB_SIZE": 30, "PRE_EPOCH_NUM": 6,
    "BATCH_SIZE": 16, "DIS_EMBEDDING_DIM": 8, "DIS_FILTER_SIZES": [1, 2, 3],
    "DIS_NUM_FILTERS": [8, 8, 8], "DIS_PRETRAIN_ROUNDS": 2, "DIS_EPOCHS": 1, "TOTAL_BATCH": 3,
    "D_STEPS": 1, "ROLLOUT_NUM": 4, "GENERATED_NUM": 100, "EVAL_EVERY": 2,
    "ROLLOUT_UPDATE_RATE": 0.8,  # so that the rollout policy has weights of its own to go on with
}  # fmt: skip


def make(folder, **constants):
    """Put a copy of the program into folder, with the constants in place of those at its top."""
    for file in ROOT.glob("*.py"):
        shutil.copy(file, folder)
    constants = SMALL | constants
    edit(folder, **constants)
    (folder / "save").mkdir()
    draw_oracle(folder, constants)
    return folder


def draw_oracle(folder, constants, seed=0):
    sizes = (constants[name] for name in ("VOCAB_SIZE", "EMB_DIM", "HIDDEN_DIM"))
    reference.write_params(
        f"{folder}/save/target_params.npz", reference.lstm_params(*sizes, seed=seed)
    )


def write_text(path, lines=60):
    """A text of lines of one to eight words."""
    rng = np.random.default_rng(0)
    words = "red green blue one two three cats dogs run sleep and but".split()
    rows = [rng.choice(words, rng.integers(1, 9)) for _ in range(lines)]
    path.write_text("".join(" ".join(row) + "\n" for row in rows))


def edit(folder, **constants):
    """Change constants at the top of the copy in folder."""
    script = folder / "sequence_gan.py"
    text = script.read_text()
    for name, value in constants.items():
        text, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", text)
        assert found == 1, name
    script.write_text(text)


def start(folder, script="sequence_gan.py", **options):
    """Start `python sequence_gan.py` in folder."""
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, script], cwd=folder, **options)


def run(folder, **options):
    """Run it to its end: (exit code, standard output, standard error)."""
    process = start(folder, **options)
    out, err = process.communicate()
    return process.returncode, out, err


def run_until(folder, happened, **options):
    """Start it and return the process as soon as happened() is true, or it has ended."""
    process = start(folder, **options)
    while not happened():
        try:
            process.wait(timeout=0.002)
            break
        except subprocess.TimeoutExpired:
            pass
    return process


def log(folder):
    path = folder / "save/experiment-log.txt"
    return path.read_text() if path.exists() else ""


def saved(folder):
    """The time at which the checkpoint was written; None if there is none."""
    path = folder / "save/checkpoint.npz"
    return path.stat().st_mtime_ns if path.exists() else None


def outputs(folder):
    """What a run leaves that is the same for the same seed: {name: bytes}."""
    names = "experiment-log.txt real_data.txt generator_sample.txt eval_file.txt generator.npz"
    paths = [folder / "save" / name for name in [*names.split(), "vocabulary.txt"]]
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def set_constants(folder, monkeypatch, **constants):
    """Let main() run in folder with these constants; in this process, which is quicker."""
    monkeypatch.chdir(folder)
    for name, value in (SMALL | constants).items():
        monkeypatch.setattr(sequence_gan, name, value)


def refusal(folder, monkeypatch, **constants):
    """The message with which main() refuses to run in folder."""
    set_constants(folder, monkeypatch, **constants)
    with pytest.raises(InputError) as error:
        sequence_gan.main()
    assert "\n" not in str(error.value)
    return str(error.value)


def metrics(folder):
    """The rows of the metrics, {name: text} each."""
    with open(folder / "save/metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def without_seconds(folder):
    return [row | {"seconds": None} for row in metrics(folder)]
