"""DecQN (arXiv:2210.12566) and its CQL, BCQ, one-step and IQL variants (arXiv:2411.11088): values that are sums over the parts of
an action.

The order: V, then the policy or clone with the new V, then the critics with both new, then the targets.
"""

import math

import torch
from torch import nn
from torch.nn.functional import log_softmax, smooth_l1_loss

from fixture import Recorder, layers

GAMMA, TAU, RATE, OBS, PARTS, ACTIONS, ROWS, HIDDEN = 0.98, 0.05, 1e-3, 3, 3, 4, 12, 8


def net(outputs):
    return nn.Sequential(nn.Linear(OBS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(name, constraint=None, mean=True):
    learner = {"mean": mean, "gamma": GAMMA, "rate": RATE, "polyak": TAU, "hidden": [HIDDEN]}
    constraint = constraint or {"name": "none"}
    learner["constraint"] = constraint
    kind = constraint["name"]
    config = {"actions": ACTIONS, "learner": learner}
    rec = Recorder(name, "factored", config, obs=OBS, act=PARTS, rows=ROWS, crate="factorization")
    critics, targets = [nn.ModuleList([net(PARTS * ACTIONS) for _ in range(2)]) for _ in range(2)]
    value, policy = net(1), net(PARTS * ACTIONS)
    with torch.no_grad():
        policy[-1].weight *= 4
        for q in [*critics, *targets]:
            q[-1].weight *= 3
    rec.start({
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
        **layers("value", [linears(value)]),
        **layers("policy", [linears(policy)]),
    })
    critic_adam, value_adam, policy_adam = [torch.optim.Adam(m.parameters(), lr=RATE) for m in (critics, value, policy)]
    met = set()
    whole = (lambda x: x.mean(1, keepdim=True)) if mean else (lambda x: x.sum(1, keepdim=True))
    each = lambda of, s: of(s).view(len(s), PARTS, ACTIONS)
    of_action = lambda all, a: all.gather(2, a[:, :, None])[:, :, 0]

    def held(s):
        """U of the targets, the mean of both."""
        return sum(each(q, s) for q in targets) / 2

    def likely(s):
        beta = log_softmax(each(policy, s), 2).exp()
        allowed = beta >= constraint["threshold"] * beta.max(2, keepdim=True).values
        met.update(("allowed", bool(x)) for x in allowed.flatten())
        return allowed

    for update in range(10):
        r = rec.random
        columns = dict(
            obs=r.normal(size=(ROWS, OBS)), act=r.integers(0, ACTIONS, size=(ROWS, PARTS)), reward=1.5 * r.normal(size=ROWS),
            next_obs=r.normal(size=(ROWS, OBS)), terminal=(r.uniform(size=ROWS) < 0.25),
        )
        if kind == "one_step":
            columns["next_act"] = r.integers(0, ACTIONS, size=(ROWS, PARTS))
        s, a, reward, s2, d, *a2 = rec.rows_of(**columns)
        a, reward, d = a.long(), reward[:, None], d[:, None]
        losses = {}
        log_prob = lambda: of_action(log_softmax(each(policy, s), 2), a).sum(1, keepdim=True)
        if kind == "iql":
            with torch.no_grad():
                q = whole(of_action(held(s), a))
            u = q - value(s)
            met |= {("above", bool(x > 0)) for x in u}
            losses["value_loss"] = (torch.where(u > 0, constraint["expectile"], 1 - constraint["expectile"]) * u**2).mean()
            rec.step(value_adam, losses["value_loss"])
            with torch.no_grad():
                w = (constraint["inverse_temperature"] * (q - value(s))).clamp(max=math.log(100)).exp()
                met |= {("bounded", bool(x > 99)) for x in w}
            rec.step(policy_adam, -(w * log_prob()).mean())
        elif kind in ("bcq", "one_step"):
            rec.step(policy_adam, -log_prob().mean())
        with torch.no_grad():
            if kind == "iql":
                next_value = value(s2)
            elif kind == "one_step":
                next_value = whole(of_action(held(s2), a2[0].long()))
            elif kind == "bcq":
                next_value = whole(held(s2).masked_fill(~likely(s2), -math.inf).max(2).values)
            else:
                next_value = whole(held(s2).max(2).values)
            y = reward + GAMMA * (1 - d) * next_value
        loss = 0
        qs = []
        for q in critics:
            every = each(q, s)
            qs.append(whole(of_action(every, a)))
            met |= {("beyond", bool(x > 1)) for x in (qs[-1] - y).detach().abs()}
            loss = loss + smooth_l1_loss(qs[-1], y)
            if kind == "cql":
                loss = loss + constraint["weight"] * whole(torch.logsumexp(every, 2) - of_action(every, a)).mean()
        rec.report(critic_loss=loss, q=sum(q.mean() for q in qs) / 2, **losses)
        rec.step(critic_adam, loss)
        with torch.no_grad():
            for q, t in zip(critics.parameters(), targets.parameters()):
                t += TAU * (q - t)
    assert all((what, not side) in met for what, side in met), f"{name}: one side only of {met}"
    rec.save()


record("decqn")
record("decqn-sum", mean=False)
record("decqn-cql", {"name": "cql", "weight": 0.6})
record("decqn-bcq", {"name": "bcq", "threshold": 0.5})
record("decqn-one-step", {"name": "one_step", "threshold": 0.5})
record("decqn-iql", {"name": "iql", "expectile": 0.8, "inverse_temperature": 12.0})
