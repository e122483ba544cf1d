"""SeqGAN on synthetic data, or on a text: the experiment of Yu, Zhang, Wang, Yu (AAAI-17).

Edit the constants, run `python sequence_gan.py`, read save/experiment-log.txt.
"""

import csv
import hashlib
import io
import json
import os
import signal
import sys
import threading
import time

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
if __name__ == "__main__":
    print("SeqGAN: loading TensorFlow ...", flush=True)

import tensorflow as tf

import dataloader
from dataloader import Bleu, InputError, Text, check_numbers, pieces, token_text, write_file
from discriminator import Discriminator, check_discriminator
from generator import Generator, load
from rollout import Rollout
from target_lstm import Oracle

tf.get_logger().setLevel("ERROR")  # no warnings about retracing
tf.config.experimental.enable_tensor_float_32_execution(False)  # as in the authors' program

# Generator and oracle
EMB_DIM = 32  # embedding size
HIDDEN_DIM = 32  # LSTM state size
SEQ_LENGTH = 20  # tokens in a sequence
START_TOKEN = 0  # first input of the LSTM; not part of a sequence
VOCAB_SIZE = 5000  # tokens are 0..VOCAB_SIZE - 1; with a text, at most so many
PRE_EPOCH_NUM = 120  # epochs of maximum likelihood (MLE) pre-training
GEN_LEARNING_RATE = 0.01  # of Adam, in MLE and in adversarial training
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
GENERATED_NUM = 10000  # oracle sequences, negatives a set (at most a text's lines); whole batches
EVAL_EVERY = 5  # epochs between evaluations

TARGET_FILE = "save/target_params.npz"  # the oracle; the authors' pickle can be named here
TEXT_FILE = None  # a text in place of the oracle: a sequence a line, blanks between its tokens
TEST_FILE = None  # its held-out lines; None: a tenth of TEXT_FILE
INITIAL_GENERATOR = None  # a copy of a run's generator.npz to begin from; None: random weights

CONSTANTS = [name for name in globals() if name.isupper()]


