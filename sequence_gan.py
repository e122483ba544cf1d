"""SeqGAN on synthetic data: the experiment of Yu, Zhang, Wang, Yu (AAAI-17).

Edit the constants, run `python sequence_gan.py`, read save/experiment-log.txt.
"""

import contextlib
import glob
import hashlib
import json
import math
import os
import shutil
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until main begins, Ctrl-C simply ends it

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
kept_stderr = os.dup(2)
with open(os.devnull, "w") as nowhere:
    os.dup2(nowhere.fileno(), 2)  # on import TensorFlow writes there whatever its level
try:
    import tensorflow as tf
finally:
    os.dup2(kept_stderr, 2)
    os.close(kept_stderr)

tf.get_logger().setLevel("ERROR")  # every batch size is compiled once; that is no retracing

from dataloader import (
    InputError,
    TextLog,
    batches,
    flush_to_disk,
    labelled_batches,
    plot_learning_curves,
    read_tokens,
    write_tokens,
)
from discriminator import Discriminator
from generator import Generator
from rollout import Rollout
from target_lstm import TargetLSTM, write_params

# Generator and oracle
EMB_DIM = 32  # embedding size
HIDDEN_DIM = 32  # LSTM state size
SEQ_LENGTH = 20  # tokens in a sequence
START_TOKEN = 0  # first input of the LSTM; not part of a sequence
VOCAB_SIZE = 5000  # tokens are 0..VOCAB_SIZE - 1
PRE_EPOCH_NUM = 120  # epochs of maximum likelihood (MLE) pre-training
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
GENERATED_NUM = 10000  # sequences in a set, rounded down to whole batches
EVAL_EVERY = 5  # epochs between evaluations

TARGET_FILE = "save/target_params.npz"  # the oracle; the authors' pickle can be named here
POSITIVE_FILE = "save/real_data.txt"  # drawn from the oracle
NEGATIVE_FILE = "save/generator_sample.txt"  # the latest set of negatives
EVAL_FILE = "save/eval_file.txt"  # the sequences of the latest evaluation
LOG_FILE = "save/experiment-log.txt"
METRICS_FILE = "save/metrics.csv"
PICTURE_FILE = "save/learning-curve.png"
GENERATOR_FILE = "save/generator.npz"  # the generator's weights, in the oracle's format
CHECKPOINT_DIR = "save/checkpoint"
RESUME = True  # go on with an unfinished run; False: always start afresh, and keep no checkpoints

METRICS = (
    "stage epoch nll_oracle nll_test mle_loss dis_loss dis_accuracy reward_mean seconds".split()
)


