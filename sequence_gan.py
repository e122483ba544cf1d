"""SeqGAN on synthetic data: the experiment of Yu, Zhang, Wang, Yu (AAAI-17).

Edit the constants, run `python sequence_gan.py`, read save/experiment-log.txt.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if __name__ == "__main__":
    print("SeqGAN: loading TensorFlow ...", flush=True)

import tensorflow as tf

import dataloader
from dataloader import InputError, Text, batches, labelled_batches, pieces, token_text, write_file
from discriminator import Discriminator
from generator import Generator
from rollout import Bleu, Rollout, self_bleu
from target_lstm import Oracle, write_params

tf.get_logger().setLevel("ERROR")  # no warnings that batches of another size are compiled, too
tf.config.experimental.enable_tensor_float_32_execution(False)  # float32 throughout, as theirs
for gpu in tf.config.list_physical_devices("GPU"):
    tf.config.experimental.set_memory_growth(gpu, True)

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
GENERATED_NUM = 10000  # sequences in a set of negatives, and of the oracle's, in whole batches
EVAL_EVERY = 5  # epochs between evaluations

TARGET_FILE = "save/target_params.npz"  # the oracle; the authors' pickle can be named here
TEXT_FILE = None  # a text in place of the oracle: a sequence a line, blanks between its tokens
TEST_FILE = None  # its held-out lines; None: a tenth of TEXT_FILE


@FileLock("save/.lock", timeout=0)  # one run at a time in a folder
def main():
    """SeqGAN, Algorithm 1 of the paper."""
    run = Run()
    names = "data", "generator", "discriminator", "sets"
    seeds = dict(zip(names, np.random.SeedSequence(SEED).generate_state(4).tolist()))
    set_size = GENERATED_NUM // BATCH_SIZE * BATCH_SIZE
    if TEXT_FILE:
        data = Text(TEXT_FILE, TEST_FILE, VOCAB_SIZE, SEQ_LENGTH, seeds["data"])
    else:
        sizes = VOCAB_SIZE, EMB_DIM, HIDDEN_DIM
        data = Oracle(TARGET_FILE, sizes, SEQ_LENGTH, START_TOKEN, set_size, seeds["data"])
    set_size = min(set_size, len(data.positives))
    dataloader.check_number("BATCH_SIZE", BATCH_SIZE, 1, set_size)
    dataloader.check_number("DIS_BATCH_SIZE", DIS_BATCH_SIZE, 1, 2 * set_size)

    generator = Generator(
        vocab_size=data.vocab_size, emb_dim=EMB_DIM, hidden_dim=HIDDEN_DIM,
        sequence_length=SEQ_LENGTH, start_token=START_TOKEN,
        learning_rate=GEN_LEARNING_RATE, grad_clip=GEN_GRAD_CLIP, seed=seeds["generator"],
    )  # fmt: skip
    discriminator = Discriminator(
        sequence_length=SEQ_LENGTH, vocab_size=data.vocab_size, embedding_dim=DIS_EMBEDDING_DIM,
        filter_sizes=DIS_FILTER_SIZES, num_filters=DIS_NUM_FILTERS,
        dropout_keep_prob=DIS_DROPOUT_KEEP_PROB, l2_reg_lambda=DIS_L2_REG_LAMBDA,
        learning_rate=DIS_LEARNING_RATE, seed=seeds["discriminator"],
    )  # fmt: skip
    rollout = Rollout(generator, ROLLOUT_UPDATE_RATE)
    run.begin(data, generator=generator, discriminator=discriminator, policy=rollout.policy)

    def evaluate(stage, epoch):
        """Measure the generator; a metric is added here."""
        samples = generator.sample(data.num_eval).numpy()
        values = data.measure(generator, samples)
        for n in data.bleu_orders:
            values[f"bleu_{n}"] = np.mean(Bleu(data.held_out, n, data.end)(samples[:1000]))
            values[f"self_bleu_{n}"] = self_bleu(samples[:1000], n, data.end)
        run.measure(stage, epoch, **values)
        write_file(EVAL_FILE, token_text(samples, data.words))
        write_params(GENERATOR_FILE, generator.get_params())
        run.log(f"epoch:\t{epoch}\tnll:\t{values[data.judge]:g}")
        if data.words:
            tqdm.write(f"sample:\t{token_text(samples[:1], data.words).strip()}")

    def train_discriminator(stage, epoch, index):
        """Train for DIS_EPOCHS epochs on set number `index` of fresh negatives (paper, eq. 5)."""
        negatives = generator.sample(set_size).numpy()
        write_file(NEGATIVE_FILE, token_text(negatives, data.words))
        rng = np.random.default_rng([seeds["sets"], index])
        real = rng.choice(data.positives, set_size, replace=False)
        x, y = labelled_batches(real, negatives, DIS_BATCH_SIZE, rng)

        for _ in range(DIS_EPOCHS):
            parts = list(zip(pieces(x, 26), pieces(y, 26)))  # a second each, so that Ctrl-C works
            losses = [discriminator.train_steps(*part) for part in tqdm(parts, leave=False, **BAR)]
        guesses = discriminator.prob_real(np.concatenate(x[:20])) > 0.5
        accuracy = np.mean(guesses == np.concatenate(y[:20]))
        run.measure(stage, epoch, dis_loss=np.mean(np.concatenate(losses)), dis_accuracy=accuracy)

    for epoch in run.epochs("mle", PRE_EPOCH_NUM, "pre-training..."):
        steps = tqdm(batches(data.positives, BATCH_SIZE), leave=False, **BAR)
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
            train_discriminator("adversarial", epoch, DIS_PRETRAIN_ROUNDS + epoch * D_STEPS + step)

    write_params(GENERATOR_FILE, generator.get_params())
    run.save(finished=True)
    print(f"Done. The generator is in {GENERATOR_FILE}")


# --------------------------------------------------------------------------------------------------
# The algorithm ends here. What follows keeps a run on the disk and shows it.

LOG_FILE = "save/experiment-log.txt"
METRICS_FILE = "save/metrics.csv"
PICTURE_FILE = "save/learning-curve.png"
SETTINGS_FILE = "save/settings.json"  # the constants of the run
POSITIVE_FILE = "save/real_data.txt"  # the sequences to learn from
VOCABULARY_FILE = "save/vocabulary.txt"  # of a text: line number k is word number k, from 0
NEGATIVE_FILE = "save/generator_sample.txt"  # the latest set of negatives
EVAL_FILE = "save/eval_file.txt"  # the sequences of the latest evaluation
GENERATOR_FILE = "save/generator.npz"  # the generator's weights, in the oracle's format
CHECKPOINT_FILE = "save/checkpoint.npz"  # what an interrupted run goes on from
INPUTS = ["TARGET_FILE", "TEXT_FILE", "TEST_FILE"]
OUTPUTS = [v for k, v in globals().items() if k.endswith("_FILE") and k not in INPUTS]
BAR = {"disable": None, "dynamic_ncols": True}  # None: no bars where there is no terminal


class Run:
    """One run of the experiment: how far it is, on the disk and on the screen."""

    def __init__(self):
        check_constants()
        now = settings()
        self.record, self.arrays = dataloader.read_checkpoint(CHECKPOINT_FILE)
        self.is_new = not self.record or not dataloader.goes_on(self.record, now)
        if self.is_new:
            self.record = {"done": {}, "log": "", "rows": [], "seconds": 0.0}
        self.record["settings"] = now
        self.started = time.monotonic() - self.record["seconds"]

    def begin(self, data, **models):
        """Restore the models, or clear the way for a new run; write the files it begins with."""
        self.variables = all_variables(**models)
        if self.is_new:
            dataloader.keep_aside(OUTPUTS)
            self.save()
        else:
            for variable, array in zip(self.variables, self.arrays, strict=True):
                variable.assign(array)

        write_file(SETTINGS_FILE, json.dumps(self.record["settings"], indent=1) + "\n")
        write_file(POSITIVE_FILE, token_text(data.positives, data.words))
        if data.words:
            write_file(VOCABULARY_FILE, "\n".join([*data.words, ""]))
        write_file(LOG_FILE, self.record["log"])

        done = [f"{stage} {number}" for stage, number in self.record["done"].items()]
        state = f"going on after {', '.join(done)}" if done else "a new run"
        where = f"{os.cpu_count()} CPU cores, {len(tf.config.list_physical_devices('GPU'))} GPUs"
        print(f"SeqGAN, {state}, on {where}; the log is {LOG_FILE}. Ctrl-C stops, the same")
        print("command goes on. The default run takes 12 to 15 hours on two CPU cores.")

    def epochs(self, stage, number, heading=None):
        """The epochs of a stage that are not done yet, each saved after the loop's body."""
        done = self.record["done"].get(stage, 0)
        if done >= number:
            return
        if heading and done == 0:
            self.log(heading)
        with tqdm(desc=stage, total=number, initial=done, unit="epoch", **BAR) as self.bar:
            for epoch in range(done, number):
                yield epoch
                self.record["done"][stage] = epoch + 1
                self.save()
                self.bar.update()

    def measure(self, stage, epoch, **values):
        """A row of the metrics, shown; raises FloatingPointError if a value is not finite."""
        row = {"stage": stage, "epoch": epoch, "seconds": round(time.monotonic() - self.started)}
        for name, value in values.items():
            row[name] = float(f"{value:g}")
            if not np.isfinite(value):
                what = f"{name} of {stage} epoch {epoch} is {row[name]}"
                raise FloatingPointError(f"{what}: the run cannot go on; the log so far is kept")
        rows = self.record["rows"]
        rows.append(row)
        self.bar.set_postfix({name: row[name] for name in values})

        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = [columns, *([row.get(name, "") for name in columns] for row in rows)]
        write_file(METRICS_FILE, "".join(",".join(map(str, line)) + "\n" for line in table))
        if "nll_test" in values:
            try:
                dataloader.plot_metrics(rows, PRE_EPOCH_NUM, PICTURE_FILE)
            except Exception as error:  # of a library that the experiment does not need
                tqdm.write(f"{PICTURE_FILE} cannot be drawn: {error}")

    def log(self, line):
        """A line of the experiment log, and of the screen."""
        self.record["log"] += f"{line}\n"
        with open(LOG_FILE, "a") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        tqdm.write(line)

    def save(self, finished=False):
        """Write all that the run goes on from, in one step."""
        self.record |= {"seconds": time.monotonic() - self.started, "finished": finished}
        dataloader.write_checkpoint(CHECKPOINT_FILE, self.record, self.variables)