def main():
    """SeqGAN, Algorithm 1 of the paper."""
    now = settings()
    names = "data", "generator", "discriminator", "sets", "evaluation"
    seeds = dict(zip(names, np.random.SeedSequence(SEED).generate_state(5).tolist()))
    num = GENERATED_NUM // BATCH_SIZE * BATCH_SIZE  # in whole batches
    words = load(INITIAL_GENERATOR).words if TEXT_FILE and INITIAL_GENERATOR else None
    with dataloader.naming(["GEN_", "ROLLOUT_"], CONSTANTS):
        if TEXT_FILE:
            data = Text(TEXT_FILE, TEST_FILE, VOCAB_SIZE, SEQ_LENGTH, seeds["data"], words)
        else:
            sizes = VOCAB_SIZE, EMB_DIM, HIDDEN_DIM
            data = Oracle(TARGET_FILE, sizes, SEQ_LENGTH, START_TOKEN, num, seeds["data"])
        generator = Generator(
            vocab_size=data.vocab_size, emb_dim=EMB_DIM, hidden_dim=HIDDEN_DIM,
            sequence_length=SEQ_LENGTH, start_token=START_TOKEN, words=data.words,
            learning_rate=GEN_LEARNING_RATE, grad_clip=GEN_GRAD_CLIP, seed=seeds["generator"],
        )  # fmt: skip
        if INITIAL_GENERATOR:
            generator.restore(INITIAL_GENERATOR)
        rollout = Rollout(generator, update_rate=ROLLOUT_UPDATE_RATE)
    with dataloader.naming(["DIS_"], CONSTANTS):
        discriminator = Discriminator(
            sequence_length=SEQ_LENGTH, vocab_size=data.vocab_size, embedding_dim=DIS_EMBEDDING_DIM,
            filter_sizes=DIS_FILTER_SIZES, num_filters=DIS_NUM_FILTERS,
            dropout_keep_prob=DIS_DROPOUT_KEEP_PROB, l2_reg_lambda=DIS_L2_REG_LAMBDA,
            learning_rate=DIS_LEARNING_RATE, seed=seeds["discriminator"],
        )  # fmt: skip
    set_size = min(num, len(data.positives))  # real ones in a set, and as many negatives
    if BATCH_SIZE > set_size or DIS_BATCH_SIZE > 2 * set_size:
        what = f"at most {set_size} and {2 * set_size} for {len(data.positives)} real sequences"
        what += f" and GENERATED_NUM = {GENERATED_NUM}, found {BATCH_SIZE} and {DIS_BATCH_SIZE}"
        raise InputError(f"BATCH_SIZE, DIS_BATCH_SIZE: expected {what}")
    check_discriminator(discriminator, data.positives[:4])
    references = {n: Bleu(data.held_out, n, data.end) for n in data.bleu_orders}

    # `run`, in these two functions, is the Run that begins below them.
    def evaluate(stage, epoch):
        """Measure the generator; a metric is added here. Its draws do not change the run."""
        seed = 2**32 * seeds["evaluation"] + 2 * epoch + (stage == "adversarial")  # one for each
        with generator.drawing_by(seed):
            samples = generator.sample(data.num_eval).numpy()
            values = data.measure(generator, samples)
            for n, bleu in references.items():
                values[f"bleu_{n}"] = np.mean(bleu(samples[:1000]))
                values[f"self_bleu_{n}"] = dataloader.self_bleu(samples[:1000], n, data.end)
        run.measure(stage, epoch, **values)
        write_file(EVAL_FILE, token_text(samples, data.words))
        generator.save(GENERATOR_FILE)
        run.log(f"epoch:\t{epoch}\tnll:\t{values[data.logged]:g}")
        if data.words:
            tqdm.write(f"sample:\t{token_text(samples[:1], data.words).strip()}")

    def train_discriminator(stage, epoch, index):
        """Train for DIS_EPOCHS epochs on set number `index` of fresh negatives (paper, eq. 5)."""
        negatives = generator.sample(set_size).numpy()
        write_file(NEGATIVE_FILE, token_text(negatives, data.words))
        rng = np.random.default_rng([seeds["sets"], index])
        real = rng.choice(data.positives, set_size, replace=False)
        x, y = dataloader.labelled_batches(real, negatives, DIS_BATCH_SIZE, rng)
        calls = list(zip(pieces(x, STEPS_A_CALL), pieces(y, STEPS_A_CALL)))
        for _ in range(DIS_EPOCHS):
            losses = [discriminator.train_steps(*call) for call in tqdm(calls, leave=False, **BAR)]
        some_x = x[:ACCURACY_BATCHES].reshape(-1, SEQ_LENGTH)
        some_y = y[:ACCURACY_BATCHES].ravel()
        accuracy = np.mean((np.asarray(discriminator.prob_real(some_x)) > 0.5) == some_y)
        run.measure(stage, epoch, dis_loss=np.mean(np.concatenate(losses)), dis_accuracy=accuracy)

    with FileLock(LOCK_FILE, timeout=0):  # one run at a time in a folder
        run = Run(now, data, generator=generator, discriminator=discriminator, rollout=rollout)

        for epoch in run.epochs("mle", PRE_EPOCH_NUM, "pre-training..."):
            steps = tqdm(pieces(data.positives, BATCH_SIZE), leave=False, **BAR)
            losses = [generator.pretrain_step(x) for x in steps]
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
            run.measure("adversarial", epoch, pg_loss=loss, reward_mean=np.mean(rewards))
            if epoch % EVAL_EVERY == 0 or epoch == TOTAL_BATCH - 1:
                evaluate("adversarial", epoch)
            rollout.update_params()
            for step in range(D_STEPS):
                index = DIS_PRETRAIN_ROUNDS + epoch * D_STEPS + step
                train_discriminator("adversarial", epoch, index)

        generator.save(GENERATOR_FILE)
        run.save(finished=True)
    print(f"Done. The generator is in {GENERATOR_FILE}")


# --------------------------------------------------------------------------------------------------
# The algorithm ends here. What follows checks and keeps a run, and shows it.

LOG_FILE = "save/experiment-log.txt"
METRICS_FILE = "save/metrics.csv"
PICTURE_FILE = "save/learning-curve.png"
SETTINGS_FILE = "save/settings.json"  # the constants of the run, and hashes of its files
POSITIVE_FILE = "save/real_data.txt"  # the sequences to learn from
VOCABULARY_FILE = "save/vocabulary.txt"  # of a text: line number k is word number k, from 0
NEGATIVE_FILE = "save/generator_sample.txt"  # the latest set of negatives
EVAL_FILE = "save/eval_file.txt"  # the sequences of the latest evaluation
GENERATOR_FILE = "save/generator.npz"  # the generator, of the latest evaluation or the end
CHECKPOINT_FILE = "save/checkpoint.npz"  # what an interrupted run is resumed from
LOCK_FILE = "save/.lock"
OUTPUTS = [LOG_FILE, METRICS_FILE, PICTURE_FILE, SETTINGS_FILE, POSITIVE_FILE, VOCABULARY_FILE]
OUTPUTS += [NEGATIVE_FILE, EVAL_FILE, GENERATOR_FILE, CHECKPOINT_FILE]
STEPS_A_CALL = 26  # of the discriminator: a second on two cores, so that Ctrl-C works
ACCURACY_BATCHES = 20  # of a set, on which dis_accuracy is measured
BAR = {"disable": None, "dynamic_ncols": True}  # None: no bars where there is no terminal


