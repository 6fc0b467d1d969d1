//! How much arithmetic each workload is: counted from the shapes of its nets, matrix products alone.
//!
//! An update is a sum of forward passes, of gradients of weights, and of gradients of inputs where somebody needs them.
//! Activations, losses, optimisers and the drawing of batches count as nothing, so a throughput times this count is a
//! lower bound of what was really computed.

use crate::SHAPE;

/// Floating-point operations, a multiply–add counted as two, of one unit of a workload: an update, a step of the ensemble,
/// an imagined transition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flops {
    /// What the equations need when each net is evaluated on each row that they name.
    pub plain: f64,
    /// What is left when nothing is computed twice: a state's share of a first layer once for all the actions tried in it,
    /// one forward pass for several samples of one policy, only the member of an ensemble that was drawn.
    pub least: f64,
}

/// Rows of a batch.
pub const BATCH: usize = 256;

/// Members of the ensemble, and its hidden layers.
pub(crate) const MEMBERS: usize = 7;
const ENSEMBLE: [usize; 4] = [200; 4];

/// Of them those that MOBILE asks, and the next states it draws from each.
const ELITES: usize = 5;
const NEXT_STATES: usize = 10;

/// Imagined rows of a batch of MOPO and MOBILE: 95 of a hundred.
pub(crate) const IMAGINED: usize = BATCH * 95 / 100;

const TWO: [usize; 2] = [256; 2];
const THREE: [usize; 3] = [256; 3];

/// The sizes of a net's layers, from its input to its output.
struct Net(Vec<usize>);

impl Net {
    fn new(inputs: usize, hidden: &[usize], outputs: usize) -> Self {
        Self([&[inputs], hidden, &[outputs]].concat())
    }

    /// π(s) → a.
    fn actor(hidden: &[usize]) -> Self {
        Self::new(SHAPE.obs, hidden, SHAPE.act)
    }

    /// π(s) → μ, ln σ.
    fn gaussian(hidden: &[usize]) -> Self {
        Self::new(SHAPE.obs, hidden, 2 * SHAPE.act)
    }

    /// Q(s, a).
    fn critic(hidden: &[usize]) -> Self {
        Self::new(SHAPE.obs + SHAPE.act, hidden, 1)
    }

    /// V(s).
    fn value(hidden: &[usize]) -> Self {
        Self::new(SHAPE.obs, hidden, 1)
    }

    /// One member of the ensemble: (s, a) → mean and log-variance of (r, Δs).
    fn member() -> Self {
        Self::new(SHAPE.obs + SHAPE.act, &ENSEMBLE, 2 * (1 + SHAPE.obs))
    }

    /// Multiply–adds of each layer for one row.
    fn layers(&self) -> impl Iterator<Item = usize> {
        self.0.windows(2).map(|d| d[0] * d[1])
    }

    /// Weights and biases.
    fn parameters(&self) -> usize {
        self.layers().sum::<usize>() + self.0[1..].iter().sum::<usize>()
    }

    /// A forward pass over `rows`.
    fn forward(&self, rows: usize) -> f64 {
        (2 * rows * self.layers().sum::<usize>()) as f64
    }

    /// The gradients of the inputs of every layer but the first.
    fn inward(&self, rows: usize) -> f64 {
        (2 * rows * self.layers().skip(1).sum::<usize>()) as f64
    }

    /// The gradients of all parameters. Those of the weights cost as much as the forward pass.
    fn backward(&self, rows: usize) -> f64 {
        self.forward(rows) + self.inward(rows)
    }

    /// The gradient of `cols` columns of the input, as an actor needs of its critic.
    fn to_input(&self, cols: usize, rows: usize) -> f64 {
        self.inward(rows) + (2 * rows * cols * self.0[1]) as f64
    }
}

