//! Analytics as a program: see `lib.rs`.

fn main() -> std::process::ExitCode {
    let service = chassis::Service::new(
        contracts::parts::Part::Analytics,
        env!("CARGO_PKG_VERSION"),
        include_str!("defaults.toml"),
    );
    chassis::main(service, analytics::run)
}
