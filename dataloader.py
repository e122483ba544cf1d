"""Files and batches: how sequences and logs reach the disk, and how batches are made of them."""

import collections
import contextlib
import csv
import hashlib
import io
import itertools
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

END, UNKNOWN = 0, 1  # the number that ends a line of a text, and that of every unknown word


LINES = r"[a-z-]+( training)?\.\.\.\n|epoch:\t\d+\tnll:\t[\d.e+]+\n|[a-z]+,\d+,[\d.e+,-]*\n"
OWN = re.compile(rf"({LINES})*[^\n]*")  # what a kill leaves behind the lines of the last save


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
    """The text of a file, what is not UTF-8 replaced; "" where there is none."""
    return Path(path).read_bytes().decode(errors="replace") if os.path.exists(path) else ""


def digest(path):
    """The SHA-256 of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def is_plain_file(path):
    """Whether there is a file; raises InputError if something else is there, such as a link."""
    plain = os.path.isfile(path) and not os.path.islink(path)
    if os.path.lexists(path) and not plain:
        raise InputError(f"{path}: expected a plain file or nothing, found something else")
    return plain


def put(path, data, mode="wb"):
    """Write bytes to a file, through to the disk; an OSError names the file."""
    try:
        with open(path, mode) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(f"{path}: cannot be written: {error.strerror}") from error


def write_file(path, data):
    """Replace the file at path by text or bytes in one step: a reader sees all of it or none."""
    is_plain_file(path)
    beside = f"{path}.{os.getpid()}.tmp"
    try:
        put(beside, data.encode() if isinstance(data, str) else data, "xb")
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)


def flush_to_disk(*paths):
    """Have the system write these files and folders now, lest a power cut loses them."""
    for path in paths:
        if os.path.isdir(path) and os.name == "nt":
            continue  # Windows flushes no folders
        file = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
        os.fsync(file)
        os.close(file)


def keep_aside(paths, ended=None):
    """Move files of save/ that are in the way into save/run-<time>, by when their run ended."""
    paths = [path for path in paths if is_plain_file(path)]
    if not paths:
        return
    folder = f"save/run-{ended or time.strftime('%Y-%m-%dT%H-%M-%S')}"
    while any(os.path.exists(path.replace("save", folder, 1)) for path in paths):
        folder += "-too"
    for path in paths:
        target = path.replace("save", folder, 1)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.move(path, target)
    print(f"Kept in {folder}: {', '.join(map(os.path.basename, paths))}")


def bring_back(path, text):
    """Have a file hold text; what it held, if not less of it or further lines of a run, is kept."""
    now = read_text(path)
    if not text.startswith(now) and not (now.startswith(text) and OWN.fullmatch(now[len(text) :])):
        keep_aside([path])
    write_file(path, text)


def append_line(path, text):
    """Write the last line of a text, of which the lines before it are in the file already."""
    if not os.path.exists(path):  # moved away meanwhile
        return write_file(path, text)
    put(path, text.encode().splitlines(keepends=True)[-1], "ab")


def lengths(x, end):
    """The number of tokens before the first `end`, of each row of x [N, T]; [N]."""
    return np.sum(np.cumsum(np.asarray(x) == end, 1) == 0, 1)


def token_text(x, words=None):
    """Sequences x, int [N, T], one a line, tokens in decimal; or in words, up to the first END."""
    rows = np.asarray(x).tolist()
    if words:
        rows = [[words[t] for t in itertools.takewhile(lambda t: t != END, row)] for row in rows]
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def read_words(path):
    """The words of each line of a text, empty ones left out, and how many these are."""
    lines = Path(path).read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            lines[number - 1] = line.decode("utf-8-sig").split()
        except UnicodeDecodeError:
            raise InputError(f"{path}, line {number}: expected UTF-8, found {line!r:.60}") from None
    if not any(lines):
        raise InputError(f"{path}: expected a text, found no words in it")
    return [line for line in lines if line], lines.count([])


def read_corpus(text_file, test_file, vocab_size, length, rng):
    """A text: its words by number, its lines and held-out lines (a tenth, drawn by rng, without a
    test_file) as int32 [N, length]. END ends a line and fills it up."""
    lines, empty = read_words(text_file)
    if test_file:
        test, _ = read_words(test_file)
    else:
        held = rng.permutation(len(lines)) < len(lines) / 10
        lines, test = ([lines[n] for n in np.flatnonzero(part)] for part in (~held, held))
    counts = collections.Counter(itertools.chain.from_iterable(lines))
    words = ["<end>", "<unknown>"]
    words += [word for word, _ in counts.most_common() if word not in words][: vocab_size - 2]
    number = {word: n for n, word in enumerate(words) if n != END}
    x, held_out = (np.full([len(part), length], END, np.int32) for part in (lines, test))
    for row, line in zip((*x, *held_out), lines + test):
        row[: len(line)] = [number.get(word, UNKNOWN) for word in line[:length]]
    if not lines or (held_out <= UNKNOWN).all():
        raise InputError(f"{test_file or text_file}: expected held-out lines that share words")
    cut, unknown = sum(len(line) > length for line in lines), np.mean(x[x != END] == UNKNOWN)
    print(
        f"{text_file}: {len(lines)} lines to learn, {len(test)} held out, {empty} empty, {cut} cut"
    )
    print(f"  to {length} words; {len(words) - 2} words known, {unknown:.1%} of all are unknown")
    return words, x, held_out


def batches(x, batch_size):
    """Cut x [N, ...] in order into [N // batch_size, batch_size, ...]; the remainder is dropped."""
    n = len(x) // batch_size
    return x[: n * batch_size].reshape(n, batch_size, *x.shape[1:])


def labelled_batches(positives, negatives, batch_size, rng):
    """Real sequences (label 1) and generated ones (0), int32 [N, T] each, shuffled once by rng:
    x int32 [n, batch_size, T] and y int32 [n, batch_size]."""
    x = np.concatenate([positives, negatives])
    y = np.repeat(np.int32([1, 0]), [len(positives), len(negatives)])
    order = rng.permutation(len(x))
    return batches(x[order], batch_size), batches(y[order], batch_size)


def check_number(name, value, least, most, kinds=(int,)):
    """Raise InputError naming the number unless it is of one of the kinds and within bounds."""
    if type(value) not in kinds or not least <= value <= most:
        what = "a number" if float in kinds else "a whole number"
        found = "a huge one" if type(value) is int and abs(value) >> 999 else f"{value!r:.100}"
        raise InputError(f"{name}: expected {what} from {least} to {most}, found {found}")


def check_tokens(x, shape, number, what="x"):
    """x as int32; InputError unless integers from 0 to number - 1 of a shape (None: any length)."""
    x = np.asarray(x)
    fits = len(x.shape) == len(shape) and all(n and s in (None, n) for n, s in zip(x.shape, shape))
    if not fits or x.dtype.kind not in "iu":
        raise InputError(f"{what}: expected integers {shape}, found {x.dtype} {x.shape}")
    if x.min() < 0 or x.max() >= number:
        wrong = x[(x < 0) | (x >= number)][0]
        raise InputError(f"{what}: expected integers from 0 to {number - 1}, found {wrong}")
    return x.astype(np.int32, copy=False)


def check_array(array, shape, what):
    """A float32 array; raises InputError naming `what` unless it is finite floats of that shape."""
    array = np.asarray(array)
    if array.shape != tuple(shape):
        raise InputError(f"{what}: expected shape {list(shape)}, found {list(array.shape)}")
    if array.dtype.kind != "f":
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


def read_log(path):
    """{"pre-training": (epochs, NLLs), "adversarial training": (epochs, NLLs)} of a log."""
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


def plot_learning_curves(logs, picture, metrics=None):
    """Draw logs, {label: path}, as in the paper's Figure 2; below them BLEU, if metrics has any."""
    from matplotlib.figure import Figure  # its import takes a second, and a run can do without

    rows = csv.DictReader(read_text(metrics).splitlines() if metrics else [])
    rows = [row for row in rows if row["bleu_2"]]
    figure = Figure(figsize=(7, 7 if rows else 4.2), layout="constrained")
    panels = figure.subplots(2 if rows else 1, sharex=True, squeeze=False)[:, 0]
    for label, path in logs.items():
        (mle_epochs, mle), (epochs, nlls) = read_log(path).values()
        # A log names no number of MLE epochs: the stage ends one interval after its last line.
        interval = mle_epochs[1] - mle_epochs[0] if len(mle_epochs) > 1 else 1
        end = mle_epochs[-1] + interval if mle_epochs else 0
        x = mle_epochs + [end + epoch for epoch in epochs]
        panels[0].plot(x, mle + nlls, label=label, marker=".", linewidth=1.5)
        if epochs and mle_epochs:
            panels[0].axvline(end, color="gray", linestyle="--", linewidth=1)
    for name in [name for name in (rows and rows[0]) if "bleu" in name]:
        y, style = [float(row[name]) for row in rows], ":" if "self" in name else "-"
        panels[1].plot(x[: len(y)], y, style, color=f"C{name[-1]}", label=name)
        panels[1].set_ylabel("BLEU of samples")
    panels[0].set_ylabel("NLL of held-out lines" if rows else "NLL under the oracle")
    panels[-1].set_xlabel("epoch (MLE, then adversarial training); NLL in nats per token")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small", ncol=2)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_file(picture, data.getvalue())
