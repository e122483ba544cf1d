"""A small experiment as a user makes one: a copy of the program, constants edited, an oracle."""

import contextlib
import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import reference
from controls import EXPERIMENT

import sequence_gan

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8").splitlines()
SMALL = EXPERIMENT | {  # a run takes seconds
    "TARGET_FILE": "save/target_params.npz",
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
    sizes = (constants[name] for name in ("VOCAB_SIZE", "EMB_DIM", "HIDDEN_DIM"))
    np.savez(folder / "save/target_params.npz", *reference.lstm_params(*sizes))
    return folder


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


def start(folder, *command, **options):
    """Start `python sequence_gan.py`, or another command of Python, in folder."""
    options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, *(command or ["sequence_gan.py"])]
    return subprocess.Popen(command, cwd=folder, **options)


def run(folder, *command, code=0, **options):
    """Run it to its end; what it wrote on its two outputs."""
    process = start(folder, *command, **options)
    out, err = process.communicate()
    assert process.returncode == code, err
    return out, err


def run_until(evaluations, folder, *command, **options):
    """Start it and return the process as soon as its log has so many NLLs, or it has ended."""
    process = start(folder, *command, **options)
    while log(folder).count("nll") < evaluations and process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.002)
    return process


def log(folder):
    path = folder / "save/experiment-log.txt"
    return path.read_text() if path.exists() else ""


def outputs(folder):
    """What a run leaves that is the same for the same seed: {name: bytes, or rows}."""
    names = "experiment-log.txt real_data.txt generator_sample.txt eval_file.txt generator.npz "
    names += "generator-best.npz"
    paths = [folder / "save" / name for name in [*names.split(), "vocabulary.txt"]]
    rows = [row | {"seconds": None} for row in metrics(folder)]
    return {path.name: path.read_bytes() for path in paths if path.exists()} | {"rows": rows}


def set_constants(folder, monkeypatch, **constants):
    """Let main() run in folder with these constants; in this process, which is quicker."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sequence_gan, "draw_metrics", lambda rows: None)
    for name, value in (SMALL | constants).items():
        monkeypatch.setattr(sequence_gan, name, value)


def assert_refused(message, folder, monkeypatch, **constants):
    """Assert that main() refuses to run in folder, in one line that begins with the message."""
    set_constants(folder, monkeypatch, **constants)
    reference.assert_refused(sequence_gan.main, message)


def metrics(folder):
    """The rows of the metrics, {name: text} each."""
    with open(folder / "save/metrics.csv", newline="") as file:
        return list(csv.DictReader(file))
