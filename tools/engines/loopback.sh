#!/usr/bin/env bash
# One sweep through every engine there is on this machine, Slurm and HyperQueue on loopback: their summaries must be the same bytes.
# What is not installed is skipped, loudly. Nothing is left running, and nothing is written outside a temporary folder.
#
#   tools/engines/loopback.sh [SWEEP.toml]        (Debian: slurm-wlm and munge; PyPI: hyperqueue, its Python by HQ_PYTHON)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
sweep=${1:-experiments/sweeps/pendulum-64.toml}
xtask=${XTASK:-}
if [ -z "$xtask" ]; then
    cargo build --quiet -p xtask
    xtask=$PWD/target/debug/xtask
fi

scratch=$(mktemp -d)
started=()
clear_up() {
    local pid
    for pid in "${started[@]:-}"; do
        [ -n "$pid" ] && kill "$pid" 2>/dev/null || true
    done
    for pid in "$scratch"/*.pid; do
        [ -s "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
    done
    sleep 0.5
    for pid in "${started[@]:-}"; do
        [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null || true
    done
    rm -rf "$scratch"
}
trap clear_up EXIT

# Waits for a command to succeed.
await() {
    local i
    for i in $(seq 100); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    echo "gave up waiting for: $*" >&2
    return 1
}

run() {
    local engine=$1 begin=$SECONDS
    if ! "$xtask" sweep "$sweep" --engine "$engine" --out "$scratch/$engine" >"$scratch/$engine.out" 2>&1; then
        cat "$scratch/$engine.out" >&2
        tail -n 3 "$scratch/$engine"/logs/* >&2 || true
        exit 1
    fi
    echo "$engine: $(wc -l <"$scratch/$engine/runs.jsonl") runs in $((SECONDS - begin)) s"
    if [ "$engine" != local ]; then
        cmp "$scratch/local/summary.json" "$scratch/$engine/summary.json"
        echo "$engine: summary.json is the same bytes as of local"
    fi
}

slurm() {
    local host
    host=$(hostname)
    install -d -m 755 "$scratch/munge" "$scratch/state" "$scratch/spool"
    head -c 1024 /dev/urandom >"$scratch/munge/key"
    chmod 600 "$scratch/munge/key"
    # Forced: it minds folders that others can write to, as temporary ones are.
    munged --force --foreground --key-file="$scratch/munge/key" --socket="$scratch/munge/socket" \
        --pid-file="$scratch/munge.pid" --log-file="$scratch/munge/log" --seed-file="$scratch/munge/seed" &
    started+=($!)
    cat >"$scratch/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$scratch/munge/socket
CredType=cred/munge
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
SlurmctldLogFile=$scratch/slurmctld.log
SlurmdLogFile=$scratch/slurmd.log
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF=$scratch/slurm.conf
    await test -S "$scratch/munge/socket"
    slurmctld -D &
    started+=($!)
    slurmd -D -N "$host" &
    started+=($!)
    await sh -c 'sinfo -h -o %T | grep -q idle'
    run slurm
}

hyperqueue() {
    if ! command -v hq >/dev/null; then
        # The package brings the server, the worker and a library, but not the command: a small one stands in for it.
        mkdir -p "$scratch/bin"
        printf '#!/bin/sh\nexec %s %s/hq.py "$@"\n' "$HQ_PYTHON" "$PWD/tools/engines" >"$scratch/bin/hq"
        chmod 755 "$scratch/bin/hq"
        PATH=$scratch/bin:$PATH
        export HQ_SERVER=$scratch/hq-server
        "$HQ_PYTHON" tools/engines/hq.py serve "$HQ_SERVER" "$(nproc)" >"$scratch/hq-server.said" 2>&1 &
        started+=($!)
        await test -e "$HQ_SERVER/ready"
    else
        export HQ_SERVER_DIR=$scratch/hq-server
        hq server start >"$scratch/hq-server.said" 2>&1 &
        started+=($!)
        await hq server info
        hq worker start >"$scratch/hq-worker.said" 2>&1 &
        started+=($!)
    fi
    run hq
}

run local
if command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null; then
    slurm >"$scratch/slurm.said" 2>"$scratch/slurm.errors" || { cat "$scratch/slurm.said" "$scratch/slurm.errors" >&2; tail "$scratch"/slurm*.log >&2; exit 1; }
    cat "$scratch/slurm.said"
else
    echo "SKIPPED: slurm: slurmctld, slurmd or munged is not installed" >&2
fi
HQ_PYTHON=${HQ_PYTHON:-python3}
if command -v hq >/dev/null || "$HQ_PYTHON" -c 'import hyperqueue' 2>/dev/null; then
    hyperqueue
else
    echo "SKIPPED: HyperQueue: neither the command hq nor the Python package hyperqueue is installed" >&2
fi
