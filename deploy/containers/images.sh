#!/bin/sh
# images.sh rust | kafka | mongo | redis | pitboss: builds an image of docker-compose.kafka.yml without an image registry.
# Run engine.sh and base.sh first. CHECKOUT is the checkout with the fetched tools (.pitboss/tools). PROGRAMS is the folder of our
# programs. A stand-in of another project's image has the label pitboss.stand-in=true.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
checkout=${CHECKOUT:-$(CDPATH='' cd -- "$here/../.." && pwd)}
programs=${PROGRAMS:-$checkout/target/debug}
stand_in="--label pitboss.stand-in=true"
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# Copies the toolchain that rust-toolchain.toml names, under the name that rustup gives it, without its 800 MB of documentation.
rust() {
    toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$here/../../rust-toolchain.toml")-$(uname -m)-unknown-linux-gnu
    rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
    mkdir -p "$context/rustup/toolchains/$toolchain" "$context/cargo/bin"
    (cd "$rustup_home/toolchains/$toolchain/" && tar c --exclude=./share .) | tar x -C "$context/rustup/toolchains/$toolchain"
    printf 'version = "12"\ndefault_toolchain = "%s"\nprofile = "minimal"\n\n[overrides]\n' "$toolchain" >"$context/rustup/settings.toml"
    cp "$(command -v rustup)" "$context/cargo/bin/rustup"
    for proxy in cargo rustc rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do ln -s rustup "$context/cargo/bin/$proxy"; done
    docker build -q $stand_in -t rust:1.95.0-slim-trixie -f "$here/rust/Dockerfile" "$context"
}

kafka() {
    cp -r "$here/kafka/." "$context"
    if [ -d "$checkout/.pitboss/tools/kafka-4.3.0/libs" ]; then
        cp -r "$checkout/.pitboss/tools/kafka-4.3.0/libs" "$context/libs"
    else
        plugin=$(sed -n "s/^maven_dependency_plugin = \"\(.*\)\"/\1/p" "$here/../versions.toml")
        (cd "$context" && mvn -B -q -C "org.apache.maven.plugins:maven-dependency-plugin:$plugin:copy-dependencies" -DoutputDirectory="$context/libs" -DincludeScope=runtime)
    fi
    (cd "$context/libs" && sha256sum --check --strict --quiet "$here/../kafka-jars.sha256")
    docker build -q $stand_in -t apache/kafka:4.3.0 "$context"
}

mongo() {
    cp -r "$here/mongo/." "$context"
    cp "$(find "$checkout/.pitboss/tools" -name secantusd-rs -type f -perm -u+x | head -n 1)" "$context/secantusd-rs"
    npm install --silent --no-audit --no-fund --omit=optional --ignore-scripts --prefix "$context" mongosh@2.12.0
    docker build -q $stand_in -t mongo:8.0 "$context"
}

redis() {
    docker build -q $stand_in -t redis:7.4 "$here/redis"
}

# Puts the programs that were built on this machine into the last stage of deploy/Dockerfile. Only the source of its COPY differs.
# Programs built with bookworm's libc also run in trixie. Programs built in trixie would not run in bookworm.
pitboss() {
    mkdir "$context/programs"
    for program in gateway user game payment analytics notification recorder lagwatch partners wire pitboss; do
        strip --strip-debug -o "$context/programs/$program" "$programs/$program"
    done
    sed -n '/^FROM debian/,$p' "$here/../Dockerfile" | sed 's|--from=build /programs/|programs/|' >"$context/Dockerfile"
    docker build -q -t pitboss:local "$context"
}

case ${1:-} in
    rust | kafka | mongo | redis | pitboss) "$1" ;;
    *) echo "usage: images.sh rust | kafka | mongo | redis | pitboss" >&2; exit 64 ;;
esac