/// The count of a workload, or `None` for a name that nobody has counted.
pub fn flops(workload: &str) -> Option<Flops> {
    let same = |count: f64| Some(Flops { plain: count, least: count });
    match crate::parse(workload)?.0 {
        "bc" => same(clone(&Net::actor(&TWO))),
        "td3bc" => same(td3bc()),
        "iql" => same(iql()),
        "bcq" => same(bcq()),
        // An update of MOPO is one of SAC, on other rows.
        "sac" | "mopo" => same(sac(&TWO) + critics(&TWO)),
        "mobile" => same(sac(&TWO) + critics(&TWO) + uncertainty()),
        "sdm_gan" => Some(sdm_gan()),
        "rebrac" => same(rebrac()),
        "bear" => Some(bear()),
        "awac" => same(awac()),
        "sacn" => same(ensemble(false)),
        "edac" => same(ensemble(true)),
        "mcq" => Some(mcq()),
        "cql" => Some(cql(&TWO)),
        "cql3" => Some(cql(&THREE)),
        "combo" => {
            // The values of the rows of the dataset come on top of those that are pushed down.
            let (q, half) = (Net::critic(&THREE), BATCH / 2);
            let cql = cql(&THREE);
            Some(Flops { plain: cql.plain + 2.0 * (q.forward(half) + q.backward(half)), ..cql })
        }
        "osr" => Some(plus(cql(&THREE), osr())),
        "scas" => same(scas()),
        "sdc" => Some(plus(cql(&THREE), sdc())),
        "dynamics" => same(MEMBERS as f64 * clone(&Net::member())),
        "rollout_mopo" => same(MEMBERS as f64 * Net::member().forward(1) + Net::gaussian(&TWO).forward(1)),
        "rollout_combo" => {
            let actor = Net::gaussian(&THREE).forward(1);
            let one = Net::member().forward(1);
            Some(Flops { plain: MEMBERS as f64 * one + actor, least: one + actor })
        }
        _ => None,
    }
}

/// Fitting a net to targets that are given.
fn clone(net: &Net) -> f64 {
    net.forward(BATCH) + net.backward(BATCH)
}

/// Fitting both critics to targets that are given.
fn critics(hidden: &[usize]) -> f64 {
    2.0 * clone(&Net::critic(hidden))
}

/// Two target critics on one action per row.
fn critics_target(hidden: &[usize]) -> f64 {
    2.0 * Net::critic(hidden).forward(BATCH)
}

fn td3bc() -> f64 {
    let (actor, q) = (Net::actor(&TWO), Net::critic(&TWO));
    let target = actor.forward(BATCH) + critics_target(&TWO);
    let through = q.forward(BATCH) + q.to_input(SHAPE.act, BATCH);
    // The actor is updated every other time.
    target + critics(&TWO) + 0.5 * (clone(&actor) + through)
}

fn iql() -> f64 {
    let (actor, v) = (Net::actor(&TWO), Net::value(&TWO));
    // V(s′) for the critics' target; V(s), which gives the actor's weights too.
    critics_target(&TWO) + v.forward(BATCH) + clone(&v) + critics(&TWO) + clone(&actor)
}

fn rebrac() -> f64 {
    let (actor, q) = (Net::actor(&THREE), Net::critic(&THREE));
    let target = actor.forward(BATCH) + critics_target(&THREE);
    let through = 2.0 * (q.forward(BATCH) + q.to_input(SHAPE.act, BATCH));
    target + critics(&THREE) + 0.5 * (clone(&actor) + through)
}

fn awac() -> f64 {
    let (actor, q) = (Net::actor(&THREE), Net::critic(&THREE));
    let target = actor.forward(BATCH) + critics_target(&THREE);
    // The recorded action and the policy's own, by both critics.
    target + critics(&THREE) + clone(&actor) + 4.0 * q.forward(BATCH)
}

/// Critics of SAC-N and EDAC.
const CRITICS: usize = 10;

fn ensemble(diverse: bool) -> f64 {
    let (actor, q, n) = (Net::gaussian(&THREE), Net::critic(&THREE), CRITICS as f64);
    let slope = q.to_input(SHAPE.act, BATCH);
    let target = actor.forward(BATCH) + n * q.forward(BATCH);
    let through = n * (q.forward(BATCH) + slope);
    // Slopes, then of each of their products the gradients of the weights and, but for the first, of what came in.
    let last = (2 * BATCH * THREE[2]) as f64;
    let diversity = if diverse { n * (3.0 * slope - last) } else { 0.0 };
    target + clone(&actor) + through + n * clone(&q) + diversity
}

/// A forward pass over `k` actions in each of `rows` states, and what of it is left when a state's share of the first layer is
/// taken once.
fn tried(hidden: &[usize], k: usize, rows: usize) -> Flops {
    let of_state = (2 * rows * SHAPE.obs * hidden[0]) as f64;
    let of_action = Net::new(SHAPE.act, hidden, 1).forward(k * rows);
    Flops { plain: Net::critic(hidden).forward(k * rows), least: of_action + of_state }
}

