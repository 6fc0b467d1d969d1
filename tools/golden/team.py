"""Learners of teams: MA-CQL, OMAR (arXiv:2111.11188), MACQL and CFCQL (arXiv:2309.12696), TD3+BC, ICQ-MA (arXiv:2106.03400) for continuous
actions. Each agent has nets, and a norm that its gradients are held to, of its own."""

import math
import os

import numpy as np
import torch
from torch import nn

import fixture
from fixture import Recorder, layers

fixture.FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "crates", "parity", "tests", "golden", "factorization", "team")

AGENTS, OBS, ACT, LIMIT = 2, 3, 2, 1.0
GAMMA, RATE, TAU, CLIP, COST = 0.95, 1e-3, 0.05, 0.5, 1e-3
SAMPLES, ALPHA, UPDATES = 4, 0.7, 4


class Net(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(nn.Linear(inputs, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, outputs))

    def linears(self):
        return [m for m in self if isinstance(m, nn.Linear)]


class Held:
    """A loss whose gradients, once taken, are held to a norm, group by group."""

    def __init__(self, loss, groups):
        self.loss, self.groups = loss, groups

    def backward(self):
        self.loss.backward()
        for group in self.groups:
            torch.nn.utils.clip_grad_norm_(group, CLIP)


def apart(joint):
    """What is each agent's of joint columns."""
    return list(torch.chunk(joint, AGENTS, dim=1))


def follow(pairs):
    with torch.no_grad():
        for target, net in pairs:
            for old, new in zip(target.parameters(), net.parameters()):
                old.copy_(TAU * new + (1 - TAU) * old)


def cube(rec, kind, rows):
    """Numbers for every agent, [agents, rows, act], written down as one draw."""
    size = (AGENTS, rows, ACT)
    return rec._draw(rec.random.uniform(-1, 1, size=size) if kind == "uniform" else rec.random.normal(size=size))


def steep(nets):
    """Values large enough that what is done with them shows."""
    with torch.no_grad():
        for net in nets:
            net[-1].weight *= 3


class Team:
    """The loop that all but ICQ have; what is added to the values' loss, and the policies' loss, come with the method."""

    def __init__(self, name, algorithm, method, config, central, noise=0.0, period=1, cost=COST, clones=False, seed=0):
        self.method, self.central, self.noise, self.period, self.cost = method, central, noise, period, cost
        shared = {
            "agents": AGENTS, "gamma": GAMMA, "rate": RATE, "polyak": TAU, "hidden": [12, 8], "clip": CLIP,
            "action_cost": cost, "noise": noise, "period": period,
        }
        full = config(shared)
        self.rec = Recorder(name, algorithm, full, obs=AGENTS * OBS, act=AGENTS * ACT, act_limit=LIMIT, seed=seed)
        self.rec.notes["source"] = "tools/golden/team.py, PyTorch in double precision"
        n, inputs = (1, AGENTS * (OBS + ACT)) if central else (AGENTS, OBS + ACT)
        self.actors, self.actors_bar = ([Net(OBS, ACT) for _ in range(AGENTS)] for _ in range(2))
        self.q, self.q_bar = ([[Net(inputs, 1) for _ in range(n)] for _ in range(2)] for _ in range(2))
        self.beta = [Net(OBS, 2 * ACT) for _ in range(AGENTS)] if clones else []
        steep([net for both in (self.q, self.q_bar) for pair in both for net in pair])
        named = {**layers("actor", [a.linears() for a in self.actors])}
        for j in range(2):
            named |= layers(f"critic_{j + 1}", [q.linears() for q in self.q[j]])
        if clones:
            named |= layers("behaviour", [b.linears() for b in self.beta])
        named |= layers("actor_target", [a.linears() for a in self.actors_bar])
        for j in range(2):
            named |= layers(f"critic_{j + 1}_target", [q.linears() for q in self.q_bar[j]])
        self.rec.start(named)
        adam = lambda nets: torch.optim.Adam([p for net in nets for p in net.parameters()], lr=RATE)
        self.actor_adam = adam(self.actors)
        self.critic_adam = adam([net for pair in self.q for net in pair])
        self.beta_adam = adam(self.beta) if clones else None

    def value(self, nets, o, u):
        """[agents or 1] values, each [rows, 1]; u is the agents' actions."""
        if self.central:
            return [nets[0](torch.cat([*o, *u], 1))]
        return [net(torch.cat([o[i], u[i]], 1)) for i, net in enumerate(nets)]

    def policy(self, o):
        return [LIMIT * torch.tanh(actor(o[i])) for i, actor in enumerate(self.actors)]

    def ln_beta(self, o, u):
        found = []
        for i, net in enumerate(self.beta):
            mean, log_std = torch.chunk(net(o[i]), 2, dim=1)
            dist = torch.distributions.Normal(mean, torch.exp(torch.clamp(log_std, -3, 1)))
            found.append(dist.log_prob(u[i] / LIMIT).sum(1, keepdim=True))
        return found

    def run(self):
        rec = self.rec
        for t in range(1, UPDATES + 1):
            s, a, r, s2, d = rec.batch()
            o, u, o2 = apart(s), apart(a), apart(s2)
            if self.beta:
                loss = -sum(x.mean() for x in self.ln_beta(o, u))
                rec.step(self.beta_adam, Held(loss, [list(b.parameters()) for b in self.beta]))
            with torch.no_grad():
                u2 = [LIMIT * torch.tanh(actor(o2[i])) for i, actor in enumerate(self.actors_bar)]
                if self.noise:
                    drawn = cube(rec, "normal", len(s)) * self.noise * LIMIT
                    u2 = [torch.clamp(x + drawn[i], -LIMIT, LIMIT) for i, x in enumerate(u2)]
                one, two = (self.value(nets, o2, u2) for nets in self.q_bar)
                y = [r + GAMMA * (1 - d) * torch.minimum(p, q) for p, q in zip(one, two)]
            q = [self.value(nets, o, u) for nets in self.q]
            loss = sum(nn.functional.mse_loss(x, y[i]) for own in q for i, x in enumerate(own))
            report = {}
            penalty = self.method.penalty(self, o, u, q)
            if penalty is not None:
                loss = loss + ALPHA * penalty
                report["penalty"] = penalty
            rec.report(critic_loss=loss, q=sum(x.mean() for x in q[0]) / len(q[0]), **report)
            groups = [[p for pair in self.q for p in pair[i].parameters()] for i in range(len(self.q[0]))]
            rec.step(self.critic_adam, Held(loss, groups))
            if t % self.period == 0:
                pi = self.policy(o)
                loss = self.method.policy_loss(self, o, u, pi) + self.cost * sum((x**2).mean() for x in pi)
                rec.report(actor_loss=loss)
                rec.step(self.actor_adam, Held(loss, [list(x.parameters()) for x in self.actors]))
                follow(zip(self.actors_bar, self.actors))
                follow((bar, net) for j in range(2) for bar, net in zip(self.q_bar[j], self.q[j]))
        rec.save()


def many(o):
    return [x.repeat_interleave(SAMPLES, 0) for x in o]


def pressed(q, width):
    """ln Σ exp(Q − ln p) of SAMPLES consecutive rows."""
    return torch.logsumexp(q.view(-1, SAMPLES) - width * math.log(1 / (2 * LIMIT)), 1, keepdim=True)


class Td3Bc:
    ALPHA = 2.5

    def penalty(self, team, o, u, q):
        return None

    def policy_loss(self, team, o, u, pi):
        loss = 0.0
        for i, q in enumerate(team.value(team.q[0], o, pi)):
            loss = loss - self.ALPHA / q.abs().mean().detach() * q.mean() + nn.functional.mse_loss(pi[i], u[i])
        return loss


class MaCql:
    def penalty(self, team, o, u, q):
        drawn = cube(team.rec, "uniform", len(o[0]) * SAMPLES) * LIMIT
        total = 0.0
        for j in range(2):
            for i, wide in enumerate(team.value(team.q[j], many(o), list(drawn))):
                total = total + (pressed(wide, ACT) - q[j][i]).mean()
        return total

    def policy_loss(self, team, o, u, pi):
        return -sum(q.mean() for q in team.value(team.q[0], o, pi))


class Omar(MaCql):
    C, ITERATIONS = 0.6, 3

    def policy_loss(self, team, o, u, pi):
        rows = len(o[0])
        with torch.no_grad():
            mu, sigma = torch.zeros(AGENTS, rows, ACT), torch.full((AGENTS, rows, ACT), 2.0)
            for _ in range(self.ITERATIONS):
                noise = cube(team.rec, "normal", rows * SAMPLES).view(AGENTS, rows, SAMPLES, ACT)
                drawn = torch.clamp(mu.unsqueeze(2) + sigma.unsqueeze(2) * noise, -LIMIT, LIMIT)
                flat = list(drawn.view(AGENTS, rows * SAMPLES, ACT))
                q = torch.stack(team.value(team.q[0], many(o), flat)).view(AGENTS, rows, SAMPLES, 1)
                weight = torch.exp(q - q.max(2, keepdim=True)[0])
                mu = (drawn * weight).sum(2) / weight.sum(2)
                sigma = torch.sqrt(((drawn - mu.unsqueeze(2)) ** 2).mean(2))
            best, at = q.max(2, keepdim=True)
            found = torch.gather(drawn, 2, at.expand(-1, -1, -1, ACT)).squeeze(2)
            own = torch.stack(team.value(team.q[0], o, pi))
            target = torch.where(best.squeeze(2) > own, found, torch.stack(pi))
        drawn_to = sum(nn.functional.mse_loss(pi[i], target[i]) for i in range(AGENTS))
        return self.C * drawn_to + (1 - self.C) * super().policy_loss(team, o, u, pi)


def alone(team, o, u, pi):
    """The mean over agents of Q₁ where one acts by its policy and the others did what they did."""
    total = 0.0
    for i in range(AGENTS):
        total = total + team.value(team.q[0], o, [pi[j] if j == i else u[j] for j in range(AGENTS)])[0].mean()
    return total / AGENTS


class Macql:
    def penalty(self, team, o, u, q):
        rows = len(o[0]) * SAMPLES
        drawn = team.rec.uniform(-1, 1, rows, AGENTS * ACT) * LIMIT
        wide = (team.value(team.q[j], many(o), apart(drawn))[0] for j in range(2))
        return sum((pressed(x, AGENTS * ACT) - q[j][0]).mean() for j, x in enumerate(wide))

    def policy_loss(self, team, o, u, pi):
        return -alone(team, o, u, pi)


class Cfcql(Macql):
    def __init__(self, tau=None):
        self.tau = tau

    def penalty(self, team, o, u, q):
        drawn = cube(team.rec, "uniform", len(o[0]) * SAMPLES) * LIMIT
        weight = torch.full((len(o[0]), AGENTS), 1 / AGENTS)
        if self.tau is not None:
            with torch.no_grad():
                weight = torch.softmax(self.tau * torch.cat(team.ln_beta(o, team.policy(o)), 1), 1)
        total = 0.0
        for j in range(2):
            each = [
                pressed(team.value(team.q[j], many(o), [drawn[i] if k == i else many(u)[k] for k in range(AGENTS)])[0], ACT)
                for i in range(AGENTS)
            ]
            total = total + ((weight * torch.cat(each, 1)).sum(1, keepdim=True) - q[j][0]).mean()
        return total


def icq():
    beta_pi, beta_q = 0.5, 5.0
    shared = {
        "agents": AGENTS, "gamma": GAMMA, "rate": RATE, "polyak": TAU, "hidden": [12, 8], "clip": CLIP, "action_cost": 0.0,
        "noise": 0.0, "period": 1,
    }
    config = {"shared": shared, "policy_temperature": beta_pi, "value_temperature": beta_q, "samples": SAMPLES}
    rec = Recorder("icq", "icq", config, obs=AGENTS * OBS, act=AGENTS * ACT, act_limit=LIMIT, followed=True)
    rec.notes["source"] = "tools/golden/team.py, PyTorch in double precision"
    actors = [Net(OBS, ACT) for _ in range(AGENTS)]
    log_std = [nn.Parameter(0.3 * torch.randn(1, ACT)) for _ in range(AGENTS)]
    mixed, bar = (
        {"critic": [Net(OBS + ACT, 1) for _ in range(AGENTS)], "credit": [Net(AGENTS * OBS, AGENTS)], "bias": [Net(AGENTS * OBS, 1)]}
        for _ in range(2)
    )
    steep([net for nets in (mixed, bar) for net in [*nets["critic"], *nets["credit"]]])
    named = layers("actor", [a.linears() for a in actors])
    named["actor.log_std"] = (log_std, lambda x: x.reshape(1, -1))
    for name, nets in mixed.items():
        named |= layers(name, [net.linears() for net in nets])
    for name, nets in bar.items():
        named |= layers(f"{name}_target", [net.linears() for net in nets])
    rec.start(named)
    critics = [p for nets in mixed.values() for net in nets for p in net.parameters()]
    critic_adam = torch.optim.Adam(critics, lr=RATE)
    actor_adam = torch.optim.Adam([*[p for a in actors for p in a.parameters()], *log_std], lr=RATE)

    def total(nets, s, u):
        own = torch.cat([net(torch.cat([o, a], 1)) for net, o, a in zip(nets["critic"], apart(s), apart(u))], 1)
        return (nets["credit"][0](s).abs() * own).sum(1, keepdim=True) + nets["bias"][0](s)

    for _ in range(UPDATES):
        s, a, r, s2, d, a2 = rec.batch()
        with torch.no_grad():
            q2 = total(bar, s2, a2)
            y = r + GAMMA * (1 - d) * len(s) * torch.softmax(q2 / beta_q, 0) * q2
        q = total(mixed, s, a)
        loss = nn.functional.mse_loss(q, y)
        rec.report(critic_loss=loss, q=q.mean())
        rec.step(critic_adam, Held(loss, [critics]))
        noise = cube(rec, "normal", len(s) * SAMPLES)
        loss = 0.0
        credit = mixed["credit"][0](s).abs().detach()
        for i, (o, u) in enumerate(zip(apart(s), apart(a))):
            ln_sigma = -6 + 6 * torch.sigmoid(log_std[i])
            mean = torch.tanh(actors[i](o))
            with torch.no_grad():
                drawn = torch.clamp(mean.repeat_interleave(SAMPLES, 0) + torch.exp(ln_sigma) * noise[i], -1, 1) * LIMIT
                baseline = mixed["critic"][i](torch.cat([o.repeat_interleave(SAMPLES, 0), drawn], 1))
                advantage = mixed["critic"][i](torch.cat([o, u], 1)) - baseline.view(-1, SAMPLES).mean(1, keepdim=True)
                weight = len(s) * torch.softmax(advantage / beta_pi, 0)
            ln_pi = torch.distributions.Normal(mean, torch.exp(ln_sigma)).log_prob(u / LIMIT).sum(1, keepdim=True)
            loss = loss - (credit[:, i : i + 1] * weight * ln_pi).mean()
        rec.report(actor_loss=loss)
        rec.step(actor_adam, Held(loss, [[*actors[i].parameters(), log_std[i]] for i in range(AGENTS)]))
        follow((old, new) for name in mixed for old, new in zip(bar[name], mixed[name]))
    rec.save()


if __name__ == "__main__":
    cql = lambda shared: {"shared": shared, "alpha": ALPHA, "samples": SAMPLES}
    Team("td3-bc", "ma_td3_bc", Td3Bc(), lambda shared: {"shared": shared, "alpha": Td3Bc.ALPHA}, False, cost=0.0).run()
    Team("ma-cql", "ma_cql", MaCql(), cql, False).run()
    search = {"iterations": Omar.ITERATIONS, "samples": SAMPLES, "mean": 0.0, "std": 2.0}
    omar = lambda shared: {"cql": cql(shared), "coefficient": Omar.C, "search": search}
    Team("omar", "omar", Omar(), omar, False).run()
    Team("macql", "macql", Macql(), lambda shared: {**cql(shared), "alone": True}, True, noise=0.05, period=2).run()
    cfcql = lambda spread: lambda shared: {**cql(shared), "lambda": spread}
    Team("cfcql", "cfcql", Cfcql(), cfcql("even"), True, noise=0.05, period=2).run()
    Team("cfcql-near", "cfcql", Cfcql(0.8), cfcql({"near": 0.8}), True, noise=0.05, period=2, clones=True).run()
    icq()
