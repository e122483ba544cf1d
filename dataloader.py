"""Data: a text of one's own, batches, checks, files. N = any number, T = sequence length."""

import collections
import io
import itertools
import json
import os
import shutil
import time
from pathlib import Path

import numpy as np

END, UNKNOWN = 0, 1  # numbers of the two marks that are added to the words of a text
MARKS = ["<end>", "<unknown>"]


class InputError(ValueError):
    """What a person supplied (a file, a constant, an array) is not usable; the message says why."""


class Text:
    """A text in place of the oracle: a sequence a line, blanks between its words.

    END ends a line and fills it up, UNKNOWN stands for words that are not among the vocab_size - 2
    most frequent ones. Without a test_file a tenth of the lines, drawn by the seed, is held out.
    words[k] is word k; positives and held_out are the lines, int32 [N, T]. Raises InputError.
    """

    end, bleu_orders, num_eval = END, (2, 3, 4, 5), 1000  # num_eval: sequences of an evaluation
    judge = "nll_test"  # the measure that the log holds

    def __init__(self, text_file, test_file, vocab_size, sequence_length, seed):
        lines = read_lines(text_file)
        if test_file:
            test = read_lines(test_file)
        else:
            held = np.random.default_rng(seed).permutation(len(lines)) < len(lines) / 10
            test = list(itertools.compress(lines, held))
            lines = list(itertools.compress(lines, ~held))
        counts = collections.Counter(itertools.chain.from_iterable(lines))
        self.words = MARKS + [word for word, _ in counts.most_common(vocab_size - len(MARKS))]
        self.vocab_size = len(self.words)
        self.positives = self._numbers(lines, sequence_length)
        self.held_out = self._numbers(test, sequence_length)
        self._describe(text_file, lines, len(counts))
        if not lines:
            raise InputError(f"{text_file}: expected a line for each sequence, found one line")
        if (self.positives <= UNKNOWN).all() or (self.held_out <= UNKNOWN).all():
            raise InputError(f"{test_file or text_file}: no word held out is among those to learn")

    def _numbers(self, lines, sequence_length):
        number = {word: n for n, word in enumerate(self.words)}
        x = np.full([len(lines), sequence_length], END, np.int32)
        for row, line in zip(x, lines):
            row[: len(line)] = [number.get(word, UNKNOWN) for word in line[:sequence_length]]
        return x

    def _describe(self, path, lines, distinct):
        """Print what is known of the text, and what looks wrong with it."""
        total = sum(map(len, lines))
        cut = sum(len(line) > self.positives.shape[1] for line in lines)
        unknown = np.sum(self.positives == UNKNOWN) / max(np.sum(self.positives != END), 1)
        print(f"{path}: {len(lines)} lines to learn, {len(self.held_out)} held out, {cut} cut;")
        print(f"  {total / max(len(lines), 1):.1f} words a line, {distinct} different ones")
        if self.vocab_size < distinct + len(MARKS):
            print(f"  {unknown:.1%} unknown; VOCAB_SIZE = {distinct + len(MARKS)} would know all")
        if sum(len(line) == 1 for line in lines) > len(lines) / 2:
            print("  Most lines are one word. To learn characters, put blanks between them.")
        ends = collections.Counter(line[-1] for line in lines if line[-2:-1] == line[-1:])
        for word, count in ends.most_common(1):
            if count > 0.9 * len(lines):
                print(f"  Nearly every line ends in several {word!r}: they flatter every measure.")

    def measure(self, generator, samples):
        """{name: value}: the NLL of the held-out lines by generator, in nats per token."""
        return {"nll_test": generator.nll(self.held_out, END)}


def read_lines(path):
    """The words of each line of a text in UTF-8; empty lines are left out."""
    lines = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            words = line.decode("utf-8-sig").split()
        except UnicodeDecodeError:
            raise InputError(f"{path}, line {number}: expected UTF-8, found {line!r:.60}") from None
        for mark in set(MARKS) & set(words):
            raise InputError(f"{path}, line {number}: expected no {mark}, as the program adds it")
        if words:
            lines.append(words)
    if not lines:
        raise InputError(f"{path}: expected a text, found no words in it")
    return lines


def token_text(x, words=None):
    """Sequences x, int [N, T], one a line: in decimal, or in words, each up to its first END."""
    rows = np.asarray(x).tolist()
    if words:
        rows = [[words[t] for t in itertools.takewhile(lambda t: t != END, row)] for row in rows]
    return "".join(" ".join(map(str, row)) + "\n" for row in rows)


def lengths(x, end):
    """The number of tokens before the first `end`, of each row of x [N, T]; [N]."""
    return np.sum(np.cumsum(np.asarray(x) == end, axis=1) == 0, axis=1)


