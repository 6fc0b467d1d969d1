#!/usr/bin/env bash
# Builds `core` and `nn` for 64-bit ARM and runs their tests under emulation, on a Debian machine of another kind: the kernels
# have a NEON tile that such a machine would otherwise not even compile. It says whether the bits are right, never how fast they
# come. No gate: it installs packages, among them a Rust compiler of Debian's own beside the one that is here, since only that one
# has the standard library of another architecture as a package.
#
#   tools/arm/test.sh [ARGUMENT OF cargo test…]        # for instance --release, or --features f64 --test gradients
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

packages=(rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu libc6-dev-arm64-cross libc6:arm64 qemu-user)
if ! dpkg --print-foreign-architectures | grep -qx arm64 || ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root dpkg --add-architecture arm64
    $as_root apt-get update
    $as_root apt-get install -y --no-install-recommends "${packages[@]}"
fi

# Cargo may be anybody's, the compiler has to be Debian's. The emulator is given no other root: the C library that is found is
# then the one whose loader is used.
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=qemu-aarch64
cargo test --target aarch64-unknown-linux-gnu --target-dir target/arm -p backcast-core -p backcast-nn "$@"
