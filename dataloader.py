"""Files and batches: how sequences and logs reach the disk, and how batches are made of them."""

import contextlib
import hashlib
import io
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout


class InputError(ValueError):
    """What a person supplied (a file, a constant, an array) is not usable; the message says why."""


@contextlib.contextmanager
def muted_stderr():
    """Drop what is written to standard error meanwhile, by C++ code, too."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def lock(path):
    """Hold the file at path until the process ends, however it does; InputError if another does."""
    held = FileLock(path)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is under way in this folder (it holds {path})") from None
    return held


def read_text(path):
    """The text of a file, as far as it is UTF-8; "" where there is none."""
    return Path(path).read_bytes().decode(errors="replace") if os.path.exists(path) else ""


def digest(path):
    """The first 16 digits of a file's SHA-256."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def is_plain_file(path):
    """Whether there is a file; raises InputError if something else is there, such as a link."""
    plain = os.path.isfile(path) and not os.path.islink(path)
    if os.path.lexists(path) and not plain:
        raise InputError(f"{path}: expected a plain file or nothing, found something else")
    return plain


def write_file(path, data):
    """Replace the file at path by data, text or bytes, in one step: a reader sees all or nothing.

    Raises:
      OSError: it cannot be written; the message names the path.
    """
    beside = f"{path}.tmp"
    is_plain_file(path)
    try:
        with open(beside, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        if os.path.exists(beside):
            os.remove(beside)
        raise OSError(f"{path}: cannot be written: {error.strerror}") from error


def flush_to_disk(*paths):
    """Have the system write these files and folders now, lest a power cut loses them."""
    for path in paths:
        if os.path.isdir(path) and os.name == "nt":
            continue  # Windows flushes no folders
        file = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
        os.fsync(file)
        os.close(file)


def keep_aside(paths, ended=None):
    """Move files of save/ that are in the way into save/run-<time>, by when their run ended.

    Raises:
      InputError: what is in the way is not a plain file; nothing is moved then.
    """
    paths = [path for path in paths if is_plain_file(path)]
    if not paths:
        return
    newest = time.localtime(max(map(os.path.getmtime, paths)))
    folder = f"save/run-{ended or time.strftime('%Y-%m-%dT%H-%M-%S', newest)}"
    while any(os.path.exists(path.replace("save", folder, 1)) for path in paths):
        folder += "-too"
    for path in paths:
        target = path.replace("save", folder, 1)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.move(path, target)
    print(f"Kept in {folder}: {', '.join(map(os.path.basename, paths))}")


def token_text(x):
    """Sequences x, int [N, T], one a line, tokens in decimal separated by single spaces."""
    return "".join(" ".join(map(str, row)) + "\n" for row in np.asarray(x).tolist())


def batches(x, batch_size):
    """Cut x [N, ...] in order into [N // batch_size, batch_size, ...]; the remainder is dropped."""
    n = len(x) // batch_size
    return x[: n * batch_size].reshape(n, batch_size, *x.shape[1:])


def labelled_batches(positives, negatives, batch_size, rng):
    """Join real sequences (label 1) with generated ones (label 0) and shuffle them once.

    Args:
      positives, negatives: int32 [N, T] each, of any lengths.
      rng: numpy.random.Generator.

    Returns:
      x int32 [n, batch_size, T] and y int32 [n, batch_size].
    """
    x = np.concatenate([positives, negatives])
    y = np.repeat(np.int32([1, 0]), [len(positives), len(negatives)])
    order = rng.permutation(len(x))
    return batches(x[order], batch_size), batches(y[order], batch_size)


def check_number(name, value, least, most, kinds=(int,)):
    """Raise InputError naming the number unless it is of one of the kinds and within bounds."""
    if type(value) not in kinds or not least <= value <= most:
        what = "a number" if float in kinds else "a whole number"
        raise InputError(f"{name}: expected {what} from {least} to {most}, found {value!r:.100}")


def check_tokens(x, shape, number, what="x"):
    """int32 array of tokens; raises InputError unless x is whole numbers from 0 to number - 1.

    Args:
      x: array-like.
      shape: that it must have; None stands for any length above 0.
      number: V of tokens, 2 of labels.
      what: its name in the message.
    """
    x = np.asarray(x)
    fits = len(x.shape) == len(shape) and all(n and s in (None, n) for n, s in zip(x.shape, shape))
    if not fits or x.dtype.kind not in "iu":
        raise InputError(f"{what}: expected integers {shape}, found {x.dtype} {x.shape}")
    if x.min() < 0 or x.max() >= number:
        wrong = x[(x < 0) | (x >= number)][0]
        raise InputError(f"{what}: expected integers from 0 to {number - 1}, found {wrong}")
    return x.astype(np.int32)


def check_array(array, shape, what):
    """A float32 array; raises InputError naming `what` unless it is finite floats of that shape."""
    array = np.asarray(array)
    if array.shape != tuple(shape):
        raise InputError(f"{what}: expected shape {list(shape)}, found {list(array.shape)}")
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{what}: expected floating-point numbers, found {array.dtype}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{what}: expected finite numbers, found NaN or infinity")
    return array


def check_arrays(arrays, shapes):
    """Arrays as check_array gives them, checked against {name: shape} in the same order."""
    if len(arrays) != len(shapes):
        names = ", ".join(shapes)
        raise InputError(f"expected {len(shapes)} arrays ({names}), found {len(arrays)}")
    rows = enumerate(zip(arrays, shapes.items()))
    return [check_array(a, shape, f"array {n} ({name})") for n, (a, (name, shape)) in rows]


class TextLog:
    """A text file that only grows, line by line, each on the disk when `append` returns.

    Args:
      path: the file; if it holds anything else than text, less or more of it, it is kept aside.
      text: what of it counts, and what it is brought back to.
    """

    def __init__(self, path, text):
        self.path, self.text = path, text
        now = read_text(path)
        if not (now.startswith(text) or text.startswith(now)):
            keep_aside([path])
        write_file(path, text)

    def append(self, line):
        self.text += f"{line}\n"
        if not os.path.exists(self.path):  # moved away meanwhile
            return write_file(self.path, self.text)
        try:
            with open(self.path, "ab") as file:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(f"{self.path}: cannot be written: {error.strerror}") from error


def read_log(path):
    """Read an experiment log, ours or the published one; InputError names a line that is none.

    Returns:
      {"pre-training": (epochs, nlls), "adversarial training": (epochs, nlls)}, in lists.
    """
    curves, stage = {"pre-training": ([], []), "adversarial training": ([], [])}, None
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            heading = line.strip().removesuffix("...")
            entry = re.fullmatch(r"epoch:\s+(\d+)\s+nll:\s+(\d+\.?\d*)\s*", line)
            if heading in curves:
                stage = curves[heading]
            elif entry and stage:
                stage[0].append(int(entry[1]))
                stage[1].append(float(entry[2]))
            elif heading:
                raise InputError(f"{path}, line {number}: expected a log's line, found {line!r}")
    return curves


def plot_learning_curves(logs, picture):
    """Draw oracle NLL over epochs, MLE and then adversarial training, as in the paper's Figure 2.

    Args:
      logs: {label: path of an experiment log}, any number of them.
      picture: path of the PNG, replaced in one step.
    """
    from matplotlib.figure import Figure  # its import takes a second, and a run can do without

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for label, path in logs.items():
        (mle_epochs, mle), (epochs, nlls) = read_log(path).values()
        # A log names no number of MLE epochs: the stage ends one interval after its last line.
        interval = mle_epochs[1] - mle_epochs[0] if len(mle_epochs) > 1 else 1
        end = mle_epochs[-1] + interval if mle_epochs else 0
        x = mle_epochs + [end + epoch for epoch in epochs]
        axes.plot(x, mle + nlls, label=label, marker=".", linewidth=1.5)
        if epochs and mle_epochs:
            axes.axvline(end, color="gray", linestyle="--", linewidth=1)
    axes.set_xlabel("epoch (MLE, then adversarial training right of the dashed line)")
    axes.set_ylabel("NLL under the oracle (nats per token)")
    axes.grid(alpha=0.3)
    if len(logs) > 1:
        axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_file(picture, data.getvalue())
