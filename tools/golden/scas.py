"""SCAS (NeurIPS 2024): TD3 on several critics whose policy is to lead back from perturbed states to where the log goes on, by a model.

The order: critics; every second time the policy, then the targets. The model is a small one that has learnt nothing; it is frozen, and the
gradient reaches the policy through the action.
"""

import math

import torch
from torch import nn

from fixture import Recorder, layers, single
from world import ACT, ELITES, MEMBERS, OBS, UNITS, Model

GAMMA, NOISE, CLIP, PERIOD, TAU, RATE = 0.99, 0.2, 0.5, 2, 0.05, 1e-3


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(name, lam, beta, sharpness, bound, elites, n, mean_target=False, limit=1.0, decay=0):
    config = {
        "gamma": GAMMA, "lambda": lam, "beta": beta, "sharpness": sharpness, "weight_bound": bound, "elites": elites, "critics": n,
        "mean_target": mean_target, "policy_noise": NOISE, "noise_clip": CLIP, "policy_period": PERIOD, "polyak": TAU,
        "actor_rate": RATE, "actor_decay": decay, "critic_rate": RATE, "hidden": [16, 12],
    }
    rec = Recorder(name, "scas", config, act_limit=limit)
    model = Model(rec.random)
    mean, std = single(rec.random.normal(size=OBS)), single(0.5 + rec.random.uniform(size=OBS))
    ensemble = {"members": MEMBERS, "elites": len(ELITES), "hidden": [UNITS], "decay": [0.0, 0.0]}
    rec.model(ensemble, model.named(), (mean, std))
    mean, std = torch.from_numpy(mean), torch.from_numpy(std)
    actor, actor_target = net(OBS, ACT), net(OBS, ACT)
    critics, targets = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(n)]) for _ in range(2)]
    with torch.no_grad():
        probe = torch.randn(500, OBS + ACT)
        for q in [*critics, *targets]:
            # Values of either sign, the smallest too, and no critic that has it everywhere.
            q[-1].weight *= 10
            q[-1].bias -= q(probe).mean() - q(probe).std()
    rec.start({
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critics]),
        **layers("actor_target", [linears(actor_target)]),
        **layers("critic_target", [linears(q) for q in targets]),
    })
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)

    def values(nets, s, a):
        """One column for each critic."""
        return torch.cat([q(torch.cat([s, a], 1)) for q in nets], 1)

    pi = lambda of, s: limit * torch.tanh(of(s))
    met, steps = set(), 0
    for t in range(1, 11):
        s, a, r, s2, d = rec.batch()
        rows = len(s)
        with torch.no_grad():
            noise = torch.clamp(rec.normal(rows, ACT) * NOISE * limit, -CLIP * limit, CLIP * limit)
            a2 = torch.clamp(pi(actor_target, s2) + noise, -limit, limit)
            q2 = values(targets, s2, a2)
            y = r + GAMMA * (1 - d) * (q2.mean(1, keepdim=True) if mean_target else q2.amin(1, keepdim=True))
        q = values(critics, s, a)
        critic_loss = ((q - y) ** 2).mean(0).sum()
        rec.report(critic_loss=critic_loss, q=q.mean())
        rec.step(critic_adam, critic_loss)
        if t % PERIOD == 0:
            if decay:
                actor_adam.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * min(steps / decay, 1))) / 2
            with torch.no_grad():
                gain = values(critics, s2, pi(actor, s2)).mean(1) - values(critics, s, pi(actor, s)).mean(1)
                weight = torch.exp(sharpness * gain)
                met |= {"bounded" if w > bound else "free" for w in weight.tolist()}
                weight = weight.clamp(max=bound)
            act = pi(actor, s)
            beside = s + beta * rec.normal(rows, OBS)
            means = [m for m, _ in model.states(beside * std + mean, act, ELITES[:elites])]
            seen = (sum(means) / elites - mean) / std
            correction = (weight * ((seen - s2) ** 2).mean(1)).mean()
            least = values(critics, s, act).amin(1)
            met |= {"positive" if x > 0 else "negative" for x in least.tolist()}
            actor_loss = lam * correction - (1 - lam) * least.mean() / least.abs().mean().detach()
            rec.report(actor_loss=actor_loss, correction=correction)
            rec.step(actor_adam, actor_loss)
            steps += 1
            with torch.no_grad():
                for old, new in [*zip(targets.parameters(), critics.parameters()), *zip(actor_target.parameters(), actor.parameters())]:
                    old.lerp_(new, TAU)
    assert met == {"bounded", "free", "positive", "negative"}, met
    rec.save()


record("scas", lam=0.25, beta=0.1, sharpness=5.0, bound=2.0, elites=1, n=4, decay=4)
record("scas-mean-target", lam=0.6, beta=0.3, sharpness=3.0, bound=1.5, elites=2, n=3, mean_target=True, limit=2.0)
