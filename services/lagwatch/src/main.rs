//! Lagwatch as a program: see `lib.rs`.

fn main() -> std::process::ExitCode {
    let service = chassis::Service::new(
        contracts::parts::Part::Lagwatch,
        env!("CARGO_PKG_VERSION"),
        include_str!("defaults.toml"),
    );
    chassis::main(service, lagwatch::run)
}
