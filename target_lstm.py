"""The oracle: a randomly initialised LSTM that stands for real data (paper,
"Synthetic Data Experiments").

Run as a script, it draws an oracle of the sizes below and writes its file.
"""

import io
import math
import pickle
import zipfile

import numpy as np

from dataloader import InputError, check_arrays, muted_stderr, write_file

with muted_stderr():  # TensorFlow's import
    from generator import LSTM, param_shapes

VOCAB_SIZE = 5000
EMB_DIM = 32
HIDDEN_DIM = 32
SEED = 0
TARGET_FILE = "save/target_params.npz"

PICKLED = ("numpy.ndarray", "numpy.dtype", "_codecs.encode")  # what a pickled array names
PICKLED += ("numpy.core.multiarray._reconstruct", "numpy.core.numeric._frombuffer")


class TargetLSTM(LSTM):
    """The frozen oracle; its NLL of generated sequences measures the generator."""

    @classmethod
    def load(cls, path, sequence_length, start_token=0, seed=0, sizes=None):
        """Read an oracle file: .npz, or a pickled list as the authors publish theirs; InputError
        if it is none, or not of sizes (V, E, H), where given."""
        of = f" of VOCAB_SIZE, EMB_DIM, HIDDEN_DIM = {sizes}" if sizes else ""
        try:
            with open(path, "rb") as file:
                params = read_params(file, sizes)
            return cls(params, sequence_length, start_token, seed)
        except Exception as error:  # whatever a damaged or hostile file provokes in the readers
            why = getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)
        raise InputError(f"{path}: expected an oracle file{of}, but {why}")


def read_params(file, sizes=None):
    """The arrays of an open oracle file, in a list; of sizes V, E and H, if these are given."""
    names = list(param_shapes(1, 1, 1))
    if file.read(2) == b"PK":  # a zip archive, whose arrays could be far larger than the file
        most = 10_000 + 8 * math.prod(sizes or [2**28])
        if any(info.file_size > most for info in zipfile.ZipFile(file).infolist()):
            raise InputError(f"it has an array of more than {most} bytes")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            if arrays.files not in (names, [f"arr_{n}" for n in range(15)]):
                raise InputError(f"its arrays are {arrays.files}, not {names}")
            params = list(arrays.values())
    else:
        file.seek(0)
        # Python 2 wrote array bytes as text; latin-1 maps each character to its byte.
        found = ArrayUnpickler(io.BytesIO(file.read()), encoding="latin1").load()
        if type(found) not in (list, tuple) or len(found) != len(names):
            raise InputError("it is no list of 15 arrays")
        params = [unpickled_array(array) for array in found]
    return check_arrays(params, param_shapes(*sizes)) if sizes else params


class Pickled:
    """An object as a pickle describes it: its name, what that is called with, and its state."""

    def __init__(self, name, args=()):
        self.name, self.args = name, args

    def __call__(self, *args):
        return Pickled(self.name, args)

    def __setstate__(self, state):
        self.state = state


class ArrayUnpickler(pickle._Unpickler):  # C's would make room for any memo index
    """Calls nothing that a pickle names, and refuses names that no array needs."""

    def find_class(self, module, name):
        if f"{module}.{name}".replace("numpy._core", "numpy.core") not in PICKLED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return Pickled(name)


# A bytearray would be made of the length that is claimed, bytes are of what is there.
BYTES = {pickle.BYTEARRAY8[0]: pickle._Unpickler.load_binbytes8}
ArrayUnpickler.dispatch = pickle._Unpickler.dispatch | BYTES


def unpickled_array(found):
    """The float array that a pickle describes."""
    if found.name == "_frombuffer":
        data, dtype, shape, order = found.args
    else:
        _, shape, dtype, fortran, data = found.state
        order = "F" if fortran else "C"
    if isinstance(data, Pickled):  # protocols 0 to 2 of Python 3 spell bytes as text
        data = data.args[0]
    data = data.encode("latin1") if isinstance(data, str) else data
    kind = dtype.state[1] + dtype.args[0]
    if type(data) is not bytes or kind not in ("<f2", "<f4", "<f8", ">f2", ">f4", ">f8"):
        raise InputError("it has an array of other things than floating-point numbers")
    return np.frombuffer(data, kind).reshape(shape, order=order)


def write_params(path, params):
    """Write the 15 arrays as .npz, replacing the file in one step."""
    if len(params) != 15:
        raise InputError(f"{path}: expected 15 arrays, found {len(params)}")
    data = io.BytesIO()
    np.savez(data, **dict(zip(param_shapes(1, 1, 1), params)))
    write_file(path, data.getvalue())


if __name__ == "__main__":
    rng, shapes = np.random.default_rng(SEED), param_shapes(VOCAB_SIZE, EMB_DIM, HIDDEN_DIM)
    params = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes.values()]
    write_params(TARGET_FILE, params)
    print(f"{TARGET_FILE}: an oracle of {VOCAB_SIZE} tokens, written")
