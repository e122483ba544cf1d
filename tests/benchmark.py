"""How close each phase is to the hardware's limit; run by hand: `python tests/benchmark.py`.

u is the time of one 2048 x 2048 x 2048 float32 matmul. A floor is a phase's floating-point
operations at that matmul's rate, plus Adam's traffic at the memory's rate. What the default run
takes is estimated from its phases alone, without files, pictures and checkpoints. With the word
`kills` it kills a small experiment 25 times instead, and compares what is left with an
undisturbed one.
"""

import os
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

import experiment
import numpy as np
import tensorflow as tf

import sequence_gan as c
from dataloader import token_text, write_file
from discriminator import Discriminator
from generator import LSTM, Generator
from rollout import Rollout
from target_lstm import read_params

NUM = c.GENERATED_NUM // c.BATCH_SIZE * c.BATCH_SIZE
LSTM_FLOPS = 2 * (4 * (c.EMB_DIM + c.HIDDEN_DIM) * c.HIDDEN_DIM + c.HIDDEN_DIM * c.VOCAB_SIZE)
FEATURES = sum(c.DIS_NUM_FILTERS)
DIS_FLOPS = 4 * FEATURES**2 + sum(
    2 * f * c.DIS_EMBEDDING_DIM * n * (c.SEQ_LENGTH - f + 1)
    for f, n in zip(c.DIS_FILTER_SIZES, c.DIS_NUM_FILTERS)
)
ADAM_BYTES = 28  # a weight: it and two moments read and written, its gradient read


def once(work):
    start = time.perf_counter()
    work()
    tf.test.experimental.sync_devices()  # a GPU may still be at it
    return time.perf_counter() - start


def median(work, times):
    return statistics.median(once(work) for _ in range(times))


