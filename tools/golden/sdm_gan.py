"""SDM-GAN (arXiv:2206.07166): a policy of noise whose pairs (s, u), one step of a model further too, are compared with the log's.

The order: critics, the policy in every second update, the discriminator with pairs as they were before the policy's step, targets. In
the first four updates the critics rest. One batch is three: half of its rows are the log's pairs, the others are shared out.
"""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy, huber_loss

from ensemble import ACT, OBS, Ensemble
from fixture import Recorder, layers, single

GAMMA, TAU, RATE, ALPHA, LAMBDA, K, EPOCH = 0.97, 0.05, 1e-3, 3.0, 0.75, 4, 4
MEMBERS, ELITES = 3, [1, 2]
# So small, or large, that both sides of each are met.
SHIFT, SHIFT_BOUND, DELTA, VALUE_BOUND = 0.05, 0.06, 0.8, 0.3
REWARDS, MARGIN = (-0.8, 1.0, 0.1), 2.0


def net(inputs, outputs):
    return nn.Sequential(
        nn.Linear(inputs, 16), nn.LeakyReLU(0.01), nn.Linear(16, 12), nn.LeakyReLU(0.01), nn.Linear(12, outputs)
    )


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def similarity(x, y, kernel, sigma):
    """k of all pairs, [groups, m, m]."""
    d = x.unsqueeze(2) - y.unsqueeze(1)
    size = d.abs().sum(3) if kernel == "laplacian" else (d**2).sum(3)
    return torch.exp(-size / (2 * sigma))


