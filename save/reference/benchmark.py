"""How close each phase is to the hardware's limit: `python save/reference/benchmark.py`.

u is the time of one 2048 x 2048 x 2048 float32 matmul. A floor is a phase's floating-point
operations at that matmul's rate, plus Adam's traffic at the memory's rate. The time of a run
with the constants of sequence_gan.py is estimated from its phases alone, without files, pictures
and BLEU.
"""

import statistics
import sys
import time

import numpy as np
from controls import in_one_line

import sequence_gan as c
from discriminator import Discriminator
from generator import LSTM, Generator, read_model
from rollout import Rollout

# isort: split
import tensorflow as tf  # after sequence_gan, which silences it

NUM = c.whole_batches(c.GENERATED_NUM, c.BATCH_SIZE)
SOME = c.STEPS_A_CALL  # discriminator steps in one call
LSTM_FLOPS = 2 * (4 * (c.EMB_DIM + c.HIDDEN_DIM) * c.HIDDEN_DIM + c.HIDDEN_DIM * c.VOCAB_SIZE)
DIS_FLOPS = 4 * sum(c.DIS_NUM_FILTERS) ** 2 + sum(
    2 * f * c.DIS_EMBEDDING_DIM * n * (c.SEQ_LENGTH - f + 1)
    for f, n in zip(c.DIS_FILTER_SIZES, c.DIS_NUM_FILTERS)
)
ADAM_BYTES = 28  # a weight: it and two moments read and written, its gradient read


def median(work, times):
    """Seconds of a call, after a first one."""
    seconds = []
    for _ in range(times + 1):
        start = time.perf_counter()
        work()
        tf.test.experimental.sync_devices()  # a GPU may still be at it
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main():
    a, big = tf.random.normal([2048, 2048]), tf.Variable(tf.zeros([20_000_000]))
    matmul, ones = tf.function(lambda: tf.matmul(a, a)), tf.ones([20_000_000])
    bandwidth = 12 * 20_000_000 / median(lambda: big.assign_add(ones), 7)

    oracle = LSTM(read_model(c.TARGET_FILE)[0], c.SEQ_LENGTH)
    generator = Generator(c.VOCAB_SIZE, c.EMB_DIM, c.HIDDEN_DIM, c.SEQ_LENGTH)
    cnn = c.DIS_EMBEDDING_DIM, c.DIS_FILTER_SIZES, c.DIS_NUM_FILTERS
    discriminator = Discriminator(c.SEQ_LENGTH, c.VOCAB_SIZE, *cnn)
    rollout = Rollout(generator)
    samples = oracle.sample(NUM).numpy()
    batch = samples[: c.BATCH_SIZE]
    x = np.resize(samples, [SOME, c.DIS_BATCH_SIZE, c.SEQ_LENGTH])
    y = np.tile(np.arange(c.DIS_BATCH_SIZE) % 2, [SOME, 1])

    draw = NUM * c.SEQ_LENGTH * LSTM_FLOPS
    rollouts = c.BATCH_SIZE * c.ROLLOUT_NUM
    reward = rollouts * sum(range(c.SEQ_LENGTH)) * LSTM_FLOPS
    reward += (rollouts * (c.SEQ_LENGTH - 1) + c.BATCH_SIZE) * DIS_FLOPS
    models = generator, discriminator
    weights = [sum(int(tf.size(w)) for w in m.weights.values()) for m in models]
    mle_flops = 3 * c.BATCH_SIZE * c.SEQ_LENGTH * LSTM_FLOPS
    dis_flops = SOME * 3 * c.DIS_BATCH_SIZE * DIS_FLOPS
    sets = c.DIS_PRETRAIN_ROUNDS + c.TOTAL_BATCH * c.D_STEPS
    calls = sets * c.DIS_EPOCHS * (2 * NUM // c.DIS_BATCH_SIZE) // SOME
    evaluations = (c.PRE_EPOCH_NUM + c.TOTAL_BATCH) // c.EVAL_EVERY + 1
    phases = [  # name, work, times, FLOPs, weights that Adam updates, how often in a run
        ("MLE step", lambda: generator.pretrain_step(batch), 100, mle_flops, weights[0],
         c.PRE_EPOCH_NUM * (NUM // c.BATCH_SIZE)),
        (f"draw of {NUM}", lambda: generator.sample(NUM), 7, draw, 0, sets + evaluations),
        (f"NLL of {NUM}", lambda: oracle.nll(samples), 7, draw, 0, 3 * evaluations),
        (f"{SOME} discriminator steps", lambda: discriminator.train_steps(x, y), 7,
         dis_flops, SOME * weights[1], calls),
        ("rewards", lambda: rollout.get_reward(batch, c.ROLLOUT_NUM, discriminator.prob_real), 5,
         reward, 0, c.TOTAL_BATCH * c.G_STEPS),
    ]  # fmt: skip
    rows, us = [], []
    for name, work, times, flops, adam, count in phases:
        us.append(median(matmul, 7))
        rows.append((name, median(work, times), flops, adam, count))
    u = statistics.median(us)
    whole = sum(seconds * count for _, seconds, _, _, count in rows)
    print(f"u = {1e3 * u:.1f} ms, memory {bandwidth / 1e9:.0f} GB/s\n")
    print("| phase | time | time in u | floor / time | share of the run |\n|---|---|---|---|---|")
    for name, seconds, flops, adam, count in rows:
        floor = flops / (2 * 2048**3) * u + adam * ADAM_BYTES / bandwidth
        cells = f"{1e3 * seconds:.1f} ms | {seconds / u:.2f} | {floor / seconds:.2f}"
        print(f"| {name} | {cells} | {seconds * count / whole:.1%} |")
    print(f"\nthe whole run: {whole / 3600:.1f} h")


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"benchmark.py: expected no arguments, found {sys.argv[1:]}")
    in_one_line(main)