def check_constants():
    """Raise InputError naming the first constant that the experiment cannot be run with."""

    def check(name, holds, expected):
        value = globals()[name]
        try:
            held = holds(value)
        except TypeError:  # not a number at all
            held = False
        if not held:
            raise InputError(f"{name}: expected {expected}, found {value!r}")

    def whole(value):
        return isinstance(value, int) and not isinstance(value, bool)

    def number(value):
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    def counts(value):
        return isinstance(value, (list, tuple)) and value and all(whole(n) and n > 0 for n in value)

    positive = "EMB_DIM HIDDEN_DIM SEQ_LENGTH VOCAB_SIZE PRE_EPOCH_NUM BATCH_SIZE DIS_EMBEDDING_DIM"
    positive += " DIS_BATCH_SIZE DIS_PRETRAIN_ROUNDS DIS_EPOCHS TOTAL_BATCH G_STEPS D_STEPS"
    for name in (positive + " ROLLOUT_NUM EVAL_EVERY").split():
        check(name, lambda n: whole(n) and n > 0, "a whole number above 0")
    check("SEED", lambda n: whole(n) and n >= 0, "a whole number from 0")
    check("START_TOKEN", lambda n: whole(n) and 0 <= n < VOCAB_SIZE, f"a token below {VOCAB_SIZE=}")
    check("DIS_FILTER_SIZES", counts, "a list of whole numbers above 0")
    check("DIS_NUM_FILTERS", counts, "a list of whole numbers above 0")
    check("DIS_FILTER_SIZES", lambda f: max(f) <= SEQ_LENGTH, f"sizes up to {SEQ_LENGTH=}")
    check("DIS_FILTER_SIZES", lambda f: len(set(f)) == len(f), "different sizes")
    sizes = len(DIS_FILTER_SIZES)
    check("DIS_NUM_FILTERS", lambda n: len(n) == sizes, f"{sizes} numbers, as in DIS_FILTER_SIZES")
    check("DIS_DROPOUT_KEEP_PROB", lambda p: number(p) and 0 < p <= 1, "a probability above 0")
    check("DIS_L2_REG_LAMBDA", lambda x: number(x) and 0 <= x < math.inf, "a number from 0")
    check("DIS_LEARNING_RATE", lambda x: number(x) and 0 < x < math.inf, "a number above 0")
    check("ROLLOUT_UPDATE_RATE", lambda r: number(r) and 0 <= r < 1, "a rate from 0 to below 1")
    check("GENERATED_NUM", lambda n: whole(n) and n >= BATCH_SIZE, f"at least {BATCH_SIZE=}")
    most = 2 * (GENERATED_NUM // BATCH_SIZE * BATCH_SIZE)
    check("DIS_BATCH_SIZE", lambda n: n <= most, f"at most the {most} sequences of a set")
    check("RESUME", lambda b: isinstance(b, bool), "True or False")
    paths = [name for name in globals() if name.isupper() and name.endswith(("_FILE", "_DIR"))]
    for name in paths:
        check(name, lambda path: isinstance(path, str) and path, "the name of a file or folder")
    for name in paths:
        others = [Path(globals()[other]).name for other in paths if other != name]
        check(name, lambda p, others=others: Path(p).name not in others, "a name of its own")
    check("TARGET_FILE", os.path.isfile, "an oracle file (`python target_lstm.py` makes one)")


def load_oracle(seed):
    """The oracle, checked to be of the constants' sizes."""
    oracle = TargetLSTM.load(TARGET_FILE, SEQ_LENGTH, START_TOKEN, seed)
    for name in ("VOCAB_SIZE", "EMB_DIM", "HIDDEN_DIM"):
        size = getattr(oracle, name.lower())
        if size != globals()[name]:
            raise InputError(f"{name}: {TARGET_FILE} has {size}, found {globals()[name]}")
    return oracle


def must_be_finite(value, what):
    """The number itself; raises FloatingPointError if it is none."""
    if not math.isfinite(value):
        raise FloatingPointError(f"{what} is {value}: the run cannot go on; the log so far is kept")
    return value


def is_evaluated(epoch, epochs=None):
    """Whether an epoch is evaluated: every EVAL_EVERY-th one and, of so many epochs, the last."""
    return epoch % EVAL_EVERY == 0 or epoch + 1 == epochs


def content(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def settings():
    """What shapes a run: the constants, names of files aside, and the oracle."""
    names = [n for n in globals() if n.isupper() and not n.endswith(("_FILE", "_DIR", "RESUME"))]
    values = {name: globals()[name] for name in names}
    values["TARGET_FILE (its SHA-256)"] = content(TARGET_FILE)
    return json.loads(json.dumps(values))  # as a checkpoint gives them back


def newest_checkpoint():
    """(path, record) of the newest checkpoint that is whole, or (None, {}) where there is none."""
    paths = [path.removesuffix(".index") for path in glob.glob(f"{CHECKPOINT_DIR}/ckpt-*.index")]
    paths = [path for path in paths if path.rpartition("-")[2].isdigit()]
    for path in sorted(paths, key=lambda path: -int(path.rpartition("-")[2])):
        try:
            reader = tf.train.load_checkpoint(path)
            for name in reader.get_variable_to_shape_map():  # reading compares the checksums
                reader.get_tensor(name)
            return path, json.loads(reader.get_tensor("progress/.ATTRIBUTES/VARIABLE_VALUE"))
        except Exception:  # TensorFlow has no one class for what damage does to its reader
            continue  # cut short by a power cut or a full disk: the one before it counts
    if paths:
        raise InputError(
            f"{CHECKPOINT_DIR}: no checkpoint in it can be read; move it away to start afresh"
        )
    return None, {}


def timestamp(seconds):
    return time.strftime("%Y-%m-%dT%H-%M-%S", time.localtime(seconds))


def keep_earlier_run(ended):
    """Move what an earlier run left into a folder that carries the time at which it ended."""
    outputs = POSITIVE_FILE, NEGATIVE_FILE, EVAL_FILE, PICTURE_FILE, GENERATOR_FILE, METRICS_FILE
    outputs += LOG_FILE, CHECKPOINT_DIR  # last, as by these a next start knows that there is more
    signs = LOG_FILE, METRICS_FILE, GENERATOR_FILE, f"{CHECKPOINT_DIR}/checkpoint"
    if not any(map(os.path.exists, signs)):
        return
    left = [path for path in outputs if os.path.exists(path)]
    folder = f"save/run-{ended or timestamp(max(map(os.path.getmtime, left)))}"
    while any(os.path.exists(f"{folder}/{Path(path).name}") for path in left):
        folder += "-too"
    os.makedirs(folder, exist_ok=True)
    for path in left:
        shutil.move(path, folder)
    print(f"What an earlier run left is kept in {folder}")


class Run:
    """How far the experiment is: on the disk, by checkpoints and logs, and on the screen.

    Raises:
      InputError: there is an unfinished run with other settings.
    """

    def __init__(self):
        self.path, self.record = newest_checkpoint() if RESUME else (None, {})
        self.ended = self.record.get("ended")
        if self.ended:
            self.path = None
        self.latest = self.path
        if self.path:
            self.expect(self.record["settings"], settings())
        else:
            self.record = {
                "settings": settings(),
                "done": {"mle": 0, "rounds": 0, "epochs": 0},
                "logs": {"log": "", "metrics": ",".join(METRICS) + "\n"},
                "cost": {},
                "seconds": 0,
                "ended": None,
            }
        self.done, self.cost, self.logs = self.record["done"], self.record["cost"], {}
        self.began = time.monotonic() - self.record["seconds"]
        self.bar, self.terminal, self.can_draw = None, sys.stderr.isatty(), True

    def expect(self, old, now):
        """Refuse to go on with settings that are not the old ones."""
        changed = [name for name in old | now if old.get(name) != now.get(name)]
        if changed:
            changes = ", ".join(f"{n} was {old.get(n)!r}, is {now.get(n)!r}" for n in changed)
            raise InputError(
                f"{CHECKPOINT_DIR} holds an unfinished run with other settings: {changes}; "
                "put them back to go on with it, or delete that folder to start afresh"
            )

    def begin(self, **models):
        """Restore models and progress, or save them for the first time; then open the logs.

        Args:
          models: what a checkpoint holds beside the record, by name.
        """
        now = {"POSITIVE_FILE (its SHA-256)": content(POSITIVE_FILE)}
        self.expect(self.record.setdefault("positives", now), now)
        self.progress = tf.Variable("", dtype=tf.string)  # the record, as JSON
        self.checkpoint = tf.train.Checkpoint(progress=self.progress, **models)
        if self.path:
            self.checkpoint.restore(self.path).expect_partial()
        if RESUME:
            self.manager = tf.train.CheckpointManager(self.checkpoint, CHECKPOINT_DIR, 2)
        if not self.path:
            self.save()
        texts = self.record["logs"]
        self.logs = {
            "log": TextLog(LOG_FILE, texts["log"]),
            "metrics": TextLog(METRICS_FILE, texts["metrics"]),
        }

    def save(self):
        """Write a checkpoint that survives a power cut; the one before it is kept, too."""
        if not RESUME:
            return
        self.record["logs"] |= {name: log.text for name, log in self.logs.items()}
        self.record["seconds"] = time.monotonic() - self.began
        self.progress.assign(json.dumps(self.record))
        try:
            path = self.manager.save()
        except tf.errors.OpError as error:
            message = error.message.rpartition("}} ")[-1]  # after the name of TensorFlow's node
            raise OSError(f"{CHECKPOINT_DIR}: cannot save: {message}") from None
        flush_to_disk(*glob.glob(f"{path}.*"), f"{CHECKPOINT_DIR}/checkpoint", CHECKPOINT_DIR)
        # The manager prunes what its list names; a kill can come before the list.
        for other in glob.glob(f"{CHECKPOINT_DIR}/ckpt-*") + glob.glob(f"{CHECKPOINT_DIR}/*.tmp*"):
            if not other.startswith((f"{path}.", f"{self.latest}.")):
                shutil.rmtree(other) if os.path.isdir(other) else os.remove(other)
        self.latest = path

    def finished(self, stage, epoch):
        """Note that an epoch of a stage is done, and save."""
        self.done[stage] = epoch + 1
        if stage != "mle" or is_evaluated(epoch, PRE_EPOCH_NUM):
            self.save()

    def end(self):
        """The last checkpoint, by which the next start knows that this run is over."""
        self.record["ended"] = timestamp(time.time())
        self.save()
        picture = f", the learning curve in {PICTURE_FILE}" if self.can_draw else ""
        self.say(f"Done. The generator is in {GENERATOR_FILE}{picture}")

    def log(self, line):
        """A line of the experiment log, and of the screen."""
        self.logs["log"].append(line)
        self.say(line)

    def measure(self, **values):
        """A row of the metrics."""
        values["seconds"] = round(time.monotonic() - self.began)
        cells = (values.get(name, "") for name in METRICS)
        row = ",".join(f"{c:g}" if isinstance(c, float) else f"{c}" for c in cells)
        self.logs["metrics"].append(row)

    def draw(self):
        """The learning curve so far; where it cannot be drawn, the run goes on."""
        try:
            plot_learning_curves({"SeqGAN": LOG_FILE}, PICTURE_FILE)
        except Exception as error:  # of a library that the experiment does not need
            if self.can_draw:
                self.say(f"{PICTURE_FILE} cannot be drawn: {error}")
            self.can_draw = False

    @contextlib.contextmanager
    def timed(self, kind):
        """Take the time of one piece of work of a kind, from which the time left is told."""
        start = time.monotonic()
        yield
        self.cost[kind] = time.monotonic() - start

    def left(self):
        """The run's time left, if every piece of work takes what the last of its kind took."""
        mle = range(self.done["mle"], PRE_EPOCH_NUM)
        epochs = range(self.done["epochs"], TOTAL_BATCH)
        pieces = {
            "mle": len(mle),
            "evaluation": sum(is_evaluated(epoch) for epoch in mle)
            + sum(is_evaluated(epoch, TOTAL_BATCH) for epoch in epochs),
            "round": DIS_PRETRAIN_ROUNDS - self.done["rounds"] + D_STEPS * len(epochs),
            "generator": G_STEPS * len(epochs),
        }
        return tqdm.format_interval(sum(n * self.cost.get(k, 0) for k, n in pieces.items()))

    def stage(self, name, unit, total, done):
        """A progress bar on a terminal, nothing elsewhere; a context manager."""
        self.bar = tqdm(
            desc=name,
            unit=unit,
            total=total,
            initial=done,
            disable=not self.terminal or done == total,
            dynamic_ncols=True,
            # What matters comes first: a narrow terminal cuts the rest.
            bar_format="{desc} {percentage:3.0f}%{postfix}, {elapsed}<{remaining} {rate_fmt} {bar}",
        )
        return self.bar

    def advance(self, share):
        """Move the bar by a share of its unit, and never, by rounding, past its end."""
        self.bar.update(min(share, self.bar.total - self.bar.n))

    def show(self, text):
        """What is worth watching, beside the bar."""
        self.bar.set_postfix_str(f"{text}, run {self.left()} left")

    def say(self, line):
        """A line that stays on the screen; with the time where there is no bar to tell it."""
        if self.terminal:
            tqdm.write(line)
        else:
            elapsed = tqdm.format_interval(time.monotonic() - self.began)
            print(f"{line}\t[elapsed {elapsed}, left about {self.left()}]", flush=True)


def make_discriminator(seed):
    return Discriminator(
        SEQ_LENGTH,
        VOCAB_SIZE,
        DIS_EMBEDDING_DIM,
        DIS_FILTER_SIZES,
        DIS_NUM_FILTERS,
        DIS_DROPOUT_KEEP_PROB,
        DIS_L2_REG_LAMBDA,
        DIS_LEARNING_RATE,
        seed=seed,
    )


def estimate_round(generated_num):
    """Seconds that training on a set will take, nearly all of a round; by a copy, thrown away."""
    copy, steps = make_discriminator(0), 2 * generated_num // DIS_BATCH_SIZE
    x = np.random.default_rng(0).integers(0, VOCAB_SIZE, [DIS_BATCH_SIZE, SEQ_LENGTH])
    y = np.arange(DIS_BATCH_SIZE) % 2
    copy.train_step(x, y)  # traces
    start = time.monotonic()
    for _ in range(5):
        copy.train_step(x, y)
    return (time.monotonic() - start) / 5 * steps * DIS_EPOCHS


def main():
    check_constants()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    # Products in float32, as the authors': on newer GPUs TensorFlow would round their factors.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    os.makedirs("save", exist_ok=True)
    lock = FileLock("save/.lock")  # the system releases it when the process ends, however it does
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError("another run is under way in this folder (it holds save/.lock)") from None
    run = Run()
    seeds = np.random.SeedSequence(SEED).generate_state(5).tolist()
    oracle = load_oracle(seeds[0])
    generator = Generator(VOCAB_SIZE, EMB_DIM, HIDDEN_DIM, SEQ_LENGTH, START_TOKEN, seed=seeds[1])
    rollout = Rollout(generator, ROLLOUT_UPDATE_RATE)
    discriminator = make_discriminator(seeds[2])
    generated_num = GENERATED_NUM // BATCH_SIZE * BATCH_SIZE
    if not run.path:
        keep_earlier_run(run.ended)
    if not (run.path and os.path.exists(POSITIVE_FILE)):
        write_tokens(POSITIVE_FILE, oracle.sample(generated_num))
    positives = read_tokens(POSITIVE_FILE, SEQ_LENGTH, VOCAB_SIZE)
    run.begin(generator=generator, discriminator=discriminator, policy=rollout.policy)
    held_out = load_oracle(seeds[4]).sample(generated_num)
    done = run.done
    if "round" not in run.cost:
        run.cost["round"] = estimate_round(generated_num)
    devices = [tf.config.experimental.get_device_details(g).get("device_name") for g in gpus]
    state = "a new run"
    if run.path:
        state = f"going on after {done['mle']} MLE epochs, {done['rounds']} discriminator rounds, "
        state += f"{done['epochs']} adversarial epochs"
    print(
        f"SeqGAN, {state}, on {', '.join(devices) or f'{os.cpu_count()} CPU cores'}",
        f"  MLE: {PRE_EPOCH_NUM} epochs; discriminator: {DIS_PRETRAIN_ROUNDS} rounds;",
        f"  adversarial: {TOTAL_BATCH} epochs; {generated_num} sequences in a set",
        f"  oracle: {TARGET_FILE}, {VOCAB_SIZE} tokens, length {SEQ_LENGTH}",
        f"  log: {LOG_FILE}",
        f"  picture: {PICTURE_FILE}",
        f"  about {run.left()} to go; Ctrl-C stops"
        + (", the same command goes on" if RESUME else ""),
        sep="\n",
        flush=True,
    )

    def evaluate(stage, epoch, **values):
        with run.timed("evaluation"):
            samples = generator.sample(generated_num)
            write_tokens(EVAL_FILE, samples)
            nll = must_be_finite(oracle.nll(samples), f"oracle NLL of {stage} epoch {epoch}")
            run.record["nll"] = nll
            nll_test = must_be_finite(generator.nll(held_out), f"test NLL of {stage} epoch {epoch}")
            values |= {"nll_oracle": nll, "nll_test": nll_test}
            write_params(GENERATOR_FILE, generator.get_params())
        run.log(f"epoch:\t{epoch}\tnll:\t{nll:g}")
        run.measure(stage=stage, epoch=epoch, **values)
        run.draw()

    def train_discriminator(stage, epoch, index, share):
        """Train on set number `index` of negatives; the stage's bar moves by share."""
        with run.timed("round"):
            negatives = generator.sample(generated_num).numpy()
            write_tokens(NEGATIVE_FILE, negatives)
            rng = np.random.default_rng([seeds[3], index])
            x, y = labelled_batches(positives, negatives, DIS_BATCH_SIZE, rng)
            for _ in range(DIS_EPOCHS):
                losses = []
                for batch in zip(x, y):
                    losses.append(discriminator.train_step(*batch))
                    run.advance(share / DIS_EPOCHS / len(x))
                loss = must_be_finite(float(np.mean(losses)), f"discriminator loss of set {index}")
            seen = x[:20].reshape(-1, SEQ_LENGTH)
            guesses = discriminator.prob_real(seen).numpy() > 0.5
            accuracy = float(np.mean(guesses == y[:20].ravel()))
        run.measure(stage=stage, epoch=epoch, dis_loss=loss, dis_accuracy=accuracy)
        return loss, accuracy

    if done["mle"] == 0:
        run.log("pre-training...")
    with run.stage("MLE", "epoch", PRE_EPOCH_NUM, done["mle"]):
        data = batches(positives, BATCH_SIZE)
        for epoch in range(done["mle"], PRE_EPOCH_NUM):
            with run.timed("mle"):
                losses = []
                for x in data:
                    losses.append(generator.pretrain_step(x))
                    run.advance(1 / len(data))
            loss = must_be_finite(float(np.mean(losses)), f"MLE loss of epoch {epoch}")
            if is_evaluated(epoch):
                evaluate("mle", epoch, mle_loss=loss)
            run.finished("mle", epoch)
            run.show(f"loss {loss:.3f}")

    with run.stage("discriminator", "round", DIS_PRETRAIN_ROUNDS, done["rounds"]):
        for index in range(done["rounds"], DIS_PRETRAIN_ROUNDS):
            loss, accuracy = train_discriminator("discriminator", index, index, share=1)
            run.finished("rounds", index)
            run.show(f"loss {loss:.3f}, accuracy {accuracy:.3f}")
            if not run.terminal:
                run.say(f"discriminator round {index}: loss {loss:.4f}, accuracy {accuracy:.4f}")

    if done["epochs"] == 0:
        run.log("adversarial training...")
        rollout.policy.set_params(generator.get_params())  # from here on it may lag behind
    with run.stage("adversarial", "epoch", TOTAL_BATCH, done["epochs"]):
        for epoch in range(done["epochs"], TOTAL_BATCH):
            for _ in range(G_STEPS):
                with run.timed("generator"):
                    samples = generator.sample(BATCH_SIZE)
                    rewards = rollout.get_reward(samples, ROLLOUT_NUM, discriminator.prob_real)
                    loss = float(generator.reinforce_step(samples, rewards))
                must_be_finite(loss, f"policy-gradient loss of epoch {epoch}")
            reward = float(np.mean(rewards))
            if is_evaluated(epoch, TOTAL_BATCH):
                evaluate("adversarial", epoch, reward_mean=reward)
            run.show(f"NLL {run.record['nll']:.3f}, reward {reward:.3f}")
            rollout.update_params()
            for step in range(D_STEPS):
                index = DIS_PRETRAIN_ROUNDS + epoch * D_STEPS + step
                train_discriminator("adversarial", epoch, index, share=1 / D_STEPS)
            run.finished("epochs", epoch)
            run.show(f"NLL {run.record['nll']:.3f}, reward {reward:.3f}")
    run.end()


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        main()
    except (InputError, FloatingPointError, OSError) as error:
        sys.exit(f"sequence_gan.py: {error}")
    except KeyboardInterrupt:
        unfinished = RESUME and newest_checkpoint()[1].get("ended", "never begun") is None
        kept = f": {CHECKPOINT_DIR} holds the run up to its last save; the same command goes on"
        print(f"\nStopped{kept if unfinished else ''}.")
        sys.exit(130)
