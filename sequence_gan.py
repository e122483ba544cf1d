"""SeqGAN on synthetic data: the experiment of Yu, Zhang, Wang, Yu (AAAI-17).

Edit the constants, run `python sequence_gan.py`, read save/experiment-log.txt.
"""

import json
import math
import os
import signal
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until main begins, Ctrl-C simply ends it
    while os.open(os.devnull, os.O_RDWR) < 2:
        pass  # standard streams that are closed lead nowhere
    sys.stdout, sys.stderr = sys.stdout or open(1, "w"), sys.stderr or open(2, "w")
    sys.stdout.reconfigure(errors="replace", line_buffering=True)

import numpy as np
from tqdm import tqdm

import dataloader
from dataloader import END, InputError, batches, labelled_batches, token_text, write_file

with dataloader.muted_stderr():  # on import TensorFlow writes there whatever its level
    import tensorflow as tf

from discriminator import Discriminator
from generator import Generator
from rollout import Bleu, Rollout, self_bleu
from target_lstm import TargetLSTM, write_params

# Generator and oracle
EMB_DIM = 32  # embedding size
HIDDEN_DIM = 32  # LSTM state size
SEQ_LENGTH = 20  # tokens in a sequence
START_TOKEN = 0  # first input of the LSTM; not part of a sequence
VOCAB_SIZE = 5000  # tokens are 0..VOCAB_SIZE - 1; of a text, the most that are known
PRE_EPOCH_NUM = 120  # epochs of maximum likelihood (MLE) pre-training
OWN_TOKEN_GROWTH = 0.0  # scheduled sampling: growth of the share of own inputs, 0.002 in the paper
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
GENERATED_NUM = 10000  # sequences in a set, rounded down to whole batches
EVAL_EVERY = 5  # epochs between evaluations

REWARD = "discriminator"  # or "bleu": BLEU-3 against the real sequences, without a discriminator

TARGET_FILE = "save/target_params.npz"  # the oracle; the authors' pickle can be named here
TEXT_FILE = None  # a text in place of the oracle: a sequence a line, blanks between its tokens
TEST_FILE = None  # its held-out lines; None: a tenth of TEXT_FILE


