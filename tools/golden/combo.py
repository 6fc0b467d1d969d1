"""COMBO (arXiv:2102.08363): CQL on rows of a log and of a model, which lifts the values of the log's actions alone.

The order is CQL's here: α and the policy step first, then the critics with the new policy. The model is asked nothing.
"""

import math

import torch
from torch import nn

from fixture import Recorder, layers, plain

GAMMA, TAU, ACTOR_RATE, RATE, OBS, ACT = 0.99, 0.05, 5e-4, 1e-3, 3, 2


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(
    name, real, rho="mixture", mu="soft_maximum", limit=1.0, beta=5.0, n=6, three_way=False, threshold=None,
    entropy_backup=False, rows=16,
):
    config = {
        "rho": rho, "mu": mu,
        "cql": {
            "gamma": GAMMA, "polyak": TAU, "weight": beta, "samples": n, "three_way": three_way, "lagrange": threshold,
            "entropy_backup": entropy_backup, "alpha_rate": ACTOR_RATE, "actor_rate": ACTOR_RATE, "critic_rate": RATE,
            "hidden": [16, 12],
        },
    }
    rec = Recorder(name, "combo", config, act_limit=limit, rows=rows, real=real)
    actor = net(OBS, 2 * ACT)
    critics, targets = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(2)]) for _ in range(2)]
    ln_alpha, ln_price = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    rec.start({
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
        **plain("temperature.ln_alpha", ln_alpha),
        **({} if threshold is None else plain("multiplier.ln_alpha", ln_price)),
    })
    alpha_adam = torch.optim.Adam([ln_alpha], lr=ACTOR_RATE)
    actor_adam = torch.optim.Adam(actor.parameters(), lr=ACTOR_RATE)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)
    price_adam = torch.optim.Adam([ln_price], lr=RATE)

    def policy(s, k):
        """k actions in units of the limit for each row, one after the other, and their log-densities."""
        mu, log_std = actor(s.repeat_interleave(k, 0)).chunk(2, 1)
        base = torch.distributions.Normal(mu, log_std.clamp(-20, 2).exp())
        u = mu + base.stddev * rec.normal(len(s) * k, ACT)
        jacobian = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
        return torch.tanh(u), (base.log_prob(u) - jacobian).sum(1)

    def value(q, s, a):
        """Of each of the actions of a state, given in units of the limit."""
        k = len(a) // len(s)
        return q(torch.cat([s.repeat_interleave(k, 0), limit * a], 1)).squeeze(1)

    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        r, d = r.squeeze(1), d.squeeze(1)

        pi, log_pi = policy(s, 1)
        rec.step(alpha_adam, -(ln_alpha * (log_pi - ACT).detach()).mean())
        alpha = ln_alpha.exp().detach()
        actor_loss = (alpha * log_pi - torch.minimum(*(value(q, s, pi) for q in critics))).mean()
        rec.step(actor_adam, actor_loss)

        with torch.no_grad():
            pi2, log_pi2 = policy(s2, 1)
            after = torch.minimum(*(value(q, s2, pi2) for q in targets))
            if entropy_backup:
                after = after - alpha * log_pi2
            y = r + GAMMA * (1 - d) * after
            # ρ: the states of the model, or of the whole batch.
            low, low2 = (s[real:], s2[real:]) if rho == "model" else (s, s2)
            flat = torch.full((len(low) * n,), -ACT * math.log(2))
            kinds = []
            if mu != "policy":
                kinds.append((rec.uniform(-1, 1, len(low) * n, ACT), flat))
            if mu != "uniform":
                kinds.append(policy(low, n))
            if mu == "soft_maximum":
                kinds.append(policy(low2, n))
        price = torch.ones(1) if threshold is None else ln_price.exp()
        critic_loss, excess, gaps, values = 0, 0, [], []
        for q in critics:
            if mu == "soft_maximum":
                # Density by density at its own state, the value at s.
                uniform, here, there = [(value(q, low, of) - log_p).view(-1, n) for of, log_p in kinds]
                weighed = torch.stack([uniform, here, there], 2)
                high = (weighed if three_way else weighed.flatten(1)).logsumexp(-1).mean()
            else:
                high = value(q, low, kinds[0][0]).mean()
            all_rows = value(q, s, a / limit)
            gap = high - all_rows[:real].mean()
            above = beta * gap - (threshold or 0.0)
            critic_loss = critic_loss + ((all_rows - y) ** 2).mean() + price.detach() * above
            excess = excess + above.detach()
            gaps.append(gap)
            values.append(all_rows)
        rec.step(critic_adam, critic_loss)
        if threshold is not None:
            rec.step(price_adam, -0.5 * (price * excess).sum())
            rec.report(ln_multiplier=ln_price)

        with torch.no_grad():
            for old, new in zip(targets.parameters(), critics.parameters()):
                old.lerp_(new, TAU)
        rec.report(actor_loss=actor_loss, critic_loss=critic_loss, q=torch.cat(values).mean(), gap=sum(gaps) / 2)
        rec.report(target=y.mean(), entropy=-log_pi.mean(), ln_alpha=ln_alpha)
    rec.save()


record("combo", real=8)
# More rows of the log than imagined ones; ρ of both parts.
record("combo-lagrange", real=11, limit=2.0, n=4, beta=1.0, threshold=3.0, three_way=True)
record("combo-model-states", real=5, rho="model", n=4, entropy_backup=True)
record("combo-policy", real=12, rho="model", mu="policy", limit=2.0, beta=0.5)
record("combo-uniform", real=3, mu="uniform", beta=0.5)
