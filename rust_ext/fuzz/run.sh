#!/usr/bin/env bash
# Build the fuzz targets with coverage instrumentation and run each for its share of SECONDS (default 300).
#
# `cargo fuzz` asks for a nightly compiler; libFuzzer itself needs only the compiler's coverage pass, which the pinned stable one
# has. Flags go with `--target`, so that build scripts and macros are built without them.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-300}
targets=(ndjson json csv run plan)

export CARGO_TARGET_DIR="$PWD/target"
coverage=(level=4 inline-8bit-counters pc-table trace-compares)
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module ${coverage[*]/#/-Cllvm-args=-sanitizer-coverage-}"
export RUSTFLAGS
host=$(rustc -vV | sed -n 's/^host: //p')
cargo build --release --locked --quiet --target "$host"

TMPDIR=$(mktemp -d -p "$([ -d /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
../../.venv/bin/python ../../tests/kernel_seeds.py seeds
mkdir -p artifacts
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target"
    log="artifacts/$target.log"
    if "target/$host/release/$target" "corpus/$target" "seeds/$target" -max_total_time=$((seconds / ${#targets[@]} + 1)) \
        -max_len=4096 -timeout=30 -rss_limit_mb=4096 -artifact_prefix="artifacts/$target-" -print_final_stats=1 \
        > "$log" 2>&1; then
        covered=$(grep -o 'cov: [0-9]*' "$log" | tail -1)
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $covered"
    else
        tail -40 "$log" >&2
        echo "$target: an input breaks the kernel; see rust_ext/fuzz/$log" >&2
        exit 1
    fi
done
