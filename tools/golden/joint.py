"""Joint values made of parts: VDN (arXiv:1706.05296), QMIX (arXiv:1803.11485), QPLEX (arXiv:2008.01062), Weighted QMIX
(arXiv:2006.10800), QTRAN (arXiv:1905.05408); from a log MA-CQL and CFCQL (arXiv:2309.12696).

The order: where it is asked for, the clone; the value with the new clone; every few updates the targets, copied.
"""

import math

import torch
from torch import nn
from torch.nn.functional import elu, log_softmax, one_hot

from fixture import Recorder, layers

GAMMA, RATE, COPY, PARTS, ACTIONS, OBS, STATE, ROWS, HIDDEN = 0.97, 1e-3, 4, 3, 3, 2, 3, 10, 6
EMBED, HYPER, HEADS, STAR = 4, 5, 3, 6


def net(*sizes):
    between = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*between[:-1])


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


class Utilities(nn.Module):
    """Q_i(o_i, ·): a net for each part."""

    def __init__(self):
        super().__init__()
        self.nets = nn.ModuleList([net(OBS, HIDDEN, ACTIONS) for _ in range(PARTS)])
        with torch.no_grad():
            for q in self.nets:
                q[-1].weight *= 4

    def forward(self, obs):
        """[rows, parts, actions] of observations [parts, rows, obs]."""
        return torch.stack([q(o) for q, o in zip(self.nets, obs)], 1)

    def named(self, name):
        return layers(name, [linears(q) for q in self.nets])


def taken(q, u):
    return q.gather(2, u[:, :, None])[:, :, 0]


