"""Steps of Gymnasium's MuJoCo worlds, for crates/envs/tests/mujoco.rs.

    pip install mujoco==4.0.0 "gymnasium[mujoco]" numpy
    python tools/golden/gymnasium_steps.py > crates/envs/tests/fixtures/gymnasium.csv

Each world starts where its reset puts it and is given actions drawn uniformly from its box. All numbers are
in double precision, written so that they read back to the same bits.
"""

import sys

import gymnasium
import mujoco
import numpy as np

STEPS = 30
WORLDS = ["Hopper-v4", "Hopper-v5", "HalfCheetah-v5", "Walker2d-v4", "Walker2d-v5", "Reacher-v4", "Reacher-v5", "Ant-v4", "Ant-v5"]


def row(*cells):
    print(",".join(cells))


def numbers(values):
    return " ".join(repr(float(x)) for x in np.asarray(values).ravel())


def main():
    print(f"# MuJoCo {mujoco.__version__}, Gymnasium {gymnasium.__version__}; made by tools/golden/gymnasium_steps.py")
    row("world", "what", "action", "observation", "reward", "ended")
    for seed, name in enumerate(WORLDS):
        world = gymnasium.make(name).unwrapped
        rng = np.random.default_rng(seed)
        world.reset(seed=seed)
        start = world.data.qpos.copy(), world.data.qvel.copy()
        # Back to a state nothing precedes, so that no warm start of the solver is left from elsewhere.
        mujoco.mj_resetData(world.model, world.data)
        world.set_state(*start)
        row(name.lower(), "start", numbers(start[0]), numbers(start[1]), "", "")
        for _ in range(STEPS):
            action = rng.uniform(-1.0, 1.0, world.action_space.shape).astype(np.float32)
            observation, reward, ended, _, _ = world.step(action)
            row(name.lower(), "step", numbers(action), numbers(observation), repr(float(reward)), str(int(ended)))


if __name__ == "__main__":
    sys.exit(main())