fn bear() -> Flops {
    let ([encoder, decoder, _, q], n, hidden) = (bcq_nets(), BCQ_BATCH, [400, 300]);
    let actor = Net::gaussian(&hidden);
    let both = |net: &Net| net.forward(n) + net.backward(n);
    // Ten actions in the target, five samples of either distribution for the distance; the critics see the policy's.
    let fixed = vae(&encoder, &decoder, n) + actor.forward(n) + 2.0 * both(&q) + both(&actor) + decoder.forward(5 * n);
    let fixed = fixed + 2.0 * q.to_input(SHAPE.act, 5 * n);
    let [target, through] = [10, 5].map(|k| tried(&hidden, k, n));
    Flops { plain: fixed + 2.0 * (target.plain + through.plain), least: fixed + 2.0 * (target.least + through.least) }
}

fn mcq() -> Flops {
    const TRIED: usize = 10;
    let ([encoder, decoder, ..], hidden) = (bcq_nets(), [400; 2]);
    let (actor, q) = (Net::gaussian(&hidden), Net::critic(&hidden));
    let through = 2.0 * (q.forward(BATCH) + q.to_input(SHAPE.act, BATCH));
    let fixed = vae(&encoder, &decoder, BATCH) + actor.forward(BATCH) + critics_target(&hidden) + critics(&hidden);
    // At s and at s′: the dataset's actions from the decoder, the policy's own.
    let fixed = fixed + clone(&actor) + through + 2.0 * (decoder.forward(TRIED * BATCH) + actor.forward(BATCH));
    let values = tried(&hidden, TRIED, BATCH);
    // Gradients of the weights cost what the forward pass does.
    let inward = q.inward(TRIED * BATCH);
    let count = |forward: f64| fixed + 2.0 * 2.0 * (forward + 2.0 * forward + inward);
    Flops { plain: count(values.plain), least: count(values.least) }
}

/// What SAC does besides fitting its critics: one sample per row for their target, and the actor's step through both.
fn sac(hidden: &[usize]) -> f64 {
    let (actor, q) = (Net::gaussian(hidden), Net::critic(hidden));
    let target = actor.forward(BATCH) + critics_target(hidden);
    let through = 2.0 * (q.forward(BATCH) + q.to_input(SHAPE.act, BATCH));
    target + clone(&actor) + through
}

/// What MOBILE does besides: the elites on each imagined row, then the policy and both target critics on each next state.
fn uncertainty() -> f64 {
    let asked = ELITES * IMAGINED;
    let value = |rows: usize| Net::gaussian(&TWO).forward(rows) + 2.0 * Net::critic(&TWO).forward(rows);
    Net::member().forward(asked) + value(NEXT_STATES * asked)
}

/// Rows of a batch of SDM-GAN, a quarter of which have values and from a quarter of which the policy starts, and its samples of
/// a next state.
pub(crate) const SDM_GAN_BATCH: usize = 4 * 512;
const NOISY: usize = 50;

/// The policy sees eight columns of noise besides; a discriminator has the shape of a critic.
fn sdm_gan_nets() -> [Net; 2] {
    [Net::new(SHAPE.obs + 8, &[400, 300], SHAPE.act), Net::critic(&[400, 300])]
}

fn sdm_gan() -> Flops {
    let ([actor, q], n) = (sdm_gan_nets(), SDM_GAN_BATCH / 4);
    let both = |net: &Net, rows: usize| net.forward(rows) + net.backward(rows);
    let slope = |rows: usize| q.to_input(SHAPE.act, rows);
    let target = actor.forward(NOISY * n) + 2.0 * q.forward(NOISY * n);
    let critics = 2.0 * both(&q, n);
    // Twice as many pairs as states to start from, and as many of the dataset.
    let (played, discriminator) = (2.0 * actor.forward(n), 2.0 * both(&q, 2 * n));
    // The policy's own values always, the way back every other time.
    let step = actor.backward(n) + 2.0 * slope(n) + both(&actor, 2 * n) + q.forward(2 * n) + slope(2 * n);
    let policy = actor.forward(n) + 2.0 * q.forward(n) + 0.5 * step;
    let (fixed, asked) = (target + critics + played + discriminator + policy, Net::member().forward(n));
    Flops { plain: fixed + ELITES as f64 * asked, least: fixed + asked }
}

