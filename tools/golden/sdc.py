"""SDC (AAAI 2022): CQL whose policy, in a state a little beside the log, must lead to the distribution of next states that the log has.

The order: while it is fitted, the model of transitions; afterwards the threshold, the temperature, the policy, its multiplier with the distance
that the policy saw, critics, targets. The dynamics are those of a small model that has learnt nothing; it is frozen, and the gradient
reaches the policy through the action.
"""

import math

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from conservative import ACT, OBS, RATE, Base, linears, net
from fixture import Recorder, layers, plain, single
from world import ELITES, MEMBERS, UNITS, Model

LATENT, KL = 4, 0.5


def record(name, kernel, width, m, beta, ln_alpha_start, threshold=None, quantile=0.5, calibration=3, limit=1.0, warm_up=3, ends_at=None, **cql):
    base = Base(limit=limit, **cql)
    config = {
        "beta": beta, "kernel": kernel, "width": width, "mmd_samples": m, "threshold": threshold, "quantile": quantile,
        "calibration": calibration, "alpha_rate": RATE, "warm_up": warm_up, "cql": base.config(),
        "transition": {"hidden": [10, 9], "latent": LATENT, "kl_weight": KL, "learning_rate": RATE},
    }
    rec = Recorder(name, "sdc", config, act_limit=limit, rows=12)
    model = Model(rec.random)
    mean, std = single(rec.random.normal(size=OBS)), single(0.5 + rec.random.uniform(size=OBS))
    ensemble = {"members": MEMBERS, "elites": len(ELITES), "hidden": [UNITS], "decay": [0.0, 0.0]}
    rec.model(ensemble, model.named(), (mean, std))
    mean, std = torch.from_numpy(mean), torch.from_numpy(std)
    encoder, decoder = net(2 * OBS, 2 * LATENT, (10, 9)), net(OBS + LATENT, OBS, (10, 9))
    scale = nn.Parameter(0.2 + torch.rand(OBS))
    eta = nn.Parameter(torch.tensor([threshold or 0.0]))
    ln_alpha = nn.Parameter(torch.tensor([ln_alpha_start]))
    with torch.no_grad():
        # The first ln σ lies on both sides of its bound.
        encoder[-1].bias[LATENT] -= 4.0 + encoder(torch.randn(500, 2 * OBS))[:, LATENT].median()
    rec.start({
        **base.named(),
        **layers("transition.net.encoder", [linears(encoder)]),
        **layers("transition.net.decoder", [linears(decoder)]),
        **plain("transition.scale", scale),
        **plain("correction.ln_alpha", ln_alpha),
        **plain("threshold", eta),
    })
    base.start(rec)
    scale, met = scale.detach(), set()
    vae_adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    alpha_adam = torch.optim.Adam([ln_alpha], lr=RATE)

    def similarity(x, y):
        """The mean of k over all pairs, [rows]."""
        d = x.unsqueeze(2) - y.unsqueeze(1)
        size = d.abs().sum(3) if kernel == "laplacian" else (d**2).sum(3)
        return (-size / (2 * width)).exp().mean((1, 2))

    for t in range(10):
        s, a, r, s2, d = batch = rec.batch()
        rows = len(s)
        if t < warm_up:
            change = (s2 - s) / scale
            middle, log_std = encoder(torch.cat([s, change], 1)).chunk(2, 1)
            met |= {"low" if x < -4 else "free" for x in log_std.flatten().tolist()}
            z = Normal(middle, log_std.clamp(-4, 15).exp())
            drawn = z.mean + z.stddev * rec.normal(rows, LATENT)
            rebuilt = decoder(torch.cat([s, drawn], 1))
            loss = ((rebuilt - change) ** 2).mean() + KL * kl_divergence(z, Normal(0.0, 1.0)).mean()
            rec.step(vae_adam, loss)
            rec.report(transition_loss=loss)
            base.actor_step(s)
            base.critic_step(batch)
            continue

        beside = s + beta * rec.normal(rows, OBS)
        epsilon = rec.normal(rows * m, ACT).view(rows, m, ACT)
        noise = rec.normal(rows * m, OBS).view(rows, m, OBS)
        members = [ELITES[int(x * len(ELITES))] for x in rec.uniform(0, 1, 1, m)[0]]
        met |= set(members)
        with torch.no_grad():
            z = rec.normal(rows * m, LATENT).clamp(-0.5, 0.5)
            many = s.repeat_interleave(m, 0)
            log_next = (many + scale * decoder(torch.cat([many, z], 1))).view(rows, m, OBS)

        def distances(acts):
            """Of next states after acts, [rows, m, act], in perturbed states, to those of the log: [rows]."""
            own = []
            for k, member in enumerate(members):
                [(middle, deviation)] = model.states(beside * std + mean, acts[:, k], [member])
                own.append((middle + deviation * noise[:, k] - mean) / std)
            own = torch.stack(own, 1)
            inside = similarity(own, own) - 2 * similarity(own, log_next) + similarity(log_next, log_next)
            return (inside + 1e-6).sqrt()

        if threshold is None and t - warm_up < calibration:
            with torch.no_grad():
                ordered = distances(a.unsqueeze(1).expand(-1, m, -1)).sort().values
                found = ordered[math.floor(quantile * (rows - 1) + 0.5)]
                eta += (found - eta) / (t - warm_up + 1)

        seen = []

        def held():
            pi = base.gaussian(beside.unsqueeze(1).expand(-1, m, -1))
            distance = distances(limit * torch.tanh(pi.mean + pi.stddev * epsilon)).mean()
            seen.append(distance.detach())
            return ln_alpha.exp().detach() * distance

        base.actor_step(s, held)
        excess = seen[0] - eta.detach()
        met.add("over" if excess > 0 else "under")
        # Up, so that a distance beyond the threshold becomes dear.
        rec.step(alpha_adam, -(ln_alpha.exp() * excess).sum())
        with torch.no_grad():
            ln_alpha.clamp_(-5, 10)
        base.critic_step(batch)
        rec.report(mmd=seen[0], ln_correction=ln_alpha, threshold=eta)
    assert {"low", "free", *ELITES} <= met, met
    assert ends_at is None or math.isclose(ln_alpha.item(), ends_at), "the multiplier meets its bound"
    rec.save()


record("sdc", "gaussian", 3.0, m=4, beta=0.1, ln_alpha_start=0.7)
record(
    "sdc-laplacian", "laplacian", 2.0, m=3, beta=0.3, ln_alpha_start=-4.9965, threshold=5.0, limit=2.0, warm_up=4, ends_at=-5.0,
    n=3, critics=3,
)