def record(name, divergence, rows, real, threshold, limit=1.0, noise=None, warm_start=1, kernel="gaussian", sigma=2.0, m=4):
    config = {
        "gamma": GAMMA, "alpha": ALPHA, "divergence": divergence, "label": 0.8, "gradient_penalty": 10.0, "kernel": kernel,
        "sigma": sigma, "mmd_samples": m, "state_noise": SHIFT, "noise_clip": SHIFT_BOUND, "target_samples": K,
        "lambda": LAMBDA, "reward_margin": MARGIN, "value_bound": VALUE_BOUND, "huber": DELTA, "threshold": threshold,
        "epoch": EPOCH, "warm_start": warm_start, "policy_period": 2, "polyak": TAU, "actor_rate": RATE,
        "discriminator_rate": RATE, "critic_rate": RATE, "hidden": [16, 12],
    }
    if noise is not None:
        config["noise_dim"] = noise
    noise = noise or 1
    rec = Recorder(name, "sdm_gan", config, act_limit=limit, rows=rows, real=real)
    model = Ensemble(rec.random, MEMBERS, [10], [0.0, 0.0], 0.02)
    mean, std = single(rec.random.normal(size=OBS)), single(0.5 + rec.random.uniform(size=OBS))
    for member in model.nets:
        for layer in member:
            for p in layer.parameters():
                p.data = torch.from_numpy(single(p.detach().numpy()))
    for bound in (model.low, model.high):
        bound.data = torch.from_numpy(single(bound.detach().numpy()))
    named = {key: np.stack([layout(p.detach()).numpy() for p in ps]) for key, (ps, layout) in model.named().items()}
    named |= {"input_mean": model.mean.numpy(), "input_std": model.std.numpy(), "holdout_mse": np.zeros(MEMBERS)}
    named |= {f"elite.{place}": np.array([member]) for place, member in enumerate(ELITES)}
    rec.model(model.config(elites=len(ELITES)), named, (mean, std))
    rec.tensors["evidence/rewards"] = np.array(REWARDS, dtype=np.float32)
    mean, std = torch.from_numpy(mean), torch.from_numpy(std)

    actor, actor_target = net(OBS + noise, ACT), net(OBS + noise, ACT)
    critics, targets = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(2)]) for _ in range(2)]
    discriminator = net(OBS + ACT, 1)
    with torch.no_grad():
        for q in [*critics, *targets, discriminator]:
            q[-1].weight *= 4
        # No unit on one side of zero for all rows: of such a one the same is true as of the last bias (below).
        discriminator[2].bias -= discriminator[:3](torch.randn(500, OBS + ACT)).mean(0)
    tells = divergence != "mmd"
    rec.start({
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critics]),
        **(layers("discriminator", [linears(discriminator)]) if tells else {}),
        **layers("actor_target", [linears(actor_target)]),
        **layers("critic_target", [linears(q) for q in targets]),
    })
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE, betas=(0.4, 0.999))
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), lr=RATE, betas=(0.4, 0.999))
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)

    def raw(pi, s, epsilon):
        return pi(torch.cat([s, epsilon.clamp(-3, 3)], 1))

    def values(nets, s, a):
        return torch.cat([q(torch.cat([s, a], 1)) for q in nets], 1)

    truth = min(real, rows // 2)
    mixed, imagined = real - truth, rows - real
    kept, first = (mixed + 1) // 2, imagined // 2
    of_values = [*range(kept), *range(real, real + first)]
    of_starts = [*range(kept, mixed), *range(real + first, rows)]
    of_truth = [*range(mixed, real)]
    n = len(of_starts)
    size, seen, met = 0.0, [], set()
    bounds = single(REWARDS) @ np.array([[1, 0], [0, 1], [-MARGIN, MARGIN]])
    for part, numbers in (("threshold", [threshold]), ("epoch_losses", [0, 0, 0]), ("q_size", [0])):
        rec.tensors[f"params/{part}"] = np.array(numbers, dtype=np.float32)
    threshold = float(np.float32(threshold))
    for t in range(10):
        batch = rec.batch()
        if divergence == "wasserstein":
            # A constant tells nothing apart, and the gradient of the last bias is nothing but rounding, which Adam follows. Weights
            # that are powers of two leave none.
            rec.batches[-1]["terminal"][of_starts] = 0
        s, a, r, s2, d = [x[of_values] for x in batch]
        warm = t < warm_start * EPOCH

        # The critics.
        with torch.no_grad():
            shift = (SHIFT * rec.normal(len(s) * (K - 1), OBS)).clamp(-SHIFT_BOUND, SHIFT_BOUND)
            epsilon = rec.normal(len(s) * K, noise)
            near = s2.unsqueeze(1).repeat(1, K, 1)
            near[:, : K - 1] += shift.view(len(s), K - 1, OBS)
            near = near.view(-1, OBS)
            q2 = values(targets, near, limit * torch.tanh(raw(actor_target, near, epsilon)))
            q2 = (LAMBDA * q2.amin(1) + (1 - LAMBDA) * q2.amax(1)).view(-1, K).mean(1, keepdim=True)
            met |= {"far" if x > VALUE_BOUND else "near" for x in q2.abs().flatten().tolist()}
            met |= {"clipped" if not bounds[0] < x < bounds[1] else "free" for x in r.flatten().tolist()}
            y = r.clamp(*bounds) + GAMMA * (1 - d) * q2 * (q2.abs() < VALUE_BOUND)
        q = values(critics, s, a)
        critic_loss = sum(huber_loss(q[:, [j]], y, delta=DELTA) for j in range(2))
        met |= {"steep" if x > DELTA else "flat" for x in (q - y).abs().flatten().tolist()}
        if not warm and critic_loss.item() < threshold:
            rec.step(critic_adam, critic_loss)
            met.add("followed")
        elif not warm:
            met.add("refused")
        seen.append(critic_loss.item())

        # Pairs of the policy: at states of the batch, and a step of the model further.
        start, ends = batch[0][of_starts], batch[4][of_starts].squeeze(1)
        start = start + (SHIFT * rec.normal(n, OBS)).clamp(-SHIFT_BOUND, SHIFT_BOUND)
        first_noise = rec.normal(n, noise)
        with torch.no_grad():
            action = limit * torch.tanh(raw(actor, start, first_noise))
            elite = (rec.uniform(0.0, 1.0, n, 1) * len(ELITES)).long().squeeze(1)
            z = rec.normal(n, OBS)
            own = start * std + mean
            said = [model.predict(member, own, action) for member in ELITES]
            change, log_var = [torch.stack(part)[elite, range(n)][:, 1:] for part in zip(*said)]
            then = (own + change + torch.exp(log_var / 2) * z - mean) / std
            met |= {f"elite {e}" for e in elite.tolist()}
        states, noises = torch.cat([start, then]), torch.cat([first_noise, rec.normal(n, noise)])
        alive = torch.cat([1 - ends, 1 - ends]) > 0
        met.add("all alive" if alive.all() else "some end")
        fake = torch.cat([states, raw(actor, states, noises)], 1)
        scaled = (batch[1][of_truth] / limit).clamp(-1 + 1e-7, 1 - 1e-7)
        true = torch.cat([batch[0][of_truth], torch.atanh(scaled)], 1)

        # The policy.
        own_q = values(critics, s, limit * torch.tanh(raw(actor, s, rec.normal(len(s), noise)))).amin(1)
        own_size = own_q.abs().mean().item()
        size = size or own_size
        if t % 2 == 0:
            if divergence == "jensen_shannon":
                told = torch.sigmoid(discriminator(fake[alive]))
                resemble = binary_cross_entropy(told, torch.ones_like(told))
            elif divergence == "wasserstein":
                resemble = -discriminator(fake[alive]).mean()
            else:
                group = min(m, min(2 * n, truth))
                groups, stride = min(2 * n, truth) // group, 2 * n // group
                apart = lambda x: x[: group * stride].view(group, stride, -1).transpose(0, 1)[:groups]
                x, w = apart(fake), apart(alive.double().unsqueeze(1)).squeeze(2)
                v = true[: groups * group].view(groups, group, -1)
                w = w / w.sum(1, keepdim=True)
                xx = torch.einsum("gi,gj,gij->g", w, w, similarity(x, x, kernel, sigma))
                xv = torch.einsum("gi,gij->g", w, similarity(x, v, kernel, sigma)) / group
                resemble = (xx - 2 * xv + similarity(v, v, kernel, sigma).mean((1, 2)) + 1e-6).sqrt().mean()
            actor_loss = resemble if warm else resemble - ALPHA / size * own_q.mean()
            rec.step(actor_adam, actor_loss)
            rec.report(actor_loss=actor_loss)
        size = (1 - TAU) * size + TAU * own_size

        # The discriminator.
        fake = fake.detach()
        if divergence == "jensen_shannon":
            labels = rec.uniform(0.8, 1.0, truth, 1)
            told = torch.sigmoid(discriminator(fake[alive]))
            loss = binary_cross_entropy(torch.sigmoid(discriminator(true)), labels)
            loss = (loss + binary_cross_entropy(told, torch.zeros_like(told))) / 2
        elif divergence == "wasserstein":
            pairs = min(truth, 2 * n)
            kappa = rec.uniform(0.0, 1.0, pairs, 1)
            between = (kappa * true[:pairs] + (1 - kappa) * fake[:pairs]).requires_grad_()
            slope = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)[0]
            penalty = ((slope.norm(dim=1) - 1) ** 2)[alive[:pairs]].mean()
            loss = discriminator(fake[alive]).mean() - discriminator(true).mean() + 10 * penalty
            rec.report(gradient_penalty=penalty)
        if tells:
            rec.step(discriminator_adam, loss)
            rec.report(discriminator_loss=loss)

        with torch.no_grad():
            for target, online in ((targets, critics), (actor_target, actor)):
                for old, new in zip(target.parameters(), online.parameters()):
                    old.lerp_(new, TAU)
        if (t + 1) % EPOCH == 0:
            threshold = 0.95 * threshold + 0.05 * (np.mean(seen) + 3 * np.std(seen))
            seen = []
        rec.report(critic_loss=critic_loss, q=q.mean(), q_size=size, threshold=threshold)
    wanted = {"far", "near", "clipped", "free", "steep", "flat", "followed", "refused", "elite 0", "elite 1"}
    wanted.add("all alive" if divergence == "wasserstein" else "some end")
    assert wanted <= met, (wanted - met, [update["critic_loss"] for update in rec.losses])
    rec.tensors["final/threshold"] = np.array([threshold], dtype=np.float32)
    deviations = len(seen) * np.var(seen)
    rec.tensors["final/epoch_losses"] = np.array([len(seen), np.mean(seen), deviations], dtype=np.float32)
    rec.tensors["final/q_size"] = np.array([size], dtype=np.float32)
    rec.save()


record("sdm_gan", "jensen_shannon", rows=25, real=17, threshold=1.0)
# Fewer rows of the log than pairs of the policy.
record("sdm_gan-wasserstein", "wasserstein", rows=24, real=8, threshold=0.6, limit=2.0, noise=4)
record("sdm_gan-mmd", "mmd", rows=24, real=9, threshold=0.6, noise=2)