/// `more` beside whatever is counted.
fn plus(Flops { plain, least }: Flops, more: f64) -> Flops {
    Flops { plain: plain + more, least: least + more }
}

/// OSR's inverse model of an action between two states: encoder and decoder.
fn osr_nets() -> [Net; 2] {
    let (states, latent) = (2 * SHAPE.obs, 32);
    let encoder = Net::new(states + SHAPE.act, &[256; 3], 2 * latent);
    [encoder, Net::new(states + latent, &[256; 2], 2 * SHAPE.act)]
}

/// What OSR does besides CQL: the inverse model is asked; the policy it is compared with is the one that the critics see.
fn osr() -> f64 {
    osr_nets()[1].forward(BATCH)
}

/// Four critics; the actor, every other time, through them and through one member of the model.
fn scas() -> f64 {
    let (actor, q, member, critics) = (Net::actor(&TWO), Net::critic(&TWO), Net::member(), 4.0);
    let target = actor.forward(BATCH) + critics * q.forward(BATCH);
    // The weights: both values, and the policy at s′ and, on another tape, at s.
    let weights = 2.0 * actor.forward(BATCH) + 2.0 * critics * q.forward(BATCH);
    let correction = member.forward(BATCH) + member.to_input(SHAPE.act, BATCH);
    let through = critics * (q.forward(BATCH) + q.to_input(SHAPE.act, BATCH));
    target + critics * clone(&q) + 0.5 * (weights + correction + clone(&actor) + through)
}

/// SDC's model of transitions: encoder and decoder.
fn sdc_nets() -> [Net; 2] {
    let latent = SHAPE.obs;
    [Net::new(2 * SHAPE.obs, &TWO, 2 * latent), Net::new(SHAPE.obs + latent, &TWO, SHAPE.obs)]
}

/// What SDC does besides CQL: five next states of each state by the model of transitions, and five by members of the ensemble, there and
/// back to the actions; the policy beside the dataset, on a tape of its own and again where it learns.
fn sdc() -> f64 {
    const SAMPLES: usize = 5;
    let (actor, member, [_, decoder]) = (Net::gaussian(&THREE), Net::member(), sdc_nets());
    let many = SAMPLES * BATCH;
    let next = decoder.forward(many) + member.forward(many) + member.to_input(SHAPE.act, many);
    next + actor.forward(BATCH) + clone(&actor)
}

/// Ten actions drawn uniformly, ten at s, ten at s′, and the recorded one.
fn cql(hidden: &[usize]) -> Flops {
    const TRIED: usize = 31;
    let (actor, q) = (Net::gaussian(hidden), Net::critic(hidden));
    let each = |net: &Net| net.forward(TRIED * BATCH) + net.backward(TRIED * BATCH);
    let plain = sac(hidden) + 2.0 * actor.forward(10 * BATCH) + 2.0 * each(&q);
    // Of the first layer only the columns of the action differ between the actions tried in one state.
    let of_action = Net::new(SHAPE.act, hidden, 1);
    let of_state = (2 * BATCH * SHAPE.obs * hidden[0]) as f64;
    let least = sac(hidden) + actor.forward(BATCH) + 2.0 * (each(&of_action) + 2.0 * of_state);
    Flops { plain, least }
}

/// Rows of a batch of BCQ, and the candidates of its targets.
pub(crate) const BCQ_BATCH: usize = 100;
const BCQ_CANDIDATES: usize = 10;

fn bcq_nets() -> [Net; 4] {
    let (pair, latent) = (SHAPE.obs + SHAPE.act, 2 * SHAPE.act);
    let encoder = Net::new(pair, &[750, 750], 2 * latent);
    let decoder = Net::new(SHAPE.obs + latent, &[750, 750], SHAPE.act);
    [encoder, decoder, Net::new(pair, &[400, 300], SHAPE.act), Net::new(pair, &[400, 300], 1)]
}

/// Fitting a VAE to `rows` rows. The encoder learns through the latent columns of the decoder's input.
fn vae(encoder: &Net, decoder: &Net, rows: usize) -> f64 {
    let latent = decoder.to_input(2 * SHAPE.act, rows) - decoder.inward(rows);
    encoder.forward(rows) + encoder.backward(rows) + decoder.forward(rows) + decoder.backward(rows) + latent
}