def start_up():
    """Seconds from `python sequence_gan.py` to the log's first line, at the default constants."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        experiment.make(folder, **{name: getattr(c, name) for name in experiment.SMALL})
        begun = time.perf_counter()
        process = experiment.run_until(folder, lambda: experiment.log(folder))
        seconds = time.perf_counter() - begun
        assert process.poll() is None, "the run ended before its log began"
        process.kill()
        process.communicate()
    return seconds


def main():
    until_log = start_up()
    a = tf.random.normal([2048, 2048])
    matmul = tf.function(lambda: tf.matmul(a, a))
    big, ones = tf.Variable(tf.zeros([20_000_000])), tf.ones([20_000_000])
    units, flops_of_u = [], 2 * 2048**3

    def measure_u():
        units.extend(once(matmul) for _ in range(5))

    matmul()
    big.assign_add(ones)
    measure_u()
    bandwidth = 12 * 20_000_000 / median(lambda: big.assign_add(ones), 7)

    oracle = LSTM(read_params(c.TARGET_FILE), c.SEQ_LENGTH)
    generator = Generator(c.VOCAB_SIZE, c.EMB_DIM, c.HIDDEN_DIM, c.SEQ_LENGTH)
    cnn = c.DIS_EMBEDDING_DIM, c.DIS_FILTER_SIZES, c.DIS_NUM_FILTERS
    discriminator = Discriminator(c.SEQ_LENGTH, c.VOCAB_SIZE, *cnn)
    rollout = Rollout(generator)
    samples = oracle.sample(NUM).numpy()
    batch = samples[: c.BATCH_SIZE]
    some = 26  # steps at once, as in sequence_gan.py
    x = samples[: some * c.DIS_BATCH_SIZE].reshape(some, c.DIS_BATCH_SIZE, c.SEQ_LENGTH)
    y = np.tile(np.arange(c.DIS_BATCH_SIZE) % 2, [some, 1])

    def evaluation():
        x = generator.sample(NUM)
        with tempfile.TemporaryDirectory() as folder:
            write_file(f"{folder}/eval_file.txt", token_text(x))
        return oracle.nll(x) + generator.nll(samples)

    draw = NUM * c.SEQ_LENGTH * LSTM_FLOPS
    rollouts = c.BATCH_SIZE * c.ROLLOUT_NUM
    models = generator, discriminator
    weights = [sum(tf.size(w) for w in m.weights.values()).numpy() for m in models]
    steps = NUM // c.BATCH_SIZE
    sets = c.DIS_PRETRAIN_ROUNDS + c.TOTAL_BATCH * c.D_STEPS
    evaluations = sum(-(-n // c.EVAL_EVERY) for n in (c.PRE_EPOCH_NUM, c.TOTAL_BATCH)) + 1
    reward = rollouts * sum(range(c.SEQ_LENGTH)) * LSTM_FLOPS
    reward += (rollouts * (c.SEQ_LENGTH - 1) + c.BATCH_SIZE) * DIS_FLOPS
    # name: (work, times, FLOPs, weights that Adam updates, how often in a default run)
    phases = {
        "MLE step": (
            lambda: generator.pretrain_step(batch).numpy(),
            100,
            3 * c.BATCH_SIZE * c.SEQ_LENGTH * LSTM_FLOPS,
            weights[0],
            c.PRE_EPOCH_NUM * steps,
        ),
        f"draw of {NUM}": (lambda: generator.sample(NUM).numpy(), 7, draw, 0, sets),
        f"oracle NLL of {NUM}": (lambda: oracle.nll(samples), 7, draw, 0, 0),
        f"{some} discriminator steps": (
            lambda: discriminator.train_steps(x, y).numpy(),
            7,
            some * 3 * c.DIS_BATCH_SIZE * DIS_FLOPS,
            some * weights[1],
            sets * c.DIS_EPOCHS * (2 * NUM // c.DIS_BATCH_SIZE) // some,
        ),
        f"rewards, {c.ROLLOUT_NUM} rollouts": (
            lambda: rollout.get_reward(batch, c.ROLLOUT_NUM, discriminator.prob_real).numpy(),
            5,
            reward,
            0,
            c.TOTAL_BATCH * c.G_STEPS,
        ),
        "evaluation": (evaluation, 5, 3 * draw, 0, evaluations),
    }
    rows = []
    for name, (work, times, flops, adam, count) in phases.items():
        first = once(work)
        measure_u()
        rows.append((name, first, median(work, times), flops, adam, count))
        measure_u()
    u = statistics.median(units)
    print(
        f"u = {1e3 * u:.1f} ms ({flops_of_u / u / 1e9:.0f} GFLOP/s), {bandwidth / 1e9:.0f} GB/s\n"
    )
    print("| phase | time | time / u | floor | floor / time | first call | share of the run |")
    print("|---|---|---|---|---|---|---|")
    whole = sum(seconds * count for _, _, seconds, _, _, count in rows)
    for name, first, seconds, flops, adam, count in rows:
        floor = flops / flops_of_u * u + adam * ADAM_BYTES / bandwidth
        share = f"{seconds * count / whole:.1%}" if count else "in evaluation"
        print(
            f"| {name} | {1e3 * seconds:.1f} ms | {seconds / u:.2f} | {1e3 * floor:.1f} ms "
            f"| {floor / seconds:.2f} | {first:.1f} s | {share} |"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\nwhole default run: {whole / 3600:.1f} h, of which {sets} sets of negatives")
    print(f"start-up until the first MLE step: {until_log + rows[0][1]:.1f} s")
    print(f"peak memory of this benchmark: {memory:.1f} GiB")


def kills(number=25):
    with tempfile.TemporaryDirectory() as folder:
        disturbed, undisturbed = Path(folder, "disturbed"), Path(folder, "undisturbed")
        for place in (disturbed, undisturbed):
            place.mkdir()
            experiment.make(place, TOTAL_BATCH=100)  # saves enough for all kills to hit one run
        assert experiment.run(undisturbed)[0] == 0
        code, _, err = experiment.kill_until_finished(disturbed, number, random.Random(0))
        assert code == 0, err
        ours, theirs = experiment.outputs(disturbed), experiment.outputs(undisturbed)
        for name in ours:
            print(f"{name}: {'same bytes' if ours[name] == theirs[name] else 'DIFFERENT'}")
        sys.exit(ours != theirs)


if __name__ == "__main__":
    kills() if sys.argv[1:] == ["kills"] else main()