class Run:
    """One run of the experiment: how far it is, on the disk and on the screen."""

    def __init__(self, now, data, **models):
        """Resume the run in save/, or begin one; `now` are its settings."""
        self.most = 10 * np.log(data.vocab_size)  # an NLL above it means divergence
        self.variables = {}
        for model_name, model in models.items():
            self.variables |= {f"{model_name}/{name}": v for name, v in model.state().items()}
        record, arrays = read_checkpoint()
        if record and resumes(record, now):
            shapes = {name: tuple(variable.shape) for name, variable in self.variables.items()}
            if shapes != {name: array.shape for name, array in arrays.items()}:
                raise InputError(f"{CHECKPOINT_FILE}: expected the state of these models")
            for name, variable in self.variables.items():
                variable.assign(arrays[name])
        else:
            keep_aside()
            record = {"done": {}, "log": "", "rows": [], "seconds": 0.0}
        self.record = record | {"settings": now}
        self.started = time.monotonic() - record["seconds"]
        self.save()
        write_file(SETTINGS_FILE, json.dumps(now, indent=1) + "\n")
        write_file(POSITIVE_FILE, token_text(data.positives, data.words))
        if data.words:
            write_file(VOCABULARY_FILE, "\n".join([*data.words, ""]))
        write_file(LOG_FILE, record["log"])
        done = ", ".join(f"{stage} {number}" for stage, number in record["done"].items())
        state = f"resumed after {done}" if done else "a new run"
        gpus = len(tf.config.list_physical_devices("GPU"))
        print(f"SeqGAN, {state}, on {gpus} GPUs. Ctrl-C stops it, the same command resumes it.")

    def epochs(self, stage, number, heading=None):
        """The epochs of a stage that are not done yet, each saved after the loop's body."""
        done = self.record["done"].get(stage, 0)
        if heading and done == 0 < number:
            self.log(heading)
        with tqdm(desc=stage, total=number, initial=done, unit="epoch", **BAR) as self.bar:
            for epoch in range(done, number):
                yield epoch
                self.record["done"][stage] = epoch + 1
                self.save()
                self.bar.update()

    def measure(self, stage, epoch, **values):
        """A row of the metrics, shown; raises FloatingPointError if a value has diverged."""
        row = {"stage": stage, "epoch": epoch, "seconds": round(time.monotonic() - self.started)}
        for name, value in values.items():
            row[name] = float(f"{value:g}")
            if not np.isfinite(value) or ("nll" in name and value > self.most):
                what = f"{name} of {stage} epoch {epoch} is {row[name]}, the run has diverged"
                rate = "DIS_LEARNING_RATE" if "dis" in name else "GEN_LEARNING_RATE"
                advice = f"Lower {rate} and delete {CHECKPOINT_FILE} to start afresh"
                raise FloatingPointError(f"{what}; the log is kept. {advice}")
        rows = self.record["rows"]
        rows.append(row)
        self.bar.set_postfix({name: row[name] for name in values})
        columns = dict.fromkeys(name for row in rows for name in row)
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_file(METRICS_FILE, table.getvalue())
        if "nll_test" in values:
            try:
                draw_metrics(rows)
            except Exception as error:  # of a library that the experiment does not need
                tqdm.write(f"{PICTURE_FILE} cannot be drawn: {error}")

    def log(self, line):
        """A line of the experiment log, and of the screen."""
        self.record["log"] += f"{line}\n"
        with open(LOG_FILE, "a", newline="\n") as file:
            print(line, file=file, flush=True)
            os.fsync(file.fileno())
        tqdm.write(line)

    def save(self, finished=False):
        """Write all that the run is resumed from, in one step."""
        self.record |= {"seconds": time.monotonic() - self.started, "finished": finished}
        arrays = {name: variable.numpy() for name, variable in self.variables.items()}
        data = io.BytesIO()
        np.savez(data, record=json.dumps(self.record), **arrays)
        write_file(CHECKPOINT_FILE, data.getvalue())


def read_checkpoint():
    """The record and {name: array} of the checkpoint; None and {} where there is none."""
    if not os.path.exists(CHECKPOINT_FILE):
        return None, {}
    try:
        with np.load(CHECKPOINT_FILE) as file:
            arrays = dict(file)
        record = json.loads(str(arrays.pop("record")))
        return {n: record[n] for n in "settings done finished log rows seconds".split()}, arrays
    except Exception:  # whatever a damaged file provokes in its reader
        raise InputError(f"{CHECKPOINT_FILE}: cannot be read; move it away to begin") from None


