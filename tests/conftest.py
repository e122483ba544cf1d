import os

os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # it runs briefly
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # there are two processes of them

import experiment
import pytest
import tensorflow as tf
from filelock import FileLock

assert not tf.config.experimental.tensor_float_32_execution_enabled()  # of generator.py


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with a finished small run, one for both processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            experiment.run(experiment.make(folder))
    return folder


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory):
    """A folder with a run killed in its last adversarial epoch."""
    folder = experiment.make(tmp_path_factory.mktemp("interrupted"), SAVE_EVERY=0)
    with experiment.run_until(5, folder) as process:  # three of MLE, two of adversarial training
        process.kill()
    assert process.returncode == -9, "the run had ended before it was killed"
    return folder