fn bcq() -> f64 {
    let ([encoder, decoder, actor, q], n) = (bcq_nets(), BCQ_BATCH);
    let both = |net: &Net| net.forward(n) + net.backward(n);
    let vae = vae(&encoder, &decoder, n);
    let many = BCQ_CANDIDATES * n;
    let target = decoder.forward(many) + actor.forward(many) + 2.0 * q.forward(many);
    let through = q.forward(n) + q.to_input(SHAPE.act, n);
    vae + target + 2.0 * both(&q) + decoder.forward(n) + both(&actor) + through
}

/// The numbers that the optimisers of a workload train, by the shapes of its nets; for rollouts, those that are evaluated.
/// `None` for a name that nobody has counted.
pub fn parameters(workload: &str) -> Option<usize> {
    let ensemble = MEMBERS * Net::member().parameters();
    // The bounds of the log-variances are learnt too.
    let bounds = 2 * (1 + SHAPE.obs);
    let soft = |hidden: &[usize]| Net::gaussian(hidden).parameters() + 2 * Net::critic(hidden).parameters() + 1;
    Some(match crate::parse(workload)?.0 {
        "bc" => Net::actor(&TWO).parameters(),
        "td3bc" => Net::actor(&TWO).parameters() + 2 * Net::critic(&TWO).parameters(),
        "iql" => {
            let [actor, v, q] = [Net::actor(&TWO), Net::value(&TWO), Net::critic(&TWO)].map(|n| n.parameters());
            // One deviation per column of the action, the same in every state.
            actor + SHAPE.act + v + 2 * q
        }
        "bcq" => {
            let [encoder, decoder, actor, q] = bcq_nets().map(|n| n.parameters());
            encoder + decoder + actor + 2 * q
        }
        "rebrac" => Net::actor(&THREE).parameters() + 2 * Net::critic(&THREE).parameters(),
        "awac" => Net::actor(&THREE).parameters() + SHAPE.act + 2 * Net::critic(&THREE).parameters(),
        // Multipliers are learnt too.
        "bear" => {
            let [encoder, decoder, _, q] = bcq_nets().map(|n| n.parameters());
            encoder + decoder + Net::gaussian(&[400, 300]).parameters() + 2 * q + 1
        }
        "sacn" | "edac" => Net::gaussian(&THREE).parameters() + CRITICS * Net::critic(&THREE).parameters() + 1,
        "mcq" => {
            let [encoder, decoder, ..] = bcq_nets().map(|n| n.parameters());
            encoder + decoder + Net::gaussian(&[400; 2]).parameters() + 2 * Net::critic(&[400; 2]).parameters() + 1
        }
        "sdm_gan" => {
            let [actor, q] = sdm_gan_nets().map(|n| n.parameters());
            actor + 3 * q
        }
        "sac" | "mopo" | "mobile" | "cql" => soft(&TWO),
        "cql3" | "combo" => soft(&THREE),
        "osr" => soft(&THREE) + osr_nets().iter().map(Net::parameters).sum::<usize>(),
        "scas" => Net::actor(&TWO).parameters() + 4 * Net::critic(&TWO).parameters(),
        // The multiplier of the correction is learnt too.
        "sdc" => soft(&THREE) + 1 + sdc_nets().iter().map(Net::parameters).sum::<usize>(),
        "dynamics" => ensemble + bounds,
        "rollout_mopo" => ensemble + bounds + Net::gaussian(&TWO).parameters(),
        "rollout_combo" => ensemble + bounds + Net::gaussian(&THREE).parameters(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LEARNERS, learner};
    use backcast::core::{Slot, State};

    /// The counts worked out by hand from the equations, term by term, in units of 2·256 operations.
    #[test]
    fn the_counts_are_those_worked_out_by_hand() {
        // Multiply–adds per row: actor 17·256 + 256·256 + 256·6, and so on.
        let (actor, wide, q, v) = (71_424.0, 72_960.0, 71_680.0, 70_144.0);
        let (actor_in, wide_in, q_in, v_in) = (67_072.0, 68_608.0, 65_792.0, 65_792.0);
        let action = 6.0 * 256.0;
        let unit = 512.0;
        let plain = |name| flops(name).unwrap().plain / unit;
        let least = |name| flops(name).unwrap().least / unit;
        assert_eq!(plain("bc"), 2.0 * actor + actor_in);
        let actor_step = 2.0 * actor + actor_in + q + q_in + action;
        assert_eq!(plain("td3bc"), actor + 2.0 * q + 4.0 * q + 2.0 * q_in + 0.5 * actor_step);
        assert_eq!(plain("iql"), 2.0 * q + v + (2.0 * v + v_in) + (4.0 * q + 2.0 * q_in) + 2.0 * actor + actor_in);
        let policy = 2.0 * wide + wide_in + 2.0 * (q + q_in + action);
        assert_eq!(plain("sac"), policy + wide + 2.0 * q + 4.0 * q + 2.0 * q_in);
        assert_eq!(plain("mopo"), plain("sac"));
        // 243 imagined rows, five elites of 131,800 multiply–adds, ten next states from each.
        let uncertainty = 243.0 / 256.0 * (5.0 * 131_800.0 + 50.0 * (wide + 2.0 * q));
        assert_eq!(plain("mobile"), plain("sac") + uncertainty);
        let values = 2.0 * 31.0 * (2.0 * q + q_in);
        assert_eq!(plain("cql"), policy + wide + 2.0 * q + 20.0 * wide + values);
        let state = 17.0 * 256.0;
        let shared = 2.0 * (31.0 * (2.0 * (q - state) + q_in) + 2.0 * state);
        assert_eq!(least("cql"), policy + wide + 2.0 * q + wide + shared);
        // A third hidden layer adds 256·256 to every net and to every way back through it.
        let more = 65_536.0;
        let (actor3, wide3, q3, slope3) = (actor + more, wide + more, q + more, q_in + more + action);
        let critics3 = 2.0 * (2.0 * q3 + q_in + more);
        let half_step = 0.5 * (2.0 * actor3 + actor_in + more + 2.0 * (q3 + slope3));
        assert_eq!(plain("rebrac"), actor3 + 2.0 * q3 + critics3 + half_step);
        assert_eq!(plain("awac"), actor3 + 2.0 * q3 + critics3 + 2.0 * actor3 + actor_in + more + 4.0 * q3);
        let soft = wide3 + 2.0 * wide3 + wide_in + more + 10.0 * (q3 + q3 + slope3) + 5.0 * critics3;
        assert_eq!(plain("sacn"), soft);
        assert_eq!(plain("edac"), soft + 10.0 * (3.0 * slope3 - 256.0));
        // 400-300 nets and batches of 100; 29·750 + 750·750 + 750·24 and back is the encoder, 29·750 + 750·750 + 750·6 the decoder.
        let per_row = |count: f64| count / 200.0;
        let (encoder, decoder) = (23.0 * 750.0 + 562_500.0 + 750.0 * 24.0, 29.0 * 750.0 + 562_500.0 + 750.0 * 6.0);
        let (encoder_in, decoder_in) = (encoder - 23.0 * 750.0, decoder - 29.0 * 750.0);
        let vae = 2.0 * encoder + encoder_in + 2.0 * decoder + decoder_in + 12.0 * 750.0;
        let (pi, value) = (17.0 * 400.0 + 120_000.0 + 300.0 * 12.0, 23.0 * 400.0 + 120_000.0 + 300.0);
        let (pi_in, value_in) = (pi - 17.0 * 400.0, value - 23.0 * 400.0);
        let through = 2.0 * 5.0 * (value + value_in + 6.0 * 400.0);
        let own = pi + 20.0 * value + 2.0 * (2.0 * value + value_in) + 2.0 * pi + pi_in + 5.0 * decoder + through;
        assert_eq!(per_row(flops("bear").unwrap().plain), vae + own);
        let saved = 2.0 * (9.0 + 4.0) * 17.0 * 400.0;
        assert_eq!(per_row(flops("bear").unwrap().least), vae + own - saved);
        // Per 256 rows: 512 with values, 25 600 next states, 512 to start from and 1024 pairs of each kind.
        let (noisy, noisy_in) = (25.0 * 400.0 + 120_000.0 + 300.0 * 6.0, 120_000.0 + 300.0 * 6.0);
        let way_back = 2.0 * noisy_in + 2.0 * noisy + 4.0 * (value_in + 2400.0) + 4.0 * (2.0 * noisy + noisy_in);
        let way_back = way_back + 4.0 * (value + value_in + 2400.0);
        let fitted = (4.0 + 8.0) * (2.0 * value + value_in);
        let own = 104.0 * noisy + 2.0 * noisy + 104.0 * value + 100.0 * value + fitted + 0.5 * way_back;
        assert_eq!(least("sdm_gan"), own + 2.0 * 131_800.0);
        assert_eq!(plain("sdm_gan"), own + 10.0 * 131_800.0);
        // 400-400 nets: at s and s′ ten actions of the dataset's model, forwards, and ten of the policy, both ways.
        let (pi, value) = (17.0 * 400.0 + 160_000.0 + 400.0 * 12.0, 23.0 * 400.0 + 160_000.0 + 400.0);
        let (pi_in, value_in) = (pi - 17.0 * 400.0, value - 23.0 * 400.0);
        let ordinary =
            pi + 2.0 * value + 2.0 * (2.0 * value + value_in) + 2.0 * pi + pi_in + 2.0 * (value + value_in + 2400.0);
        let unseen = 2.0 * (10.0 * decoder + pi + 2.0 * 10.0 * (3.0 * value + value_in));
        assert_eq!(plain("mcq"), vae + ordinary + unseen);
        assert_eq!(least("mcq"), plain("mcq") - 2.0 * 2.0 * 3.0 * 9.0 * 17.0 * 400.0);
        // 23·200 + 3·200·200 + 200·36, seven times.
        let (member, member_in) = (131_800.0, 127_200.0);
        assert_eq!(plain("dynamics"), 7.0 * (2.0 * member + member_in));
        assert_eq!(flops("rollout_mopo").unwrap().plain, 2.0 * (7.0 * member + wide));
        let three = wide + 65_536.0;
        assert_eq!(flops("rollout_combo").unwrap().least, 2.0 * (member + three));
        assert_eq!(flops("rollout_combo").unwrap().plain, 2.0 * (7.0 * member + three));
        // One member and back to the action; four critics, of which the values at s and s′ weigh.
        let (through, to_action) = (4.0 * (q + q_in + action), member_in + 6.0 * 200.0);
        let half = 2.0 * actor + 8.0 * q + member + to_action + (2.0 * actor + actor_in) + through;
        assert_eq!(plain("scas"), actor + 4.0 * q + 4.0 * (2.0 * q + q_in) + 0.5 * half);
        // 66·256 + 256·256 + 256·12 is the decoder of OSR; 34·256 + 256·256 + 256·17 that of SDC, five times, as often as a member.
        let decoder = 66.0 * 256.0 + 65_536.0 + 256.0 * 12.0;
        assert_eq!(plain("osr"), plain("cql3") + decoder);
        let decoder = 34.0 * 256.0 + 65_536.0 + 256.0 * 17.0;
        let again = 3.0 * three + (three - 17.0 * 256.0);
        assert_eq!(least("sdc"), least("cql3") + 5.0 * (decoder + member + to_action) + again);
        assert_eq!(flops("nonsense"), None);
    }

    /// In millions, as an independent count of the same graphs gives them.
    #[test]
    fn the_counts_are_those_of_the_peers_graphs() {
        let known = [
            ("bc", 107.48, 107.48),
            ("td3bc", 413.47, 413.47),
            ("iql", 536.48, 536.48),
            ("sac", 577.11, 577.11),
            ("mopo", 577.11, 577.11),
            ("cql", 7749.37, 6772.23),
            ("cql3", 14997.13, 13382.45),
            ("combo", 15204.88, 13382.45),
            ("dynamics", 1400.63, 1400.63),
            ("rollout_mopo", 1.99, 1.99),
            ("rollout_combo", 2.12, 0.54),
        ];
        for (name, plain, least) in known {
            let counted = flops(name).unwrap();
            assert!((counted.plain / 1e6 - plain).abs() < 0.006, "{name}: {counted:?}");
            assert!((counted.least / 1e6 - least).abs() < 0.006, "{name}: {counted:?}");
        }
    }

    /// The numbers an optimiser trains are as many as the shapes say.
    #[test]
    fn the_shapes_are_those_of_the_learners() {
        for &name in LEARNERS {
            let (mut learner, _) = learner(name).unwrap();
            assert_eq!(trained(&mut *learner), parameters(name).unwrap(), "{name}");
        }
    }

    fn trained(state: &mut dyn State) -> usize {
        let mut sum = 0;
        state.visit(&mut |name, slot| match slot {
            // The first moment of an optimiser is as long as what it trains.
            Slot::Tensor(_, values) if name.ends_with("adam.m") => sum += values.len(),
            _ => {}
        });
        sum
    }
}
