"""RAMBO (arXiv:2204.12581): in each update a step of the model, against the policy and for the likelihood of the log, then a
step of SAC. The likelihood of the mixture goes through the logarithm of a sum on one tape: no responsibilities."""

import math

import numpy as np
import torch
from torch import nn

from ensemble import ACT, OBS, Ensemble
from fixture import Recorder, layers, plain, single

GAMMA, TAU, RATE, LAMBDA, SHARE, PLAYED = 0.97, 0.05, 1e-3, 0.4, 12, 20
MEMBERS, ELITES = 3, 2


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 14), nn.ReLU(), nn.Linear(14, 12), nn.ReLU(), nn.Linear(12, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(name, limit):
    random = np.random.default_rng([3, *name.encode()])
    sac = {
        "gamma": GAMMA, "polyak": TAU, "alpha": 0.5, "alpha_rate": RATE, "actor_rate": RATE, "critic_rate": RATE,
        "hidden": [14, 12],
    }
    rec = Recorder(name, "rambo", None, act_limit=limit)
    model = Ensemble(random, MEMBERS, [12, 10], [1e-2, 0.0, 2e-2], 0.02)
    rec.config = {
        "model": model.config(elites=ELITES),
        "rambo": {"lambda": LAMBDA, "model_rate": RATE, "sac": sac},
    }
    actor = net(OBS, 2 * ACT)
    critics, targets = [[net(OBS + ACT, 1) for _ in range(2)] for _ in range(2)]
    ln_alpha = nn.Parameter(torch.tensor([math.log(0.5)]))
    rec.start({
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
        **plain("temperature.ln_alpha", ln_alpha),
        **model.named("model."),
    })
    rec.tensors["params/said"] = np.zeros(3, dtype=np.float32)
    model_adam = torch.optim.Adam(model.parameters(), lr=RATE)
    alpha_adam = torch.optim.Adam([ln_alpha], lr=RATE)
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam([p for q in critics for p in q.parameters()], lr=RATE)

    def least(of, s, a):
        return torch.minimum(*(q(torch.cat([s, a], 1)) for q in of))

    def sample(s):
        """tanh u and the log-density of tanh u."""
        mu, log_std = actor(s).chunk(2, 1)
        std = log_std.clamp(-20, 2).exp()
        u = mu + std * rec.normal(len(s), ACT)
        jacobian = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
        return torch.tanh(u), (torch.distributions.Normal(mu, std).log_prob(u) - jacobian).sum(1, keepdim=True)

    def transitions(rows):
        s = single(random.normal(size=(rows, OBS)))
        a = single(random.uniform(-limit, limit, size=(rows, ACT)))
        r = single(random.normal(size=(rows, 1)))
        s2 = single(s + 0.5 * random.normal(size=(rows, OBS)))
        d = (random.uniform(size=(rows, 1)) < 0.2).astype(np.float64)
        return {"obs": s, "act": a, "reward": r, "next_obs": s2, "terminal": d}

    inputs = {"played": [], "log": []}
    for _ in range(10):
        for folder, rows in (("played", PLAYED), ("log", SHARE * MEMBERS)):
            inputs[folder].append(transitions(rows))
        (s, a, r, s2, d), log = ([torch.from_numpy(x) for x in inputs[f][-1].values()] for f in ("played", "log"))
        batch = rec.batch()

        # The model.
        with torch.no_grad():
            pi2 = limit * torch.tanh(actor(s2)[:, :ACT])
            advantage = r + GAMMA * (1 - d) * least(critics, s2, pi2) - least(critics, s, a)
            advantage = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-6)
        log_probs = []
        for member in range(ELITES):
            mean, log_var = model.predict(member, s, a)
            gaussian = torch.distributions.Normal(torch.cat([mean[:, :1], s + mean[:, 1:]], 1), torch.exp(log_var / 2))
            log_probs.append(gaussian.log_prob(torch.cat([r, s2], 1)).sum(1, keepdim=True))
        log_prob = torch.logsumexp(torch.stack(log_probs), 0) - math.log(ELITES)
        adversarial = (advantage * log_prob).mean()
        fit, decays, _ = model.fit(*log[:4])
        rec.step(model_adam, LAMBDA * adversarial + fit + decays)
        rec.report(model_loss=fit, adversarial_loss=adversarial, model_log_prob=log_prob.mean())

        # The policy: SAC.
        s, a, r, s2, d = batch
        pi, log_pi = sample(s)
        rec.step(alpha_adam, -(ln_alpha * (log_pi - ACT).detach()).mean())
        price = ln_alpha.exp().detach()
        actor_loss = (price * log_pi - least(critics, s, limit * pi)).mean()
        rec.step(actor_adam, actor_loss)
        with torch.no_grad():
            pi2, log_pi2 = sample(s2)
            y = r + GAMMA * (1 - d) * (least(targets, s2, limit * pi2) - price * log_pi2)
        critic_loss = sum(nn.functional.mse_loss(q(torch.cat([s, a], 1)), y) for q in critics)
        rec.step(critic_adam, critic_loss)
        with torch.no_grad():
            for target, online in zip(targets, critics):
                for old, new in zip(target.parameters(), online.parameters()):
                    old += TAU * (new - old)
        rec.report(actor_loss=actor_loss, critic_loss=critic_loss, ln_alpha=ln_alpha)
    for folder, updates in inputs.items():
        for column in updates[0]:
            rec.tensors[f"{folder}/{column}"] = np.stack([u[column] for u in updates]).astype(np.float32)
    last = rec.losses[-1]
    said = [last["model_loss"], last["adversarial_loss"], last["model_log_prob"]]
    rec.tensors["final/said"] = np.array(said, dtype=np.float32)
    model.write_rest(rec, ["params", "final"], "model.")
    rec.save()


record("rambo", limit=2.0)
