"""Records what a learner does in a few updates, as a fixture for `cargo xtask parity`.

Nothing of any algorithm is here: random numbers, batches, names and the file. The format is described in
crates/parity/tests/golden/README.md. Everything is computed in double precision from inputs that single precision holds
exactly, so that what differs in the replay is our own rounding.
"""

import json
import math
import os

import numpy as np
import torch

torch.set_default_dtype(torch.float64)

CRATES = os.path.join(os.path.dirname(__file__), "..", "..", "crates")


def single(x):
    """`x` rounded to what single precision holds."""
    return np.asarray(x, dtype=np.float32).astype(np.float64)


def layers(name, members):
    """Named tensors of nets side by side: `members` is a list of lists of nn.Linear. Ours are [members, inputs, outputs]."""
    named = {}
    for i, same in enumerate(zip(*members)):
        named[f"{name}.{i}.weight"] = ([layer.weight for layer in same], lambda w: w.T)
        named[f"{name}.{i}.bias"] = ([layer.bias for layer in same], lambda b: b.reshape(1, -1))
    return named


def plain(name, parameter):
    """A tensor that is no layer's: its numbers in one row."""
    return {name: ([parameter], lambda x: x.reshape(1, -1))}


class Recorder:
    """One recording: `batch()` begins an update."""

    def __init__(self, name, algorithm, config, obs=3, act=2, act_limit=1.0, rows=16, seed=0, followed=False, real=None,
                 crate="algos"):
        self.crate = crate
        self.name, self.algorithm, self.config = name, algorithm, config
        self.spec = {"obs": obs, "act": act, "act_limit": act_limit}
        self.rows, self.followed, self.update, self.number = rows, followed, -1, 0
        # What only some learners have: rows of the log in a batch, the first ones; the model's configuration.
        self.notes = {} if real is None else {"real": str(real)}
        self.random = np.random.default_rng([seed, *name.encode()])
        torch.manual_seed(int(self.random.integers(2**31)))
        self.tensors, self.batches, self.losses, self.stepped = {}, [], [], []

    def start(self, named):
        """Names every parameter, `layers` and `plain` joined, and writes the first values down."""
        self.named = named
        for parameters, _ in named.values():
            for p in parameters:
                p.data = torch.from_numpy(single(p.data.numpy()))
        self._write("params", lambda p: p.data)

    def batch(self):
        """The next batch: s, a, r, s2, d, of shapes [rows, width]; if `followed` also a2, the action recorded at s2."""
        self.update, self.number = self.update + 1, 0
        self.losses.append({})
        obs, act, limit = self.spec["obs"], self.spec["act"], self.spec["act_limit"]
        s = single(self.random.normal(size=(self.rows, obs)))
        a = single(self.random.uniform(-0.95 * limit, 0.95 * limit, size=(self.rows, act)))
        r = single(self.random.normal(size=(self.rows, 1)))
        s2 = single(s + 0.3 * self.random.normal(size=(self.rows, obs)))
        d = (self.random.uniform(size=(self.rows, 1)) < 0.2).astype(np.float64)
        columns = {"obs": s, "act": a, "reward": r, "next_obs": s2, "terminal": d}
        if self.followed:
            # Nothing follows what is terminal.
            columns["next_act"] = single((1 - d) * self.random.uniform(-0.95 * limit, 0.95 * limit, size=(self.rows, act)))
        self.batches.append(columns)
        return [torch.from_numpy(x) for x in columns.values()]

    def rows_of(self, **columns):
        """The next batch, of whatever columns."""
        self.update, self.number = self.update + 1, 0
        self.losses.append({})
        self.batches.append({name: single(x) for name, x in columns.items()})
        return [torch.from_numpy(x) for x in self.batches[-1].values()]

    def joint_actions(self, parts, rows, actions):
        """Uniform joint actions, 1 where taken, written down."""
        return self._draw(np.eye(actions)[self.random.integers(0, actions, size=(parts, rows))])

    def _draw(self, x):
        self.tensors[f"draws/{self.update}/{self.number}"] = x.astype(np.float32)
        self.number += 1
        return torch.from_numpy(single(x))

    def model(self, config, named, units):
        """Writes down a model that a learner asks: its configuration, its tensors, and the mean and deviation of what it sees."""
        self.notes["model"] = json.dumps(config)
        tensors = {**{f"model/{name}": x for name, x in named.items()}, "units/mean": units[0], "units/std": units[1]}
        self.tensors.update({name: np.asarray(x, dtype=np.float32) for name, x in tensors.items()})

    def normal(self, *shape):
        """Standard normal numbers, written down."""
        return self._draw(self.random.normal(size=shape))

    def uniform(self, low, high, rows, cols):
        """Uniform numbers, written down."""
        return self._draw(self.random.uniform(low, high, size=(rows, cols)))

    def mask(self, keep, rows, cols):
        """Ones with probability `keep` and zeros, written down."""
        return self._draw((self.random.uniform(size=(rows, cols)) < keep).astype(np.float64))

    def choice(self, count, rows):
        """A number below `count` for each row, written down."""
        return self._draw(self.random.integers(0, count, size=(rows, 1)).astype(np.float64)).long()[:, 0]

    def begin(self, update):
        """From here on draws are those of this update: of a step, where there is nothing but steps."""
        self.update, self.number = update, 0

    def step(self, optimiser, loss):
        """Takes the gradient and steps; the gradient of the first step is written down."""
        optimiser.zero_grad()
        loss.backward()
        if optimiser not in self.stepped:
            self.stepped.append(optimiser)
            moved = {id(p) for group in optimiser.param_groups for p in group["params"]}
            grad = lambda p: torch.zeros_like(p) if p.grad is None else p.grad
            self._write("gradients", grad, lambda p: id(p) in moved)
        optimiser.step()

    def report(self, **losses):
        """Losses, and other numbers under the names of our metrics, of this update."""
        numbers = {name: float(x.detach() if torch.is_tensor(x) else x) for name, x in losses.items()}
        self.losses[-1].update(numbers)

    def _write(self, folder, read, chosen=lambda p: True):
        for name, (parameters, layout) in self.named.items():
            if chosen(parameters[0]):
                stack = torch.stack([layout(read(p).detach()) for p in parameters])
                self.tensors[f"{folder}/{name}"] = stack.numpy().astype(np.float32)

    def save(self, trained=True):
        """Writes the file, with last values unless nothing was trained."""
        if trained:
            self._write("final", lambda p: p.data)
        for column in self.batches[0]:
            self.tensors[f"batch/{column}"] = np.stack([b[column] for b in self.batches]).astype(np.float32)
        for name in sorted({name for update in self.losses for name in update}):
            self.tensors[f"losses/{name}"] = np.array([update.get(name, math.nan) for update in self.losses])
        notes = {
            "format": "backcast-parity-1",
            "algorithm": self.algorithm,
            "spec": json.dumps(self.spec),
            "config": json.dumps(self.config),
            "source": f"tools/golden/{self.algorithm}.py, PyTorch in double precision",
            **self.notes,
        }
        folder = ["factorization"] if self.crate == "factorization" else []
        path = os.path.join(CRATES, "parity", "tests", "golden", *folder, f"{self.name}.safetensors")
        with open(path, "wb") as file:
            file.write(safetensors(notes, self.tensors))
        print(f"{self.name}: {os.path.getsize(path)} bytes")


def safetensors(notes, tensors):
    """The bytes of a safetensors file: the library writes notes in another order each time, and then no two are equal."""
    header, data = {"__metadata__": notes}, b""
    # Wider numbers first, so that each tensor is aligned.
    for name, x in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        end = len(data) + x.nbytes
        kind = {4: "F32", 8: "F64"}[x.itemsize]
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [len(data), end]}
        data += x.astype(x.dtype.newbyteorder("<")).tobytes()
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data