class Mixer(nn.Module):
    """Q_tot(s, u) of the parts' values [rows, parts, actions] and actions [rows, parts]."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.nets = kind, nn.ModuleDict()
        if kind == "qmix":
            self.nets.update({
                "w1": net(STATE, HYPER, PARTS * EMBED), "b1": net(STATE, EMBED), "w2": net(STATE, HYPER, EMBED),
                "v": net(STATE, EMBED, 1),
            })
        if kind.startswith("qplex"):
            self.nets.update({
                "scale": net(STATE, HYPER, PARTS), "shift": net(STATE, HYPER, PARTS), "key": net(STATE, HYPER, HEADS),
                "state": net(STATE, HYPER, HEADS * PARTS),
                "joint": net(STATE + PARTS * ACTIONS, HYPER, HEADS * PARTS),
            })

    def forward(self, q, u, s):
        n, chosen = len(s), taken(q, u)
        if self.kind == "sum":
            return chosen.sum(1, keepdim=True)
        if self.kind == "qmix":
            w1 = self.nets["w1"](s).abs().view(n, PARTS, EMBED)
            h = elu(torch.einsum("np,npe->ne", chosen, w1) + self.nets["b1"](s))
            return (h * self.nets["w2"](s).abs()).sum(1, keepdim=True) + self.nets["v"](s)
        best = q.max(2).values
        if self.kind == "qplex-scaled":
            w, v = self.nets["scale"](s).abs() + 1e-10, self.nets["shift"](s)
            chosen, best = chosen * w + v, best * w + v
        k = self.nets["key"](s).abs() + 1e-10
        phi = torch.sigmoid(self.nets["state"](s)).view(n, HEADS, PARTS)
        psi = torch.sigmoid(self.nets["joint"](torch.cat([s, flat(u)], 1))).view(n, HEADS, PARTS)
        lam = (k[:, :, None] * phi * psi).sum(1)
        advantage = (chosen - best).detach()
        return (chosen + (lam - 1) * advantage).sum(1, keepdim=True)

    def named(self, name):
        return {k: v for part, q in self.nets.items() for k, v in layers(f"{name}.{part}", [linears(q)]).items()}


def flat(u):
    return one_hot(u, ACTIONS).double().flatten(1)


class Value(nn.Module):
    """Everything that is learnt of one value."""

    def __init__(self, kind, mixer):
        super().__init__()
        self.kind, self.utilities, self.mixer = kind, Utilities(), Mixer(mixer)
        if kind == "weighted":
            self.central, self.star = Utilities(), net(PARTS + STATE, STAR, STAR, STAR, 1)
        if kind == "qtran":
            self.joint, self.value = net(STATE + PARTS * ACTIONS, HYPER, HYPER, 1), net(STATE, HYPER, HYPER, 1)

    def total(self, s, o, u):
        return self.mixer(self.utilities(o), u, s)

    def bootstrap(self, s, o, u):
        if self.kind == "weighted":
            return self.star(torch.cat([taken(self.central(o), u), s], 1))
        if self.kind == "qtran":
            return self.joint(torch.cat([s, flat(u)], 1))
        return self.total(s, o, u)

    def named(self, name):
        named = {**self.utilities.named(f"{name}.utilities")}
        if self.kind != "qtran":
            named.update(self.mixer.named(f"{name}.mixer"))
        if self.kind == "weighted":
            named.update({**self.central.named(f"{name}.central"), **layers(f"{name}.star", [linears(self.star)])})
        if self.kind == "qtran":
            named.update({**layers(f"{name}.joint", [linears(self.joint)]), **layers(f"{name}.value", [linears(self.value)])})
        return named


def deviations(u, part):
    """The joint actions in which `part` does each of its actions: ACTIONS rows in place of each."""
    other = u.repeat_interleave(ACTIONS, 0)
    other[:, part] = torch.arange(ACTIONS).repeat(len(u))
    return other


def record(name, method, mixer="sum", conservatism=None, weighting=None, alpha=0.3, other=0.1, cons_weight=0.7, seed=0):
    kind = method["kind"] if method["kind"] in ("qtran",) else {"weighted_qmix": "weighted"}.get(method["kind"], "mixed")
    learner = {"method": method, "gamma": GAMMA, "rate": RATE, "copy_every": COPY, "hidden": [HIDDEN], "embed": EMBED, "hyper": HYPER}
    if conservatism:
        learner["conservatism"] = conservatism
    config = {"actions": ACTIONS, "state": STATE, "learner": learner}
    rec = Recorder(name, "joint", config, obs=OBS, act=PARTS, rows=ROWS, seed=seed, crate="factorization")
    online, target, behaviour = Value(kind, mixer), Value(kind, mixer), Utilities()
    rec.start({**online.named("online"), **target.named("target"), **behaviour.named("behaviour")})
    adam = torch.optim.Adam(online.parameters(), lr=RATE)
    cloning = torch.optim.Adam(behaviour.parameters(), lr=RATE)
    spread = (conservatism or {}).get("spread")
    cloned = spread is not None and spread != "even"
    met = set()
    for update in range(10):
        r = rec.random
        s, o, u, reward, s2, o2, d = rec.rows_of(
            state=r.normal(size=(ROWS, STATE)), obs=r.normal(size=(PARTS, ROWS, OBS)),
            act=r.integers(0, ACTIONS, size=(ROWS, PARTS)), reward=r.normal(size=ROWS),
            next_state=r.normal(size=(ROWS, STATE)), next_obs=r.normal(size=(PARTS, ROWS, OBS)),
            terminal=(r.uniform(size=ROWS) < 0.25),
        )
        u, reward, d = u.long(), reward[:, None], d[:, None]
        if cloned:
            rec.step(cloning, -taken(log_softmax(behaviour(o), 2), u).sum(1).mean())
        with torch.no_grad():
            greedy2 = online.utilities(o2).argmax(2)
            y = reward + GAMMA * (1 - d) * target.bootstrap(s2, o2, greedy2)
        q = online.utilities(o)
        greedy = q.detach().argmax(2)
        total = online.mixer(q, u, s)
        if kind == "mixed":
            loss = ((total - y) ** 2).mean()
        elif kind == "weighted":
            with torch.no_grad():
                if method["weighting"] == "optimistic":
                    full = total < y
                else:
                    is_greedy = (greedy == u).all(1, keepdim=True)
                    better = y > target.bootstrap(s, o, greedy)
                    met |= {("greedy", bool(x)) for x in is_greedy} | {("better", bool(x)) for x in better}
                    full = is_greedy | better
                met |= {("full", bool(x)) for x in full}
                w = torch.where(full, 1.0, method["alpha"])
            loss = (w * (total - y) ** 2).mean() + ((online.bootstrap(s, o, u) - y) ** 2).mean()
        else:
            jt, v = online.bootstrap(s, o, u), online.value(s)
            top = online.bootstrap(s, o, greedy).detach()
            opt = taken(q, greedy).sum(1, keepdim=True) - top + v
            nopt = (taken(q, u).sum(1, keepdim=True) - jt.detach() + v).clamp(max=0)
            met |= {("below", bool(x < 0)) for x in nopt}
            loss = ((jt - y) ** 2).mean() + (opt**2).mean() + method["other"] * (nopt**2).mean()
        penalty = torch.zeros(())
        if conservatism and conservatism["name"] == "joint":
            k = conservatism["samples"]
            drawn = rec.joint_actions(PARTS, ROWS * k, ACTIONS).argmax(2).T
            again = lambda x: x.repeat_interleave(k, 0)
            each = online.mixer(again(q), drawn, again(s)).view(ROWS, k)
            pressed = torch.logsumexp(each, 1) - math.log(k) + PARTS * math.log(ACTIONS)
            penalty = pressed.mean() - total.mean()
        elif conservatism:
            again = lambda x: x.repeat_interleave(ACTIONS, 0)
            own = [online.mixer(again(q), deviations(u, i), again(s)).view(ROWS, ACTIONS) for i in range(PARTS)]
            pressed = torch.stack([torch.logsumexp(x, 1) for x in own], 1)
            if cloned:
                with torch.no_grad():
                    ln_beta = log_softmax(behaviour(o), 2)
                    ln_mu = torch.stack([log_softmax(x, 1) for x in own], 1)
                    apart = (ln_mu.exp() * (ln_mu - ln_beta)).sum(2)
                    if spread == "largest":
                        lam = one_hot(apart.argmax(1), PARTS).double()
                    else:
                        lam = torch.softmax(spread["softmax"] * apart, 1)
            else:
                lam = torch.full((ROWS, PARTS), 1 / PARTS)
            penalty = (lam * pressed).sum(1).mean() - total.mean()
        loss = loss + (conservatism or {}).get("weight", 0.0) * penalty
        rec.report(loss=loss, q=total.mean(), penalty=penalty)
        rec.step(adam, loss)
        if (update + 1) % COPY == 0:
            target.load_state_dict(online.state_dict())
    assert all((what, not side) in met for what, side in met), f"{name}: one side only of {met}"
    rec.save()


mixed = lambda **mixer: {"kind": "mixed", "mixer": mixer}
QMIX = {"name": "qmix", "embed": EMBED, "hyper": HYPER}
QPLEX = {"name": "qplex", "heads": HEADS, "hyper": HYPER}
weighted = lambda weighting: {"kind": "weighted_qmix", "weighting": weighting, "alpha": 0.3, "star": STAR}

record("vdn", mixed(name="vdn"))
record("qmix", mixed(**QMIX), "qmix")
record("qplex", mixed(**QPLEX, scaled=False), "qplex")
record("qplex-scaled", mixed(**QPLEX, scaled=True), "qplex-scaled")
record("cw-qmix", weighted("central"), "qmix")
record("ow-qmix", weighted("optimistic"), "qmix")
record("qtran", {"kind": "qtran", "other": 0.1})
record("ma-cql", mixed(**QMIX), "qmix", {"name": "joint", "weight": 0.7, "samples": 5})
record("cfcql", mixed(**QMIX), "qmix", {"name": "counterfactual", "weight": 0.7, "spread": "even"})
record("cfcql-softmax", mixed(**QPLEX, scaled=False), "qplex", {"name": "counterfactual", "weight": 0.7, "spread": {"softmax": 0.5}})
record("cfcql-largest", mixed(name="vdn"), "sum", {"name": "counterfactual", "weight": 0.7, "spread": "largest"})
