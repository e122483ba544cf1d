"""SeqGAN on synthetic data, or on a text: the experiment of Yu, Zhang, Wang, Yu (AAAI-17).

Edit the constants, run `python sequence_gan.py`, read save/experiment-log.txt.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from dataloader import (  # It sets environment variables that TensorFlow reads on import.
    Bleu,
    DivergenceError,
    InputError,
    Text,
    WriteError,
    check_numbers,
    labelled_batches,
    pieces,
    prefixed,
    token_text,
    write_file,
)

if __name__ == "__main__":
    print("SeqGAN: loading TensorFlow ...", flush=True)

import tensorflow as tf

from discriminator import Discriminator, check_discriminator
from generator import Generator, load
from rollout import Rollout
from target_lstm import Oracle

tf.get_logger().setLevel("ERROR")  # no warnings about retracing
# CONSTANTS, below, are the upper-case names from here on. In a notebook those of a run before are
# here already, and count.
imported = set(globals()) - set(globals().get("CONSTANTS", ()))

# Generator and oracle
EMB_DIM = 32  # embedding size
HIDDEN_DIM = 32  # LSTM state size
SEQ_LENGTH = 20  # tokens in a sequence
START_TOKEN = 0  # first input of the LSTM; not part of a sequence
VOCAB_SIZE = 5000  # tokens are 0..VOCAB_SIZE - 1; with a new text, at most so many
PRE_EPOCH_NUM = 120  # epochs of maximum likelihood (MLE) pre-training
GEN_LEARNING_RATE = 0.01  # of Adam in MLE
GEN_ADVERSARIAL_LEARNING_RATE = None  # of Adam in adversarial training; None: the same
GEN_GRAD_CLIP = 5.0  # global norm to which the generator's gradients are clipped
SEED = 88  # of everything random in a run
BATCH_SIZE = 64  # sequences a generator step

# Discriminator
DIS_EMBEDDING_DIM = 64
DIS_FILTER_SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20]  # widths of the convolutions
DIS_NUM_FILTERS = [100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160]  # of each width
DIS_DROPOUT_KEEP_PROB = 0.75
DIS_L2_REG_LAMBDA = 0.2  # penalty on the output layer
DIS_LEARNING_RATE = 1e-4  # of Adam; small experiments need more
DIS_BATCH_SIZE = 64  # sequences a discriminator step, real and generated
DIS_PRETRAIN_ROUNDS = 50  # sets of negatives in pre-training
DIS_EPOCHS = 3  # epochs over each set of negatives; k in the paper

# Adversarial training
TOTAL_BATCH = 200  # adversarial epochs
G_STEPS = 1  # generator steps an epoch
D_STEPS = 5  # sets of negatives an epoch
ROLLOUT_NUM = 16  # completions of every prefix; N in the paper
ROLLOUT_UPDATE_RATE = 0.0  # 0: rollouts by the present generator, as published; see rollout.py
# Sequences that the oracle draws, and negatives in a set; rounded down to whole batches. A text
# has at most its lines in a set.
GENERATED_NUM = 10000
EVAL_EVERY = 5  # epochs between evaluations

TARGET_FILE = "save/target_params.npz"  # the oracle; the authors' pickle can be named here
TEXT_FILE = None  # a text in place of the oracle: a sequence a line, blanks between its tokens
TEST_FILE = None  # the held-out lines of the text; None: a tenth of TEXT_FILE
INITIAL_GENERATOR = None  # a copy of a run's generator.npz to begin from; None: random weights

CONSTANTS = [name for name in globals() if name.isupper() and name not in imported]

LOG_FILE = "save/experiment-log.txt"
METRICS_FILE = "save/metrics.csv"
PICTURE_FILE = "save/learning-curve.png"
SETTINGS_FILE = "save/settings.json"  # the constants of the run, and hashes of its files
POSITIVE_FILE = "save/real_data.txt"  # the sequences to learn from
VOCABULARY_FILE = "save/vocabulary.txt"  # of a text: line number k is word number k, from 0
NEGATIVE_FILE = "save/generator_sample.txt"  # the latest set of negatives
EVAL_FILE = "save/eval_file.txt"  # the sequences of the latest evaluation
GENERATOR_FILE = "save/generator.npz"  # the generator, of the latest evaluation or the end
BEST_FILE = "save/generator-best.npz"  # the generator, of the evaluation of the lowest test NLL
CHECKPOINT_FILE = "save/checkpoint.npz"  # what an interrupted run is resumed from
LOCK_FILE = "save/.lock"
OUTPUTS = [
    LOG_FILE,
    METRICS_FILE,
    PICTURE_FILE,
    SETTINGS_FILE,
    POSITIVE_FILE,
    VOCABULARY_FILE,
    NEGATIVE_FILE,
    EVAL_FILE,
    GENERATOR_FILE,
    BEST_FILE,
    CHECKPOINT_FILE,
]

STEPS_A_CALL = 26  # discriminator steps a call, two seconds on two cores: Ctrl-C waits for it
ACCURACY_BATCHES = 20  # batches of a set on which dis_accuracy is measured
SAVE_EVERY = 60  # seconds, at least, between two checkpoints of a stage
BAR = {"disable": None, "dynamic_ncols": True}  # progress bars; None: only in a terminal


def main():
    """Check the constants, make the data and the models, and train them: one run."""
    now = settings()
    seeds = make_seeds(SEED)
    record, _ = read_checkpoint()
    resuming = resumes(record, now)
    initial = words = None
    if resuming:
        words = record["words"]
    elif INITIAL_GENERATOR is not None:
        check_file("INITIAL_GENERATOR")
        initial = load(INITIAL_GENERATOR)
        words = initial.words
    data = make_data(now, words)

    with prefixed("the generator, GEN_..."):
        generator = Generator(
            vocab_size=data.vocab_size,
            emb_dim=EMB_DIM,
            hidden_dim=HIDDEN_DIM,
            sequence_length=SEQ_LENGTH,
            start_token=START_TOKEN,
            words=data.words,
            learning_rate=GEN_LEARNING_RATE,
            adversarial_learning_rate=GEN_ADVERSARIAL_LEARNING_RATE,
            grad_clip=GEN_GRAD_CLIP,
            seed=seeds["generator"],
        )
    if initial:
        with prefixed(INITIAL_GENERATOR):
            generator.take_weights(initial)
    with prefixed("the rollout policy, ROLLOUT_..."):
        rollout = Rollout(generator, update_rate=ROLLOUT_UPDATE_RATE)
    with prefixed("the discriminator, DIS_..."):
        discriminator = Discriminator(
            sequence_length=SEQ_LENGTH,
            vocab_size=data.vocab_size,
            embedding_dim=DIS_EMBEDDING_DIM,
            filter_sizes=DIS_FILTER_SIZES,
            num_filters=DIS_NUM_FILTERS,
            dropout_keep_prob=DIS_DROPOUT_KEEP_PROB,
            l2_reg_lambda=DIS_L2_REG_LAMBDA,
            learning_rate=DIS_LEARNING_RATE,
            seed=seeds["discriminator"],
        )
    num_in_set(data)  # InputError if a batch is larger than a set
    check_discriminator(discriminator, data.positives[:4])

    with locked(LOCK_FILE):  # one run at a time in a folder
        models = {"generator": generator, "discriminator": discriminator, "rollout": rollout}
        run = Run(now, data, models, resuming)
        try:
            train(run, data, generator, discriminator, rollout, seeds)
        except KeyboardInterrupt:
            print("\nStopped: the same command resumes it, at most a minute and an epoch before")
            raise
        generator.save(GENERATOR_FILE)
        run.save(finished=True)
    print(f"Done. The generator is in {GENERATOR_FILE}")
    best = run.best()
    if best:
        where = f"{best['stage']} epoch {best['epoch']}"
        print(f"That of the lowest test NLL, {best['nll_test']}, of {where}, is in {BEST_FILE}")


def train(run, data, generator, discriminator, rollout, seeds):
    """SeqGAN, Algorithm 1 of the paper, in the three loops below."""
    num_negatives = num_in_set(data)
    bleu = Bleu(data.held_out, max(data.bleu_orders), data.end)

    def evaluate(stage, epoch):
        """Measure the generator; a metric is added here. Its draws do not change the run."""
        # No two evaluations share a seed: those of adversarial training have odd ones.
        seed = 2**32 * seeds["evaluation"] + 2 * epoch + int(stage == "adversarial")
        with generator.drawing_by(seed):
            samples = generator.sample(data.num_eval).numpy()
            values = data.measure(generator, samples)
        some = samples[:1000]  # BLEU takes long
        scores = bleu.orders(some)
        self_scores = Bleu(some, bleu.n, data.end).orders(some, among_references=True)
        for n in data.bleu_orders:
            values[f"bleu_{n}"] = np.mean(scores[:, n - 1])
            values[f"self_bleu_{n}"] = np.mean(self_scores[:, n - 1])
        row = run.measure(stage, epoch, **values)
        write_file(EVAL_FILE, token_text(samples, data.words))
        generator.save(GENERATOR_FILE)
        if run.best() is row:
            generator.save(BEST_FILE)
        run.log(f"epoch:\t{epoch}\tnll:\t{values[data.logged]:g}")
        if data.words:
            tqdm.write(f"sample:\t{token_text(samples[:1], data.words).strip()}")

    def train_discriminator(stage, epoch, index):
        """Train for DIS_EPOCHS epochs on set number `index` of fresh negatives (paper, eq. 5)."""
        negatives = generator.sample(num_negatives).numpy()
        write_file(NEGATIVE_FILE, token_text(negatives, data.words))
        rng = np.random.default_rng([seeds["sets"], index])
        real = rng.choice(data.positives, num_negatives, replace=False)
        x, y = labelled_batches(real, negatives, DIS_BATCH_SIZE, rng)
        for _ in range(DIS_EPOCHS):
            losses = []
            for start in tqdm(range(0, len(x), STEPS_A_CALL), leave=False, **BAR):
                batches = slice(start, start + STEPS_A_CALL)
                losses.extend(np.asarray(discriminator.train_steps(x[batches], y[batches])))

        learned = x[:ACCURACY_BATCHES].reshape(-1, SEQ_LENGTH)
        num = min(len(learned) // 2, len(data.held_out))
        unseen = rng.choice(data.held_out, num, replace=False)
        with generator.drawing_by(2**32 * seeds["accuracy"] + index):
            generated = generator.sample(num).numpy()
        on_learned = accuracy(learned, y[:ACCURACY_BATCHES].ravel())
        on_unseen = accuracy(np.concatenate([unseen, generated]), np.repeat([1, 0], num))
        run.measure(
            stage,
            epoch,
            dis_loss=np.mean(losses),  # of the last epoch
            dis_accuracy=on_learned,
            dis_accuracy_unseen=on_unseen,
        )

    def accuracy(x, y):
        """The share of the sequences x [N, T] that the discriminator labels as y [N] does."""
        return np.mean((np.asarray(discriminator.prob_real(x)) > 0.5) == y)

    for epoch in run.epochs("mle", PRE_EPOCH_NUM, "pre-training..."):
        losses = []
        for x in tqdm(pieces(data.positives, BATCH_SIZE), leave=False, **BAR):
            losses.append(generator.pretrain_step(x))
        run.measure("mle", epoch, mle_loss=np.mean(losses))
        if epoch % EVAL_EVERY == 0:
            evaluate("mle", epoch)

    for index in run.epochs("discriminator", DIS_PRETRAIN_ROUNDS):
        train_discriminator("discriminator", index, index)

    for epoch in run.epochs("adversarial", TOTAL_BATCH, "adversarial training..."):
        if epoch == 0:
            rollout.reset()
        for _ in range(G_STEPS):
            samples = generator.sample(BATCH_SIZE)
            rewards = rollout.get_reward(samples, ROLLOUT_NUM, discriminator.prob_real)
            loss = generator.reinforce_step(samples, rewards)
        reward_mean = np.average(rewards, weights=generator.counted(samples))
        run.measure("adversarial", epoch, pg_loss=loss, reward_mean=reward_mean)
        if epoch % EVAL_EVERY == 0 or epoch == TOTAL_BATCH - 1:
            evaluate("adversarial", epoch)
        rollout.update_params()
        for step in range(D_STEPS):
            index = DIS_PRETRAIN_ROUNDS + epoch * D_STEPS + step
            train_discriminator("adversarial", epoch, index)


# --------------------------------------------------------------------------------------------------
# The algorithm ends here. What follows makes its data, checks and keeps a run, and shows it.


def make_seeds(seed):
    """{name: seed} of all that is random in a run."""
    names = "data", "generator", "discriminator", "sets", "evaluation", "accuracy"
    return dict(zip(names, np.random.SeedSequence(seed).generate_state(len(names)).tolist()))


def whole_batches(num, batch_size):
    """The largest number of sequences, at most num, that makes whole batches."""
    return num // batch_size * batch_size


def make_data(constants, words=None):
    """The data of a run with these constants, {name: value}: a Text, or else an Oracle.

    words: of a text, in place of its most frequent ones. What the driver asks of data:

      vocab_size, words: V, and the words of a text, None with an oracle
      end: the number that ends a sequence; None where all are of one length
      positives, held_out: real sequences to learn from, and unseen ones, int32 [N, T] each
      num_eval: how many sequences the generator draws for an evaluation
      measure(generator, samples): {name: value} of an evaluation; logged: the name for the log
      bleu_orders: which BLEU an evaluation has
      nll_of_random_tokens: nats per token; ten times as much means divergence
    """
    seed = make_seeds(constants["SEED"])["data"]
    if constants["TEXT_FILE"]:
        return Text(
            constants["TEXT_FILE"],
            constants["TEST_FILE"],
            vocab_size=constants["VOCAB_SIZE"],
            sequence_length=constants["SEQ_LENGTH"],
            seed=seed,
            words=words,
        )
    return Oracle(
        constants["TARGET_FILE"],
        sizes=(constants["VOCAB_SIZE"], constants["EMB_DIM"], constants["HIDDEN_DIM"]),
        sequence_length=constants["SEQ_LENGTH"],
        start_token=constants["START_TOKEN"],
        num=whole_batches(constants["GENERATED_NUM"], constants["BATCH_SIZE"]),
        seed=seed,
    )


@contextlib.contextmanager
def locked(path):
    """Hold the lock of a file; OSError if another run has it, or if files cannot be locked."""
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OSError(f"another run is under way in this folder ({path})") from None
    except (OSError, NotImplementedError) as error:
        what = "expected to lock it, which keeps out a second run in this folder"
        raise OSError(f"{path}: {what}, found: {error}; some disks have no locks") from None
    try:
        yield
    finally:
        lock.release()


class Run:
    """One run of the experiment: how far it is, on the disk and on the screen."""

    def __init__(self, now, data, models, resuming=False):
        """Resume the run in save/, or begin one; `now` are its settings."""
        self.bar = tqdm(disable=True)  # outside of the stages
        self.most = 10 * data.nll_of_random_tokens  # an NLL above it means divergence
        self.variables = {}
        for model_name, model in models.items():
            self.variables |= {f"{model_name}/{name}": v for name, v in model.state().items()}
        record, arrays = read_checkpoint()
        if resuming != resumes(record, now):
            raise InputError(f"{CHECKPOINT_FILE}: another run has just written it; start again")
        best = arrays.pop("best", None)
        if resuming:
            values = {name: variable.numpy() for name, variable in self.variables.items()}
            if kinds(values) != kinds(arrays):
                raise InputError(f"{CHECKPOINT_FILE}: expected the state of these models")
            for name, variable in self.variables.items():
                variable.assign(arrays[name])
            if best is not None:  # the file may be of an evaluation after the checkpoint
                write_file(BEST_FILE, best.tobytes())
            # The file of INITIAL_GENERATOR may be gone; the record knows what it was.
            now = now | {INITIAL_CONTENT: record["settings"].get(INITIAL_CONTENT)}
        else:
            keep_aside()
            record = {"done": {}, "log": "", "rows": [], "seconds": 0.0, "words": data.words}
        self.record = record | {"settings": now}
        self.rows = self.record["rows"]
        # Of a finished run nothing but adversarial training goes on.
        self.over = set(record["done"]) - {"adversarial"} if record.get("finished") else set()
        self.started = time.monotonic() - record["seconds"]
        self.save()
        write_file(SETTINGS_FILE, json.dumps(now, indent=1) + "\n")
        write_file(POSITIVE_FILE, token_text(data.positives, data.words))
        if data.words:
            write_file(VOCABULARY_FILE, "\n".join([*data.words, ""]))
        # Log and metrics as they were at the checkpoint: what came after it is done again.
        write_file(LOG_FILE, record["log"])
        if self.rows:
            self.write_metrics()
        done = ", ".join(f"{stage} {number}" for stage, number in record["done"].items() if number)
        state = f"resumed after {done or 'its beginning'}" if resuming else "a new run"
        gpus = len(tf.config.list_physical_devices("GPU"))
        print(f"SeqGAN, {state}, on {gpus} GPUs. Ctrl-C stops it, the same command resumes it.")

    def epochs(self, stage, number, heading=None):
        """The epochs of a stage that are not done yet. A stage is over when the next one begins or
        the run ends, even if its loop was left by `break`."""
        done = self.record["done"]
        later = stage in done and stage != list(done)[-1]  # than this stage another one has begun
        if number == 0 or later or stage in self.over:
            return
        if stage not in done:
            if heading:
                self.log(heading)
            done[stage] = 0
            self.save()
        self.bar = tqdm(desc=stage, total=number, initial=done[stage], unit="epoch", **BAR)
        with self.bar:
            for epoch in range(done[stage], number):
                done[stage] = epoch + 1  # before the loop's body, as that may end by `break`
                yield epoch
                if time.monotonic() - self.saved >= SAVE_EVERY:
                    self.save()
                self.bar.update()

    def measure(self, stage, epoch, **values):
        """Write and return a row of the metrics; raises DivergenceError."""
        row = {"stage": stage, "epoch": epoch, "seconds": round(time.monotonic() - self.started)}
        for name, value in values.items():
            row[name] = float(f"{value:g}")
            if not np.isfinite(value) or ("nll" in name and value > self.most):
                what = f"{name} of {stage} epoch {epoch} is {row[name]}, the run has diverged"
                rate = "GEN_LEARNING_RATE"
                if name.startswith("dis_"):
                    rate = "DIS_LEARNING_RATE"
                elif stage == "adversarial" and GEN_ADVERSARIAL_LEARNING_RATE is not None:
                    rate = "GEN_ADVERSARIAL_LEARNING_RATE"
                advice = f"Lower {rate} and delete {CHECKPOINT_FILE} to start afresh"
                raise DivergenceError(f"{what}; the log is kept. {advice}")
        self.rows.append(row)
        self.bar.set_postfix({name: row[name] for name in values})
        self.write_metrics()
        if "nll_test" in values:
            try:
                draw_metrics(self.rows)
            except Exception as error:  # of a library that the experiment does not need
                tqdm.write(f"{PICTURE_FILE} cannot be drawn: {error}")
        return row

    def write_metrics(self):
        """Write all rows of the metrics anew."""
        columns = dict.fromkeys(name for row in self.rows for name in row)
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_file(METRICS_FILE, table.getvalue())

    def best(self):
        """The row of the evaluation with the lowest test NLL; None before the first."""
        evaluations = [row for row in self.rows if "nll_test" in row]
        return min(evaluations, key=lambda row: row["nll_test"], default=None)

    def log(self, line):
        """A line of the experiment log, and of the screen."""
        self.record["log"] += f"{line}\n"
        try:
            with open(LOG_FILE, "a", newline="\n") as file:
                print(line, file=file, flush=True)
                os.fsync(file.fileno())
        except OSError as error:
            raise WriteError(f"{LOG_FILE}: cannot be written: {error.strerror}") from error
        tqdm.write(line)

    def save(self, finished=False):
        """Write all that the run is resumed from, in one step."""
        self.record |= {"seconds": time.monotonic() - self.started, "finished": finished}
        arrays = {name: variable.numpy() for name, variable in self.variables.items()}
        if os.path.exists(BEST_FILE):
            arrays["best"] = np.fromfile(BEST_FILE, np.uint8)
        data = io.BytesIO()
        np.savez(data, record=json.dumps(self.record), **arrays)
        write_file(CHECKPOINT_FILE, data.getvalue())
        self.saved = time.monotonic()


def kinds(arrays):
    """{name: (shape, type)} of {name: array}."""
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


# Of a checkpoint's record. "done" has the epochs done of each stage, in the order in which the
# stages began; "rows" are those of the metrics, {name: value} each.
RECORD = {"settings", "done", "finished", "log", "rows", "seconds", "words"}


def read_checkpoint():
    """The record and {name: array} of the checkpoint; None and {} where there is none."""
    if not os.path.exists(CHECKPOINT_FILE):
        return None, {}
    try:
        with np.load(CHECKPOINT_FILE, allow_pickle=False) as file:
            arrays = dict(file)
        record = json.loads(str(arrays.pop("record")))
        if record.keys() != RECORD:
            raise ValueError("of another program")
        return record, arrays
    except MemoryError:
        raise
    except OSError as error:  # the file may be whole, as where it is another user's
        why = error.strerror or error
        raise InputError(f"{CHECKPOINT_FILE}: cannot be read: {why}") from None
    except Exception:  # whatever a damaged file provokes in its readers
        what = "it is no file that a run wrote; move it away to begin"
        raise InputError(f"{CHECKPOINT_FILE}: cannot be read, {what}") from None


INITIAL_CONTENT = "content of INITIAL_GENERATOR"


def resumes(record, now):
    """Whether the settings `now` go on with the run of a record, which is None if there is none.

    True: they are those of that run, which is unfinished; TOTAL_BATCH may be another one that is
    above the epochs done, and then it may be finished, too. EVAL_EVERY may be any. False: they are
    others, and that run is finished. InputError: they are others, and it is unfinished.
    """
    if record is None:
        return False
    was = record["settings"]
    changed = {name for name in was | now if was.get(name) != now.get(name)}
    changed.discard("EVAL_EVERY")  # looking does not change a run
    if now[INITIAL_CONTENT] is None and "INITIAL_GENERATOR" not in changed:
        changed.discard(INITIAL_CONTENT)  # the file is gone; a run that has begun can do without it
    adversarial_begun = "adversarial" in record["done"]
    epochs_remain = now["TOTAL_BATCH"] > record["done"].get("adversarial", 0)
    if record["finished"]:
        return changed == {"TOTAL_BATCH"} and epochs_remain
    if not changed or (changed == {"TOTAL_BATCH"} and (epochs_remain or not adversarial_begun)):
        return True
    names = [name for name in was | now if name in changed]
    changes = [f"{name} was {was.get(name)!r}, is {now.get(name)!r}" for name in names]
    what = f"the run in {CHECKPOINT_FILE} is unfinished, and since then {', '.join(changes)}"
    advice = "put it back"
    if changed == {"TOTAL_BATCH"}:
        advice = f"set it to {record['done']['adversarial'] + 1} or more"
    raise InputError(f"{what}; {advice} to resume, or delete that file to start afresh")


def keep_aside():
    """Move the files of the run before to a new folder save/run-<time>, and say so."""
    paths = [path for path in OUTPUTS if os.path.lexists(path)]
    if not paths:
        return
    folder = first = f"save/run-{time.strftime('%Y-%m-%dT%H-%M-%S')}"
    number = 1
    while os.path.lexists(folder):  # of a run that was kept within the same second
        number += 1
        folder = f"{first}-{number}"
    os.mkdir(folder)
    for path in paths:
        os.rename(path, path.replace("save", folder, 1))
        print(f"{path}, of the run before, is moved to {folder}")


PANELS = {  # of the learning curve, by the generator's epochs: {title: {metric: label}}
    "nats per token": {
        "nll_oracle": "NLL of its samples under the oracle",
        "nll_test": "its NLL of unseen real sequences",
        "entropy": "its entropy",
    },
    "nats per token: distance": {
        "kl_generator_oracle": "KL(generator || oracle)",
        "kl_oracle_generator": "KL(oracle || generator)",
    },
    "BLEU": {
        **{f"bleu_{n}": f"BLEU-{n} against unseen sequences" for n in range(2, 6)},
        **{f"self_bleu_{n}": f"Self-BLEU-{n}" for n in range(2, 6)},
    },
}
ACCURACIES = {  # the last panel, by the discriminator's sets
    "dis_accuracy": "on sequences just trained on",
    "dis_accuracy_unseen": "on unseen real and new generated ones",
}


def run_epoch(row):
    """The epoch of a row, those of MLE counted, too."""
    return row["epoch"] + PRE_EPOCH_NUM * (row["stage"] == "adversarial")


def draw_metrics(rows):
    """Draw the generator's measures by epoch, and the discriminator's accuracies by set."""
    from matplotlib.figure import Figure  # its import takes a second, and a run can do without

    evaluations = [row for row in rows if "nll_test" in row]
    sets = [row for row in rows if "dis_loss" in row]
    panels = [(title, labels, evaluations) for title, labels in PANELS.items()]
    panels.append(("accuracy", ACCURACIES, sets))
    panels = [panel for panel in panels if any(set(panel[1]) & set(row) for row in panel[2])]

    figure = Figure(figsize=(9, 2.6 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), squeeze=False)
    for axes, (title, labels, shown) in zip(grid.flat, panels):
        if shown is sets:
            x, start, unit = range(len(sets)), DIS_PRETRAIN_ROUNDS, "set of negatives"
        else:
            x, start, unit = [run_epoch(row) for row in evaluations], PRE_EPOCH_NUM, "epoch"
        for name, label in labels.items():
            if name in shown[0]:
                axes.plot(x, [row[name] for row in shown], ".-", label=label)
        axes.axvline(start, color="gray", linestyle="--", label="adversarial training begins")
        axes.set(xlabel=unit, ylabel=title)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        if title in ("nats per token: distance", "accuracy"):
            axes.set_ylim(bottom=0)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_file(PICTURE_FILE, data.getvalue())


def settings():
    """The constants, those of the driver checked, and the beginning of each used file's SHA-256."""
    values = {name: globals()[name] for name in CONSTANTS}
    at_least_one = [
        "EMB_DIM",
        "HIDDEN_DIM",
        "SEQ_LENGTH",
        "BATCH_SIZE",
        "DIS_BATCH_SIZE",
        "DIS_EPOCHS",
        "G_STEPS",
        "ROLLOUT_NUM",
        "EVAL_EVERY",
    ]
    for name in at_least_one:
        check_numbers(1, 10**7, **{name: values[name]})
    for name in ["PRE_EPOCH_NUM", "DIS_PRETRAIN_ROUNDS", "TOTAL_BATCH", "D_STEPS"]:
        check_numbers(0, 10**7, **{name: values[name]})
    check_numbers(2, 10**7, VOCAB_SIZE=VOCAB_SIZE)
    check_numbers(0, VOCAB_SIZE - 1, START_TOKEN=START_TOKEN)
    check_numbers(0, 2**64 - 1, SEED=SEED)
    least = max(2, BATCH_SIZE)  # Self-BLEU needs two
    check_numbers(least, 10**7, GENERATED_NUM=GENERATED_NUM)
    if os.path.lexists("save") and not os.path.isdir("save"):
        raise InputError(f"save: expected a folder, found something else in {os.getcwd()}")
    if TEXT_FILE is None and TEST_FILE is None:
        used = ["TARGET_FILE"]
    else:
        used = ["TEXT_FILE"] if TEST_FILE is None else ["TEXT_FILE", "TEST_FILE"]
    for name in used:
        check_file(name)
        values[f"content of {name}"] = content(values[name])
    found = INITIAL_GENERATOR is not None and os.path.isfile(str(INITIAL_GENERATOR))
    values[INITIAL_CONTENT] = content(INITIAL_GENERATOR) if found else None
    for name, value in values.items():
        with prefixed(name):
            values[name] = json.loads(json.dumps(value, default=plain))  # as a record gives it back
    return values


