# The steps of the gate as single recipes. `just ci` is the same as `.ci/run`.

default:
    @just --list

# start everything, play one bet, print its trace
up *args:
    ./pitboss up {{args}}

# every test, against real servers
test *args:
    ./pitboss test {{args}}

fmt:
    cargo fmt --all

# formatting, lints and docs, with warnings as errors
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# licences, bans and sources of the dependency tree
deny:
    cargo deny check bans licenses sources

ci:
    bash .ci/run