def all_variables(**models):
    """All that TensorFlow finds in the attributes of the models, in an order of its own."""
    root = tf.train.Checkpoint(**models)
    parts = tf.train.TrackableView(root).descendants()
    for optimizer in [part for part in parts if isinstance(part, tf.compat.v1.train.Optimizer)]:
        parts += optimizer.variables()
    return [part for part in parts if isinstance(part, tf.Variable)]


def settings():
    """The constants of the run, and the SHA-256 of each file that they name."""
    names = list(globals())
    values = {n: globals()[n] for n in names[: names.index("main")] if n.isupper()}
    for name in INPUTS[1:] if TEXT_FILE else INPUTS[:1]:
        path = values[name]
        if (path or name == "TARGET_FILE") and (path in OUTPUTS or not os.path.isfile(str(path))):
            found = f"{path!r}, sought in {os.getcwd()}"
            raise InputError(f"{name}: expected a file, and none that a run writes, found {found}")
        if path:
            values[f"content of {name}"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return json.loads(json.dumps(values, default=str))  # as a record gives them back


def check_constants():
    """Raise InputError naming the first constant that the experiment cannot be run with."""

    def check(names, *bounds):
        for name in names.split():
            dataloader.check_number(name, globals()[name], *bounds)

    check("EMB_DIM HIDDEN_DIM SEQ_LENGTH BATCH_SIZE EVAL_EVERY G_STEPS ROLLOUT_NUM", 1, 10**6)
    check("DIS_EPOCHS DIS_EMBEDDING_DIM DIS_BATCH_SIZE", 1, 10**6)
    check("PRE_EPOCH_NUM DIS_PRETRAIN_ROUNDS TOTAL_BATCH D_STEPS", 0, 10**6)
    check("SEED", 0, 2**64 - 1)
    check("VOCAB_SIZE", 3, 10**6)
    check("START_TOKEN", 0, VOCAB_SIZE - 1)
    check("GENERATED_NUM", BATCH_SIZE, 10**7)
    check("GEN_LEARNING_RATE GEN_GRAD_CLIP DIS_LEARNING_RATE", 1e-30, 1e30, (int, float))
    check("DIS_L2_REG_LAMBDA", 0, 1e30, (int, float))
    check("DIS_DROPOUT_KEEP_PROB", 1e-6, 1, (int, float))
    check("ROLLOUT_UPDATE_RATE", 0, 1, (int, float))
    for name, most in ("DIS_FILTER_SIZES", SEQ_LENGTH), ("DIS_NUM_FILTERS", 10**6):
        if type(globals()[name]) not in (list, tuple) or not globals()[name]:
            raise InputError(f"{name}: expected a list of numbers, found {globals()[name]!r}")
        for number in globals()[name]:
            dataloader.check_number(f"{name}, each number", number, 1, most)
    if not len(set(DIS_FILTER_SIZES)) == len(DIS_FILTER_SIZES) == len(DIS_NUM_FILTERS):
        raise InputError("DIS_FILTER_SIZES: expected different ones, each with a DIS_NUM_FILTERS")
    if TEXT_FILE and START_TOKEN != dataloader.END:
        raise InputError(f"START_TOKEN: a text fixes it at 0, found {START_TOKEN}")


if __name__ == "__main__":
    while os.open(os.devnull, os.O_RDWR) < 2:
        pass  # closed standard streams lead nowhere, and to none of the files that are opened later
    sys.stdout, sys.stderr = sys.stdout or open(1, "w"), sys.stderr or open(2, "w")
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    try:
        main()
    except Timeout:
        sys.exit("sequence_gan.py: another run is under way in this folder")
    except (InputError, FloatingPointError, OSError) as error:
        sys.exit(f"sequence_gan.py: {error}")
    except (MemoryError, tf.errors.ResourceExhaustedError):
        sys.exit("sequence_gan.py: these constants or files need more memory than there is")
    except KeyboardInterrupt:
        print("\nStopped: the same command goes on after the last finished epoch")
        sys.exit(130)
