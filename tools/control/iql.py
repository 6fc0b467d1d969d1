"""IQL (arXiv:2110.06169) in PyTorch on a D4RL file, as a control: the same log, the same settings, other people's arithmetic, and
Gymnasium's own world to be judged in.

    python tools/control/iql.py FILE --world Hopper-v4 --updates 100000 --seeds 0 1 --out control.json

Needs torch, h5py, numpy, gymnasium and mujoco. Written from the equations in crates/algos/src/iql.rs; nothing of ours is called.
"""

import argparse
import json
import math
import time

import gymnasium
import h5py
import numpy as np
import torch
from torch import nn


def read(path):
    """Rows (s, a, r, s', d) of a file with next observations; the end of an episode by time is no terminal."""
    with h5py.File(path) as f:
        names = ["observations", "actions", "rewards", "next_observations", "terminals"]
        return [torch.tensor(np.asarray(f[name], dtype=np.float32)) for name in names]


def net(inputs, outputs, hidden):
    sizes = [inputs, *hidden]
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    layers.append(nn.Linear(sizes[-1], outputs))
    for layer in layers[::2]:
        nn.init.orthogonal_(layer.weight, math.sqrt(2.0))
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def play(policy, world, mean, std, episodes, seed):
    """Undiscounted returns of the mean action."""
    returns = []
    for episode in range(episodes):
        state, _ = world.reset(seed=seed + episode)
        total, over = 0.0, False
        while not over:
            with torch.no_grad():
                s = (torch.tensor(state, dtype=torch.float32) - mean) / std
                action = torch.tanh(policy(s)).numpy()
            state, reward, terminal, late, _ = world.step(action)
            total, over = total + reward, terminal or late
        returns.append(total)
    return returns


def learn(rows, options, seed):
    torch.manual_seed(seed)
    s, a, r, s2, d = rows
    mean, std = s.mean(0), s.std(0, unbiased=False) + 1e-3
    s, s2 = (s - mean) / std, (s2 - mean) / std
    obs, act, hidden = s.shape[1], a.shape[1], [256, 256]
    critics, targets = ([net(obs + act, 1, hidden) for _ in range(2)] for _ in range(2))
    for q, t in zip(critics, targets):
        t.load_state_dict(q.state_dict())
    value, policy, log_std = net(obs, 1, hidden), net(obs, act, hidden), nn.Parameter(torch.zeros(act))
    adam = lambda parameters: torch.optim.Adam(parameters, lr=3e-4)
    value_adam, policy_adam = adam(value.parameters()), adam([*policy.parameters(), log_std])
    critic_adam = adam([p for q in critics for p in q.parameters()])
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(policy_adam, options.updates)
    draw = torch.Generator().manual_seed(seed)
    world, points, begin = gymnasium.make(options.world), [], time.time()
    for update in range(1, options.updates + 1):
        i = torch.randint(len(s), (options.batch,), generator=draw)
        x = torch.cat([s[i], a[i]], 1)
        with torch.no_grad():
            q = torch.minimum(*(t(x) for t in targets)).squeeze(1)
        v = value(s[i]).squeeze(1)
        u = q - v
        # |kappa - 1(u < 0)| u^2
        loss = (torch.abs(options.expectile - (u.detach() < 0).float()) * u**2).mean()
        value_adam.zero_grad()
        loss.backward()
        value_adam.step()

        with torch.no_grad():
            advantage = q - value(s[i]).squeeze(1)
            weight = torch.exp(options.beta * advantage).clamp(max=100.0)
        spread = log_std.clamp(-5.0, 2.0)
        z = (a[i] - torch.tanh(policy(s[i]))) / spread.exp()
        log_prob = (-0.5 * z**2 - spread - 0.5 * math.log(2 * math.pi)).sum(1)
        loss = -(weight * log_prob).mean()
        policy_adam.zero_grad()
        loss.backward()
        policy_adam.step()
        cosine.step()

        with torch.no_grad():
            y = r[i] + options.gamma * (1 - d[i]) * value(s2[i]).squeeze(1)
        loss = sum(((q(x).squeeze(1) - y) ** 2).mean() for q in critics)
        critic_adam.zero_grad()
        loss.backward()
        critic_adam.step()
        with torch.no_grad():
            for q, t in zip(critics, targets):
                for p, p2 in zip(q.parameters(), t.parameters()):
                    p2.lerp_(p, 0.005)
        if update % options.every == 0:
            returns = play(policy, world, mean, std, 10, 1000 + seed)
            points.append((update, float(np.mean(returns))))
            print(f"seed {seed}, update {update}: return {points[-1][1]:.0f}, {update / (time.time() - begin):.0f} updates/s", flush=True)
    final = play(policy, world, mean, std, options.episodes, 2000 + seed)
    return {"seed": seed, "return": float(np.mean(final)), "spread": float(np.std(final)), "curve": points}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--world", default="Hopper-v4")
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--expectile", type=float, default=0.7)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.99)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = read(options.file)
    results = [learn(rows, options, seed) for seed in options.seeds]
    with open(options.out, "w") as f:
        json.dump({"options": vars(options), "results": results}, f, indent=1)
    for result in results:
        print(f"seed {result['seed']}: {result['return']:.1f} +- {result['spread']:.1f}")


if __name__ == "__main__":
    main()