def plain(value):
    """A constant as JSON can hold it: those of NumPy and ranges as numbers, a path as text."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, range):
        return list(value)
    if isinstance(value, os.PathLike):
        return str(value)
    raise InputError(f"expected a number, a text or a list of them, found {value!r:.50}")


def check_file(name):
    """Raise InputError unless the constant of this name is the path of a file to read."""
    path = globals()[name]
    outputs = [os.path.realpath(output) for output in OUTPUTS]
    fits = isinstance(path, (str, os.PathLike)) and os.path.isfile(path)
    if not fits or os.path.realpath(path) in outputs:
        found = f"{path!r}, sought in {os.getcwd()}"
        raise InputError(f"{name}: expected a file, and none that a run writes, found {found}")


def content(path):
    """The beginning of a file's SHA-256."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def num_in_set(data):
    """Real sequences in a set, and as many negatives; InputError if they are less than a batch."""
    num = min(whole_batches(GENERATED_NUM, BATCH_SIZE), len(data.positives))
    if BATCH_SIZE > num or DIS_BATCH_SIZE > 2 * num:
        most = f"at most {num} and {2 * num} for {len(data.positives)} real sequences"
        found = f"GENERATED_NUM = {GENERATED_NUM}, found {BATCH_SIZE} and {DIS_BATCH_SIZE}"
        raise InputError(f"BATCH_SIZE, DIS_BATCH_SIZE: expected {most} and {found}")
    return num


if __name__ == "__main__":
    # Without a terminal both may be missing.
    sys.stdout, sys.stderr = (f or open(os.devnull, "w") for f in (sys.stdout, sys.stderr))
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace", line_buffering=True)

    def interrupt_again(ignored):
        """Repeat a Ctrl-C that came in a destructor, where Python ignores exceptions."""
        if ignored.exc_type is not KeyboardInterrupt:
            return sys.__unraisablehook__(ignored)
        threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()  # out of the destructor

    sys.unraisablehook = interrupt_again
    try:
        main()
    except (InputError, DivergenceError, OSError) as error:
        called = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        # A pipe is broken when nobody reads the output any more, as with `| head`.
        expected = DivergenceError, WriteError, BrokenPipeError
        if "train" in called and not isinstance(error, expected):
            raise  # a slip in the training loops, whose place must be shown
        sys.exit(f"sequence_gan.py: {error}")
    except (MemoryError, tf.errors.ResourceExhaustedError):
        sys.exit("sequence_gan.py: these constants or files need more memory than there is")
    except KeyboardInterrupt:
        sys.exit(130)
