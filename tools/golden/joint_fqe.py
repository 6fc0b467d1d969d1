"""What is learnt of parts beside their values: a clone of each, and FQE (arXiv:1903.08738) of a joint policy, by sums over joint actions."""

import itertools

import torch
from torch import nn
from torch.nn.functional import cross_entropy, softmax

from fixture import Recorder, layers

GAMMA, TAU, RATE, PARTS, ACTIONS, OBS, STATE, ROWS, HIDDEN, CRITICS = 0.97, 0.05, 1e-3, 2, 3, 3, 3, 12, 8, 3


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))


class Normed(nn.Module):
    """Layer normalisation without parameters, before the activation."""

    def __init__(self, outputs):
        super().__init__()
        self.first, self.second = nn.Linear(STATE, HIDDEN), nn.Linear(HIDDEN, outputs)

    def forward(self, s):
        return self.second(torch.relu(nn.functional.layer_norm(self.first(s), (HIDDEN,))))


def linears(of):
    return [m for m in of.modules() if isinstance(m, nn.Linear)]


def fqe(name):
    learner = {"gamma": GAMMA, "critics": CRITICS, "rate": RATE, "polyak": TAU, "layer_norm": True, "hidden": [HIDDEN]}
    config = {"actions": ACTIONS, "state": STATE, "learner": learner}
    rec = Recorder(name, "joint_fqe", config, obs=OBS, act=PARTS, rows=ROWS, crate="factorization")
    critics, targets = [nn.ModuleList([Normed(ACTIONS**PARTS) for _ in range(CRITICS)]) for _ in range(2)]
    rec.start({
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
    })
    adam = torch.optim.Adam(critics.parameters(), lr=RATE)
    joint = list(itertools.product(range(ACTIONS), repeat=PARTS))
    for _ in range(10):
        r = rec.random
        s, u, reward, s2, pi2, d = rec.rows_of(
            state=r.normal(size=(ROWS, STATE)), act=r.integers(0, ACTIONS, size=(ROWS, PARTS)), reward=r.normal(size=ROWS),
            next_state=r.normal(size=(ROWS, STATE)), next_policy=softmax(torch.from_numpy(r.normal(size=(PARTS, ROWS, ACTIONS))), 2),
            terminal=(r.uniform(size=ROWS) < 0.25),
        )
        taken = torch.tensor([joint.index(tuple(int(a) for a in row)) for row in u])
        loss, mean = 0, 0
        for q, t in zip(critics, targets):
            with torch.no_grad():
                held = t(s2)
                v = sum(pi2[0, :, a] * pi2[1, :, b] * held[:, i] for i, (a, b) in enumerate(joint))
                y = reward + GAMMA * (1 - d) * v
            value = q(s).gather(1, taken[:, None])[:, 0]
            loss, mean = loss + ((value - y) ** 2).mean(), mean + value.mean() / CRITICS
        rec.report(critic_loss=loss, q=mean)
        rec.step(adam, loss)
        with torch.no_grad():
            for q, t in zip(critics.parameters(), targets.parameters()):
                t += TAU * (q - t)
    rec.save()


def clone(name):
    config = {"actions": ACTIONS, "state": 1, "learner": {"rate": RATE, "decay": 0.5, "hidden": [HIDDEN]}}
    rec = Recorder(name, "clone", config, obs=OBS, act=PARTS, rows=ROWS, crate="factorization")
    policies = nn.ModuleList([net(OBS, ACTIONS) for _ in range(PARTS)])
    rec.start(layers("policy", [linears(p) for p in policies]))
    adam = torch.optim.AdamW(policies.parameters(), lr=RATE, weight_decay=0.5)
    for _ in range(10):
        r = rec.random
        o, u, _ = rec.rows_of(
            obs=r.normal(size=(PARTS, ROWS, OBS)), act=r.integers(0, ACTIONS, size=(ROWS, PARTS)), reward=r.normal(size=ROWS)
        )
        loss = sum(cross_entropy(p(x), a) for p, x, a in zip(policies, o, u.long().T))
        rec.report(loss=loss)
        rec.step(adam, loss)
    rec.save()


fqe("joint-fqe")
clone("clone")
