"""One iteration of the natural policy gradient on given paths, for the test in crates/algos/src/npg/tests.rs.

Everything in double precision from inputs that single precision holds exactly. F is the second derivative of the KL
divergence, differentiated twice, and its system is solved by a dense solver beside conjugate gradients.
"""

import os

import numpy as np
import torch
from torch import nn

from fixture import FOLDER, safetensors, single

OBS, ACT, HIDDEN, CHAINS = 3, 2, [5, 4], 6
GAMMA, LAM, DELTA, DAMPING, ITERATIONS, LEAST = 0.95, 0.9, 0.02, 0.1, 8, -0.26
VALUE_HIDDEN, VALUE_RATE, VALUE_L2 = [6], 1e-3, 1e-3

random = np.random.default_rng(7)
torch.manual_seed(7)


def net(sizes, act):
    parts = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        parts += [nn.Linear(a, b), act()] if i + 2 < len(sizes) else [nn.Linear(a, b)]
    made = nn.Sequential(*parts)
    for p in made.parameters():
        p.data = torch.from_numpy(single(p.data.numpy()))
    return made


actor, value = net([OBS, *HIDDEN, ACT], nn.Tanh), net([OBS, *VALUE_HIDDEN, 1], nn.ReLU)
log_std = torch.from_numpy(single(np.full(ACT, -0.25))).requires_grad_()
phi = [*actor.parameters(), log_std]
tensors = {}


def write(folder):
    for name, made in [("actor", actor), ("value", value)]:
        linear = [m for m in made if isinstance(m, nn.Linear)]
        for i, layer in enumerate(linear):
            tensors[f"{folder}/{name}.{i}.weight"] = layer.weight.detach().numpy().T[None].copy()
            tensors[f"{folder}/{name}.{i}.bias"] = layer.bias.detach().numpy()[None, None].copy()
    tensors[f"{folder}/log_std"] = log_std.detach().numpy()[None, None].copy()


def ours(gradients):
    """Derivatives of phi in one row, in the order and layout of ours: weights [inputs, outputs], then biases, then ln sigma."""
    return torch.cat([(g.T if g.dim() == 2 else g).reshape(-1) for g in gradients])


write("params")
# Paths of different lengths, step after step; some end, the others are cut off.
lengths, ends = [4, 7, 1, 5, 7, 3], [True, False, True, True, False, False]
rows = [(t, c) for t in range(max(lengths)) for c in range(CHAINS) if t < lengths[c]]
s = single(random.normal(size=(len(rows), OBS)))
u = single(random.normal(size=(len(rows), ACT)))
r = single(random.normal(size=(len(rows), 1)))
s2 = single(random.normal(size=(len(rows), OBS)))
d = np.array([[float(ends[c] and t + 1 == lengths[c])] for t, c in rows])
chain = np.array([float(c) for _, c in rows])
for name, x in [("obs", s), ("act", u), ("reward", r), ("next_obs", s2), ("terminal", d), ("chain", chain)]:
    tensors[f"paths/{name}"] = x
s, u, r, s2, d = map(torch.from_numpy, (s, u, r, s2, d))

# Path by path, forwards sums of what is left.
with torch.no_grad():
    v, v2 = value(s) / (1 - GAMMA), value(s2) / (1 - GAMMA)
delta = (r + GAMMA * (1 - d) * v2 - v)[:, 0]
advantage = torch.zeros(len(rows))
for c in range(CHAINS):
    own = [i for i, (_, k) in enumerate(rows) if k == c]
    for n, i in enumerate(own):
        advantage[i] = sum((GAMMA * LAM) ** k * delta[j] for k, j in enumerate(own[n:]))
target = advantage + v[:, 0]
tensors["target"] = target.numpy()
advantage = (advantage - advantage.mean()) / (advantage.std(unbiased=False) + 1e-6)
tensors["advantage"] = advantage.numpy()

pi = torch.distributions.Normal(actor(s), log_std.exp())
gain = (pi.log_prob(u).sum(1) * advantage).mean()
g = ours(torch.autograd.grad(gain, phi))
tensors["gradient"] = g.numpy()

old = torch.distributions.Normal(actor(s).detach(), log_std.exp().detach())
kl = torch.distributions.kl_divergence(old, torch.distributions.Normal(actor(s), log_std.exp())).sum(1).mean()
slope = torch.cat([(x.T if x.dim() == 2 else x).reshape(-1) for x in torch.autograd.grad(kl, phi, create_graph=True)])
fisher = torch.stack([ours(torch.autograd.grad(slope[i], phi, retain_graph=True, allow_unused=False)) for i in range(len(g))])
damped = fisher + DAMPING * torch.eye(len(g))
x, residual = torch.zeros_like(g), g.clone()
p = residual.clone()
for _ in range(ITERATIONS):
    q = damped @ p
    a = (residual @ residual) / (p @ q)
    x, after = x + a * p, residual - a * q
    p, residual = after + (after @ after) / (residual @ residual) * p, after
exact = torch.linalg.solve(damped, g)
print("conjugate gradients are off by", float((x - exact).norm() / exact.norm()))
tensors["solution"] = x.numpy()

step, at = (DELTA / (g @ x)).sqrt() * x, 0
with torch.no_grad():
    for q in phi:
        n = q.numel()
        part = step[at : at + n]
        q += part.reshape(q.T.shape).T if q.dim() == 2 else part.reshape(q.shape)
        at += n
    log_std.clamp_(min=LEAST)
new = torch.distributions.Normal(actor(s).detach(), log_std.exp().detach())
tensors["kl"] = torch.distributions.kl_divergence(old, new).sum(1).mean().reshape(1).numpy()

# All rows in one step; weights decay, biases do not.
linear = [m for m in value if isinstance(m, nn.Linear)]
adam = torch.optim.Adam(value.parameters(), lr=VALUE_RATE)
loss = ((value(s)[:, 0] - (1 - GAMMA) * target) ** 2).mean()
tensors["value_loss"] = loss.detach().reshape(1).numpy()
decay = sum(0.5 * VALUE_L2 * layer.weight.square().sum() for layer in linear)
adam.zero_grad()
(loss + decay).backward()
adam.step()
write("final")

notes = {"source": "tools/golden/npg.py, PyTorch in double precision"}
path = os.path.join(FOLDER, "iterations", "npg.safetensors")
with open(path, "wb") as file:
    file.write(safetensors(notes, {name: np.ascontiguousarray(x, dtype=np.float32) for name, x in tensors.items()}))
print(os.path.getsize(path), "bytes")
