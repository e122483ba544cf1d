"""Files and batches: how sequences and logs reach the disk, and how batches are made of them."""

import io
import os

import numpy as np


class InputError(ValueError):
    """What a person supplied (a file, a constant, an array) is not usable; the message says why."""


def write_file(path, data):
    """Replace the file at path by data (bytes) in one step: a reader sees all of it or none."""
    beside = f"{path}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(data)
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


def write_tokens(path, x):
    """Write sequences x, int [N, T], one a line, tokens in decimal separated by single spaces."""
    lines = (" ".join(map(str, row)) + "\n" for row in np.asarray(x).tolist())
    write_file(path, "".join(lines).encode())


def read_tokens(path, sequence_length, vocab_size):
    """Read a token file.

    Returns:
      int32 [N, T], N at least 1.

    Raises:
      InputError: missing or empty file, a line without exactly T words, a word that is no token in
        0..V-1; the message names file and line.
    """
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InputError(f"{path}: expected a token file, found: {error.strerror}") from error
    if not lines:
        raise InputError(f"{path}: expected a token file, found it empty")
    x = np.empty([len(lines), sequence_length], np.int32)
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) != sequence_length:
            raise InputError(
                f"{path}, line {number}: expected {sequence_length} tokens, found {len(words)}"
            )
        for t, word in enumerate(words):
            # bytes.isdigit admits ASCII digits alone, where int() would also take 1_0 and +1.
            if not word.isdigit() or int(word) >= vocab_size:
                raise InputError(
                    f"{path}, line {number}: expected tokens from 0 to {vocab_size - 1}, "
                    f"found {word.decode(errors='replace')!r}"
                )
            x[number - 1, t] = int(word)
    return x


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


def check_arrays(arrays, shapes):
    """Check that arrays are finite floats of the expected shapes.

    Args:
      arrays: a sequence of arrays.
      shapes: {name: shape} in the same order.

    Returns:
      float32 arrays, in a list.

    Raises:
      InputError: names the first array that is wrong, what was expected and what came.
    """
    if len(arrays) != len(shapes):
        raise InputError(
            f"expected {len(shapes)} arrays ({', '.join(shapes)}), found {len(arrays)}"
        )
    checked = []
    for number, (array, (name, shape)) in enumerate(zip(arrays, shapes.items())):
        array, what = np.asarray(array), f"array {number} ({name})"
        if array.shape != tuple(shape):
            raise InputError(f"{what}: expected shape {list(shape)}, found {list(array.shape)}")
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(f"{what}: expected floating-point numbers, found {array.dtype}")
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise InputError(f"{what}: expected finite numbers, found NaN or infinity")
        checked.append(array)
    return checked


class TextLog:
    """A text file that only grows, line by line, each on the disk when `append` returns.

    Args:
      path: the file.
      text: what of it counts, as a checkpoint recorded it; the file is brought back to that.

    Raises:
      InputError: the file differs from text before the end of either, so somebody changed it.
    """

    def __init__(self, path, text):
        self.path, self.text = path, text
        now = ""
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace", newline="") as file:
                now = file.read()
        if not now.startswith(text) and not text.startswith(now):
            lines = enumerate(zip(now.split("\n"), text.split("\n")), 1)
            number, (found, expected) = next((n, pair) for n, pair in lines if len(set(pair)) > 1)
            raise InputError(
                f"{path}, line {number}: the run had written {expected!r}, found {found!r}; "
                "move the changed file away and the run goes on with what it had written"
            )
        write_file(path, text.encode())

    def append(self, line):
        self.text += f"{line}\n"
        if not os.path.exists(self.path):  # moved away meanwhile
            return write_file(self.path, self.text.encode())
        try:
            with open(self.path, "ab") as file:
                file.write(f"{line}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(f"{self.path}: cannot be written: {error.strerror}") from error


def read_log(path):
    """Read an experiment log, ours or the published one.

    Returns:
      {"pre-training": (epochs, nlls), "adversarial training": (epochs, nlls)}, in lists.

    Raises:
      InputError: a line that is none of a log's; the message names file and line.
    """
    curves = {"pre-training": ([], []), "adversarial training": ([], [])}
    stage = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip().removesuffix("...") in curves:
                stage = curves[line.strip().removesuffix("...")]
                continue
            if not line.strip():
                continue
            try:
                epoch_word, epoch, nll_word, nll = line.split()
                if (epoch_word, nll_word) != ("epoch:", "nll:"):
                    raise ValueError
                stage[0].append(int(epoch))
                stage[1].append(float(nll))
            except (ValueError, TypeError):
                raise InputError(
                    f"{path}, line {number}: expected a stage or 'epoch: N nll: X', found {line!r}"
                ) from None
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