def pieces(x, size):
    """Cut x [N, ...] into pieces of at most so many rows."""
    return [x[start : start + size] for start in range(0, len(x), size)]


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
        raise InputError(f"{name}: expected {what} from {least} to {most}, found {value!r:.50}")


def check_tokens(x, shape, number, what="x"):
    """x as int32; InputError unless integers from 0 to number - 1, of a shape (None: any but 0)."""
    x = np.asarray(x)
    fits = len(x.shape) == len(shape) and all(n and s in (None, n) for n, s in zip(x.shape, shape))
    if not fits or x.dtype.kind not in "iu":
        raise InputError(f"{what}: expected integers of shape {shape}, found {x.dtype} {x.shape}")
    if x.min() < 0 or x.max() >= number:
        wrong = x[(x < 0) | (x >= number)][0]
        raise InputError(f"{what}: expected integers from 0 to {number - 1}, found {wrong}")
    return x.astype(np.int32, copy=False)


def check_arrays(arrays, shapes):
    """Arrays as float32; InputError naming one that is not of finite floats of its shape."""
    if len(arrays) != len(shapes):
        raise InputError(f"expected the {len(shapes)} arrays {list(shapes)}, found {len(arrays)}")
    for array, (name, shape) in zip(arrays, shapes.items()):
        if np.shape(array) != tuple(shape):
            raise InputError(f"{name}: expected shape {tuple(shape)}, found {np.shape(array)}")
        if np.asarray(array).dtype.kind != "f" or not np.isfinite(np.float32(array)).all():
            raise InputError(f"{name}: expected finite floating-point numbers, found others")
    return [np.float32(array) for array in arrays]


def write_file(path, data):
    """Replace a file by text or bytes in one step: whatever happens, it is the old or the new."""
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        Path(beside).unlink(missing_ok=True)
        raise OSError(f"{path}: cannot be written: {error.strerror}") from error


def write_checkpoint(path, record, variables):
    """Write a record, of what JSON can hold, and the values of variables, in one step."""
    data = io.BytesIO()
    np.savez(data, json.dumps(record), *(variable.numpy() for variable in variables))
    write_file(path, data.getvalue())


def read_checkpoint(path):
    """The record and arrays of a checkpoint; ({}, []) where there is none."""
    if not os.path.exists(path):
        return {}, []
    try:
        with np.load(path) as file:
            record, *arrays = file.values()
        return json.loads(str(record)), arrays
    except Exception:  # whatever a damaged file provokes in its reader
        raise InputError(f"{path}: cannot be read; move it away to start afresh") from None


def goes_on(record, now):
    """Whether a start with the settings `now` goes on with the run of a record, or begins one;
    InputError if that run is unfinished and had other settings than a TOTAL_BATCH to come."""
    was, done = record["settings"], record["done"].get("adversarial", 0)
    changed = [name for name in was | now if was.get(name) != now.get(name)]
    if changed in ([], ["TOTAL_BATCH"]) and now["TOTAL_BATCH"] > done:
        return True  # unfinished, or made longer
    if record["finished"]:
        return False
    if not changed:
        return True  # killed between its last epoch and its end
    values = {name: f" was {was.get(name)!r}, is {now.get(name)!r}" for name in changed}
    changes = ", ".join(name + (values[name] if name.isupper() else "") for name in changed)
    what = f"the run in save/checkpoint.npz is unfinished, and this has changed since: {changes}"
    raise InputError(f"{what}; put it back to go on, or delete that file to start afresh")


def keep_aside(paths):
    """Move those files that exist from save/ to a new folder save/run-<time>, and say so."""
    paths = [path for path in paths if os.path.lexists(path)]
    if not paths:
        return
    folder = f"save/run-{time.strftime('%Y-%m-%dT%H-%M-%S')}"
    os.makedirs(folder)
    for path in paths:
        shutil.move(path, folder)
    print(f"Moved to {folder}: {', '.join(map(os.path.basename, paths))}")


def plot_metrics(rows, mle_epochs, path):
    """Draw what evaluations measured, of the metrics [{name: value}]: NLLs and, below, BLEU."""
    from matplotlib.figure import Figure  # its import takes a second, and a run can do without

    rows = [row for row in rows if "nll_test" in row]
    x = [row["epoch"] + mle_epochs * (row["stage"] == "adversarial") for row in rows]
    figure = Figure(figsize=(7, 7), layout="constrained")
    for panel, kind in zip(figure.subplots(2, sharex=True), ("nll", "bleu")):
        for name in [name for name in rows[0] if kind in name]:
            panel.plot(x, [row[name] for row in rows], ".-", label=name)
        panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        panel.axvline(mle_epochs, color="gray", linestyle="--")
        panel.set(xlabel="epoch: MLE, then adversarial training", ylabel=kind.upper())
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_file(path, data.getvalue())
