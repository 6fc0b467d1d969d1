"""MOBILE (ICML 2023): SAC whose targets fall, on imagined rows, by how much the model's members disagree about the next value.

The order: critics, α, the policy with the new critics and the new α, targets. The model is a small one that has learnt nothing: its
parameters are part of the recording.
"""

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from fixture import Recorder, layers, plain, single
from world import ELITES, MEMBERS, UNITS, Model

GAMMA, TAU, ACTOR_RATE, RATE, OBS, ACT = 0.99, 0.05, 5e-4, 1e-3, 3, 2


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(
    name, real, limit=1.0, c=1.0, k=4, n=2, max_backup=False, entropy_backup=True, non_negative=True, alpha=1.0,
    alpha_rate=ACTOR_RATE, rows=16,
):
    config = {
        "gamma": GAMMA, "weight": c, "samples": k, "critics": n, "max_backup": max_backup, "entropy_backup": entropy_backup,
        "non_negative": non_negative, "alpha": alpha, "alpha_rate": alpha_rate, "polyak": TAU, "actor_rate": ACTOR_RATE,
        "critic_rate": RATE, "hidden": [16, 12],
    }
    rec = Recorder(name, "mobile", config, act_limit=limit, rows=rows, real=real)
    model = Model(rec.random)
    mean, std = single(rec.random.normal(size=OBS)), single(0.5 + rec.random.uniform(size=OBS))
    ensemble = {"members": MEMBERS, "elites": len(ELITES), "hidden": [UNITS], "decay": [0.0, 0.0]}
    rec.model(ensemble, model.named(), (mean, std))
    mean, std = torch.from_numpy(mean), torch.from_numpy(std)
    actor = net(OBS, 2 * ACT)
    critics, targets = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(n)]) for _ in range(2)]
    with torch.no_grad():
        for q in [*critics, *targets]:
            # Values that differ from state to state and from critic to critic.
            q[-1].weight *= 5
    ln_alpha = nn.Parameter(torch.tensor([math.log(alpha)]))
    rec.start({
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
        **plain("temperature.ln_alpha", ln_alpha),
    })
    alpha_adam = torch.optim.Adam([ln_alpha], lr=alpha_rate)
    actor_adam = torch.optim.Adam(actor.parameters(), lr=ACTOR_RATE)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)

    def sample(s, epsilon):
        mu, log_std = actor(s).chunk(2, 1)
        deviation = log_std.clamp(-20, 2).exp()
        u = mu + deviation * epsilon
        jacobian = 2 * (math.log(2) - u - softplus(-2 * u))
        return limit * torch.tanh(u), (torch.distributions.Normal(mu, deviation).log_prob(u) - jacobian).sum(1)

    def values(nets, s, a):
        return torch.stack([q(torch.cat([s, a], 1)).squeeze(1) for q in nets])

    met = set()
    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        r, d = r.squeeze(1), d.squeeze(1)

        with torch.no_grad():
            imagined = rows - real
            z = rec.normal(len(ELITES), imagined * k, OBS)
            epsilon = rec.normal(len(ELITES), imagined * k, ACT)
            opinions = []
            for place, (middle, deviation) in enumerate(model.states(s[real:] * std + mean, a[real:])):
                raw = middle.repeat_interleave(k, 0) + deviation.repeat_interleave(k, 0) * z[place]
                seen = (raw - mean) / std
                of_each = values(targets, seen, sample(seen, epsilon[place])[0])
                met |= {f"critic {j}" for j in of_each.argmin(0).tolist()}
                opinions.append(of_each.amin(0).view(imagined, k).mean(1))
            penalty = torch.stack(opinions).std(0)
            if max_backup:
                many = s2.repeat_interleave(k, 0)
                a2, _ = sample(many, rec.normal(rows * k, ACT))
                after = values(targets, many, a2).view(n, rows, k).amax(2).amin(0)
            else:
                a2, log_pi2 = sample(s2, rec.normal(rows, ACT))
                after = values(targets, s2, a2).amin(0)
                if entropy_backup:
                    after = after - ln_alpha.exp() * log_pi2
            y = r + GAMMA * (1 - d) * after
            y[real:] -= c * penalty
            met |= {"above" if x > 0 else "below" for x in y.tolist()}
            if non_negative:
                y = y.clamp(min=0)
        q = values(critics, s, a)
        critic_loss = ((q - y) ** 2).mean()
        rec.step(critic_adam, critic_loss)

        pi, log_pi = sample(s, rec.normal(rows, ACT))
        rec.step(alpha_adam, -(ln_alpha * (log_pi - ACT).detach()).mean())
        actor_loss = (ln_alpha.exp().detach() * log_pi - values(critics, s, pi).amin(0)).mean()
        rec.step(actor_adam, actor_loss)

        with torch.no_grad():
            for old, new in zip(targets.parameters(), critics.parameters()):
                old.lerp_(new, TAU)
        rec.report(critic_loss=critic_loss, actor_loss=actor_loss, q=q.mean(), penalty=penalty.mean())
        rec.report(entropy=-log_pi.mean(), ln_alpha=ln_alpha)
    assert {"above", "below"} | {f"critic {j}" for j in range(n)} <= met, met
    rec.save()


record("mobile", real=5)
# As on Adroit: more critics, the best of some actions, a fixed temperature.
record(
    "mobile-max-backup", real=10, limit=2.0, c=2.0, n=3, max_backup=True, entropy_backup=False, non_negative=False, alpha=0.2,
    alpha_rate=0.0,
)
