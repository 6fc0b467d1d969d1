"""COMA (arXiv:1705.08926): critics by TD(λ), policies by counterfactual advantages.

The order: critics, policies with the new critics, every few updates the targets, copied.
"""

import torch
from torch import nn
from torch.nn.functional import one_hot, softmax

from fixture import Recorder, layers

GAMMA, LAMBDA, RATE, COPY, ANNEAL, EPSILON = 0.96, 0.8, 1e-3, 4, 6, (0.4, 0.1)
PARTS, ACTIONS, OBS, STATE, ROWS, HIDDEN = 3, 3, 2, 3, 12, 7


def net(inputs):
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, ACTIONS))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(name):
    learner = {
        "gamma": GAMMA, "lambda": LAMBDA, "critic_rate": RATE, "policy_rate": RATE, "copy_every": COPY,
        "epsilon": list(EPSILON), "anneal": ANNEAL, "hidden": [HIDDEN], "critic_hidden": [HIDDEN],
    }
    config = {"actions": ACTIONS, "state": STATE, "learner": learner}
    rec = Recorder(name, "coma", config, obs=OBS, act=PARTS, rows=ROWS, crate="factorization")
    inputs = STATE + OBS + (PARTS - 1) * ACTIONS
    critics, targets = [nn.ModuleList([net(inputs) for _ in range(PARTS)]) for _ in range(2)]
    policies = nn.ModuleList([net(OBS) for _ in range(PARTS)])
    with torch.no_grad():
        for p in policies:
            p[-1].weight *= 4
    named = {"critic": critics, "critic_target": targets, "policy": policies}
    rec.start({k: v for part, nets in named.items() for k, v in layers(part, [linears(n) for n in nets]).items()})
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)
    policy_adam = torch.optim.Adam(policies.parameters(), lr=RATE)
    for update in range(10):
        r = rec.random
        terminal, cut = r.uniform(size=ROWS) < 0.2, r.uniform(size=ROWS) < 0.2
        terminal[2], cut[5], terminal[0], cut[0] = True, True, False, False
        terminal[5] = False
        cut &= ~terminal
        cut[-1] |= not terminal[-1]
        assert terminal.any() and cut.any()
        s, o, u, reward, d, cut = rec.rows_of(
            state=r.normal(size=(ROWS, STATE)), obs=r.normal(size=(PARTS, ROWS, OBS)),
            act=r.integers(0, ACTIONS, size=(ROWS, PARTS)), reward=r.normal(size=ROWS), terminal=terminal, cut=cut,
        )
        u, counts = u.long(), cut == 0
        epsilon = EPSILON[0] + (EPSILON[1] - EPSILON[0]) * min(update / ANNEAL, 1)

        def values(nets, i):
            others = [one_hot(u[:, j], ACTIONS).double() for j in range(PARTS) if j != i]
            return nets[i](torch.cat([s, o[i], *others], 1))

        critic_loss = 0
        for i in range(PARTS):
            with torch.no_grad():
                held = values(targets, i).gather(1, u[:, [i]])[:, 0]
                goal = held.clone()
                # The forward view, from the definition: a path goes on to its end, or to its cut, where Q is all there is.
                for t in range(ROWS):
                    if cut[t]:
                        continue
                    end = next(k for k in range(t, ROWS) if d[k] or cut[k])
                    total, weight, so_far = 0.0, 1.0, 0.0
                    for k in range(t, end + 1):
                        if cut[k]:
                            break
                        so_far += GAMMA ** (k - t) * reward[k]
                        if d[k]:
                            total += weight * so_far
                            break
                        n_step = so_far + GAMMA ** (k + 1 - t) * held[k + 1]
                        last = bool(cut[k + 1])
                        total += weight * (1.0 if last else 1 - LAMBDA) * n_step
                        weight *= LAMBDA
                    goal[t] = total
            q = values(critics, i).gather(1, u[:, [i]])[:, 0]
            critic_loss = critic_loss + ((q - goal) ** 2)[counts].mean() / PARTS
        rec.step(critic_adam, critic_loss)
        policy_loss, entropy = 0, 0
        for i in range(PARTS):
            pi = (1 - epsilon) * softmax(policies[i](o[i]), 1) + epsilon / ACTIONS
            with torch.no_grad():
                q = values(critics, i)
                a = q.gather(1, u[:, [i]])[:, 0] - (pi * q).sum(1)
            policy_loss = policy_loss - (a * pi.gather(1, u[:, [i]])[:, 0].log())[counts].mean() / PARTS
            entropy = entropy - (pi * pi.log()).sum(1)[counts].mean() / PARTS
        rec.report(critic_loss=critic_loss, policy_loss=policy_loss, entropy=entropy)
        rec.step(policy_adam, policy_loss)
        if (update + 1) % COPY == 0:
            targets.load_state_dict(critics.state_dict())
    rec.save()


record("coma")