def resumes(record, now):
    """True: resume the run of a record; its TOTAL_BATCH may be any above the epochs done. False: it
    is finished, begin a new one. InputError: it is unfinished, and another setting has changed."""
    was, done = record["settings"], record["done"].get("adversarial", 0)
    changed = [name for name in was | now if was.get(name) != now.get(name)]
    only_length = set(changed) <= {"TOTAL_BATCH"} and now["TOTAL_BATCH"] > done
    if record["finished"]:
        return only_length
    if only_length or not changed:
        return True
    changes = [f"{name} was {was.get(name)!r}, is {now.get(name)!r}" for name in changed]
    what = f"the run in {CHECKPOINT_FILE} is unfinished, and since then {', '.join(changes)}"
    raise InputError(f"{what}; put it back to resume, or delete that file to start afresh")


def keep_aside():
    """Move the files of the run before to a new folder save/run-<time>, and say so."""
    folder = f"save/run-{time.strftime('%Y-%m-%dT%H-%M-%S')}"
    for path in OUTPUTS:
        if os.path.lexists(path):
            os.makedirs(folder, exist_ok=True)
            os.rename(path, path.replace("save", folder, 1))
            print(f"{path}, of the run before, is moved to {folder}")


def draw_metrics(rows):
    """Draw what the evaluations measured: NLLs and entropy; with an oracle divergences; BLEU."""
    from matplotlib.figure import Figure  # its import takes a second, and a run can do without

    rows = [row for row in rows if "nll_test" in row]
    x = [row["epoch"] + PRE_EPOCH_NUM * (row["stage"] == "adversarial") for row in rows]
    panels = {"NLL, entropy": ("nll", "entropy"), "divergence": "kl", "BLEU": ("bleu", "self")}
    if TEXT_FILE:
        del panels["divergence"]  # which nobody knows
    figure = Figure(figsize=(8, 3 * len(panels)), layout="constrained")
    for axes, label in zip(figure.subplots(len(panels), sharex=True), panels):
        for name in rows[0]:
            if name.startswith(panels[label]):
                axes.plot(x, [row[name] for row in rows], ".-", label=name)
        axes.axvline(PRE_EPOCH_NUM, color="gray", linestyle="--")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        axes.set(xlabel="epoch: MLE, then adversarial training", ylabel=label)
        axes.set_ylim(bottom=0 if label == "divergence" else None)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150)
    write_file(PICTURE_FILE, data.getvalue())


def settings():
    """The constants, those of the driver checked, and the beginning of each used file's SHA-256."""
    values = {name: globals()[name] for name in CONSTANTS}
    for name in "BATCH_SIZE DIS_BATCH_SIZE DIS_EPOCHS G_STEPS ROLLOUT_NUM EVAL_EVERY".split():
        check_numbers(1, 10**7, **{name: values[name]})
    for name in "PRE_EPOCH_NUM DIS_PRETRAIN_ROUNDS TOTAL_BATCH D_STEPS".split():
        check_numbers(0, 10**7, **{name: values[name]})
    check_numbers(0, 2**64 - 1, SEED=SEED)
    check_numbers(max(2, BATCH_SIZE), 10**7, GENERATED_NUM=GENERATED_NUM)
    files = ["TARGET_FILE"] if TEXT_FILE is None and TEST_FILE is None else ["TEXT_FILE"]
    files += [name for name in ("TEST_FILE", "INITIAL_GENERATOR") if values[name] is not None]
    outputs = [os.path.realpath(output) for output in OUTPUTS]
    for name in files:
        path = values[name]
        if not os.path.isfile(str(path)) or os.path.realpath(path) in outputs:
            found = f"{path!r}, sought in {os.getcwd()}"
            raise InputError(f"{name}: expected a file, and none that a run writes, found {found}")
        values[f"content of {name}"] = hashlib.sha256(np.fromfile(path, np.uint8)).hexdigest()[:16]
    # NumPy's numbers are as good as Python's, and a path is text.
    text = json.dumps(values, default=lambda v: v.item() if isinstance(v, np.generic) else str(v))
    return json.loads(text)  # as a record gives them back


if __name__ == "__main__":
    sys.stdout, sys.stderr = (f or open(os.devnull, "w") for f in (sys.stdout, sys.stderr))
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace", line_buffering=True)

    def again(ignored):  # a Ctrl-C that came in a destructor, where Python ignores exceptions
        if ignored.exc_type is not KeyboardInterrupt:
            return sys.__unraisablehook__(ignored)
        threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()

    sys.unraisablehook = again
    try:
        main()
    except Timeout:
        sys.exit(f"sequence_gan.py: another run is under way in this folder ({LOCK_FILE})")
    except (InputError, FloatingPointError, OSError) as error:
        sys.exit(f"sequence_gan.py: {error}")
    except (MemoryError, tf.errors.ResourceExhaustedError):
        sys.exit("sequence_gan.py: these constants or files need more memory than there is")
    except KeyboardInterrupt:
        print("\nStopped: the same command resumes it after the last finished epoch")
        sys.exit(130)
