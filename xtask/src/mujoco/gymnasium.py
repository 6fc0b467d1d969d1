"""Gymnasium's side of `cargo xtask mujoco compare`: a world served over a pipe, or stepped alone against the clock."""

import struct
import sys
import time

import gymnasium
import numpy as np


def serve(world):
    """r + seed -> observation; s + action -> observation, reward, ended, cut off. Doubles, little-endian."""
    act = world.action_space.shape[0]
    read, write = sys.stdin.buffer, sys.stdout.buffer
    while what := read.read(1):
        if what == b"r":
            observation, _ = world.reset(seed=struct.unpack("<I", read.read(4))[0])
            tail = [0.0, 0.0, 0.0]
        else:
            action = np.frombuffer(read.read(8 * act), "<f8").astype(np.float32)
            observation, reward, ended, cut, _ = world.step(action)
            tail = [float(reward), float(ended), float(cut)]
        write.write(np.concatenate([observation, tail]).astype("<f8").tobytes())
        write.flush()


def race(world, seconds):
    """Steps per second under actions drawn before, resets included."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (4096, world.action_space.shape[0])).astype(np.float32)
    world.reset(seed=0)
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        for action in actions[:256]:
            _, _, ended, cut, _ = world.step(action)
            if ended or cut:
                world.reset()
        steps += 256
    print(steps / (time.perf_counter() - begin))


def main():
    what, name = sys.argv[1:3]
    if what == "release":
        import mujoco

        print(mujoco.__version__, gymnasium.__version__)
        return
    # Without the checks of every step that `make` adds by default: nothing but the world is timed.
    world = gymnasium.make(name, disable_env_checker=True)
    if what == "serve":
        serve(world)
    else:
        race(world, float(sys.argv[3]))


if __name__ == "__main__":
    main()
