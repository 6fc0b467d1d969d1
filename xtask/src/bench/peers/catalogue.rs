//! Whom we compare with, on what, and where they live.

/// A Python environment and what pip puts into it.
pub(super) struct Environment {
    pub(super) name: &'static str,
    pub(super) packages: &'static [&'static str],
}

/// Separate, so that nobody's requirements decide over another's versions.
pub(super) const ENVIRONMENTS: [Environment; 3] = [
    // What stands behind `torch` and `optax` is for the projects whose own files are run.
    Environment { name: "torch", packages: &["numpy", "torch", "tqdm", "pandas", "matplotlib", "tensorboard"] },
    Environment {
        name: "jax",
        packages: &["numpy", "jax", "optax", "flax", "distrax", "tqdm", "omegaconf", "pydantic", "tyro"],
    },
    Environment { name: "d3rlpy", packages: &["d3rlpy"] },
];

/// One way to run a peer on one of our workloads.
pub(super) struct Run {
    pub(super) workload: &'static str,
    /// The script's word for it, and whatever else it must be told.
    pub(super) arguments: &'static [&'static str],
}

/// Somebody else's software in one of its modes.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) environment: &'static str,
    pub(super) script: &'static str,
    /// Where it needs a folder of other people's sources: the folder below the one given by `--peers-src`.
    pub(super) source: Option<&'static str>,
    /// Whether its products are of bfloat16 numbers: faster where the machine has units for them, and less exact.
    pub(super) half: bool,
    pub(super) runs: &'static [Run],
}

const fn run(workload: &'static str, arguments: &'static [&'static str]) -> Run {
    Run { workload, arguments }
}

const fn peer(
    name: &'static str,
    environment: &'static str,
    script: &'static str,
    source: Option<&'static str>,
    runs: &'static [Run],
) -> Peer {
    Peer { name, environment, script, source, half: false, runs }
}

/// Everybody. The first three scripts are the strongest plain form in each framework, written for this comparison; the others
/// time the named project's own code.
pub(super) const PEERS: [Peer; 11] = [
    peer(
        "PyTorch, eager",
        "torch",
        "bench_torch.py",
        None,
        &[
            run("bc", &["bc", "--mode", "eager"]),
            run("td3bc", &["td3bc", "--mode", "eager"]),
            run("iql", &["iql", "--mode", "eager"]),
            run("sac", &["sac", "--mode", "eager"]),
            run("cql", &["cql", "--mode", "eager"]),
            run("cql3", &["cql3", "--mode", "eager"]),
            run("dynamics", &["dynamics", "--mode", "eager"]),
            run("rollout_mopo", &["rollout", "--mode", "eager"]),
        ],
    ),
    peer(
        "PyTorch, compiled",
        "torch",
        "bench_torch.py",
        None,
        &[
            run("td3bc", &["td3bc", "--mode", "compile"]),
            run("iql", &["iql", "--mode", "compile"]),
            run("cql", &["cql", "--mode", "compile"]),
            run("dynamics", &["dynamics", "--mode", "compile"]),
        ],
    ),
    Peer {
        half: true,
        ..peer(
            "PyTorch, bfloat16",
            "torch",
            "bench_torch.py",
            None,
            &[
                run("td3bc", &["td3bc", "--mode", "bf16"]),
                run("cql", &["cql", "--mode", "bf16"]),
                run("dynamics", &["dynamics", "--mode", "bf16"]),
            ],
        )
    },
    peer(
        "JAX, scan",
        "jax",
        "bench_jax.py",
        None,
        &[
            run("bc", &["bc", "--mode", "scan"]),
            run("td3bc", &["td3bc", "--mode", "scan"]),
            run("iql", &["iql", "--mode", "scan"]),
            run("sac", &["sac", "--mode", "scan"]),
            run("cql", &["cql", "--mode", "scan"]),
            run("cql3", &["cql3", "--mode", "scan"]),
            run("dynamics", &["dynamics", "--mode", "scan"]),
            run("rollout_mopo", &["rollout", "--mode", "scan"]),
        ],
    ),
    peer(
        "JAX, one update per call",
        "jax",
        "bench_jax.py",
        None,
        &[run("td3bc", &["td3bc", "--mode", "jit"]), run("iql", &["iql", "--mode", "jit"])],
    ),
    Peer {
        half: true,
        ..peer(
            "JAX, bfloat16",
            "jax",
            "bench_jax.py",
            None,
            &[
                run("td3bc", &["td3bc", "--mode", "bf16"]),
                run("cql", &["cql", "--mode", "bf16"]),
                run("dynamics", &["dynamics", "--mode", "bf16"]),
            ],
        )
    },
    peer(
        "d3rlpy",
        "d3rlpy",
        "bench_d3rlpy.py",
        None,
        &[
            run("bc", &["bc"]),
            run("td3bc", &["td3bc"]),
            run("iql", &["iql"]),
            run("sac", &["sac"]),
            run("cql", &["cql"]),
            run("cql3", &["cql", "--hidden", "256", "256", "256"]),
        ],
    ),
    peer(
        "CORL",
        "torch",
        "bench_corl.py",
        Some("corl"),
        &[run("bc", &["bc"]), run("td3bc", &["td3bc"]), run("iql", &["iql"]), run("cql3", &["cql"])],
    ),
    peer(
        "OfflineRL-Kit",
        "torch",
        "bench_okit.py",
        Some("okit"),
        &[
            run("bc", &["bc"]),
            run("td3bc", &["td3bc"]),
            run("iql", &["iql"]),
            run("sac", &["sac"]),
            run("cql", &["cql", "--hidden", "256", "256"]),
            run("cql3", &["cql"]),
            run("dynamics", &["dynamics"]),
            run("rollout_mopo", &["rollout_mopo"]),
            run("rollout_combo", &["rollout_combo"]),
        ],
    ),
    peer(
        "unifloral",
        "jax",
        "bench_unifloral.py",
        Some("unifloral"),
        &[
            run("bc", &["bc"]),
            run("td3bc", &["td3bc"]),
            run("iql", &["iql"]),
            run("cql", &["cql", "--mode", "c2"]),
            run("dynamics", &["dynamics"]),
            run("rollout_combo", &["rollout"]),
        ],
    ),
    peer(
        "JAX-CORL",
        "jax",
        "bench_jaxcorl.py",
        Some("jaxcorl"),
        &[run("td3bc", &["td3bc"]), run("iql", &["iql"]), run("cql", &["cql"])],
    ),
];

/// What a peer's own code is known to leave out of a workload. It is listed, and not counted among the fastest.
pub(super) fn left_out(peer: &str, workload: &str) -> Option<&'static str> {
    match (peer, workload) {
        ("unifloral", "cql") => Some("1 sampled action of each kind, not 10"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_lives_somewhere_and_does_work_that_is_counted() {
        for peer in &PEERS {
            assert!(ENVIRONMENTS.iter().any(|e| e.name == peer.environment), "{}", peer.name);
            for run in peer.runs {
                assert!(backcast_benches::flops(run.workload).is_some(), "{}: {}", peer.name, run.workload);
                assert!(backcast_benches::parameters(run.workload).is_some(), "{}: {}", peer.name, run.workload);
            }
        }
    }
}
