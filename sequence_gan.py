"""SeqGAN on synthetic data: the experiment of Yu, Zhang, Wang, Yu (AAAI-17), section 5.

Edit the constants, run `python sequence_gan.py`, read save/experiment-log.txt.
"""

import math
import os
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 2)  # while it is imported, TensorFlow writes there whatever its level
try:
    import tensorflow as tf
finally:
    os.dup2(stderr, 2)

from dataloader import InputError, batches, labelled_batches, read_tokens, write_tokens
from discriminator import Discriminator
from generator import Generator
from rollout import Rollout
from target_lstm import TargetLSTM

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
    check("DIS_DROPOUT_KEEP_PROB", lambda p: 0 < p <= 1, "a probability above 0")
    check("DIS_L2_REG_LAMBDA", lambda x: 0 <= x < math.inf, "a number from 0")
    check("ROLLOUT_UPDATE_RATE", lambda r: 0 <= r < 1, "a rate from 0 to below 1")
    check("GENERATED_NUM", lambda n: whole(n) and n >= BATCH_SIZE, f"at least {BATCH_SIZE=}")
    check("DIS_BATCH_SIZE", lambda n: n <= 2 * GENERATED_NUM, "at most 2 GENERATED_NUM")
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


def main():
    check_constants()
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    seeds = np.random.SeedSequence(SEED).generate_state(4).tolist()
    oracle = load_oracle(seeds[0])
    generator = Generator(VOCAB_SIZE, EMB_DIM, HIDDEN_DIM, SEQ_LENGTH, START_TOKEN, seed=seeds[1])
    rollout = Rollout(generator, ROLLOUT_UPDATE_RATE)
    discriminator = Discriminator(
        SEQ_LENGTH,
        VOCAB_SIZE,
        DIS_EMBEDDING_DIM,
        DIS_FILTER_SIZES,
        DIS_NUM_FILTERS,
        DIS_DROPOUT_KEEP_PROB,
        DIS_L2_REG_LAMBDA,
        seed=seeds[2],
    )
    generated_num = GENERATED_NUM // BATCH_SIZE * BATCH_SIZE
    write_tokens(POSITIVE_FILE, oracle.sample(generated_num))
    positives = read_tokens(POSITIVE_FILE, SEQ_LENGTH, VOCAB_SIZE)

    def evaluate(epoch):
        samples = generator.sample(generated_num)
        write_tokens(EVAL_FILE, samples)
        nll = must_be_finite(oracle.nll(samples), f"oracle NLL of epoch {epoch}")
        log(f"epoch:\t{epoch}\tnll:\t{nll:g}")

    def train_discriminator(negatives_round):
        negatives = generator.sample(generated_num).numpy()
        write_tokens(NEGATIVE_FILE, negatives)
        rng = np.random.default_rng([seeds[3], negatives_round])
        data = labelled_batches(positives, negatives, DIS_BATCH_SIZE, rng)
        for _ in range(DIS_EPOCHS):
            for x, y in zip(*data):
                loss = discriminator.train_step(x, y)
        must_be_finite(float(loss), f"discriminator loss of round {negatives_round}")

    with open(LOG_FILE, "w") as file:

        def log(line):
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
            print(line, flush=True)

        log("pre-training...")
        for epoch in range(PRE_EPOCH_NUM):
            for x in batches(positives, BATCH_SIZE):
                generator.pretrain_step(x)
            if epoch % EVAL_EVERY == 0:
                evaluate(epoch)
        for negatives_round in range(DIS_PRETRAIN_ROUNDS):
            train_discriminator(negatives_round)

        log("adversarial training...")
        for epoch in range(TOTAL_BATCH):
            for _ in range(G_STEPS):
                samples = generator.sample(BATCH_SIZE)
                rewards = rollout.get_reward(samples, ROLLOUT_NUM, discriminator.prob_real)
                generator.reinforce_step(samples, rewards)
            if epoch % EVAL_EVERY == 0 or epoch == TOTAL_BATCH - 1:
                evaluate(epoch)
            rollout.update_params()
            for step in range(D_STEPS):
                train_discriminator(DIS_PRETRAIN_ROUNDS + epoch * D_STEPS + step)


if __name__ == "__main__":
    try:
        main()
    except (InputError, FloatingPointError, OSError) as error:
        sys.exit(f"sequence_gan.py: {error}")
