"""Why does one reward for all tokens lower the NLL? From the project's root:

python save/reference/adam.py
python save/reference/adam.py save/generator.npz 200

The first prints the table of the study's section 4 on this: the end of MLE, and mean changes with
95 % intervals. From generator-mle.npz 16 steps of policy gradient are taken, as many as in the
controls, with a reward of 0.5 or of -0.5 for every token. The steps are Adam's, as in the
experiment; Adam's with a state that has seen 1,000 batches without moving the weights; or plain
gradient descent's. The last column is the probability of the rarer half of the tokens, in the
places of 500 real sequences. Ten seeds of what is drawn; it takes some ten minutes.

The second does the same from another generator, of a run on our oracle with SEED 88, and takes
another number of steps. The study has it for 120 epochs of MLE, with DESCENT_RATE = 0.28.
"""

import sys
from pathlib import Path

import numpy as np
from controls import MEASURES, in_one_line, print_line, shown
from memory import make_models

SEEDS = range(1, 11)
HERE = Path(__file__).parent
DESCENT_RATE = 0.6  # Its steps are then as long, on average, as the 16 of Adam at 0.01.
WAYS = [  # steps, reward
    ("Adam", 0.5),
    ("Adam", -0.5),
    ("Adam after 1,000 batches", 0.5),
    ("gradient descent", 0.5),
    ("gradient descent", -0.5),
]


def take_steps(generator, gradients, kind, reward, steps):
    """Take so many steps with a reward for all; their mean length."""
    rewards = np.full([64, generator.sequence_length], reward, np.float32)
    weights = list(generator.weights.values())
    lengths = []
    for _ in range(steps):
        before = [weight.numpy() for weight in weights]
        x = generator.sample(64)
        if kind == "gradient descent":
            for weight, gradient in zip(weights, gradients(x, rewards)[1], strict=True):
                weight.assign_sub(DESCENT_RATE * gradient)
        else:
            generator.reinforce_step(x, rewards)
        changes = [weight.numpy() - old for weight, old in zip(weights, before, strict=True)]
        lengths.append(np.sqrt(sum(np.sum(change**2) for change in changes)))
    return np.mean(lengths)


def mean_probabilities(generator, x):
    """The mean probability of each token over all places of x [N, T]; [V]."""
    import tensorflow as tf

    weights = generator.weights
    h = generator.states(tf.gather(weights["embeddings"], generator.inputs(x)))
    return np.mean(tf.nn.softmax(h @ weights["W_out"] + weights["b_out"]), axis=(0, 1))


def values_of(generator):
    return {name: variable.numpy() for name, variable in generator.state().items()}


def state_after(batches, generator):
    """The generator's state after Adam has seen so many batches at a rate of 0."""
    rate = generator.reinforce_optimizer.learning_rate
    used = rate.numpy()
    rate.assign(0.0)
    rewards = np.full([64, generator.sequence_length], 0.5, np.float32)
    for _ in range(batches):
        generator.reinforce_step(generator.sample(64), rewards)
    rate.assign(used)
    return values_of(generator)


def main(path=HERE / "generator-mle.npz", steps=16):
    if not (str(steps).isdecimal() and int(steps) > 0):
        sys.exit(f"adam.py: expected a number of steps of at least 1, found {steps!r}")
    import tensorflow as tf

    from generator import Generator

    model, oracle = make_models(path)
    generator = Generator(*model.sizes, model.sequence_length)
    generator.set_params(model.get_params())
    gradients = tf.function(generator.gradients)
    fresh = values_of(generator)
    seen = state_after(1000, generator)
    x = oracle.held_out[:500]
    rare = np.argsort(mean_probabilities(model, x))[: model.vocab_size // 2]

    def measure():
        with generator.drawing_by(0):
            found = oracle.measure(generator, generator.sample(9984).numpy())
        probability = mean_probabilities(generator, x)[rare].sum()
        return np.array([*(found[name] for name in MEASURES), probability])

    print_line("steps, reward", *MEASURES.values(), "probability of the rarer half of the tokens")
    print("|---" * (2 + len(MEASURES)) + "|")
    before = measure()
    print_line("end of MLE", *(f"{value:.3f}" for value in before))
    lengths = []
    for kind, reward in WAYS:
        changes = []
        for seed in SEEDS:
            state = seen if kind.startswith("Adam after") else fresh
            for name, variable in generator.state().items():
                variable.assign(state[name])
            with generator.drawing_by(seed):
                lengths.append(take_steps(generator, gradients, kind, reward, int(steps)))
            changes.append(measure() - before)
        print_line(f"{kind}, {reward:+}", *map(shown, np.transpose(changes)))
    print("\nMean lengths of the steps:", *np.reshape(lengths, [len(WAYS), -1]).mean(1).round(2))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        sys.exit(f"adam.py: expected a generator and a number of steps, found {sys.argv[1:]}")
    in_one_line(main, *sys.argv[1:])