def main():
    """SeqGAN, Algorithm 1 of the paper."""
    run = Run()
    seeds = np.random.SeedSequence(SEED).generate_state(5).tolist()
    oracle, words, positives, held_out = load_data(seeds)
    set_size = min(GENERATED_NUM // BATCH_SIZE * BATCH_SIZE, len(positives))
    vocab_size, end = (len(words), END) if words else (VOCAB_SIZE, None)
    lstm = vocab_size, EMB_DIM, HIDDEN_DIM, SEQ_LENGTH, START_TOKEN
    generator = Generator(*lstm, GEN_LEARNING_RATE, GEN_GRAD_CLIP, seeds[1])
    rollout = Rollout(generator, ROLLOUT_UPDATE_RATE)
    models = {"generator": generator, "policy": rollout.policy}
    if REWARD == "bleu":
        score, rounds, d_steps = Bleu(positives, 3, end), 0, 0
    else:
        cnn = DIS_EMBEDDING_DIM, DIS_FILTER_SIZES, DIS_NUM_FILTERS
        training = DIS_DROPOUT_KEEP_PROB, DIS_L2_REG_LAMBDA, DIS_LEARNING_RATE
        discriminator = Discriminator(SEQ_LENGTH, vocab_size, *cnn, *training, seeds[2])
        score, rounds, d_steps = discriminator.prob_real, DIS_PRETRAIN_ROUNDS, D_STEPS
        models["discriminator"] = discriminator
    bleus = [Bleu(held_out, n, end) for n in (2, 3, 4, 5)] if words else []
    files = {VOCABULARY_FILE: "\n".join([*words, ""])} if words else {}
    run.begin(files or {POSITIVE_FILE: token_text(positives)}, models)

    def evaluate(stage, epoch):
        samples = generator.sample(1000 if words else set_size).numpy()
        write_file(EVAL_FILE, token_text(samples, words))
        values = {"nll_oracle": oracle.nll(samples)} if oracle else {}
        values["nll_test"] = generator.nll(held_out, end)
        for bleu in bleus:
            values[f"bleu_{bleu.n}"] = np.mean(bleu(samples))
            values[f"self_bleu_{bleu.n}"] = self_bleu(samples, bleu.n, end)
        run.measure(stage, epoch, **values)
        write_params(GENERATOR_FILE, generator.get_params())
        nll = values.get("nll_oracle", values["nll_test"])
        run.log(f"epoch:\t{epoch}\tnll:\t{nll:g}")
        if words:
            run.say(f"sample:\t{token_text(samples[:1], words).strip()}")

    def train_discriminator(stage, epoch, index):
        """Train for DIS_EPOCHS epochs on set number `index` of fresh negatives (paper, eq. 5)."""
        negatives = generator.sample(set_size).numpy()
        write_file(NEGATIVE_FILE, token_text(negatives, words))
        rng = np.random.default_rng([seeds[3], index])
        real = rng.choice(positives, set_size, replace=False) if words else positives
        x, y = labelled_batches(real, negatives, DIS_BATCH_SIZE, rng)
        steps = run.steps(DIS_EPOCHS * list(zip(x, y)))
        losses = [discriminator.train_step(*batch) for batch in steps]
        guesses = discriminator.prob_real(np.concatenate(x[:20])) > 0.5
        accuracy = np.mean(guesses == np.concatenate(y[:20]))
        run.measure(stage, epoch, dis_loss=np.mean(losses[-len(x) :]), dis_accuracy=accuracy)

    for epoch in run.epochs("mle", PRE_EPOCH_NUM, "pre-training..."):
        share = min(1.0, OWN_TOKEN_GROWTH * (epoch + 1))
        steps = run.steps(batches(positives, BATCH_SIZE))
        losses = [generator.pretrain_step(x, share) for x in steps]
        run.measure("mle", epoch, mle_loss=np.mean(losses))
        if epoch % EVAL_EVERY == 0:
            evaluate("mle", epoch)

    for index in run.epochs("discriminator", rounds):
        train_discriminator("discriminator", index, index)

    for epoch in run.epochs("adversarial", TOTAL_BATCH, "adversarial training..."):
        if epoch == 0:
            rollout.reset()
        for _ in range(G_STEPS):
            samples = generator.sample(BATCH_SIZE)
            rewards = rollout.get_reward(samples, ROLLOUT_NUM, score)
            loss = generator.reinforce_step(samples, rewards)
        run.measure("adversarial", epoch, pg_loss=loss, reward_mean=np.mean(rewards))
        if epoch % EVAL_EVERY == 0 or epoch == TOTAL_BATCH - 1:
            evaluate("adversarial", epoch)
        rollout.update_params()
        for index in range(rounds + epoch * d_steps, rounds + (epoch + 1) * d_steps):
            train_discriminator("adversarial", epoch, index)
    write_params(GENERATOR_FILE, generator.get_params())
    run.end()


def load_data(seeds):
    """(oracle, None, positives, held out); of a text (None, words, its lines, those held out)."""
    if TEXT_FILE is not None:
        rng = np.random.default_rng(seeds[4])
        words, *parts = dataloader.read_corpus(TEXT_FILE, TEST_FILE, VOCAB_SIZE, SEQ_LENGTH, rng)
        lines = len(parts[0])
        dataloader.check_number(f"BATCH_SIZE, of {lines} lines", BATCH_SIZE, 1, lines)
        dataloader.check_number("DIS_BATCH_SIZE", DIS_BATCH_SIZE, 1, 2 * lines)
        return None, words, *parts
    sizes = VOCAB_SIZE, EMB_DIM, HIDDEN_DIM
    models = [
        TargetLSTM.load(TARGET_FILE, SEQ_LENGTH, START_TOKEN, seed, sizes)
        for seed in (seeds[0], seeds[4])
    ]
    num = GENERATED_NUM // BATCH_SIZE * BATCH_SIZE
    return models[0], None, *(model.sample(num).numpy() for model in models)


# --------------------------------------------------------------------------------------------------
# The algorithm ends here. What follows keeps a run on the disk and shows it.

LOG_FILE = "save/experiment-log.txt"
METRICS_FILE = "save/metrics.csv"
PICTURE_FILE = "save/learning-curve.png"
VOCABULARY_FILE = "save/vocabulary.txt"  # of a text: line number k is word number k, from 0
POSITIVE_FILE = "save/real_data.txt"  # drawn from the oracle
NEGATIVE_FILE = "save/generator_sample.txt"  # the latest set of negatives
EVAL_FILE = "save/eval_file.txt"  # the sequences of the latest evaluation
GENERATOR_FILE = "save/generator.npz"  # the generator's weights, in the oracle's format
CHECKPOINTS = "save/checkpoint/a", "save/checkpoint/b"  # written in turn
PARTS = ".index", ".data-00000-of-00001"
OUTPUTS = [path + part for part in PARTS for path in CHECKPOINTS]  # in the order of keeping aside
OUTPUTS += [LOG_FILE, METRICS_FILE, PICTURE_FILE, POSITIVE_FILE, NEGATIVE_FILE, EVAL_FILE]
OUTPUTS += [GENERATOR_FILE, VOCABULARY_FILE]
METRICS = (
    "stage epoch nll_oracle nll_test mle_loss dis_loss dis_accuracy reward_mean pg_loss seconds"
)
METRICS = [*METRICS.split(), *(f"{s}bleu_{n}" for s in ("", "self_") for n in (2, 3, 4, 5))]
MODULES = "sequence_gan", "generator", "discriminator", "rollout", "target_lstm", "dataloader"


class Run:
    """One run of the experiment: how far it is, on the disk and on the screen."""

    def __init__(self):
        check_constants()
        os.makedirs("save", exist_ok=True)
        self.lock = dataloader.lock("save/.lock")
        self.path, record = newest_checkpoint()
        self.earlier, now = record.get("saved"), settings()
        code = {name: dataloader.digest(Path(__file__).parent / f"{name}.py") for name in MODULES}
        if record and goes_on(record, now):
            changed = [f"{name}.py" for name in code if record["code"].get(name) != code[name]]
            if changed:
                print(f"Changed since {self.earlier}: {', '.join(changed)}")
        else:
            logs = {LOG_FILE: "", METRICS_FILE: ",".join(METRICS) + "\n"}
            self.path, record = None, {"done": {}, "logs": logs, "saves": 0, "seconds": 0.0}
        self.record = record | {"settings": now, "code": code, "finished": False}
        self.started = time.monotonic() - record["seconds"]
        self.terminal = sys.stderr.isatty()
        screen = sys.stderr if self.terminal else open(os.devnull, "w")
        self.bar, self.bars, self.undrawn = None, {"file": screen, "dynamic_ncols": True}, ""

    def begin(self, files, models):
        """Restore models, {name: tf.Module}, or clear the way for a new run; then write its files.

        files: {path: text} of the outputs that every start writes alike.
        """
        self.json = tf.Variable("", dtype=tf.string)  # the record
        self.checkpoint = tf.train.Checkpoint(record=self.json, **models)
        state = f"going on after {self.record['done']}" if self.path else "a new run"
        if self.path:
            self.checkpoint.restore(self.path).expect_partial()
        else:
            dataloader.keep_aside(OUTPUTS, self.earlier)
        for path, text in (files | self.record["logs"]).items():
            dataloader.bring_back(path, text)
        if not self.path:
            self.save()
        where = "a GPU" if tf.config.list_physical_devices("GPU") else f"{os.cpu_count()} CPU cores"
        print(f"SeqGAN, {state}, on {where}; the log is {LOG_FILE}")
        sets = (0, 0) if REWARD == "bleu" else (DIS_PRETRAIN_ROUNDS, D_STEPS)
        print(f"  {PRE_EPOCH_NUM} epochs of MLE, {sets[0]} sets for the discriminator,")
        print(
            f"  {TOTAL_BATCH} adversarial epochs of {sets[1]} sets; each stage tells its time left"
        )
        print("  Ctrl-C stops, the same command goes on")

    def epochs(self, stage, number, heading=None):
        """The epochs of a stage that are not done yet, each saved after the loop's body."""
        done = self.record["done"].get(stage, 0)
        if done == number:
            return
        if heading and done == 0:
            self.log(heading)
        with tqdm(desc=stage, total=number, initial=done, unit="epoch", **self.bars) as self.bar:
            for epoch in range(done, number):
                yield epoch
                self.record["done"][stage] = epoch + 1
                self.save()
                self.bar.update()
        self.bar = None

    def steps(self, items):
        """The items of an epoch, with a bar of their own."""
        return tqdm(items, unit="step", leave=False, **self.bars)

    def measure(self, stage, epoch, **values):
        """A row of the metrics, shown; raises FloatingPointError if a value is not finite."""
        row = {"stage": stage, "epoch": epoch, "seconds": round(time.monotonic() - self.started)}
        for name, value in values.items():
            if not math.isfinite(value):
                what = f"{name} of {stage} epoch {epoch} is {float(value)}"
                raise FloatingPointError(f"{what}: the run cannot go on; the log so far is kept")
            row[name] = f"{float(value):g}"
        self.append(METRICS_FILE, ",".join(str(row.get(name, "")) for name in METRICS))
        shown = ", ".join(f"{name} {row[name]}" for name in values)
        if self.terminal:
            self.bar.set_postfix_str(shown)
        else:
            self.say(f"{stage} {epoch}: {shown}")

    def log(self, line):
        """A line of the experiment log, and of the screen; the picture is drawn anew."""
        self.append(LOG_FILE, line)
        self.say(line)
        try:
            dataloader.plot_learning_curves({"SeqGAN": LOG_FILE}, PICTURE_FILE, METRICS_FILE)
        except Exception as error:  # of a library that the experiment does not need
            if str(error) != self.undrawn:
                self.say(f"{PICTURE_FILE} cannot be drawn: {error}")
            self.undrawn = str(error)

    def append(self, path, line):
        self.record["logs"][path] += f"{line}\n"
        dataloader.append_line(path, self.record["logs"][path])

    def say(self, line):
        """A line that stays on the screen; where no bar is seen, with its times."""
        if self.bar and not self.terminal:
            form = {"bar_format": "{desc} {n_fmt}/{total_fmt}, {elapsed}<{remaining}"}
            line += f"\t[{tqdm.format_meter(**self.bar.format_dict | form)}]"
        tqdm.write(line)

    def save(self):
        """Write a checkpoint, which survives a power cut, in place of the older of the two."""
        self.record["seconds"] = time.monotonic() - self.started
        self.record["saved"] = time.strftime("%Y-%m-%dT%H-%M-%S")
        self.record["saves"] += 1
        self.json.assign(json.dumps(self.record))
        path = CHECKPOINTS[self.record["saves"] % 2]
        try:
            self.checkpoint.write(path)
        except tf.errors.OpError as error:
            why = error.message.rpartition("}} ")[-1]  # after the name of TensorFlow's node
            raise OSError(f"{path}: cannot be written: {why}") from None
        dataloader.flush_to_disk(*(path + part for part in PARTS), os.path.dirname(path))

    def end(self):
        """Note that the run is over."""
        self.record["finished"] = True
        self.save()
        self.say(f"Done. The generator is in {GENERATOR_FILE}")


def newest_checkpoint():
    """(path, record) of the newest checkpoint that is whole, or (None, {}) where there is none."""
    whole = []
    for path in CHECKPOINTS:
        try:
            reader = tf.train.load_checkpoint(path)
            for name in reader.get_variable_to_shape_map():  # reading compares the checksums
                reader.get_tensor(name)
            record = json.loads(reader.get_tensor("record/.ATTRIBUTES/VARIABLE_VALUE"))
            whole.append((record["saves"], path, record))
        except Exception:  # TensorFlow has no one class for what damage does to its reader
            continue  # cut short by a kill, a power cut or a full disk: the other one counts
    if not whole and any(os.path.exists(path + PARTS[0]) for path in CHECKPOINTS):
        raise InputError("save/checkpoint: cannot be read; move it away to start afresh")
    return max(whole)[1:] if whole else (None, {})


def settings():
    """What shapes a run: the constants, and the content of the file that they name."""
    names = list(globals())
    values = {n: globals()[n] for n in names[: names.index("main")] if n.isupper()}
    if TEXT_FILE is not None:
        del values["TARGET_FILE"]
    for name in [name for name in values if name.endswith("_FILE") and values[name]]:
        values[f"{name} (its SHA-256)"] = dataloader.digest(values.pop(name))
    return json.loads(json.dumps(values))  # as a record gives them back


def goes_on(record, now):
    """Whether a start with the settings `now` goes on with the run of a record, or begins one."""
    was, longer = record["settings"], now["TOTAL_BATCH"] > record["done"].get("adversarial", 0)
    changed = [name for name in was | now if was.get(name) != now.get(name)]
    if longer and "TOTAL_BATCH" in changed:
        changed.remove("TOTAL_BATCH")
    if changed and not record["finished"]:
        changes = ", ".join(f"{n} was {was.get(n)!r}, is {now.get(n)!r}" for n in changed)
        raise InputError(
            f"save/checkpoint holds an unfinished run with other settings: {changes}; "
            "put them back to go on with it, or delete that folder to start afresh"
        )
    return not changed and (longer or not record["finished"])


def check_constants():
    """Raise InputError naming the first constant that the experiment cannot be run with."""

    def check(names, *bounds):
        for name in names.split():
            dataloader.check_number(name, globals()[name], *bounds)

    check("EMB_DIM HIDDEN_DIM SEQ_LENGTH VOCAB_SIZE BATCH_SIZE EVAL_EVERY G_STEPS", 1, 10**6)
    check("ROLLOUT_NUM DIS_EPOCHS DIS_EMBEDDING_DIM", 1, 10**6)
    check("PRE_EPOCH_NUM DIS_PRETRAIN_ROUNDS TOTAL_BATCH D_STEPS", 0, 10**6)
    check("SEED", 0, 2**64 - 1)
    check("START_TOKEN", 0, VOCAB_SIZE - 1)
    check("GENERATED_NUM", BATCH_SIZE, 10**7)
    check("DIS_BATCH_SIZE", 1, 2 * (GENERATED_NUM // BATCH_SIZE * BATCH_SIZE))
    check("GEN_LEARNING_RATE GEN_GRAD_CLIP DIS_LEARNING_RATE", 1e-30, 1e30, (int, float))
    check("DIS_L2_REG_LAMBDA", 0, 1e38, (int, float))
    check("DIS_DROPOUT_KEEP_PROB", 1e-6, 1, (int, float))
    check("ROLLOUT_UPDATE_RATE OWN_TOKEN_GROWTH", 0, 1, (int, float))
    for name in ("DIS_FILTER_SIZES", "DIS_NUM_FILTERS"):  # what is in them, Discriminator checks
        if type(globals()[name]) not in (list, tuple):
            raise InputError(f"{name}: expected a list of numbers, found {globals()[name]!r}")
    names = ["TARGET_FILE"]
    if TEXT_FILE is not None:
        check("VOCAB_SIZE", 3, 10**6)
        check("START_TOKEN", END, END)
        names = ["TEXT_FILE"]
    for name in [*names, "TEST_FILE"] if TEST_FILE is not None else names:
        path = globals()[name]
        if type(path) is not str or not os.path.isfile(path):
            raise InputError(f"{name}: expected the name of a file, found {path!r}")
        if os.path.realpath(path) in map(os.path.realpath, OUTPUTS):
            raise InputError(f"{name}: expected a file that a run does not write, found {path!r}")
    if REWARD not in ("discriminator", "bleu"):
        raise InputError(f"REWARD: expected 'discriminator' or 'bleu', found {REWARD!r}")


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        tf.get_logger().setLevel("ERROR")  # every batch size is compiled once: no retracing
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
        # Products in float32, as the authors': on newer GPUs TensorFlow would round their factors.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        main()
    except (InputError, FloatingPointError, OSError) as error:
        sys.exit(f"sequence_gan.py: {error}")
    except (MemoryError, tf.errors.ResourceExhaustedError):
        sys.exit("sequence_gan.py: these constants or files need more memory than there is")
    except KeyboardInterrupt:
        kept = ": save/checkpoint holds the run up to its last save; the same command goes on"
        print("\nStopped" + kept * (newest_checkpoint()[1].get("finished") is False))
        sys.exit(130)
